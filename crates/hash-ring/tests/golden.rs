//! Placements that may never change: a difference here strands every stored key.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use common::{hashes, node, nodes};
use purlin_core::{Node, NodeId, Placement, PlacementHash, Rack, Zone};
use purlin_hash_ring::{Algorithm, AnyPlacement, Maglev, Ring, SlotTable, Spread};

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
    assert_eq!(digest(&ring, 300), 2_828_874_873_307_716_849, "xxh3");
    let ring = Ring::builder()
        .hash(PlacementHash::siphash24([7; 16]))
        .nodes(nodes(10))
        .build()
        .unwrap();
    assert_eq!(digest(&ring, 300), 13_659_554_153_480_249_205, "siphash");
}

/// Every algorithm, after a history, by its answers for many keys.
#[test]
fn ring_r8_every_algorithm_after_a_history() {
    let digests = Algorithm::ALL.map(|algorithm| {
        // Small tables, so that an interpreter of another machine gets through them too.
        let mut placement: AnyPlacement = match algorithm {
            Algorithm::SlotTable => SlotTable::builder()
                .slot_bits(8)
                .nodes(nodes(9))
                .build()
                .unwrap()
                .into(),
            Algorithm::Maglev => Maglev::builder()
                .table_size(251)
                .nodes(nodes(9))
                .build()
                .unwrap()
                .into(),
            _ => AnyPlacement::from_nodes(algorithm, nodes(9)).unwrap(),
        };
        for change in 0..6u64 {
            placement = placement.without(NodeId(change * 5 % 9 + 1));
            placement = placement.with(node(20 + change, 1)).unwrap();
        }
        if algorithm != Algorithm::Jump {
            placement = placement.with(node(21, 3)).unwrap();
        }
        (algorithm.name(), digest(&placement, 100))
    });
    let expected = [
        ("ring", 4_735_381_075_325_600_588),
        ("rendezvous", 8_819_699_893_676_543_845),
        ("slot-table", 49_212_583_182_063_740),
        ("jump", 14_864_858_145_840_015_754),
        ("maglev", 6_575_694_325_421_716_547),
        ("anchor", 7_535_374_939_245_495_999),
        ("memento", 5_888_870_420_515_057_768),
        ("multi-probe", 4_946_877_525_439_639_825),
    ];
    assert_eq!(digests, expected);
}

#[test]
fn ring_r8_a_table_without_history() {
    let table = SlotTable::builder()
        .slot_bits(6)
        .nodes(nodes(12))
        .build_history_free()
        .unwrap();
    assert_eq!(digest(&table, 100), 17_678_939_791_428_841_127);
}

/// Replicas over zones, and over zones and racks, by every algorithm.
#[test]
fn ring_r8_spread_replicas_of_every_algorithm() {
    let fleet: Vec<Node> = nodes(9)
        .into_iter()
        .map(|node| {
            let zone = Zone::new(if node.id.0 % 4 == 0 { "a" } else { "b" });
            let rack = Rack::new(format!("{}", node.id.0 % 3));
            node.with_zone(zone).with_rack(rack)
        })
        .collect();
    let digests = [Spread::Zones, Spread::ZonesAndRacks].map(|spread| {
        let all = common::all_spread(spread, &fleet);
        let digests = all
            .iter()
            .map(|placement| digest(placement, 40).to_le_bytes());
        PlacementHash::xxh3(0).of_bytes(&digests.collect::<Vec<_>>().concat())
    });
    assert_eq!(
        digests,
        [6_577_811_872_819_245_675, 15_403_621_778_494_944_574]
    );
}
