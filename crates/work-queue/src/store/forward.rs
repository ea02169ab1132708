//! A pointer to a store is a store.

use core::future::Future;
use core::time::Duration;
use std::sync::Arc;

use super::QueueStore;
use crate::{
    DeadLetter, EnqueueError, Enqueued, Error, Job, JobId, JobStatus, LeaseError, LeaseId,
    LeaseRequest, Leased, Nack, Nacked,
};

macro_rules! forwarded_store {
    ($($pointer:ty),*) => {$(
        impl<S: QueueStore + ?Sized> QueueStore for $pointer {
            fn enqueue(
                &self,
                job: Job,
            ) -> impl Future<Output = Result<Enqueued, EnqueueError<Job>>> + Send {
                (**self).enqueue(job)
            }

            fn enqueue_all(
                &self,
                jobs: Vec<Job>,
            ) -> impl Future<Output = Result<Vec<Enqueued>, EnqueueError<Vec<Job>>>> + Send {
                (**self).enqueue_all(jobs)
            }

            fn lease(
                &self,
                request: LeaseRequest,
            ) -> impl Future<Output = Result<Vec<Leased>, Error>> + Send {
                (**self).lease(request)
            }

            fn ack(&self, lease: LeaseId) -> impl Future<Output = Result<(), LeaseError>> + Send {
                (**self).ack(lease)
            }

            fn nack(
                &self,
                lease: LeaseId,
                nack: Nack,
            ) -> impl Future<Output = Result<Nacked, LeaseError>> + Send {
                (**self).nack(lease, nack)
            }

            fn extend(
                &self,
                lease: LeaseId,
                duration: Duration,
            ) -> impl Future<Output = Result<Duration, LeaseError>> + Send {
                (**self).extend(lease, duration)
            }

            fn status(
                &self,
                job: JobId,
            ) -> impl Future<Output = Result<Option<JobStatus>, Error>> + Send {
                (**self).status(job)
            }

            fn dead_letters(
                &self,
                after: Option<JobId>,
                max: usize,
            ) -> impl Future<Output = Result<Vec<DeadLetter>, Error>> + Send {
                (**self).dead_letters(after, max)
            }

            fn redrive(&self, job: JobId) -> impl Future<Output = Result<bool, Error>> + Send {
                (**self).redrive(job)
            }

            fn discard(&self, job: JobId) -> impl Future<Output = Result<bool, Error>> + Send {
                (**self).discard(job)
            }

            fn next_due(&self) -> impl Future<Output = Result<Option<Duration>, Error>> + Send {
                (**self).next_due()
            }

            fn changed(&self) -> impl Future<Output = ()> + Send {
                (**self).changed()
            }
        }
    )*};
}
forwarded_store!(&S, Arc<S>);
