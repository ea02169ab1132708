//! The digits of a tick, and the slots they select.

use alloc::vec::Vec;

use crate::slab::NONE;

/// Bits in a digit. Six, so that the slots of a level are the bits of one word.
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// Digits in a tick: ten full ones, and one of four bits.
pub(crate) const LEVELS: usize = 11;

/// A place for timers: a level, and a slot in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) level: u8,
    pub(crate) slot: u8,
}

impl Place {
    /// Where a deadline belongs while the wheel stands at `reached`, which is not after it.
    pub(crate) fn of(deadline: u64, reached: u64) -> Self {
        debug_assert!(
            deadline >= reached,
            "a deadline is filed at the tick reached, if that is later"
        );
        // The `| 1` sends equal ticks to level 0, where a difference in the lowest bit leads too.
        let level = ((deadline ^ reached) | 1).ilog2() / DIGIT_BITS;
        Place::on_level(level as u8, deadline)
    }

    /// The slot of `tick` on a level.
    pub(crate) fn on_level(level: u8, tick: u64) -> Self {
        let digit = (tick >> (u32::from(level) * DIGIT_BITS)) % SLOTS as u64;
        Place {
            level,
            slot: digit as u8,
        }
    }

    /// The first tick of this slot, for a wheel that stands at `reached`: the digits above are those of
    /// `reached`, the ones below are zero.
    pub(crate) fn start(self, reached: u64) -> u64 {
        let shift = u32::from(self.level) * DIGIT_BITS;
        let above = u64::MAX.checked_shl(shift + DIGIT_BITS).unwrap_or(0);
        (reached & above) | (u64::from(self.slot) << shift)
    }

    /// Whether `tick` falls into this slot, which `reached` falls into.
    pub(crate) fn shares(self, tick: u64, reached: u64) -> bool {
        (tick ^ reached) >> (u32::from(self.level) * DIGIT_BITS) == 0
    }
}

/// The list of timers in one slot, oldest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    /// No timer of the list is due before this tick. It is the earliest of all that entered the list since it
    /// was last empty, so it is exact until that one is cancelled. It lies within the slot.
    pub(crate) earliest: u64,
}

/// All slots of all levels.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// One bit a slot: set if, and only if, the slot's list is not empty.
    occupied: [u64; LEVELS],
    /// The levels up to the highest that was ever used.
    levels: Vec<[List; SLOTS]>,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Slots {
            occupied: [0; LEVELS],
            levels: Vec::new(),
        }
    }

    /// The first slot that holds anything.
    ///
    /// All on one level share the digits above it with the tick reached, and a timer on a higher level
    /// differs from it there; so the lowest level comes first, and on it the lowest digit.
    pub(crate) fn first(&self) -> Option<Place> {
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        Some(Place {
            level: level as u8,
            slot: self.occupied[level].trailing_zeros() as u8,
        })
    }

    /// The list of a slot, unless it is empty.
    pub(crate) fn get(&self, place: Place) -> Option<&List> {
        let occupied = self.occupied[usize::from(place.level)] >> place.slot & 1 == 1;
        occupied.then(|| &self.levels[usize::from(place.level)][usize::from(place.slot)])
    }

    /// Makes `idx` the last of the list, and returns the one before it.
    pub(crate) fn push(&mut self, place: Place, idx: u32, due: u64) -> u32 {
        const EMPTY: List = List {
            head: NONE,
            tail: NONE,
            earliest: u64::MAX,
        };
        while self.levels.len() <= usize::from(place.level) {
            // A level is a KiB, so the growth is exact.
            self.levels.reserve_exact(1);
            self.levels.push([EMPTY; SLOTS]);
        }
        let bit = 1 << place.slot;
        let occupied = &mut self.occupied[usize::from(place.level)];
        let list = &mut self.levels[usize::from(place.level)][usize::from(place.slot)];
        if *occupied & bit == 0 {
            *occupied |= bit;
            *list = List {
                head: idx,
                tail: idx,
                earliest: due,
            };
            return NONE;
        }
        let before = list.tail;
        list.tail = idx;
        list.earliest = list.earliest.min(due);
        before
    }

    /// Makes `next` the first of the list, after the first has left; none empties the list.
    pub(crate) fn set_head(&mut self, place: Place, next: u32) {
        self.levels[usize::from(place.level)][usize::from(place.slot)].head = next;
        if next == NONE {
            self.occupied[usize::from(place.level)] &= !(1 << place.slot);
        }
    }

    /// Makes `previous` the last of the list, after the last has left.
    pub(crate) fn set_tail(&mut self, place: Place, previous: u32) {
        self.levels[usize::from(place.level)][usize::from(place.slot)].tail = previous;
    }
}
