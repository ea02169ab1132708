//! Counting, which only caches of numbers can do.

use std::collections::BTreeMap;

use purlin_core::MapHasher;
use purlin_lru_cache::{Builder, Cache, unsync};

use super::{Hand, Key, Lasts, Setup};

/// A cache of counts that is never full, beside a map of counts and when they end.
pub(crate) struct Counts {
    subject: Subject,
    time_to_live: Option<Lasts>,
    counts: BTreeMap<Key, (u32, u64)>,
}

enum Subject {
    Shared(Cache<Key, u32, MapHasher, Hand>),
    Single(unsync::Cache<Key, u32, MapHasher, Hand>),
}

impl Counts {
    pub(crate) fn new(setup: &Setup, clock: &Hand) -> Self {
        let mut builder = Builder::with_clock(clock.clone());
        if let Some(lasts) = setup.time_to_live {
            builder = builder.time_to_live(lasts.get());
        }
        let builder = builder.hasher(MapHasher::with_seed(1));
        let subject = match (setup.is_shared, setup.by_weight) {
            (true, true) => Subject::Shared(builder.weight_limit(1_000, |_, _| 1).build()),
            (true, false) => Subject::Shared(builder.entry_limit(1_000).build()),
            (false, true) => Subject::Single(builder.weight_limit(1_000, |_, _| 1).build_unsync()),
            (false, false) => Subject::Single(builder.entry_limit(1_000).build_unsync()),
        };
        Counts {
            subject,
            time_to_live: setup.time_to_live,
            counts: BTreeMap::new(),
        }
    }

    pub(crate) fn step(&mut self, now: u64, key: Key, by: u32, is_up: bool) {
        let living = self.counts.get(&key).filter(|&&(_, ends)| ends > now);
        let lasts = self.time_to_live.map(|lasts| lasts.get().as_nanos());
        let nanos = lasts.and_then(|lasts| u64::try_from(lasts).ok());
        let anew = nanos.map_or(u64::MAX, |nanos| now.saturating_add(nanos));
        let (before, ends) = living.copied().unwrap_or((0, anew));
        let (count, counted) = match (&mut self.subject, is_up) {
            (Subject::Shared(cache), true) => (before.saturating_add(by), cache.incr(&key, by)),
            (Subject::Shared(cache), false) => (before.saturating_sub(by), cache.decr(&key, by)),
            (Subject::Single(cache), true) => (before.saturating_add(by), cache.incr(&key, by)),
            (Subject::Single(cache), false) => (before.saturating_sub(by), cache.decr(&key, by)),
        };
        assert_eq!(counted, count);
        self.counts.insert(key, (count, ends));
    }
}
