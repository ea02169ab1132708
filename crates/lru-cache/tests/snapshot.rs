//! A cache that is saved and restored: the same entries, the same hits, and never more than there is room for.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use purlin_core::{Clock, ManualClock, MapHasher, Rng, WallTime};
use purlin_lru_cache::{Builder, Cache, Cause, Policy, Terms, unsync};
use serde::de::DeserializeOwned;
use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};

const SECOND: Duration = Duration::from_secs(1);

const POLICIES: [Policy; 5] = [
    Policy::Adaptive,
    Policy::Lru,
    Policy::S3Fifo,
    Policy::Fifo,
    Policy::Lfu,
];

/// A cache with a seed, so that a test that fails does so again.
fn cache<V: Clone>(capacity: usize, policy: Policy, seed: u64) -> Cache<u64, V> {
    Cache::builder()
        .entry_limit(capacity)
        .policy(policy)
        .hasher(MapHasher::with_seed(seed))
        .build()
}

fn saved<K, V, S, C>(cache: &Cache<K, V, S, C>) -> String
where
    K: Hash + Eq + Clone + Serialize,
    V: Clone + Serialize,
    S: BuildHasher,
    C: Clock,
{
    serde_json::to_string(&cache.snapshot()).unwrap()
}

fn restored<V: Clone + DeserializeOwned>(
    saved: &str,
    capacity: usize,
    policy: Policy,
    seed: u64,
) -> Cache<u64, V> {
    let builder = Cache::builder()
        .entry_limit(capacity)
        .policy(policy)
        .hasher(MapHasher::with_seed(seed));
    builder
        .restore(&mut serde_json::Deserializer::from_str(saved))
        .unwrap()
}

fn entries<K: Hash + Eq + Clone + Ord, V: Clone, S: BuildHasher, C: Clock>(
    cache: &Cache<K, V, S, C>,
) -> BTreeMap<K, V> {
    cache.iter().collect()
}

/// The hits of so many requests.
fn hits(cache: &Cache<u64, u64>, requests: &[u64]) -> usize {
    let mut hits = 0;
    for &key in requests {
        match cache.get(&key) {
            Some(_) => hits += 1,
            None => drop(cache.insert(key, !key)),
        }
    }
    hits
}

/// Keys that are asked for again.
const KEYS: u64 = 1_000;

/// Requests of which a part is for few keys, and the others are scans that never return.
fn requests_with_scans(n: usize, seed: u64) -> Vec<u64> {
    let mut rng = Rng::from_seed(seed);
    let mut next = 1 << 32;
    let request = |_| {
        if rng.below(3) == 0 {
            next += 1;
            return next;
        }
        // The product of two is nearer to zero than either.
        rng.below(KEYS) * rng.below(KEYS) / KEYS
    };
    (0..n).map(request).collect()
}

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

fn timed(
    clock: &ManualClock,
) -> Builder<u64, u64, purlin_lru_cache::ByEntries, MapHasher, ManualClock> {
    Builder::with_clock(clock.clone())
        .entry_limit(100)
        .time_to_live(60 * SECOND)
}

#[test]
fn an_entry_has_left_what_it_had_less_the_time_between() {
    let clock = ManualClock::at_wall(WallTime::from_unix_millis(1_000_000));
    let before = timed(&clock).build();
    before.insert(1, 1);
    before.insert_for(2, 2, 20 * SECOND);
    before.insert_for(3, 3, Duration::MAX);
    clock.advance(5 * SECOND);
    before.insert_for(4, 4, SECOND);
    clock.advance(5 * SECOND);
    let json = saved(&before);

    // Another process: its ticks begin at zero, half a minute was lost, and what was over is not there.
    let at =
        |wall_s: u64| ManualClock::at_wall(WallTime::from_unix_millis(1_000_000 + 1_000 * wall_s));
    let restored = |clock: &ManualClock| {
        let read = &mut serde_json::Deserializer::from_str(&json);
        timed(clock).restore(read).unwrap()
    };
    let clock = at(10 + 5);
    let after = restored(&clock);
    assert_eq!(entries(&after), BTreeMap::from([(1, 1), (2, 2), (3, 3)]));
    clock.advance(5 * SECOND);
    assert_eq!(
        after.get(&2),
        None,
        "it had 10 s left, and 5 of them were lost"
    );
    clock.advance(40 * SECOND);
    assert_eq!(after.get(&1), None);
    clock.advance(Duration::from_secs(1 << 30));
    assert_eq!(after.get(&3), Some(3));

    assert_eq!(
        entries(&restored(&at(10 + 10))),
        BTreeMap::from([(1, 1), (3, 3)])
    );
    assert_eq!(entries(&restored(&at(10 + 50))), BTreeMap::from([(3, 3)]));
    // A clock on the wall that was set back tells nothing.
    assert_eq!(restored(&ManualClock::new()).len(), 3);
}

#[test]
fn times_to_idle_go_on_and_new_lifetimes_apply() {
    let clock = ManualClock::new();
    let idle = || {
        Builder::<u64, u64, _, _, _>::with_clock(clock.clone())
            .entry_limit(100)
            .time_to_idle(10 * SECOND)
    };
    let before = idle().build();
    before.insert(1, 1);
    before.insert(2, 2);
    clock.advance(6 * SECOND);
    before.get(&2);
    let json = saved(&before);
    let read = || serde_json::from_str::<serde_json::Value>(&json).unwrap();
    let after = idle().restore(read()).unwrap();
    clock.advance(4 * SECOND);
    assert_eq!(entries(&after), BTreeMap::from([(2, 2)]));
    after.get(&2);
    clock.advance(9 * SECOND);
    assert_eq!(after.get(&2), Some(2), "its use was a use");
    clock.advance(10 * SECOND);
    assert!(entries(&after).is_empty());

    // A cache whose entries end otherwise.
    let wall = clock.wall();
    let clock = ManualClock::at_wall(wall);
    let after = timed(&clock).restore(read()).unwrap();
    assert_eq!(after.len(), 2);
    clock.advance(59 * SECOND);
    assert_eq!(entries(&after).len(), 2);
    clock.advance(SECOND);
    assert!(entries(&after).is_empty());
}

#[test]
fn the_pinned_stay_pinned_as_far_as_there_is_room() {
    for policy in POLICIES {
        let before = cache(10, policy, 1);
        for key in 0..6 {
            before.insert(key, key);
            before.pin(&key);
        }
        (10..50).for_each(|key| drop(before.insert(key, key)));
        let json = saved(&before);
        let after = restored::<u64>(&json, 10, policy, 2);
        assert_eq!((after.pinned(), after.len()), (6, 10));
        assert_eq!(entries(&after), entries(&before));
        (50..100).for_each(|key| drop(after.insert(key, key)));
        assert!((0..6).all(|key| after.get(&key) == Some(key)));
        let smaller = restored::<u64>(&json, 4, policy, 2);
        assert_eq!((smaller.pinned(), smaller.len()), (4, 4));
        assert!(restored::<u64>(&json, 0, policy, 2).is_empty());
    }
}

#[test]
fn what_had_a_tag_leaves_with_any() {
    for policy in POLICIES {
        let before = cache(10, policy, 1);
        before.insert_on(1, 1, Terms::new().tag("a"));
        before.insert_on(2, 2, Terms::new().tag("b"));
        before.insert(3, 3);
        before.invalidate_tag("b");
        let after = restored::<u64>(&saved(&before), 10, policy, 2);
        assert_eq!(entries(&after), BTreeMap::from([(1, 1), (3, 3)]));
        after.invalidate_tag("c");
        assert_eq!(entries(&after), BTreeMap::from([(3, 3)]));
    }
}

#[test]
fn weights_are_asked_for_anew_and_costs_are_kept() {
    let by_weight = |limit| {
        Builder::<u64, usize, _, _, _>::new()
            .weight_limit(limit, |_, weight: &usize| *weight)
            .shards(1)
    };
    let before = by_weight(100).build();
    for key in 0..30 {
        before.insert(key, key as usize % 7);
    }
    before.insert_on(90, 5, Terms::new().cost(1_000));
    let json = saved(&before);
    let read = || serde_json::from_str::<serde_json::Value>(&json).unwrap();
    let after = by_weight(100).restore(read()).unwrap();
    assert_eq!(entries(&after), entries(&before));
    assert_eq!(after.weight(), before.weight());
    for limit in [0, 1, 5, 30] {
        let after = by_weight(limit).restore(read()).unwrap();
        assert!(after.weight() <= limit);
        assert_eq!(after.weight(), entries(&after).values().sum::<usize>());
    }
    // What is costly outlasts what is not.
    (200..400).for_each(|key| drop(after.insert(key, 5)));
    assert_eq!(after.get(&90), Some(5));
}

#[test]
fn a_listener_is_told_of_nobody_who_was_never_there() {
    let before = cache(1_000, Policy::S3Fifo, 1);
    hits(&before, &requests_with_scans(2_000, 3));
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let after = Builder::new()
        .entry_limit(100)
        .listener(move |_: &u64, _: &u64, cause| {
            assert_eq!(cause, Cause::Capacity);
            count.fetch_add(1, Ordering::SeqCst);
        })
        .restore(&mut serde_json::Deserializer::from_str(&saved(&before)))
        .unwrap();
    assert_eq!((after.len(), told.load(Ordering::SeqCst)), (100, 0));
}

#[test]
fn what_is_not_a_whole_snapshot_of_this_format_is_an_error() {
    let before = cache(10, Policy::Adaptive, 1);
    (0..10).for_each(|key| drop(before.insert(key, key)));
    let json = saved(&before);
    let fails = |text: &str| {
        let read = &mut serde_json::Deserializer::from_str(text);
        let restored = Builder::<u64, u64, _, _, _>::new()
            .entry_limit(10)
            .restore(read);
        restored.unwrap_err().to_string()
    };
    for cut in [0, 1, json.len() / 2, json.len() - 1] {
        fails(&json[..cut]);
    }
    assert!(json.contains("\"format\":1,"));
    let later = json.replacen("\"format\":1,", "\"format\":2,", 1);
    assert!(fails(&later).starts_with("a snapshot of format 2, where 1 was expected"));
    assert!(fails(&json.replacen("\"format\":1,", "", 1)).contains("missing field `format`"));
    assert!(fails("{\"format\":1,\"shards\":[]}").contains("missing field `head`"));
    let parts: serde_json::Value = serde_json::from_str(&json).unwrap();
    let (head, shards) = (&parts["head"], &parts["shards"]);
    assert!(fails(&format!("{{\"format\":1,\"head\":{head}}}")).contains("missing field `shards`"));
    let twice = format!("{{\"format\":1,\"head\":{head},\"head\":{head},\"shards\":{shards}}}");
    assert!(fails(&twice).contains("twice"));
    assert!(fails("[1]").contains("the three fields of a snapshot"));
    // In a row without names, as formats that are not for people have it, and in any order with them.
    let in_a_row = format!("[1,{head},{shards}]");
    let in_another_order = format!("{{\"shards\":{shards},\"head\":{head},\"format\":1}}");
    for text in [in_a_row, in_another_order] {
        assert_eq!(
            entries(&restored::<u64>(&text, 10, Policy::Adaptive, 3)),
            entries(&before)
        );
    }
}

/// A value that counts how many of it there are.
struct Alive(&'static AtomicUsize);

impl<'de> Deserialize<'de> for Alive {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        static ALIVE: AtomicUsize = AtomicUsize::new(0);
        u64::deserialize(from)?;
        let alive = ALIVE.fetch_add(1, Ordering::SeqCst);
        assert!(alive <= 2 * 50 + 1, "{alive} at once");
        Ok(Alive(&ALIVE))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn however_long_it_is_no_more_than_twice_the_capacity_is_held() {
    let before = cache(2_000, Policy::Adaptive, 1);
    (0..2_000).for_each(|key| drop(before.insert(key, key)));
    let json = saved(&before);
    for policy in POLICIES {
        let read = &mut serde_json::Deserializer::from_str(&json);
        let builder = Builder::<u64, Alive, _, _, _>::new()
            .entry_limit(50)
            .policy(policy);
        let after = builder.restore(read).unwrap();
        assert_eq!(after.len(), 50);
    }
}

/// A value that writes to the cache it is saved from.
#[derive(Clone)]
struct Writes(u64, Option<Arc<Cache<u64, Writes>>>);

impl Serialize for Writes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(cache) = &self.1 else {
            return Err(S::Error::custom("it will not be saved"));
        };
        cache.get(&self.0);
        cache.insert(1_000 + self.0, Writes(self.0, Some(Arc::clone(cache))));
        cache.remove(&((self.0 + 1) % 50));
        self.0.serialize(serializer)
    }
}

#[test]
fn no_lock_is_held_while_values_are_serialised() {
    let cache: Arc<Cache<u64, Writes>> = Arc::new(Cache::new(100));
    for key in 0..50 {
        cache.insert(key, Writes(key, Some(Arc::clone(&cache))));
    }
    let json = serde_json::to_string(&cache.snapshot()).unwrap();
    assert!(json.contains("\"format\":1"));
    cache.clear();
    cache.insert(1, Writes(1, None));
    assert!(serde_json::to_string(&cache.snapshot()).is_err());
    assert_eq!(cache.len(), 1);
}

/// A key that moves while the cache is saved is there twice; the later is the newer.
#[test]
fn of_two_entries_of_one_key_the_later_is_taken() {
    let before = cache(10, Policy::Adaptive, 1);
    (0..5).for_each(|key| drop(before.insert(key, key)));
    let mut parts: serde_json::Value = serde_json::from_str(&saved(&before)).unwrap();
    let shard = parts["shards"][0].as_array_mut().unwrap();
    let mut newer = shard[2].clone();
    newer[1] = 77.into();
    // Though it says that it was used the longest ago.
    newer[2]["rank"] = 0.into();
    let key = newer[0].as_u64().unwrap();
    shard.push(newer);
    let after = restored::<u64>(&parts.to_string(), 10, Policy::Adaptive, 2);
    assert_eq!((after.len(), after.get(&key)), (5, Some(77)));
}

#[derive(Clone, Debug)]
enum Op {
    Get(u8),
    Insert(u8, usize),
    InsertFor(u8, usize, u64),
    Pin(u8),
    Remove(u8),
    Turn(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (key, weight) = (0u8..30, 0usize..5);
    let op = prop_oneof![
        4 => key.clone().prop_map(Op::Get),
        6 => (key.clone(), weight.clone()).prop_map(|(key, weight)| Op::Insert(key, weight)),
        3 => (key.clone(), weight, 0u64..9).prop_map(|(key, weight, s)| Op::InsertFor(key, weight, s)),
        1 => key.clone().prop_map(Op::Pin),
        1 => key.prop_map(Op::Remove),
        1 => (0u64..4).prop_map(Op::Turn),
    ];
    vec(op, 0..80)
}

fn policy() -> impl Strategy<Value = Policy> {
    (0..POLICIES.len()).prop_map(|n| POLICIES[n])
}

proptest! {
    // Each is many operations, so a quarter of the usual number.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.div_ceil(4),
        ..ProptestConfig::default()
    })]

    /// Entries, weights, pins and lifetimes go there and back, whatever was done before, and the bound holds.
    #[test]
    fn a_round_trip_loses_nothing_that_fits(
        ops in ops(),
        policy in policy(),
        capacity in 0usize..40,
        other_capacity in 0usize..80,
        by_weight in any::<bool>(),
    ) {
        let clock = ManualClock::new();
        let builder = |capacity, clock: &ManualClock| {
            let weigh = move |_: &u8, weight: &usize| if by_weight { *weight } else { 1 };
            Builder::with_clock(clock.clone())
                .weight_limit(capacity, weigh)
                .policy(policy)
        };
        let before = builder(capacity, &clock).build();
        for op in ops {
            match op {
                Op::Get(key) => drop(before.get(&key)),
                Op::Insert(key, weight) => drop(before.insert(key, weight)),
                Op::InsertFor(key, weight, s) => drop(before.insert_for(key, weight, s as u32 * SECOND)),
                Op::Pin(key) => drop(before.pin(&key)),
                Op::Remove(key) => drop(before.remove(&key)),
                Op::Turn(s) => clock.advance(s as u32 * SECOND),
            }
        }
        let json = saved(&before);
        let there = ManualClock::at_wall(clock.wall());
        let after = builder(other_capacity, &there)
            .restore(&mut serde_json::Deserializer::from_str(&json))
            .unwrap();
        prop_assert!(after.weight() <= other_capacity);
        let (mine, its) = (entries(&before), entries(&after));
        prop_assert!(its.iter().all(|entry| mine.get(entry.0) == Some(entry.1)));
        if other_capacity >= capacity && capacity > 0 {
            prop_assert_eq!(&mine, &its);
            // Else some are over and not found yet.
            if before.len() == mine.len() {
                prop_assert_eq!(before.pinned(), after.pinned());
            }
        }
        // They also end together.
        for _ in 0..9 {
            clock.advance(SECOND);
            there.advance(SECOND);
            let (mine, its) = (entries(&before), entries(&after));
            prop_assert!(its.iter().all(|entry| mine.get(entry.0) == Some(entry.1)));
            if other_capacity >= capacity && capacity > 0 {
                prop_assert_eq!(mine, its);
            }
        }
        // And it works.
        for key in 0..60 {
            after.insert(key, 1);
            prop_assert!(after.weight() <= other_capacity);
        }
        after.clear();
        prop_assert!(after.is_empty());
    }

    /// Whatever numbers an entry claims, the bound holds and nothing panics.
    #[test]
    fn no_claim_of_an_entry_breaks_anything(
        claims in vec((any::<u32>(), any::<u8>(), any::<u8>(), any::<u32>(), any::<bool>(), any::<bool>(), any::<Option<u64>>(), any::<Option<u64>>()), 0..80),
        policy in policy(),
        arm in proptest::option::of(0u8..12),
        saved_at in any::<u64>(),
        was_full in any::<bool>(),
    ) {
        let entries: Vec<serde_json::Value> = claims.iter().enumerate().map(|(n, claim)| {
            serde_json::json!([n % 60, n, {
                "rank": claim.0, "note": claim.1, "count": claim.2, "cost": claim.3,
                "is_pinned": claim.4 && n % 4 == 0, "is_tagged": claim.5, "dies_in_ns": claim.6, "idles_in_ns": claim.7,
            }])
        }).collect();
        let json = serde_json::json!({
            "format": 1,
            "head": {"saved_at_ms": saved_at, "arm": arm, "was_full": was_full, "had_time_to_live": was_full, "selector": null},
            "shards": [[], entries],
        });
        let clock = ManualClock::at_wall(WallTime::from_unix_millis(saved_at));
        let cache: Cache<u64, u64, _, _> = Builder::with_clock(clock.clone())
            .entry_limit(25)
            .policy(policy)
            .time_to_idle(SECOND)
            .restore(json)
            .unwrap();
        prop_assert!(cache.len() <= 25);
        for key in 0..200 {
            cache.insert(key, 0);
            cache.get(&(key / 2));
            prop_assert!(cache.len() <= 25);
            clock.advance(SECOND / 50);
        }
    }
}
