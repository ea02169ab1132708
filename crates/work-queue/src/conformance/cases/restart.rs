use super::{LONG, SHORT, assert_lost, assert_none_ready, enqueue, lease, lease_one, state};
use crate::conformance::Harness;
use crate::{DeadReason, Enqueued, Job, JobState, Limits, Nack, QueueStore};

/// Everything that was acknowledged is there after a restart. Returns whether the store could be reopened.
pub(in crate::conformance) async fn restart<H: Harness>(harness: &H) -> bool {
    everything_is_there(harness).await && leases_stay_extended(harness).await
}

/// A lease that was extended has its new end after a restart too.
async fn leases_stay_extended<H: Harness>(harness: &H) -> bool {
    let queue = harness.open(Limits::default()).await;
    enqueue(&queue, Job::new("x")).await;
    let leased = lease_one(&queue, SHORT * 2).await;
    let left = queue.extend(leased.lease(), LONG).await;
    assert_eq!(left.expect("it is valid"), LONG);
    let Ok(queue) = harness.reopen(queue).await else {
        return false;
    };
    harness.pass(SHORT * 2).await;
    assert_none_ready(&queue, "the lease was extended").await;
    queue.ack(leased.lease()).await.expect("it was extended");
    true
}

async fn everything_is_there<H: Harness>(harness: &H) -> bool {
    let limits = Limits::default().with_key_window(SHORT * 4);
    let queue = harness.open(limits).await;

    let done = enqueue(&queue, Job::new("done").with_key("done")).await;
    let leased = lease_one(&queue, LONG).await;
    queue.ack(leased.lease()).await.expect("it is valid");

    let dead = enqueue(&queue, Job::new("dead").with_key("dead")).await;
    let leased = lease_one(&queue, LONG).await;
    let nack = Nack::dead_letter().with_error("why");
    queue.nack(leased.lease(), nack).await.expect("it is valid");

    let held = enqueue(
        &queue,
        Job::new("held").with_key("held").with_max_attempts(9),
    )
    .await;
    let held_lease = lease_one(&queue, LONG).await;
    let lost = enqueue(&queue, Job::new("lost")).await;
    let lost_lease = lease_one(&queue, SHORT * 2).await;
    let delayed = enqueue(&queue, Job::new("delayed").with_delay(SHORT * 2)).await;
    let date = harness.date().after(SHORT * 2);
    let dated = enqueue(&queue, Job::new("dated").not_before(date)).await;
    let backing_off = enqueue(&queue, Job::new("backing off")).await;
    let leased = lease_one(&queue, LONG).await;
    let nack = Nack::retry_after(SHORT * 2).with_error("not yet");
    queue.nack(leased.lease(), nack).await.expect("it is valid");
    let ready = [
        enqueue(&queue, Job::new("ready").with_key("ready")).await,
        enqueue(&queue, Job::new(vec![7; 5000])).await,
    ];

    let Ok(queue) = harness.reopen(queue).await else {
        return false;
    };
    assert_eq!(state(&queue, done).await, None, "done stays done");
    let letters = queue.dead_letters(None, 9).await.expect("the store works");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].id(), dead);
    assert_eq!(letters[0].reason(), DeadReason::Rejected);
    assert_eq!(letters[0].error(), Some("why"));
    assert_eq!(letters[0].job().payload(), "dead");
    for (key, id) in [
        ("done", done),
        ("dead", dead),
        ("held", held),
        ("ready", ready[0]),
    ] {
        let again = queue.enqueue(Job::new("again").with_key(key)).await;
        assert_eq!(
            again.expect("there is room"),
            Enqueued::Duplicate(id),
            "{key}"
        );
    }

    let leased = lease(&queue, 9, LONG).await;
    let ids: Vec<_> = leased.iter().map(|leased| leased.id()).collect();
    assert_eq!(ids, ready, "only these are ready, in their order");
    assert_eq!(leased[0].job().payload(), "ready");
    assert_eq!(leased[1].job().payload(), &vec![7; 5000]);
    for leased in &leased {
        assert!(
            leased.fence() > lost_lease.fence().max(held_lease.fence()),
            "fencing numbers rise over a restart"
        );
    }
    assert!(
        enqueue(&queue, Job::new("new")).await > ready[1],
        "ids rise too"
    );
    assert_eq!(lease(&queue, 9, LONG).await.len(), 1);
    assert_none_ready(&queue, "the rest waits").await;

    assert!(matches!(
        state(&queue, held).await,
        Some(JobState::Leased { .. })
    ));
    queue
        .extend(held_lease.lease(), LONG)
        .await
        .expect("a lease survives");
    queue
        .ack(held_lease.lease())
        .await
        .expect("a lease survives");

    harness.pass(SHORT * 2).await;
    assert_lost(&queue, lost_lease.lease(), "it has ended").await;
    let mut leased = lease(&queue, 9, LONG).await;
    leased.sort_by_key(|leased| leased.id());
    let told: Vec<_> = leased.iter().map(|l| (l.id(), l.attempt())).collect();
    assert_eq!(
        told,
        [(lost, 2), (delayed, 1), (dated, 1), (backing_off, 2)],
        "waits and attempts go on where they stood"
    );
    harness.pass(SHORT * 2).await;
    enqueue(&queue, Job::new("done").with_key("done")).await;

    // A second restart, with everything at rest.
    let Ok(queue) = harness.reopen(queue).await else {
        return false;
    };
    assert_eq!(lease(&queue, 9, LONG).await.len(), 1);
    true
}
