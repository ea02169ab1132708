use purlin_core::sync::Mutex;
use purlin_core::sync::atomic::{AtomicU32, Ordering};

use crate::policy::arm::Arm;
#[cfg(feature = "serde")]
use crate::policy::selector::State;
#[cfg(purlin_tuning)]
use crate::policy::selector::tuning::Tuning;
use crate::policy::selector::{Selector, is_sampled};
use crate::reentry::Inside;

/// What all shards of a cache learn from together: a part of it would see too few requests to learn fast.
#[derive(Debug)]
pub(super) struct Adaptation {
    /// A copy of the selector's, to tell without the lock which requests it wants to see.
    sample_bits: AtomicU32,
    selector: Mutex<Selector>,
}

impl Adaptation {
    pub(super) fn new(selector: Selector) -> Self {
        Adaptation {
            sample_bits: AtomicU32::new(selector.sample_bits()),
            selector: Mutex::new(selector),
        }
    }

    /// Whether a request for a key with this hash is to be told.
    #[inline]
    pub(super) fn samples(&self, hash: u64) -> bool {
        // Relaxed: a request too many or too few is no harm.
        is_sampled(hash, self.sample_bits.load(Ordering::Relaxed))
    }

    /// Takes note of a request for a sampled key. At the end of a period, the arm that the shards are to go by.
    pub(super) fn note(&self, hash: u64, hit: bool) -> Option<Arm> {
        let _inside = Inside::enter();
        // A sample less does no harm, and whoever has the lock may have lost his processor.
        let mut selector = self.selector.try_lock()?;
        selector.note(hash, hit).then(|| selector.arm())
    }

    /// What was learned.
    #[cfg(feature = "serde")]
    pub(super) fn state(&self) -> State {
        let _inside = Inside::enter();
        self.selector.lock().state()
    }

    /// Goes on from what was learned elsewhere. Returns the arm that the shards are to go by.
    #[cfg(feature = "serde")]
    pub(super) fn restore(&self, state: &State) -> Arm {
        let _inside = Inside::enter();
        let mut selector = self.selector.lock();
        selector.restore(state);
        selector.arm()
    }

    /// Shows a key that the cache holds.
    #[cfg(feature = "serde")]
    pub(super) fn warm(&self, hash: u64, hits: u8) {
        if self.samples(hash) {
            let _inside = Inside::enter();
            self.selector.lock().warm(hash, hits);
        }
    }

    /// Begins anew with other choices. Returns the arm that the shards are to go by.
    #[cfg(purlin_tuning)]
    pub(super) fn tune(&self, capacity: usize, seed: u64, tuning: Tuning) -> Arm {
        let mut selector = self.selector.lock();
        *selector = Selector::tuned(capacity, seed, tuning);
        selector.arm()
    }

    /// Learns how many entries fill the cache.
    pub(super) fn resize(&self, entries: usize) {
        let _inside = Inside::enter();
        let mut selector = self.selector.lock();
        selector.resize(entries);
        self.sample_bits
            .store(selector.sample_bits(), Ordering::Relaxed);
    }
}
