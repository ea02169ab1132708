//! The limits of the memory store, and how they were chosen.

use core::num::NonZeroUsize;
use core::time::Duration;

use purlin_core::sync::Mutex;
use purlin_core::sync::atomic::AtomicUsize;
use purlin_core::{Clock, SystemClock};

use super::shard::Shard;
use super::usage::Usage;
use super::users::Users;
use super::{Books, MemoryStore};

/// The limits of a [`MemoryStore`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder<C = SystemClock> {
    max_entries: usize,
    max_bytes: usize,
    max_payload: usize,
    retention: Duration,
    n_shards: usize,
    clock: C,
}

impl Builder {
    pub(super) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Builder {
            max_entries: 1_000_000,
            max_bytes: 256 << 20,
            max_payload: 16 << 10,
            retention: Duration::from_secs(5 * 60),
            n_shards: threads.saturating_mul(SHARDS_PER_THREAD),
            clock: SystemClock::new(),
        }
    }
}

impl<C> Builder<C> {
    /// The most sessions, with the keys remembered after theirs ended. The default is a million.
    pub fn max_entries(mut self, max_entries: usize) -> Self {
        self.max_entries = max_entries;
        self
    }

    /// The most memory, in bytes. The default is 256 MiB.
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The largest payload of one session, in bytes. The default is 16 KiB.
    pub fn max_payload(mut self, max_payload: usize) -> Self {
        self.max_payload = max_payload;
        self
    }

    /// How long a key is remembered after its session was deleted or rotated away, and thus the longest grace
    /// of a rotation. The default is 5 minutes: longer than a request lasts, and short enough for the
    /// tombstones of many logins to fit.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How many parts the table has, each with its lock: rounded up to a power of two, at most 4096. The
    /// default is 4 a hardware thread.
    pub fn shards(mut self, n_shards: usize) -> Self {
        self.n_shards = n_shards;
        self
    }

    /// Another clock.
    pub fn clock<D>(self, clock: D) -> Builder<D> {
        let Builder {
            max_entries,
            max_bytes,
            max_payload,
            retention,
            n_shards,
            clock: _,
        } = self;
        Builder {
            max_entries,
            max_bytes,
            max_payload,
            retention,
            n_shards,
            clock,
        }
    }
}

impl<C: Clock> Builder<C> {
    /// The store. It allocates its table as sessions come.
    pub fn build(self) -> MemoryStore<C> {
        let now = self.clock.now();
        let n_shards = self.n_shards.clamp(1, 4096).next_power_of_two();
        MemoryStore {
            shards: (0..n_shards).map(|_| Mutex::new(Shard::new(now))).collect(),
            books: Books {
                usage: Usage::new(self.max_entries, self.max_bytes),
                users: Users::new(n_shards),
            },
            max_payload: self.max_payload,
            retention: self.retention,
            next_swept: AtomicUsize::new(0),
            clock: self.clock,
        }
    }
}

/// Shards per hardware thread, rounded up to a power of two in all. With `n` busy threads on random sessions,
/// one finds its shard taken with chance below `(n - 1) / 4n`, under a quarter.
const SHARDS_PER_THREAD: usize = 4;
