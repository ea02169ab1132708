//! Promises of the types, and of the memory store beside its contract.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use purlin_work_queue::{
    Bytes, DynQueueStore, EnqueueError, Error, Failure, Job, LeaseError, LeaseRequest, Leased,
    Limits, ManualClock, MemoryQueue, Meter, QueueStore, Tick, Worker,
};
use static_assertions::{assert_impl_all, assert_obj_safe};

assert_obj_safe!(DynQueueStore);
assert_impl_all!(MemoryQueue: Send, Sync, QueueStore);
assert_impl_all!(Arc<dyn DynQueueStore>: Send, Sync, QueueStore);
assert_impl_all!(Leased: Send, Sync, Clone);
assert_impl_all!(Error: Send, Sync, std::error::Error);
assert_impl_all!(EnqueueError<Vec<Job>>: Send, Sync, std::error::Error);
assert_impl_all!(LeaseError: Send, Sync, std::error::Error);
assert_impl_all!(Failure: Send, Sync, std::fmt::Display);
assert_impl_all!(Worker: Send, Sync, Clone);

const LEASE: Duration = Duration::from_secs(30);

fn request() -> LeaseRequest {
    LeaseRequest::new("w", LEASE).with_max(100)
}

fn queue() -> (ManualClock, MemoryQueue<ManualClock>) {
    let clock = ManualClock::new();
    let queue = MemoryQueue::with_clock(Limits::default(), clock.clone());
    (clock, queue)
}

/// What the methods of `QueueStore` say of cancelling, for the memory store: a future that was never polled has done
/// nothing, and one poll does all of it.
#[test]
fn a_future_that_is_dropped_unpolled_has_no_effect() {
    let (_, queue) = queue();
    let id = queue.enqueue(Job::new("x")).unwrap().id();
    let lease = queue.lease(&request()).remove(0).lease();
    let before = queue.stats();
    drop(QueueStore::enqueue(&queue, Job::new("y")));
    drop(QueueStore::enqueue_all(&queue, vec![Job::new("y")]));
    drop(QueueStore::lease(&queue, request()));
    drop(QueueStore::ack(&queue, lease));
    drop(QueueStore::nack(
        &queue,
        lease,
        purlin_work_queue::Nack::release(),
    ));
    drop(QueueStore::extend(&queue, lease, LEASE));
    drop(QueueStore::redrive(&queue, id));
    drop(QueueStore::discard(&queue, id));
    drop(QueueStore::changed(&queue));
    assert_eq!(queue.stats(), before);

    let mut cx = Context::from_waker(Waker::noop());
    let polled = pin!(QueueStore::ack(&queue, lease)).poll(&mut cx);
    assert!(matches!(polled, Poll::Ready(Ok(()))));
}

#[test]
fn of_many_concurrent_enqueues_of_one_key_one_adds() {
    let queue = MemoryQueue::new(Limits::default());
    let (barrier, added) = (Barrier::new(8), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                for key in 0..200_u32 {
                    let job = Job::new("x").with_key(key.to_le_bytes().to_vec());
                    if queue.enqueue(job).unwrap().is_new() {
                        added.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(added.into_inner(), 200);
    assert_eq!(queue.stats().ready, 200);
    assert_eq!(queue.stats().duplicates, 7 * 200);
}

#[test]
fn of_many_concurrent_workers_each_job_goes_to_one() {
    let queue = MemoryQueue::new(Limits::default());
    queue.enqueue_all(vec![Job::new("x"); 1000]).unwrap();
    let (barrier, done) = (Barrier::new(4), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                loop {
                    let leased = queue.lease(&request().with_max(3));
                    if leased.is_empty() {
                        break;
                    }
                    for leased in leased {
                        assert_eq!(leased.attempt(), 1);
                        queue.ack(leased.lease()).unwrap();
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 1000);
    assert_eq!(queue.stats().jobs(), 0);
}

/// Promise of `Clock`: a tick that steps back makes things last longer, and brings nothing back.
#[test]
fn a_clock_that_steps_back_revives_no_lease() {
    let (clock, queue) = queue();
    clock.advance(Duration::from_secs(100));
    let id = queue.enqueue(Job::new("x")).unwrap().id();
    let first = queue.lease(&request()).remove(0);
    clock.advance(LEASE);
    assert_eq!(queue.stats().ready, 1);
    clock.jump_to(Tick::ZERO);
    assert!(queue.ack(first.lease()).unwrap_err().is_lost());
    let second = queue.lease(&request()).remove(0);
    assert_eq!((second.id(), second.attempt()), (id, 2));
    // Until the clock is back where it was, time stands still for the queue.
    clock.advance(Duration::from_secs(120));
    assert_eq!(queue.stats().leased, 1);
    clock.advance(Duration::from_secs(40));
    assert_eq!(queue.stats().ready, 1);
}

#[test]
fn a_wall_clock_that_is_set_changes_nothing() {
    let (clock, queue) = queue();
    queue.enqueue(Job::new("x").with_delay(LEASE)).unwrap();
    queue.enqueue(Job::new("y")).unwrap();
    let leased = queue.lease(&request()).remove(0);
    for millis in [0, u64::MAX] {
        clock.set_wall(purlin_work_queue::WallTime::from_unix_millis(millis));
        let stats = queue.stats();
        assert_eq!((stats.delayed, stats.leased, stats.ready), (1, 1, 0));
    }
    queue.ack(leased.lease()).unwrap();
}

/// A burst of leases that end together is worked off in pieces, and what is not worked off yet is not valid either.
#[test]
fn a_burst_that_ends_at_once_is_never_taken_for_valid() {
    let (clock, queue) = queue();
    let count = 20_000;
    queue.enqueue_all(vec![Job::new("x"); count]).unwrap();
    let mut leases = Vec::new();
    while leases.len() < count {
        let leased = queue.lease(&request().with_max(usize::MAX));
        leases.extend(leased.iter().map(Leased::lease));
    }
    clock.advance(LEASE);
    // The last one is far behind in the backlog.
    let last = *leases.last().unwrap();
    assert!(queue.ack(last).unwrap_err().is_lost());
    let status = queue.status(last.job()).unwrap();
    assert_eq!(status.state, purlin_work_queue::JobState::Ready);
    assert!(
        queue.stats().leased > 0,
        "the backlog is worked off in pieces"
    );
    assert_eq!(queue.next_due(), Some(Duration::ZERO));
    let mut calls = 0;
    while queue.stats().leased > 0 {
        calls += 1;
    }
    assert!(calls < 200, "{calls} calls");
    assert_eq!(queue.stats().ready, count);
}

/// The buffer of a payload may be the caller's own, with a drop that calls the queue.
#[test]
fn a_payload_is_dropped_outside_the_lock() {
    struct Buffer(Arc<MemoryQueue>);
    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            b"payload"
        }
    }
    impl Drop for Buffer {
        fn drop(&mut self) {
            // This would hang if the queue were locked.
            assert!(self.0.stats().jobs() <= 1);
            let job = Job::new("from a drop").with_key("one");
            (*self.0).enqueue(job).unwrap();
        }
    }
    let queue = Arc::new(MemoryQueue::new(Limits::default()));
    let inner = &*queue;
    let job = Job::new(Bytes::from_owner(Buffer(Arc::clone(&queue))));
    inner.enqueue(job).unwrap();
    let leased = inner.lease(&request()).remove(0);
    let lease = leased.lease();
    drop(leased);
    inner.ack(lease).unwrap();
    assert_eq!(inner.stats().ready, 1, "the drop ran, and enqueued");
}

#[test]
fn a_name_longer_than_the_limit_is_cut() {
    let name = "é".repeat(200);
    let request = LeaseRequest::new(&name, LEASE);
    assert_eq!(request.worker().len(), purlin_work_queue::MAX_WORKER_BYTES);
}

#[test]
fn the_meter_reads_what_the_stats_say() {
    let (_, queue) = queue();
    queue.enqueue(Job::new("12345").with_key("678")).unwrap();
    let mut readings = Vec::new();
    queue.read(&mut |reading| readings.push((reading.name, reading.value.to_string())));
    let value = |name: &str| {
        let found = readings.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(value("purlin_work_queue_ready_jobs"), Some("1"));
    assert_eq!(value("purlin_work_queue_size_bytes"), Some("8"));
    assert_eq!(value("purlin_work_queue_enqueued_total"), Some("1"));
}
