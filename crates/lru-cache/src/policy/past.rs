use super::set::Set;
use crate::raw::{Past, Print, lanes};

/// What a set remembers beyond its entries, in words of 16 bits that stand beside them: who left lately, or how
/// often each was asked for, whichever the arm in use goes by. No arm goes by both, so a set that changes from one kind
/// to the other begins anew.
impl<E> Set<E> {
    #[inline]
    fn remember(&mut self, past: Past, ways: usize) {
        if self.block.tally().past != past {
            self.block
                .make_past((WORDS * ways.max(4)).min(usize::from(u16::MAX) - 3) & !3);
            let tally = self.block.tally_mut();
            (tally.past, tally.cursor) = (past, 0);
        }
    }

    /// Counts a print, in a set meant for so many entries.
    pub(super) fn count(&mut self, print: Print, ways: usize) {
        self.remember(Past::Counts, ways);
        let words = self.block.past_mut();
        let sample = (SAMPLE * words.len() / WORDS).min(u16::MAX.into());
        let mut counted = false;
        for (word, shift) in counters(print, words.len()) {
            if words[word] >> shift & COUNTER_MAX < COUNTER_MAX {
                words[word] += 1 << shift;
                counted = true;
            }
        }
        if counted {
            let counted = self.block.tally().cursor + 1;
            let is_full = usize::from(counted) >= sample;
            // All are halved when the sample is full, so that old fame fades.
            self.block.tally_mut().cursor = if is_full { counted / 2 } else { counted };
            if is_full {
                for word in self.block.past_mut() {
                    // Each counter's lowest bit falls out, and none into its neighbour.
                    *word = *word >> 1 & 0x7777;
                }
            }
        }
    }

    /// How often a print was counted: seldom less than the truth until a halving, more where others share its
    /// counters, and 15 at most.
    pub(super) fn counted(&self, print: Print) -> u16 {
        if self.block.tally().past != Past::Counts {
            return 0;
        }
        let words = self.block.past();
        let counts =
            counters(print, words.len()).map(|(word, shift)| words[word] >> shift & COUNTER_MAX);
        counts.into_iter().min().unwrap_or(0)
    }

    /// Remembers who left, in a set meant for so many entries.
    #[inline]
    pub(super) fn haunt(&mut self, print: Print, order: u16, ways: usize) {
        self.remember(Past::Ghosts, ways);
        let at = usize::from(self.block.tally().cursor);
        let words = self.block.past_mut();
        let most = words.len() / WORDS;
        words[at] = mix(print);
        words[most + at] = order;
        self.block.tally_mut().cursor = if at + 1 == most { 0 } else { at as u16 + 1 };
    }

    /// Finds a ghost, who is then none any more: the order it had.
    #[inline]
    pub(super) fn lay(&mut self, print: Print) -> Option<u16> {
        if self.block.tally().past != Past::Ghosts {
            return None;
        }
        let words = self.block.past_mut();
        let (marks, orders) = words.split_at_mut(words.len() / WORDS);
        let wanted = mix(print);
        let mut from = 0;
        while let Some(ahead) = lanes::find_word(&marks[from..], wanted) {
            from += ahead;
            if orders[from] != 0 {
                return Some(core::mem::take(&mut orders[from]));
            }
            from += 1;
        }
        None
    }

    /// The orders of the ghosts, to give anew.
    pub(super) fn ghost_orders_mut(
        words: &mut [u16],
        past: Past,
    ) -> impl Iterator<Item = &mut u16> {
        let orders = match past {
            Past::Ghosts => {
                let most = words.len() / WORDS;
                &mut words[most..]
            }
            Past::Nothing | Past::Counts => &mut [],
        };
        orders.iter_mut().filter(|order| **order != 0)
    }
}

/// Words for each entry.
const WORDS: usize = 2;
const ROWS: usize = 4;
const COUNTER_MAX: u16 = 15;
/// Prints counted before a halving, for each entry.
const SAMPLE: usize = 10;

/// The word and the bit of each of the four counters of a print among so many words, each in a row of its own.
#[inline]
fn counters(print: Print, words: usize) -> [(usize, u32); ROWS] {
    let mixed =
        (u64::from(print.mark) << 8 | u64::from(print.tag)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let words = words / ROWS;
    core::array::from_fn(|row| {
        let chance = (mixed >> (16 * row)) as u16;
        // The counter of a row, scaled by multiplication.
        let counter = (usize::from(chance) * 4 * words) >> 16;
        (row * words + counter / 4, 4 * (counter % 4) as u32)
    })
}

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

    fn orders(set: &mut Set<()>) -> impl Iterator<Item = u16> {
        let past = set.block.tally().past;
        Set::<()>::ghost_orders_mut(set.block.past_mut(), past).map(|order| *order)
    }

    fn print(n: u32) -> Print {
        let n = n.wrapping_mul(0x9e37_79b9);
        Print {
            tag: n as u8,
            mark: (n >> 16) as u16,
        }
    }

    #[test]
    fn it_counts_to_fifteen_and_forgets_by_halves() {
        let mut set = Set::<()>::new();
        assert_eq!(set.counted(print(7)), 0);
        for seen in 1..=20 {
            set.count(print(7), 32);
            assert_eq!(set.counted(print(7)), seen.min(15));
        }
        for other in 0..320 {
            set.count(print(1_000 + other), 32);
        }
        assert!((4..=12).contains(&set.counted(print(7))));
    }

    #[test]
    fn what_is_frequent_stands_out_from_a_full_sample() {
        let mut set = Set::<()>::new();
        for other in 0..300 {
            set.count(print(other), 32);
            if other % 30 == 0 {
                set.count(print(u32::MAX), 32);
            }
        }
        let louder = (1_000..1_100)
            .filter(|&other| set.counted(print(other)) >= set.counted(print(u32::MAX)));
        assert!(louder.count() < 10);
    }

    #[test]
    fn a_ghost_is_found_once_while_it_is_among_the_latest() {
        let mut set = Set::<()>::new();
        for n in 0..40 {
            set.haunt(print(n), 1 + n as u16, 32);
        }
        assert_eq!(set.lay(print(7)), None, "the ring has gone round");
        assert_eq!(set.lay(print(8)), Some(9));
        assert_eq!(set.lay(print(8)), None);
        assert_eq!(orders(&mut set).count(), 31);
    }

    #[test]
    fn another_kind_of_arm_begins_anew() {
        let mut set = Set::<()>::new();
        set.haunt(print(1), 5, 4);
        set.count(print(1), 4);
        assert_eq!((set.counted(print(1)), set.lay(print(1))), (1, None));
        set.haunt(print(2), 5, 4);
        assert_eq!(set.counted(print(1)), 0);
        assert_eq!(orders(&mut set).collect::<Vec<_>>(), [5]);
    }
}
