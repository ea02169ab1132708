use alloc::boxed::Box;
use alloc::vec;

use crate::block::Print;

/// What a set remembers beyond its entries, in two words of 16 bits for each it is meant for: who left lately, or
/// how often each was asked for, whichever the arm in use goes by. No arm goes by both, so a set that changes
/// from one kind to the other begins anew.
#[derive(Debug, Default)]
pub(super) struct Past {
    kind: Kind,
    /// Ghosts: the next to write over. Counts: how many were counted, less half at each halving.
    cursor: u16,
    /// Ghosts: marks, then as many orders. Counts: four rows of counters of four bits.
    words: Box<[u16]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Nothing,
    /// A ring of those who left, each with the order it had. An order of zero is nobody's.
    Ghosts,
    /// A count-min sketch: each print has a counter in each of four rows, and counts as the least of them. All are
    /// halved when the sample is full, so that old fame fades.
    Counts,
}

/// Words for each entry.
const WORDS: usize = 2;
const ROWS: usize = 4;
const COUNTER_MAX: u16 = 15;
/// Prints counted before a halving, for each entry.
const SAMPLE: usize = 10;

impl Past {
    /// Gets ready for an arm, in a set meant for so many entries.
    #[inline]
    fn be(&mut self, kind: Kind, ways: usize) {
        if self.kind != kind {
            self.change_to(kind, ways);
        }
    }

    #[cold]
    fn change_to(&mut self, kind: Kind, ways: usize) {
        self.kind = kind;
        self.cursor = 0;
        if self.words.is_empty() {
            self.words = vec![0; WORDS * ways.max(4)].into();
        } else {
            self.words.fill(0);
        }
    }

    /// Counts a print.
    pub(super) fn count(&mut self, print: Print, ways: usize) {
        self.be(Kind::Counts, ways);
        let mut counted = false;
        for (word, shift) in self.counters(print) {
            let word = &mut self.words[word];
            if *word >> shift & COUNTER_MAX < COUNTER_MAX {
                *word += 1 << shift;
                counted = true;
            }
        }
        if counted {
            self.cursor += 1;
            let entries = self.words.len() / WORDS;
            if usize::from(self.cursor) >= (SAMPLE * entries).min(u16::MAX.into()) {
                for word in &mut self.words {
                    // Each counter's lowest bit falls out, and none into its neighbour.
                    *word = *word >> 1 & 0x7777;
                }
                self.cursor /= 2;
            }
        }
    }

    /// How often a print was counted: seldom less than the truth until a halving, more where others share its
    /// counters, and 15 at most.
    pub(super) fn counted(&self, print: Print) -> u16 {
        if self.kind != Kind::Counts {
            return 0;
        }
        let counts = self.counters(print);
        let counts = counts.map(|(word, shift)| self.words[word] >> shift & COUNTER_MAX);
        counts.into_iter().min().unwrap_or(0)
    }

    /// Remembers who left.
    pub(super) fn haunt(&mut self, print: Print, order: u16, ways: usize) {
        self.be(Kind::Ghosts, ways);
        let most = self.words.len() / WORDS;
        let at = usize::from(self.cursor);
        self.words[at] = mix(print);
        self.words[most + at] = order;
        self.cursor = if at + 1 == most { 0 } else { self.cursor + 1 };
    }

    /// Finds a ghost, who is then none any more: the order it had.
    pub(super) fn lay(&mut self, print: Print) -> Option<u16> {
        if self.kind != Kind::Ghosts {
            return None;
        }
        let (marks, orders) = self.words.split_at_mut(self.words.len() / WORDS);
        let wanted = mix(print);
        for (marks, orders) in marks.chunks(LANES).zip(orders.chunks_mut(LANES)) {
            // All at once first: most chunks hold no such mark.
            let hit = marks.iter().fold(false, |hit, &mark| hit | (mark == wanted));
            if hit {
                let ghosts = marks.iter().zip(orders);
                for (_, order) in ghosts.filter(|(mark, _)| **mark == wanted) {
                    if *order != 0 {
                        return Some(core::mem::take(order));
                    }
                }
            }
        }
        None
    }

    /// The orders of the ghosts, to give anew.
    pub(super) fn orders_mut(&mut self) -> impl Iterator<Item = &mut u16> {
        let most = self.words.len() / WORDS;
        let orders = match self.kind {
            Kind::Ghosts => &mut self.words[most..],
            Kind::Nothing | Kind::Counts => &mut [],
        };
        orders.iter_mut().filter(|order| **order != 0)
    }

    /// The word and the bit of each of the four counters of a print, each in a row of its own.
    #[inline]
    fn counters(&self, print: Print) -> [(usize, u32); ROWS] {
        let mixed = (u64::from(print.mark) << 8 | u64::from(print.tag)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let words = self.words.len() / ROWS;
        core::array::from_fn(|row| {
            let chance = (mixed >> (16 * row)) as u16;
            // The counter of a row, scaled by multiplication.
            let counter = usize::from(chance) * 4 * words >> 16;
            (row * words + counter / 4, 4 * (counter % 4) as u32)
        })
    }
}

/// Marks compared at once.
const LANES: usize = 16;

/// What is kept of a ghost's print. The upper bits of the mark say little in a cache whose sets were cut in two
/// as it grew, so the tag's are put there.
#[inline]
fn mix(print: Print) -> u16 {
    print.mark ^ u16::from(print.tag) << 8
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn print(n: u32) -> Print {
        let n = n.wrapping_mul(0x9e37_79b9);
        Print {
            tag: n as u8,
            mark: (n >> 16) as u16,
        }
    }

    #[test]
    fn it_counts_to_fifteen_and_forgets_by_halves() {
        let mut past = Past::default();
        assert_eq!(past.counted(print(7)), 0);
        for seen in 1..=20 {
            past.count(print(7), 32);
            assert_eq!(past.counted(print(7)), seen.min(15));
        }
        for other in 0..320 {
            past.count(print(1_000 + other), 32);
        }
        assert!((4..=12).contains(&past.counted(print(7))));
    }

    #[test]
    fn what_is_frequent_stands_out_from_a_full_sample() {
        let mut past = Past::default();
        for other in 0..300 {
            past.count(print(other), 32);
            if other % 30 == 0 {
                past.count(print(u32::MAX), 32);
            }
        }
        let louder =
            (1_000..1_100).filter(|&other| past.counted(print(other)) >= past.counted(print(u32::MAX)));
        assert!(louder.count() < 10);
    }

    #[test]
    fn a_ghost_is_found_once_while_it_is_among_the_latest() {
        let mut past = Past::default();
        for n in 0..40 {
            past.haunt(print(n), 1 + n as u16, 32);
        }
        assert_eq!(past.lay(print(7)), None, "the ring has gone round");
        assert_eq!(past.lay(print(8)), Some(9));
        assert_eq!(past.lay(print(8)), None);
        assert_eq!(past.orders_mut().count(), 31);
    }

    #[test]
    fn another_kind_of_arm_begins_anew() {
        let mut past = Past::default();
        past.haunt(print(1), 5, 4);
        past.count(print(1), 4);
        assert_eq!((past.counted(print(1)), past.lay(print(1))), (1, None));
        past.haunt(print(2), 5, 4);
        assert_eq!(past.counted(print(1)), 0);
        let all = past.orders_mut().map(|order| *order);
        assert_eq!(all.collect::<Vec<_>>(), [5]);
    }
}
