//! Placements that may never change: a difference here strands every stored key.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use common::{hashes, node, nodes};
use purlin_core::{NodeId, Placement, PlacementHash};
use purlin_hash_ring::Ring;

/// All the answers for many keys, as one number.
fn digest(placement: &impl Placement, n_keys: u64) -> u64 {
    let mut bytes = Vec::new();
    let mut into = [NodeId(0); 3];
    for hash in hashes(n_keys) {
        let n = placement.replicas_of_hash(hash, &mut into);
        for id in &into[..n] {
            bytes.extend_from_slice(&id.0.to_le_bytes());
        }
    }
    PlacementHash::xxh3(0).of_bytes(&bytes)
}

#[test]
fn ring_r8_owners_of_named_keys() {
    let ring = Ring::from_nodes([
        node(1, 1),
        node(2, 2),
        node(3, 1),
        node(10, 4),
        node(1 << 40, 1),
    ])
    .unwrap();
    let owners: Vec<u64> = [
        "",
        "a",
        "user:17",
        "user:18",
        "obj/261/w.91b",
        "né",
        "b",
        "c",
        "d",
        "e",
        "f",
        "g",
        "h",
        "i",
        "k",
    ]
    .iter()
    .map(|&key| ring.owner(key).unwrap().0)
    .collect();
    assert_eq!(
        owners,
        [
            10,
            10,
            10,
            10,
            3,
            10,
            3,
            1 << 40,
            1 << 40,
            10,
            10,
            1,
            2,
            10,
            10
        ]
    );
    let owners: Vec<u64> = [0u64, 1, 42, u64::MAX, 2, 3, 4, 5, 6, 7]
        .iter()
        .map(|key| ring.owner(key).unwrap().0)
        .collect();
    assert_eq!(owners, [10, 10, 10, 10, 10, 2, 2, 10, 1, 2]);
}

#[test]
fn ring_r8_replica_sets_of_many_keys() {
    let ring = Ring::from_nodes(nodes(10)).unwrap();
    assert_eq!(digest(&ring, 2_000), 14_629_470_500_359_711_952, "xxh3");
    let ring = Ring::builder()
        .hash(PlacementHash::siphash24([7; 16]))
        .nodes(nodes(10))
        .build()
        .unwrap();
    assert_eq!(digest(&ring, 2_000), 3_559_285_165_714_632_469, "siphash");
}
