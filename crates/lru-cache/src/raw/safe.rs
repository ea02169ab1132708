use alloc::vec::Vec;

use super::{Print, Slot, Tally, grown};

/// The slots of a set, a vector a column, all of one length.
#[derive(Debug)]
pub(crate) struct Block<E> {
    tally: Tally,
    past: Vec<u16>,
    tags: Vec<u8>,
    notes: Vec<u8>,
    marks: Vec<u16>,
    orders: Vec<u16>,
    entries: Vec<E>,
}

impl<E> Block<E> {
    pub(crate) const fn new() -> Self {
        Block {
            tally: Tally {
                now: 0,
                in_window: 0,
                cursor: 0,
                past: super::Past::Nothing,
                dither: 0,
            },
            past: Vec::new(),
            tags: Vec::new(),
            notes: Vec::new(),
            marks: Vec::new(),
            orders: Vec::new(),
            entries: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// What the set remembers of those it does not hold, in words of its own.
    pub(crate) fn past(&self) -> &[u16] {
        &self.past
    }

    pub(crate) fn past_mut(&mut self) -> &mut [u16] {
        &mut self.past
    }

    /// Makes room for so many words of the past, all zero.
    pub(crate) fn make_past(&mut self, words: usize) {
        self.past.clear();
        self.past.resize(words, 0);
    }

    /// Tells the processor that all of the block but the entries will be wanted.
    pub(crate) fn prefetch(&self) {}

    /// The first slot with this print and an entry of which `is_it` is true.
    pub(crate) fn find(&self, print: Print, mut is_it: impl FnMut(&E) -> bool) -> Option<usize> {
        (0..self.len()).find(|&at| {
            self.tags[at] == print.tag && self.marks[at] == print.mark && is_it(&self.entries[at])
        })
    }

    pub(crate) fn slot(&self, at: usize) -> Slot {
        Slot {
            print: self.print(at),
            note: self.notes[at],
            order: self.orders[at],
        }
    }

    pub(crate) fn print(&self, at: usize) -> Print {
        Print {
            tag: self.tags[at],
            mark: self.marks[at],
        }
    }

    pub(crate) fn entry(&self, at: usize) -> &E {
        &self.entries[at]
    }

    pub(crate) fn entry_mut(&mut self, at: usize) -> &mut E {
        &mut self.entries[at]
    }

    pub(crate) fn notes(&self) -> &[u8] {
        &self.notes
    }

    pub(crate) fn notes_mut(&mut self) -> &mut [u8] {
        &mut self.notes
    }

    pub(crate) fn orders(&self) -> &[u16] {
        &self.orders
    }

    pub(crate) fn orders_mut(&mut self) -> &mut [u16] {
        &mut self.orders
    }

    /// Adds a slot at the end.
    pub(crate) fn push(&mut self, slot: Slot, entry: E) {
        if self.len() == self.entries.capacity() {
            self.entries.reserve_exact(grown(self.len()) - self.len());
        }
        self.tags.push(slot.print.tag);
        self.notes.push(slot.note);
        self.marks.push(slot.print.mark);
        self.orders.push(slot.order);
        self.entries.push(entry);
    }

    /// Puts another entry into a slot.
    pub(crate) fn replace(&mut self, at: usize, slot: Slot, entry: E) -> E {
        self.tags[at] = slot.print.tag;
        self.notes[at] = slot.note;
        self.marks[at] = slot.print.mark;
        self.orders[at] = slot.order;
        core::mem::replace(&mut self.entries[at], entry)
    }

    /// Frees a slot; the last takes its place.
    pub(crate) fn swap_remove(&mut self, at: usize) -> E {
        self.tags.swap_remove(at);
        self.notes.swap_remove(at);
        self.marks.swap_remove(at);
        self.orders.swap_remove(at);
        self.entries.swap_remove(at)
    }
}
