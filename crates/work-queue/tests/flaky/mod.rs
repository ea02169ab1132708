//! A store that fails when told to, around a real one.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::sync::Mutex;
use std::time::Duration;

use purlin_work_queue::{
    DeadLetter, EnqueueError, Enqueued, Error, ErrorKind, Job, JobId, JobStatus, LeaseError,
    LeaseId, LeaseRequest, Leased, Nack, Nacked, QueueStore, Retry,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Lease,
    Ack,
    Extend,
}

#[derive(Clone, Copy)]
enum Fault {
    Fail,
    Hang,
    Break,
}

pub(crate) struct Flaky<Q> {
    inner: Q,
    faults: Mutex<HashMap<Call, Fault>>,
    failures: Mutex<HashMap<Call, usize>>,
}

impl<Q> Flaky<Q> {
    pub(crate) fn new(inner: Q) -> Self {
        Flaky {
            inner,
            faults: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// The store inside, which does not fail.
    pub(crate) fn inner(&self) -> &Q {
        &self.inner
    }

    /// From now on the call fails, and has no effect.
    pub(crate) fn fail(&self, call: Call) {
        self.faults.lock().unwrap().insert(call, Fault::Fail);
    }

    /// From now on the call never completes.
    pub(crate) fn hang(&self, call: Call) {
        self.faults.lock().unwrap().insert(call, Fault::Hang);
    }

    /// From now on the call fails, and says that trying again is no use.
    pub(crate) fn break_for_good(&self, call: Call) {
        self.faults.lock().unwrap().insert(call, Fault::Break);
    }

    /// Nothing fails any more.
    pub(crate) fn mend(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// How often the call has failed.
    pub(crate) fn failures(&self, call: Call) -> usize {
        let failures = self.failures.lock().unwrap();
        failures.get(&call).copied().unwrap_or(0)
    }

    async fn pass(&self, call: Call) -> Result<(), Error> {
        let fault = self.faults.lock().unwrap().get(&call).copied();
        let Some(fault) = fault else { return Ok(()) };
        *self.failures.lock().unwrap().entry(call).or_default() += 1;
        match fault {
            Fault::Fail => Err(Error::new(ErrorKind::Unavailable, Retry::NOW)),
            Fault::Break => Err(Error::new(ErrorKind::Closed, Retry::NEVER)),
            Fault::Hang => pending().await,
        }
    }
}

impl<Q: QueueStore> QueueStore for Flaky<Q> {
    async fn enqueue(&self, job: Job) -> Result<Enqueued, EnqueueError<Job>> {
        self.inner.enqueue(job).await
    }

    async fn enqueue_all(&self, jobs: Vec<Job>) -> Result<Vec<Enqueued>, EnqueueError<Vec<Job>>> {
        self.inner.enqueue_all(jobs).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Vec<Leased>, Error> {
        self.pass(Call::Lease).await?;
        self.inner.lease(request).await
    }

    async fn ack(&self, lease: LeaseId) -> Result<(), LeaseError> {
        self.pass(Call::Ack).await.map_err(LeaseError::Store)?;
        self.inner.ack(lease).await
    }

    async fn nack(&self, lease: LeaseId, nack: Nack) -> Result<Nacked, LeaseError> {
        self.inner.nack(lease, nack).await
    }

    async fn extend(&self, lease: LeaseId, duration: Duration) -> Result<Duration, LeaseError> {
        self.pass(Call::Extend).await.map_err(LeaseError::Store)?;
        self.inner.extend(lease, duration).await
    }

    async fn status(&self, job: JobId) -> Result<Option<JobStatus>, Error> {
        self.inner.status(job).await
    }

    async fn dead_letters(
        &self,
        after: Option<JobId>,
        max: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        self.inner.dead_letters(after, max).await
    }

    async fn redrive(&self, job: JobId) -> Result<bool, Error> {
        self.inner.redrive(job).await
    }

    async fn discard(&self, job: JobId) -> Result<bool, Error> {
        self.inner.discard(job).await
    }

    async fn next_due(&self) -> Result<Option<Duration>, Error> {
        self.inner.next_due().await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.inner.changed()
    }
}
