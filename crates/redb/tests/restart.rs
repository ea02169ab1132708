//! Wall clocks that are set between two starts, files that do not grow, and callers that share commits.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use purlin_redb::{OffloadedQueue, RedbQueue};
use purlin_work_queue::{
    DynQueueStore, Job, JobState, LeaseRequest, Limits, ManualClock, Meter, QueueStore, WallTime,
    Worker,
};
use static_assertions::assert_impl_all;
use tempfile::TempDir;

assert_impl_all!(RedbQueue: Send, Sync, QueueStore, Meter, std::fmt::Debug);
assert_impl_all!(OffloadedQueue: Send, Sync, Clone, QueueStore, Meter, std::fmt::Debug);
assert_impl_all!(purlin_redb::OpenError: Send, Sync, std::error::Error);

const MINUTE: Duration = Duration::from_secs(60);
const NOON: WallTime = WallTime::from_unix_millis(1_700_000_000_000);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.redb");
    (folder, path)
}

fn open_at(path: &PathBuf, wall: WallTime) -> (ManualClock, RedbQueue<ManualClock>) {
    let clock = ManualClock::at_wall(wall);
    // As a system that has been up for a while: ticks mean nothing to the next process.
    clock.jump_to(purlin_work_queue::Tick::from_nanos(
        wall.as_unix_millis() % 977 * 1_000_003,
    ));
    let queue = RedbQueue::builder()
        .clock(clock.clone())
        .open(path)
        .unwrap();
    (clock, queue)
}

fn request() -> LeaseRequest {
    LeaseRequest::new("w", MINUTE * 10)
}

/// A job under a lease of ten minutes, one delayed by ten, and one for a date in ten.
fn with_waiting_jobs(path: &PathBuf) -> purlin_work_queue::LeaseId {
    let (_, queue) = open_at(path, NOON);
    queue.enqueue(Job::new("leased")).unwrap();
    let lease = queue.lease(&request()).unwrap()[0].lease();
    queue
        .enqueue(Job::new("delayed").with_delay(MINUTE * 10))
        .unwrap();
    let date = NOON.after(MINUTE * 10);
    queue.enqueue(Job::new("dated").not_before(date)).unwrap();
    lease
}

fn states(queue: &RedbQueue<ManualClock>) -> Vec<String> {
    let state = |id| {
        let status = queue
            .status(purlin_work_queue::JobId::from_u64(id))
            .unwrap();
        match status.unwrap().state {
            JobState::Ready => "ready".to_owned(),
            JobState::Leased { ends_in, .. } => format!("leased {}", ends_in.as_secs() / 60),
            JobState::Delayed { due_in } => format!("delayed {}", due_in.as_secs() / 60),
            other => panic!("{other:?}"),
        }
    };
    (1..=3).map(state).collect()
}

#[test]
fn time_that_passes_between_two_starts_counts() {
    let (_folder, path) = folder();
    with_waiting_jobs(&path);
    let (_, queue) = open_at(&path, NOON.after(MINUTE * 4));
    assert_eq!(states(&queue), ["leased 6", "delayed 6", "delayed 6"]);
    drop(queue);
    let (_, queue) = open_at(&path, NOON.after(MINUTE * 10));
    assert_eq!(states(&queue), ["ready", "ready", "ready"]);
}

#[test]
fn a_wall_clock_set_forward_between_two_starts_ends_waits_early() {
    let (_folder, path) = folder();
    let lease = with_waiting_jobs(&path);
    let (_, queue) = open_at(&path, WallTime::MAX);
    assert_eq!(states(&queue), ["ready", "ready", "ready"]);
    assert!(queue.ack(lease).unwrap_err().is_lost());
}

#[test]
fn a_wall_clock_set_back_between_two_starts_makes_no_wait_longer_than_it_was() {
    let (_folder, path) = folder();
    let lease = with_waiting_jobs(&path);
    let (clock, queue) = open_at(&path, WallTime::UNIX_EPOCH);
    let states_now = states(&queue);
    assert_eq!(states_now[..2], ["leased 10", "delayed 10"]);
    // A date is a date.
    let minutes = NOON.as_unix_millis() / 60_000 + 10;
    assert_eq!(states_now[2], format!("delayed {minutes}"));
    clock.advance(MINUTE * 10);
    assert_eq!(states(&queue)[..2], ["ready", "ready"]);
    assert!(queue.ack(lease).unwrap_err().is_lost());
}

/// A lease that ended is over for good: that it ended was written, so no clock that is set back revives it.
#[test]
fn a_lease_that_was_lost_stays_lost_over_a_restart_with_the_clock_set_back() {
    let (_folder, path) = folder();
    let (clock, queue) = open_at(&path, NOON);
    queue.enqueue(Job::new("x")).unwrap();
    let lease = queue.lease(&request()).unwrap()[0].lease();
    clock.advance(MINUTE * 10);
    assert!(queue.ack(lease).unwrap_err().is_lost());
    drop(queue);
    let (_, queue) = open_at(&path, WallTime::UNIX_EPOCH);
    assert!(queue.ack(lease).unwrap_err().is_lost());
    assert_eq!(queue.lease(&request()).unwrap()[0].attempt(), 2);
}

/// A queue at work on a steady depth does not make its file grow.
#[test]
fn a_file_at_a_steady_depth_is_bounded() {
    let (_folder, path) = folder();
    let limits = Limits::default().with_max_keys(50);
    let queue = RedbQueue::builder().limits(limits).open(&path).unwrap();
    let size = || std::fs::metadata(&path).unwrap().len();
    let turn = |rounds: u32, from: u32| {
        for i in from..from + rounds {
            let key = |j: u32| (i * 20 + j).to_le_bytes().to_vec();
            let jobs = (0..20).map(|j| Job::new(vec![1; 1000]).with_key(key(j)));
            queue.enqueue_all(jobs.collect()).unwrap();
            for leased in queue.lease(&request().with_max(20)).unwrap() {
                queue.ack(leased.lease()).unwrap();
            }
        }
    };
    turn(20, 0);
    let settled = size();
    turn(80, 20);
    assert_eq!(queue.stats().jobs(), 0);
    assert!(queue.stats().remembered_keys <= 50);
    assert!(size() <= settled * 2, "{settled} has become {}", size());
}

#[test]
fn many_threads_do_each_job_once() {
    let (_folder, path) = folder();
    let queue = RedbQueue::open(&path).unwrap();
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread_idx in 0..4_u8 {
            let (queue, barrier) = (&queue, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for i in 0..25_u8 {
                    // Each key by two threads.
                    let key = vec![thread_idx / 2, i];
                    queue.enqueue(Job::new("x").with_key(key)).unwrap();
                }
            });
            scope.spawn(move || {
                barrier.wait();
                while queue.stats().acked < 50 {
                    for leased in queue.lease(&request().with_max(3)).unwrap() {
                        assert_eq!(leased.attempt(), 1);
                        queue.ack(leased.lease()).unwrap();
                    }
                }
            });
        }
    });
    let stats = queue.stats();
    assert_eq!(
        (stats.enqueued, stats.duplicates, stats.acked),
        (50, 50, 50)
    );
    assert_eq!(stats.jobs(), 0);
}

/// What `RedbQueue` says of its futures: unpolled they have done nothing, and one poll does everything.
#[test]
fn a_future_of_the_blocking_queue_works_in_its_first_poll() {
    let (_folder, path) = folder();
    let queue = RedbQueue::open(&path).unwrap();
    drop(QueueStore::enqueue(&queue, Job::new("x")));
    assert_eq!(queue.stats().jobs(), 0);
    let mut cx = Context::from_waker(Waker::noop());
    let polled = pin!(QueueStore::enqueue(&queue, Job::new("x"))).poll(&mut cx);
    assert!(matches!(polled, Poll::Ready(Ok(_))));
    assert_eq!(queue.stats().jobs(), 1);
}

/// What `OffloadedQueue` says of its futures: unpolled they have done nothing, and once polled they do all of it
/// though they are dropped.
#[tokio::test]
async fn a_future_of_the_offloaded_queue_runs_to_its_end_once_polled() {
    let (_folder, path) = folder();
    let queue = OffloadedQueue::new(RedbQueue::open(&path).unwrap());
    drop(queue.enqueue(Job::new("x")));
    {
        let mut cx = Context::from_waker(Waker::noop());
        let mut dropped = pin!(queue.enqueue(Job::new("y")));
        let _: Poll<_> = dropped.as_mut().poll(&mut cx);
    }
    // Waits on a condition: nobody else will add it.
    while queue.stats().jobs() == 0 {
        tokio::task::yield_now().await;
    }
    let leased = queue.lease(request()).await.unwrap();
    assert_eq!(leased[0].job().payload(), "y");
}

/// A worker of `purlin-work-queue` on a durable queue, behind a trait object; and one that is killed in the midst.
#[tokio::test]
async fn workers_run_on_it_and_take_over_from_one_another() {
    let (_folder, path) = folder();
    let clock = ManualClock::new();
    let queue = RedbQueue::builder()
        .clock(clock.clone())
        .open(&path)
        .unwrap();
    let queue = OffloadedQueue::new(queue);
    let store: Arc<dyn DynQueueStore> = Arc::new(queue.clone());
    let id = queue.enqueue(Job::new("x")).await.unwrap().id();

    let worker = Worker::builder("killed").timer(clock.clone()).build();
    let first = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let never = std::future::pending();
            worker.run(store, |_| std::future::pending(), never).await
        }
    });
    while queue.stats().leased == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    clock.advance(Duration::from_secs(30));

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = Worker::builder("second").timer(clock.clone()).build();
    let second = tokio::spawn(async move {
        let handler = |leased: purlin_work_queue::Leased| async move {
            assert_eq!(leased.attempt(), 2);
            Ok(())
        };
        worker
            .run(store, handler, async { stopped.await.unwrap() })
            .await
    });
    while queue.status(id).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    assert_eq!(second.await.unwrap().unwrap().done, 1);
}
