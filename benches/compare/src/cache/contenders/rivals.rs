//! The others, each as its documentation shows it to a newcomer.

use std::num::NonZero;
use std::sync::{Mutex, MutexGuard};

use mini_moka::sync::ConcurrentCacheExt;

use super::{Contender, Key};

pub(in super::super) struct Quick<K>(quick_cache::sync::Cache<K, u64>);

impl<K: Key> Contender<K> for Quick<K> {
    fn with_capacity(entries: usize) -> Self {
        Quick(quick_cache::sync::Cache::new(entries))
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }
}

pub(in super::super) struct Moka<K>(moka::sync::Cache<K, u64>);

impl<K: Key> Contender<K> for Moka<K> {
    fn with_capacity(entries: usize) -> Self {
        Moka(moka::sync::Cache::new(entries as u64))
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }
    fn settle(&self) {
        self.0.run_pending_tasks();
    }
}

pub(in super::super) struct MiniMoka<K>(mini_moka::sync::Cache<K, u64>);

impl<K: Key> Contender<K> for MiniMoka<K> {
    fn with_capacity(entries: usize) -> Self {
        MiniMoka(mini_moka::sync::Cache::new(entries as u64))
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }
    fn settle(&self) {
        self.0.sync();
    }
}

pub(in super::super) struct TinyUfo<K: Key>(tinyufo::TinyUfo<K, u64>);

impl<K: Key> Contender<K> for TinyUfo<K> {
    fn with_capacity(entries: usize) -> Self {
        // Each entry weighs one, so the limit of the weight is that of the entries.
        TinyUfo(tinyufo::TinyUfo::new(entries, entries))
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }
    fn insert(&self, key: K, value: u64) {
        self.0.put(key, value, 1);
    }
}

macro_rules! foyer {
    ($name:ident, $config:expr) => {
        pub(in super::super) struct $name<K: Key>(foyer_memory::Cache<K, u64>);

        impl<K: Key> Contender<K> for $name<K> {
            // Its hasher has a fixed seed, and so have its policies.
            const IS_SEEDED: bool = false;

            fn with_capacity(entries: usize) -> Self {
                // Its default is 8 shards. With a handful of entries in each it would fare worse than it has to.
                let shards = entries.div_ceil(32).min(8);
                let builder = foyer_memory::CacheBuilder::new(entries)
                    .with_shards(shards)
                    .with_eviction_config($config);
                $name(builder.build::<foyer_memory::CacheProperties>())
            }
            fn get(&self, key: &K) -> Option<u64> {
                self.0.get(key).map(|entry| *entry.value())
            }
            fn insert(&self, key: K, value: u64) {
                self.0.insert(key, value);
            }
        }
    };
}
foyer!(FoyerS3, foyer_memory::S3FifoConfig::default());
foyer!(FoyerLfu, foyer_memory::LfuConfig::default());
foyer!(FoyerLru, foyer_memory::LruConfig::default());

macro_rules! fibre {
    ($name:ident, $policy:ident) => {
        pub(in super::super) struct $name<K: Key>(fibre_cache::Cache<K, u64>);

        impl<K: Key> Contender<K> for $name<K> {
            fn with_capacity(entries: usize) -> Self {
                let builder = fibre_cache::CacheBuilder::default()
                    .capacity(entries as u64)
                    .$policy();
                $name(builder.build().expect("the settings are its defaults"))
            }
            fn get(&self, key: &K) -> Option<u64> {
                self.0.get(key, |value| *value)
            }
            fn insert(&self, key: K, value: u64) {
                self.0.insert(key, value, 1);
            }
            fn settle(&self) {
                self.0.run_maintenance();
            }
        }
    };
}
fibre!(FibreS3, s3fifo);
fibre!(FibreTinyLfu, tinylfu);

pub(in super::super) struct Lru<K: Key>(Mutex<lru::LruCache<K, u64>>);

impl<K: Key> Lru<K> {
    fn lock(&self) -> MutexGuard<'_, lru::LruCache<K, u64>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl<K: Key> Contender<K> for Lru<K> {
    // The seed is of its table, which has no say in who leaves.
    const IS_SEEDED: bool = false;

    fn with_capacity(entries: usize) -> Self {
        let entries = NonZero::new(entries).expect("the comparison has no cache of capacity 0");
        Lru(Mutex::new(lru::LruCache::new(entries)))
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.lock().get(key).copied()
    }
    fn insert(&self, key: K, value: u64) {
        self.lock().put(key, value);
    }
}
