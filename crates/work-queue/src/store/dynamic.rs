use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use super::QueueStore;
use crate::{
    DeadLetter, EnqueueError, Enqueued, Error, Job, JobId, JobStatus, LeaseError, LeaseId,
    LeaseRequest, Leased, Nack, Nacked,
};

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`QueueStore`] with boxed futures, for `Arc<dyn DynQueueStore>`. Every `QueueStore` is one, and the methods mean
/// what they mean there. Each call allocates its future.
///
/// An `Arc<dyn DynQueueStore>` is a `QueueStore` again, so whatever takes one takes the other.
///
/// ```
/// use std::sync::Arc;
/// use purlin_work_queue::{DynQueueStore, Enqueued, EnqueueError, Job, Limits, MemoryQueue};
///
/// let queue: Arc<dyn DynQueueStore> = Arc::new(MemoryQueue::new(Limits::default()));
///
/// async fn greet(queue: &dyn DynQueueStore) -> Result<Enqueued, EnqueueError> {
///     queue.enqueue_dyn(Job::new("hello")).await
/// }
/// # drop(greet(&*queue));
/// ```
pub trait DynQueueStore: Send + Sync {
    /// See [`QueueStore::enqueue`].
    fn enqueue_dyn(&self, job: Job) -> BoxFuture<'_, Result<Enqueued, EnqueueError<Job>>>;
    /// See [`QueueStore::enqueue_all`].
    fn enqueue_all_dyn(
        &self,
        jobs: Vec<Job>,
    ) -> BoxFuture<'_, Result<Vec<Enqueued>, EnqueueError<Vec<Job>>>>;
    /// See [`QueueStore::lease`].
    fn lease_dyn(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Vec<Leased>, Error>>;
    /// See [`QueueStore::ack`].
    fn ack_dyn(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), LeaseError>>;
    /// See [`QueueStore::nack`].
    fn nack_dyn(&self, lease: LeaseId, nack: Nack) -> BoxFuture<'_, Result<Nacked, LeaseError>>;
    /// See [`QueueStore::extend`].
    fn extend_dyn(
        &self,
        lease: LeaseId,
        duration: Duration,
    ) -> BoxFuture<'_, Result<Duration, LeaseError>>;
    /// See [`QueueStore::status`].
    fn status_dyn(&self, job: JobId) -> BoxFuture<'_, Result<Option<JobStatus>, Error>>;
    /// See [`QueueStore::dead_letters`].
    fn dead_letters_dyn(
        &self,
        after: Option<JobId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>>;
    /// See [`QueueStore::redrive`].
    fn redrive_dyn(&self, job: JobId) -> BoxFuture<'_, Result<bool, Error>>;
    /// See [`QueueStore::discard`].
    fn discard_dyn(&self, job: JobId) -> BoxFuture<'_, Result<bool, Error>>;
    /// See [`QueueStore::next_due`].
    fn next_due_dyn(&self) -> BoxFuture<'_, Result<Option<Duration>, Error>>;
    /// See [`QueueStore::changed`].
    fn changed_dyn(&self) -> BoxFuture<'_, ()>;
}

impl<S: QueueStore> DynQueueStore for S {
    fn enqueue_dyn(&self, job: Job) -> BoxFuture<'_, Result<Enqueued, EnqueueError<Job>>> {
        Box::pin(self.enqueue(job))
    }

    fn enqueue_all_dyn(
        &self,
        jobs: Vec<Job>,
    ) -> BoxFuture<'_, Result<Vec<Enqueued>, EnqueueError<Vec<Job>>>> {
        Box::pin(self.enqueue_all(jobs))
    }

    fn lease_dyn(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Vec<Leased>, Error>> {
        Box::pin(self.lease(request))
    }

    fn ack_dyn(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), LeaseError>> {
        Box::pin(self.ack(lease))
    }

    fn nack_dyn(&self, lease: LeaseId, nack: Nack) -> BoxFuture<'_, Result<Nacked, LeaseError>> {
        Box::pin(self.nack(lease, nack))
    }

    fn extend_dyn(
        &self,
        lease: LeaseId,
        duration: Duration,
    ) -> BoxFuture<'_, Result<Duration, LeaseError>> {
        Box::pin(self.extend(lease, duration))
    }

    fn status_dyn(&self, job: JobId) -> BoxFuture<'_, Result<Option<JobStatus>, Error>> {
        Box::pin(self.status(job))
    }

    fn dead_letters_dyn(
        &self,
        after: Option<JobId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>> {
        Box::pin(self.dead_letters(after, max))
    }

    fn redrive_dyn(&self, job: JobId) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.redrive(job))
    }

    fn discard_dyn(&self, job: JobId) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.discard(job))
    }

    fn next_due_dyn(&self) -> BoxFuture<'_, Result<Option<Duration>, Error>> {
        Box::pin(self.next_due())
    }

    fn changed_dyn(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.changed())
    }
}

impl QueueStore for dyn DynQueueStore + '_ {
    fn enqueue(
        &self,
        job: Job,
    ) -> impl Future<Output = Result<Enqueued, EnqueueError<Job>>> + Send {
        self.enqueue_dyn(job)
    }

    fn enqueue_all(
        &self,
        jobs: Vec<Job>,
    ) -> impl Future<Output = Result<Vec<Enqueued>, EnqueueError<Vec<Job>>>> + Send {
        self.enqueue_all_dyn(jobs)
    }

    fn lease(
        &self,
        request: LeaseRequest,
    ) -> impl Future<Output = Result<Vec<Leased>, Error>> + Send {
        self.lease_dyn(request)
    }

    fn ack(&self, lease: LeaseId) -> impl Future<Output = Result<(), LeaseError>> + Send {
        self.ack_dyn(lease)
    }

    fn nack(
        &self,
        lease: LeaseId,
        nack: Nack,
    ) -> impl Future<Output = Result<Nacked, LeaseError>> + Send {
        self.nack_dyn(lease, nack)
    }

    fn extend(
        &self,
        lease: LeaseId,
        duration: Duration,
    ) -> impl Future<Output = Result<Duration, LeaseError>> + Send {
        self.extend_dyn(lease, duration)
    }

    fn status(&self, job: JobId) -> impl Future<Output = Result<Option<JobStatus>, Error>> + Send {
        self.status_dyn(job)
    }

    fn dead_letters(
        &self,
        after: Option<JobId>,
        max: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, Error>> + Send {
        self.dead_letters_dyn(after, max)
    }

    fn redrive(&self, job: JobId) -> impl Future<Output = Result<bool, Error>> + Send {
        self.redrive_dyn(job)
    }

    fn discard(&self, job: JobId) -> impl Future<Output = Result<bool, Error>> + Send {
        self.discard_dyn(job)
    }

    fn next_due(&self) -> impl Future<Output = Result<Option<Duration>, Error>> + Send {
        self.next_due_dyn()
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.changed_dyn()
    }
}
