use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::{LONG, SHORT, enqueue, lease_one};
use crate::conformance::Harness;
use crate::{Job, Limits, Nack, QueueStore};

pub(in crate::conformance) async fn waking<H: Harness>(harness: &H) {
    next_due(harness).await;
    changed(harness).await;
}

/// A store that says when to look again does not say it too late.
async fn next_due<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    let due = async || queue.next_due().await.expect("the store works");
    let in_time = |due: Option<Duration>, real: Duration| due.is_none_or(|due| due <= real);
    assert_eq!(
        due().await.filter(|due| due.is_zero()),
        None,
        "nothing is ready"
    );
    enqueue(&queue, Job::new("x").with_delay(LONG)).await;
    assert!(in_time(due().await, LONG));
    assert_eq!(
        due().await.filter(|due| due.is_zero()),
        None,
        "nothing is ready"
    );
    enqueue(&queue, Job::new("y")).await;
    assert!(in_time(due().await, Duration::ZERO));
    lease_one(&queue, SHORT).await;
    assert!(in_time(due().await, SHORT));
    harness.pass(SHORT).await;
    assert!(in_time(due().await, Duration::ZERO), "the lease has ended");
}

/// Waiting for a change takes nothing from others and can be dropped, and what was waited for is not lost.
async fn changed<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut dropped = pin!(queue.changed());
        let _: Poll<()> = dropped.as_mut().poll(&mut cx);
    }
    enqueue(&queue, Job::new("x")).await;
    let leased = lease_one(&queue, LONG).await;
    {
        let mut waiting = pin!(queue.changed());
        let _: Poll<()> = waiting.as_mut().poll(&mut cx);
        let nack = Nack::retry_after(Duration::ZERO);
        queue.nack(leased.lease(), nack).await.expect("it is valid");
        // It may complete now, or never, where other processes share the store. Polling it must be harmless.
        let _: Poll<()> = waiting.as_mut().poll(&mut cx);
    }
    assert_eq!(lease_one(&queue, LONG).await.attempt(), 2);
}
