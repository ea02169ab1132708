//! Placements that divide the hashes into ranges.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use purlin_core::{NodeId, Placement};

use crate::{Maglev, Ring, SlotTable};

/// A placement in which neighbouring hashes have the same nodes, so that it can be listed range by range:
/// what differences, plans and exact shares are made of.
///
/// 1. [`range_end`](Ranges::range_end) of a hash is not below it, nor above [`last_hash`](Ranges::last_hash).
/// 2. All hashes from one to its range's end have the same owner and the same replicas, of any number.
/// 3. The placement only ever looks up hashes up to `last_hash`.
pub trait Ranges: Placement {
    /// The last hash of the range in which `hash` lies, or of a part of it.
    fn range_end(&self, hash: u64) -> u64;

    /// The largest hash that [`hash_key`](Placement::hash_key) gives: `u64::MAX` but for rings of other
    /// programs, which hash to 32 bits or to a number of slots.
    fn last_hash(&self) -> u64 {
        u64::MAX
    }
}

/// The share of the hashes that each node owns, by ascending id; nodes that own none are left out. Walks over
/// all ranges: O(points or slots).
///
/// ```
/// use purlin_core::{Node, NodeId};
/// use purlin_hash_ring::{SlotTable, shares};
///
/// let table = SlotTable::from_nodes((1..=4).map(|i| Node::new(NodeId(i), "")))?;
/// assert!(shares(&table).iter().all(|&(_, share)| share == 0.25));
/// # Ok::<(), purlin_hash_ring::BuildError>(())
/// ```
pub fn shares(placement: &(impl Ranges + ?Sized)) -> Vec<(NodeId, f64)> {
    let mut owned: BTreeMap<NodeId, u128> = BTreeMap::new();
    let last = placement.last_hash();
    let mut start = 0;
    loop {
        let end = placement.range_end(start);
        if let Some(owner) = placement.owner_of_hash(start) {
            *owned.entry(owner).or_default() += u128::from(end - start) + 1;
        }
        if end >= last {
            break;
        }
        start = end + 1;
    }
    let total = (u128::from(last) + 1) as f64;
    owned
        .into_iter()
        .map(|(id, owned)| (id, owned as f64 / total))
        .collect()
}

impl<R: Ranges + ?Sized> Ranges for &R {
    fn range_end(&self, hash: u64) -> u64 {
        (**self).range_end(hash)
    }
    fn last_hash(&self) -> u64 {
        (**self).last_hash()
    }
}

/// A range is what lies between two points.
impl Ranges for Ring {
    fn range_end(&self, hash: u64) -> u64 {
        self.point_end(hash)
    }
}

/// A range is a slot.
impl Ranges for SlotTable {
    fn range_end(&self, hash: u64) -> u64 {
        hash | (u64::MAX >> self.n_slots().ilog2())
    }
}

/// A range is a table entry.
impl Ranges for Maglev {
    fn range_end(&self, hash: u64) -> u64 {
        self.entry_end(hash)
    }
}
