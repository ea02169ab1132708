use core::time::Duration;

use super::{LONG, SHORT, assert_none_ready, enqueue, lease_one, state};
use crate::conformance::Harness;
use crate::{DeadLetter, DeadReason, Job, JobId, JobState, Limits, Nack, Nacked, QueueStore};

pub(in crate::conformance) async fn dead<H: Harness>(harness: &H) {
    three_ways_to_die(harness).await;
    letters_are_listed_redriven_and_discarded(harness).await;
}

/// Attempts that run out by nack and by silence, and a worker that says never.
async fn three_ways_to_die<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    let again = || Nack::retry_after(Duration::ZERO);

    let failed = enqueue(&queue, Job::new("failed").with_max_attempts(2)).await;
    let leased = lease_one(&queue, LONG).await;
    assert!(!leased.is_last_attempt());
    let nacked = queue
        .nack(leased.lease(), again().with_error("first"))
        .await;
    assert_eq!(nacked.expect("it is valid"), Nacked::Again);
    let leased = lease_one(&queue, LONG).await;
    assert!(leased.is_last_attempt());
    let nacked = queue
        .nack(leased.lease(), again().with_error("second"))
        .await;
    assert_eq!(nacked.expect("it is valid"), Nacked::Dead);

    let lost = enqueue(&queue, Job::new("lost").with_max_attempts(2)).await;
    for _ in 0..2 {
        lease_one(&queue, SHORT).await;
        harness.pass(SHORT).await;
    }

    let rejected = enqueue(&queue, Job::new("rejected").with_key("k")).await;
    let leased = lease_one(&queue, LONG).await;
    let nack = Nack::dead_letter().with_error("never");
    let nacked = queue.nack(leased.lease(), nack).await;
    assert_eq!(nacked.expect("it is valid"), Nacked::Dead);

    assert_none_ready(&queue, "dead letters are not handed out").await;
    let letters = list(&queue, None, 10).await;
    let told: Vec<_> = letters
        .iter()
        .map(|letter| {
            (
                letter.id(),
                letter.reason(),
                letter.attempts(),
                letter.error(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (failed, DeadReason::Failed, 2, Some("second")),
            (lost, DeadReason::Lost, 2, None),
            (rejected, DeadReason::Rejected, 1, Some("never")),
        ]
    );
    assert_eq!(letters[0].job().payload(), "failed");
    assert_eq!(letters[2].job().key().map(|key| &key[..]), Some(&b"k"[..]));
    assert_eq!(
        state(&queue, lost).await,
        Some(JobState::Dead {
            reason: DeadReason::Lost
        })
    );
}

async fn letters_are_listed_redriven_and_discarded<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    let mut ids = Vec::new();
    for i in 0..5_u8 {
        ids.push(enqueue(&queue, Job::new(vec![i]).with_max_attempts(1)).await);
        let leased = lease_one(&queue, LONG).await;
        let nack = Nack::dead_letter();
        queue.nack(leased.lease(), nack).await.expect("it is valid");
    }
    let first = list(&queue, None, 3).await;
    let second = list(&queue, Some(first[2].id()), 3).await;
    let listed: Vec<JobId> = first.iter().chain(&second).map(DeadLetter::id).collect();
    assert_eq!(listed, ids, "in the order of their ids, page by page");
    assert!(list(&queue, None, 0).await.is_empty());
    assert!(
        list(&queue, Some(JobId::from_u64(u64::MAX)), 9)
            .await
            .is_empty()
    );

    let alive = enqueue(&queue, Job::new("alive").with_delay(LONG)).await;
    for id in [alive, JobId::from_u64(u64::MAX)] {
        assert!(!queue.redrive(id).await.expect("the store works"));
        assert!(!queue.discard(id).await.expect("the store works"));
    }

    assert!(queue.redrive(ids[1]).await.expect("the store works"));
    assert!(!queue.redrive(ids[1]).await.expect("the store works"));
    assert!(!queue.discard(ids[1]).await.expect("the store works"));
    let leased = lease_one(&queue, LONG).await;
    assert_eq!((leased.id(), leased.attempt()), (ids[1], 1));
    queue.ack(leased.lease()).await.expect("it is valid");

    assert!(queue.discard(ids[0]).await.expect("the store works"));
    assert!(!queue.discard(ids[0]).await.expect("the store works"));
    assert_eq!(state(&queue, ids[0]).await, None, "it is gone");
    let left: Vec<JobId> = list(&queue, None, 9)
        .await
        .iter()
        .map(DeadLetter::id)
        .collect();
    assert_eq!(left, ids[2..]);
    assert_none_ready(&queue, "the rest is dead or delayed").await;
}

async fn list<Q: QueueStore>(queue: &Q, after: Option<JobId>, max: usize) -> Vec<DeadLetter> {
    let letters = queue.dead_letters(after, max).await;
    letters.expect("the store works")
}
