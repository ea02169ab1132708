use super::{LONG, assert_none_ready, enqueue, lease, lease_one};
use crate::conformance::Harness;
use crate::{Job, Limits, MAX_BATCH, MAX_KEY_BYTES, Nack, QueueStore, Refusal, Safety};

pub(in crate::conformance) async fn bounds<H: Harness>(harness: &H) {
    full_by_jobs(harness).await;
    full_by_bytes(harness).await;
    too_large(harness).await;
    extreme_limits(harness).await;
    batches_are_bounded(harness).await;
}

/// Leased and dead jobs count, a batch is all or nothing, and the jobs come back.
async fn full_by_jobs<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default().with_max_jobs(3)).await;
    for i in 0..2_u8 {
        enqueue(&queue, Job::new(vec![i])).await;
    }
    let leased = lease_one(&queue, LONG).await;
    let nack = Nack::dead_letter();
    queue.nack(leased.lease(), nack).await.expect("it is valid");
    let leased = lease_one(&queue, LONG).await;

    let batch = vec![Job::new("a").with_key("a"), Job::new("b")];
    let error = queue
        .enqueue_all(batch.clone())
        .await
        .expect_err("one has room");
    assert!(
        matches!(error.refusal(), Refusal::Full { jobs: 2, .. }),
        "{error:?}"
    );
    assert_eq!(error.retry().safety, Safety::Safe);
    assert_eq!(error.into_rejected(), batch, "the batch comes back whole");
    assert_none_ready(&queue, "nothing of the batch was added").await;

    let id = enqueue(&queue, batch[0].clone()).await;
    let error = queue
        .enqueue(batch[1].clone())
        .await
        .expect_err("it is full");
    assert!(
        matches!(error.refusal(), Refusal::Full { jobs: 3, .. }),
        "{error:?}"
    );
    assert_eq!(error.into_rejected(), batch[1], "the job comes back");
    queue.ack(leased.lease()).await.expect("it is valid");
    enqueue(&queue, Job::new("b")).await;
    assert!(queue.status(id).await.expect("the store works").is_some());
}

async fn full_by_bytes<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default().with_max_bytes(10)).await;
    enqueue(&queue, Job::new("1234").with_key("5")).await;
    enqueue(&queue, Job::new("67890")).await;
    let error = queue.enqueue(Job::new("x")).await.expect_err("it is full");
    assert!(
        matches!(error.refusal(), Refusal::Full { bytes: 10, .. }),
        "{error:?}"
    );
    enqueue(&queue, Job::new("")).await;
    let leased = lease_one(&queue, LONG).await;
    queue.ack(leased.lease()).await.expect("it is valid");
    enqueue(&queue, Job::new("12345")).await;
}

/// What could never be taken is refused for good.
async fn too_large<H: Harness>(harness: &H) {
    let limits = Limits::default().with_max_payload(8).with_max_bytes(100);
    let queue = harness.open(limits).await;
    enqueue(&queue, Job::new("12345678")).await;
    let error = queue.enqueue(Job::new("123456789")).await;
    let error = error.expect_err("it is too large");
    assert_eq!(error.retry().safety, Safety::Never);
    assert!(
        matches!(error.refusal(), Refusal::TooLarge { bytes: 9, limit: 8 }),
        "{error:?}"
    );
    assert_eq!(error.into_rejected().payload(), "123456789");

    let queue = harness.open(Limits::default()).await;
    let longest = "k".repeat(MAX_KEY_BYTES);
    enqueue(&queue, Job::new("x").with_key(longest.clone())).await;
    let batch = vec![Job::new("y"), Job::new("z").with_key(longest + "k")];
    let error = queue
        .enqueue_all(batch)
        .await
        .expect_err("a key is too long");
    assert_eq!(error.retry().safety, Safety::Never);
    assert!(
        matches!(error.refusal(), Refusal::KeyTooLong { .. }),
        "{error:?}"
    );
    assert_eq!(error.into_rejected().len(), 2);
    assert_eq!(
        lease(&queue, 9, LONG).await.len(),
        1,
        "nothing of the batch was added"
    );
}

async fn extreme_limits<H: Harness>(harness: &H) {
    for limits in [
        Limits::default().with_max_jobs(0),
        Limits::default().with_max_bytes(0),
        Limits::default().with_max_payload(0),
    ] {
        let queue = harness.open(limits).await;
        let error = queue
            .enqueue(Job::new("x"))
            .await
            .expect_err("there is no room");
        assert_eq!(error.into_rejected().payload(), "x");
        assert!(
            queue.enqueue_all(Vec::new()).await.is_ok(),
            "nothing always fits"
        );
    }
    let limits = Limits::default()
        .with_max_jobs(usize::MAX)
        .with_max_bytes(usize::MAX)
        .with_max_payload(usize::MAX)
        .with_max_keys(usize::MAX)
        .with_max_lease(core::time::Duration::MAX)
        .with_key_window(core::time::Duration::MAX);
    let queue = harness.open(limits).await;
    enqueue(&queue, Job::new("x").with_key("k")).await;
    let leased = lease_one(&queue, LONG).await;
    queue.ack(leased.lease()).await.expect("it is valid");
    let again = queue.enqueue(Job::new("x").with_key("k")).await;
    assert!(
        !again.expect("there is room").is_new(),
        "remembered for ever"
    );
}

/// One call hands out and lists a bounded number of jobs, whatever is asked.
async fn batches_are_bounded<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default()).await;
    let jobs = vec![Job::new("x").with_max_attempts(1); MAX_BATCH + 1];
    queue.enqueue_all(jobs).await.expect("there is room");
    let leased = lease(&queue, usize::MAX, LONG).await;
    assert_eq!(leased.len(), MAX_BATCH);
    let rest = lease(&queue, usize::MAX, LONG).await;
    assert_eq!(rest.len(), 1);
    for leased in leased.iter().chain(&rest) {
        let nack = Nack::dead_letter();
        queue.nack(leased.lease(), nack).await.expect("it is valid");
    }
    let letters = queue.dead_letters(None, usize::MAX).await;
    assert_eq!(letters.expect("the store works").len(), MAX_BATCH);
}
