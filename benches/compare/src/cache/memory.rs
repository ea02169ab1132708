//! Heap bytes an entry: a million u64 keys and values, requested sizes, by the counting allocator.

use super::contenders::{Contender, Lru, Moka, Purlin, Quick, for_each_contender};
use crate::allocations::live_bytes;
use crate::table::Table;

const ENTRIES: usize = 1_000_000;

/// Prints bytes an entry after filling, and after replacing every entry once.
pub(super) fn print() {
    let mut table = Table::new(["cache", "B/entry, filled", "B/entry, steady", "kept of 1M"]);
    macro_rules! row {
        ($name:literal, $cache:ident) => {
            let before = live_bytes();
            let cache = $cache::with_capacity(ENTRIES);
            (0..ENTRIES as u64).for_each(|key| cache.insert(key, key));
            cache.settle();
            let (filled, kept) = (live_bytes() - before, cache.len());
            (ENTRIES as u64..2 * ENTRIES as u64).for_each(|key| cache.insert(key, key));
            cache.settle();
            let (steady, still) = (live_bytes() - before, cache.len());
            table.row([
                $name.to_owned(),
                format!("{:.1}", filled as f64 / kept.max(1) as f64),
                format!("{:.1}", steady as f64 / still.max(1) as f64),
                kept.to_string(),
            ]);
        };
    }
    for_each_contender!(row);
    table.print("Heap bytes an entry, u64 -> u64, capacity 1 000 000");
}
