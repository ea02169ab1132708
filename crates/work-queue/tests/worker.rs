//! The worker's loop, under a clock turned by hand.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod flaky;

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use purlin_work_queue::{
    Backoff, DeadReason, Error, Failure, Job, JobState, LeaseRequest, Leased, Limits, ManualClock,
    MemoryQueue, QueueStore, Worker, WorkerReport,
};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::flaky::{Call, Flaky};

const LEASE: Duration = Duration::from_secs(30);
const BACKOFF: Duration = Duration::from_secs(10);

type Queue = Arc<Flaky<MemoryQueue<ManualClock>>>;

/// A queue and a clock, and a worker on them that can be told to stop.
struct Scene {
    clock: ManualClock,
    queue: Queue,
    starts: Arc<AtomicUsize>,
    /// Handlers wait here for the test's leave.
    gate: Arc<Semaphore>,
}

struct Running {
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<WorkerReport, Error>>,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::new();
        let memory = MemoryQueue::with_clock(Limits::default(), clock.clone());
        Scene {
            clock,
            queue: Arc::new(Flaky::new(memory)),
            starts: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }

    fn worker(&self, concurrency: usize) -> Worker<ManualClock> {
        Worker::builder("worker")
            .concurrency(concurrency)
            .lease(LEASE)
            .backoff(Backoff::new(BACKOFF, BACKOFF).without_jitter())
            .poll_interval(Duration::from_secs(3600))
            .drain(Duration::from_secs(100))
            .timer(self.clock.clone())
            .build()
    }

    /// A worker whose handler does `then` once the gate lets it.
    fn start<F>(
        &self,
        concurrency: usize,
        then: impl Fn(Leased) -> F + Send + Sync + 'static,
    ) -> Running
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let (starts, gate) = (Arc::clone(&self.starts), Arc::clone(&self.gate));
        let then = Arc::new(then);
        self.start_with(concurrency, move |leased| {
            starts.fetch_add(1, Ordering::SeqCst);
            let (gate, then) = (Arc::clone(&gate), Arc::clone(&then));
            async move {
                gate.acquire().await.unwrap().forget();
                then(leased).await
            }
        })
    }

    fn start_with<F>(
        &self,
        concurrency: usize,
        handler: impl Fn(Leased) -> F + Send + Sync + 'static,
    ) -> Running
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let worker = self.worker(concurrency);
        let queue = Arc::clone(&self.queue);
        let run = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or(()) };
            worker.run(queue, handler, stopped).await
        });
        Running { stop, run }
    }

    fn enqueue(&self, job: Job) -> purlin_work_queue::JobId {
        self.queue.inner().enqueue(job).unwrap().id()
    }

    fn state(&self, id: purlin_work_queue::JobId) -> Option<JobState> {
        self.queue.inner().status(id).map(|status| status.state)
    }

    fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    /// Turns the clock in steps that are short beside a lease, so that heartbeats come as they would.
    async fn pass(&self, time: Duration) {
        let step = Duration::from_secs(1);
        let mut left = time;
        while !left.is_zero() {
            let now = step.min(left);
            self.clock.advance(now);
            left -= now;
            settle().await;
        }
    }
}

impl Running {
    async fn stop(self) -> WorkerReport {
        self.stop.send(()).unwrap();
        self.run.await.unwrap().unwrap()
    }
}

async fn done(_: Leased) -> Result<(), Failure> {
    Ok(())
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("waited in vain until {what}");
}

#[tokio::test]
async fn jobs_run_side_by_side_up_to_the_concurrency() {
    let scene = Scene::new();
    for i in 0..10_u8 {
        scene.enqueue(Job::new(vec![i]));
    }
    let running = scene.start(3, done);
    until("three run", || scene.starts() == 3).await;
    settle().await;
    assert_eq!(scene.starts(), 3);
    assert_eq!(scene.queue.inner().stats().leased, 3);
    scene.gate.add_permits(1);
    until("a fourth runs", || scene.starts() == 4).await;
    scene.gate.add_permits(100);
    until("all are done", || scene.queue.inner().stats().acked == 10).await;
    let report = running.stop().await;
    assert_eq!(report.done, 10);
    assert_eq!(scene.queue.inner().stats().jobs(), 0);
}

#[tokio::test]
async fn an_idle_worker_starts_at_once_when_a_job_comes_or_its_delay_is_over() {
    let scene = Scene::new();
    scene.gate.add_permits(100);
    let running = scene.start(2, done);
    settle().await;
    scene.enqueue(Job::new("now"));
    until("it is done", || scene.queue.inner().stats().acked == 1).await;

    scene.enqueue(Job::new("later").with_delay(Duration::from_secs(5)));
    settle().await;
    scene.clock.advance(Duration::from_secs(4));
    settle().await;
    assert_eq!(scene.starts(), 1);
    scene.clock.advance(Duration::from_secs(1));
    until("it is done", || scene.queue.inner().stats().acked == 2).await;
    assert_eq!(running.stop().await.done, 2);
}

#[tokio::test]
async fn a_long_job_keeps_its_lease_and_runs_once() {
    let scene = Scene::new();
    let id = scene.enqueue(Job::new("long"));
    let running = scene.start(1, done);
    until("it runs", || scene.starts() == 1).await;
    scene.pass(LEASE * 20).await;
    assert!(matches!(scene.state(id), Some(JobState::Leased { .. })));
    let stats = scene.queue.inner().stats();
    assert_eq!((stats.ended, stats.leases), (0, 1));
    assert!(stats.extended <= 61, "once a third of the lease, {stats:?}");
    scene.gate.add_permits(1);
    until("it is done", || scene.state(id).is_none()).await;
    assert_eq!(running.stop().await.done, 1);
}

#[tokio::test]
async fn a_worker_that_cannot_extend_drops_the_handler_when_the_lease_ends_and_another_takes_over()
{
    let scene = Scene::new();
    let id = scene.enqueue(Job::new("x"));
    let running = scene.start(1, done);
    until("it runs", || scene.starts() == 1).await;
    scene.queue.fail(Call::Extend);
    scene.pass(LEASE - Duration::from_secs(1)).await;
    assert_eq!(scene.starts(), 1);
    assert!(scene.queue.failures(Call::Extend) >= 3, "it tried again");

    scene.pass(Duration::from_secs(1)).await;
    until("the next attempt runs", || scene.starts() == 2).await;
    scene.queue.mend();
    // Two permits: the handler that was dropped must not be there to take one.
    scene.gate.add_permits(2);
    until("it is done", || scene.state(id).is_none()).await;
    let report = running.stop().await;
    assert_eq!((report.done, report.lost), (1, 1));
    assert_eq!(scene.gate.available_permits(), 1);
}

#[tokio::test]
async fn a_store_that_never_answers_does_not_hide_that_the_lease_has_ended() {
    let scene = Scene::new();
    scene.enqueue(Job::new("x"));
    let running = scene.start(1, done);
    until("it runs", || scene.starts() == 1).await;
    scene.queue.hang(Call::Extend);
    scene.pass(LEASE).await;
    until("the next attempt runs", || scene.starts() == 2).await;
    scene.queue.mend();
    scene.gate.add_permits(1);
    until("it is done", || scene.queue.inner().stats().jobs() == 0).await;
    assert_eq!(running.stop().await.lost, 1);
}

#[tokio::test]
async fn a_failure_waits_for_its_backoff_and_is_tried_again() {
    let scene = Scene::new();
    let id = scene.enqueue(Job::new("x"));
    scene.gate.add_permits(100);
    let running = scene.start(1, |leased| async move {
        match leased.attempt() {
            1 => Err("x".parse::<u64>().unwrap_err())?,
            2 => Err(Failure::retry_after("not yet", Duration::from_secs(3))),
            _ => Ok(()),
        }
    });
    let delayed = |secs| {
        Some(JobState::Delayed {
            due_in: Duration::from_secs(secs),
        })
    };
    until("it failed", || scene.state(id) == delayed(10)).await;
    scene.clock.advance(BACKOFF);
    until("it failed again", || scene.state(id) == delayed(3)).await;
    scene.clock.advance(Duration::from_secs(3));
    until("it is done", || scene.state(id).is_none()).await;
    let report = running.stop().await;
    assert_eq!((report.done, report.failed, report.panicked), (1, 2, 0));
}

#[tokio::test]
async fn a_panic_is_a_failure_and_the_worker_goes_on() {
    let scene = Scene::new();
    let panics = scene.enqueue(Job::new("panic").with_max_attempts(1));
    let at_once = scene.enqueue(Job::new("panic at once").with_max_attempts(1));
    scene.enqueue(Job::new("fine"));
    let running = scene.start_with(1, |leased| {
        let payload = leased.into_job().into_payload();
        assert_ne!(payload, "panic at once", "in the call itself");
        async move {
            assert_ne!(payload, "panic", "in the future");
            Ok(())
        }
    });
    until("all are settled", || {
        let stats = scene.queue.inner().stats();
        (stats.dead, stats.acked) == (2, 1)
    })
    .await;
    let letters = scene.queue.inner().dead_letters(None, 9);
    for (letter, (id, text)) in letters
        .iter()
        .zip([(panics, "in the future"), (at_once, "in the call itself")])
    {
        assert_eq!((letter.id(), letter.reason()), (id, DeadReason::Failed));
        assert!(letter.error().unwrap().contains(text), "{letter:?}");
    }
    let report = running.stop().await;
    assert_eq!((report.panicked, report.buried, report.done), (2, 2, 1));
}

#[tokio::test]
async fn what_can_never_be_done_is_a_dead_letter_at_once() {
    let scene = Scene::new();
    scene.enqueue(Job::new("x"));
    scene.gate.add_permits(1);
    let running = scene.start(1, |_| async { Err(Failure::never("gibberish")) });
    until("it is dead", || scene.queue.inner().stats().dead == 1).await;
    let letters = scene.queue.inner().dead_letters(None, 9);
    assert_eq!(letters[0].error(), Some("gibberish"));
    assert_eq!(letters[0].reason(), DeadReason::Rejected);
    assert_eq!(running.stop().await.buried, 1);
}

#[tokio::test]
async fn a_shutdown_leases_no_more_and_waits_for_what_runs() {
    let scene = Scene::new();
    let first = scene.enqueue(Job::new("first"));
    let second = scene.enqueue(Job::new("second"));
    let Running { stop, run } = scene.start(1, done);
    until("one runs", || scene.starts() == 1).await;
    stop.send(()).unwrap();
    // The lease is kept during the drain too.
    scene.pass(LEASE * 2).await;
    assert!(!run.is_finished());
    scene.gate.add_permits(9);
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.done, 1);
    assert_eq!(scene.state(first), None);
    assert_eq!(scene.state(second), Some(JobState::Ready));
}

#[tokio::test]
async fn a_drain_that_takes_too_long_hands_the_job_back_uncounted() {
    let scene = Scene::new();
    let id = scene.enqueue(Job::new("stuck"));
    let Running { stop, run } = scene.start(1, done);
    until("it runs", || scene.starts() == 1).await;
    stop.send(()).unwrap();
    settle().await;
    scene.pass(Duration::from_secs(99)).await;
    assert!(!run.is_finished());
    scene.pass(Duration::from_secs(1)).await;
    let report = run.await.unwrap().unwrap();
    assert_eq!((report.released, report.done), (1, 0));
    let status = scene.queue.inner().status(id).unwrap();
    assert_eq!((status.state, status.attempts), (JobState::Ready, 0));
}

/// What [`Worker::run`] says of cancelling: as if the process had been killed.
#[tokio::test]
async fn a_killed_workers_job_goes_to_another_one_when_its_lease_ends() {
    let scene = Scene::new();
    let id = scene.enqueue(Job::new("x"));
    let killed = scene.start(1, done);
    until("it runs", || scene.starts() == 1).await;
    killed.run.abort();
    assert!(killed.run.await.unwrap_err().is_cancelled());

    let other = scene.start(1, done);
    scene.gate.add_permits(9);
    scene.pass(LEASE - Duration::from_secs(1)).await;
    assert!(matches!(scene.state(id), Some(JobState::Leased { .. })));
    scene.pass(Duration::from_secs(1)).await;
    until("it is done", || scene.state(id).is_none()).await;
    assert_eq!(scene.starts(), 2);
    assert_eq!(other.stop().await.done, 1);
    assert_eq!(scene.queue.inner().stats().ended, 1);
}

#[tokio::test]
async fn a_store_that_fails_to_lease_is_asked_again_with_backoff() {
    let scene = Scene::new();
    scene.gate.add_permits(9);
    scene.queue.fail(Call::Lease);
    let running = scene.start(1, done);
    settle().await;
    scene.enqueue(Job::new("x"));
    settle().await;
    assert_eq!(scene.queue.failures(Call::Lease), 1, "it is left alone");
    scene.clock.advance(BACKOFF);
    settle().await;
    assert_eq!(scene.queue.failures(Call::Lease), 2);
    scene.queue.mend();
    scene.clock.advance(BACKOFF);
    until("it is done", || scene.queue.inner().stats().acked == 1).await;
    let report = running.stop().await;
    assert_eq!((report.done, report.store_failures), (1, 2));
}

#[tokio::test]
async fn a_store_that_is_gone_for_good_ends_the_worker_after_a_drain() {
    let scene = Scene::new();
    scene.enqueue(Job::new("x"));
    let running = scene.start(2, done);
    until("it runs", || scene.starts() == 1).await;
    scene.queue.break_for_good(Call::Lease);
    scene.enqueue(Job::new("y"));
    settle().await;
    assert!(!running.run.is_finished(), "the first job still runs");
    scene.gate.add_permits(1);
    let error = running.run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), purlin_work_queue::ErrorKind::Closed);
    assert_eq!(scene.queue.inner().stats().acked, 1);
}

#[tokio::test]
async fn an_ack_that_fails_is_repeated_while_the_lease_lasts() {
    let scene = Scene::new();
    let id = scene.enqueue(Job::new("x"));
    scene.gate.add_permits(1);
    scene.queue.fail(Call::Ack);
    let running = scene.start(1, done);
    until("an ack failed", || scene.queue.failures(Call::Ack) == 1).await;
    scene.clock.advance(Duration::from_secs(5));
    until("another failed", || scene.queue.failures(Call::Ack) == 2).await;
    scene.queue.mend();
    scene.clock.advance(Duration::from_secs(5));
    until("it is done", || scene.state(id).is_none()).await;
    let report = running.stop().await;
    assert_eq!((report.done, report.lost), (1, 0));
}

#[tokio::test]
async fn an_ack_that_fails_until_the_lease_ends_is_a_lost_one() {
    let scene = Scene::new();
    scene.enqueue(Job::new("x").with_max_attempts(1));
    scene.gate.add_permits(1);
    scene.queue.fail(Call::Ack);
    let running = scene.start(1, done);
    until("an ack failed", || scene.queue.failures(Call::Ack) == 1).await;
    scene.pass(LEASE).await;
    settle().await;
    let report = running.stop().await;
    assert_eq!((report.done, report.lost), (0, 1));
    let letters = scene.queue.inner().dead_letters(None, 9);
    assert_eq!(letters[0].reason(), DeadReason::Lost);
}

/// Two workers on several threads and real time: every job is done once, none is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_a_queue_on_real_threads() {
    let queue = Arc::new(MemoryQueue::new(Limits::default()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut running = Vec::new();
    for name in ["a", "b"] {
        let (stop, stopped) = oneshot::channel::<()>();
        let (queue, seen) = (Arc::clone(&queue), Arc::clone(&seen));
        let run = tokio::spawn(async move {
            let handler = move |leased: Leased| {
                let seen = Arc::clone(&seen);
                async move {
                    seen.lock().unwrap().push(leased.id());
                    Ok(())
                }
            };
            let worker = Worker::builder(name).concurrency(3).build();
            worker
                .run(queue, handler, async { stopped.await.unwrap() })
                .await
        });
        running.push((stop, run));
    }
    let mut ids = Vec::new();
    for i in 0..500_u16 {
        let job = Job::new(i.to_le_bytes().to_vec());
        ids.push((*queue).enqueue(job).unwrap().id());
        if i % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    // Waits on a condition: the last ack empties the queue.
    while queue.stats().jobs() > 0 {
        tokio::task::yield_now().await;
    }
    let mut done = 0;
    for (stop, run) in running {
        stop.send(()).unwrap();
        done += run.await.unwrap().unwrap().done;
    }
    assert_eq!(done, 500);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, ids);
}

/// A request made after a worker has gone finds what it left, which needs no worker at all.
#[tokio::test]
async fn an_interrupted_worker_leaves_the_queue_usable() {
    let scene = Scene::new();
    scene.enqueue(Job::new("x"));
    let killed = scene.start(1, done);
    until("it runs", || scene.starts() == 1).await;
    killed.run.abort();
    drop(killed.run.await);
    scene.clock.advance(LEASE);
    let request = LeaseRequest::new("by hand", LEASE);
    let leased = QueueStore::lease(&*scene.queue, request).await.unwrap();
    assert_eq!(leased[0].attempt(), 2);
}
