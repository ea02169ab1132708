use core::time::Duration;

use super::{LONG, SHORT, assert_lost, assert_none_ready, enqueue, lease, lease_one, state};
use crate::conformance::Harness;
use crate::{Job, JobState, Limits, Nack, QueueStore};

pub(in crate::conformance) async fn time<H: Harness>(harness: &H) {
    leases_end(harness).await;
    leases_are_extended(harness).await;
    leases_are_limited(harness).await;
    nothing_starts_early(harness).await;
    ends_of_time(harness).await;
}

/// A lease that ends gives its job to the next worker, and counts.
async fn leases_end<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    let id = enqueue(&queue, Job::new("x")).await;
    let first = lease_one(&queue, SHORT).await;
    assert_none_ready(&queue, "the lease is valid").await;
    harness.pass(SHORT).await;
    assert_lost(&queue, first.lease(), "it has ended").await;
    assert_eq!(state(&queue, id).await, Some(JobState::Ready));

    let second = lease_one(&queue, LONG).await;
    assert_eq!((second.id(), second.attempt()), (id, 2));
    assert_lost(&queue, first.lease(), "another worker has the job").await;
    queue.ack(second.lease()).await.expect("it is valid");

    let zero = enqueue(&queue, Job::new("y")).await;
    let over = lease_one(&queue, Duration::ZERO).await;
    assert_eq!(over.id(), zero);
    assert_lost(&queue, over.lease(), "a lease of zero is over").await;
    assert_eq!(lease_one(&queue, LONG).await.attempt(), 2);
}

/// An extended lease ends later, never earlier.
async fn leases_are_extended<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    enqueue(&queue, Job::new("x")).await;
    let leased = lease_one(&queue, SHORT * 2).await;
    harness.pass(SHORT).await;
    let left = queue.extend(leased.lease(), SHORT * 2).await;
    assert_eq!(left.expect("it is valid"), SHORT * 2);
    harness.pass(SHORT).await;
    assert_none_ready(&queue, "the lease was extended").await;

    let left = queue.extend(leased.lease(), Duration::ZERO).await;
    let left = left.expect("it is valid");
    assert!(
        left > Duration::ZERO && left <= SHORT,
        "extending by nothing leaves the lease as it is, and here {left:?}"
    );
    harness.pass(SHORT).await;
    assert_lost(&queue, leased.lease(), "it has ended").await;
}

/// No lease is longer than the limit, however it was asked for.
async fn leases_are_limited<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default().with_max_lease(SHORT)).await;
    enqueue(&queue, Job::new("x")).await;
    let leased = lease_one(&queue, Duration::MAX).await;
    assert_eq!(leased.granted(), SHORT);
    let left = queue.extend(leased.lease(), Duration::MAX).await;
    assert!(left.expect("it is valid") <= SHORT);
    harness.pass(SHORT).await;
    assert_lost(&queue, leased.lease(), "it was limited").await;
}

/// Delay, date and backoff are waited for, and a job that waited joins at the end.
async fn nothing_starts_early<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    let backing_off = enqueue(&queue, Job::new("backoff")).await;
    let leased = lease_one(&queue, LONG).await;
    let nack = Nack::retry_after(SHORT * 2);
    queue.nack(leased.lease(), nack).await.expect("it is valid");

    let delayed = enqueue(&queue, Job::new("delay").with_delay(SHORT * 4)).await;
    let date = harness.date().after(SHORT * 6);
    let dated = enqueue(&queue, Job::new("date").not_before(date)).await;
    let past = enqueue(&queue, Job::new("past").not_before(harness.date())).await;
    let fresh = enqueue(&queue, Job::new("fresh")).await;
    match state(&queue, delayed).await {
        Some(JobState::Delayed { due_in }) => assert!(due_in <= SHORT * 4),
        other => panic!("a delayed job stands at {other:?}"),
    }

    let ready = lease(&queue, 10, LONG).await;
    let ready: Vec<_> = ready.iter().map(|leased| leased.id()).collect();
    assert_eq!(ready, [past, fresh], "only these may start");
    for (id, attempt) in [(backing_off, 2), (delayed, 1), (dated, 1)] {
        assert_none_ready(&queue, "nothing else is due").await;
        harness.pass(SHORT * 2).await;
        let leased = lease(&queue, 10, LONG).await;
        let ids: Vec<_> = leased.iter().map(|leased| leased.id()).collect();
        assert_eq!(ids, [id], "this one's wait is over, and no other's");
        assert_eq!(leased[0].attempt(), attempt);
        assert_eq!(leased[0].job().start(), crate::Start::Now);
    }

    let late = enqueue(&queue, Job::new("late").with_delay(SHORT)).await;
    let early = enqueue(&queue, Job::new("early")).await;
    harness.pass(SHORT).await;
    let ids: Vec<_> = lease(&queue, 10, LONG)
        .await
        .iter()
        .map(|l| l.id())
        .collect();
    assert_eq!(ids, [early, late], "a job that waited joins at the end");
}

/// The longest durations and dates are for ever, and nothing overflows.
async fn ends_of_time<H: Harness>(harness: &H) {
    let queue = harness
        .open(Limits::default().with_max_lease(Duration::MAX))
        .await;
    enqueue(&queue, Job::new("x").with_delay(Duration::MAX)).await;
    enqueue(&queue, Job::new("y").not_before(crate::WallTime::MAX)).await;
    enqueue(&queue, Job::new("z")).await;
    let leased = lease_one(&queue, Duration::MAX).await;
    let left = queue.extend(leased.lease(), Duration::MAX).await;
    left.expect("it is valid");
    harness.pass(SHORT).await;
    assert_none_ready(&queue, "all of them wait for ever").await;
    let nack = Nack::retry_after(Duration::MAX);
    queue.nack(leased.lease(), nack).await.expect("it is valid");
    assert_none_ready(&queue, "all of them wait for ever").await;
    queue.next_due().await.expect("the store works");
}
