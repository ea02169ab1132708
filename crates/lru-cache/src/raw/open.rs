//! Sets that may be read without the lock of their shard.
//!
//! Tags and entries stand in a [`Node`], which is atomics all through and has a count of its changes; what the policy knows stands
//! elsewhere, and only under the lock. So entries have to be plain: bytes that may be read while they are written, and are looked
//! at only once it is certain that they were not. A node keeps its memory for as long as the cache lives, since somebody
//! may be about to read it; a set that is not needed leaves its own to the next.
#![allow(
    unsafe_code,
    reason = "memory that is read while it is written; see above and in `node`"
)]

mod home;
mod node;
mod plain;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;

pub(crate) use self::home::{Home, Read, Signs, shared};
use self::node::{FAR, Far, NEAR, Node, load, store};
use super::packed::Packed;
use super::{Columns, Print, Seat, Slot, Slots, Tally};

/// The slots of a set whose entries may be read without the lock.
///
/// 1. `node` has an entry and its tag for each slot of `desk` up to [`NEAR`], the chunks behind it have those of the others, and
///    all other tags are zero.
/// 2. There are as many chunks as the slots need.
/// 3. Whoever has the block mutably holds the lock, or there is nobody to share it with.
pub(crate) struct Open<K, V, S> {
    desk: Packed<(), S, 0, NEAR>,
    node: NonNull<Node<(K, V)>>,
    home: Arc<Home<K, V>>,
}

// SAFETY: it owns its entries and its side, and shares them by the rules for references to itself, or by copies of plain
// entries.
unsafe impl<K: Send, V: Send, S: Send> Send for Open<K, V, S> {}
// SAFETY: as above; a shared block gives out shared references and changes nothing but notes of use.
unsafe impl<K: Sync, V: Sync, S: Sync> Sync for Open<K, V, S> {}

impl<K, V, S> Open<K, V, S> {
    fn in_home(home: Arc<Home<K, V>>) -> Self {
        Open {
            desk: Packed::new(),
            node: home.node(),
            home,
        }
    }

    #[inline]
    fn node(&self) -> &Node<(K, V)> {
        // SAFETY: nodes keep their memory as long as their home, which is kept here, and are shared by all.
        unsafe { self.node.as_ref() }
    }

    /// The chunk that a far slot is in.
    fn far(&self, at: usize) -> &Far<(K, V)> {
        let mut chunk = self.node().far.load(Ordering::Relaxed);
        for _ in 0..(at - NEAR) / FAR {
            // SAFETY: there are as many chunks as slots need, and who holds the lock sees what was stored under it.
            chunk = unsafe { &*chunk }.next.load(Ordering::Relaxed);
        }
        // SAFETY: as above.
        unsafe { &*chunk }
    }

    fn place(&self, at: usize) -> *mut (K, V) {
        if at < NEAR {
            self.node().entry(at)
        } else {
            self.far(at).entry((at - NEAR) % FAR)
        }
    }

    /// Writes an entry. To be called in a change.
    fn write(&self, at: usize, entry: &(K, V)) {
        let to = self.place(at);
        // SAFETY: the place is for an entry, of a plain key and a plain value, and only who holds the lock writes.
        unsafe {
            store(&raw const entry.0, &raw mut (*to).0);
            store(&raw const entry.1, &raw mut (*to).1);
        }
    }

    /// The entry of a slot that is below `len`, or was when the last change began.
    fn read(&self, at: usize) -> (K, V) {
        // SAFETY: it was written by `write`.
        unsafe { read(self.place(at)) }
    }

    /// To be called in a change.
    fn set_tag(&self, at: usize, tag: u8) {
        if at < NEAR {
            self.node().set_tag(at, tag);
        } else {
            self.far(at).set_tag((at - NEAR) % FAR, tag);
        }
    }

    /// Adds a chunk behind the last, of which there are so many. To be called in a change.
    fn link(&self, chunks: usize) {
        let chunk = self.home.chunk().as_ptr();
        if chunks == 0 {
            // Release: pairs with the acquire of who follows the pointer without the lock, here and below.
            self.node().far.store(chunk, Ordering::Release);
        } else {
            self.far(NEAR + (chunks - 1) * FAR)
                .next
                .store(chunk, Ordering::Release);
        }
    }

    /// Takes the last of so many chunks off. To be called in a change.
    fn unlink(&self, chunks: usize) {
        let from = if chunks == 1 {
            &self.node().far
        } else {
            &self.far(NEAR + (chunks - 2) * FAR).next
        };
        let chunk = from.load(Ordering::Relaxed);
        from.store(ptr::null_mut(), Ordering::Relaxed);
        self.home
            .take_back_chunk(NonNull::new(chunk).expect("it is the last"));
    }
}

/// An entry, read word by word.
///
/// # Safety
///
/// It was written by [`store`], and is not being written, or whoever reads it does not look at it before he knows that it was not.
#[inline]
unsafe fn read<K, V>(from: *const (K, V)) -> (K, V) {
    let mut entry = core::mem::MaybeUninit::<(K, V)>::uninit();
    let to = entry.as_mut_ptr();
    // SAFETY: the places are those of a key and a value, and both are plain, so that their bytes are all there is to them.
    unsafe {
        load(&raw const (*from).0, &raw mut (*to).0);
        load(&raw const (*from).1, &raw mut (*to).1);
        entry.assume_init()
    }
}

impl<K, V, S> Slots<(K, V), S> for Open<K, V, S> {
    type Home = Arc<Home<K, V>>;

    fn make(home: &Self::Home) -> Self {
        Open::in_home(Arc::clone(home))
    }

    fn sibling(&self) -> Self {
        let mut sibling = Open::in_home(Arc::clone(&self.home));
        // Entries that go there are over when they were. Nobody is sent there yet, but there may be one who was sent to who
        // had this memory before.
        if self.over_from() < u64::MAX {
            sibling.set_over_from(self.over_from());
        }
        sibling
    }

    fn rearrange(home: &Self::Home) {
        home.rearrange();
    }

    fn arranged<'a>(
        home: &Self::Home,
        begins_with: u32,
        doublings: u8,
        blocks: impl ExactSizeIterator<Item = &'a Self>,
    ) where
        Self: 'a,
    {
        home.arranged(begins_with, doublings, blocks.map(|block| block.node));
    }

    #[inline]
    fn len(&self) -> usize {
        self.desk.len()
    }

    #[inline]
    fn tally(&self) -> Tally {
        self.desk.tally()
    }

    #[inline]
    fn tally_mut(&mut self) -> &mut Tally {
        self.desk.tally_mut()
    }

    #[inline]
    fn find(&self, print: Print, mut is_it: impl FnMut(&(K, V)) -> bool) -> Option<usize> {
        let mut agree = self.node().agreeing(print.tag);
        while agree != 0 {
            let at = agree.trailing_zeros() as usize;
            if is_it(self.entry(at)) {
                return Some(at);
            }
            agree &= agree - 1;
        }
        if self.len() > NEAR {
            // The tags behind are in the desk too, nearer than in their chunks.
            return self.desk.find_far_at(print.tag, |at| is_it(self.entry(at)));
        }
        None
    }

    fn slot(&self, at: usize) -> Slot {
        Slot {
            print: self.print(at),
            note: self.desk.notes()[at],
            order: self.desk.order(at),
        }
    }

    #[inline]
    fn print(&self, at: usize) -> Print {
        if at >= NEAR {
            return self.desk.print(at);
        }
        Print {
            mark: self.desk.mark(at),
            tag: self.node().tag(at),
        }
    }

    #[inline]
    fn entry(&self, at: usize) -> &(K, V) {
        assert!(at < self.len());
        // SAFETY: there is an entry, and nobody writes to it while `self` is borrowed, for that takes a mutable borrow. Those
        // who read it at the same time do no harm.
        unsafe { &*self.place(at) }
    }

    fn swap_entry(&mut self, at: usize, entry: (K, V)) -> (K, V) {
        assert!(at < self.len());
        let before = self.read(at);
        self.node().seq.change();
        self.write(at, &entry);
        self.node().seq.end();
        before
    }

    #[inline]
    fn seat(&mut self, at: usize) -> Seat<'_> {
        self.desk.seat(at)
    }

    #[inline]
    fn columns(&mut self) -> Columns<'_> {
        // SAFETY: tags are written by methods that take `self` mutably, and the columns borrow it.
        let near = unsafe { self.node.as_ref().tags(self.desk.len()) };
        let columns = self.desk.columns();
        Columns {
            tags: (near, columns.tags.1),
            ..columns
        }
    }

    fn make_past(&mut self, words: usize) {
        self.desk.make_past(words);
    }

    #[inline]
    fn side(&self) -> Option<&S> {
        self.desk.side()
    }

    #[inline]
    fn side_mut(&mut self) -> Option<&mut S> {
        self.desk.side_mut()
    }

    fn set_side(&mut self, side: S) {
        self.desk.set_side(side);
    }

    #[inline]
    fn prefetch(&self) {
        self.desk.prefetch();
    }

    fn make_room(&mut self) {
        self.desk.make_room();
    }

    fn push(&mut self, slot: Slot, entry: (K, V)) {
        let at = self.len();
        self.desk.push(slot, ());
        self.node().seq.change();
        if at >= NEAR && (at - NEAR) % FAR == 0 {
            self.link((at - NEAR) / FAR);
        }
        self.write(at, &entry);
        self.set_tag(at, slot.print.tag);
        self.node().seq.end();
        self.node().set_used(at, false);
    }

    #[inline]
    fn replace(&mut self, at: usize, slot: Slot, entry: (K, V)) -> (K, V) {
        self.desk.replace(at, slot, ());
        let before = self.read(at);
        self.node().seq.change();
        self.write(at, &entry);
        self.set_tag(at, slot.print.tag);
        self.node().seq.end();
        self.node().set_used(at, false);
        before
    }

    #[inline]
    fn renew(&mut self, at: usize, tag: u8, entry: (K, V)) -> (K, V) {
        let mark = self.desk.mark(at);
        let slot = Slot {
            print: Print { tag, mark },
            note: self.desk.notes()[at],
            order: self.desk.order(at),
        };
        self.replace(at, slot, entry)
    }

    /// Uses that nobody has taken note of yet would be lost, and those who read meanwhile would not find what is there.
    fn can_be_tidied(&self) -> bool {
        false
    }

    fn swap_remove(&mut self, at: usize) -> (K, V) {
        assert!(at < self.len());
        let last = self.len() - 1;
        let (left, moved) = (self.read(at), self.read(last));
        let tag = self.print(last).tag;
        let node = self.node();
        node.set_used(at, node.is_used(last));
        node.set_used(last, false);
        self.desk.swap_remove(at);
        self.node().seq.change();
        if at != last {
            self.write(at, &moved);
            self.set_tag(at, tag);
        }
        self.set_tag(last, 0);
        if last >= NEAR && (last - NEAR) % FAR == 0 {
            self.unlink((last - NEAR) / FAR + 1);
        }
        self.node().seq.end();
        left
    }

    #[inline]
    fn take_used(&mut self) -> u64 {
        self.node().take_used()
    }

    fn set_over_from(&mut self, tick: u64) {
        let node = self.node();
        // Release: who sees this sees also that those who were over sooner have left.
        node.over_from.store(tick, Ordering::Release);
        node.has_ends.store(true, Ordering::Release);
    }

    fn over_from(&self) -> u64 {
        let node = self.node();
        if node.has_ends.load(Ordering::Relaxed) {
            node.over_from.load(Ordering::Relaxed)
        } else {
            u64::MAX
        }
    }

    fn show(home: &Self::Home, signs: Signs) {
        home.show(signs);
    }

    fn has_more(home: &Self::Home) {
        home.has_more();
    }
}

impl<K, V, S> Drop for Open<K, V, S> {
    fn drop(&mut self) {
        let chunks = self.len().saturating_sub(NEAR).div_ceil(FAR);
        self.node().seq.change();
        for n in (1..=chunks).rev() {
            self.unlink(n);
        }
        self.node().seq.end();
        self.node().forget_all();
        self.home.take_back(self.node);
    }
}

impl<K, V, S> fmt::Debug for Open<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
