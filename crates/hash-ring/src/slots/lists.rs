//! The replicas of every slot, made ahead.

use alloc::vec;
use alloc::vec::Vec;

use purlin_core::NodeId;

use super::{KEPT, NOBODY, SlotTable};
use crate::nodes::Nodes;

/// The first few replicas of each slot. A copy of what [`SlotTable`] would work out, kept because a load is
/// cheaper: the lists are a function of the slot's owner, the nodes and the spread, and hold no history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplicaLists {
    width: usize,
    /// How many of them there are: `width`, or the number of nodes that take keys.
    filled: usize,
    /// `width` node indexes a slot, `NOBODY` behind the last.
    lists: Vec<u16>,
}

impl ReplicaLists {
    pub(super) fn new(table: &SlotTable, width: usize) -> Self {
        let nodes = &table.fleet.nodes;
        let mut lists = vec![NOBODY; width << table.bits];
        let mut ids = vec![NodeId(0); width];
        for (slot, list) in (0..).zip(lists.chunks_exact_mut(width)) {
            let n = table
                .fleet
                .spread
                .pick(nodes, table.candidates(slot), &mut ids);
            for (entry, id) in list.iter_mut().zip(&ids[..n]) {
                *entry = nodes.index(*id).map_or(NOBODY, |index| index as u16);
            }
        }
        ReplicaLists {
            width,
            filled: width.min(nodes.n_weighted()),
            lists,
        }
    }

    #[inline]
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The indexes of a slot's first three replicas, if that many are listed; `NOBODY` where there is none.
    #[inline]
    pub(super) fn three(&self, slot: u32) -> Option<[u16; 3]> {
        let list = self.lists.get(slot as usize * self.width..)?;
        (self.width >= KEPT).then_some(*list.first_chunk()?)
    }

    /// Writes a slot's first replicas, as many as fit and are listed. That is all there are if no more than
    /// `width` are asked for.
    #[inline]
    pub(super) fn copy(&self, nodes: &Nodes, slot: u32, into: &mut [NodeId]) -> usize {
        let start = slot as usize * self.width;
        let n = into.len().min(self.filled);
        let list = &self.lists[start..start + n];
        for (&index, entry) in list.iter().zip(into) {
            *entry = nodes.id(u32::from(index));
        }
        n
    }
}
