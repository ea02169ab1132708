//! One function a group of promises, and one block a promise.

mod bounds;
mod dead;
mod keys;
mod leases;
mod restart;
mod time;
mod waking;

use core::time::Duration;

pub(super) use bounds::bounds;
pub(super) use dead::dead;
pub(super) use keys::keys;
pub(super) use leases::leases;
pub(super) use restart::restart;
pub(super) use time::time;
pub(super) use waking::waking;

use crate::{Job, JobId, JobState, LeaseError, LeaseId, LeaseRequest, Leased, QueueStore};

/// Long beside what a test takes, so that on a clock that runs by itself nothing ends by accident.
const LONG: Duration = Duration::from_secs(60 * 60);
/// Short enough to wait for on a clock that runs by itself.
const SHORT: Duration = Duration::from_millis(200);

async fn enqueue<Q: QueueStore>(queue: &Q, job: Job) -> JobId {
    let enqueued = queue.enqueue(job).await.expect("the queue has room");
    assert!(enqueued.is_new(), "a job without a known key is new");
    enqueued.id()
}

async fn lease<Q: QueueStore>(queue: &Q, max: usize, duration: Duration) -> Vec<Leased> {
    let request = LeaseRequest::new("conformance", duration).with_max(max);
    let leased = queue.lease(request).await.expect("the store works");
    assert!(leased.len() <= max, "more leases than were asked for");
    leased
}

async fn lease_one<Q: QueueStore>(queue: &Q, duration: Duration) -> Leased {
    let leased = lease(queue, 1, duration).await;
    leased.into_iter().next().expect("a job is ready")
}

async fn assert_none_ready<Q: QueueStore>(queue: &Q, why: &str) {
    let leased = lease(queue, 10, LONG).await;
    assert!(leased.is_empty(), "{why}, yet {leased:?} was handed out");
}

async fn state<Q: QueueStore>(queue: &Q, job: JobId) -> Option<JobState> {
    let status = queue.status(job).await.expect("the store works");
    status.map(|status| status.state)
}

/// Every way to settle or extend the lease is answered with `LeaseLost`, and changes nothing.
async fn assert_lost<Q: QueueStore>(queue: &Q, lease: LeaseId, why: &str) {
    let before = queue.status(lease.job()).await.expect("the store works");
    let answers = [
        queue.extend(lease, LONG).await.map(drop),
        queue
            .nack(lease, crate::Nack::dead_letter())
            .await
            .map(drop),
        queue.nack(lease, crate::Nack::release()).await.map(drop),
        queue.ack(lease).await,
    ];
    for answer in answers {
        match answer {
            Err(LeaseError::LeaseLost { lease: lost }) => {
                assert_eq!(lost, lease, "the error names another lease");
            }
            other => panic!("{why}, yet {lease} was answered with {other:?}"),
        }
    }
    let after = queue.status(lease.job()).await.expect("the store works");
    let attempts = |status: &Option<crate::JobStatus>| status.as_ref().map(|s| s.attempts);
    let kind = |status: &Option<crate::JobStatus>| {
        status.as_ref().map(|s| core::mem::discriminant(&s.state))
    };
    assert_eq!(attempts(&after), attempts(&before), "{why}, yet it changed");
    assert_eq!(kind(&after), kind(&before), "{why}, yet it changed");
}
