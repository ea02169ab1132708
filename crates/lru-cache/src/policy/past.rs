use crate::raw::{Columns, Past, Print, lanes};

impl Past {
    /// How many words it takes, in a set meant for so many entries.
    pub(super) fn words(self, ways: usize) -> usize {
        let each = match self {
            Past::Nothing => 0,
            Past::Ghosts => 1,
            Past::OrderedGhosts | Past::Counts => 2,
        };
        (each * ways.max(4)).min(usize::from(u16::MAX) - 3) & !3
    }
}

/// What a set remembers beyond its entries, in words of 16 bits that stand beside them: who left lately, or how
/// often each was asked for, whichever the arm in use goes by. No arm goes by both, so a set that changes from one kind
/// to another begins anew.
impl Columns<'_> {
    /// Counts a print.
    pub(super) fn count(&mut self, print: Print) {
        debug_assert_eq!(self.tally.past, Past::Counts);
        let sample = (SAMPLE * self.past.len() / 2).min(u16::MAX.into());
        let mut counted = false;
        for (word, shift) in counters(print, self.past.len()) {
            if self.past[word] >> shift & COUNTER_MAX < COUNTER_MAX {
                self.past[word] += 1 << shift;
                counted = true;
            }
        }
        if counted {
            let counted = self.tally.cursor + 1;
            let is_full = usize::from(counted) >= sample;
            // All are halved when the sample is full, so that old fame fades.
            self.tally.cursor = if is_full { counted / 2 } else { counted };
            if is_full {
                for word in &mut *self.past {
                    // Each counter's lowest bit falls out, and none into its neighbour.
                    *word = *word >> 1 & 0x7777;
                }
            }
        }
    }

    /// How often a print was counted: seldom less than the truth until a halving, more where others share its
    /// counters, and 15 at most.
    pub(super) fn counted(&self, print: Print) -> u16 {
        if self.tally.past != Past::Counts {
            return 0;
        }
        let count = |(word, shift): (usize, u32)| self.past[word] >> shift & COUNTER_MAX;
        let counts = counters(print, self.past.len()).map(count);
        counts.into_iter().min().unwrap_or(0)
    }

    /// Remembers who left.
    #[inline]
    pub(super) fn haunt(&mut self, print: Print, order: u16) {
        let at = usize::from(self.tally.cursor);
        let (ghosts, orders) = self.ghosts();
        let most = ghosts.len();
        ghosts[at] = ghost(print);
        if let Some(place) = orders.get_mut(at) {
            *place = order;
        }
        self.tally.cursor = if at + 1 == most { 0 } else { at as u16 + 1 };
    }

    /// Finds a ghost, who is then none any more: the order it had, or zero if that was not remembered.
    #[inline]
    pub(super) fn lay(&mut self, print: Print) -> Option<u16> {
        let (ghosts, orders) = self.ghosts();
        let at = lanes::find_word(ghosts, ghost(print))?;
        ghosts[at] = NOBODY;
        Some(orders.get_mut(at).map_or(0, core::mem::take))
    }

    /// The ghosts, and the orders that they had where those are remembered.
    #[inline]
    fn ghosts(&mut self) -> (&mut [u16], &mut [u16]) {
        let most = match self.tally.past {
            Past::Ghosts => self.past.len(),
            Past::OrderedGhosts => self.past.len() / 2,
            Past::Nothing | Past::Counts => return (&mut [], &mut []),
        };
        self.past.split_at_mut(most)
    }

    /// The orders of the ghosts, to give anew.
    pub(super) fn ghost_orders(&mut self) -> impl Iterator<Item = &mut u16> {
        let (_, orders) = self.ghosts();
        orders.iter_mut().filter(|order| **order != 0)
    }
}

/// The ghost of nobody.
pub(super) const NOBODY: u16 = 0;
const ROWS: usize = 4;
const COUNTER_MAX: u16 = 15;
/// Prints counted before a halving, for each entry the set is meant for.
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

/// What is kept of a print. The upper bits of the mark say little in a cache whose sets were cut in two as it grew, so
/// the tag's are put there.
#[inline]
pub(super) fn ghost(print: Print) -> u16 {
    (print.mark ^ u16::from(print.tag) << 8).max(1)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::raw::Tally;

    /// What a set of so many entries remembers.
    struct Memory {
        tally: Tally,
        past: Vec<u16>,
        hot: u64,
        leaves: u8,
    }

    impl Memory {
        fn of(past: Past, ways: usize) -> Self {
            Memory {
                tally: Tally {
                    past,
                    ..Tally::new()
                },
                past: alloc::vec![0; past.words(ways)],
                hot: 0,
                leaves: 0,
            }
        }

        fn columns(&mut self) -> Columns<'_> {
            Columns {
                tally: &mut self.tally,
                tags: (&[], &[]),
                marks: &mut [],
                notes: &mut [],
                hot: &mut self.hot,
                leaves: &mut self.leaves,
                orders: &mut [],
                past: &mut self.past,
            }
        }
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
        let mut memory = Memory::of(Past::Counts, 32);
        let mut columns = memory.columns();
        assert_eq!(columns.counted(print(7)), 0);
        for seen in 1..=20 {
            columns.count(print(7));
            assert_eq!(columns.counted(print(7)), seen.min(15));
        }
        for other in 0..320 {
            columns.count(print(1_000 + other));
        }
        assert!((4..=12).contains(&columns.counted(print(7))));
    }

    #[test]
    fn what_is_frequent_stands_out_from_a_full_sample() {
        let mut memory = Memory::of(Past::Counts, 32);
        let mut columns = memory.columns();
        for other in 0..300 {
            columns.count(print(other));
            if other % 30 == 0 {
                columns.count(print(u32::MAX));
            }
        }
        let louder = (1_000..1_100)
            .filter(|&other| columns.counted(print(other)) >= columns.counted(print(u32::MAX)));
        assert!(louder.count() < 10);
    }

    #[test]
    fn a_ghost_is_found_once_while_it_is_among_the_latest() {
        for past in [Past::Ghosts, Past::OrderedGhosts] {
            let mut memory = Memory::of(past, 32);
            let mut columns = memory.columns();
            for n in 0..40 {
                columns.haunt(print(n), 1 + n as u16);
            }
            let order = if past == Past::Ghosts { 0 } else { 9 };
            assert_eq!(columns.lay(print(7)), None, "the ring has gone round");
            assert_eq!(columns.lay(print(8)), Some(order));
            assert_eq!(columns.lay(print(8)), None);
            let remembered = if past == Past::Ghosts { 0 } else { 31 };
            assert_eq!(columns.ghost_orders().count(), remembered);
        }
    }

    #[test]
    fn counters_are_no_ghosts_and_ghosts_are_not_counted() {
        let mut memory = Memory::of(Past::Counts, 4);
        memory.columns().count(print(1));
        assert_eq!(memory.columns().lay(print(1)), None);
        assert_eq!(memory.columns().ghost_orders().count(), 0);
        let mut memory = Memory::of(Past::Ghosts, 4);
        memory.columns().haunt(print(1), 5);
        assert_eq!(memory.columns().counted(print(1)), 0);
    }
}
