//! Giving way, so that nobody loses his processor where others wait for him.
//!
//! A thread that the system stops while it holds the lock of a shard has all others who want that shard wait until it is its turn
//! again, for milliseconds where there are more threads than processors. Once that has happened nothing can be done. But the
//! system stops whoever has used up his time, and who gives the rest of it away in good time is not stopped. So once
//! somebody had to wait that long, those who write let others run every now and then, when they have just released a lock; until nobody had
//! to for a while.

use purlin_core::sync::atomic::{AtomicU32, Ordering};
use purlin_core::sync::thread;

/// Whether those who write to a cache are to give way, and for how long still.
#[derive(Debug)]
pub(super) struct Turns {
    left: AtomicU32,
}

/// How often somebody gives way after somebody had to wait: for a second or so.
const TURNS: u32 = 8192;
/// Between two times, calls that store in one shard. With many shards it is a matter of chance when a thread's turn is, and after as many
/// calls on the average: a few tenths of a millisecond, where systems give a thread some milliseconds at a time.
pub(super) const CALLS: u32 = 1024;

impl Turns {
    pub(super) fn new() -> Self {
        Turns {
            left: AtomicU32::new(0),
        }
    }

    /// Somebody waits for a lock whose owner has lost his processor.
    #[cold]
    pub(super) fn is_waited_for(&self) {
        // Relaxed, here and below: it is a matter of more or less.
        self.left.store(TURNS, Ordering::Relaxed);
    }

    #[cfg(all(test, not(any(purlin_loom, purlin_shuttle, purlin_safe))))]
    pub(super) fn left(&self) -> u32 {
        self.left.load(Ordering::Relaxed)
    }

    /// To be called by a thread that holds no lock. Returns whether it let others run.
    #[cold]
    pub(super) fn give_way(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return false;
        }
        // If two do this at once, one gives way more often than was asked.
        self.left.store(left - 1, Ordering::Relaxed);
        thread::yield_now();
        true
    }
}

#[cfg(all(test, not(any(purlin_loom, purlin_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn nobody_gives_way_unless_somebody_waited_lately() {
        let turns = Turns::new();
        assert!(!turns.give_way());
        turns.is_waited_for();
        assert!((0..TURNS).all(|_| turns.give_way()));
        assert!(!turns.give_way());
    }
}
