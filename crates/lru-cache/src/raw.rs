//! The slots of one set, side by side, and the lock of a shard: the one module with unsafe code.
//!
//! A slot is five things: a tag and a mark of its key's hash, what the policy knows of it, its place in the order
//! of use, and the entry. They stand in columns, for a policy looks at one of them in all slots at once. What the policy
//! knows of the whole set and the first 40 tags are one line of memory, in the table of the sets itself, and the other
//! columns one allocation; so a look-up reads that line and the entry's. Built with `--cfg purlin_safe` the columns are
//! vectors and the lock is a mutex, with the same methods and no unsafe code; every test can be run on either.
//!
//! A block whose entries are plain may stand [`open`], to be read without the lock; where there is no unsafe code none does.

#[cfg(any(
    not(feature = "std"),
    purlin_safe,
    purlin_shuttle,
    purlin_loom,
    not(target_pointer_width = "64")
))]
#[path = "raw/closed.rs"]
pub(crate) mod open;
#[cfg(not(any(
    not(feature = "std"),
    purlin_safe,
    purlin_shuttle,
    purlin_loom,
    not(target_pointer_width = "64")
)))]
pub(crate) mod open;

mod block;
#[cfg(all(feature = "std", not(purlin_safe)))]
mod identity;
pub(crate) mod lanes;
#[cfg(feature = "std")]
mod lock;
#[cfg(not(purlin_safe))]
mod packed;
#[cfg(not(purlin_safe))]
mod prefetch;
#[cfg(purlin_safe)]
mod safe;
#[cfg(not(any(
    not(feature = "std"),
    purlin_safe,
    purlin_shuttle,
    purlin_loom,
    not(target_pointer_width = "64")
)))]
mod seq;

pub(crate) use block::{Block, Slots};
#[cfg(feature = "std")]
pub(crate) use lock::{Lock, LockGuard, lock};
#[cfg(all(feature = "std", not(purlin_safe)))]
pub(crate) use prefetch::prefetch_owned;
#[cfg(all(feature = "std", purlin_safe))]
pub(crate) use safe::prefetch_owned;

/// What a set sees of a key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    /// Compared in many slots at once. Never zero.
    pub(crate) tag: u8,
    /// Compared where the tag agrees.
    pub(crate) mark: u16,
}

/// Everything of a slot but its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) print: Print,
    /// The policy's own notes.
    pub(crate) note: u8,
    /// When it was last put in order, by the set's clock.
    pub(crate) order: u16,
}

/// The columns of a block but its entries, all of one length but the past.
pub(crate) struct Columns<'a> {
    pub(crate) tally: &'a mut Tally,
    /// Those of the first slots, and of the others.
    pub(crate) tags: (&'a [u8], &'a [u8]),
    pub(crate) marks: &'a mut [u16],
    pub(crate) notes: &'a mut [u8],
    /// A bit each for the first 64 slots, which the policy sets by [`Slots::set_hot`].
    pub(crate) hot: &'a mut u64,
    /// A slot up to 255 that will likely have another entry next, or any.
    pub(crate) leaves: &'a mut u8,
    pub(crate) orders: &'a mut [u16],
    pub(crate) past: &'a mut [u16],
}

impl Columns<'_> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.notes.len()
    }

    #[inline]
    pub(crate) fn print(&self, at: usize) -> Print {
        let (near, far) = self.tags;
        let tag = near.get(at).copied();
        Print {
            tag: tag.unwrap_or_else(|| far[at - near.len()]),
            mark: self.marks[at],
        }
    }
}

/// What a use of a slot changes.
pub(crate) struct Seat<'a> {
    pub(crate) note: &'a mut u8,
    pub(crate) order: &'a mut u16,
    /// The set's own clock.
    pub(crate) now: &'a mut u16,
}

/// What the policy knows of the set as a whole. The block keeps it and does not look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// The set's own clock.
    pub(crate) now: u16,
    pub(crate) in_window: u16,
    /// Where the past goes on.
    pub(crate) cursor: u16,
    /// What kind of past it is.
    pub(crate) past: Past,
    /// Added before the window's share is rounded down, so that over many sets it comes out right.
    pub(crate) dither: u8,
    /// All orders of the window are above this.
    pub(crate) floor: u16,
    /// A slot that may well be the window's oldest.
    pub(crate) next: u16,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Tally {
            now: 0,
            in_window: 0,
            cursor: 0,
            past: Past::Nothing,
            dither: 0,
            floor: 0,
            next: 0,
        }
    }
}

/// What a set remembers of those it does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    Nothing,
    /// A ring of those who left. Zero is nobody.
    Ghosts,
    /// The same with the order that each had: ghosts, then as many orders.
    OrderedGhosts,
    /// A count-min sketch of four rows of counters of four bits: each print has one in each row, and counts as the
    /// least of them.
    Counts,
}

/// The most slots of one block.
pub(crate) const SLOTS_MAX: usize = 8192;

/// How many slots the next allocation has, for a block that is full. There is one for each set, so it shall have
/// few to spare.
fn grown(slots: usize) -> usize {
    debug_assert!(slots < SLOTS_MAX, "whoever adds to a set bounds it");
    slots + (slots / 16).next_multiple_of(2).max(4)
}

/// The bit of a slot, which those beyond the first 64 do not have.
#[inline]
pub(crate) fn bit(at: usize) -> u64 {
    if at < 64 { 1 << at } else { 0 }
}

/// The bits of slots of which one is freed, and the last takes its place.
#[inline]
fn without(bits: u64, at: usize, last: usize) -> u64 {
    let moved = if bits & bit(last) == 0 { 0 } else { bit(at) };
    // If it is the last itself that is freed, nobody moves.
    (bits & !bit(at) | moved) & !bit(last)
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use alloc::vec::Vec;

    use purlin_core::Rng;

    use super::*;

    fn slot(n: u32) -> Slot {
        Slot {
            print: Print {
                tag: (n as u8).max(1),
                mark: (n >> 8) as u16,
            },
            note: (n >> 3) as u8,
            order: n as u16,
        }
    }

    /// Any operations, beside a vector.
    fn beside_a_vector<E, B>(mut block: B, make: impl Fn(u32) -> E, most: u64, keeps_hot: bool)
    where
        E: Clone + PartialEq + core::fmt::Debug,
        B: Slots<E, Rc<u8>>,
    {
        let by_mark = cfg!(purlin_safe) || core::mem::needs_drop::<E>() || size_of::<E>() == 0;
        let mut rng = Rng::from_seed(4);
        let mut naive: Vec<(Slot, E)> = Vec::new();
        let mut hot: Vec<bool> = Vec::new();
        block.make_room();
        for step in 0..if cfg!(miri) { 220 } else { 2_000u32 } {
            let at = rng.below(naive.len().max(1) as u64) as usize;
            match rng.below(9) {
                0..=3 if (naive.len() as u64) < most => {
                    block.make_room();
                    block.push(slot(step), make(step));
                    naive.push((slot(step), make(step)));
                    hot.push(false);
                }
                4 if step % 2 == 0 && !naive.is_empty() => {
                    let (new, columns) = (slot(step), block.columns());
                    (columns.notes[at], columns.orders[at]) = (new.note, new.order);
                    columns.marks[at] = new.print.mark;
                    assert_eq!(block.renew(at, new.print.tag, make(step)), naive[at].1);
                    naive[at] = (new, make(step));
                    hot[at] = false;
                }
                4 if !naive.is_empty() => {
                    assert_eq!(block.replace(at, slot(step), make(step)), naive[at].1);
                    naive[at] = (slot(step), make(step));
                    hot[at] = false;
                }
                5 if step % 2 == 0 && !naive.is_empty() => {
                    assert_eq!(block.swap_entry(at, make(step)), naive[at].1);
                    naive[at].1 = make(step);
                }
                6 if !naive.is_empty() => {
                    block.set_hot(at);
                    hot[at] = keeps_hot && at < 64;
                }
                5 if !naive.is_empty() => {
                    block.columns().orders[at] = 7;
                    block.columns().notes[at] = 9;
                    (naive[at].0.order, naive[at].0.note) = (7, 9);
                }
                _ if !naive.is_empty() => {
                    assert_eq!(block.swap_remove(at), naive.swap_remove(at).1);
                    let last = hot.len() - 1;
                    // Of those beyond the first 64 it is not known.
                    hot[at] = hot[last];
                    hot.truncate(last);
                }
                _ => {}
            }
            assert_eq!(block.len(), naive.len());
            // An interpreter takes its time, so it looks at some of them only.
            let each = if cfg!(miri) { 7 } else { 1 };
            for (at, (slot, entry)) in naive.iter().enumerate().step_by(each) {
                assert_eq!(block.slot(at), *slot);
                assert_eq!(block.is_hot(at), hot[at]);
                assert_eq!(block.entry(at), entry);
                let found = block.find(slot.print, |other| other == entry);
                let first = naive.iter().position(|(other, its)| {
                    // Entries without memory of their own may be told apart without their marks.
                    let is_marked = other.print.mark == slot.print.mark;
                    other.print.tag == slot.print.tag && its == entry && (is_marked || !by_mark)
                });
                assert_eq!(found, first);
                #[cfg(feature = "std")]
                assert_eq!(
                    block.find_to_change(slot.print, |other| other == entry),
                    first
                );
            }
            assert_eq!(block.find(slot(!step).print, |_| false), None);
            #[cfg(feature = "std")]
            assert_eq!(block.find_to_change(slot(!step).print, |_| false), None);
            let columns = block.columns();
            let (near, far) = columns.tags;
            assert_eq!(
                (columns.len(), near.len() + far.len()),
                (naive.len(), naive.len())
            );
            assert_eq!(
                (columns.marks.len(), columns.orders.len()),
                (naive.len(), naive.len())
            );
            for (at, (slot, _)) in naive.iter().enumerate().step_by(each) {
                assert_eq!(columns.print(at), slot.print);
                assert_eq!(
                    (columns.notes[at], columns.orders[at]),
                    (slot.note, slot.order)
                );
            }
            assert_eq!(columns.past.len(), 0);
        }
        assert!(block.side().is_none());
        block.set_side(Rc::new(1));
        assert!((0..block.len()).all(|at| !block.is_hot(at)));
        block.make_past(24);
        block.columns().past[23] = 5;
        block.tally_mut().now = 6;
        while block.len() < if cfg!(miri) { 60 } else { 100 } {
            block.make_room();
            block.push(slot(block.len() as u32), make(1));
        }
        let past = block.columns().past;
        assert_eq!((past[23], past[22], past.len()), (5, 0, 24));
        assert_eq!(block.tally().now, 6);
        assert_eq!(block.side_mut(), Some(&mut Rc::new(1)));
        block.make_past(24);
        assert_eq!(block.columns().past[23], 0);
    }

    #[test]
    fn it_does_what_a_vector_does() {
        let steps = if cfg!(miri) { 50 } else { 300 };
        beside_a_vector(Block::new(), |n| (u64::from(n), n), steps, true);
        beside_a_vector(Block::new(), |_| (), steps, true);
        beside_a_vector(Block::new(), |n| alloc::format!("{n}"), steps, true);
        beside_a_vector(Block::new(), |n| [n as u8; 3], steps, true);
    }

    #[cfg(all(feature = "std", target_pointer_width = "64"))]
    #[cfg(not(any(purlin_safe, purlin_shuttle, purlin_loom)))]
    #[test]
    fn one_that_is_open_does_too() {
        let most = if cfg!(miri) { 60 } else { 80 };
        let flag = |n| (n % 2 == 0, char::from_u32(n).unwrap_or('-'));
        if let Some(home) = open::Home::new() {
            let home = open::shared::<_, _, Rc<u8>>(home);
            beside_a_vector(open::Open::make(&home), |n| (u64::from(n), n), most, false);
            // The second has its memory from the first.
            beside_a_vector(open::Open::make(&home), |n| (u64::from(n), n), most, false);
        }
        if let Some(home) = open::Home::new() {
            let home = open::shared::<_, _, Rc<u8>>(home);
            beside_a_vector(open::Open::make(&home), flag, most, false);
        }
        if let Some(home) = open::Home::new() {
            let home = open::shared::<_, _, Rc<u8>>(home);
            let make = |n| ([n as u8; 6], u128::from(n));
            beside_a_vector(open::Open::make(&home), make, most, false);
        }
    }

    #[test]
    fn every_entry_is_dropped_once() {
        let life = Rc::new(());
        let mut block: Block<_, Rc<()>> = Block::new();
        for n in 0..100 {
            block.make_room();
            block.push(slot(n), Rc::clone(&life));
        }
        drop(block.swap_remove(3));
        drop(block.replace(5, slot(500), Rc::clone(&life)));
        assert_eq!(Rc::strong_count(&life), 100);
        block.set_side(Rc::clone(&life));
        block.make_room();
        block.push(slot(7), Rc::clone(&life));
        assert_eq!(Rc::strong_count(&life), 102);
        drop(block);
        assert_eq!(Rc::strong_count(&life), 1);
    }

    #[test]
    fn an_entry_that_is_aligned_to_more_than_a_line_is() {
        #[derive(Debug)]
        #[repr(align(256))]
        struct Wide(u8);

        let mut block: Block<Wide> = Block::new();
        for n in 0..20 {
            block.make_room();
            block.push(slot(n), Wide(n as u8));
        }
        for n in 0..20 {
            let entry = block.entry(n);
            assert_eq!((entry as *const Wide).addr() % 256, 0);
            assert_eq!(usize::from(entry.0), n);
        }
    }
}
