//! Reads without the lock, of the caches whose entries are plain numbers or the like.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use equivalent::Equivalent;
use purlin_core::Tick;
use purlin_core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::policy::spot;
use crate::raw::open::{Home, Read};
use crate::reentry;
use crate::stats::Stats;

/// The way around the locks.
pub(super) struct Bypass<K, V> {
    /// One for each shard.
    homes: Box<[Arc<Home<K, V>>]>,
    counts: Box<[Counts]>,
}

/// What one thread has looked up here, on lines of its own: a number that all threads count up would be fetched by each from the
/// others.
#[derive(Debug)]
#[repr(align(128))]
struct Counts {
    /// Where the thread keeps what is its own. Zero for nobody yet.
    owner: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Threads that count on lines of their own. Those that come later count on a line that they share, and for each other's sake in one step.
const COUNTS: usize = 32;
/// How many of them are looked at before that.
const LOOKS: usize = 4;

impl<K, V> Bypass<K, V> {
    pub(super) fn new(n_shards: usize) -> Option<Self> {
        let homes: Option<Box<[_]>> = (0..n_shards).map(|_| Home::new()).collect();
        let counts = || Counts {
            owner: AtomicUsize::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        Some(Bypass {
            homes: homes?,
            counts: (0..=COUNTS).map(|_| counts()).collect(),
        })
    }

    pub(super) fn home(&self, shard: usize) -> Arc<Home<K, V>> {
        Arc::clone(&self.homes[shard])
    }

    /// Whether a look-up had better take the lock, if that is free.
    #[inline]
    pub(super) fn would_rather_be_asked(&self, shard: usize, now: Tick) -> bool {
        self.homes[shard].would_rather_be_asked(now)
    }

    /// Looks a key up and counts it, unless only who has the lock can tell.
    #[inline]
    pub(super) fn read<Q>(&self, shard: usize, hash: u64, key: &Q, now: Tick) -> Read<V>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let read = self.homes[shard].read(key, now, |begins_with, doublings| {
            let spot = spot(hash, begins_with);
            (spot.set(doublings), spot.print)
        });
        match read {
            Read::Found(..) => self.count(|counts| &counts.hits),
            Read::Absent => self.count(|counts| &counts.misses),
            Read::Ask => {}
        }
        read
    }

    #[inline]
    fn count(&self, which: impl Fn(&Counts) -> &AtomicU64) {
        let thread = reentry::this_thread();
        let mine = &self.counts[slot_of(thread)];
        if mine.owner.load(Ordering::Relaxed) == thread {
            // Nobody else writes it, so this need not be one step.
            let count = which(mine);
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            self.count_elsewhere(thread, which);
        }
    }

    #[cold]
    #[inline(never)]
    fn count_elsewhere(&self, thread: usize, which: impl Fn(&Counts) -> &AtomicU64) {
        for n in 0..LOOKS {
            let counts = &self.counts[(slot_of(thread) + n) % COUNTS];
            // A thread that has what another had which is gone goes on with its count.
            let taken =
                counts
                    .owner
                    .compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_ok() || taken == Err(thread) {
                let count = which(counts);
                count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                return;
            }
        }
        which(&self.counts[COUNTS]).fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted here.
    pub(super) fn stats(&self) -> Stats {
        let sum = |which: fn(&Counts) -> &AtomicU64| {
            let counts = self.counts.iter();
            counts
                .map(|counts| which(counts).load(Ordering::Relaxed))
                .sum()
        };
        Stats {
            hits: sum(|counts| &counts.hits),
            misses: sum(|counts| &counts.misses),
            ..Stats::default()
        }
    }
}

/// Where a thread looks for its line first. What threads have of their own is at addresses that differ in their middle bits.
#[inline]
fn slot_of(thread: usize) -> usize {
    (thread as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> (usize::BITS - 5)
}

const _: () = assert!(1 << 5 == COUNTS);

impl<K, V> fmt::Debug for Bypass<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bypass").finish_non_exhaustive()
    }
}
