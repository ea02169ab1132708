//! Who is looked up, and how deadlines pass there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use purlin_core::{Clock, MapHasher, SystemClock, Tick, WallTime};

use super::Cache;

const LIFE: Duration = Duration::from_secs(600);

/// The system's clock, which can be made to go ahead, so that all deadlines pass at one moment. What it costs to ask
/// is what it costs there.
#[derive(Clone, Debug, Default)]
struct Leaping {
    clock: SystemClock,
    ahead: Arc<AtomicU64>,
}

impl Leaping {
    fn leap(&self, by: Duration) {
        let nanos = by.as_nanos() as u64;
        self.ahead.fetch_add(nanos, Ordering::Relaxed);
    }

    fn ahead(&self) -> Duration {
        Duration::from_nanos(self.ahead.load(Ordering::Relaxed))
    }
}

impl Clock for Leaping {
    fn now(&self) -> Tick {
        self.clock.now().after(self.ahead())
    }
    fn wall(&self) -> WallTime {
        self.clock.wall().after(self.ahead())
    }
    fn coarse(&self) -> Tick {
        self.clock.coarse().after(self.ahead())
    }
}

type Shared = purlin_lru_cache::Cache<u64, u64, MapHasher, Leaping>;

macro_rules! purlin {
    ($name:ident, $build:expr) => {
        pub(super) struct $name(Shared, Leaping);

        impl Cache for $name {
            fn with_capacity(entries: usize) -> Self {
                let clock = Leaping::default();
                let builder = purlin_lru_cache::Cache::builder()
                    .clock(clock.clone())
                    .entry_limit(entries);
                $name($build(builder), clock)
            }
            fn get(&self, key: u64) -> Option<u64> {
                self.0.get(&key)
            }
            fn insert(&self, key: u64, value: u64) {
                self.0.insert_for(key, value, 100 * LIFE);
            }
            fn insert_mortal(&self, key: u64, value: u64) {
                self.0.insert_for(key, value, LIFE);
            }
            fn expire(&self) -> bool {
                self.1.leap(2 * LIFE);
                true
            }
            fn len(&self) -> u64 {
                self.0.len() as u64
            }
        }
    };
}

type Builder = purlin_lru_cache::Builder<u64, u64, purlin_lru_cache::ByEntries, MapHasher, Leaping>;
purlin!(Purlin, Builder::build);
purlin!(PurlinOpen, |builder: Builder| builder
    .reads_without_lock()
    .build());

/// It has no deadlines.
pub(super) struct Quick(quick_cache::sync::Cache<u64, u64>);

impl Cache for Quick {
    fn with_capacity(entries: usize) -> Self {
        Quick(quick_cache::sync::Cache::new(entries))
    }
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }
    fn insert(&self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
    fn insert_mortal(&self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
    fn expire(&self) -> bool {
        false
    }
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

/// By its own clock, which nobody can turn, so its deadlines are waited for.
pub(super) struct Moka {
    cache: moka::sync::Cache<u64, Mortal>,
    ends: Instant,
}

/// A value, and whether it ends.
#[derive(Clone, Copy)]
struct Mortal(u64, bool);

/// How long the mortal live in it. To insert them has to take less.
const MOKA_LIFE: Duration = Duration::from_secs(5);

/// All that are mortal end at one moment.
struct EndsAt(Instant);

impl moka::Expiry<u64, Mortal> for EndsAt {
    fn expire_after_create(&self, _: &u64, value: &Mortal, now: Instant) -> Option<Duration> {
        let Mortal(_, is_mortal) = *value;
        let ends = self.0.saturating_duration_since(now);
        Some(if is_mortal { ends } else { 100 * LIFE })
    }
}

impl Cache for Moka {
    fn with_capacity(entries: usize) -> Self {
        let ends = Instant::now() + MOKA_LIFE;
        let cache = moka::sync::Cache::builder()
            .max_capacity(entries as u64)
            .expire_after(EndsAt(ends))
            .build();
        Moka { cache, ends }
    }
    fn get(&self, key: u64) -> Option<u64> {
        self.cache.get(&key).map(|Mortal(value, _)| value)
    }
    fn insert(&self, key: u64, value: u64) {
        self.cache.insert(key, Mortal(value, false));
    }
    fn insert_mortal(&self, key: u64, value: u64) {
        self.cache.insert(key, Mortal(value, true));
    }
    fn expire(&self) -> bool {
        // Its clock cannot be set, so the moment has to come.
        thread::sleep(self.ends.saturating_duration_since(Instant::now()));
        true
    }
    fn len(&self) -> u64 {
        self.cache.run_pending_tasks();
        self.cache.entry_count()
    }
}
