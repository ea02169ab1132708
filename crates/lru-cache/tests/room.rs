//! Room that changes, and entries that keep theirs.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::thread;

use purlin_lru_cache::{Cache, Outcome, Policy, Refusal, Terms, unsync};

const POLICIES: [Policy; 3] = [Policy::Adaptive, Policy::S3Fifo, Policy::Lru];

#[test]
fn a_cache_that_grows_uses_what_it_was_given() {
    for policy in [Policy::Adaptive, Policy::Lfu] {
        for (n_shards, first, then) in [(1, 0, 5_000), (1, 100, 30_000), (16, 20_000, 100_000)] {
            let cache = Cache::builder().entry_limit(first).policy(policy);
            let cache: Cache<u64, u64> = cache.shards(n_shards).build();
            (0..first as u64).for_each(|key| drop(cache.insert(key, key)));
            assert_eq!(cache.set_capacity(then), then);
            let mut next = 1_000_000;
            let before = cache.stats().evictions;
            while cache.stats().evictions == before {
                cache.insert(next, next);
                next += 1;
            }
            assert!(
                cache.len() >= then - then / 1_000,
                "{} of {then}",
                cache.len()
            );
            assert!(cache.len() <= then);
        }
    }
}

#[test]
fn a_cache_that_shrinks_is_below_its_bound_when_the_call_returns_and_works_on() {
    for policy in POLICIES {
        for n_shards in [1, 8] {
            let cache = Cache::builder().entry_limit(60_000).policy(policy);
            let cache: Cache<u64, u64> = cache.shards(n_shards).build();
            (0..60_000).for_each(|key| drop(cache.insert(key, key)));
            for capacity in [59_999, 10_000, 900, 16, 0] {
                assert_eq!(cache.set_capacity(capacity), capacity);
                assert!(cache.len() <= capacity);
                for key in 0..1_000 {
                    let inserted = cache.insert(key, key);
                    assert_eq!(inserted.is_stored(), cache.get(&key).is_some());
                    assert!(inserted.is_stored() || capacity < 100);
                    assert!(cache.len() <= capacity);
                }
            }
            // And back.
            cache.set_capacity(60_000);
            (0..50_000).for_each(|key| drop(cache.insert(key, key)));
            let there = (0..50_000).filter(|key| cache.contains(key)).count();
            assert!(
                there > 49_900,
                "{there} with {n_shards} shards under {policy}"
            );
        }
    }
}

#[test]
fn a_small_cache_that_was_large_chooses_as_one_that_was_not() {
    let hits = |first: usize| {
        let mut cache = unsync::Cache::builder()
            .entry_limit(first)
            .policy(Policy::S3Fifo)
            .hasher(purlin_core::MapHasher::with_seed(7))
            .build_unsync();
        (0..first as u64).for_each(|key| drop(cache.insert(1_000_000 + key, key)));
        cache.set_capacity(2_000);
        let mut rng = purlin_core::Rng::from_seed(3);
        let mut hits = 0;
        for request in 0..200_000 {
            // Few keys are asked for often, and many seldom.
            let most = 1 + rng.below(20_000);
            let key = rng.below(most);
            if cache.get(&key).is_some() {
                // Those of the time after it has settled.
                hits += u32::from(request > 100_000);
            } else {
                cache.insert(key, key);
            }
        }
        hits
    };
    let (grown_up_with_it, shrunk) = (hits(2_000), hits(100_000));
    assert!(
        shrunk > grown_up_with_it - grown_up_with_it / 20,
        "{shrunk} hits, and {grown_up_with_it} of one that was small from the first"
    );
}

#[test]
fn threads_that_store_and_one_that_resizes_end_within_the_bound() {
    let cache: Cache<u64, u64> = Cache::builder().entry_limit(8_000).shards(8).build();
    thread::scope(|scope| {
        for thread in 0..3 {
            let cache = &cache;
            scope.spawn(move || {
                for key in 0..20_000 {
                    cache.insert(thread * 1_000_000 + key, key);
                    if key % 3 == 0 {
                        cache.remove(&(thread * 1_000_000 + key / 2));
                    }
                }
            });
        }
        for n in 0..40 {
            cache.set_capacity(if n % 2 == 0 { 1_000 } else { 9_000 });
        }
    });
    assert_eq!(cache.set_capacity(3_000), 3_000);
    (0..10_000).for_each(|key| drop(cache.insert(key, key)));
    assert!(cache.len() <= 3_000);
    assert!(
        cache.len() >= 2_990,
        "{} of 3000, so no room was lost",
        cache.len()
    );
}

#[test]
fn the_pinned_stay_and_the_others_are_evicted_as_if_they_were_not_there() {
    for policy in POLICIES {
        let cache: Cache<u64, u64> = Cache::builder()
            .entry_limit(10_000)
            .policy(policy)
            .shards(1)
            .build();
        for key in 0..9_000 {
            let stored = cache.insert_on(key, key, Terms::new().pinned());
            assert!(stored.is_stored());
        }
        assert_eq!(cache.pinned(), 9_000);
        for key in 0..20_000 {
            let inserted = cache.insert(100_000 + key, key);
            assert_eq!(inserted.evicted.len(), usize::from(key >= 1_000));
            assert!(cache.contains(&(100_000 + key)));
        }
        assert!((0..9_000).all(|key| cache.get(&key) == Some(key)));
        assert_eq!(cache.stats().hits, 9_000);
        assert_eq!(cache.iter().count(), 10_000);
        // Down to the pinned, and no further.
        assert_eq!(cache.set_capacity(500), 9_000);
        assert_eq!((cache.len(), cache.capacity()), (9_000, 9_000));
        let refused = cache.insert(1_000_000, 0).outcome;
        let why = match refused {
            Outcome::Rejected { why, .. } => Some(why),
            _ => None,
        };
        assert_eq!(why, Some(Refusal::Pinned));
        assert!((0..9_000).all(|key| cache.unpin(&key)));
        assert_eq!(cache.set_capacity(500), 500);
        assert_eq!((cache.len(), cache.pinned()), (500, 0));
    }
}
