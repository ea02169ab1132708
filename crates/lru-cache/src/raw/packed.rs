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

use super::{Print, Slot, Tally, grown};

/// The slots of a set in one allocation, or none until the first: then `start` is a head that all empty blocks share,
/// with a `cap` of zero, which is only read.
///
/// If there is an allocation, nobody else uses it, and with the head's `cap` and `past`:
///
/// 1. It is what `alloc` gave for `layout(cap, past)`, and `start` may access all of it. After the head come these columns: `cap` tags of one byte,
///    `cap` notes of one byte, `cap` marks of two, `cap` orders of two, `past` words of two, and from the next place
///    that is aligned for it on, `cap` entries.
/// 2. `len <= cap`, and `cap` is even and at least four.
/// 3. All bytes of the columns but the entries are initialised, and so are the first `len` entries.
pub(crate) struct Block<E> {
    start: NonNull<Head>,
    owns: PhantomData<E>,
}

/// The start of the allocation.
#[repr(C)]
struct Head {
    len: u16,
    cap: u16,
    past: u16,
    /// Where the entries begin.
    before_entries: u16,
    tally: Tally,
}

static EMPTY: Head = Head {
    len: 0,
    cap: 0,
    past: 0,
    before_entries: 0,
    tally: Tally {
        now: 0,
        in_window: 0,
        cursor: 0,
        past: super::Past::Nothing,
        dither: 0,
    },
};

/// Where the tags begin. With 48 of them they fill the head's line.
const HEAD: usize = 16;
const LINE: usize = 64;
/// Bytes of a slot beside its entry.
const COLUMNS: usize = 6;
/// Tags compared at once. The read may go past the tags, and stays in the columns: `16 * n < cap` implies
/// `16 * n + 16 <= 6 * cap` where `cap >= 4`.
const LANES: usize = 16;

const _: () = assert!(size_of::<Head>() <= HEAD && align_of::<Head>() == 2);

// SAFETY: a block owns its entries as a vector does, and shares them only by the rules for references to itself.
unsafe impl<E: Send> Send for Block<E> {}
// SAFETY: as above; a shared block gives out shared references only.
unsafe impl<E: Sync> Sync for Block<E> {}

impl<E> Block<E> {
    pub(crate) const fn new() -> Self {
        Block {
            // SAFETY: the address of a static is not null.
            start: unsafe { NonNull::new_unchecked((&raw const EMPTY).cast_mut()) },
            owns: PhantomData,
        }
    }

    #[inline]
    fn head(&self) -> &Head {
        // SAFETY: an allocation begins with a head, and the shared one is never written to.
        unsafe { self.start.as_ref() }
    }

    /// # Safety
    ///
    /// There is an allocation.
    #[inline]
    unsafe fn head_mut(&mut self) -> &mut Head {
        // SAFETY: it begins with a head, and the borrow of `self` is exclusive.
        unsafe { self.start.as_mut() }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.head().len)
    }

    #[inline]
    pub(crate) fn tally(&self) -> Tally {
        self.head().tally
    }

    #[inline]
    pub(crate) fn tally_mut(&mut self) -> &mut Tally {
        if self.head().cap == 0 {
            self.resize(grown(0), 0);
        }
        // SAFETY: now there is one.
        unsafe { &mut self.head_mut().tally }
    }

    /// The first slot with this print and an entry of which `is_it` is true.
    #[inline]
    pub(crate) fn find(&self, print: Print, mut is_it: impl FnMut(&E) -> bool) -> Option<usize> {
        // An entry without memory of its own is looked at as soon as its mark would be, and says more.
        let asks_mark = needs_drop::<E>() || size_of::<E>() == 0;
        let len = self.len();
        let mut from = 0;
        while from < len {
            // SAFETY: `from` is a multiple of `LANES` below `len`, so the bytes are in the columns.
            let mut agree = unsafe { agreeing(self.column(0).add(from), print.tag) };
            while agree != 0 {
                let at = from + agree.trailing_zeros() as usize;
                if at >= len {
                    return None;
                }
                if (!asks_mark || self.marks()[at] == print.mark) && is_it(self.entry(at)) {
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
            order: self.orders()[at],
        }
    }

    #[inline]
    pub(crate) fn print(&self, at: usize) -> Print {
        Print {
            tag: self.tags()[at],
            mark: self.marks()[at],
        }
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
    fn tags(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes of a column of `cap`; or none, at a pointer that is not null.
        unsafe { slice::from_raw_parts(self.column(0), self.len()) }
    }

    #[inline]
    pub(crate) fn notes(&self) -> &[u8] {
        // SAFETY: as for `tags`.
        unsafe { slice::from_raw_parts(self.column(1), self.len()) }
    }

    #[inline]
    pub(crate) fn notes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `tags`, and the borrow of `self` is exclusive.
        unsafe { slice::from_raw_parts_mut(self.column(1), self.len()) }
    }

    #[inline]
    fn marks(&self) -> &[u16] {
        // SAFETY: as for `tags`; aligned because the start, the head and twice `cap` are multiples of two.
        unsafe { slice::from_raw_parts(self.column(2).cast(), self.len()) }
    }

    #[inline]
    pub(crate) fn orders(&self) -> &[u16] {
        // SAFETY: as for `marks`.
        unsafe { slice::from_raw_parts(self.column(4).cast(), self.len()) }
    }

    #[inline]
    pub(crate) fn orders_mut(&mut self) -> &mut [u16] {
        // SAFETY: as for `marks`, and the borrow of `self` is exclusive.
        unsafe { slice::from_raw_parts_mut(self.column(4).cast(), self.len()) }
    }

    /// What the set remembers of those it does not hold, in words of its own.
    #[inline]
    pub(crate) fn past(&self) -> &[u16] {
        let words = usize::from(self.head().past);
        // SAFETY: `past` initialised words after the orders; aligned as `marks`.
        unsafe { slice::from_raw_parts(self.column(COLUMNS).cast(), words) }
    }

    #[inline]
    pub(crate) fn past_mut(&mut self) -> &mut [u16] {
        let words = usize::from(self.head().past);
        // SAFETY: as for `past`, and the borrow of `self` is exclusive.
        unsafe { slice::from_raw_parts_mut(self.column(COLUMNS).cast(), words) }
    }

    /// Makes room for so many words of the past, all zero.
    pub(crate) fn make_past(&mut self, words: usize) {
        if self.past().len() != words {
            let cap = usize::from(self.head().cap).max(grown(0));
            self.resize(cap, words);
        }
        self.past_mut().fill(0);
    }

    /// Tells the processor that all of the block but the entries will be wanted.
    #[inline]
    pub(crate) fn prefetch(&self) {
        // Four lines after the first are the columns of 40 slots or so. Beyond the end it is a hint to no purpose.
        for line in 1..=4 {
            prefetch(self.start.as_ptr().cast::<u8>().wrapping_add(line * LINE));
        }
    }

    /// Adds a slot at the end.
    pub(crate) fn push(&mut self, slot: Slot, entry: E) {
        let Head { len, cap, past, .. } = *self.head();
        if len == cap {
            self.resize(grown(cap.into()), past.into());
        }
        // SAFETY: `len < cap` now, so there is an allocation, and nothing is in that place that would have to be
        // dropped.
        unsafe {
            self.write(len.into(), slot);
            self.entries().add(len.into()).write(entry);
            self.head_mut().len = len + 1;
        }
    }

    /// Puts another entry into a slot.
    #[inline]
    pub(crate) fn replace(&mut self, at: usize, slot: Slot, entry: E) -> E {
        let before = core::mem::replace(self.entry_mut(at), entry);
        // SAFETY: `entry_mut` has checked that `at < len`.
        unsafe { self.write(at, slot) };
        before
    }

    /// Frees a slot; the last takes its place.
    pub(crate) fn swap_remove(&mut self, at: usize) -> E {
        assert!(at < self.len());
        let last = self.len() - 1;
        let moved = self.slot(last);
        // SAFETY: both are below `len`. The entry at `at` is read once and then overwritten by the last, which
        // is no longer counted. If they are the same, the copy is onto itself and of something not counted.
        unsafe {
            let entry = self.entries().add(at).read();
            ptr::copy(self.entries().add(last), self.entries().add(at), 1);
            self.write(at, moved);
            self.head_mut().len = last as u16;
            entry
        }
    }

    /// # Safety
    ///
    /// `at < cap`.
    #[inline]
    unsafe fn write(&mut self, at: usize, slot: Slot) {
        // SAFETY: within each column, by the contract of this function; the last two are aligned as in `marks`.
        unsafe {
            self.column(0).add(at).write(slot.print.tag);
            self.column(1).add(at).write(slot.note);
            self.column(2).cast::<u16>().add(at).write(slot.print.mark);
            self.column(4).cast::<u16>().add(at).write(slot.order);
        }
    }

    /// Where the column begins that has so many bytes a slot before it.
    #[inline]
    fn column(&self, bytes_before: usize) -> *mut u8 {
        let offset = HEAD + bytes_before * usize::from(self.head().cap);
        // Within the allocation. The head that empty blocks share has nothing after it, and no column is read there.
        self.start.as_ptr().cast::<u8>().wrapping_add(offset)
    }

    #[inline]
    fn entries(&self) -> *mut E {
        let offset = self.head().before_entries;
        // Within the allocation or at its end, and aligned, as in `layout`.
        self.start
            .as_ptr()
            .cast::<u8>()
            .wrapping_add(offset.into())
            .cast()
    }

    /// Moves everything to an allocation with so many slots and words of the past; as many of the past as before
    /// are kept, or none.
    #[cold]
    fn resize(&mut self, cap: usize, past: usize) {
        let plan = layout::<E>(cap, past);
        // SAFETY: the layout is of at least a head.
        let start = unsafe { alloc(plan) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(plan);
        };
        let before = before_entries::<E>(cap, past);
        let (len, tally) = (self.len(), self.tally());
        assert!(
            len <= cap && before <= usize::from(u16::MAX),
            "a set is bounded by who adds to it, and no entry is aligned to more than 32 KiB"
        );
        // SAFETY: the head and the columns but the entries are the first `before` bytes of the allocation.
        let mut larger = unsafe {
            start.as_ptr().write_bytes(0, before);
            let start: NonNull<Head> = start.cast();
            start.write(Head {
                len: 0,
                cap: cap as u16,
                past: past as u16,
                before_entries: before as u16,
                tally,
            });
            Block::<E> {
                start,
                owns: PhantomData,
            }
        };
        let kept = self.past().len().min(past);
        larger.past_mut()[..kept].copy_from_slice(&self.past()[..kept]);
        // SAFETY: the new allocation is apart from the old and has room for `len` of each column. The entries are
        // moved: the old block forgets them before it is dropped, and nothing in between can panic.
        unsafe {
            for (bytes_before, bytes) in [(0, 1), (1, 1), (2, 2), (4, 2)] {
                let (old, new) = (self.column(bytes_before), larger.column(bytes_before));
                new.copy_from_nonoverlapping(old, bytes * len);
            }
            if len > 0 {
                larger
                    .entries()
                    .copy_from_nonoverlapping(self.entries(), len);
                larger.head_mut().len = len as u16;
                self.head_mut().len = 0;
            }
        }
        *self = larger;
    }
}

/// Bytes of a block before its entries.
#[inline]
fn before_entries<E>(cap: usize, past: usize) -> usize {
    (HEAD + COLUMNS * cap + 2 * past).next_multiple_of(align_of::<E>())
}

/// The allocation of a block.
fn layout<E>(cap: usize, past: usize) -> Layout {
    let entries = Layout::array::<E>(cap).ok();
    let size =
        entries.and_then(|entries| entries.size().checked_add(before_entries::<E>(cap, past)));
    // Aligned to a line, so that the head and the first tags are on one.
    let plan = size.and_then(|size| Layout::from_size_align(size, LINE.max(align_of::<E>())).ok());
    plan.expect("a set of entries fits the address space")
}

impl<E> Drop for Block<E> {
    fn drop(&mut self) {
        /// Frees the memory also if an entry's drop panics.
        struct Free(NonNull<Head>, Layout);

        impl Drop for Free {
            fn drop(&mut self) {
                // SAFETY: the block that owned it is being dropped, and this was its layout.
                unsafe { dealloc(self.0.as_ptr().cast(), self.1) }
            }
        }

        let head = self.head();
        if head.cap == 0 {
            return;
        }
        let _free = Free(self.start, layout::<E>(head.cap.into(), head.past.into()));
        // SAFETY: the first `len` entries are initialised, and nobody looks at them again.
        unsafe { ptr::drop_in_place(ptr::slice_from_raw_parts_mut(self.entries(), self.len())) }
    }
}

impl<E> fmt::Debug for Block<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
fn prefetch(line: *const u8) {
    use core::arch::x86_64 as simd;
    // SAFETY: the instruction is of the target, and a hint without access to memory.
    unsafe { simd::_mm_prefetch::<{ simd::_MM_HINT_T0 }>(line.cast()) }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline]
fn prefetch(_: *const u8) {}

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
