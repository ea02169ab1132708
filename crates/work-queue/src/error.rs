use core::fmt;
use core::time::Duration;
use std::error::Error as StdError;

use purlin_core::Retry;

use crate::{Job, LeaseId};

/// A store that could not do what it was asked: a disk, a network, a file.
///
/// The memory store never answers with one.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    retry: Retry,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store did not answer, or refused to for now.
    Unavailable,
    /// The medium under the store failed: a full disk, an I/O error. Nothing was acknowledged.
    Storage,
    /// The store gave up after an earlier failure, because it can no longer tell what is on the medium. Open it
    /// again.
    Closed,
    /// What the store holds is not what it wrote.
    Corrupt,
}

impl Error {
    /// For a store: a failure with what the caller may do about it.
    pub fn new(kind: ErrorKind, retry: Retry) -> Self {
        Error {
            kind,
            retry,
            source: None,
        }
    }

    /// Adds what caused the failure.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error {
            source: Some(source.into()),
            ..self
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether, and when, the call may be repeated.
    pub fn retry(&self) -> Retry {
        self.retry
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ErrorKind::Unavailable => "the queue's store is not available",
            ErrorKind::Storage => "the medium under the queue failed",
            ErrorKind::Closed => {
                "the queue gave up after an earlier failure and must be opened again"
            }
            ErrorKind::Corrupt => "the queue's store is damaged",
        })
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// Jobs that were not enqueued, and why.
#[derive(Debug)]
pub struct EnqueueError<T = Job> {
    rejected: Box<T>,
    refusal: Refusal,
}

impl<T> EnqueueError<T> {
    /// For a store: `rejected` is not in the queue because of `refusal`.
    pub fn new(rejected: T, refusal: Refusal) -> Self {
        EnqueueError {
            rejected: Box::new(rejected),
            refusal,
        }
    }

    /// Why.
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Whether, and when, to try again.
    pub fn retry(&self) -> Retry {
        self.refusal.retry()
    }

    /// What was not enqueued: one job, or all of a batch.
    pub fn into_rejected(self) -> T {
        *self.rejected
    }

    /// What was not enqueued, and why.
    pub fn into_parts(self) -> (T, Refusal) {
        (*self.rejected, self.refusal)
    }
}

impl<T> fmt::Display for EnqueueError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the job was not enqueued")
    }
}

impl<T: fmt::Debug> StdError for EnqueueError<T> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.refusal)
    }
}

/// Why a store took no job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The queue is full. Nothing of a batch was added.
    #[error("the queue is full with {jobs} jobs and {bytes} bytes")]
    Full {
        /// Jobs in the queue.
        jobs: usize,
        /// Bytes in the queue.
        bytes: usize,
    },
    /// The payload is larger than the queue ever takes.
    #[error("the payload has {bytes} bytes, and the limit is {limit}")]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// Bytes a payload may have.
        limit: usize,
    },
    /// The idempotency key is longer than [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES).
    #[error(
        "the idempotency key has {bytes} bytes, and the limit is {}",
        crate::MAX_KEY_BYTES
    )]
    KeyTooLong {
        /// Bytes of the key.
        bytes: usize,
    },
    /// The store failed. Unless its advice says [`Safe`](purlin_core::Safety::Safe), the job may be in the queue
    /// nevertheless; with an idempotency key it can be enqueued again without harm.
    #[error("the store failed while enqueueing")]
    Store(#[source] Error),
}

impl Refusal {
    /// Whether, and when, to try again. A full queue drains, so the same call may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Refusal::Full { .. } => Retry::safe_after(FULL_WAIT),
            Refusal::TooLarge { .. } | Refusal::KeyTooLong { .. } => Retry::NEVER,
            Refusal::Store(error) => error.retry(),
        }
    }
}

/// How long to leave a full queue alone: long enough for some jobs to be done, short beside any client's timeout.
const FULL_WAIT: Duration = Duration::from_millis(100);

/// Why a lease could not be settled or extended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// The lease has ended, was settled before, or was never given. Nothing was changed; another worker may have
    /// the job now. Do not repeat the call: make the job's effect idempotent instead.
    #[error("{lease} is lost")]
    LeaseLost {
        /// The lease that is lost.
        lease: LeaseId,
    },
    /// The store failed. [`Error::retry`] says whether the call may be repeated. One that took effect before its
    /// answer was lost is answered with `LeaseLost` when it is repeated.
    #[error("the store failed while settling")]
    Store(#[source] Error),
}

impl LeaseError {
    /// Whether, and when, to try again.
    pub fn retry(&self) -> Retry {
        match self {
            LeaseError::LeaseLost { .. } => Retry::NEVER,
            LeaseError::Store(error) => error.retry(),
        }
    }

    /// Whether the lease is lost, as opposed to the store failing.
    pub fn is_lost(&self) -> bool {
        matches!(self, LeaseError::LeaseLost { .. })
    }
}
