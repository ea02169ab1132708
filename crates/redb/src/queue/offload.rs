use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use purlin_work_queue::{
    Clock, DeadLetter, EnqueueError, Enqueued, Error, ErrorKind, Job, JobId, JobStatus, LeaseError,
    LeaseId, LeaseRequest, Leased, Meter, Nack, Nacked, QueueStore, Reading, Refusal, Retry, Stats,
    SystemClock,
};

use super::RedbQueue;

/// A [`RedbQueue`] for async callers: each call runs on one of tokio's blocking threads, so that no task waits for
/// another's disk. Clones are the same queue.
///
/// Calls that wait at the same moment share a commit, as they do on threads of one's own. Each occupies a blocking
/// thread meanwhile, of which tokio has 512 unless told otherwise; more calls than that wait for a thread.
///
/// ```
/// use purlin_redb::{OffloadedQueue, RedbQueue};
/// use purlin_work_queue::{Job, QueueStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("queue.redb");
/// let queue = OffloadedQueue::new(RedbQueue::open(&path)?);
/// queue.enqueue(Job::new("hello")).await?;
/// assert_eq!(queue.stats().ready, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// A call takes its thread when its future is first polled, and runs to its end from there: dropping the future loses
/// the answer and not the effect.
///
/// # Panics
///
/// The futures panic outside a tokio runtime.
pub struct OffloadedQueue<C = SystemClock> {
    queue: Arc<RedbQueue<C>>,
}

impl<C> OffloadedQueue<C> {
    /// The queue, for async callers.
    pub fn new(queue: impl Into<Arc<RedbQueue<C>>>) -> Self {
        OffloadedQueue {
            queue: queue.into(),
        }
    }

    /// The queue itself, whose methods block.
    pub fn blocking(&self) -> &Arc<RedbQueue<C>> {
        &self.queue
    }
}

impl<C: Clock> OffloadedQueue<C> {
    /// See [`RedbQueue::stats`]. It does not wait.
    pub fn stats(&self) -> Stats {
        self.queue.stats()
    }
}

impl<C: Clock + Send + Sync + 'static> OffloadedQueue<C> {
    async fn run<R: Send + 'static>(
        &self,
        call: impl FnOnce(&RedbQueue<C>) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let queue = Arc::clone(&self.queue);
        let joined = tokio::task::spawn_blocking(move || call(&queue)).await;
        // The runtime is ending, or the engine has panicked. Nobody knows what was done.
        joined.map_err(|error| Error::new(ErrorKind::Closed, Retry::NEVER).with_source(error))
    }
}

impl<C: Clock + Send + Sync + 'static> QueueStore for OffloadedQueue<C> {
    async fn enqueue(&self, job: Job) -> Result<Enqueued, EnqueueError<Job>> {
        let kept = job.clone();
        match self.run(|queue| queue.enqueue(job)).await {
            Ok(result) => result,
            Err(error) => Err(EnqueueError::new(kept, Refusal::Store(error))),
        }
    }

    async fn enqueue_all(&self, jobs: Vec<Job>) -> Result<Vec<Enqueued>, EnqueueError<Vec<Job>>> {
        let kept = jobs.clone();
        match self.run(|queue| queue.enqueue_all(jobs)).await {
            Ok(result) => result,
            Err(error) => Err(EnqueueError::new(kept, Refusal::Store(error))),
        }
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<Leased>, Error> {
        self.run(move |queue| queue.lease(&request)).await?
    }

    async fn ack(&self, lease: LeaseId) -> Result<(), LeaseError> {
        let result = self.run(move |queue| queue.ack(lease)).await;
        result.map_err(LeaseError::Store)?
    }

    async fn nack(&self, lease: LeaseId, nack: Nack) -> Result<Nacked, LeaseError> {
        let result = self.run(move |queue| queue.nack(lease, nack)).await;
        result.map_err(LeaseError::Store)?
    }

    async fn extend(&self, lease: LeaseId, duration: Duration) -> Result<Duration, LeaseError> {
        let result = self.run(move |queue| queue.extend(lease, duration)).await;
        result.map_err(LeaseError::Store)?
    }

    async fn status(&self, job: JobId) -> Result<Option<JobStatus>, Error> {
        self.run(move |queue| queue.status(job)).await?
    }

    async fn dead_letters(
        &self,
        after: Option<JobId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        self.run(move |queue| queue.dead_letters(after, max))
            .await?
    }

    async fn redrive(&self, job: JobId) -> Result<bool, Error> {
        self.run(move |queue| queue.redrive(job)).await?
    }

    async fn discard(&self, job: JobId) -> Result<bool, Error> {
        self.run(move |queue| queue.discard(job)).await?
    }

    async fn next_due(&self) -> Result<Option<Duration>, Error> {
        self.run(|queue| queue.next_due()).await?
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.queue.engine.changed()
    }
}

impl<C: Clock> Meter for OffloadedQueue<C> {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        self.stats().read(each);
    }
}

impl<C> Clone for OffloadedQueue<C> {
    fn clone(&self) -> Self {
        OffloadedQueue {
            queue: Arc::clone(&self.queue),
        }
    }
}

impl<C> fmt::Debug for OffloadedQueue<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffloadedQueue")
            .field("queue", &self.queue)
            .finish()
    }
}
