use std::path::Path;
use std::time::Duration;

use purlin_core::{Clock, SystemClock};

use super::engine::Engine;
use super::{Limits, RedbSessionStore};
use crate::OpenError;

/// Opens a [`RedbSessionStore`] with other than the usual settings.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `open`"]
pub struct RedbSessionStoreBuilder<C = SystemClock> {
    pub(super) limits: Limits,
    cache_bytes: usize,
    clock: C,
}

impl RedbSessionStoreBuilder {
    pub(super) fn new() -> Self {
        RedbSessionStoreBuilder {
            limits: Limits {
                max_entries: 10_000_000,
                max_payload: 16 << 10,
                retention: Duration::from_secs(5 * 60),
            },
            cache_bytes: DEFAULT_CACHE_BYTES,
            clock: SystemClock::new(),
        }
    }
}

/// The upper levels of the trees of some millions of sessions, and the leaves of those at work.
const DEFAULT_CACHE_BYTES: usize = 64 << 20;

impl<C> RedbSessionStoreBuilder<C> {
    /// The most sessions, with the keys remembered after theirs ended. The default is ten million. With
    /// [`max_payload`](RedbSessionStoreBuilder::max_payload) it bounds the file.
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.limits.max_entries = max_entries;
        self
    }

    /// The largest payload of one session, in bytes. The default is 16 KiB.
    pub fn max_payload(mut self, max_payload: usize) -> Self {
        self.limits.max_payload = max_payload;
        self
    }

    /// How long a key is remembered after its session was deleted or rotated away, and thus the longest grace of a
    /// rotation. The default is 5 minutes.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.limits.retention = retention;
        self
    }

    /// How much of the file the engine keeps in memory: 64 MiB unless told otherwise.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Another clock than the system's.
    pub fn clock<D>(self, clock: D) -> RedbSessionStoreBuilder<D> {
        RedbSessionStoreBuilder {
            limits: self.limits,
            cache_bytes: self.cache_bytes,
            clock,
        }
    }
}

impl<C: Clock> RedbSessionStoreBuilder<C> {
    /// Opens the store in the file at `path`, or makes it. The directory must be there.
    ///
    /// It reads no sessions, so it takes the same time for few and for many; but after a crash the engine first checks
    /// the whole file.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<RedbSessionStore<C>, OpenError> {
        let engine = Engine::open(path.as_ref(), self.limits, self.cache_bytes, self.clock)?;
        Ok(RedbSessionStore { engine })
    }
}
