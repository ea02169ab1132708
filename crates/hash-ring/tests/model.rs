//! The ring beside a naive one, under random changes.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use common::{NaiveRing, hashes, node};
use proptest::prelude::*;
use purlin_core::{Node, NodeId, Placement, PlacementHash};
use purlin_hash_ring::Ring;

#[derive(Clone, Debug)]
enum Change {
    With(u64, u32),
    Without(u64),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        (0..12u64, 0..5u32).prop_map(|(id, weight)| Change::With(id, weight)),
        (0..12u64).prop_map(Change::Without),
    ];
    prop::collection::vec(change, 0..20)
}

proptest! {
    #![proptest_config(common::cases(200, 4))]

    /// Whatever the history, the ring is the one that the naive definition makes of the nodes at hand, and
    /// the same as one built of them at once.
    #[test]
    fn a_ring_is_what_its_nodes_say_whatever_its_history(
        changes in changes(),
        per_weight in 1..20u32,
        seed in any::<u64>(),
        keys in prop::collection::vec(any::<u64>(), 1..50),
    ) {
        let hash = PlacementHash::xxh3(seed);
        let per_weight = NonZeroU32::new(per_weight).unwrap();
        let mut ring = Ring::builder().hash(hash).points_per_weight(per_weight).build().unwrap();
        let mut members: BTreeMap<u64, Node> = BTreeMap::new();
        for change in changes {
            let version = ring.version();
            let known = match change {
                Change::With(id, weight) => {
                    ring = ring.with(node(id, weight)).unwrap();
                    members.insert(id, node(id, weight));
                    true
                }
                Change::Without(id) => {
                    ring = ring.without(NodeId(id));
                    members.remove(&id).is_some()
                }
            };
            prop_assert_eq!(ring.version(), version + u64::from(known));

            let now: Vec<Node> = members.values().cloned().collect();
            prop_assert_eq!(ring.nodes(), &now[..]);
            let rebuilt = Ring::builder()
                .hash(hash)
                .points_per_weight(per_weight)
                .version(ring.version())
                .nodes(now.iter().rev().cloned())
                .build()
                .unwrap();
            prop_assert_eq!(&rebuilt, &ring);

            let naive = NaiveRing::new(&now, hash, per_weight.get());
            prop_assert_eq!(ring.n_points(), naive.0.len());
            for &key in &keys {
                let key = hash.of(&key);
                for wanted in [0, 1, 2, 3, 20] {
                    let mut into = vec![NodeId(u64::MAX); wanted];
                    let n = ring.replicas_of_hash(key, &mut into);
                    prop_assert_eq!(&into[..n], &naive.replicas(key, wanted)[..]);
                    prop_assert!(into[n..].iter().all(|&id| id == NodeId(u64::MAX)));
                }
                prop_assert_eq!(ring.owner_of_hash(key), naive.replicas(key, 1).first().copied());
            }
        }
    }
}

/// The shares of a ring of the default size are as even as its documentation says.
#[test]
fn ring_r5_shares_follow_weights_within_the_stated_spread() {
    let weights = [1u32, 1, 2, 3, 4, 1, 2, 1];
    let ring = Ring::from_nodes((1..).zip(weights).map(|(id, weight)| node(id, weight))).unwrap();
    let n = 200_000;
    let mut counts = [0u64; 9];
    for hash in hashes(n) {
        counts[ring.owner_of_hash(hash).unwrap().0 as usize] += 1;
    }
    let total: u32 = weights.iter().sum();
    for (id, weight) in (1..).zip(weights) {
        let ideal = n as f64 * f64::from(weight) / f64::from(total);
        let spread = 1.0 / f64::from(weight * 160).sqrt();
        let off = (counts[id] as f64 / ideal - 1.0).abs();
        assert!(
            off < 4.0 * spread,
            "node {id} of weight {weight} is off by {off:.3}"
        );
    }
}
