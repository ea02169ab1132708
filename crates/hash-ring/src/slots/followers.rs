//! The replicas behind a slot's owner, kept once they were asked for.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

/// How many replicas of a slot an owner and its followers make up.
pub(super) const KEPT: usize = 3;

/// The second and third replica of each slot, or nothing yet.
///
/// Working them out takes a pass over all nodes, and the answer never changes, so the first to ask for a slot
/// leaves it here. A word is `third + 1` in its high half and `second + 1` in its low half, as indexes of
/// nodes; a half is 0 where there is no such replica, and the word is 0 where nobody asked yet. Two threads
/// that ask at the same moment write the same word.
///
/// The atomics are `core`'s and not those that a model checker replaces: a word guards nothing but itself,
/// and there are too many of them to explore.
pub(super) struct Followers {
    /// One word a slot, or none at all if lists made ahead answer instead.
    words: Vec<AtomicU32>,
}

impl Followers {
    pub(super) fn of_slots(n_slots: usize) -> Self {
        Followers {
            words: (0..n_slots).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Whether the followers of slots are kept here at all.
    pub(super) fn keeps(&self) -> bool {
        !self.words.is_empty()
    }

    /// The indexes of a slot's second and third replica if there are both and they are known here.
    #[inline]
    pub(super) fn both(&self, slot: u32) -> Option<[u16; 2]> {
        let word = self.words.get(slot as usize)?.load(Ordering::Relaxed);
        let (second, third) = (word as u16, (word >> 16) as u16);
        // Without a third its half is 0, and if nobody asked both are.
        (third != 0).then(|| [second.wrapping_sub(1), third.wrapping_sub(1)])
    }

    /// The indexes of a slot's second and third replica. The third is `None` if there is none, and both are
    /// if nobody asked for this slot before.
    pub(super) fn get(&self, slot: u32) -> [Option<u16>; 2] {
        // Relaxed: the word is all there is to see.
        let word = self.words[slot as usize].load(Ordering::Relaxed);
        [
            (word as u16).checked_sub(1),
            ((word >> 16) as u16).checked_sub(1),
        ]
    }

    /// Keeps what was worked out for a slot. Indexes of nodes are below 65 535.
    pub(super) fn set(&self, slot: u32, second: u16, third: Option<u16>) {
        let half = |index: u16| u32::from(index) + 1;
        let word = half(second) | third.map_or(0, half) << 16;
        self.words[slot as usize].store(word, Ordering::Relaxed);
    }
}

/// With what is there by now.
impl Clone for Followers {
    fn clone(&self) -> Self {
        let copy = |word: &AtomicU32| AtomicU32::new(word.load(Ordering::Relaxed));
        Followers {
            words: self.words.iter().map(copy).collect(),
        }
    }
}

/// What was asked before is no part of a table's value.
impl PartialEq for Followers {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followers")
            .field("slots", &self.words.len())
            .finish_non_exhaustive()
    }
}
