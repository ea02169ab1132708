use super::{LONG, SHORT, enqueue, lease_one};
use crate::conformance::Harness;
use crate::{Enqueued, Job, Limits, Nack, QueueStore};

pub(in crate::conformance) async fn keys<H: Harness>(harness: &H) {
    remembered_with_the_job_and_after(harness).await;
    forgotten_beyond_the_bound(harness).await;
    twice_in_a_batch(harness).await;
}

fn job() -> Job {
    Job::new("first").with_key("the key")
}

/// A key is known while its job is ready, leased, delayed or dead, then for the window, and then no more.
async fn remembered_with_the_job_and_after<H: Harness>(harness: &H) {
    let limits = Limits::default().with_key_window(SHORT * 2);
    let queue = harness.open(limits).await;
    let id = enqueue(&queue, job()).await;
    let again = async |when: &str| {
        let other = Job::new("second").with_key("the key").with_delay(LONG);
        let enqueued = queue.enqueue(other).await.expect("the queue has room");
        assert_eq!(enqueued, Enqueued::Duplicate(id), "while it is {when}");
    };
    again("ready").await;
    let leased = lease_one(&queue, LONG).await;
    assert_eq!(leased.job().payload(), "first", "the first payload stands");
    again("leased").await;
    let nack = Nack::retry_after(SHORT);
    queue.nack(leased.lease(), nack).await.expect("it is valid");
    again("delayed").await;
    harness.pass(SHORT).await;
    let leased = lease_one(&queue, LONG).await;
    let nack = Nack::dead_letter();
    queue.nack(leased.lease(), nack).await.expect("it is valid");
    harness.pass(SHORT * 3).await;
    again("dead, for longer than the window").await;
    queue.redrive(id).await.expect("the store works");
    let leased = lease_one(&queue, LONG).await;
    queue.ack(leased.lease()).await.expect("it is valid");
    again("done").await;
    harness.pass(SHORT).await;
    again("done, within the window").await;
    harness.pass(SHORT).await;

    let second = enqueue(&queue, job()).await;
    assert_ne!(second, id, "ids are not used again");
    let unrelated = Job::new("x").with_key("another key");
    enqueue(&queue, unrelated).await;
    let leased = lease_one(&queue, LONG).await;
    assert_eq!(leased.id(), second);
}

/// Of the keys of jobs that have left, the oldest are forgotten first.
async fn forgotten_beyond_the_bound<H: Harness>(harness: &H) {
    let queue = harness.open(Limits::default().with_max_keys(2)).await;
    for key in ["a", "b", "c"] {
        enqueue(&queue, Job::new("x").with_key(key)).await;
        let leased = lease_one(&queue, LONG).await;
        queue.ack(leased.lease()).await.expect("it is valid");
    }
    let known = async |key: &'static str| {
        let job = Job::new("x").with_key(key);
        !queue.enqueue(job).await.expect("there is room").is_new()
    };
    assert!(known("b").await && known("c").await);
    assert!(!known("a").await, "a third key is one too many");

    let queue = harness.open(Limits::default().with_max_keys(0)).await;
    enqueue(&queue, job()).await;
    let leased = lease_one(&queue, LONG).await;
    queue.ack(leased.lease()).await.expect("it is valid");
    enqueue(&queue, job()).await;
}

async fn twice_in_a_batch<H: Harness>(harness: &H) {
    let limits = Limits::default().with_max_jobs(2);
    let queue = harness.open(limits).await;
    let batch = vec![job(), Job::new("y"), job()];
    let enqueued = queue.enqueue_all(batch).await.expect("they are two jobs");
    assert!(enqueued[0].is_new() && enqueued[1].is_new());
    assert_eq!(enqueued[2], Enqueued::Duplicate(enqueued[0].id()));
    let full = queue.enqueue_all(vec![job()]).await;
    let full = full.expect("a known key needs no room");
    assert_eq!(full, [Enqueued::Duplicate(enqueued[0].id())]);
}
