//! What several tests need: nodes, keys, and the ring's definition written as plainly as possible.

#![allow(dead_code, reason = "each test file uses a part of it")]

use proptest::test_runner::Config as ProptestConfig;
use purlin_core::{Node, NodeId, PlacementHash, Weight};
use purlin_hash_ring::{
    Anchor, AnyPlacement, Jump, Maglev, Memento, MultiProbe, Rendezvous, Ring, SlotTable, Spread,
};

/// How many cases a property is tried on: as many as `PROPTEST_CASES` says, or else enough for every day, of which
/// an interpreter gets through few.
pub(crate) fn cases(every_day: u32, interpreted: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if cfg!(miri) {
        config.cases = interpreted;
    } else if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = every_day;
    }
    config
}

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

/// One placement of each algorithm that spreads replicas in this way, in small tables.
pub(crate) fn all_spread(spread: Spread, nodes: &[Node]) -> Vec<AnyPlacement> {
    macro_rules! placements {
        ($($builder:expr),*) => {
            vec![$($builder
                .spread(spread)
                .nodes(nodes.iter().cloned())
                .build()
                .expect("the nodes of a test fit")
                .into()),*]
        };
    }
    placements!(
        Ring::builder(),
        Rendezvous::builder(),
        SlotTable::builder().slot_bits(7),
        SlotTable::builder().slot_bits(8).replica_lists(4),
        Jump::builder(),
        Maglev::builder().table_size(251),
        Anchor::builder(),
        Memento::builder(),
        MultiProbe::builder()
    )
}
