use super::{LONG, assert_lost, assert_none_ready, enqueue, lease, lease_one, state};
use crate::conformance::Harness;
use crate::{Job, JobId, JobState, LeaseId, Limits, Nack, QueueStore};

pub(in crate::conformance) async fn leases<H: Harness>(harness: &H) {
    whole_and_in_order(harness).await;
    settling(harness).await;
    released(harness).await;
    made_up_leases(harness).await;
}

/// What was enqueued is what is handed out, once, first come, first served.
async fn whole_and_in_order<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    assert_none_ready(&queue, "the queue is empty").await;

    let first = Job::new("first").with_key("key").with_max_attempts(7);
    let mut ids = vec![enqueue(&queue, first.clone()).await];
    let rest: Vec<Job> = (0..5).map(|i| Job::new(vec![i; 3])).collect();
    let batch = queue
        .enqueue_all(rest.clone())
        .await
        .expect("there is room");
    assert!(batch.iter().all(|enqueued| enqueued.is_new()));
    ids.extend(batch.iter().map(|enqueued| enqueued.id()));
    ids.push(enqueue(&queue, Job::new("")).await);
    assert!(ids.is_sorted(), "ids rise: {ids:?}");
    assert_eq!(state(&queue, ids[0]).await, Some(JobState::Ready));

    let mut leased = lease(&queue, 2, LONG).await;
    assert_eq!(leased.len(), 2, "two of seven are ready");
    assert!(
        lease(&queue, 0, LONG).await.is_empty(),
        "none was asked for"
    );
    leased.extend(lease(&queue, 100, LONG).await);
    assert_none_ready(&queue, "every job is leased").await;

    let handed_out: Vec<JobId> = leased.iter().map(|leased| leased.id()).collect();
    assert_eq!(handed_out, ids, "first come, first served");
    let fences: Vec<u64> = leased.iter().map(|leased| leased.fence()).collect();
    assert!(
        fences.windows(2).all(|pair| pair[0] < pair[1]),
        "fencing numbers rise: {fences:?}"
    );
    assert_eq!(*leased[0].job(), first, "the job comes back whole");
    for (leased, job) in leased[1..].iter().zip(&rest) {
        assert_eq!(leased.job(), job, "the job comes back whole");
    }
    assert!(leased.iter().all(|leased| leased.attempt() == 1));
    match state(&queue, ids[0]).await {
        Some(JobState::Leased { worker, ends_in }) => {
            assert_eq!(&*worker, "conformance");
            assert!(ends_in <= LONG);
        }
        other => panic!("a leased job stands at {other:?}"),
    }
}

/// A settled lease is over, whichever way it was settled.
async fn settling<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    let id = enqueue(&queue, Job::new("x")).await;
    let first = lease_one(&queue, LONG).await;
    let nack = Nack::retry_after(core::time::Duration::ZERO).with_error("no luck");
    queue.nack(first.lease(), nack).await.expect("it is valid");
    assert_lost(&queue, first.lease(), "it was nacked").await;

    let second = lease_one(&queue, LONG).await;
    assert_eq!((second.id(), second.attempt()), (id, 2));
    assert!(second.fence() > first.fence());
    assert_lost(&queue, first.lease(), "another lease is valid").await;

    queue.ack(second.lease()).await.expect("it is valid");
    assert_eq!(state(&queue, id).await, None, "a job that is done is gone");
    assert_lost(&queue, second.lease(), "it was acked").await;
    assert_none_ready(&queue, "the only job is done").await;
}

/// A released attempt does not count, and its job is there for the next worker.
async fn released<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    enqueue(&queue, Job::new("x").with_max_attempts(1)).await;
    for _ in 0..3 {
        let leased = lease_one(&queue, LONG).await;
        assert_eq!(leased.attempt(), 1, "releases do not count");
        let nacked = queue.nack(leased.lease(), Nack::release()).await;
        assert_eq!(nacked.expect("it is valid"), crate::Nacked::Again);
    }
    lease_one(&queue, LONG).await;
}

/// Leases that were never given are lost ones.
async fn made_up_leases<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    let id = enqueue(&queue, Job::new("x")).await;
    assert_lost(&queue, LeaseId::new(id, 0), "the job is not leased").await;
    let leased = lease_one(&queue, LONG).await;
    for lease in [
        LeaseId::new(id, leased.fence() + 1),
        LeaseId::new(id, u64::MAX),
        LeaseId::new(JobId::from_u64(id.as_u64() + 1), leased.fence()),
        LeaseId::new(JobId::from_u64(u64::MAX), leased.fence()),
    ] {
        assert_lost(&queue, lease, "it was never given").await;
    }
    queue.ack(leased.lease()).await.expect("it is still valid");
}
