//! Who was there is, with the same hits afterwards.

use std::collections::BTreeMap;

use crate::{POLICIES, cache, entries, hits, requests_with_scans, restored, saved};
use purlin_lru_cache::{Builder, Cache, Policy, unsync};

#[test]
fn what_is_restored_is_what_was_saved() {
    for policy in POLICIES {
        for capacity in [0, 40, 2_000] {
            let before = cache(capacity, policy, 1);
            hits(&before, &requests_with_scans(4_000, 3));
            let saved = saved(&before);
            let after = restored::<u64>(&saved, capacity, policy, 2);
            let (before, after) = (entries(&before), entries(&after));
            assert!(
                after
                    .iter()
                    .all(|entry| before.get(entry.0) == Some(entry.1))
            );
            // Keys fall on shards by chance, and under exact order each has its part of the room for good.
            let least = if policy == Policy::Lru {
                before.len() * 9 / 10
            } else {
                before.len()
            };
            assert!(after.len() >= least, "{policy} {capacity}: {}", after.len());
        }
    }
}

/// A restart costs next to nothing; with the entries alone it would cost something, and with none a lot.
#[test]
fn the_hits_after_a_restart_are_those_without_one() {
    let requests = requests_with_scans(7_500, 7);
    // The first few capacities of requests after it: later, all have learned what there is to learn.
    let (first, then) = requests.split_at(6_000);
    for policy in [Policy::Adaptive, Policy::S3Fifo, Policy::Lfu] {
        let before = cache(300, policy, 0);
        hits(&before, first);
        let saved = saved(&before);
        let warm = hits(&restored(&saved, 300, policy, 100), then);
        let cold = hits(&cache(300, policy, 100), then);
        let bare = cache(300, policy, 100);
        for (key, value) in entries(&before) {
            bare.insert(key, value);
        }
        let entries_only = hits(&bare, then);
        let same = hits(&before, then);
        let percent = |hits: usize| 100.0 * hits as f64 / then.len() as f64;
        let figures = format!(
            "{policy}: {:.2} without a restart, {:.2} restored, {:.2} with the entries alone, {:.2} cold",
            percent(same),
            percent(warm),
            percent(entries_only),
            percent(cold)
        );
        println!("{figures}");
        assert!(percent(same) - percent(warm) < 2.0, "{figures}");
        assert!(percent(warm) - percent(entries_only) > 2.0, "{figures}");
        assert!(percent(warm) - percent(cold) > 5.0, "{figures}");
    }
}

/// A loop that is longer than the cache: only some ways to choose get a hit at all, and which they are takes time to find out.
#[test]
fn what_the_adaptive_policy_has_learned_is_not_learned_again() {
    let requests: Vec<u64> = (0..14_000).map(|n| n % 900).collect();
    let (first, then) = requests.split_at(12_200);
    let before = cache(600, Policy::Adaptive, 1);
    hits(&before, first);
    let saved = saved(&before);
    let warm = hits(&restored(&saved, 600, Policy::Adaptive, 2), then);
    let bare = cache(600, Policy::Adaptive, 2);
    for (key, value) in entries(&before) {
        bare.insert(key, value);
    }
    let entries_only = hits(&bare, then);
    let same = hits(&before, then);
    println!("{same} without a restart, {warm} restored, {entries_only} with the entries alone");
    assert!(same > 900, "{same}");
    assert!(warm + 20 > same, "{warm} of {same}");
    assert!(warm > entries_only + 100, "{warm} and {entries_only}");
}

#[test]
fn exact_order_is_kept_to_the_last_entry() {
    let one_shard = || {
        Builder::<u64, u64, _, _, _>::new()
            .entry_limit(1_500)
            .policy(Policy::Lru)
            .shards(1)
    };
    let before = one_shard().build();
    hits(&before, &requests_with_scans(4_000, 5));
    let json = saved(&before);
    let read = &mut serde_json::Deserializer::from_str(&json);
    let mut after = one_shard().restore_unsync(read).unwrap();
    let mut order = Vec::new();
    while let Some((key, _)) = after.pop_oldest() {
        order.push(key);
    }
    assert_eq!(order.len(), 1_500);
    // Each that comes pushes out the oldest.
    for (n, &key) in order.iter().enumerate() {
        let out = before.insert(1 << 40 | n as u64, 0).evicted;
        assert_eq!(out.iter().next().unwrap().key, key, "{n}");
    }
}

/// Nearly the hits of one that was as small from the start, and knows better who the best of so few are.
#[test]
fn a_smaller_cache_keeps_the_best() {
    let requests = requests_with_scans(10_000, 9);
    let (first, then) = requests.split_at(9_000);
    for policy in [Policy::S3Fifo, Policy::Lru, Policy::Lfu] {
        let [mut warm, mut small, mut cold] = [0; 3];
        for seed in 0..3 {
            let large = cache(600, policy, seed);
            hits(&large, first);
            let after = restored(&saved(&large), 200, policy, 10 + seed);
            assert_eq!(after.len(), 200);
            warm += hits(&after, then);
            cold += hits(&cache(200, policy, 10 + seed), then);
            let as_small = cache(200, policy, 10 + seed);
            hits(&as_small, first);
            small += hits(&as_small, then);
        }
        let figures = format!("{policy}: {warm}, from the start {small}, cold {cold}");
        println!("{figures}");
        if policy == Policy::Lru {
            assert_eq!(warm, small, "{figures}");
        } else {
            assert!(warm as f64 > 0.75 * small as f64, "{figures}");
            assert!(warm as f64 > 1.2 * cold as f64, "{figures}");
        }
    }
}

#[test]
fn a_larger_cache_takes_all_and_has_room_for_more() {
    for policy in POLICIES {
        let small = cache(300, policy, 1);
        hits(&small, &requests_with_scans(2_000, 3));
        let large = restored::<u64>(&saved(&small), 10_000, policy, 2);
        assert_eq!(entries(&large), entries(&small));
        assert_eq!(large.stats().insertions, 0);
        (0..2_000).for_each(|key| drop(large.insert(1 << 50 | key, 0)));
        assert_eq!(large.len(), 2_000 + small.len());
    }
}

#[test]
fn any_policy_takes_what_another_saved() {
    for from in POLICIES {
        let before = cache(100, from, 1);
        hits(&before, &requests_with_scans(600, 3));
        let json = saved(&before);
        for to in POLICIES {
            let after = restored::<u64>(&json, 100, to, 2);
            assert_eq!(entries(&after), entries(&before), "{from} to {to}");
            hits(&after, &requests_with_scans(400, 4));
            assert_eq!(after.len(), 100);
        }
    }
}

#[test]
fn the_shared_and_the_single_cache_read_each_other() {
    let shared = cache(500, Policy::Adaptive, 1);
    hits(&shared, &requests_with_scans(2_000, 3));
    let json = saved(&shared);
    let read = &mut serde_json::Deserializer::from_str(&json);
    let mut single: unsync::Cache<u64, u64> = Cache::builder()
        .entry_limit(500)
        .restore_unsync(read)
        .unwrap();
    let of_single: BTreeMap<u64, u64> = single.iter().map(|(&key, &value)| (key, value)).collect();
    assert_eq!(of_single, entries(&shared));
    single.insert(1 << 60, 1);
    let json = serde_json::to_string(&single.snapshot()).unwrap();
    let again = restored::<u64>(&json, 500, Policy::Adaptive, 3);
    let of_single: BTreeMap<u64, u64> = single.iter().map(|(&key, &value)| (key, value)).collect();
    assert_eq!(entries(&again), of_single);
}
