use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use purlin_core::WallTime;

/// A piece of work to be done later: bytes that a worker understands, and how to treat them.
///
/// ```
/// use std::time::Duration;
/// use purlin_work_queue::Job;
///
/// let job = Job::new("resize image 17")
///     .with_key("resize-17")
///     .with_delay(Duration::from_secs(5))
///     .with_max_attempts(3);
/// assert_eq!(job.max_attempts(), 3);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use = "a job does nothing until it is enqueued"]
pub struct Job {
    payload: Bytes,
    key: Option<Bytes>,
    start: Start,
    /// At least 1.
    max_attempts: u32,
}

impl Job {
    /// How often a job is tried unless told otherwise. With the worker's default backoff that is about an hour,
    /// and two at most, until it is given up.
    pub const DEFAULT_MAX_ATTEMPTS: u32 = 20;

    /// A job that may start at once, is tried up to [`DEFAULT_MAX_ATTEMPTS`](Job::DEFAULT_MAX_ATTEMPTS) times
    /// and has no idempotency key.
    ///
    /// The memory store keeps the payload as it is given, without a copy. A slice of a large buffer keeps the
    /// whole buffer alive, and is counted by its own length only.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Job {
            payload: payload.into(),
            key: None,
            start: Start::Now,
            max_attempts: Job::DEFAULT_MAX_ATTEMPTS,
        }
    }

    /// Names the piece of work, so that enqueueing it again is answered with the first job and adds nothing. How
    /// long a store remembers a key, [`Limits::key_window`](crate::Limits::key_window) says.
    ///
    /// A key has at most [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES).
    pub fn with_key(self, key: impl Into<Bytes>) -> Self {
        Job {
            key: Some(key.into()),
            ..self
        }
    }

    /// Lets the job wait, from the moment the store accepts it and by the store's clock.
    ///
    /// `Duration::MAX` is for ever. Replaces an earlier [`not_before`](Job::not_before).
    pub fn with_delay(self, delay: Duration) -> Self {
        Job {
            start: Start::After(delay),
            ..self
        }
    }

    /// Lets the job wait for a date, by the store's clock. A date that has passed is now.
    ///
    /// Replaces an earlier [`with_delay`](Job::with_delay).
    pub fn not_before(self, date: WallTime) -> Self {
        Job {
            start: Start::At(date),
            ..self
        }
    }

    /// How often the job may be handed out before it becomes a dead letter. 0 counts as 1.
    pub fn with_max_attempts(self, attempts: u32) -> Self {
        Job {
            max_attempts: attempts.max(1),
            ..self
        }
    }

    /// The bytes for the worker.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The bytes for the worker, by value.
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// The idempotency key.
    pub fn key(&self) -> Option<&Bytes> {
        self.key.as_ref()
    }

    /// When the job may start. A job that a store hands back may start now.
    pub fn start(&self) -> Start {
        self.start
    }

    /// How often the job may be handed out; at least 1.
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }
}

/// Shows sizes only: a payload may be large, and may be nobody else's business.
impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("payload_bytes", &self.payload.len())
            .field("key_bytes", &self.key.as_ref().map(Bytes::len))
            .field("start", &self.start)
            .field("max_attempts", &self.max_attempts)
            .finish()
    }
}

/// When a job may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: no wait, a relative one, or an absolute one; stores match on it"
)]
pub enum Start {
    /// At once.
    Now,
    /// After a wait, from the moment the store accepts the job.
    After(Duration),
    /// At a date.
    At(WallTime),
}

/// A job's number in its store: given in rising order, and never given twice by one store, also not after
/// the job is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

impl JobId {
    /// The job of this number, for a number that came from [`as_u64`](JobId::as_u64).
    pub const fn from_u64(number: u64) -> Self {
        JobId(number)
    }

    /// The number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {}", self.0)
    }
}

/// What became of an enqueue: the job's id, and whether it is a new job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Enqueued {
    /// The job was added.
    New(JobId),
    /// A job with the same idempotency key is there, or was until lately. Nothing was added; the payload of the
    /// first one stands.
    Duplicate(JobId),
}

impl Enqueued {
    /// The id of the job that stands for the key.
    pub fn id(self) -> JobId {
        match self {
            Enqueued::New(id) | Enqueued::Duplicate(id) => id,
        }
    }

    /// Whether this call added the job.
    pub fn is_new(self) -> bool {
        matches!(self, Enqueued::New(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attempt_at_all_counts_as_one() {
        assert_eq!(Job::new("x").with_max_attempts(0).max_attempts(), 1);
    }

    #[test]
    fn debug_output_shows_neither_payload_nor_key() {
        let text = format!("{:?}", Job::new("marker-payload").with_key("marker-key"));
        assert!(!text.contains("marker"), "{text}");
    }
}
