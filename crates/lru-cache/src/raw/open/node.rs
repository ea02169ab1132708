use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering,
};

use super::super::seq::{Seen, Seq};

/// Slots whose tags and entries are in the node itself.
pub(super) const NEAR: usize = 39;
/// Slots of each chunk beyond it.
pub(super) const FAR: usize = 4;
/// Slots of which it is noted that somebody used them without the lock.
pub(super) const NOTED: usize = 64;

const TAG_WORDS: usize = NEAR.div_ceil(8);

/// What may be read of a set without its lock: tags, entries, and until when none of them is over. One line of memory and the
/// entries after it, so that a look-up reads two lines.
///
/// 1. It is all atomics; an entry is written and read in words by [`store`] and [`load`]. Who holds the lock may also read
///    entries as what they are.
/// 2. Whatever is written to tags, entries and `far` is written between [`Seq::change`] and [`Seq::end`].
/// 3. It keeps its memory for as long as somebody might read it, and the memory its meaning, place by place.
#[repr(C, align(64))]
pub(super) struct Node<E> {
    pub(super) seq: Seq,
    /// Whether `over_from` is to be looked at.
    pub(super) has_ends: AtomicBool,
    /// A bit for each of the first [`NOTED`] slots that was used since it was last asked. It is read and written in two steps,
    /// so that a look-up has none that locks: of two who write it at once, one is forgotten. It is a hint for the policy.
    used: AtomicU64,
    pub(super) far: AtomicPtr<Far<E>>,
    tags: [AtomicU64; TAG_WORDS],
    entries: [UnsafeCell<MaybeUninit<E>>; NEAR],
    /// No entry is over before this tick.
    pub(super) over_from: AtomicU64,
}

/// The slots beyond, some at a time.
#[repr(C)]
pub(super) struct Far<E> {
    pub(super) next: AtomicPtr<Far<E>>,
    tags: AtomicU64,
    entries: [UnsafeCell<MaybeUninit<E>>; FAR],
}

const _: () = assert!(size_of::<Node<(u64, u64)>>() == 704, "eleven lines");
const _: () = assert!(TAG_WORDS == 5);

impl<E> Node<E> {
    pub(super) fn entry(&self, at: usize) -> *mut E {
        self.entries[at].get().cast()
    }

    pub(super) fn tag(&self, at: usize) -> u8 {
        byte_of(&self.tags[at / 8], at % 8)
    }

    pub(super) fn set_tag(&self, at: usize, tag: u8) {
        set_byte_of(&self.tags[at / 8], at % 8, tag);
    }

    /// The tags of so many slots, for who holds the lock.
    ///
    /// # Safety
    ///
    /// No tag is written while the slice is in use.
    pub(super) unsafe fn tags(&self, len: usize) -> &[u8] {
        let first = self.tags.as_ptr().cast::<u8>();
        // SAFETY: the bytes are in the array, in the order of the slots, and are not written meanwhile.
        unsafe { core::slice::from_raw_parts(first, len.min(NEAR)) }
    }

    /// Which slots have this tag, a bit each.
    #[inline]
    pub(super) fn agreeing(&self, tag: u8) -> u64 {
        // Written out, for it is not unrolled otherwise.
        let word = |n: usize| self.tags[n].load(Ordering::Relaxed);
        agreeing([word(0), word(1), word(2), word(3), word(4)], tag)
    }

    /// Has no entries any more, to anybody.
    pub(super) fn forget_all(&self) {
        self.seq.change();
        self.far.store(core::ptr::null_mut(), Ordering::Relaxed);
        for tags in &self.tags {
            tags.store(0, Ordering::Relaxed);
        }
        self.seq.end();
        self.used.store(0, Ordering::Relaxed);
        self.has_ends.store(false, Ordering::Relaxed);
    }

    /// Leaves a note for the policy. If the entry has just left, it is taken for a use of who came in its place.
    #[inline]
    pub(super) fn note_use(&self, at: usize) {
        let used = self.used.load(Ordering::Relaxed);
        // A key in heavy use is written to no more, until the policy has read the note.
        if used >> at & 1 == 0 {
            self.used.store(used | 1 << at, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn take_used(&self) -> u64 {
        let used = self.used.load(Ordering::Relaxed);
        if used != 0 {
            self.used.store(0, Ordering::Relaxed);
        }
        used
    }

    #[inline]
    pub(super) fn is_used(&self, at: usize) -> bool {
        at < NOTED && self.used.load(Ordering::Relaxed) >> at & 1 == 1
    }

    #[inline]
    pub(super) fn set_used(&self, at: usize, is: bool) {
        if self.is_used(at) != is && at < NOTED {
            let others = self.used.load(Ordering::Relaxed) & !(1 << at);
            let used = others | u64::from(is) << at;
            self.used.store(used, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(super) fn is_unchanged(&self, since: Seen) -> bool {
        self.seq.is_unchanged(since)
    }
}

impl<E> Far<E> {
    pub(super) fn entry(&self, at: usize) -> *mut E {
        self.entries[at].get().cast()
    }

    pub(super) fn set_tag(&self, at: usize, tag: u8) {
        set_byte_of(&self.tags, at, tag);
    }

    pub(super) fn clear_tags(&self) {
        self.tags.store(0, Ordering::Relaxed);
    }

    /// Which slots have this tag, the top bit of a byte each.
    #[inline]
    pub(super) fn agreeing(&self, tag: u8) -> u64 {
        bytes_equal(u64::from_le(self.tags.load(Ordering::Relaxed)), tag)
    }
}

/// A byte of a word, by its place in memory.
fn byte_of(word: &AtomicU64, at: usize) -> u8 {
    word.load(Ordering::Relaxed).to_ne_bytes()[at]
}

/// One thread at a time writes, so this need not be one step.
fn set_byte_of(word: &AtomicU64, at: usize, byte: u8) {
    let mut bytes = word.load(Ordering::Relaxed).to_ne_bytes();
    bytes[at] = byte;
    word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
}

/// The top bit of each byte that is equal to one.
#[inline]
fn bytes_equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const REST: u64 = LOW * 0x7f;
    let differ = word ^ (LOW * u64::from(byte));
    // No byte carries into the next: each sum is at most 0xfe.
    !(((differ & REST) + REST) | differ | REST)
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
fn agreeing(words: [u64; TAG_WORDS], tag: u8) -> u64 {
    use core::arch::x86_64 as simd;
    // SAFETY: the instructions are of the target, and look at no memory.
    unsafe {
        let tags = simd::_mm_set1_epi8(tag as i8);
        let same = |high: u64, low: u64| {
            let lanes = simd::_mm_set_epi64x(high as i64, low as i64);
            simd::_mm_movemask_epi8(simd::_mm_cmpeq_epi8(lanes, tags)) as u32
        };
        u64::from(same(words[1], words[0]))
            | u64::from(same(words[3], words[2])) << 16
            | u64::from(same(0, words[4])) << 32
    }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline]
fn agreeing(words: [u64; TAG_WORDS], tag: u8) -> u64 {
    let bit = |at: usize| u64::from(words[at / 8].to_ne_bytes()[at % 8] == tag) << at;
    (0..8 * TAG_WORDS).map(bit).fold(0, |all, bit| all | bit)
}

/// Memory for one of these, all zero, which is an empty one.
pub(super) fn make<T>() -> NonNull<T> {
    let plan = const {
        assert!(size_of::<T>() > 0);
        Layout::new::<T>()
    };
    // SAFETY: it is not of size zero.
    let start = unsafe { alloc_zeroed(plan) };
    let Some(start) = NonNull::new(start.cast()) else {
        handle_alloc_error(plan);
    };
    start
}

/// # Safety
///
/// It came from [`make`], and nobody looks at it any more.
pub(super) unsafe fn free<T>(it: NonNull<T>) {
    // SAFETY: it was allocated with this layout.
    unsafe { dealloc(it.as_ptr().cast(), Layout::new::<T>()) }
}

/// Copies a plain value out, in words that are as wide as it is aligned, up to eight bytes.
///
/// # Safety
///
/// There is a place for a `T`, all of it initialised, written by [`store`] as a `T` only. `T` is plain.
#[inline]
pub(super) unsafe fn load<T>(from: *const T, to: *mut T) {
    // SAFETY: by the contract of this function, and words of the value's alignment are aligned.
    unsafe {
        match align_of::<T>() {
            1 => copy_words::<T, u8>(from, to, |from, to| {
                to.write(AtomicU8::from_ptr(from).load(Ordering::Relaxed));
            }),
            2 => copy_words::<T, u16>(from, to, |from, to| {
                to.write(AtomicU16::from_ptr(from).load(Ordering::Relaxed));
            }),
            4 => copy_words::<T, u32>(from, to, |from, to| {
                to.write(AtomicU32::from_ptr(from).load(Ordering::Relaxed));
            }),
            _ => copy_words::<T, u64>(from, to, |from, to| {
                to.write(AtomicU64::from_ptr(from).load(Ordering::Relaxed));
            }),
        }
    }
}

/// Copies a plain value in, in the same words.
///
/// # Safety
///
/// There is a place for a `T`, and nobody else writes to it now or reads it but by [`load`]. `T` is plain.
#[inline]
pub(super) unsafe fn store<T>(from: *const T, to: *mut T) {
    // SAFETY: as in `load`.
    unsafe {
        match align_of::<T>() {
            1 => copy_words::<T, u8>(from, to, |from, to| {
                AtomicU8::from_ptr(to).store(from.read(), Ordering::Relaxed);
            }),
            2 => copy_words::<T, u16>(from, to, |from, to| {
                AtomicU16::from_ptr(to).store(from.read(), Ordering::Relaxed);
            }),
            4 => copy_words::<T, u32>(from, to, |from, to| {
                AtomicU32::from_ptr(to).store(from.read(), Ordering::Relaxed);
            }),
            _ => copy_words::<T, u64>(from, to, |from, to| {
                AtomicU64::from_ptr(to).store(from.read(), Ordering::Relaxed);
            }),
        }
    }
}

/// Has each word of a value copied.
///
/// # Safety
///
/// Both pointers have place for a `T`, which is made of whole words, and `copy` may be called on each of these.
#[inline(always)]
unsafe fn copy_words<T, W>(from: *const T, to: *mut T, copy: impl Fn(*mut W, *mut W)) {
    for n in 0..size_of::<T>() / size_of::<W>() {
        // SAFETY: so many words are in it.
        unsafe { copy(from.cast_mut().cast::<W>().add(n), to.cast::<W>().add(n)) };
    }
}
