use core::future::Future;
use core::time::Duration;

use bytes::Bytes;
use purlin_core::sync::Mutex;
use purlin_core::{Clock, Meter, Reading, SystemClock};

use crate::embedded::{JobRecord, Ledger, Medium, Moment, Signal, Until};
use crate::{
    DeadLetter, EnqueueError, Enqueued, Error, Job, JobId, JobStatus, LeaseError, LeaseId,
    LeaseRequest, Leased, Limits, Nack, Nacked, QueueStore, Stats,
};

/// A queue in memory: as fast as a lock, and gone with the process.
///
/// It is the reference for what every other store does. Take it for work that may be lost with the process that asked
/// for it, and for tests; take `purlin-redb` where an acknowledged job must survive a crash.
///
/// Its own methods are those of [`QueueStore`] without the waiting, since nothing here waits. (Where the trait is in
/// scope, a call through an `Arc` is the trait's; `(*queue).enqueue(job)` is the queue's own.) One lock is held for the
/// length of an operation, and nothing of the caller's runs under it: clocks are read before, payloads are dropped
/// after.
///
/// ```
/// use std::time::Duration;
/// use purlin_work_queue::{Job, LeaseRequest, Limits, ManualClock, MemoryQueue};
///
/// let clock = ManualClock::new();
/// let queue = MemoryQueue::with_clock(Limits::default(), clock.clone());
/// queue.enqueue(Job::new("hello")).unwrap();
///
/// let request = LeaseRequest::new("a worker", Duration::from_secs(30));
/// let first = queue.lease(&request).remove(0);
///
/// // The worker says nothing for 30 seconds. Its job goes to another one, and its lease is worth nothing.
/// clock.advance(Duration::from_secs(30));
/// let second = queue.lease(&request).remove(0);
/// assert_eq!((second.id(), second.attempt()), (first.id(), 2));
/// assert!(queue.ack(first.lease()).is_err());
/// queue.ack(second.lease()).unwrap();
/// ```
#[derive(Debug)]
pub struct MemoryQueue<C = SystemClock> {
    ledger: Mutex<Ledger<Bytes>>,
    signal: Signal,
    clock: C,
}

impl MemoryQueue {
    /// An empty queue by the system's clock.
    pub fn new(limits: Limits) -> Self {
        MemoryQueue::with_clock(limits, SystemClock::new())
    }
}

impl<C: Clock> MemoryQueue<C> {
    /// An empty queue by a clock of the caller's.
    pub fn with_clock(limits: Limits, clock: C) -> Self {
        MemoryQueue {
            ledger: Mutex::new(Ledger::new(limits, Moment::of(&clock))),
            signal: Signal::new(),
            clock,
        }
    }

    /// See [`QueueStore::enqueue`].
    ///
    /// # Errors
    ///
    /// [`EnqueueError`] with the job, if the queue is full or the job too large.
    pub fn enqueue(&self, job: Job) -> Result<Enqueued, EnqueueError<Job>> {
        let jobs = [job];
        match self.run(|ledger, now, medium| ledger.enqueue(now, &jobs, medium)) {
            Ok(enqueued) => Ok(enqueued[0]),
            Err(refusal) => {
                let [job] = jobs;
                Err(EnqueueError::new(job, refusal))
            }
        }
    }

    /// See [`QueueStore::enqueue_all`].
    ///
    /// # Errors
    ///
    /// [`EnqueueError`] with all of the jobs, if there is no room for all of them, or one is too large.
    pub fn enqueue_all(&self, jobs: Vec<Job>) -> Result<Vec<Enqueued>, EnqueueError<Vec<Job>>> {
        self.run(|ledger, now, medium| ledger.enqueue(now, &jobs, medium))
            .map_err(|refusal| EnqueueError::new(jobs, refusal))
    }

    /// See [`QueueStore::lease`].
    pub fn lease(&self, request: &LeaseRequest) -> Vec<Leased> {
        self.run(|ledger, now, medium| ledger.lease(now, request, medium))
    }

    /// See [`QueueStore::ack`].
    ///
    /// # Errors
    ///
    /// [`LeaseError::LeaseLost`] if the lease is not valid.
    pub fn ack(&self, lease: LeaseId) -> Result<(), LeaseError> {
        self.run(|ledger, now, medium| ledger.ack(now, lease, medium))
    }

    /// See [`QueueStore::nack`].
    ///
    /// # Errors
    ///
    /// [`LeaseError::LeaseLost`] if the lease is not valid.
    pub fn nack(&self, lease: LeaseId, nack: Nack) -> Result<Nacked, LeaseError> {
        self.run(|ledger, now, medium| ledger.nack(now, lease, nack, medium))
    }

    /// See [`QueueStore::extend`].
    ///
    /// # Errors
    ///
    /// [`LeaseError::LeaseLost`] if the lease is not valid.
    pub fn extend(&self, lease: LeaseId, duration: Duration) -> Result<Duration, LeaseError> {
        self.run(|ledger, now, medium| ledger.extend(now, lease, duration, medium))
    }

    /// See [`QueueStore::status`].
    pub fn status(&self, job: JobId) -> Option<JobStatus> {
        self.run(|ledger, now, medium| ledger.status(now, job, medium))
    }

    /// See [`QueueStore::dead_letters`].
    pub fn dead_letters(&self, after: Option<JobId>, max: usize) -> Vec<DeadLetter> {
        self.run(|ledger, now, medium| ledger.dead_letters(now, after, max, medium))
    }

    /// See [`QueueStore::redrive`].
    pub fn redrive(&self, job: JobId) -> bool {
        self.run(|ledger, now, medium| ledger.redrive(now, job, medium))
    }

    /// See [`QueueStore::discard`].
    pub fn discard(&self, job: JobId) -> bool {
        self.run(|ledger, now, medium| ledger.discard(now, job, medium))
    }

    /// See [`QueueStore::next_due`].
    pub fn next_due(&self) -> Option<Duration> {
        self.run(|ledger, now, medium| ledger.next_due(now, medium))
    }

    /// How full the queue is, and what has happened.
    pub fn stats(&self) -> Stats {
        self.run(|ledger, now, medium| {
            // So that leases which have ended by now are not shown as held.
            ledger.next_due(now, medium);
            ledger.stats()
        })
    }

    fn run<R>(&self, operation: impl FnOnce(&mut Ledger<Bytes>, Moment, &mut InMemory) -> R) -> R {
        let now = Moment::of(&self.clock);
        let mut medium = InMemory::default();
        let (result, news) = {
            let mut ledger = self.ledger.lock();
            let result = operation(&mut ledger, now, &mut medium);
            (result, ledger.take_news())
        };
        drop(medium);
        if news {
            self.signal.ring();
        }
        result
    }
}

/// Payloads stay in the ledger, and there is nothing to write.
#[derive(Default)]
struct InMemory {
    /// Payloads of jobs that have left, to be dropped after the lock: their buffers may be the caller's, with a drop of
    /// their own.
    gone: Vec<Bytes>,
}

impl Medium for InMemory {
    type Payload = Bytes;

    fn keep(&mut self, _id: JobId, job: &Job) -> Bytes {
        job.payload().clone()
    }

    fn payload(&mut self, _id: JobId, payload: &Bytes) -> Bytes {
        payload.clone()
    }

    fn forget(&mut self, _id: JobId, payload: Bytes) {
        self.gone.push(payload);
    }

    fn put(&mut self, _record: &JobRecord<'_>) {}
    fn put_key(&mut self, _key: &Bytes, _job: JobId, _until: Until) {}
    fn forget_key(&mut self, _key: &Bytes) {}
}

/// Each future does its work in its first poll and is ready then; one that is dropped before has no effect.
impl<C: Clock + Send + Sync> QueueStore for MemoryQueue<C> {
    async fn enqueue(&self, job: Job) -> Result<Enqueued, EnqueueError<Job>> {
        self.enqueue(job)
    }

    async fn enqueue_all(&self, jobs: Vec<Job>) -> Result<Vec<Enqueued>, EnqueueError<Vec<Job>>> {
        self.enqueue_all(jobs)
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<Leased>, Error> {
        Ok(self.lease(&request))
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
        Ok(self.status(job))
    }

    async fn dead_letters(
        &self,
        after: Option<JobId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.dead_letters(after, max))
    }

    async fn redrive(&self, job: JobId) -> Result<bool, Error> {
        Ok(self.redrive(job))
    }

    async fn discard(&self, job: JobId) -> Result<bool, Error> {
        Ok(self.discard(job))
    }

    async fn next_due(&self) -> Result<Option<Duration>, Error> {
        Ok(self.next_due())
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.signal.changed()
    }
}

impl<C: Clock> Meter for MemoryQueue<C> {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        self.stats().read(each);
    }
}
