//! Heap bytes an entry: a million u64 keys and values, requested sizes, by the counting allocator.

use std::time::Duration;

use purlin_lru_cache::{Cache, Policy};

use super::contenders::{
    Contender, FibreS3, FibreTinyLfu, FoyerLfu, FoyerLru, FoyerS3, Lru, MiniMoka, Moka, Purlin,
    PurlinOpen, Quick, TinyUfo, for_each_contender,
};
use crate::allocations::live_bytes;
use crate::table::Table;

const ENTRIES: usize = 1_000_000;

/// Prints bytes an entry after filling, and after replacing every entry once.
pub(super) fn print() {
    let mut table = Table::new(["cache", "B/entry, filled", "B/entry, steady", "kept of 1M"]);
    macro_rules! row {
        ($name:literal, $cache:ty) => {
            let before = live_bytes();
            let cache = <$cache>::with_capacity(ENTRIES);
            fill(&cache, 0);
            let filled = live_bytes() - before;
            fill(&cache, ENTRIES as u64);
            let steady = live_bytes() - before;
            let still = cache.held(0..2 * ENTRIES as u64);
            drop(cache);
            // Asking is a use, so another one is asked.
            let cache = <$cache>::with_capacity(ENTRIES);
            fill(&cache, 0);
            let kept = cache.held(0..ENTRIES as u64);
            table.row([
                $name.to_owned(),
                format!("{:.1}", filled as f64 / kept.max(1) as f64),
                format!("{:.1}", steady as f64 / still.max(1) as f64),
                kept.to_string(),
            ]);
        };
    }
    for_each_contender!(row, u64);
    row!("purlin, with a time to live", Timed);
    row!("purlin, by weight, one each", ByWeight<1>);
    row!("purlin, by weight", ByWeight<16>);
    row!("purlin, exact order", Exact);
    table.print("Heap bytes an entry, u64 -> u64, capacity 1 000 000");
}

/// Entries with a deadline each.
struct Timed(Cache<u64, u64>);
/// Entries of this weight each, where others do not weigh the same for all we know.
struct ByWeight<const WEIGHT: usize>(Cache<u64, u64>);
/// Least recently used to the last entry.
struct Exact(Cache<u64, u64>);

macro_rules! contender {
    (<$(const $weight:ident: usize)?> $name:ty, $build:expr) => {
        impl<$(const $weight: usize)?> Contender<u64> for $name {
            fn with_capacity(entries: usize) -> Self {
                let build: fn(usize) -> Cache<u64, u64> = $build;
                Self(build(entries))
            }
            fn get(&self, key: &u64) -> Option<u64> {
                self.0.get(key)
            }
            fn insert(&self, key: u64, value: u64) {
                self.0.insert(key, value);
            }
        }
    };
}

contender!(<> Timed, |entries| {
    let hour = Duration::from_secs(3_600);
    Cache::builder().entry_limit(entries).time_to_live(hour).build()
});
contender!(<const WEIGHT: usize> ByWeight<WEIGHT>, |entries| {
    Cache::builder().weight_limit(entries * WEIGHT, |_, _| WEIGHT).build()
});
contender!(<> Exact, |entries| {
    Cache::builder().entry_limit(entries).policy(Policy::Lru).build()
});

fn fill(cache: &impl Contender<u64>, first: u64) {
    (first..first + ENTRIES as u64).for_each(|key| cache.insert(key, key));
    cache.settle();
}
