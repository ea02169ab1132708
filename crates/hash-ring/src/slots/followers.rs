//! The replicas behind a slot's owner, kept once they were asked for.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use super::NOBODY;

/// How many replicas of a slot an owner and its followers make up.
pub(super) const KEPT: usize = 3;

/// The second and third replica of each slot, or nothing yet.
///
/// Working them out takes a pass over all nodes, and the answer never changes, so the first to ask for a slot
/// leaves it here. A word is the index of the third node in its high half and that of the second in its low
/// half; a half is `NOBODY` where there is no such replica, and both are where nobody asked yet. Two threads
/// that ask at the same moment write the same word.
///
/// The atomics are `core`'s and not those that a model checker replaces: a word guards nothing but itself,
/// and there are too many of them to explore.
pub(super) struct Followers {
    /// One word a slot.
    words: Vec<AtomicU32>,
}

/// The word of a slot that nobody asked for: two of `NOBODY`.
const UNKNOWN: u32 = (NOBODY as u32) << 16 | NOBODY as u32;

impl Followers {
    pub(super) fn of_slots(n_slots: usize) -> Self {
        Followers {
            words: (0..n_slots).map(|_| AtomicU32::new(UNKNOWN)).collect(),
        }
    }

    /// The indexes of a slot's second and third replica. `NOBODY` where there is none or it is not known, and
    /// for both if there is no such slot.
    #[inline]
    pub(super) fn get(&self, slot: u32) -> [u16; 2] {
        // Relaxed: the word is all there is to see.
        let word = match self.words.get(slot as usize) {
            Some(word) => word.load(Ordering::Relaxed),
            None => UNKNOWN,
        };
        [word as u16, (word >> 16) as u16]
    }

    /// Keeps what was worked out for a slot: `NOBODY` for a replica that there is not.
    pub(super) fn set(&self, slot: u32, [second, third]: [u16; 2]) {
        let word = u32::from(second) | u32::from(third) << 16;
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
