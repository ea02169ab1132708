use core::time::Duration;

use crate::{Job, Refusal};

/// Bytes an idempotency key may have.
pub const MAX_KEY_BYTES: usize = 255;
/// Bytes of a worker's name that are kept.
pub const MAX_WORKER_BYTES: usize = 128;
/// Bytes of an error text that are kept with a job.
pub const MAX_ERROR_BYTES: usize = 1024;
/// Jobs that one call leases or lists at most, so that no call holds the others up for long.
pub const MAX_BATCH: usize = 1024;

/// Where a queue ends.
///
/// Everything that is not yet done counts, dead letters too: they are jobs that somebody was promised. A queue
/// that fills up with them refuses new jobs rather than forget old ones.
///
/// ```
/// use purlin_work_queue::Limits;
///
/// let limits = Limits::default().with_max_jobs(10_000).with_max_bytes(64 << 20);
/// assert_eq!(limits.max_jobs(), 10_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    max_jobs: usize,
    max_bytes: usize,
    max_payload: usize,
    max_lease: Duration,
    key_window: Duration,
    max_keys: usize,
}

impl Default for Limits {
    /// A million jobs, 256 MiB of payloads and keys, 1 MiB a payload, leases up to 12 hours, keys of finished jobs
    /// for one hour and 100 000 of them at most.
    fn default() -> Self {
        Limits {
            max_jobs: 1_000_000,
            max_bytes: 256 << 20,
            max_payload: 1 << 20,
            max_lease: Duration::from_secs(12 * 60 * 60),
            key_window: Duration::from_secs(60 * 60),
            max_keys: 100_000,
        }
    }
}

impl Limits {
    /// Jobs that may be in the queue at once, in whatever state. With 0 every job is refused. The stores here take
    /// no more than four billion, whatever is asked.
    #[must_use]
    pub fn with_max_jobs(self, max_jobs: usize) -> Self {
        Limits { max_jobs, ..self }
    }

    /// Bytes of payloads and keys that may be in the queue at once.
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: usize) -> Self {
        Limits { max_bytes, ..self }
    }

    /// Bytes that one payload may have.
    #[must_use]
    pub fn with_max_payload(self, max_payload: usize) -> Self {
        Limits {
            max_payload,
            ..self
        }
    }

    /// The longest lease that is granted. It bounds how long a job may be stuck with a worker that died right
    /// after it asked for too much.
    #[must_use]
    pub fn with_max_lease(self, max_lease: Duration) -> Self {
        Limits { max_lease, ..self }
    }

    /// How long an idempotency key is remembered after its job has left the queue. While the job is in the queue,
    /// dead or alive, its key is remembered in any case.
    #[must_use]
    pub fn with_key_window(self, key_window: Duration) -> Self {
        Limits { key_window, ..self }
    }

    /// How many keys of jobs that have left are remembered. Beyond it the oldest is forgotten before its time.
    #[must_use]
    pub fn with_max_keys(self, max_keys: usize) -> Self {
        Limits { max_keys, ..self }
    }

    /// See [`with_max_jobs`](Limits::with_max_jobs).
    pub fn max_jobs(&self) -> usize {
        // A job has a timer at most, and the wheel has u32::MAX places.
        self.max_jobs.min(u32::MAX as usize - 1)
    }

    /// See [`with_max_bytes`](Limits::with_max_bytes).
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// See [`with_max_payload`](Limits::with_max_payload).
    pub fn max_payload(&self) -> usize {
        self.max_payload
    }

    /// See [`with_max_lease`](Limits::with_max_lease).
    pub fn max_lease(&self) -> Duration {
        self.max_lease
    }

    /// See [`with_key_window`](Limits::with_key_window).
    pub fn key_window(&self) -> Duration {
        self.key_window
    }

    /// See [`with_max_keys`](Limits::with_max_keys).
    pub fn max_keys(&self) -> usize {
        self.max_keys
    }

    /// Refuses a job that could never be taken, however empty the queue.
    pub(crate) fn check_size(&self, job: &Job) -> Result<(), Refusal> {
        if let Some(key) = job.key().filter(|key| key.len() > MAX_KEY_BYTES) {
            return Err(Refusal::KeyTooLong { bytes: key.len() });
        }
        let limit = self.max_payload.min(self.max_bytes);
        if job.payload().len() > limit || size(job) > self.max_bytes {
            return Err(Refusal::TooLarge {
                bytes: job.payload().len(),
                limit,
            });
        }
        Ok(())
    }
}

/// What a job counts as towards `max_bytes`.
pub(crate) fn size(job: &Job) -> usize {
    let key = job.key().map_or(0, |key| key.len());
    job.payload().len().saturating_add(key)
}
