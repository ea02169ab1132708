//! The bound on entries, on weight and on heap, looked at after each of many operations.
//!
//! `PURLIN_CACHE_OPERATIONS` sets their number, which is 10 000 000 in `ci/memory-bound.sh`; without it there are fewer.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "common/counting.rs"]
mod counting;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use counting::live_bytes;
use purlin_core::{ManualClock, Rng};
use purlin_lru_cache::{Builder, Cache, Policy};

fn operations() -> u64 {
    let asked = std::env::var("PURLIN_CACHE_OPERATIONS").ok();
    asked.map_or(100_000, |asked| asked.parse().unwrap())
}

/// Every operation that can change what is held, by several threads, each of which looks after each of its own.
fn regress_c22_no_slack_at_any_instant(weighed: bool, policy: Policy) {
    const THREADS: u64 = 4;
    const CAPACITY: usize = 5_000;
    let clock = ManualClock::new();
    let builder = Builder::with_clock(clock.clone())
        .policy(policy)
        .time_to_idle(Duration::from_secs(60));
    let cache: Arc<Cache<u64, u64, _, _>> = Arc::new(if weighed {
        let weigher = |_: &u64, value: &u64| *value as usize % 8;
        builder.weight_limit(CAPACITY, weigher).build()
    } else {
        builder.entry_limit(CAPACITY).build()
    });
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, clock) = (&cache, &clock);
            scope.spawn(move || {
                let mut rng = Rng::from_seed(thread);
                for _ in 0..operations() / THREADS {
                    // A few of the keys most of the time, so that there are hits and replacements as well.
                    let span = if rng.below(4) == 0 { 200_000 } else { 4_000 };
                    let (key, value) = (rng.below(span), rng.next_u64());
                    match rng.below(64) {
                        0..=31 => drop(cache.insert(key, value)),
                        32..=37 => {
                            let life = Duration::from_millis(rng.below(5_000));
                            drop(cache.insert_for(key, value, life));
                        }
                        38..=55 => drop(cache.get(&key)),
                        56..=60 => drop(cache.remove(&key)),
                        61 => drop(cache.get_or_load(&key, |_| value)),
                        62 => clock.advance(Duration::from_millis(rng.below(3))),
                        _ if rng.below(2_000) == 0 => cache.clear(),
                        _ => drop(cache.sweep(8)),
                    }
                    let (held, weight) = (cache.len(), cache.weight());
                    assert!(weight <= CAPACITY, "{weight} of {CAPACITY}");
                    assert!(weighed || held <= CAPACITY, "{held} of {CAPACITY}");
                }
            });
        }
    });
    assert!(cache.weight() <= CAPACITY && cache.stats().evictions > 0);
}

/// What an entry of two words may take of the heap, all in all: `docs/lru-cache.md` has what it takes on the
/// average.
const BYTES_AN_ENTRY: usize = 40;

/// Nothing grows but with the entries, however long it runs.
fn regress_c22_the_heap_is_bounded_as_well() {
    const CAPACITY: usize = 100_000;
    let before = live_bytes();
    let cache = Cache::<u64, u64>::new(CAPACITY);
    let mut rng = Rng::from_seed(22);
    let (mut most, mut next) = (0, 0);
    for n in 0..operations() {
        // New keys for the most part; and now and then some that were there, or a removal.
        match rng.below(8) {
            0..=4 => {
                next += 1;
                cache.insert(next, n);
            }
            5 => drop(cache.insert(rng.below(next + 1), n)),
            6 => drop(cache.get(&rng.below(next + 1))),
            _ => drop(cache.remove(&rng.below(next + 1))),
        }
        most = most.max(live_bytes() - before);
    }
    let an_entry = most as f64 / CAPACITY as f64;
    assert!(
        an_entry <= BYTES_AN_ENTRY as f64,
        "{an_entry:.1} bytes an entry at the most"
    );
    println!("at most {an_entry:.1} bytes of heap for each of {CAPACITY} entries");
}

/// The shortest way in, of entries that nothing is known of. The entries are counted one by one, since `len` never tells of more than
/// there may be.
fn regress_c22_plain_insertions_keep_the_bound() {
    for capacity in [1, 2, 7, 40, 100] {
        let cache = Cache::<u64, u64>::new(capacity);
        for key in 0..3 * capacity as u64 {
            cache.insert(key % (2 * capacity as u64), key);
            let held = cache.iter().count();
            assert!(held <= capacity, "{held} of {capacity}");
        }
        assert_eq!(cache.iter().count(), capacity);
    }
}

// One after the other, for the heap is counted for all threads.
#[test]
fn regress_c22_many_operations() {
    for policy in [Policy::Adaptive, Policy::Lru] {
        regress_c22_no_slack_at_any_instant(false, policy);
        regress_c22_no_slack_at_any_instant(true, policy);
    }
    regress_c22_plain_insertions_keep_the_bound();
    regress_c22_the_heap_is_bounded_as_well();
}
