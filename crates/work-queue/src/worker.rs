//! The loop around a handler.

mod attempt;
mod failure;
mod heartbeat;
mod race;

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::sync::Arc;

use purlin_core::{Backoff, Rng, SystemClock, Timer};
use tokio::task::{JoinError, JoinSet};

use self::attempt::{Ended, Shared, attempt};
pub use self::failure::Failure;
use crate::{Error, LeaseRequest, Leased, QueueStore};

/// Leases jobs and runs a handler on them, several at once, until told to stop.
///
/// What it does with a job:
///
/// - The handler runs on a tokio task of its own. While it runs, its lease is extended each time a third of it has
///   passed, so the lease need only be longer than a pause of the process, not than a job.
/// - `Ok` is acked. A [`Failure`] is nacked, with the worker's backoff unless it says otherwise. A panic is a failure
///   too (where panics unwind; a process that aborts on panic is gone, and its leases end).
/// - A lease that is lost, because the store could not be reached for its length or somebody set a clock, drops the
///   handler's future: from then on another worker may have the job. Code that must not be dropped at an `await`
///   belongs in a task of its own.
///
/// What it does between jobs: it waits until the store says that something has changed, until the next wait or lease
/// ends, or for the poll interval, whichever is first. A store that fails is asked again with backoff, unless its
/// error says that this is no use.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use purlin_work_queue::{Job, Limits, MemoryQueue, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = Arc::new(MemoryQueue::new(Limits::default()));
/// queue.enqueue(Job::new("41"))?;
///
/// let worker = Worker::builder("adder").concurrency(4).lease(Duration::from_secs(10)).build();
/// let (done, stop) = tokio::sync::oneshot::channel::<u64>();
/// let done = std::sync::Mutex::new(Some(done));
/// let handler = move |leased: purlin_work_queue::Leased| {
///     let done = done.lock().unwrap().take();
///     async move {
///         let number: u64 = std::str::from_utf8(leased.job().payload())?.parse()?;
///         if let Some(done) = done {
///             let _ = done.send(number + 1);
///         }
///         Ok(())
///     }
/// };
/// let report = worker.run(queue, handler, async { assert_eq!(stop.await, Ok(42)) }).await?;
/// assert_eq!(report.done, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Worker<T = SystemClock> {
    settings: Settings,
    timer: T,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    name: Arc<str>,
    concurrency: usize,
    lease: Duration,
    backoff: Backoff,
    poll_interval: Duration,
    drain: Duration,
    seed: Option<u64>,
}

/// Makes a [`Worker`]. Each setting has a default that was chosen to be left alone.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct WorkerBuilder<T = SystemClock>(Worker<T>);

/// What a worker has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerReport {
    /// Jobs done and acked.
    pub done: u64,
    /// Attempts that failed and were nacked, panics included.
    pub failed: u64,
    /// How many of these were panics.
    pub panicked: u64,
    /// How many of these made their job a dead letter.
    pub buried: u64,
    /// Attempts whose lease was lost, before the handler was done or before it could be settled.
    pub lost: u64,
    /// Attempts that were interrupted by the end of the drain, and handed back.
    pub released: u64,
    /// Times that the store failed to lease.
    pub store_failures: u64,
}

impl Worker {
    /// A worker with this name, for those who look at the queue.
    pub fn builder(name: impl Into<Arc<str>>) -> WorkerBuilder {
        WorkerBuilder(Worker {
            settings: Settings {
                name: name.into(),
                concurrency: 8,
                lease: Duration::from_secs(30),
                backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(10 * 60)),
                poll_interval: Duration::from_secs(1),
                drain: Duration::from_secs(30),
                seed: None,
            },
            timer: SystemClock::new(),
        })
    }
}

impl<T> WorkerBuilder<T> {
    /// How many jobs to run at once: 8 unless told otherwise. 0 counts as 1.
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.0.settings.concurrency = jobs.max(1);
        self
    }

    /// How long each lease is asked for: 30 seconds unless told otherwise. That is how long a job waits for another
    /// worker if this one dies, and the longest pause this one survives.
    pub fn lease(mut self, duration: Duration) -> Self {
        self.0.settings.lease = duration;
        self
    }

    /// How long a failed job waits for its next attempt: from one second, doubling, up to ten minutes, with jitter,
    /// unless told otherwise.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.0.settings.backoff = backoff;
        self
    }

    /// How long to wait at most before looking for jobs again: one second unless told otherwise. Only a store that
    /// other processes change needs it to be short.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.0.settings.poll_interval = interval;
        self
    }

    /// How long to wait at the end for handlers that are still running: 30 seconds unless told otherwise.
    pub fn drain(mut self, duration: Duration) -> Self {
        self.0.settings.drain = duration;
        self
    }

    /// Repeats the jitter of the run that had the same seed. Without one the seed is random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.settings.seed = Some(seed);
        self
    }

    /// Measures and waits by another clock. It need not be the store's: the store alone decides when a lease ends.
    pub fn timer<U>(self, timer: U) -> WorkerBuilder<U> {
        WorkerBuilder(Worker {
            settings: self.0.settings,
            timer,
        })
    }

    /// The worker.
    pub fn build(self) -> Worker<T> {
        self.0
    }
}

impl<T: Timer + Clone + Send + Sync + 'static> Worker<T> {
    /// Runs `handler` on jobs of `queue` until `shutdown` completes, then leases no more and waits for the handlers
    /// that are running. Those that are not done when the drain time is over are dropped at their next `await` and
    /// their jobs are handed back, without counting the attempt.
    ///
    /// Several may run on one queue, in one process or in many.
    ///
    /// # Errors
    ///
    /// The store's [`Error`], if it says that trying again is no use. What was running is drained first.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, its handlers are dropped at their next `await`, and their jobs come back when their
    /// leases end, with the attempt counted: as if the process had been killed. Complete `shutdown` for a graceful end.
    pub async fn run<Q, H, F>(
        &self,
        queue: Q,
        handler: H,
        shutdown: impl Future<Output = ()>,
    ) -> Result<WorkerReport, Error>
    where
        Q: QueueStore + 'static,
        H: Fn(Leased) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let mut rng = match self.settings.seed {
            Some(seed) => Rng::from_seed(seed),
            None => Rng::from_entropy(),
        };
        let shared = Arc::new(Shared::new(
            queue,
            handler,
            self.timer.clone(),
            self.settings.clone(),
        ));
        let mut crew = Crew::default();
        let result = self.work(&shared, &mut crew, &mut rng, shutdown).await;
        self.drain(&shared, &mut crew).await;
        result.map(|()| crew.report)
    }

    /// Leases and spawns until the shutdown, or an error that will not go away.
    async fn work<Q, H, F>(
        &self,
        shared: &Arc<Shared<Q, H, T>>,
        crew: &mut Crew,
        rng: &mut Rng,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error>
    where
        Q: QueueStore + 'static,
        H: Fn(Leased) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let queue = &shared.queue;
        let mut shutdown = pin!(shutdown);
        let mut failures = 0;
        loop {
            let free = self.settings.concurrency - crew.tasks.len();
            // Before the look, so that what happens between the look and the wait is not missed.
            let mut changed = pin!(queue.changed());
            let pause = if free == 0 {
                None
            } else {
                let asked = self.timer.now();
                let request = LeaseRequest::new(&*self.settings.name, self.settings.lease);
                match queue.lease(request.with_max(free)).await {
                    Ok(batch) => {
                        failures = 0;
                        let all = batch.len() == free;
                        for leased in batch {
                            let shared = Arc::clone(shared);
                            crew.tasks.spawn(attempt(shared, leased, asked, rng.fork()));
                        }
                        if all {
                            None
                        } else {
                            let due = queue.next_due().await.ok().flatten();
                            let poll = self.settings.poll_interval;
                            Some(due.map_or(poll, |due| due.min(poll)))
                        }
                    }
                    Err(error) => {
                        crew.report.store_failures += 1;
                        let Some(least) = error.retry().delay(true) else {
                            return Err(error);
                        };
                        let wait = self.settings.backoff.delay(failures, rng);
                        failures = failures.saturating_add(1);
                        Some(wait.max(least))
                    }
                }
            };
            let after = |pause| self.timer.sleep_until(self.timer.now().after(pause));
            let mut pause = pin!(pause.map(after));
            let stopped = poll_fn(|cx| {
                if shutdown.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                let mut look_again = crew.poll_finished(cx);
                if let Some(pause) = pause.as_mut().as_pin_mut() {
                    look_again |= pause.poll(cx).is_ready();
                    // A store that fails is left alone for the whole pause.
                    look_again |= failures == 0 && changed.as_mut().poll(cx).is_ready();
                }
                if look_again {
                    Poll::Ready(false)
                } else {
                    Poll::Pending
                }
            })
            .await;
            if stopped {
                return Ok(());
            }
        }
    }

    /// Waits for what is running, then interrupts it.
    async fn drain<Q, H>(&self, shared: &Shared<Q, H, T>, crew: &mut Crew) {
        let deadline = self.timer.now().after(self.settings.drain);
        let mut over = pin!(self.timer.sleep_until(deadline));
        let mut interrupted = false;
        poll_fn(|cx| {
            // The order matters: a handler that is done by the deadline is not interrupted.
            crew.poll_finished(cx);
            if crew.tasks.is_empty() {
                return Poll::Ready(());
            }
            if !interrupted && over.as_mut().poll(cx).is_ready() {
                interrupted = true;
                shared.interrupt();
            }
            Poll::Pending
        })
        .await;
    }
}

/// The tasks that are running, and what became of those that are not.
#[derive(Default)]
struct Crew {
    tasks: JoinSet<Ended>,
    report: WorkerReport,
}

impl Crew {
    /// Counts the tasks that have finished, and returns whether there were any. Wakes for the next one.
    fn poll_finished(&mut self, cx: &mut core::task::Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(Some(ended)) = self.tasks.poll_join_next(cx) {
            any = true;
            self.count(ended);
        }
        any
    }

    fn count(&mut self, ended: Result<Ended, JoinError>) {
        let report = &mut self.report;
        match ended {
            Ok(Ended::Done) => report.done += 1,
            Ok(Ended::Failed { panicked, buried }) => {
                report.failed += 1;
                report.panicked += u64::from(panicked);
                report.buried += u64::from(buried);
            }
            Ok(Ended::Released) => report.released += 1,
            // An error is the runtime ending, or a panic in the drop of a handler's future. Nobody settles that lease.
            Ok(Ended::Lost) | Err(_) => report.lost += 1,
        }
    }
}
