use core::fmt;

use purlin_core::sync::Arc;
use purlin_core::sync::atomic::{AtomicUsize, Ordering};

/// Room in a cache that belongs to none of its shards yet.
///
/// Keys fall on shards by chance, so a shard that could hold its part of the capacity and no more would be full when
/// the cache is not. Each therefore has most of its part for good and takes the rest from here, a little at a time.
/// What the shards have and what is here add up to the capacity at every moment.
#[derive(Clone)]
pub(crate) struct Pool {
    left: Arc<AtomicUsize>,
    /// What a shard takes at once.
    step: usize,
    /// What a shard never gives back.
    own: usize,
}

impl Pool {
    /// A pool with so much in it, for shards that have `own` for good. All steps that are taken but not used are a
    /// small part of the capacity.
    pub(crate) fn new(left: usize, step: usize, own: usize) -> Self {
        Pool {
            left: Arc::new(AtomicUsize::new(left)),
            step,
            own,
        }
    }

    /// Takes a step, or `least` if that is more, or what is left. The caller may use what this returns.
    #[inline]
    pub(crate) fn take(&self, least: usize) -> usize {
        // Relaxed: only the number counts, and what is kept in the room is under the lock of the shard that has it.
        let mut left = self.left.load(Ordering::Relaxed);
        while left > 0 {
            let taken = self.step.max(least).min(left);
            let rest = left - taken;
            match self.left.compare_exchange_weak(left, rest, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return taken,
                Err(now) => left = now,
            }
        }
        0
    }

    /// Takes back what a shard with this limit, of which so much is unused, needs least. The caller may not use what
    /// this returns any more.
    #[inline]
    pub(crate) fn put(&self, unused: usize, limit: usize) -> usize {
        // Two steps stay, so that a shard where entries come and go leaves the pool alone.
        let spare = unused.saturating_sub(2 * self.step).min(limit.saturating_sub(self.own));
        if spare > 0 {
            self.left.fetch_add(spare, Ordering::Relaxed);
        }
        spare
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}
