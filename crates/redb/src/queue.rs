mod engine;
#[cfg(feature = "tokio")]
mod offload;
#[cfg(test)]
mod power_cut;
mod tables;
mod task;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use purlin_work_queue::{
    Clock, DeadLetter, EnqueueError, Enqueued, Error, Job, JobId, JobStatus, LeaseError, LeaseId,
    LeaseRequest, Leased, Limits, Meter, Nack, Nacked, QueueStore, Reading, Refusal, Stats,
    SystemClock,
};

use self::engine::Engine;
#[cfg(feature = "tokio")]
pub use self::offload::OffloadedQueue;
use crate::OpenError;

/// A work queue in one file, whose acknowledgements survive a crash.
///
/// Its own methods block: each that changes something waits for the disk, and callers on several threads share the
/// wait. The index of the jobs is in memory, some 300 bytes a job; payloads are on the disk alone, and are read when a
/// job is handed out.
///
/// As a [`QueueStore`] its futures do all of their work in their first poll and block the thread that polls them, which
/// is fine on a thread of one's own. Among tasks of tokio use `OffloadedQueue` (feature `tokio`).
///
/// The file belongs to one process at a time. A `path.lock` stands beside it while it is open, and stays, empty.
///
/// ```
/// use std::time::Duration;
/// use purlin_redb::RedbQueue;
/// use purlin_work_queue::{Job, LeaseRequest};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("queue.redb");
/// let queue = RedbQueue::open(&path)?;
/// queue.enqueue(Job::new("mail for order 17").with_key("order-17"))?;
/// drop(queue); // Or the power goes out.
///
/// let queue = RedbQueue::open(&path)?;
/// let leased = queue.lease(&LeaseRequest::new("mailer", Duration::from_secs(30)))?.remove(0);
/// assert_eq!(leased.job().payload(), "mail for order 17");
/// queue.ack(leased.lease())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Clocks
///
/// While the file is open, leases and waits are measured by a monotonic clock, and setting the wall clock changes
/// nothing. Over a restart only the wall clock can tell how much time went by: set forward, leases and waits end early;
/// set back, they may start over, and never become longer than they were. A job enqueued with
/// [`not_before`](Job::not_before) waits for its date whatever happens.
pub struct RedbQueue<C = SystemClock> {
    engine: Engine<C>,
}

/// Opens a [`RedbQueue`] with other than the usual settings.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `open`"]
pub struct RedbQueueBuilder<C = SystemClock> {
    limits: Limits,
    cache_bytes: usize,
    clock: C,
}

impl RedbQueueBuilder {
    fn new() -> Self {
        RedbQueueBuilder {
            limits: Limits::default(),
            cache_bytes: DEFAULT_CACHE_BYTES,
            clock: SystemClock::new(),
        }
    }
}

impl<C> RedbQueueBuilder<C> {
    /// Where the queue ends. A file that was filled under higher limits keeps what it has and takes no more.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How much of the file the engine keeps in memory: 32 MiB unless told otherwise. A queue reads little twice, so
    /// more is seldom worth it.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Another clock than the system's.
    pub fn clock<D>(self, clock: D) -> RedbQueueBuilder<D> {
        RedbQueueBuilder {
            limits: self.limits,
            cache_bytes: self.cache_bytes,
            clock,
        }
    }
}

impl<C: Clock> RedbQueueBuilder<C> {
    /// Opens the queue in the file at `path`, or makes it. The directory must be there.
    ///
    /// It reads the index of all jobs, which takes a second or so for a million; after a crash the engine first checks
    /// the whole file.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<RedbQueue<C>, OpenError> {
        let engine = Engine::open(path.as_ref(), self.limits, self.cache_bytes, self.clock)?;
        Ok(RedbQueue { engine })
    }
}

/// A few thousand pages: the upper levels of the trees, and the leaves at both ends where a queue is at work.
const DEFAULT_CACHE_BYTES: usize = 32 << 20;

impl RedbQueue {
    /// Opens the queue in the file at `path`, or makes it, with the usual settings.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        RedbQueue::builder().open(path)
    }

    /// For other than the usual settings.
    pub fn builder() -> RedbQueueBuilder {
        RedbQueueBuilder::new()
    }
}

impl<C: Clock> RedbQueue<C> {
    /// See [`QueueStore::enqueue`]. Blocks for a commit.
    ///
    /// # Errors
    ///
    /// [`EnqueueError`] with the job: the queue is full, the job too large, or the file failed.
    pub fn enqueue(&self, job: Job) -> Result<Enqueued, EnqueueError<Job>> {
        self.enqueue_all(vec![job])
            .map(|enqueued| enqueued[0])
            .map_err(|error| {
                let (mut jobs, refusal) = error.into_parts();
                EnqueueError::new(jobs.remove(0), refusal)
            })
    }

    /// See [`QueueStore::enqueue_all`]. Blocks for a commit, one for all of the jobs.
    ///
    /// # Errors
    ///
    /// [`EnqueueError`] with the jobs: there is no room for all of them, one is too large, or the file failed.
    pub fn enqueue_all(&self, jobs: Vec<Job>) -> Result<Vec<Enqueued>, EnqueueError<Vec<Job>>> {
        // Shared with the commit, which may run on another thread, so that a failure can hand them back.
        let jobs = Arc::new(jobs);
        let shared = Arc::clone(&jobs);
        let result = self
            .engine
            .run(move |ledger, now, tables| ledger.enqueue(now, &shared, tables));
        let refusal = match result {
            Ok(Ok(enqueued)) => return Ok(enqueued),
            Ok(Err(refusal)) => refusal,
            Err(error) => Refusal::Store(error),
        };
        let jobs = Arc::try_unwrap(jobs).unwrap_or_else(|shared| (*shared).clone());
        Err(EnqueueError::new(jobs, refusal))
    }

    /// See [`QueueStore::lease`]. Blocks for a commit if there is a job.
    ///
    /// # Errors
    ///
    /// [`Error`] if the file failed.
    pub fn lease(&self, request: &LeaseRequest) -> Result<Vec<Leased>, Error> {
        let request = request.clone();
        self.engine
            .run(move |ledger, now, tables| ledger.lease(now, &request, tables))
    }

    /// See [`QueueStore::ack`]. Blocks for a commit.
    ///
    /// # Errors
    ///
    /// [`LeaseError`] if the lease is not valid, or the file failed.
    pub fn ack(&self, lease: LeaseId) -> Result<(), LeaseError> {
        self.engine
            .run(move |ledger, now, tables| ledger.ack(now, lease, tables))
            .map_err(LeaseError::Store)?
    }

    /// See [`QueueStore::nack`]. Blocks for a commit.
    ///
    /// # Errors
    ///
    /// [`LeaseError`] if the lease is not valid, or the file failed.
    pub fn nack(&self, lease: LeaseId, nack: Nack) -> Result<Nacked, LeaseError> {
        self.engine
            .run(move |ledger, now, tables| ledger.nack(now, lease, nack, tables))
            .map_err(LeaseError::Store)?
    }

    /// See [`QueueStore::extend`]. Blocks for a commit.
    ///
    /// # Errors
    ///
    /// [`LeaseError`] if the lease is not valid, or the file failed.
    pub fn extend(&self, lease: LeaseId, duration: Duration) -> Result<Duration, LeaseError> {
        self.engine
            .run(move |ledger, now, tables| ledger.extend(now, lease, duration, tables))
            .map_err(LeaseError::Store)?
    }

    /// See [`QueueStore::status`].
    ///
    /// # Errors
    ///
    /// [`Error`] if the file failed.
    pub fn status(&self, job: JobId) -> Result<Option<JobStatus>, Error> {
        self.engine
            .run(move |ledger, now, tables| ledger.status(now, job, tables))
    }

    /// See [`QueueStore::dead_letters`].
    ///
    /// # Errors
    ///
    /// [`Error`] if the file failed.
    pub fn dead_letters(&self, after: Option<JobId>, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.engine
            .run(move |ledger, now, tables| ledger.dead_letters(now, after, max, tables))
    }

    /// See [`QueueStore::redrive`]. Blocks for a commit.
    ///
    /// # Errors
    ///
    /// [`Error`] if the file failed.
    pub fn redrive(&self, job: JobId) -> Result<bool, Error> {
        self.engine
            .run(move |ledger, now, tables| ledger.redrive(now, job, tables))
    }

    /// See [`QueueStore::discard`]. Blocks for a commit.
    ///
    /// # Errors
    ///
    /// [`Error`] if the file failed.
    pub fn discard(&self, job: JobId) -> Result<bool, Error> {
        self.engine
            .run(move |ledger, now, tables| ledger.discard(now, job, tables))
    }

    /// See [`QueueStore::next_due`].
    ///
    /// # Errors
    ///
    /// [`Error`] if the file failed.
    pub fn next_due(&self) -> Result<Option<Duration>, Error> {
        self.engine
            .run(|ledger, now, tables| ledger.next_due(now, tables))
    }

    /// How full the queue is, and what has happened since it was opened. As of the last commit, and without waiting
    /// for the one that runs.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }
}

/// Each future does its work in its first poll, and blocks the thread that polls it; one that is dropped before has no
/// effect.
impl<C: Clock + Send + Sync> QueueStore for RedbQueue<C> {
    async fn enqueue(&self, job: Job) -> Result<Enqueued, EnqueueError<Job>> {
        self.enqueue(job)
    }

    async fn enqueue_all(&self, jobs: Vec<Job>) -> Result<Vec<Enqueued>, EnqueueError<Vec<Job>>> {
        self.enqueue_all(jobs)
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<Leased>, Error> {
        self.lease(&request)
    }

    async fn ack(&self, lease: LeaseId) -> Result<(), LeaseError> {
        self.ack(lease)
    }

    async fn nack(&self, lease: LeaseId, nack: Nack) -> Result<Nacked, LeaseError> {
        self.nack(lease, nack)
    }

    async fn extend(&self, lease: LeaseId, duration: Duration) -> Result<Duration, LeaseError> {
        self.extend(lease, duration)
    }

    async fn status(&self, job: JobId) -> Result<Option<JobStatus>, Error> {
        self.status(job)
    }

    async fn dead_letters(
        &self,
        after: Option<JobId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        self.dead_letters(after, max)
    }

    async fn redrive(&self, job: JobId) -> Result<bool, Error> {
        self.redrive(job)
    }

    async fn discard(&self, job: JobId) -> Result<bool, Error> {
        self.discard(job)
    }

    async fn next_due(&self) -> Result<Option<Duration>, Error> {
        self.next_due()
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.engine.changed()
    }
}

impl<C: Clock> Meter for RedbQueue<C> {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        self.stats().read(each);
    }
}

impl<C> fmt::Debug for RedbQueue<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbQueue")
            .field("path", &self.engine.path())
            .finish_non_exhaustive()
    }
}
