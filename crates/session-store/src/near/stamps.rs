//! What is known to have changed since a session was read.
//!
//! A load asks the store, and meanwhile a report arrives that the session has changed. Taking the session out of the
//! cache does nothing then, since it is not there yet; and when the load puts it there it is stale already. So each
//! load notes, before it asks, how many reports there were, and what it read is believed as long as there were no more.

use purlin_core::sync::atomic::{AtomicU32, Ordering};

use crate::id::SessionKey;

/// Counters of reports. Sessions share them by their key, so a report makes a few others be read anew.
pub(super) struct Stamps {
    /// How often everything was forgotten.
    floods: AtomicU32,
    /// How often a following began or ended.
    era: AtomicU32,
    counters: Box<[AtomicU32]>,
}

/// The counters as of some moment. That one comes round while a session is believed would take four thousand million
/// reports.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    floods: u32,
    era: u32,
    reports: u32,
}

/// With a thousand reports a second each counter is bumped every 16 seconds, three times the default staleness. 64 KiB.
const N_COUNTERS: usize = 1 << 14;

impl Stamps {
    pub(super) fn new() -> Self {
        Stamps {
            floods: AtomicU32::new(0),
            era: AtomicU32::new(0),
            counters: (0..N_COUNTERS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// To be taken before the store is asked.
    pub(super) fn of(&self, key: &SessionKey) -> Stamp {
        // Acquire here and Release at each change: a load that was asked for after a change was seen has the change's
        // stamp. SeqCst is not needed: the counters guard nothing but the belief in a value read after them.
        Stamp {
            floods: self.floods.load(Ordering::Acquire),
            era: self.era.load(Ordering::Acquire),
            reports: self.counter(key).load(Ordering::Acquire),
        }
    }

    pub(super) fn change(&self, key: &SessionKey) {
        self.counter(key).fetch_add(1, Ordering::Release);
    }

    pub(super) fn change_all(&self) {
        self.floods.fetch_add(1, Ordering::Release);
    }

    pub(super) fn begin_era(&self) {
        self.era.fetch_add(1, Ordering::Release);
    }

    fn counter(&self, key: &SessionKey) -> &AtomicU32 {
        let [_, a, b, ..] = *key.as_bytes();
        &self.counters[usize::from(u16::from_le_bytes([a, b])) % N_COUNTERS]
    }
}

impl Stamp {
    /// Whether there was no report since, and could have been none that was missed.
    pub(super) fn is_current_in(&self, stamps: &Stamps, key: &SessionKey) -> bool {
        self.is_unchanged_in(stamps, key) && self.era == stamps.era.load(Ordering::Acquire)
    }

    /// Whether there was no report since.
    pub(super) fn is_unchanged_in(&self, stamps: &Stamps, key: &SessionKey) -> bool {
        let now = stamps.of(key);
        (self.floods, self.reports) == (now.floods, now.reports)
    }
}
