//! What is compared: each cache behind one small trait, with its own defaults.

use std::fmt::Debug;
use std::hash::Hash;

use workloads::keys;

mod rivals;

pub(super) use self::rivals::{
    FibreS3, FibreTinyLfu, FoyerLfu, FoyerLru, FoyerS3, Lru, MiniMoka, Moka, Quick, TinyUfo,
};

/// A cache of numbers, bounded by count.
pub(super) trait Contender<K: Key>: Send + Sync {
    /// Whether it draws a seed when made, so that a second run is another one.
    const IS_SEEDED: bool = true;

    fn with_capacity(entries: usize) -> Self
    where
        Self: Sized;
    fn get(&self, key: &K) -> Option<u64>;
    fn insert(&self, key: K, value: u64);
    /// Does what a cache puts off.
    fn settle(&self) {}

    /// How many of these it answers for.
    fn held(&self, keys: impl IntoIterator<Item = K>) -> usize
    where
        Self: Sized,
    {
        let held = keys.into_iter().filter(|key| self.get(key).is_some());
        held.count()
    }
}

/// What the keys are.
pub(super) trait Key: Hash + Eq + Ord + Clone + Debug + Send + Sync + 'static {
    const NAME: &'static str;

    fn from_number(number: u64) -> Self;
}

impl Key for u64 {
    const NAME: &'static str = "u64 keys";

    fn from_number(number: u64) -> Self {
        number
    }
}

impl Key for String {
    const NAME: &'static str = "strings of 24 bytes as keys";

    fn from_number(number: u64) -> Self {
        keys::text(number)
    }
}

/// Hands every contender to a macro, ours first: `$with!(name, type)`.
macro_rules! for_each_contender {
    ($with:ident, $key:ty) => {
        $with!("purlin", Purlin<$key>);
        $with!("purlin, no lock", PurlinOpen<$key>);
        $with!("quick_cache", Quick<$key>);
        $with!("moka", Moka<$key>);
        $with!("mini-moka", MiniMoka<$key>);
        $with!("TinyUFO", TinyUfo<$key>);
        $with!("foyer, s3fifo", FoyerS3<$key>);
        $with!("foyer, lfu", FoyerLfu<$key>);
        $with!("foyer, lru", FoyerLru<$key>);
        $with!("fibre_cache, s3fifo", FibreS3<$key>);
        $with!("fibre_cache, tinylfu", FibreTinyLfu<$key>);
        $with!("lru, one lock", Lru<$key>);
    };
}
pub(super) use for_each_contender;

/// The name of exact least recently used, against which all are held too.
pub(super) const EXACT_LRU: &str = "lru, one lock";

pub(super) struct Purlin<K>(purlin_lru_cache::Cache<K, u64>);

impl<K: Key> Contender<K> for Purlin<K> {
    fn with_capacity(entries: usize) -> Self {
        Purlin(purlin_lru_cache::Cache::new(entries))
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }
}

/// Ours, where look-ups of numbers take no lock.
pub(super) struct PurlinOpen<K>(purlin_lru_cache::Cache<K, u64>);

impl<K: Key> Contender<K> for PurlinOpen<K> {
    fn with_capacity(entries: usize) -> Self {
        let builder = purlin_lru_cache::Cache::builder().entry_limit(entries);
        PurlinOpen(builder.reads_without_lock().build())
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
    }
}

/// One that does after each insertion what it would have put off, and so is never above its capacity.
pub(super) struct Settled<C>(C);

impl<K: Key, C: Contender<K>> Contender<K> for Settled<C> {
    const IS_SEEDED: bool = C::IS_SEEDED;

    fn with_capacity(entries: usize) -> Self {
        Settled(C::with_capacity(entries))
    }
    fn get(&self, key: &K) -> Option<u64> {
        self.0.get(key)
    }
    fn insert(&self, key: K, value: u64) {
        self.0.insert(key, value);
        self.0.settle();
    }
    fn settle(&self) {
        self.0.settle();
    }
}
