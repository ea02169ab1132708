//! R7: what moves, all of it and nothing else; and in which order.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{hashes, node, nodes};
use proptest::prelude::*;
use purlin_core::{NodeId, Placement, PlacementHash, Rng};
use purlin_hash_ring::{
    Algorithm, AnyPlacement, Move, Plan, Ranges, Ring, SlotTable, Throttle, diff, diff_any, evenly,
    moves, shares,
};

fn ranged() -> Vec<AnyPlacement> {
    let with_ranges = |algorithm: &Algorithm| {
        AnyPlacement::from_nodes(*algorithm, nodes(2))
            .unwrap()
            .ranges()
            .is_some()
    };
    Algorithm::ALL
        .into_iter()
        .filter(with_ranges)
        .map(|algorithm| AnyPlacement::from_nodes(algorithm, nodes(8)).unwrap())
        .collect()
}

#[test]
fn ring_r7_ranges_hold_from_end_to_end() {
    let placements = ranged();
    assert_eq!(placements.len(), 3);
    for placement in placements {
        let ranges = placement.ranges().unwrap();
        for hash in hashes(2_000).chain([0, u64::MAX]) {
            let end = ranges.range_end(hash);
            assert!(end >= hash);
            assert_eq!(ranges.range_end(end), end);
            assert_eq!(placement.owner_of_hash(end), placement.owner_of_hash(hash));
            let middle = hash + (end - hash) / 2;
            assert_eq!(
                placement.owner_of_hash(middle),
                placement.owner_of_hash(hash)
            );
        }
        let sum: f64 = shares(ranges).iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}

/// Each hash is in a listed move exactly if its set differs, the move says the right sets, moves are in
/// order and joined, and their lengths add up to what the owners' shares say.
#[test]
fn ring_r7_a_difference_is_exactly_what_moves() {
    for old in ranged() {
        let news = [
            old.without(NodeId(3)),
            old.with(node(20, 2)).unwrap(),
            old.with(node(5, 4)).unwrap(),
            old.without(NodeId(1)).with(node(21, 1)).unwrap(),
        ];
        for new in news {
            for n_replicas in [1, 2, 3] {
                let listed: Vec<Move> = diff_any(&old, &new, n_replicas).unwrap().collect();
                for pair in listed.windows(2) {
                    let gap = pair[0].hashes.end() < pair[1].hashes.start();
                    assert!(gap, "out of order");
                    let adjacent = pair[0].hashes.end() + 1 == *pair[1].hashes.start();
                    assert!(
                        !adjacent || pair[0].from != pair[1].from || pair[0].to != pair[1].to,
                        "not joined"
                    );
                }
                for hash in hashes(1_000).chain([0, u64::MAX]) {
                    let at = listed.partition_point(|change| *change.hashes.end() < hash);
                    let found = listed
                        .get(at)
                        .filter(|change| change.hashes.contains(&hash));
                    assert_eq!(found.is_some(), moves(&old, &new, hash, n_replicas));
                    if let Some(change) = found {
                        for (placement, nodes) in [(&old, &change.from), (&new, &change.to)] {
                            let mut into = vec![NodeId(0); n_replicas];
                            let n = placement.replicas_of_hash(hash, &mut into);
                            assert_eq!(into[..n], nodes[..]);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn ring_r7_a_change_of_algorithm_is_a_difference_too() {
    let ring = Ring::from_nodes(nodes(5)).unwrap();
    let table = SlotTable::from_nodes(nodes(5)).unwrap();
    let moved: u128 = diff(&ring, &table, 1).map(|change| change.n_hashes()).sum();
    let sampled = hashes(20_000)
        .filter(|&hash| moves(&ring, &table, hash, 1))
        .count();
    let (moved, sampled) = (moved as f64 / 2f64.powi(64), sampled as f64 / 20_000.0);
    assert!((moved - sampled).abs() < 0.02, "{moved} {sampled}");
    assert_eq!(diff(&ring, &ring, 3).count(), 0);
    assert_eq!(diff(&ring, &ring.without(NodeId(1)), 0).count(), 0);
}

#[test]
fn placements_that_hash_differently_are_not_compared() {
    let here: AnyPlacement = Ring::from_nodes(nodes(3)).unwrap().into();
    let there = Ring::builder()
        .hash(PlacementHash::xxh64(1))
        .nodes(nodes(3))
        .build()
        .unwrap()
        .into();
    assert!(diff_any(&here, &there, 1).is_err());
    let jump = AnyPlacement::from_nodes(Algorithm::Jump, nodes(3)).unwrap();
    assert!(
        diff_any(&here, &jump, 1)
            .unwrap_err()
            .to_string()
            .contains("ranges")
    );
}

/// What each node holds, in bytes, as ranges come and go.
fn loads(
    placement: &impl Ranges,
    n_replicas: usize,
    size: &dyn Fn(&Move) -> u64,
) -> BTreeMap<NodeId, i64> {
    let empty = Ring::from_nodes([]).unwrap();
    let mut loads = BTreeMap::new();
    for change in diff(&empty, placement, n_replicas) {
        for &id in &change.to {
            *loads.entry(id).or_default() += size(&change) as i64;
        }
    }
    loads
}

proptest! {
    #![proptest_config(common::cases(30, 1))]

    /// Following a plan step by step ends where the new placement is, never leaves a key with fewer copies
    /// than it had or shall have, and no node ever holds more than before or after, but for two steps.
    #[test]
    fn ring_r7_every_prefix_of_a_plan_keeps_copies_and_balance(seed in any::<u64>(), n_replicas in 1..4usize) {
        let mut rng = Rng::from_seed(seed);
        let old = SlotTable::builder().slot_bits(8).nodes(nodes(6)).build().unwrap();
        let mut new = old.clone();
        for _ in 0..rng.in_range(1..4) {
            new = match rng.below(3) {
                0 => new.with(node(rng.in_range(7..10), 1)).unwrap(),
                1 => new.without(NodeId(rng.in_range(1..4))),
                _ => new.with(node(rng.in_range(4..7), rng.in_range(1..4) as u32)).unwrap(),
            };
        }
        let size = evenly(256 * 1000);
        let (before, after) = (loads(&old, n_replicas, &size), loads(&new, n_replicas, &size));
        let plan = Plan::new(diff(&old, &new, n_replicas), &size);
        let mut now = before.clone();
        let largest = plan.steps().iter().map(|step| step.bytes as i64).max().unwrap_or(0);
        for step in plan.steps() {
            for id in &step.gaining {
                *now.entry(*id).or_default() += step.bytes as i64;
            }
            for id in &step.losing {
                *now.entry(*id).or_default() -= step.bytes as i64;
            }
            prop_assert!(step.sources.len() == step.change.from.len());
            prop_assert!(step.gaining.iter().all(|id| !step.change.from.contains(id)));
            for (id, &load) in &now {
                let most = before.get(id).copied().unwrap_or(0).max(after.get(id).copied().unwrap_or(0));
                prop_assert!(load <= most + 2 * largest, "{id} holds {load}, of {most} before or after");
            }
        }
        now.retain(|_, load| *load != 0);
        let mut after = after;
        after.retain(|_, load| *load != 0);
        // Sizes round down range by range, and ranges differ between the two lists.
        for (id, load) in &after {
            let off = (load - now.get(id).copied().unwrap_or(0)).abs();
            prop_assert!(off <= 2 * plan.steps().len() as i64 + 256, "{id} is off by {off}");
        }
    }
}

#[test]
fn ring_r7_what_is_least_safe_is_copied_first() {
    let old = SlotTable::builder()
        .slot_bits(8)
        .nodes(nodes(5))
        .build()
        .unwrap();
    let lost = [NodeId(1), NodeId(2)];
    let new = old.without(NodeId(1)).without(NodeId(2));
    let plan = Plan::after_losing(&lost, diff(&old, &new, 2), evenly(1 << 30));
    let copies: Vec<usize> = plan.steps().iter().map(|step| step.sources.len()).collect();
    assert!(
        copies.is_sorted() && copies.first() == Some(&0) && copies.last() == Some(&1),
        "{copies:?}"
    );
    assert!(
        plan.steps()
            .iter()
            .all(|step| step.sources.iter().all(|id| !lost.contains(id)))
    );
}

#[test]
fn durations_follow_the_throttle() {
    let old = SlotTable::builder()
        .slot_bits(4)
        .nodes(nodes(1))
        .build()
        .unwrap();
    let new = old.with(node(2, 1)).unwrap();
    let plan = Plan::new(diff(&old, &new, 1), evenly(16_000));
    assert_eq!(plan.copied_bytes(), 8_000);
    let throttle = |node, total| Throttle {
        node_bytes_per_second: node,
        total_bytes_per_second: total,
    };
    assert_eq!(
        plan.duration(throttle(1_000, 4_000)),
        Duration::from_secs(8)
    );
    assert_eq!(
        plan.duration(throttle(u64::MAX, 4_000)),
        Duration::from_secs(2)
    );
    assert_eq!(
        plan.duration(throttle(16_000, 16_000)),
        Duration::from_millis(500)
    );
    assert_eq!(plan.duration(throttle(0, 1)), Duration::MAX);
    let nothing = Plan::new(diff(&old, &old, 1), evenly(1));
    assert_eq!(nothing.duration(throttle(0, 0)), Duration::ZERO);
    assert!(nothing.steps().is_empty());
}

/// The throttle for a time is the lowest that keeps it, and one that no rate keeps is asked for at the highest.
#[test]
fn ring_r7_a_throttle_is_as_gentle_as_a_time_allows() {
    let old = SlotTable::builder()
        .slot_bits(6)
        .nodes(nodes(5))
        .build()
        .unwrap();
    let new = old.with(node(6, 3)).unwrap().without(NodeId(2));
    for n_replicas in [1, 3] {
        let plan = Plan::new(diff(&old, &new, n_replicas), evenly(1 << 30));
        for within in [1, 1_500, 86_400_000].map(Duration::from_millis) {
            let throttle = plan.throttle(within);
            assert!(plan.duration(throttle) <= within);
            let mut slower = throttle;
            slower.node_bytes_per_second -= 1;
            assert!(plan.duration(slower) >= within);
            let mut slower = throttle;
            slower.total_bytes_per_second -= 1;
            assert!(plan.duration(slower) >= within);
        }
        let most = plan.throttle(Duration::ZERO);
        assert_eq!(
            (most.node_bytes_per_second, most.total_bytes_per_second),
            (u64::MAX, u64::MAX)
        );
        let least = plan.throttle(Duration::MAX);
        assert_eq!(
            (least.node_bytes_per_second, least.total_bytes_per_second),
            (1, 1)
        );
    }
    let nothing = Plan::new(diff(&old, &old, 3), evenly(1 << 30));
    let idle = nothing.throttle(Duration::ZERO);
    assert_eq!(
        (idle.node_bytes_per_second, idle.total_bytes_per_second),
        (0, 0)
    );
    assert_eq!(nothing.duration(idle), Duration::ZERO);
}
