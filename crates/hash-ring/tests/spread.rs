//! R3: replicas in as many zones as there are, and within what zones allow in as many racks, beside the rule
//! written as plainly as possible.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::BTreeMap;

use common::{all_spread, hashes, node};
use proptest::prelude::*;
use purlin_core::{Node, NodeId, Placement, Rack, Weight, Zone};
use purlin_hash_ring::{Algorithm, Ring, Spread};

/// A node's zone and rack by name, or its own.
fn place(node: &Node) -> (String, String) {
    let zone = node
        .zone
        .as_ref()
        .map_or(format!("of {}", node.id), |zone| zone.to_string());
    let rack = node
        .rack
        .as_ref()
        .map_or(format!("of {}", node.id), |rack| rack.to_string());
    (zone, rack)
}

fn replicas(placement: &impl Placement, hash: u64, n: usize) -> Vec<NodeId> {
    let mut into = vec![NodeId(u64::MAX); n];
    let found = placement.replicas_of_hash(hash, &mut into);
    into.truncate(found);
    into
}

/// One after the other, the node of the least used zone, of those the one of the least used rack, of those the
/// first in the order of preference.
fn naive(nodes: &[Node], order: &[NodeId], n: usize) -> Vec<NodeId> {
    let places: BTreeMap<NodeId, _> = nodes.iter().map(|node| (node.id, place(node))).collect();
    let mut taken: Vec<NodeId> = Vec::new();
    while taken.len() < n.min(order.len()) {
        let used = |id: &NodeId| {
            let (zone, rack) = &places[id];
            let in_zone = taken.iter().filter(|id| places[id].0 == *zone);
            let in_rack = in_zone.clone().filter(|id| places[id].1 == *rack);
            (in_zone.count(), in_rack.count())
        };
        let left = order.iter().filter(|id| !taken.contains(id));
        taken.push(*left.min_by_key(|id| used(id)).unwrap());
    }
    taken
}

/// Up to four zones of up to four racks, some nodes of no zone, some of no rack, some of weight 0.
fn fleet() -> impl Strategy<Value = Vec<Node>> {
    let place = (
        prop::option::weighted(0.9, 0..4u8),
        prop::option::weighted(0.9, 0..4u8),
        0..8u32,
    );
    prop::collection::vec(place, 1..14).prop_map(|places| {
        (1..)
            .zip(places)
            .map(|(id, (zone, rack, weight))| {
                let mut node = node(id, weight.min(1));
                node.zone = zone.map(|zone| Zone::new(format!("z{zone}")));
                node.rack = rack.map(|rack| Rack::new(format!("r{rack}")));
                node
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(common::cases(24, 2))]

    /// Every algorithm chooses what the plain rule does from its own order of preference, whatever the fleet looks like.
    #[test]
    fn ring_r3_zones_come_first_and_racks_second(fleet in fleet(), seed in any::<u64>()) {
        let by_preference = all_spread(Spread::Anywhere, &fleet);
        for (placement, anywhere) in all_spread(Spread::ZonesAndRacks, &fleet).iter().zip(&by_preference) {
            let algorithm = placement.algorithm();
            for hash in hashes(4).map(|hash| hash ^ seed) {
                let order = replicas(anywhere, hash, fleet.len());
                for n in 0..=fleet.len() + 1 {
                    let found = replicas(placement, hash, n);
                    prop_assert_eq!(&found, &naive(&fleet, &order, n), "{}: {} of {:?}", algorithm, n, order);
                }
                prop_assert_eq!(placement.owner_of_hash(hash), order.first().copied());
            }
        }
    }

    /// Where no node names a rack, racks change nothing, and neither do racks of one node each.
    #[test]
    fn ring_r3_without_racks_zones_are_all_there_is(mut fleet in fleet(), own in any::<bool>()) {
        for node in &mut fleet {
            node.rack = own.then(|| Rack::new(node.name.clone()));
        }
        let (zones, racks) = (all_spread(Spread::Zones, &fleet), all_spread(Spread::ZonesAndRacks, &fleet));
        for (zones, racks) in zones.iter().zip(&racks) {
            for hash in hashes(4) {
                for n in 0..=fleet.len() {
                    prop_assert_eq!(replicas(zones, hash, n), replicas(racks, hash, n));
                }
            }
        }
    }

    /// A node that goes is replaced by one other and the rest stay; one that comes pushes out one. In a slot table
    /// this is so of all slots whose owner stays.
    #[test]
    fn ring_r3_a_lost_member_is_replaced_and_the_rest_kept(fleet in fleet(), lost in any::<prop::sample::Index>()) {
        let lost = lost.get(&fleet).id;
        for spread in [Spread::Zones, Spread::ZonesAndRacks] {
            for full in all_spread(spread, &fleet) {
                let keeps = [Algorithm::Ring, Algorithm::Rendezvous, Algorithm::SlotTable];
                if !keeps.contains(&full.algorithm()) {
                    continue;
                }
                let without = full.without(lost);
                for hash in hashes(12) {
                    if full.algorithm() == Algorithm::SlotTable
                        && full.owner_of_hash(hash) != without.owner_of_hash(hash) {
                        continue;
                    }
                    for n in 1..=fleet.len() {
                        let (before, after) = (replicas(&full, hash, n), replicas(&without, hash, n));
                        let kept = before.iter().filter(|id| after.contains(id)).count();
                        let stays = before.len() - usize::from(before.contains(&lost));
                        prop_assert_eq!(kept, stays, "{}: {:?} {:?}", full.algorithm(), before, after);
                    }
                }
            }
        }
    }
}

/// A node that moves to another rack or zone, and nothing else of it, keeps all owners where they were.
#[test]
fn ring_r3_moving_house_moves_no_owner() {
    let fleet: Vec<Node> = (1..=6)
        .map(|id| {
            let rack = Rack::new(if id % 2 == 0 { "even" } else { "odd" });
            node(id, 1).with_zone(Zone::new("z")).with_rack(rack)
        })
        .collect();
    for placement in all_spread(Spread::ZonesAndRacks, &fleet) {
        let moved = placement
            .with(fleet[0].clone().with_rack(Rack::new("even")))
            .unwrap();
        assert_ne!(moved, placement, "{}", placement.algorithm());
        for hash in hashes(100) {
            assert_eq!(moved.owner_of_hash(hash), placement.owner_of_hash(hash));
            let odd = |id: &NodeId| id.0 == 3 || id.0 == 5;
            // The two racks share four copies: two each, as long as the odd one has two.
            let n_odd = replicas(&moved, hash, 4)
                .iter()
                .filter(|id| odd(id))
                .count();
            assert_eq!(n_odd, 2, "{}", placement.algorithm());
        }
    }
}

/// Racks of one name in two zones are two, and a rack without a zone is none.
#[test]
fn ring_r3_a_racks_name_is_its_zones_own() {
    let of = |id: u64, zone: &str| {
        node(id, 1)
            .with_zone(Zone::new(zone))
            .with_rack(Rack::new("r"))
    };
    let lone = |id: u64| node(id, 1).with_rack(Rack::new("r"));
    let fleet = [of(1, "a"), of(2, "b"), lone(3), lone(4)];
    let anywhere = all_spread(Spread::Anywhere, &fleet);
    for (placement, anywhere) in all_spread(Spread::ZonesAndRacks, &fleet)
        .iter()
        .zip(&anywhere)
    {
        for hash in hashes(200) {
            assert_eq!(replicas(placement, hash, 4), replicas(anywhere, hash, 4));
        }
    }
}

/// A fleet as large as they come: choosing ends, and in little time, though all are in one rack of one zone.
#[test]
fn ring_r3_many_nodes_of_one_rack_are_chosen_from() {
    let n: u64 = if cfg!(miri) { 20 } else { 2_000 };
    let fleet = (0..n).map(|id| {
        node(id, 1)
            .with_weight(Weight(1))
            .with_zone(Zone::new("z"))
            .with_rack(Rack::new("r"))
    });
    let ring = Ring::builder()
        .spread(Spread::ZonesAndRacks)
        .nodes(fleet)
        .build()
        .unwrap();
    for hash in hashes(20) {
        assert_eq!(replicas(&ring, hash, 5).len(), 5);
    }
}
