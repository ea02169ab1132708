//! More replicas of every slot than are kept anyway, made ahead.

use alloc::vec;
use alloc::vec::Vec;

use purlin_core::NodeId;

use super::{NOBODY, SlotTable};
use crate::nodes::Nodes;

/// The first few replicas of each slot. A copy of what [`SlotTable`] would work out, kept because a load is
/// cheaper: the lists are a function of the slot's owner, the nodes and the spread, and hold no history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplicaLists {
    width: usize,
    /// `width` node indexes a slot, `NOBODY` behind the last.
    lists: Vec<u16>,
}

impl ReplicaLists {
    pub(super) fn new(table: &SlotTable, width: usize) -> Self {
        let nodes = &table.fleet.nodes;
        let mut lists = vec![NOBODY; width << table.bits];
        let mut ids = vec![NodeId(0); width];
        for (slot, list) in (0..).zip(lists.chunks_exact_mut(width)) {
            let n = table.pick(slot, &mut ids);
            for (entry, id) in list.iter_mut().zip(&ids[..n]) {
                *entry = nodes.index(*id).map_or(NOBODY, |index| index as u16);
            }
        }
        ReplicaLists { width, lists }
    }

    /// The indexes of a slot's replicas, as many as are listed, `NOBODY` behind the last.
    pub(super) fn of(&self, slot: u32) -> &[u16] {
        &self.lists[slot as usize * self.width..][..self.width]
    }
}

/// Writes the nodes at these indexes, up to the first index that is no node's, and returns how many.
pub(super) fn write(nodes: &Nodes, indexes: &[u16], into: &mut [NodeId]) -> usize {
    let ids = indexes.iter().map_while(|&index| nodes.get(index));
    ids.zip(into).map(|(id, entry)| *entry = id).count()
}
