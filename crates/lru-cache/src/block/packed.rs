#![allow(unsafe_code, reason = "one allocation for columns of different types; see the module above")]

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::slice;

use super::{Print, Slot, grown};

/// The slots of a set in one allocation, or none while there is no slot.
///
/// 1. `len <= cap`, `cap` is even, and zero or at least 4.
/// 2. If `cap` is not zero, `start` is what `alloc` gave for `Plan::of(cap)`, and nobody else uses it. In the order
///    of the columns, each of `cap` places, it holds: tags (1 byte), notes (1), marks (2), orders (2), entries.
/// 3. All bytes of the first four columns are initialised, and so are the first `len` entries.
pub(crate) struct Block<E> {
    start: NonNull<u8>,
    len: u16,
    cap: u16,
    owns: PhantomData<E>,
}

// SAFETY: a block owns its entries as a vector does, and shares them only by the rules for references to itself.
unsafe impl<E: Send> Send for Block<E> {}
// SAFETY: as above; a shared block gives out shared references only.
unsafe impl<E: Sync> Sync for Block<E> {}

/// Bytes of a slot beside its entry.
const NOTES: usize = 6;
/// Tags compared at once. The read may go past the tags, and stays in the columns: `16 * n < cap` implies
/// `16 * n + 16 <= 6 * cap` where `cap >= 4`.
const LANES: usize = 16;

impl<E> Block<E> {
    pub(crate) const fn new() -> Self {
        Block {
            start: NonNull::dangling(),
            len: 0,
            cap: 0,
            owns: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The first slot with this print and an entry of which `is_it` is true.
    #[inline]
    pub(crate) fn find(&self, print: Print, mut is_it: impl FnMut(&E) -> bool) -> Option<usize> {
        let len = self.len();
        let marks = self.marks();
        let mut from = 0;
        while from < len {
            // SAFETY: `from` is a multiple of `LANES` below `len`, so the bytes are in the columns.
            let mut agree = unsafe { agreeing(self.start.as_ptr().add(from), print.tag) };
            if len - from < LANES {
                agree &= (1 << (len - from)) - 1;
            }
            while agree != 0 {
                let at = from + agree.trailing_zeros() as usize;
                if marks[at] == print.mark && is_it(self.entry(at)) {
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

    fn tags(&self) -> &[u8] {
        // SAFETY: `len` bytes from the start of a column of `cap`; initialised. Dangling is fine for none.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len()) }
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
        // SAFETY: as for `tags`; aligned because the allocation is and `cap` is even.
        unsafe { slice::from_raw_parts(self.words(2), self.len()) }
    }

    #[inline]
    pub(crate) fn orders(&self) -> &[u16] {
        // SAFETY: as for `marks`.
        unsafe { slice::from_raw_parts(self.words(4), self.len()) }
    }

    #[inline]
    pub(crate) fn orders_mut(&mut self) -> &mut [u16] {
        // SAFETY: as for `marks`, and the borrow of `self` is exclusive.
        unsafe { slice::from_raw_parts_mut(self.words(4), self.len()) }
    }

    /// Adds a slot at the end.
    pub(crate) fn push(&mut self, slot: Slot, entry: E) {
        if self.len == self.cap {
            self.grow();
        }
        let at = self.len();
        // SAFETY: `at < cap`, and nothing is there that would have to be dropped.
        unsafe {
            self.write(at, slot);
            self.entries().add(at).write(entry);
        }
        self.len += 1;
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
            self.len = last as u16;
            entry
        }
    }

    /// # Safety
    ///
    /// `at < cap`.
    #[inline]
    unsafe fn write(&mut self, at: usize, slot: Slot) {
        // SAFETY: within each column, by the contract of this function.
        unsafe {
            self.start.as_ptr().add(at).write(slot.print.tag);
            self.column(1).add(at).write(slot.note);
            self.words(2).add(at).write(slot.print.mark);
            self.words(4).add(at).write(slot.order);
        }
    }

    /// Where the column begins that has so many bytes a slot before it.
    #[inline]
    fn column(&self, bytes_before: usize) -> *mut u8 {
        // SAFETY: within the allocation, or without moving if there is none.
        unsafe { self.start.as_ptr().add(bytes_before * usize::from(self.cap)) }
    }

    #[inline]
    fn words(&self, bytes_before: usize) -> *mut u16 {
        if self.cap == 0 {
            // What `start` points to then need not be aligned for a word.
            return ptr::dangling_mut();
        }
        self.column(bytes_before).cast()
    }

    #[inline]
    fn entries(&self) -> *mut E {
        if self.cap == 0 {
            return ptr::dangling_mut();
        }
        let before = NOTES * usize::from(self.cap);
        // SAFETY: the entries begin at the next multiple of their alignment, as in `Plan::of`.
        unsafe {
            let start = self.start.as_ptr();
            start.add(before.next_multiple_of(align_of::<E>())).cast()
        }
    }

    #[cold]
    fn grow(&mut self) {
        let cap = grown(self.len());
        let plan = layout::<E>(cap);
        // SAFETY: the layout is of at least `4 * NOTES` bytes.
        let start = unsafe { alloc(plan) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(plan);
        };
        let mut larger = Block::<E> {
            start,
            len: 0,
            cap: cap as u16,
            owns: PhantomData,
        };
        let len = self.len();
        // SAFETY: the new allocation is apart from the old and has room for more of each column. The entries are
        // moved: the old block forgets them before it is dropped, and nothing in between can panic.
        unsafe {
            larger.start.as_ptr().write_bytes(0, NOTES * cap);
            let (old, new) = (self.start.as_ptr(), larger.start.as_ptr());
            new.copy_from_nonoverlapping(old, len);
            larger.column(1).copy_from_nonoverlapping(self.column(1), len);
            larger.words(2).copy_from_nonoverlapping(self.words(2), len);
            larger.words(4).copy_from_nonoverlapping(self.words(4), len);
            larger.entries().copy_from_nonoverlapping(self.entries(), len);
        }
        larger.len = self.len;
        self.len = 0;
        *self = larger;
    }
}

/// The allocation of a block with so many slots.
fn layout<E>(cap: usize) -> Layout {
    let columns = Layout::from_size_align(NOTES * cap, 2);
    let plan = columns.and_then(|columns| {
        let (plan, _) = columns.extend(Layout::array::<E>(cap)?)?;
        Ok(plan)
    });
    plan.expect("a set of entries fits the address space")
}

impl<E> Drop for Block<E> {
    fn drop(&mut self) {
        /// Frees the memory also if an entry's drop panics.
        struct Free(NonNull<u8>, Layout);

        impl Drop for Free {
            fn drop(&mut self) {
                // SAFETY: the block that owned it is being dropped, and this was its layout.
                unsafe { dealloc(self.0.as_ptr(), self.1) }
            }
        }

        if self.cap == 0 {
            return;
        }
        let _free = Free(self.start, layout::<E>(self.cap.into()));
        // SAFETY: the first `len` entries are initialised, and nobody looks at them again.
        unsafe { ptr::drop_in_place(ptr::slice_from_raw_parts_mut(self.entries(), self.len())) }
    }
}

impl<E> fmt::Debug for Block<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("len", &self.len)
            .field("cap", &self.cap)
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
    lanes.iter().enumerate().map(bit).fold(0, |all, bit| all | bit)
}
