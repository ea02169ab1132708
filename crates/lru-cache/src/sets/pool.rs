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
    shared: Arc<Shared>,
}

struct Shared {
    left: AtomicUsize,
    /// What a shard takes at once.
    step: AtomicUsize,
    /// What a shard never gives back.
    own: AtomicUsize,
}

impl Pool {
    /// The pool of a capacity that so many shards share.
    pub(crate) fn new(capacity: usize, n_shards: usize) -> Self {
        let (own, step) = shares(capacity, n_shards);
        Pool {
            shared: Arc::new(Shared {
                left: AtomicUsize::new(capacity - n_shards * own),
                step: AtomicUsize::new(step),
                own: AtomicUsize::new(own),
            }),
        }
    }

    /// Goes by another capacity from here on. What there is, is not changed by that.
    pub(crate) fn plan(&self, capacity: usize, n_shards: usize) {
        let (own, step) = shares(capacity, n_shards);
        self.shared.own.store(own, Ordering::Relaxed);
        self.shared.step.store(step, Ordering::Relaxed);
    }

    /// Has so much more.
    pub(crate) fn add(&self, more: usize) {
        self.shared.left.fetch_add(more, Ordering::Relaxed);
    }

    /// Has up to so much less. Returns how much.
    pub(crate) fn take_up_to(&self, most: usize) -> usize {
        let less = |left: usize| Some(left - left.min(most));
        let left = &self.shared.left;
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(before) | Err(before) => before.min(most),
        }
    }

    pub(crate) fn own(&self) -> usize {
        self.shared.own.load(Ordering::Relaxed)
    }

    /// Whether there is nothing to take for now.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed as in `take`.
        self.shared.left.load(Ordering::Relaxed) == 0
    }

    /// Takes a step, or `least` if that is more, or what is left. The caller may use what this returns.
    #[inline]
    pub(crate) fn take(&self, least: usize) -> usize {
        // Relaxed: only the number counts, and what is kept in the room is under the lock of the shard that has it.
        let mut left = self.shared.left.load(Ordering::Relaxed);
        while left > 0 {
            let taken = self
                .shared
                .step
                .load(Ordering::Relaxed)
                .max(least)
                .min(left);
            let rest = left - taken;
            match self.shared.left.compare_exchange_weak(
                left,
                rest,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
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
        let spare = unused
            .saturating_sub(2 * self.shared.step.load(Ordering::Relaxed))
            .min(limit.saturating_sub(self.own()));
        if spare > 0 {
            self.shared.left.fetch_add(spare, Ordering::Relaxed);
        }
        spare
    }
}

/// What a shard never gives back, and what it takes at once, where so many share this capacity.
fn shares(capacity: usize, n_shards: usize) -> (usize, usize) {
    let part = capacity / n_shards;
    // The keys of a shard vary by the square root of their number: a quarter of 256 is four times that.
    let own = part - part / 4;
    // All that is taken and not used is a thousandth.
    (own, (part / 1024).max(1))
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_and_what_was_taken_add_up() {
        let pool = Pool::new(100_003, 8);
        let mut taken = [pool.own(); 8];
        let left = || pool.shared.left.load(Ordering::Relaxed);
        for n in 0..50_000 {
            taken[n % 8] += pool.take(1 + n % 3);
            if n % 7 == 0 {
                let unused = taken[n % 8] / 2;
                taken[n % 8] -= pool.put(unused, taken[n % 8]);
            }
            assert_eq!(taken.iter().sum::<usize>() + left(), 100_003);
        }
        while pool.take(1) > 0 {}
        assert_eq!(left(), 0);
        assert!(taken.iter().all(|&taken| taken >= pool.own()));
    }
}
