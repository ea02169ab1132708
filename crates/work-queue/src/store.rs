//! The trait of every queue store, and its twin with boxed futures.

mod dynamic;
mod forward;

use core::future::Future;
use core::time::Duration;

pub use dynamic::{BoxFuture, DynQueueStore};

use crate::{
    DeadLetter, EnqueueError, Enqueued, Error, Job, JobId, JobStatus, LeaseError, LeaseId,
    LeaseRequest, Leased, Nack, Nacked,
};

/// A queue of jobs: memory, an embedded file, a server.
///
/// What an implementor promises, and the suite in `conformance` (feature `test-util`) checks:
///
/// 1. **Acknowledged means kept.** Once `enqueue` has returned `Ok`, the job is in the store, as durably as the store
///    says it keeps anything, and leaves it only by `ack` or `discard`.
/// 2. **One valid lease a job.** At each instant by the store's clock at most one lease of a job is valid. Fencing
///    numbers rise with every lease the store hands out, over restarts too.
/// 3. **A lease is valid from its hand-out until its end**, by the store's clock; the clocks of workers and producers
///    decide nothing. `extend` moves the end to later, never to earlier.
/// 4. **A lost lease changes nothing.** `ack`, `nack` and `extend` with a lease that has ended, was settled or never
///    was, are answered with [`LeaseError::LeaseLost`].
/// 5. **Every hand-out counts**, but those that were [released](Nack::release). A lease that ends without a word
///    makes its job ready again, if it has an attempt left, and a dead letter if not. No process need be alive for
///    that but one that calls the store.
/// 6. **Nothing starts early**: no job is handed out before its delay, its date or its backoff has passed.
/// 7. **A key is accepted once.** While the job of an idempotency key is in the queue, and for a stated time after,
///    enqueueing that key adds nothing and returns the first job's id. Of any number of concurrent calls one adds.
/// 8. **A batch is one step.** `enqueue_all` adds all of its jobs or none.
/// 9. **First come, first served** among jobs that never waited: of two that were enqueued without delay, one call
///    after the other, the earlier is handed out first. A job that waited joins at the end when its wait is over (after
///    a restart a store may put it by its age), so none is passed over for ever.
/// 10. **Bounded.** A full store refuses with [`Refusal::Full`](crate::Refusal::Full) and gives the job back; it
///     never forgets one to make room.
///
/// Delivery is therefore *at least once*: a worker that dies after its work and before its `ack` has the work
/// repeated. Make the effect idempotent by the job's key, or guard it by the [fencing number](LeaseId).
///
/// Use [`DynQueueStore`] for a store that is chosen at run time.
pub trait QueueStore: Send + Sync {
    /// Adds a job.
    ///
    /// # Errors
    ///
    /// [`EnqueueError`], with the job inside. [`Refusal::Store`](crate::Refusal::Store) may leave open whether the job
    /// was added: a job with an idempotency key can be enqueued again without harm.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the job may or may not have been added.
    fn enqueue(&self, job: Job)
    -> impl Future<Output = Result<Enqueued, EnqueueError<Job>>> + Send;

    /// Adds jobs, all or none, in their order. The answers are in the same order. Two of one key in a batch are one
    /// job.
    ///
    /// # Errors
    ///
    /// As [`enqueue`](QueueStore::enqueue), with all of the jobs inside.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, all of the jobs may have been added, or none.
    fn enqueue_all(
        &self,
        jobs: Vec<Job>,
    ) -> impl Future<Output = Result<Vec<Enqueued>, EnqueueError<Vec<Job>>>> + Send;

    /// Hands out jobs that are ready, as many as are asked for and there are. None is no error and does not wait; see
    /// [`changed`](QueueStore::changed).
    ///
    /// # Errors
    ///
    /// [`Error`] if the store fails. Jobs that were leased and not delivered come back when their leases end.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, jobs may have been leased for nobody. They come back when their
    /// leases end, and the attempt counts.
    fn lease(
        &self,
        request: LeaseRequest,
    ) -> impl Future<Output = Result<Vec<Leased>, Error>> + Send;

    /// The job is done: it leaves the queue.
    ///
    /// # Errors
    ///
    /// [`LeaseError::LeaseLost`] if the lease is not valid; [`LeaseError::Store`] if the store fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the job may or may not be done for the store. Acking again is
    /// harmless.
    fn ack(&self, lease: LeaseId) -> impl Future<Output = Result<(), LeaseError>> + Send;

    /// The job is not done: `nack` says what is to become of it, and the answer what did.
    ///
    /// # Errors
    ///
    /// As [`ack`](QueueStore::ack).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the nack may or may not have been taken. If not, the lease runs to
    /// its end.
    fn nack(
        &self,
        lease: LeaseId,
        nack: Nack,
    ) -> impl Future<Output = Result<Nacked, LeaseError>> + Send;

    /// Lets the lease last for `duration` from now, if it would end before that. Returns how long it lasts from now,
    /// which may be less than was asked for where the store limits leases.
    ///
    /// # Errors
    ///
    /// As [`ack`](QueueStore::ack).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the lease may or may not have been extended.
    fn extend(
        &self,
        lease: LeaseId,
        duration: Duration,
    ) -> impl Future<Output = Result<Duration, LeaseError>> + Send;

    /// How a job stands. `None` if it is done, was discarded, or never was.
    ///
    /// # Errors
    ///
    /// [`Error`] if the store fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect but that the answer is lost.
    fn status(&self, job: JobId) -> impl Future<Output = Result<Option<JobStatus>, Error>> + Send;

    /// Dead letters in the order of their ids, those after `after`, at most `max` and at most
    /// [`MAX_BATCH`](crate::MAX_BATCH). Pass the last id of one answer to go on with the next.
    ///
    /// # Errors
    ///
    /// [`Error`] if the store fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect but that the answer is lost.
    fn dead_letters(
        &self,
        after: Option<JobId>,
        max: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetter>, Error>> + Send;

    /// Makes a dead letter ready again, with all of its attempts. `false` if no dead letter has this id.
    ///
    /// # Errors
    ///
    /// [`Error`] if the store fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the letter may or may not be ready again. Repeating is harmless.
    fn redrive(&self, job: JobId) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Throws a dead letter away. `false` if no dead letter has this id.
    ///
    /// # Errors
    ///
    /// [`Error`] if the store fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the letter may or may not be gone. Repeating is harmless.
    fn discard(&self, job: JobId) -> impl Future<Output = Result<bool, Error>> + Send;

    /// How long to leave the queue alone: zero if a job is ready, otherwise the time after which a wait or a lease
    /// ends, if nothing happens before. `None` if time alone will change nothing, or the store cannot tell.
    ///
    /// # Errors
    ///
    /// [`Error`] if the store fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect but that the answer is lost.
    fn next_due(&self) -> impl Future<Output = Result<Option<Duration>, Error>> + Send;

    /// Completes once something has happened, after this call, that may give a worker reason to look again: a job
    /// became ready, or will before the time that [`next_due`](QueueStore::next_due) said.
    ///
    /// Counted from the call, not from the first poll, so that a worker which calls this, then leases, then waits,
    /// misses nothing. It may complete for no reason. A store that cannot tell, because other processes change it, may
    /// never complete: pair it with a wait of your own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect. Each waiting future is told, so none takes another's turn.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}
