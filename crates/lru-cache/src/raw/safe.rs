use alloc::vec::Vec;
use core::fmt;

use super::{Columns, Print, Seat, Slot, Tally, bit, grown, without};

/// The slots of a set, a vector a column, all of one length.
pub(crate) struct Vectors<E, S> {
    tally: Tally,
    hot: u64,
    leaves: u8,
    side: Option<S>,
    past: Vec<u16>,
    tags: Vec<u8>,
    notes: Vec<u8>,
    marks: Vec<u16>,
    orders: Vec<u16>,
    entries: Vec<E>,
}

impl<E, S> Vectors<E, S> {
    pub(crate) const fn new() -> Self {
        Vectors {
            tally: Tally::new(),
            hot: 0,
            leaves: 0,
            side: None,
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

    /// Makes room for so many words of the past, all zero.
    pub(crate) fn make_past(&mut self, words: usize) {
        self.past.clear();
        self.past.resize(words, 0);
    }

    /// What stands beside the slots, once it was put there.
    pub(crate) fn side(&self) -> Option<&S> {
        self.side.as_ref()
    }

    pub(crate) fn side_mut(&mut self) -> Option<&mut S> {
        self.side.as_mut()
    }

    /// Puts something beside the slots, where there is nothing yet.
    pub(crate) fn set_side(&mut self, side: S) {
        assert!(self.side.is_none(), "there is one side");
        self.side = Some(side);
        self.hot = 0;
    }

    /// Tells the processor that the columns will be wanted.
    pub(crate) fn prefetch(&self) {}

    /// The entry of a slot that will likely have another next, or any.
    #[cfg(feature = "std")]
    pub(crate) fn leaving(&self) -> Option<&E> {
        self.entries.get(usize::from(self.leaves))
    }

    /// The first slot with this print and an entry of which `is_it` is true.
    pub(crate) fn find(&self, print: Print, mut is_it: impl FnMut(&E) -> bool) -> Option<usize> {
        (0..self.len()).find(|&at| {
            self.tags[at] == print.tag && self.marks[at] == print.mark && is_it(&self.entries[at])
        })
    }

    /// [`find`](Self::find), which looks at all columns.
    #[cfg(feature = "std")]
    pub(crate) fn find_to_change(
        &self,
        print: Print,
        is_it: impl FnMut(&E) -> bool,
    ) -> Option<usize> {
        self.find(print, is_it)
    }

    /// Which of the first 64 slots have this tag, a bit each.
    #[cfg(feature = "std")]
    pub(crate) fn near_agreeing(&self, tag: u8) -> u64 {
        let tags = self.tags.iter().enumerate();
        let agree = tags.filter(|(_, other)| **other == tag);
        agree.fold(0, |all, (at, _)| all | bit(at))
    }

    /// The entry of which `is_it` is true in one of these slots, if that is hot.
    #[cfg(feature = "std")]
    pub(crate) fn find_hot(&self, near: u64, mut is_it: impl FnMut(&E) -> bool) -> Option<&E> {
        let entries = self.entries.iter().enumerate();
        let mut hot = entries.filter(|(at, _)| near & self.hot & bit(*at) != 0);
        hot.find_map(|(_, entry)| is_it(entry).then_some(entry))
    }

    /// [`find`](Self::find), which here has no use for what is known.
    #[cfg(feature = "std")]
    pub(crate) fn find_among(
        &self,
        _near: u64,
        print: Print,
        is_it: impl FnMut(&E) -> bool,
    ) -> Option<usize> {
        self.find(print, is_it)
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

    pub(crate) fn is_hot(&self, at: usize) -> bool {
        self.hot & bit(at) != 0
    }

    pub(crate) fn set_hot(&mut self, at: usize) {
        if self.side.is_none() {
            self.hot |= bit(at);
        }
    }

    /// What of the columns a use of a slot changes.
    pub(crate) fn seat(&mut self, at: usize) -> Seat<'_> {
        Seat {
            note: &mut self.notes[at],
            order: &mut self.orders[at],
            now: &mut self.tally.now,
        }
    }

    /// All but the entries.
    pub(crate) fn columns(&mut self) -> Columns<'_> {
        Columns {
            tally: &mut self.tally,
            tags: (&self.tags, &[]),
            marks: &mut self.marks,
            notes: &mut self.notes,
            hot: &mut self.hot,
            leaves: &mut self.leaves,
            orders: &mut self.orders,
            past: &mut self.past,
        }
    }

    /// Sees to it that there is memory for one more slot.
    pub(crate) fn make_room(&mut self) {
        if self.len() == self.entries.capacity() {
            self.entries.reserve_exact(grown(self.len()) - self.len());
        }
    }

    /// Adds a slot at the end.
    pub(crate) fn push(&mut self, slot: Slot, entry: E) {
        self.tags.push(slot.print.tag);
        self.notes.push(slot.note);
        self.marks.push(slot.print.mark);
        self.orders.push(slot.order);
        self.entries.push(entry);
    }

    /// Puts another entry into a slot.
    pub(crate) fn replace(&mut self, at: usize, slot: Slot, entry: E) -> E {
        self.hot &= !bit(at);
        self.tags[at] = slot.print.tag;
        self.notes[at] = slot.note;
        self.marks[at] = slot.print.mark;
        self.orders[at] = slot.order;
        core::mem::replace(&mut self.entries[at], entry)
    }

    /// The same for who has written the note, the order and the mark.
    pub(crate) fn renew(&mut self, at: usize, tag: u8, entry: E) -> E {
        self.hot &= !bit(at);
        self.tags[at] = tag;
        core::mem::replace(&mut self.entries[at], entry)
    }

    /// Frees a slot; the last takes its place.
    pub(crate) fn swap_remove(&mut self, at: usize) -> E {
        self.hot = without(self.hot, at, self.len() - 1);
        self.tags.swap_remove(at);
        self.notes.swap_remove(at);
        self.marks.swap_remove(at);
        self.orders.swap_remove(at);
        self.entries.swap_remove(at)
    }
}

/// Nothing, for want of the instruction.
#[cfg(feature = "std")]
pub(crate) fn prefetch_owned<T>(_: &T) {}

impl<E, S> fmt::Debug for Vectors<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectors")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
