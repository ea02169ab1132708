//! What is compared: each cache behind one small trait, with its own defaults.

use std::num::NonZero;
use std::sync::Mutex;

/// A cache of numbers, bounded by count.
pub(super) trait Contender: Send + Sync {
    fn with_capacity(entries: usize) -> Self
    where
        Self: Sized;
    fn get(&self, key: u64) -> Option<u64>;
    fn insert(&self, key: u64, value: u64);
    /// Does what a cache puts off, so that its size can be asked for.
    fn settle(&self) {}
    fn len(&self) -> usize;
}

/// Makes one of every contender, ours first, and hands each to a macro `$with!(name, type)`.
macro_rules! for_each_contender {
    ($with:ident) => {
        $with!("purlin", Purlin);
        $with!("quick_cache", Quick);
        $with!("moka", Moka);
        $with!("lru, one lock", Lru);
    };
}
pub(super) use for_each_contender;

pub(super) struct Purlin(purlin_lru_cache::Cache<u64, u64>);

impl Contender for Purlin {
    fn with_capacity(entries: usize) -> Self {
        Purlin(purlin_lru_cache::Cache::new(entries))
    }
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }
    fn insert(&self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

pub(super) struct Quick(quick_cache::sync::Cache<u64, u64>);

impl Contender for Quick {
    fn with_capacity(entries: usize) -> Self {
        Quick(quick_cache::sync::Cache::new(entries))
    }
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }
    fn insert(&self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

pub(super) struct Moka(moka::sync::Cache<u64, u64>);

impl Contender for Moka {
    fn with_capacity(entries: usize) -> Self {
        Moka(moka::sync::Cache::new(entries as u64))
    }
    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }
    fn insert(&self, key: u64, value: u64) {
        self.0.insert(key, value);
    }
    fn settle(&self) {
        self.0.run_pending_tasks();
    }
    fn len(&self) -> usize {
        self.0.entry_count() as usize
    }
}

pub(super) struct Lru(Mutex<lru::LruCache<u64, u64>>);

impl Lru {
    fn lock(&self) -> std::sync::MutexGuard<'_, lru::LruCache<u64, u64>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Contender for Lru {
    fn with_capacity(entries: usize) -> Self {
        let entries = NonZero::new(entries).expect("the comparison has no cache of capacity 0");
        Lru(Mutex::new(lru::LruCache::new(entries)))
    }
    fn get(&self, key: u64) -> Option<u64> {
        self.lock().get(&key).copied()
    }
    fn insert(&self, key: u64, value: u64) {
        self.lock().put(key, value);
    }
    fn len(&self) -> usize {
        self.lock().len()
    }
}
