//! What several tests need: nodes, keys, and the ring's definition written as plainly as possible.

#![allow(dead_code, reason = "each test file uses a part of it")]

use purlin_core::{Node, NodeId, PlacementHash, Weight};
use purlin_hash_ring::{
    Anchor, AnyPlacement, Jump, Maglev, Memento, MultiProbe, Rendezvous, Ring, SlotTable, Spread,
};

/// Nodes `1..=n` of weight one.
pub(crate) fn nodes(n: u64) -> Vec<Node> {
    (1..=n).map(|id| node(id, 1)).collect()
}

pub(crate) fn node(id: u64, weight: u32) -> Node {
    Node::new(NodeId(id), format!("node-{id}")).with_weight(Weight(weight))
}

/// The hashes of `n` different keys.
pub(crate) fn hashes(n: u64) -> impl Iterator<Item = u64> {
    let hash = PlacementHash::xxh3(99);
    (0..n).map(move |key| hash.of(&key))
}

/// A sorted list of (position, node), looked through from the start: what a ring means.
pub(crate) struct NaiveRing(pub(crate) Vec<(u64, NodeId)>);

impl NaiveRing {
    pub(crate) fn new(nodes: &[Node], hash: PlacementHash, points_per_weight: u32) -> Self {
        let mut points = Vec::new();
        for node in nodes {
            for i in 0..node.weight.0 * points_per_weight {
                let mut key = node.id.0.to_le_bytes().to_vec();
                key.extend_from_slice(&i.to_le_bytes());
                points.push((hash.of_bytes(&key) >> 24, node.id));
            }
        }
        points.sort();
        NaiveRing(points)
    }

    pub(crate) fn replicas(&self, hash: u64, wanted: usize) -> Vec<NodeId> {
        let start = self
            .0
            .iter()
            .position(|&(at, _)| at >= hash >> 24)
            .unwrap_or(0);
        let mut found = Vec::new();
        for &(_, id) in self.0[start..].iter().chain(&self.0[..start]) {
            if found.len() < wanted && !found.contains(&id) {
                found.push(id);
            }
        }
        found
    }
}

/// One placement of each algorithm that spreads replicas over zones.
pub(crate) fn spread_over_zones(nodes: &[Node]) -> Vec<AnyPlacement> {
    macro_rules! placements {
        ($($algorithm:ident)*) => {
            vec![$($algorithm::builder()
                .spread(Spread::Zones)
                .nodes(nodes.iter().cloned())
                .build()
                .expect("the nodes of a test fit")
                .into()),*]
        };
    }
    let mut all: Vec<AnyPlacement> =
        placements!(Ring Rendezvous SlotTable Jump Maglev Anchor Memento MultiProbe);
    let listed = SlotTable::builder()
        .slot_bits(8)
        .replica_lists(4)
        .spread(Spread::Zones);
    all.push(
        listed
            .nodes(nodes.iter().cloned())
            .build()
            .expect("the nodes of a test fit")
            .into(),
    );
    all
}
