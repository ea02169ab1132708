//! What moves when nodes come, go or change weight.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use common::{hashes, node, nodes};
use purlin_core::{NodeId, Placement};
use purlin_hash_ring::Ring;

const KEYS: u64 = if cfg!(miri) { 200 } else { 100_000 };

/// Removing a node moves only the keys that lived on it, and they spread over all others.
#[test]
fn ring_r4_removal_moves_only_the_removed_nodes_keys() {
    let before = Ring::from_nodes(nodes(10)).unwrap();
    let after = before.without(NodeId(3));
    let mut heirs = std::collections::BTreeSet::new();
    for hash in hashes(KEYS) {
        let (home, now) = (
            before.owner_of_hash(hash).unwrap(),
            after.owner_of_hash(hash).unwrap(),
        );
        if home == NodeId(3) {
            assert_ne!(now, NodeId(3));
            heirs.insert(now);
        } else {
            assert_eq!(now, home, "{hash:x} moved without cause");
        }
    }
    assert!(cfg!(miri) || heirs.len() == 9, "only {heirs:?} inherited");
}

/// Adding a node moves keys to it, about its share of them, and no others.
#[test]
fn ring_r4_addition_moves_keys_only_to_the_new_node() {
    let before = Ring::from_nodes(nodes(10)).unwrap();
    let after = before.with(node(11, 1)).unwrap();
    let mut moved = 0;
    for hash in hashes(KEYS) {
        let (home, now) = (
            before.owner_of_hash(hash).unwrap(),
            after.owner_of_hash(hash).unwrap(),
        );
        if now != home {
            assert_eq!(now, NodeId(11), "{hash:x} moved between old nodes");
            moved += 1;
        }
    }
    let ideal = KEYS as f64 / 11.0;
    assert!(
        cfg!(miri) || (moved as f64 / ideal - 1.0).abs() < 0.3,
        "{moved} moved of {ideal} ideal"
    );
}

/// A larger weight takes keys and gives none; a smaller one gives and takes none.
#[test]
fn ring_r4_a_new_weight_moves_keys_only_to_or_from_its_node() {
    let light = Ring::from_nodes(nodes(8)).unwrap();
    let heavy = light.with(node(5, 3)).unwrap();
    let mut moved = 0;
    for hash in hashes(KEYS) {
        let (when_light, when_heavy) = (
            light.owner_of_hash(hash).unwrap(),
            heavy.owner_of_hash(hash).unwrap(),
        );
        if when_light != when_heavy {
            assert_eq!(when_heavy, NodeId(5), "{hash:x} moved between other nodes");
            moved += 1;
        }
    }
    assert!(moved > 0);
    let back = heavy.with(node(5, 1)).unwrap();
    assert!(hashes(KEYS).all(|hash| back.owner_of_hash(hash) == light.owner_of_hash(hash)));
}

/// In a set of replicas a lost member is replaced and the others stay, in their order.
#[test]
fn ring_r3_a_lost_replica_is_replaced_and_the_rest_stay() {
    let before = Ring::from_nodes(nodes(10)).unwrap();
    let after = before.without(NodeId(7));
    for hash in hashes(KEYS / 10) {
        let (mut old, mut new) = ([NodeId(0); 3], [NodeId(0); 3]);
        assert_eq!(before.replicas_of_hash(hash, &mut old), 3);
        assert_eq!(after.replicas_of_hash(hash, &mut new), 3);
        let kept: Vec<NodeId> = old.into_iter().filter(|&id| id != NodeId(7)).collect();
        assert_eq!(new[..kept.len()], kept, "{hash:x}");
    }
}
