//! Heap bytes an entry, by what is asked of the allocator. `PURLIN_CACHE_ENTRIES` sets how many there are.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "common/counting.rs"]
mod counting;

use std::time::Duration;

use counting::live_bytes;
use purlin_core::MapHasher;
use purlin_lru_cache::{Builder, Cache, Policy};

type Numbers = Cache<u64, u64>;

/// Bytes an entry once it is full, and after so many more have come.
fn bytes(name: &str, build: impl Fn() -> Numbers, entries: u64) -> (f64, f64) {
    let before = live_bytes();
    let cache = build();
    let each = |cache: &Numbers| {
        let bytes = live_bytes() - before;
        bytes as f64 / cache.len() as f64
    };
    (0..entries).for_each(|key| drop(cache.insert(key, key)));
    let filled = each(&cache);
    (entries..2 * entries).for_each(|key| drop(cache.insert(key, key)));
    let steady = each(&cache);
    println!("{name}: {filled:.2} filled, {steady:.2} in the long run");
    (filled, steady)
}

/// One test, since all count the same bytes.
#[test]
fn an_entry_takes_what_it_is_said_to_take() {
    let asked = std::env::var("PURLIN_CACHE_ENTRIES").ok();
    let entries: u64 = asked.map_or(30_000, |asked| asked.parse().unwrap());
    let builder = || Builder::<u64, u64, _, _, _>::new().hasher(MapHasher::with_seed(1));
    let limit = entries as usize;
    let plain = |policy| move || builder().entry_limit(limit).policy(policy).build();
    let (_, steady) = bytes("plain", plain(Policy::Adaptive), entries);
    assert!(steady < 28.0, "{steady}");

    let lasts = Duration::from_secs(3600);
    let timed = || builder().entry_limit(limit).time_to_live(lasts).build();
    let (_, with_deadline) = bytes("with a time to live", timed, entries);
    assert!(
        with_deadline < steady + 4.0,
        "{with_deadline}, {steady} without"
    );

    // The sets of a cache by weight are as large as they come, not as is best for so many entries.
    let by_weight = |weight: usize| {
        move || {
            builder()
                .weight_limit(limit * weight, move |_, _| weight)
                .build()
        }
    };
    let (_, light) = bytes("by weight, one each", by_weight(1), entries);
    // As many bytes each as the greatest of the set needs.
    for weight in [16, 1_000, 1_000_000] {
        let (_, weighed) = bytes(
            &format!("by weight, {weight} each"),
            by_weight(weight),
            entries,
        );
        assert!(
            weighed < light + 4.0,
            "{weighed}, {light} where each weighs one"
        );
    }
    // A vector and a table of numbers, which double.
    let (_, exact) = bytes("exact order", plain(Policy::Lru), entries);
    assert!(exact < 140.0, "{exact}");
}
