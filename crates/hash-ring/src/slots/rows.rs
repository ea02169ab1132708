//! The first three replicas of each slot, kept once they were asked for.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use purlin_core::NodeId;

use super::NOBODY;
use crate::nodes::Nodes;

/// How many replicas of a slot are kept.
pub(super) const KEPT: usize = 3;

/// The first three replicas of each slot, or nothing yet.
///
/// Working them out takes a pass over all nodes, and the answer never changes, so the first to ask for a slot
/// leaves it here. Two threads that ask at the same moment write the same word.
///
/// A word holds the indexes of nodes, all ones where there is no such replica, and all words are ones until somebody
/// asks:
///
/// ```text
/// bits   31 30             29 .... 20   19 .... 10   9 ..... 0
/// few    0, if all three   third        second       owner
///
/// bits   31 ............................ 16   15 ........... 0
/// many   third                                second
/// ```
///
/// So three copies among few nodes are one word from one line of the cache, and the three ids, which are in an array
/// that no index of ten bits can miss. Where there are many, the owner comes from the table of owners.
///
/// The atomics are `core`'s and not those that a model checker replaces: a word guards nothing but itself,
/// and there are too many of them to explore.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// One word a slot.
    words: Words,
    /// The ids of all nodes, if they are few.
    few: Option<Box<Few>>,
}

/// Ids by an index of ten bits.
type Few = [NodeId; 1 << BITS];

/// The bits of an index where there are few nodes.
const BITS: u32 = 10;

/// No index where there are few nodes, as `NOBODY` is none anywhere.
const NO_FEW: u32 = (1 << BITS) - 1;

/// The word of a slot that nobody asked for.
const UNKNOWN: u32 = u32::MAX;

impl Rows {
    pub(super) fn new(nodes: &Nodes, n_slots: usize) -> Self {
        Rows {
            words: Words((0..n_slots).map(|_| AtomicU32::new(UNKNOWN)).collect()),
            few: few(nodes),
        }
    }

    /// A slot's first three replicas, if they are known and there are three. `owner` is what the table of owners says.
    #[inline]
    pub(super) fn three(
        &self,
        slot: u32,
        nodes: &Nodes,
        owner: impl FnOnce() -> u16,
    ) -> Option<[NodeId; KEPT]> {
        let word = self.words.get(slot)?;
        match &self.few {
            Some(ids) => {
                if word > u32::MAX >> 1 {
                    return None;
                }
                let id = |i: u32| ids[(word >> (i * BITS) & NO_FEW) as usize];
                Some([id(0), id(1), id(2)])
            }
            None => nodes.all([owner(), word as u16, (word >> 16) as u16]),
        }
    }

    /// The indexes of the two replicas behind a slot's owner, `NOBODY` for each that there is not, or that is not known.
    pub(super) fn followers(&self, slot: u32) -> [u16; KEPT - 1] {
        let word = self.words.get(slot).unwrap_or(UNKNOWN);
        if self.few.is_none() {
            return [word as u16, (word >> 16) as u16];
        }
        [1, 2].map(|i| match word >> (i * BITS) & NO_FEW {
            NO_FEW => NOBODY,
            index => index as u16,
        })
    }

    /// Keeps what was worked out for a slot: `NOBODY` for a replica that there is not.
    pub(super) fn set(&self, slot: u32, row: [u16; KEPT]) {
        let [owner, second, third] = row.map(u32::from);
        let word = if self.few.is_none() {
            second | third << 16
        } else {
            let [owner, second, third] = [owner, second, third].map(|index| index.min(NO_FEW));
            let all = third != NO_FEW;
            owner
                | second << BITS
                | third << (2 * BITS)
                | if all { 0 } else { UNKNOWN << (3 * BITS) }
        };
        self.words.set(slot, word);
    }
}

/// The ids in an array of their own, unless there are too many.
fn few(nodes: &Nodes) -> Option<Box<Few>> {
    if nodes.len() > NO_FEW as usize {
        return None;
    }
    let mut ids: Vec<NodeId> = nodes.as_slice().iter().map(|node| node.id).collect();
    ids.resize(1 << BITS, NodeId(0));
    Box::try_from(ids).ok()
}

/// What was asked before is no part of a table's value, and the nodes are compared beside.
impl PartialEq for Rows {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A word for each slot, that guards nothing but itself: all there is to see is in it, hence `Relaxed` in each place.
struct Words(Vec<AtomicU32>);

impl Words {
    #[inline]
    fn get(&self, slot: u32) -> Option<u32> {
        Some(self.0.get(slot as usize)?.load(Ordering::Relaxed))
    }

    fn set(&self, slot: u32, word: u32) {
        self.0[slot as usize].store(word, Ordering::Relaxed);
    }
}

/// With what is there by now.
impl Clone for Words {
    fn clone(&self) -> Self {
        let copy = |word: &AtomicU32| AtomicU32::new(word.load(Ordering::Relaxed));
        Words(self.0.iter().map(copy).collect())
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Words")
            .field("slots", &self.0.len())
            .finish_non_exhaustive()
    }
}
