use core::fmt;

#[cfg(feature = "std")]
use super::open::Signs;
#[cfg(not(purlin_safe))]
use super::packed::Packed;
#[cfg(purlin_safe)]
use super::safe::Vectors;
use super::{Columns, Print, Seat, Slot, Tally};

/// The slots of a set, as all that is above them sees them.
pub(crate) trait Slots<E, S>: Sized + fmt::Debug {
    /// What the blocks of a table share.
    type Home: fmt::Debug;

    /// An empty one.
    fn make(home: &Self::Home) -> Self;
    /// An empty one for the same table.
    fn sibling(&self) -> Self;

    fn len(&self) -> usize;
    fn tally(&self) -> Tally;
    /// There must be memory for it, as there is once there was room for a slot or the past.
    fn tally_mut(&mut self) -> &mut Tally;
    /// The first slot with this print and an entry of which `is_it` is true.
    fn find(&self, print: Print, is_it: impl FnMut(&E) -> bool) -> Option<usize>;
    /// The same, by who will look at the columns next.
    #[cfg(feature = "std")]
    #[inline]
    fn find_to_change(&self, print: Print, is_it: impl FnMut(&E) -> bool) -> Option<usize> {
        self.find(print, is_it)
    }
    fn slot(&self, at: usize) -> Slot;
    fn print(&self, at: usize) -> Print;
    fn entry(&self, at: usize) -> &E;
    /// Puts another entry into a slot that stays what it is.
    fn swap_entry(&mut self, at: usize, entry: E) -> E;
    /// Whether the policy has said of a slot that a use of it changes nothing. It is known without a look at the columns.
    #[inline]
    fn is_hot(&self, _at: usize) -> bool {
        false
    }
    /// Says so, if there is a place to write it down. It holds until the slot has another entry, there is a side, or the policy
    /// takes it back in the columns.
    #[inline]
    fn set_hot(&mut self, _at: usize) {}
    /// What of the columns a use of a slot changes.
    fn seat(&mut self, at: usize) -> Seat<'_>;
    /// All but the entries. There must be memory for the tally.
    fn columns(&mut self) -> Columns<'_>;
    /// Makes room for so many words of the past, all zero.
    fn make_past(&mut self, words: usize);
    /// What stands beside the slots, once it was put there.
    fn side(&self) -> Option<&S>;
    fn side_mut(&mut self) -> Option<&mut S>;
    /// Puts something beside the slots, where there is nothing yet.
    fn set_side(&mut self, side: S);
    /// Tells the processor that the columns will be wanted.
    fn prefetch(&self);
    /// The entry that will likely be the next to be [replaced](Self::replace), if that is known without a look at the columns; or any.
    #[cfg(feature = "std")]
    #[inline]
    fn leaving(&self) -> Option<&E> {
        None
    }
    /// Sees to it that there is memory for one more slot, and for the tally.
    fn make_room(&mut self);
    /// Adds a slot at the end, for which there is room.
    fn push(&mut self, slot: Slot, entry: E);
    /// Puts another entry into a slot.
    fn replace(&mut self, at: usize, slot: Slot, entry: E) -> E;
    /// The same for who has written the note, the order and the mark in the columns.
    fn renew(&mut self, at: usize, tag: u8, entry: E) -> E;
    /// Frees a slot; the last takes its place.
    fn swap_remove(&mut self, at: usize) -> E;
    /// Whether nothing is lost if all slots are freed and added again, but whether they are hot.
    fn can_be_tidied(&self) -> bool {
        self.side().is_none()
    }

    /// Which slots were used without the lock since this was last asked, a bit each for the first 64.
    fn take_used(&mut self) -> u64 {
        0
    }
    /// Says that entries are over from this tick on, and not before; to be said before the entry is there that is.
    fn set_over_from(&mut self, _tick: u64) {}
    /// What was said last, or the end of time.
    fn over_from(&self) -> u64 {
        u64::MAX
    }

    /// To be said before entries go from block to block of a table, or out of it with their block.
    fn rearrange(_home: &Self::Home) {}
    /// To be said after that, with all blocks of the table in their order.
    fn arranged<'a>(
        _home: &Self::Home,
        _begins_with: u32,
        _doublings: u8,
        _blocks: impl ExactSizeIterator<Item = &'a Self>,
    ) where
        Self: 'a,
    {
    }
    /// Tells those who read without the lock what they have to know.
    #[cfg(feature = "std")]
    fn show(_home: &Self::Home, _signs: Signs) {}
    /// Tells them that from here on a key may be elsewhere than in the table.
    fn has_more(_home: &Self::Home) {}
}

#[cfg(not(purlin_safe))]
type Inner<E, S> = Packed<E, S, NEAR, NEAR>;
#[cfg(purlin_safe)]
type Inner<E, S> = Vectors<E, S>;

/// Slots whose tags are in the first line.
#[cfg(not(purlin_safe))]
const NEAR: usize = 40;

/// A block that is read under the lock only.
#[repr(align(64))]
pub(crate) struct Block<E, S = ()>(Inner<E, S>);

#[cfg(not(purlin_safe))]
const _: () = assert!(size_of::<Block<u64>>() == 64, "one line of memory");

impl<E, S> Block<E, S> {
    pub(crate) const fn new() -> Self {
        Block(Inner::new())
    }

    /// Which of the near slots have this tag, a bit each.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn near_agreeing(&self, tag: u8) -> u64 {
        self.0.near_agreeing(tag)
    }

    /// The entry of which `is_it` is true in one of these near slots, if that is [hot](Slots::set_hot).
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn find_hot(&self, near: u64, is_it: impl FnMut(&E) -> bool) -> Option<&E> {
        self.0.find_hot(near, is_it)
    }

    /// [`find`](Slots::find), by who knows already which of the near slots have the tag.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn find_among(
        &self,
        near: u64,
        print: Print,
        is_it: impl FnMut(&E) -> bool,
    ) -> Option<usize> {
        self.0.find_among(near, print, is_it)
    }
}

impl<E, S> Slots<E, S> for Block<E, S> {
    type Home = ();

    fn make((): &()) -> Self {
        Block::new()
    }

    fn sibling(&self) -> Self {
        Block::new()
    }

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn tally(&self) -> Tally {
        self.0.tally()
    }

    #[inline]
    fn tally_mut(&mut self) -> &mut Tally {
        self.0.tally_mut()
    }

    #[inline]
    fn find(&self, print: Print, is_it: impl FnMut(&E) -> bool) -> Option<usize> {
        self.0.find(print, is_it)
    }

    #[cfg(feature = "std")]
    #[inline]
    fn find_to_change(&self, print: Print, is_it: impl FnMut(&E) -> bool) -> Option<usize> {
        self.0.find_to_change(print, is_it)
    }

    fn slot(&self, at: usize) -> Slot {
        self.0.slot(at)
    }

    #[inline]
    fn print(&self, at: usize) -> Print {
        self.0.print(at)
    }

    #[inline]
    fn entry(&self, at: usize) -> &E {
        self.0.entry(at)
    }

    #[inline]
    fn swap_entry(&mut self, at: usize, entry: E) -> E {
        core::mem::replace(self.0.entry_mut(at), entry)
    }

    #[inline]
    fn is_hot(&self, at: usize) -> bool {
        self.0.is_hot(at)
    }

    #[inline]
    fn set_hot(&mut self, at: usize) {
        self.0.set_hot(at);
    }

    #[inline]
    fn seat(&mut self, at: usize) -> Seat<'_> {
        self.0.seat(at)
    }

    #[inline]
    fn columns(&mut self) -> Columns<'_> {
        self.0.columns()
    }

    fn make_past(&mut self, words: usize) {
        self.0.make_past(words);
    }

    #[inline]
    fn side(&self) -> Option<&S> {
        self.0.side()
    }

    #[inline]
    fn side_mut(&mut self) -> Option<&mut S> {
        self.0.side_mut()
    }

    fn set_side(&mut self, side: S) {
        self.0.set_side(side);
    }

    #[inline]
    fn prefetch(&self) {
        self.0.prefetch();
    }

    #[cfg(feature = "std")]
    #[inline]
    fn leaving(&self) -> Option<&E> {
        self.0.leaving()
    }

    #[inline]
    fn make_room(&mut self) {
        self.0.make_room();
    }

    #[inline]
    fn push(&mut self, slot: Slot, entry: E) {
        self.0.push(slot, entry);
    }

    #[inline]
    fn replace(&mut self, at: usize, slot: Slot, entry: E) -> E {
        self.0.replace(at, slot, entry)
    }

    #[inline]
    fn renew(&mut self, at: usize, tag: u8, entry: E) -> E {
        self.0.renew(at, tag, entry)
    }

    #[inline]
    fn swap_remove(&mut self, at: usize) -> E {
        self.0.swap_remove(at)
    }
}

impl<E, S> fmt::Debug for Block<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
