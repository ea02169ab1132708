use purlin_core::sync::atomic::{AtomicU32, Ordering, fence};

/// A count of the changes of what stands beside it, by which somebody who reads without a lock finds out whether it changed
/// meanwhile: odd while it is being changed.
///
/// What it guards is atomics, each of them read and written `Relaxed`; so what is read in the middle of a change is wrong, and no
/// more than that. After half of 2^32 changes during one read, it would be taken for unchanged.
///
/// The orderings are those of Boehm, "Can seqlocks get along with programming language memory models?", 2012.
#[derive(Debug)]
pub(crate) struct Seq(AtomicU32);

/// What a [`Seq`] was when a read began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(u32);

impl Seq {
    pub(crate) fn new() -> Self {
        Seq(AtomicU32::new(0))
    }

    /// Begins a read, unless a change is under way.
    #[inline]
    pub(crate) fn begin(&self) -> Option<Seen> {
        // Acquire: pairs with the release in `end`, so that what was written before it is seen.
        let count = self.0.load(Ordering::Acquire);
        (count & 1 == 0).then_some(Seen(count))
    }

    /// Whether all that was read since then is from one moment.
    #[inline]
    pub(crate) fn is_unchanged(&self, since: Seen) -> bool {
        // Acquire: pairs with the fence in `change`. If anything that was read is of a later change, its odd count is seen here.
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == since.0
    }

    /// Announces a change, which goes on until [`end`](Self::end). One thread at a time may change anything.
    #[inline]
    pub(crate) fn change(&self) {
        let count = self.0.load(Ordering::Relaxed);
        debug_assert_eq!(count & 1, 0, "one change at a time");
        self.0.store(count.wrapping_add(1), Ordering::Relaxed);
        // Release: whoever sees what is written after this sees the odd count.
        fence(Ordering::Release);
    }

    /// Ends a change.
    #[inline]
    pub(crate) fn end(&self) {
        let count = self.0.load(Ordering::Relaxed);
        debug_assert_eq!(count & 1, 1, "a change is under way");
        // Release: pairs with `begin`.
        self.0.store(count.wrapping_add(1), Ordering::Release);
    }
}
