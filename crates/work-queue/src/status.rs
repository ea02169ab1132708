use core::time::Duration;
use std::sync::Arc;

use crate::{Job, JobId};

/// How a job stands. A job that is done, or was discarded, has no status.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStatus {
    /// Where it is.
    pub state: JobState,
    /// How often it has been handed out, without the attempts that were released.
    pub attempts: u32,
}

impl JobStatus {
    /// For a store: a job in `state` after `attempts` attempts.
    pub fn new(state: JobState, attempts: u32) -> Self {
        JobStatus { state, attempts }
    }
}

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobState {
    /// The next worker that asks may have it.
    Ready,
    /// It waits, for its first attempt or for the next one.
    Delayed {
        /// How long still, by the store's clock.
        due_in: Duration,
    },
    /// A worker has it.
    Leased {
        /// The name the worker gave.
        worker: Arc<str>,
        /// How long still, by the store's clock.
        ends_in: Duration,
    },
    /// It will not be tried again unless it is [redriven](crate::QueueStore::redrive).
    Dead {
        /// Why.
        reason: DeadReason,
    },
}

/// Why a job became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadReason {
    /// The worker reported its last attempt as failed.
    Failed,
    /// The lease of its last attempt ended without a word from the worker: it crashed, was cut off, or was too
    /// slow. A job that kills whoever touches it ends here.
    Lost,
    /// A worker said that it can never be done.
    Rejected,
}

/// A job that will not be tried again by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    id: JobId,
    job: Job,
    attempts: u32,
    reason: DeadReason,
    error: Option<Arc<str>>,
}

impl DeadLetter {
    /// For a store: `job` is dead for `reason` after `attempts` attempts, and its worker said `error` last.
    pub fn new(
        id: JobId,
        job: Job,
        attempts: u32,
        reason: DeadReason,
        error: Option<Arc<str>>,
    ) -> Self {
        DeadLetter {
            id,
            job,
            attempts,
            reason,
            error,
        }
    }

    /// The job's id, for [`redrive`](crate::QueueStore::redrive) and [`discard`](crate::QueueStore::discard).
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The job, by value.
    pub fn into_job(self) -> Job {
        self.job
    }

    /// How often it was tried.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Why it is dead.
    pub fn reason(&self) -> DeadReason {
        self.reason
    }

    /// The last error a worker reported, which may be of an earlier attempt than the last.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}
