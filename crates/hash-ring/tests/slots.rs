//! The slot table: exact shares, and no move without need.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::BTreeMap;

use common::{hashes, node, nodes};
use purlin_core::{Node, NodeId, Placement, Rng, Weight, Zone};
use purlin_hash_ring::{BuildError, SlotTable, Spread, diff, least_movement, shares};

/// The largest ratio of a node's slots to its exact share, and the bound that is promised for it.
fn peak(table: &SlotTable) -> (f64, f64) {
    let total: f64 = table
        .nodes()
        .iter()
        .map(|node| f64::from(node.weight.0))
        .sum();
    let weights: BTreeMap<NodeId, f64> = table
        .nodes()
        .iter()
        .map(|node| (node.id, f64::from(node.weight.0)))
        .collect();
    let peak = shares(table)
        .iter()
        .map(|(id, share)| share * total / weights[id])
        .fold(0.0, f64::max);
    let n = weights.values().filter(|&&weight| weight > 0.0).count();
    (peak, 1.0 + n as f64 / f64::from(table.n_slots()))
}

fn list(table: &SlotTable) -> Vec<(NodeId, Weight)> {
    table
        .nodes()
        .iter()
        .map(|node| (node.id, node.weight))
        .collect()
}

#[test]
fn ring_r5_no_node_has_more_than_its_share_and_rounding() {
    let mut rng = Rng::from_seed(11);
    for n in [1, 2, 3, 10, 100, if cfg!(miri) { 101 } else { 1000 }] {
        for heaviest in [1, 4, 1000] {
            let fleet = (0..n).map(|id| node(id, rng.in_range(1..heaviest + 1) as u32));
            let table = SlotTable::from_nodes(fleet).unwrap();
            let (peak, bound) = peak(&table);
            assert!(
                peak <= bound + 1e-12,
                "{n} nodes up to {heaviest}: {peak} > {bound}"
            );
        }
    }
}

/// A thousand random changes: balance within the bound after each, and in total hardly more moves than the
/// least that the changes of shares need. Every moved slot is in some difference, and nothing else is.
#[test]
fn ring_r4_a_thousand_changes_move_what_they_must() {
    let mut rng = Rng::from_seed(7);
    let mut table = SlotTable::builder()
        .slot_bits(14)
        .nodes(nodes(60))
        .build()
        .unwrap();
    let (mut moved, mut least) = (0u64, 0.0);
    let n_changes = if cfg!(miri) { 3 } else { 1000 };
    for change in 0..n_changes {
        let ids: Vec<u64> = table.nodes().iter().map(|node| node.id.0).collect();
        let some = ids[rng.below(ids.len() as u64) as usize];
        let next = match rng.below(3) {
            0 if ids.len() < 120 => table
                .with(node(1_000 + change, rng.in_range(1..5) as u32))
                .unwrap(),
            1 if ids.len() > 20 => table.without(NodeId(some)),
            _ => table.with(node(some, rng.in_range(1..5) as u32)).unwrap(),
        };
        let (peak, bound) = peak(&next);
        assert!(peak <= bound + 1e-12, "change {change}: {peak} > {bound}");

        let differing = (0..table.n_slots())
            .filter(|&slot| table.slot_owner(slot) != next.slot_owner(slot))
            .count();
        if change % 20 == 0 {
            let listed: u128 = diff(&table, &next, 1).map(|change| change.n_hashes()).sum();
            assert_eq!(listed, (differing as u128) << 50);
        }
        moved += differing as u64;
        least += least_movement(&list(&table), &list(&next)) * f64::from(table.n_slots());
        table = next;
    }
    let ratio = moved as f64 / least;
    assert!(
        ratio <= if cfg!(miri) { 1.1 } else { 1.001 },
        "moved {moved} slots, {ratio} times the least"
    );
}

#[test]
fn ring_r4_addition_and_removal_have_no_stray_moves() {
    for (n, weight) in [(10, 1), (100, 1), (100, 3), (999, 1)] {
        let table = SlotTable::from_nodes(nodes(n)).unwrap();
        let larger = table.with(node(5_000, weight)).unwrap();
        let smaller = larger.without(NodeId(n / 2));
        for slot in 0..table.n_slots() {
            let (one, two, three) = (
                table.slot_owner(slot),
                larger.slot_owner(slot),
                smaller.slot_owner(slot),
            );
            assert!(
                one == two || two == Some(NodeId(5_000)),
                "{n}: stray on addition"
            );
            assert!(
                two == three || two == Some(NodeId(n / 2)),
                "{n}: stray on removal"
            );
        }
    }
}

#[test]
fn several_nodes_that_come_and_go_together_move_nothing_twice() {
    let table = SlotTable::from_nodes(nodes(10)).unwrap();
    let next = table.with_nodes((4..=13).map(|id| node(id, 1))).unwrap();
    for slot in 0..table.n_slots() {
        let (old, new) = (
            table.slot_owner(slot).unwrap(),
            next.slot_owner(slot).unwrap(),
        );
        assert!(old == new || old.0 < 4, "{old} to {new} though it stayed");
    }
    assert!(matches!(
        table.with_nodes([node(1, 1), node(1, 2)]),
        Err(BuildError::DuplicateNode(_))
    ));
}

#[test]
fn doubling_moves_no_key_and_halves_rounding() {
    let table = SlotTable::builder()
        .slot_bits(6)
        .nodes(nodes(7))
        .build()
        .unwrap();
    let mut doubled = table.clone();
    for bits in 7..=12 {
        doubled = doubled.doubled().unwrap();
        assert_eq!(doubled.n_slots(), 1 << bits);
        assert!(hashes(500).all(|hash| doubled.owner_of_hash(hash) == table.owner_of_hash(hash)));
    }
    assert_eq!(diff(&table, &doubled, 1).count(), 0);
    let widest = SlotTable::builder().slot_bits(24).build().unwrap();
    assert_eq!(widest.doubled().unwrap_err(), BuildError::SlotBits(25));
}

#[test]
fn more_nodes_than_slots_have_an_answer() {
    let table = SlotTable::builder()
        .slot_bits(2)
        .nodes(nodes(9))
        .build()
        .unwrap();
    let owners: Vec<u64> = (0..4)
        .map(|slot| table.slot_owner(slot).unwrap().0)
        .collect();
    assert_eq!(
        owners
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        4,
        "{owners:?}"
    );
    assert_eq!(table.slot_owner(4), None);
    let mut into = [NodeId(0); 9];
    assert_eq!(table.replicas("key", &mut into), 9);
    for bits in [0, 25, u32::MAX] {
        assert_eq!(
            SlotTable::builder().slot_bits(bits).build().unwrap_err(),
            BuildError::SlotBits(bits)
        );
    }
}

#[test]
fn extreme_weights_stay_within_numbers() {
    let fleet = [node(1, u32::MAX), node(2, 1), node(3, u32::MAX)];
    let table = SlotTable::from_nodes(fleet).unwrap();
    let shares: BTreeMap<u64, f64> = shares(&table)
        .into_iter()
        .map(|(id, share)| (id.0, share))
        .collect();
    assert!(
        (shares[&1] - 0.5).abs() < 1e-4 && (shares[&3] - 0.5).abs() < 1e-4,
        "{shares:?}"
    );
}

/// Lists made ahead say what would be worked out otherwise, in every width and with zones.
#[test]
fn ring_r3_listed_replicas_are_those_that_are_not_listed() {
    let zoned = |id: u64| {
        node(id, 1 + id as u32 % 3).with_zone(Zone::new(["a", "b", "c"][id as usize % 3]))
    };
    for spread in [Spread::Anywhere, Spread::Zones] {
        let builder = || {
            SlotTable::builder()
                .slot_bits(9)
                .spread(spread)
                .nodes((0..12).map(zoned))
        };
        let plain = builder().build().unwrap();
        for width in [1, 3, 12, 20] {
            let listed = builder().replica_lists(width).build().unwrap();
            assert_eq!(listed.listed(), width.min(16));
            for change in 0..3 {
                let (plain, listed) = match change {
                    0 => (plain.clone(), listed.clone()),
                    1 => (plain.without(NodeId(4)), listed.without(NodeId(4))),
                    _ => (
                        plain.with(zoned(20)).unwrap(),
                        listed.with(zoned(20)).unwrap(),
                    ),
                };
                for hash in hashes(300) {
                    for n in [0, 1, 2, 3, 12, 15] {
                        let (mut one, mut two) = ([NodeId(77); 15], [NodeId(77); 15]);
                        let found = plain.replicas_of_hash(hash, &mut one[..n]);
                        assert_eq!(listed.replicas_of_hash(hash, &mut two[..n]), found);
                        assert_eq!(one, two);
                    }
                }
            }
        }
    }
}

/// Two and three replicas are kept once they were worked out, which must not show: not in answers, whichever
/// number was asked for first, nor in equality or copies. They are kept in another way from 1 024 nodes on.
#[test]
fn ring_r3_replicas_are_the_same_when_asked_again() {
    for spread in [Spread::Anywhere, Spread::Zones] {
        for n in [0, 1, 2, 3, 7, 1_023, 1_024] {
            let fleet = (1..=n).map(|id| node(id, 1).with_zone(Zone::new(format!("{}", id % 3))));
            let table = SlotTable::builder()
                .slot_bits(6)
                .spread(spread)
                .nodes(fleet)
                .build()
                .unwrap();
            let untouched = table.clone();
            for slot in (0..64).step_by(if n > 7 { 9 } else { 1 }) {
                let hash = slot << 58;
                let replicas = |table: &SlotTable, wanted: usize| {
                    let mut into = vec![NodeId(99); wanted];
                    let found = table.replicas_of_hash(hash, &mut into);
                    assert!(
                        into[found..].iter().all(|&id| id == NodeId(99)),
                        "the rest is left"
                    );
                    into.truncate(found);
                    into
                };
                // More than three are never kept.
                let all = replicas(&untouched, 8);
                assert_eq!(all.len(), n.min(8) as usize);
                let order: [usize; 6] = if slot % 2 == 0 {
                    [2, 3, 1, 3, 2, 0]
                } else {
                    [3, 2, 3, 1, 0, 3]
                };
                for wanted in order {
                    let expected = &all[..wanted.min(all.len())];
                    assert_eq!(
                        replicas(&table, wanted),
                        expected,
                        "{n} nodes, {wanted} replicas"
                    );
                    assert_eq!(replicas(&table.clone(), wanted), expected);
                }
            }
            assert_eq!(table, untouched);
        }
    }
}

/// One change takes at most one member of a replica set away, and most sets are untouched.
#[test]
fn ring_r3_a_change_replaces_at_most_one_member_of_a_set() {
    let table = SlotTable::builder()
        .slot_bits(12)
        .replica_lists(3)
        .nodes(nodes(20))
        .build()
        .unwrap();
    for next in [table.without(NodeId(9)), table.with(node(21, 1)).unwrap()] {
        let mut changed = 0;
        for change in diff(&table, &next, 3) {
            assert!(
                change.gaining().count() <= 1 && change.losing().count() <= 1,
                "{change:?}"
            );
            assert!(
                change.gaining().all(|id| id == NodeId(21))
                    || change.losing().all(|id| id == NodeId(9))
            );
            changed += change.n_hashes() >> 52;
        }
        assert!(
            changed < 4096 * 3 * 2 / 20,
            "{changed} sets of 4096 changed"
        );
    }
}

/// Without history: the same table from the same nodes, balanced as well, and a change moves less than twice
/// what it must.
#[test]
fn history_free_tables_agree_and_move_little() {
    let table = |n: u64| {
        SlotTable::builder()
            .slot_bits(12)
            .nodes(nodes(n))
            .build_history_free()
            .unwrap()
    };
    let mut shuffled: Vec<Node> = nodes(20);
    Rng::from_seed(3).shuffle(&mut shuffled);
    let again = SlotTable::builder()
        .slot_bits(12)
        .nodes(shuffled)
        .build_history_free()
        .unwrap();
    assert_eq!(again, table(20));
    let mut ratios = vec![];
    for n in [5, 20, 50] {
        let (small, large) = (table(n), table(n + 1));
        let (peak, bound) = peak(&large);
        assert!(peak <= bound + 1e-12, "{n}: {peak} > {bound}");
        let moved = (0..4096)
            .filter(|&slot| small.slot_owner(slot) != large.slot_owner(slot))
            .count();
        ratios.push(moved as f64 / (4096.0 / (n + 1) as f64));
    }
    assert!(ratios.iter().all(|&ratio| ratio < 2.0), "{ratios:?}");
    let empty = SlotTable::history_free([]).unwrap();
    assert_eq!(empty.owner("key"), None);
}
