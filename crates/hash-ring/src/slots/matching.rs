//! A slot table from the nodes alone.

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;

use super::quota::quotas;
use super::{NOBODY, slot_hash};
use crate::nodes::Nodes;
use crate::rank::{Order, Ranking};

/// Matches slots with nodes so that no slot and node would both rather have each other: slots prefer the
/// nodes of least cost, nodes the slots of least cost, up to their quotas.
///
/// Both sides rank by the same cost, so there is one such matching: what taking the cheapest pairs first
/// would give. Slots propose in any order.
pub(super) fn stable(nodes: &Nodes, ranking: &Ranking, bits: u32) -> Vec<u16> {
    let n_slots = 1u32 << bits;
    let mut owners = vec![NOBODY; n_slots as usize];
    let quotas = quotas(n_slots, nodes.as_slice(), &vec![0; nodes.len()]);
    // The slots a node holds, dearest on top. Costs are positive, so their bits are in their order.
    let mut held: Vec<BinaryHeap<(u64, u32)>> = quotas.iter().map(|_| BinaryHeap::new()).collect();
    let mut proposals: Vec<Order<'_>> = (0..n_slots)
        .map(|slot| ranking.order(slot_hash(slot)))
        .collect();
    for first in 0..n_slots {
        let mut proposer = Some(first);
        while let Some(slot) = proposer {
            // Quotas sum to the slots, so a slot that everyone refused cannot be left while anyone has room.
            let Some(ranked) = proposals[slot as usize].next_ranked() else {
                break;
            };
            let index = ranked.index as usize;
            let holding = &mut held[index];
            let offer = (ranked.cost.to_bits(), slot);
            if holding.len() < quotas[index] as usize {
                holding.push(offer);
                proposer = None;
            } else if let Some(mut dearest) = holding.peek_mut().filter(|dearest| offer < **dearest)
            {
                proposer = Some(dearest.1);
                *dearest = offer;
            }
        }
    }
    for (index, slots) in (0..).zip(held) {
        for (_, slot) in slots {
            owners[slot as usize] = index;
        }
    }
    owners
}
