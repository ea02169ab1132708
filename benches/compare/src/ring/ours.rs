//! Our placements as contenders.

use purlin_core::{Node, NodeId, Placement, PlacementHash, Weight};
use purlin_hash_ring::interop::ForeignRing;
use purlin_hash_ring::{
    Anchor, BuildError, Jump, JumpFunction, Maglev, Memento, MultiProbe, Rendezvous, Ring,
    SlotTable, jump, shares,
};

use super::contender::{Contender, Member};
use super::rivals::address;

fn node(member: Member) -> Node {
    Node::new(NodeId(u64::from(member.id)), format!("node-{}", member.id))
        .with_weight(Weight(member.weight))
}

fn nodes(fleet: &[Member]) -> impl Iterator<Item = Node> {
    fleet.iter().copied().map(node)
}

fn copies(placement: &impl Placement, hash: u64, into: &mut [NodeId; 3]) -> Option<usize> {
    Some(placement.replicas_of_hash(hash, into))
}

fn number(owner: Option<NodeId>) -> u32 {
    owner.map_or(u32::MAX, |id| id.0 as u32)
}

/// Declares a contender around one of our placements, which all have the same methods.
macro_rules! ours {
    ($(#[$doc:meta])* $name:ident, $title:literal, $placement:ty, $build:expr, most = $most:expr, weights = $weights:literal) => {
        $(#[$doc])*
        pub(crate) struct $name($placement);

        impl Contender for $name {
            const NAME: &'static str = $title;
            const MOST_NODES: u32 = $most;
            const WEIGHTS: bool = $weights;

            fn build(fleet: &[Member]) -> Self {
                let build: fn(&[Member]) -> Result<$placement, BuildError> = $build;
                $name(build(fleet).expect("the nodes of a comparison fit"))
            }
            fn add(&mut self, member: Member) -> bool {
                self.0 = self.0.with(node(member)).expect("one more node fits");
                true
            }
            fn remove(&mut self, id: u32) -> bool {
                self.0 = self.0.without(NodeId(u64::from(id)));
                true
            }
            #[inline]
            fn owner(&self, key: u64) -> u32 {
                number(self.0.owner_of_hash(key))
            }
            #[inline]
            fn owner_of_text(&self, key: &'static str) -> u32 {
                number(self.0.owner(key))
            }
            #[inline]
            fn copies(&self, key: u64, into: &mut [NodeId; 3]) -> Option<usize> {
                copies(&self.0, key, into)
            }
        }
    };
}

ours!(
    OurRing,
    "purlin Ring",
    Ring,
    |fleet| Ring::from_nodes(nodes(fleet)),
    most = u32::MAX,
    weights = true
);
ours!(
    OurTable,
    "purlin SlotTable",
    SlotTable,
    |fleet| SlotTable::from_nodes(nodes(fleet)),
    most = u32::MAX,
    weights = true
);
ours!(
    /// Three replicas of each slot are listed when the table is built, which takes slots × nodes.
    OurListedTable,
    "purlin SlotTable, 3 listed",
    SlotTable,
    |fleet| SlotTable::builder().replica_lists(3).nodes(nodes(fleet)).build(),
    most = 1_000,
    weights = true
);
ours!(
    OurRendezvous,
    "purlin Rendezvous",
    Rendezvous,
    |fleet| Rendezvous::from_nodes(nodes(fleet)),
    most = u32::MAX,
    weights = true
);
ours!(
    OurMaglev,
    "purlin Maglev",
    Maglev,
    |fleet| Maglev::from_nodes(nodes(fleet)),
    most = u32::MAX,
    weights = true
);
ours!(
    OurAnchor,
    "purlin Anchor",
    Anchor,
    |fleet| Anchor::from_nodes(nodes(fleet)),
    most = u32::MAX,
    weights = true
);
ours!(
    OurMemento,
    "purlin Memento",
    Memento,
    |fleet| Memento::from_nodes(nodes(fleet)),
    most = u32::MAX,
    weights = true
);
ours!(
    OurMultiProbe,
    "purlin MultiProbe",
    MultiProbe,
    |fleet| MultiProbe::from_nodes(nodes(fleet)),
    most = u32::MAX,
    weights = true
);
ours!(
    OurJump,
    "purlin Jump (as built by default)",
    Jump,
    |fleet| Jump::from_nodes(nodes(fleet)),
    most = u32::MAX,
    weights = false
);
ours!(
    OurLampingVeach,
    "purlin Jump (Lamping and Veach)",
    Jump,
    |fleet| Jump::builder()
        .function(JumpFunction::Jump)
        .nodes(nodes(fleet))
        .build(),
    most = u32::MAX,
    weights = false
);

/// The ring of nginx, beside the crate that makes the same one.
pub(crate) struct OurNginx(ForeignRing);

impl Contender for OurNginx {
    const NAME: &'static str = "purlin ForeignRing::nginx";
    const WEIGHTS: bool = true;

    fn build(fleet: &[Member]) -> Self {
        let nodes = fleet.iter().map(|member| {
            Node::new(NodeId(u64::from(member.id)), address(member.id).to_string())
                .with_weight(Weight(member.weight))
        });
        OurNginx(ForeignRing::nginx(nodes).expect("the nodes of a comparison fit"))
    }
    #[inline]
    fn owner(&self, key: u64) -> u32 {
        number(Placement::owner(&self.0, &key.to_le_bytes()))
    }
    #[inline]
    fn owner_of_text(&self, key: &'static str) -> u32 {
        number(Placement::owner(&self.0, key.as_bytes()))
    }
    #[inline]
    fn copies(&self, key: u64, into: &mut [NodeId; 3]) -> Option<usize> {
        copies(&self.0, self.0.hash_key(&key.to_le_bytes()), into)
    }
}

/// What no placement can be faster than, and not consistent.
pub(crate) struct Floor {
    hash: PlacementHash,
    n: u64,
}

impl Contender for Floor {
    const NAME: &'static str = "(floor: range-reduce of the hash)";

    fn build(fleet: &[Member]) -> Self {
        Floor {
            hash: PlacementHash::default(),
            n: fleet.len() as u64,
        }
    }
    #[inline]
    fn owner(&self, key: u64) -> u32 {
        ((u128::from(key) * u128::from(self.n)) >> 64) as u32
    }
    #[inline]
    fn owner_of_text(&self, key: &'static str) -> u32 {
        self.owner(self.hash.of(key))
    }
}

/// The highest of a slot table's shares, as a multiple of what the weights say: exact, without the noise of
/// keys. Beside it what is promised.
pub(crate) fn exact_peak(fleet: &[Member]) -> (f64, f64) {
    let table = SlotTable::from_nodes(nodes(fleet)).expect("the nodes of a comparison fit");
    let total: f64 = fleet.iter().map(|member| f64::from(member.weight)).sum();
    let peak = shares(&table)
        .iter()
        .map(|(id, share)| share * total / f64::from(fleet[id.0 as usize].weight))
        .fold(0.0, f64::max);
    (peak, 1.0 + fleet.len() as f64 / f64::from(table.n_slots()))
}

/// Agreement that a comparison of speed takes for granted.
pub(crate) fn check_jump(keys: &[u64]) {
    for &key in &keys[..1_000] {
        assert_eq!(jump(key, 1_000), jump_consistent_hash::hash(key, 1_000));
    }
}
