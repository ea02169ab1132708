//! What it costs to make a value anew.
#![cfg(feature = "std")]

use purlin_core::{MapHasher, Rng};
use purlin_lru_cache::{Policy, Terms, unsync};

/// Asks for keys at random, of which each tenth costs more. Returns what the misses cost, and what was asked in vain.
fn run(policy: Policy, dear: u32, cost_told: impl Fn(u32) -> Option<u32>) -> (u64, Vec<u64>) {
    let mut cache = unsync::Cache::builder()
        .entry_limit(2_000)
        .policy(policy)
        .hasher(MapHasher::with_seed(3))
        .build_unsync();
    let mut rng = Rng::from_seed(5);
    let (mut paid, mut missed) = (0, Vec::new());
    for _ in 0..60_000 {
        let most = 1 + rng.below(10_000);
        let key = rng.below(most);
        if cache.get(&key).is_none() {
            let cost = if key % 10 == 0 { dear } else { 10 };
            let terms = cost_told(cost).map_or(Terms::new(), |cost| Terms::new().cost(cost));
            cache.insert_on(key, key, terms);
            paid += u64::from(cost);
            missed.push(key);
        }
    }
    assert!(cache.len() <= 2_000);
    (paid, missed)
}

#[test]
fn what_is_dear_stays_so_that_less_is_paid() {
    for policy in [Policy::S3Fifo, Policy::Fifo, Policy::Lfu, Policy::Adaptive] {
        let (blind, _) = run(policy, 1_000, |_| None);
        let (told, _) = run(policy, 1_000, Some);
        assert!(told < blind * 3 / 4, "{told} and {blind} under {policy}");
    }
}

#[test]
fn equal_costs_change_nothing() {
    for policy in [Policy::S3Fifo, Policy::Lfu, Policy::Adaptive] {
        let (_, plain) = run(policy, 10, |_| None);
        for cost in [1, 10, u32::MAX] {
            assert_eq!(
                run(policy, 10, |_| Some(cost)).1,
                plain,
                "{cost} under {policy}"
            );
        }
    }
}

#[test]
fn nobody_stays_for_ever_whom_nobody_asks_for() {
    let mut cache = unsync::Cache::builder()
        .entry_limit(500)
        .policy(Policy::S3Fifo)
        .build_unsync();
    for key in 0..250u32 {
        cache.insert_on(key, key, Terms::new().cost(u32::MAX));
    }
    for key in 0..200_000 {
        cache.insert(1_000 + key, key);
    }
    assert!((0..250).all(|key| !cache.contains(&key)));
}
