//! Whatever was done before, and whatever a snapshot claims.

use crate::{POLICIES, SECOND, entries, saved};
use proptest::collection::vec;
use proptest::prelude::*;
use purlin_core::{Clock, ManualClock, WallTime};
use purlin_lru_cache::{Builder, Cache, Policy};

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
