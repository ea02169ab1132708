//! Proof that no thread ever waits for a lock of a cache while it holds one.
//!
//! The `Eq` of keys and the `Clone` of values are user code that runs under a lock. If it calls a cache, then this
//! one or another, threads could wait for each other in a circle; so the call panics instead.

use core::marker::PhantomData;

/// Shows that this thread holds a lock of a cache, for as long as it exists.
#[derive(Debug)]
pub(crate) struct Inside {
    /// It tells of one thread, so it stays there.
    of_this_thread: PhantomData<*const ()>,
}

#[cfg(not(any(purlin_loom, purlin_shuttle)))]
mod thread {
    use core::cell::Cell;

    std::thread_local! {
        // A thread's own and gone with it: it says where the thread is, and nothing about any cache.
        static INSIDE: Cell<bool> = const { Cell::new(false) };
    }

    /// Says where this thread is now, and returns where it was.
    #[inline]
    pub(super) fn set_inside(inside: bool) -> bool {
        INSIDE.replace(inside)
    }

    /// A number that no other thread has as long as this one lives.
    #[inline]
    pub(super) fn number() -> usize {
        INSIDE.with(|inside| core::ptr::from_ref(inside).addr())
    }
}

/// A model checker runs its threads on one of the system's, so there this would take one for another.
#[cfg(any(purlin_loom, purlin_shuttle))]
mod thread {
    pub(super) fn set_inside(_: bool) -> bool {
        false
    }

    pub(super) fn number() -> usize {
        1
    }
}

/// A number that no other thread has as long as this one lives.
#[inline]
pub(crate) fn this_thread() -> usize {
    thread::number()
}

impl Inside {
    /// To be called just before a lock is taken.
    ///
    /// # Panics
    ///
    /// If this thread holds one already.
    #[inline]
    pub(crate) fn enter() -> Self {
        if thread::set_inside(true) {
            called_back();
        }
        Inside {
            of_this_thread: PhantomData,
        }
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        thread::set_inside(false);
    }
}

#[cold]
#[inline(never)]
fn called_back() -> ! {
    panic!(
        "a cache was called by the `Eq` of a key or the `Clone` of a value that a cache was just using"
    );
}
