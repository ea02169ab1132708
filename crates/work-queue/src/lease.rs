use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use crate::text::cut;
use crate::{Job, JobId};

/// The right to work on one job until the lease ends, and the number that proves it.
///
/// The *fencing number* rises with every lease a store hands out, over all jobs and all restarts. Pass it on to
/// whatever the job writes to, and let that refuse a number below the highest it has seen for the same job: then a
/// worker that was paused past its lease cannot undo the work of the one that took over.
///
/// A lease is data, and may travel to another process and back. It guards against mistakes, not against an
/// attacker: who can reach the store can guess it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId {
    job: JobId,
    fence: u64,
}

impl LeaseId {
    /// The lease of these numbers, for a store, or for numbers that came from another process.
    pub const fn new(job: JobId, fence: u64) -> Self {
        LeaseId { job, fence }
    }

    /// The job that is leased.
    pub const fn job(self) -> JobId {
        self.job
    }

    /// The fencing number.
    pub const fn fence(self) -> u64 {
        self.fence
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lease {} of {}", self.fence, self.job)
    }
}

/// Who wants jobs, how many, and for how long.
///
/// ```
/// use std::time::Duration;
/// use purlin_work_queue::LeaseRequest;
///
/// let request = LeaseRequest::new("mailer-3", Duration::from_secs(30)).with_max(10);
/// assert_eq!(request.max(), 10);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a request does nothing until it is sent to a store"]
pub struct LeaseRequest {
    worker: Arc<str>,
    duration: Duration,
    max: usize,
}

impl LeaseRequest {
    /// A request for one job.
    ///
    /// `worker` is for people who look at the queue, and nothing is decided by it: two workers of one name are
    /// told apart by their leases. A name longer than [`MAX_WORKER_BYTES`](crate::MAX_WORKER_BYTES) is cut.
    ///
    /// The lease runs from the hand-out, by the store's clock. A store may grant less than is asked; the lease
    /// says how much. A lease of zero has ended when it arrives.
    pub fn new(worker: impl AsRef<str>, duration: Duration) -> Self {
        LeaseRequest {
            worker: cut(worker.as_ref(), crate::MAX_WORKER_BYTES).into(),
            duration,
            max: 1,
        }
    }

    /// A request for up to `max` jobs. A store hands out at most [`MAX_BATCH`](crate::MAX_BATCH) in one call, and
    /// none for a `max` of 0.
    pub fn with_max(self, max: usize) -> Self {
        LeaseRequest { max, ..self }
    }

    /// The worker's name.
    pub fn worker(&self) -> &Arc<str> {
        &self.worker
    }

    /// How long the leases are to last.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// How many jobs to hand out at most.
    pub fn max(&self) -> usize {
        self.max
    }
}

/// A job that has been handed out.
///
/// Dropping it does nothing to the lease, which runs to its end: settle it with
/// [`ack`](crate::QueueStore::ack) or [`nack`](crate::QueueStore::nack).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    job: Job,
    lease: LeaseId,
    attempt: u32,
    granted: Duration,
}

impl Leased {
    /// For a store: the job under `lease`, in its attempt number `attempt` counted from 1, for `granted` from now.
    pub fn new(job: Job, lease: LeaseId, attempt: u32, granted: Duration) -> Self {
        Leased {
            job,
            lease,
            attempt,
            granted,
        }
    }

    /// The job's id.
    pub fn id(&self) -> JobId {
        self.lease.job
    }

    /// The job: payload, key, and how often it may be tried.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The job, by value. Keep the [`lease`](Leased::lease) to settle it.
    pub fn into_job(self) -> Job {
        self.job
    }

    /// The lease, for `ack`, `nack` and `extend`.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// The fencing number; see [`LeaseId`].
    pub fn fence(&self) -> u64 {
        self.lease.fence
    }

    /// Which attempt this is, counted from 1. An attempt that ended without a word from its worker counts.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether there will be no other attempt after this one.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.job.max_attempts()
    }

    /// How long the lease lasts from the hand-out. A worker counts from the moment before it asked, to be on the
    /// safe side.
    pub fn granted(&self) -> Duration {
        self.granted
    }
}
