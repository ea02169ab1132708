//! The caches under one face.

use std::time::Duration;

#[cfg(feature = "std")]
use purlin_lru_cache::Cache;
use purlin_lru_cache::{
    Builder, Cause, Decision, Inserted, Moment, Outcome, Policy, Terms, unsync,
};

use crate::apart::Apart;
use crate::common::HandClock;
use crate::naive::{Counts, Done};
use crate::ops::{Decide, On, Settings, Value, id_of, lasts, weight_of};

/// What both kinds of cache offer.
pub(crate) trait Subject: Apart {
    fn get(&mut self, key: u8) -> Option<u32>;
    fn peek(&self, key: u8) -> Option<u32>;
    fn insert(&mut self, key: u8, value: Value) -> Inserted<u8, Value>;
    fn insert_for(&mut self, key: u8, value: Value, lasts: Duration) -> Inserted<u8, Value>;
    fn insert_on(&mut self, key: u8, value: Value, terms: Terms) -> Inserted<u8, Value>;
    fn moment(&self) -> Moment;
    fn invalidate(&mut self, tag: u8);
    fn pin(&mut self, key: u8, is_pinned: bool) -> bool;
    fn set_capacity(&mut self, capacity: usize) -> usize;
    fn held(&self) -> usize;
    fn remove(&mut self, key: u8) -> Option<u32>;
    fn remove_entry(&mut self, key: u8) -> Option<(u8, u32)>;
    /// Returns what was decided on.
    fn compute(&mut self, key: u8, value: Value, decide: Decide) -> Option<u32>;
    fn update(&mut self, key: u8, value: Value) -> Option<u32>;
    fn retain(&mut self, remainder: u8);
    fn clear(&mut self);
    fn sweep(&mut self, budget: usize) -> bool;
    fn contents(&self) -> Vec<(u8, u32)>;
    fn len(&self) -> usize;
    fn weight(&self) -> usize;
    fn counts(&self) -> Counts;
}

macro_rules! subject {
    ($cache:ty, $pair:expr) => {
        impl Subject for $cache {
            fn get(&mut self, key: u8) -> Option<u32> {
                <$cache>::get(self, &key).map(|value| id_of(&value))
            }
            fn peek(&self, key: u8) -> Option<u32> {
                let value = <$cache>::peek(self, &key).map(|value| id_of(&value));
                assert_eq!(self.contains(&key), value.is_some());
                value
            }
            fn insert(&mut self, key: u8, value: Value) -> Inserted<u8, Value> {
                <$cache>::insert(self, key, value)
            }
            fn insert_for(
                &mut self,
                key: u8,
                value: Value,
                lasts: Duration,
            ) -> Inserted<u8, Value> {
                <$cache>::insert_for(self, key, value, lasts)
            }
            fn insert_on(&mut self, key: u8, value: Value, terms: Terms) -> Inserted<u8, Value> {
                <$cache>::insert_on(self, key, value, terms)
            }
            fn moment(&self) -> Moment {
                <$cache>::moment(self)
            }
            fn invalidate(&mut self, tag: u8) {
                self.invalidate_tag(&tag);
            }
            fn pin(&mut self, key: u8, is_pinned: bool) -> bool {
                if is_pinned {
                    <$cache>::pin(self, &key)
                } else {
                    <$cache>::unpin(self, &key)
                }
            }
            fn set_capacity(&mut self, capacity: usize) -> usize {
                let reached = <$cache>::set_capacity(self, capacity);
                assert_eq!(reached, self.capacity());
                reached
            }
            fn held(&self) -> usize {
                self.pinned()
            }
            fn remove(&mut self, key: u8) -> Option<u32> {
                <$cache>::remove(self, &key).map(|value| id_of(&value))
            }
            fn remove_entry(&mut self, key: u8) -> Option<(u8, u32)> {
                let (key, value) = <$cache>::remove_entry(self, &key)?;
                Some((key, id_of(&value)))
            }
            fn compute(&mut self, key: u8, value: Value, decide: Decide) -> Option<u32> {
                let mut seen = None;
                let done = <$cache>::compute(self, &key, |its| {
                    seen = its.map(id_of);
                    decision(value, decide)
                });
                let before = done.into_previous().map(|value| id_of(&value));
                assert_eq!(before, seen);
                before
            }
            fn update(&mut self, key: u8, value: Value) -> Option<u32> {
                <$cache>::update(self, &key, |_| value).map(|value| id_of(&value))
            }
            fn retain(&mut self, remainder: u8) {
                <$cache>::retain(self, |key, _| key % 3 == remainder);
            }
            fn clear(&mut self) {
                <$cache>::clear(self);
            }
            fn sweep(&mut self, budget: usize) -> bool {
                <$cache>::sweep(self, budget)
            }
            fn contents(&self) -> Vec<(u8, u32)> {
                self.iter().map($pair).collect()
            }
            fn len(&self) -> usize {
                assert_eq!(<$cache>::is_empty(self), <$cache>::len(self) == 0);
                <$cache>::len(self)
            }
            fn weight(&self) -> usize {
                <$cache>::weight(self)
            }
            fn counts(&self) -> Counts {
                let stats = self.stats();
                assert_eq!((stats.entries, stats.weight), (self.len(), self.weight()));
                Counts {
                    hits: stats.hits,
                    misses: stats.misses,
                    insertions: stats.insertions,
                    rejections: stats.rejections,
                    evictions: stats.evictions,
                    expirations: stats.expirations,
                    removals: stats.removals,
                }
            }
        }
    };
}

pub(crate) type Hasher = purlin_core::MapHasher;
subject!(unsync::Cache<u8, Value, Hasher, HandClock>, |(&key, value): (&u8, &Value)| (key, id_of(value)));
#[cfg(feature = "std")]
subject!(Cache<u8, Value, Hasher, HandClock>, |(key, value): (u8, Value)| (key, id_of(&value)));

pub(crate) fn unsync(
    settings: &Settings,
    clock: &HandClock,
    policy: Policy,
) -> unsync::Cache<u8, Value, Hasher, HandClock> {
    let builder = Builder::with_clock(clock.clone())
        .policy(policy)
        .listener(settings.heard.listener());
    if settings.by_weight {
        let builder = builder.weight_limit(settings.capacity, |_, value| weight_of(value));
        with_lifetimes(builder, settings).build_unsync()
    } else {
        let builder = builder.entry_limit(settings.capacity);
        with_lifetimes(builder, settings).build_unsync()
    }
}

#[cfg(feature = "std")]
pub(crate) fn shared(
    settings: &Settings,
    clock: &HandClock,
    n_shards: usize,
    policy: Policy,
    is_open: bool,
) -> Cache<u8, Value, Hasher, HandClock> {
    let mut builder = Builder::with_clock(clock.clone())
        .shards(n_shards)
        .policy(policy)
        .listener(settings.heard.listener());
    if is_open {
        builder = builder.reads_without_lock();
    }
    if settings.by_weight {
        let builder = builder.weight_limit(settings.capacity, |_, value| weight_of(value));
        with_lifetimes(builder, settings).build()
    } else {
        let builder = builder.entry_limit(settings.capacity);
        with_lifetimes(builder, settings).build()
    }
}

fn with_lifetimes<K, V, L, S, C>(
    builder: Builder<K, V, L, S, C>,
    settings: &Settings,
) -> Builder<K, V, L, S, C> {
    let builder = match settings.time_to_live {
        Some(steps) => builder.time_to_live(lasts(steps)),
        None => builder,
    };
    match settings.time_to_idle {
        Some(steps) => builder.time_to_idle(lasts(steps)),
        None => builder,
    }
}

pub(crate) fn done(inserted: Inserted<u8, Value>) -> Done {
    let is_stored = inserted.is_stored();
    assert!(!matches!(inserted.outcome, Outcome::New) || is_stored);
    let evicted = inserted
        .evicted
        .iter()
        .inspect(|eviction| assert_eq!(eviction.cause, Cause::Capacity))
        .map(|eviction| (eviction.key, id_of(&eviction.value)))
        .collect();
    Done {
        is_stored,
        previous: inserted.into_previous().map(|value| id_of(&value)),
        evicted,
    }
}

fn decision(value: Value, decide: Decide) -> Decision<Value> {
    match decide {
        Decide::Keep => Decision::Keep,
        Decide::Put => Decision::Put(value),
        Decide::PutFor(steps) => Decision::PutFor(value, lasts(steps)),
        Decide::PutOn(tag) => Decision::PutOn(value, Terms::new().tag(&tag)),
        Decide::Change => Decision::Change(value),
        Decide::Remove => Decision::Remove,
    }
}

/// Those of an insertion, which is as of `start` if it is late.
pub(crate) fn terms(on: On, start: Moment) -> Terms {
    let mut terms = Terms::new().cost(on.cost);
    if let Some(steps) = on.steps {
        terms = terms.time_to_live(lasts(steps));
    }
    if on.is_pinned {
        terms = terms.pinned();
    }
    if let Some(tag) = on.tag {
        terms = terms.tag("all").tag(&tag);
    }
    if on.is_late {
        terms = terms.as_of(start);
    }
    terms
}
