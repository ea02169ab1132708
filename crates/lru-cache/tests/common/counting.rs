//! An allocator that counts, for the whole of a test program.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

#[global_allocator]
static COUNTING: Counting = Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count of the bytes that are out.
struct Counting;

// SAFETY: every call is the system allocator's own, with the caller's arguments; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the block came from `System`, since every allocating method here asks it.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What is out, in the sizes that were asked for.
pub(crate) fn live_bytes() -> usize {
    LIVE.load(Ordering::Relaxed)
}
