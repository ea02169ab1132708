#![allow(
    unsafe_code,
    reason = "one allocation for columns of different types; see the module above"
)]

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::needs_drop;
use core::ptr::{self, NonNull};
use core::slice;

use super::prefetch::prefetch;
use super::{Columns, Print, Seat, Slot, Tally, bit, grown, without};

/// The slots of a set: a line of memory with what a look-up reads first, and the rest in one allocation, or none until
/// the first slot.
///
/// With the layout that [`Offsets`] gives for `cap`, `past` and `has_side`:
///
/// 1. If `cap > 0`, `start` is what `alloc` gave for that layout and may access all of it, and nobody else uses it.
/// 2. `len <= cap`, and `cap` is zero or even and at least four.
/// 3. The first `len` entries are initialised, the tally, all of the columns between that and the side, and the side if
///    there is one.
/// 4. Tags are zero from `len` on, and before it none is.
/// 5. The tags of the first `NEAR` slots are in the block itself if `IN_LINE` is as many, or nowhere here if it is zero: then
///    whoever has the block has them.
/// 6. No slot from `len` on is `hot`, and none at all if there is a side.
#[repr(C)]
pub(crate) struct Packed<E, S, const IN_LINE: usize, const NEAR: usize> {
    start: NonNull<u8>,
    len: u16,
    cap: u16,
    past: u16,
    has_side: bool,
    /// As in the columns. Not to be relied on.
    leaves: u8,
    /// Here, so that most look-ups need none of the columns.
    hot: u64,
    /// Those of the first slots; the others are in a column.
    tags: [u8; IN_LINE],
    owns: PhantomData<(E, S)>,
}

const LINE: usize = 64;
/// Tags compared at once.
const LANES: usize = 16;

/// Where the columns of an allocation begin, in bytes from its start. The entries are first.
#[derive(Clone, Copy)]
struct Offsets {
    tally: usize,
    notes: usize,
    /// The tags of the slots that are not near. What comes after them is longer than [`LANES`], if there are any.
    far_tags: usize,
    orders: usize,
    marks: usize,
    past: usize,
    side: usize,
}

impl Offsets {
    /// With an even `cap` all columns but the side's begin at even places.
    #[inline]
    const fn of<E, S>(near: usize, cap: usize, past: usize) -> Self {
        let tally = cap * size_of::<E>();
        let notes = tally + size_of::<Tally>();
        let far_tags = notes + cap;
        let orders = far_tags + cap.saturating_sub(near).next_multiple_of(2);
        let marks = orders + 2 * cap;
        let past_words = past;
        let past = marks + 2 * cap;
        Offsets {
            tally,
            notes,
            far_tags,
            orders,
            marks,
            past,
            side: (past + 2 * past_words).next_multiple_of(align_of::<S>()),
        }
    }
}

// SAFETY: a block owns its entries and its side as a vector does, and shares them only by the rules for references to
// itself.
unsafe impl<E: Send, S: Send, const IN_LINE: usize, const NEAR: usize> Send
    for Packed<E, S, IN_LINE, NEAR>
{
}
// SAFETY: as above; a shared block gives out shared references only.
unsafe impl<E: Sync, S: Sync, const IN_LINE: usize, const NEAR: usize> Sync
    for Packed<E, S, IN_LINE, NEAR>
{
}

impl<E, S, const IN_LINE: usize, const NEAR: usize> Packed<E, S, IN_LINE, NEAR> {
    pub(crate) const fn new() -> Self {
        const { assert!(IN_LINE == NEAR || IN_LINE == 0) };
        Packed {
            // Aligned as the columns are.
            start: NonNull::<u16>::dangling().cast(),
            len: 0,
            cap: 0,
            past: 0,
            has_side: false,
            leaves: 0,
            hot: 0,
            tags: [0; IN_LINE],
            owns: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline]
    pub(crate) fn tally(&self) -> Tally {
        if self.cap == 0 {
            return Tally::new();
        }
        // SAFETY: there is an allocation, and the tally in it is initialised.
        unsafe { *self.tally_place() }
    }

    #[inline]
    pub(crate) fn tally_mut(&mut self) -> &mut Tally {
        assert!(self.cap > 0, "memory comes before what is noted in it");
        // SAFETY: as for `tally`, and the borrow of `self` is exclusive.
        unsafe { &mut *self.tally_place() }
    }

    #[inline]
    pub(crate) fn is_hot(&self, at: usize) -> bool {
        self.hot & bit(at) != 0
    }

    #[inline]
    pub(crate) fn set_hot(&mut self, at: usize) {
        if at < self.len() && !self.has_side {
            self.hot |= bit(at);
        }
    }

    /// The first slot with this print and an entry of which `is_it` is true.
    #[inline]
    pub(crate) fn find(&self, print: Print, is_it: impl FnMut(&E) -> bool) -> Option<usize> {
        self.find_among(self.near_agreeing(print.tag), print, is_it)
    }

    /// The entry of which `is_it` is true in one of these slots, if that is hot.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn find_hot(&self, near: u64, mut is_it: impl FnMut(&E) -> bool) -> Option<&E> {
        let mut agree = near & self.hot;
        while agree != 0 {
            // SAFETY: no slot from `len` on is hot, and the first `len` entries are initialised.
            let entry = unsafe { &*self.entries().add(agree.trailing_zeros() as usize) };
            if is_it(entry) {
                return Some(entry);
            }
            agree &= agree - 1;
        }
        None
    }

    /// [`find`](Self::find), by who knows already which of the near slots have the tag.
    #[inline]
    pub(crate) fn find_among(
        &self,
        near: u64,
        print: Print,
        mut is_it: impl FnMut(&E) -> bool,
    ) -> Option<usize> {
        // An entry without memory of its own is looked at as soon as its mark would be, and says more.
        let asks_mark = needs_drop::<E>() || size_of::<E>() == 0;
        let mut agree = near;
        while agree != 0 {
            let at = agree.trailing_zeros() as usize;
            if (!asks_mark || self.marks()[at] == print.mark) && is_it(self.entry(at)) {
                return Some(at);
            }
            agree &= agree - 1;
        }
        if self.len() > NEAR {
            return self.find_far(print, asks_mark, is_it);
        }
        None
    }

    /// Which of the first [`NEAR`] slots have this tag, a bit each.
    // A branch for each sixteen tags would be taken by chance, so all of them are compared before one.
    #[inline]
    pub(crate) fn near_agreeing(&self, tag: u8) -> u64 {
        const { assert!(IN_LINE == NEAR && NEAR >= 2 * LANES && NEAR <= 3 * LANES) };
        let first = self.tags.as_ptr();
        // SAFETY: three times [`LANES`] bytes of the tags, the last of which begin with eight of those before them.
        let (low, middle, high) = unsafe {
            (
                agreeing(first, tag),
                agreeing(first.add(LANES), tag),
                agreeing(first.add(NEAR - LANES), tag),
            )
        };
        // Its lowest bits are of slots that the middle has too.
        let high = u64::from(high) << (NEAR - LANES);
        u64::from(low) | u64::from(middle) << LANES | high
    }

    /// [`find`](Self::find), by who will look at the columns next. Most often nobody's tag agrees, and that is known after one branch.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn find_to_change(
        &self,
        print: Print,
        is_it: impl FnMut(&E) -> bool,
    ) -> Option<usize> {
        let near = self.near_agreeing(print.tag);
        let far = self.len().saturating_sub(NEAR);
        let among_far = if self.cap > 0 && far <= LANES {
            // SAFETY: there is an allocation. From where far tags are, or would be, four bytes a slot come at least, for at least
            // four slots.
            let agree = unsafe { agreeing(self.at(self.offsets().far_tags), print.tag) };
            agree & ((1 << far) - 1)
        } else {
            far as u32
        };
        if near | u64::from(among_far) == 0 {
            return None;
        }
        self.find_among(near, print, is_it)
    }

    #[inline(never)]
    fn find_far(
        &self,
        print: Print,
        asks_mark: bool,
        mut is_it: impl FnMut(&E) -> bool,
    ) -> Option<usize> {
        self.find_far_at(print.tag, |at| {
            (!asks_mark || self.marks()[at] == print.mark) && is_it(self.entry(at))
        })
    }

    /// The first of the far slots with this tag of which `is_it` is true.
    #[inline]
    pub(crate) fn find_far_at(
        &self,
        tag: u8,
        mut is_it: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let far_tags = self.at(self.offsets().far_tags);
        let mut from = NEAR;
        while from < self.len() {
            // SAFETY: the first byte is a far tag, and at least [`LANES`] come after the last of those.
            let mut agree = unsafe { agreeing(far_tags.add(from - NEAR), tag) };
            while agree != 0 {
                let at = from + agree.trailing_zeros() as usize;
                if at >= self.len() {
                    // The bytes after the tags are of another column.
                    return None;
                }
                if is_it(at) {
                    return Some(at);
                }
                agree &= agree - 1;
            }
            from += LANES;
        }
        None
    }

    pub(crate) fn slot(&self, at: usize) -> Slot {
        Slot {
            print: self.print(at),
            note: self.notes()[at],
            order: self.order(at),
        }
    }

    #[inline]
    pub(crate) fn print(&self, at: usize) -> Print {
        let mark = self.mark(at);
        let tag = self
            .tag(at)
            .expect("near tags are in the block, or not asked for");
        Print { tag, mark }
    }

    /// The tag of a slot below `len`, if it is kept here.
    #[inline]
    fn tag(&self, at: usize) -> Option<u8> {
        debug_assert!(at < self.len());
        match self.tags.get(at) {
            Some(tag) => Some(*tag),
            None if at < NEAR || at >= self.len() => None,
            // SAFETY: `NEAR <= at < len`, so there is a far tag for it.
            None => Some(unsafe { *self.at(self.offsets().far_tags + at - NEAR) }),
        }
    }

    #[inline]
    pub(crate) fn mark(&self, at: usize) -> u16 {
        self.marks()[at]
    }

    #[inline]
    pub(crate) fn order(&self, at: usize) -> u16 {
        self.orders()[at]
    }

    #[inline]
    pub(crate) fn entry(&self, at: usize) -> &E {
        assert!(at < self.len());
        // SAFETY: the first `len` entries are initialised.
        unsafe { &*self.entries().add(at) }
    }

    #[inline]
    pub(crate) fn entry_mut(&mut self, at: usize) -> &mut E {
        assert!(at < self.len());
        // SAFETY: the first `len` entries are initialised, and the borrow of `self` is exclusive.
        unsafe { &mut *self.entries().add(at) }
    }

    #[inline]
    pub(crate) fn notes(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes of a column of `cap`; or none, at a pointer that is not null.
        unsafe { slice::from_raw_parts(self.at(self.offsets().notes), self.len()) }
    }

    #[inline]
    fn marks(&self) -> &[u16] {
        // SAFETY: as for `notes`; aligned because the start is, and the column begins at an even place.
        unsafe { slice::from_raw_parts(self.at(self.offsets().marks).cast(), self.len()) }
    }

    #[inline]
    fn orders(&self) -> &[u16] {
        // SAFETY: as for `marks`.
        unsafe { slice::from_raw_parts(self.at(self.offsets().orders).cast(), self.len()) }
    }

    /// What of the columns a use of a slot changes.
    #[inline]
    pub(crate) fn seat(&mut self, at: usize) -> Seat<'_> {
        assert!(at < self.len());
        let offsets = self.offsets();
        // SAFETY: `at < len`, so there is an allocation, and these are parts of three different columns that are initialised; aligned
        // as in `marks`. The borrow of `self` is exclusive.
        unsafe {
            Seat {
                note: &mut *self.at(offsets.notes).add(at),
                order: &mut *self.at(offsets.orders).cast::<u16>().add(at),
                now: &mut (*self.tally_place()).now,
            }
        }
    }

    /// All but the entries.
    #[inline]
    pub(crate) fn columns(&mut self) -> Columns<'_> {
        assert!(self.cap > 0, "memory comes before what is noted in it");
        let (len, offsets) = (self.len(), self.offsets());
        let (start, near) = (self.start.as_ptr(), len.min(NEAR));
        let column = |offset: usize| start.wrapping_add(offset);
        // SAFETY: there is an allocation, and these are initialised parts of different columns, with as many items as are in
        // them. Those of two bytes are aligned as in `marks`. The borrow of `self` is exclusive.
        unsafe {
            Columns {
                tally: &mut *column(offsets.tally).cast(),
                tags: (
                    &self.tags[..near.min(IN_LINE)],
                    slice::from_raw_parts(column(offsets.far_tags), len - near),
                ),
                marks: slice::from_raw_parts_mut(column(offsets.marks).cast(), len),
                notes: slice::from_raw_parts_mut(column(offsets.notes), len),
                hot: &mut self.hot,
                leaves: &mut self.leaves,
                orders: slice::from_raw_parts_mut(column(offsets.orders).cast(), len),
                past: slice::from_raw_parts_mut(column(offsets.past).cast(), self.past.into()),
            }
        }
    }

    /// Makes room for so many words of the past, all zero.
    pub(crate) fn make_past(&mut self, words: usize) {
        if self.cap == 0 || usize::from(self.past) != words {
            self.resize(usize::from(self.cap).max(grown(0)), words, self.has_side);
        }
        self.columns().past.fill(0);
    }

    /// What stands beside the slots, once it was put there.
    #[inline]
    pub(crate) fn side(&self) -> Option<&S> {
        // SAFETY: there is one, and it is initialised.
        self.has_side.then(|| unsafe { &*self.side_place() })
    }

    #[inline]
    pub(crate) fn side_mut(&mut self) -> Option<&mut S> {
        // SAFETY: as for `side`, and the borrow of `self` is exclusive.
        self.has_side.then(|| unsafe { &mut *self.side_place() })
    }

    /// Puts something beside the slots, where there is nothing yet.
    pub(crate) fn set_side(&mut self, side: S) {
        assert!(!self.has_side, "there is one side");
        self.resize(usize::from(self.cap).max(grown(0)), self.past.into(), true);
        // SAFETY: the allocation has a place for it, and nothing is there that would have to be dropped.
        unsafe { self.side_place().write(side) };
        self.has_side = true;
        self.hot = 0;
    }

    /// Tells the processor that the columns will be wanted.
    #[inline]
    pub(crate) fn prefetch(&self) {
        // So many lines are the columns of 40 slots or so. Beyond the end it is a hint to no purpose.
        let columns = self.at(self.offsets().notes);
        for line in 0..=5 {
            prefetch(columns.wrapping_add(line * LINE));
        }
        if size_of::<E>() > 0 {
            let first = self.entries().wrapping_add(self.leaves.into());
            prefetch(first.cast());
            if size_of::<E>() % LINE != 0 && LINE % size_of::<E>() != 0 {
                // It may be on two lines.
                prefetch(first.wrapping_add(1).cast::<u8>().wrapping_sub(1));
            }
        }
    }

    /// The entry of a slot that will likely have another next, or any.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn leaving(&self) -> Option<&E> {
        let at = usize::from(self.leaves);
        (at < self.len()).then(|| self.entry(at))
    }

    /// Sees to it that there is memory for one more slot.
    #[inline]
    pub(crate) fn make_room(&mut self) {
        if self.len == self.cap {
            self.resize(grown(self.cap.into()), self.past.into(), self.has_side);
        }
    }

    /// Adds a slot at the end, for which there is room.
    pub(crate) fn push(&mut self, slot: Slot, entry: E) {
        debug_assert_ne!(slot.print.tag, 0);
        assert!(self.len < self.cap, "room is made before");
        let len = self.len();
        // SAFETY: `len < cap`, so there is an allocation, and nothing is in that place that would have to be
        // dropped.
        unsafe {
            self.write(len, slot);
            self.entries().add(len).write(entry);
        }
        self.len += 1;
    }

    /// Puts another entry into a slot.
    #[inline]
    pub(crate) fn replace(&mut self, at: usize, slot: Slot, entry: E) -> E {
        let before = core::mem::replace(self.entry_mut(at), entry);
        self.hot &= !bit(at);
        // SAFETY: `entry_mut` has checked that `at < len`.
        unsafe { self.write(at, slot) };
        before
    }

    /// The same for who has written the note, the order and the mark.
    #[inline]
    pub(crate) fn renew(&mut self, at: usize, tag: u8, entry: E) -> E {
        let before = core::mem::replace(self.entry_mut(at), entry);
        self.hot &= !bit(at);
        // SAFETY: `entry_mut` has checked that `at < len`.
        unsafe { self.write_tag(at, tag) };
        before
    }

    /// Frees a slot; the last takes its place.
    pub(crate) fn swap_remove(&mut self, at: usize) -> E {
        assert!(at < self.len());
        let last = self.len() - 1;
        self.hot = without(self.hot, at, last);
        let moved = Slot {
            print: Print {
                // Written to where none is kept, it goes nowhere.
                tag: self.tag(last).unwrap_or(0),
                mark: self.marks()[last],
            },
            note: self.notes()[last],
            order: self.orders()[last],
        };
        // SAFETY: both are below `len`. The entry at `at` is read once and then overwritten by the last, which
        // is no longer counted. If they are the same, the copy is onto itself and of something not counted.
        unsafe {
            let entry = self.entries().add(at).read();
            ptr::copy(self.entries().add(last), self.entries().add(at), 1);
            self.write(at, moved);
            self.write_tag(last, 0);
            self.len = last as u16;
            entry
        }
    }

    /// # Safety
    ///
    /// `at < cap`.
    #[inline]
    unsafe fn write(&mut self, at: usize, slot: Slot) {
        let offsets = self.offsets();
        // SAFETY: within each column, by the contract of this function; aligned as in `marks`.
        unsafe {
            self.write_tag(at, slot.print.tag);
            self.at(offsets.notes).add(at).write(slot.note);
            self.at(offsets.marks)
                .cast::<u16>()
                .add(at)
                .write(slot.print.mark);
            self.at(offsets.orders)
                .cast::<u16>()
                .add(at)
                .write(slot.order);
        }
    }

    /// # Safety
    ///
    /// `at < cap`.
    #[inline]
    unsafe fn write_tag(&mut self, at: usize, tag: u8) {
        match self.tags.get_mut(at) {
            Some(near) => *near = tag,
            None if at < NEAR => {}
            // SAFETY: there is a far tag for it, by the contract of this function.
            None => unsafe { *self.at(self.offsets().far_tags + at - NEAR) = tag },
        }
    }

    #[inline]
    fn offsets(&self) -> Offsets {
        Offsets::of::<E, S>(NEAR, self.cap.into(), self.past.into())
    }

    /// A place in the allocation. Without one all columns are of nothing, and at its dangling start.
    #[inline]
    fn at(&self, offset: usize) -> *mut u8 {
        self.start.as_ptr().wrapping_add(offset)
    }

    #[inline]
    fn entries(&self) -> *mut E {
        self.start.as_ptr().cast()
    }

    #[inline]
    fn tally_place(&self) -> *mut Tally {
        self.at(self.offsets().tally).cast()
    }

    #[inline]
    fn side_place(&self) -> *mut S {
        self.at(self.offsets().side).cast()
    }

    /// Moves everything to an allocation with so many slots and words of the past, as many of the past as before
    /// being kept, or none; and with a place for a side, or not.
    #[cold]
    fn resize(&mut self, cap: usize, past: usize, has_side: bool) {
        let widest = usize::from(u16::MAX);
        assert!(
            self.len() <= cap && cap <= widest && past <= widest && (has_side || !self.has_side),
            "a set is bounded by who adds to it, and keeps its side"
        );
        let plan = layout::<E, S>(NEAR, cap, past, has_side);
        // SAFETY: a layout with slots is not empty, for each has a note.
        let start = unsafe { alloc(plan) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(plan);
        };
        let (old, new) = (self.offsets(), Offsets::of::<E, S>(NEAR, cap, past));
        let len = self.len();
        // SAFETY: the new allocation is apart from the old. Each column has room for `len` slots in both, or as many
        // words of the past as are copied. The tally and all of the columns are initialised before. Entries and side are moved: the old
        // allocation is freed without a look at them, and nothing in between can panic.
        unsafe {
            let to = |offset: usize| start.as_ptr().add(offset);
            to(new.tally).cast::<Tally>().write(self.tally());
            to(new.notes).write_bytes(0, new.side - new.notes);
            if self.cap > 0 {
                let copy = |from: usize, into: usize, bytes: usize| {
                    to(into).copy_from_nonoverlapping(self.at(from), bytes);
                };
                copy(0, 0, len * size_of::<E>());
                copy(old.notes, new.notes, len);
                copy(old.far_tags, new.far_tags, len.saturating_sub(NEAR));
                copy(old.orders, new.orders, 2 * len);
                copy(old.marks, new.marks, 2 * len);
                copy(old.past, new.past, 2 * past.min(self.past.into()));
                if self.has_side {
                    copy(old.side, new.side, size_of::<S>());
                }
                self.free();
            }
        }
        self.start = start;
        (self.cap, self.past) = (cap as u16, past as u16);
    }

    /// Frees the allocation and drops nothing.
    ///
    /// # Safety
    ///
    /// There is one, and nobody looks at it again.
    unsafe fn free(&mut self) {
        let plan = layout::<E, S>(NEAR, self.cap.into(), self.past.into(), self.has_side);
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.start.as_ptr(), plan) }
    }
}

/// The allocation of a block.
fn layout<E, S>(near: usize, cap: usize, past: usize, has_side: bool) -> Layout {
    let fits = "a set of entries fits the address space";
    assert!(Layout::array::<E>(cap).is_ok(), "{fits}");
    let offsets = Offsets::of::<E, S>(near, cap, past);
    let size = offsets
        .side
        .checked_add(if has_side { size_of::<S>() } else { 0 });
    // Aligned to a line, so that entries of a power of two are not on two.
    let align = LINE.max(align_of::<E>()).max(align_of::<S>());
    let plan = size.and_then(|size| Layout::from_size_align(size, align).ok());
    plan.expect(fits)
}

impl<E, S, const IN_LINE: usize, const NEAR: usize> Drop for Packed<E, S, IN_LINE, NEAR> {
    fn drop(&mut self) {
        /// Frees the memory also if a drop panics.
        struct Free<'a, E, S, const IN_LINE: usize, const NEAR: usize>(
            &'a mut Packed<E, S, IN_LINE, NEAR>,
        );

        impl<E, S, const IN_LINE: usize, const NEAR: usize> Drop for Free<'_, E, S, IN_LINE, NEAR> {
            fn drop(&mut self) {
                // SAFETY: there is one, and its block is being dropped.
                unsafe { self.0.free() }
            }
        }

        if self.cap == 0 {
            return;
        }
        let block = Free(self);
        // SAFETY: the first `len` entries are initialised, and the side if there is one, and nobody looks at them again.
        unsafe {
            let entries = ptr::slice_from_raw_parts_mut(block.0.entries(), block.0.len());
            if block.0.has_side {
                ptr::drop_in_place(block.0.side_place());
            }
            ptr::drop_in_place(entries);
        }
    }
}

impl<E, S, const IN_LINE: usize, const NEAR: usize> fmt::Debug for Packed<E, S, IN_LINE, NEAR> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packed")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Which of [`LANES`] bytes are equal to one, a bit each.
///
/// # Safety
///
/// The bytes can be read.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
unsafe fn agreeing(bytes: *const u8, tag: u8) -> u32 {
    use core::arch::x86_64 as simd;
    // SAFETY: the caller has the bytes, of no alignment in particular; the instructions are of the target.
    unsafe {
        let lanes = simd::_mm_loadu_si128(bytes.cast());
        let same = simd::_mm_cmpeq_epi8(lanes, simd::_mm_set1_epi8(tag as i8));
        simd::_mm_movemask_epi8(same) as u32
    }
}

/// Which of [`LANES`] bytes are equal to one, a bit each.
///
/// # Safety
///
/// The bytes can be read.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline]
unsafe fn agreeing(bytes: *const u8, tag: u8) -> u32 {
    // SAFETY: by the contract of this function.
    let lanes = unsafe { bytes.cast::<[u8; LANES]>().read() };
    let bit = |(n, &byte): (usize, &u8)| u32::from(byte == tag) << n;
    lanes
        .iter()
        .enumerate()
        .map(bit)
        .fold(0, |all, bit| all | bit)
}
