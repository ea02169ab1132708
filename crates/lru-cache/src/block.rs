//! The slots of one set, side by side: the one module with unsafe code.
//!
//! A slot is five things: a tag and a mark of its key's hash, what the policy knows of it, its place in the order
//! of use, and the entry. They stand in columns, for a policy looks at one of them in all slots at once. All columns
//! are one allocation here, so that a look-up touches two or three lines of memory and an entry of two words costs
//! 22 bytes. Built with `--cfg purlin_safe` the columns are vectors, with the same methods and no unsafe code; every test
//! can be run on either.

#[cfg(not(purlin_safe))]
mod packed;
#[cfg(purlin_safe)]
mod safe;

#[cfg(not(purlin_safe))]
pub(crate) use packed::Block;
#[cfg(purlin_safe)]
pub(crate) use safe::Block;

/// What a set sees of a key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    /// Compared in many slots at once.
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

/// The most slots of one block.
pub(crate) const SLOTS_MAX: usize = 8192;

/// How many slots the next allocation has, for a block that is full. There is one for each set, so it shall have
/// few to spare.
fn grown(slots: usize) -> usize {
    debug_assert!(slots < SLOTS_MAX, "whoever adds to a set bounds it");
    slots + (slots / 16).next_multiple_of(2).max(4)
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
                tag: n as u8,
                mark: (n >> 8) as u16,
            },
            note: (n >> 3) as u8,
            order: n as u16,
        }
    }

    /// Any operations, beside a vector.
    fn beside_a_vector<E: Clone + PartialEq + core::fmt::Debug>(make: impl Fn(u32) -> E, most: u64) {
        let mut rng = Rng::from_seed(4);
        let mut block = Block::new();
        let mut naive: Vec<(Slot, E)> = Vec::new();
        for step in 0..2_000u32 {
            let at = rng.below(naive.len().max(1) as u64) as usize;
            match rng.below(8) {
                0..=3 if (naive.len() as u64) < most => {
                    block.push(slot(step), make(step));
                    naive.push((slot(step), make(step)));
                }
                4 if !naive.is_empty() => {
                    assert_eq!(block.replace(at, slot(step), make(step)), naive[at].1);
                    naive[at] = (slot(step), make(step));
                }
                5 if !naive.is_empty() => {
                    block.orders_mut()[at] = 7;
                    block.notes_mut()[at] = 9;
                    (naive[at].0.order, naive[at].0.note) = (7, 9);
                }
                _ if !naive.is_empty() => {
                    assert_eq!(block.swap_remove(at), naive.swap_remove(at).1);
                }
                _ => {}
            }
            assert_eq!(block.len(), naive.len());
            for (at, (slot, entry)) in naive.iter().enumerate() {
                assert_eq!(block.slot(at), *slot);
                assert_eq!(block.entry(at), entry);
                let found = block.find(slot.print, |other| other == entry);
                let first = naive
                    .iter()
                    .position(|(other, its)| other.print == slot.print && its == entry);
                assert_eq!(found, first);
            }
            assert_eq!(block.find(slot(!step).print, |_| true), None);
        }
    }

    #[test]
    fn it_does_what_a_vector_does() {
        let steps = if cfg!(miri) { 20 } else { 300 };
        beside_a_vector(|n| (u64::from(n), n), steps);
        beside_a_vector(|_| (), steps);
        beside_a_vector(|n| alloc::format!("{n}"), steps);
        beside_a_vector(|n| [n as u8; 3], steps);
    }

    #[test]
    fn every_entry_is_dropped_once() {
        let life = Rc::new(());
        let mut block = Block::new();
        for n in 0..100 {
            block.push(slot(n), Rc::clone(&life));
        }
        drop(block.swap_remove(3));
        drop(block.replace(5, slot(500), Rc::clone(&life)));
        assert_eq!(Rc::strong_count(&life), 100);
        drop(block);
        assert_eq!(Rc::strong_count(&life), 1);
    }

    #[test]
    fn an_entry_that_is_aligned_to_more_than_a_line_is() {
        #[derive(Debug)]
        #[repr(align(256))]
        struct Wide(u8);

        let mut block = Block::new();
        for n in 0..20 {
            block.push(slot(n), Wide(n as u8));
        }
        for n in 0..20 {
            let entry = block.entry(n);
            assert_eq!((entry as *const Wide).addr() % 256, 0);
            assert_eq!(usize::from(entry.0), n);
        }
    }
}
