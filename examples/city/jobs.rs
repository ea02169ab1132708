//! The slow work: orders go into a durable queue, and workers book them.
//!
//! The queue delivers at least once, so the booking must be harmless to repeat. It is: the shard counts the order
//! and notes it in its ledger in one transaction, and an order that the ledger knows is counted no more.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use purlin_core::Backoff;
use purlin_redb::{OffloadedQueue, OpenError, RedbQueue};
use purlin_work_queue::{
    EnqueueError, Error, Failure, Job, Leased, QueueStore, Worker, WorkerReport,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::oracle::Oracle;
use crate::row::{Change, Key};
use crate::sabotage::Sabotage;
use crate::settings::WORKERS;
use crate::shards::Shards;

/// Orders one worker books at a time.
const CONCURRENCY: usize = 16;

/// How long a worker has an order to itself, unless it says that it still lives.
const LEASE: Duration = Duration::from_secs(5);

/// Every so many orders a worker stumbles: it has booked the order, and does not get to say so. The order is
/// delivered again, which must do no harm.
const STUMBLE: u64 = 250;

/// Sabotage strikes every so many orders.
const NOW_AND_THEN: u64 = 16;

/// What somebody has bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its number: that of the request that placed it.
    pub number: u64,
    /// The product.
    pub product: u32,
}

impl Order {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.number.to_le_bytes().to_vec();
        bytes.extend(self.product.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (number, product) = bytes.split_first_chunk()?;
        Some(Order {
            number: u64::from_le_bytes(*number),
            product: u32::from_le_bytes(product.try_into().ok()?),
        })
    }
}

/// The durable queue of orders.
#[derive(Debug)]
pub struct JobQueue {
    store: OffloadedQueue,
}

impl JobQueue {
    /// The queue in a file, which is created if it is not there.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let store = OffloadedQueue::new(RedbQueue::open(path)?);
        Ok(JobQueue { store })
    }

    /// Keeps an order. It is on disk when this returns.
    ///
    /// # Errors
    ///
    /// If the queue is full or its file cannot be written.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the order may or may not be kept. Placing it again is harmless.
    pub async fn place(&self, order: Order) -> Result<(), EnqueueError<Job>> {
        // The key makes an order that is placed again the same order.
        let job = Job::new(order.to_bytes()).with_key(order.number.to_le_bytes().to_vec());
        self.store.enqueue(job).await.map(drop)
    }

    /// Orders that are not done with: waiting, with a worker, or given up.
    pub fn len(&self) -> usize {
        self.store.stats().jobs()
    }

    /// Whether every order is done with.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The workers at work. Dropping them stops them as a crash would.
#[derive(Debug)]
pub struct Workers {
    tasks: JoinSet<Result<WorkerReport, Error>>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Three workers on a queue.
    pub fn start(
        queue: &JobQueue,
        shards: Shards,
        oracle: Arc<Oracle>,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let booking = Arc::new(Booking {
            shards,
            oracle,
            sabotage,
            deliveries: AtomicU64::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for index in 0..WORKERS {
            let worker = Worker::builder(format!("worker-{}", index + 1))
                .concurrency(CONCURRENCY)
                .lease(LEASE)
                .backoff(Backoff::new(
                    Duration::from_millis(20),
                    Duration::from_secs(1),
                ))
                .build();
            let (store, booking) = (queue.store.clone(), Arc::clone(&booking));
            let mut stopped = stopped.clone();
            tasks.spawn(async move {
                let handler = move |leased| {
                    let booking = Arc::clone(&booking);
                    async move { booking.book(index, leased).await }
                };
                // An error means that the sender is gone, which means the same.
                let shutdown = async { drop(stopped.wait_for(|&stop| stop).await) };
                worker.run(store, handler, shutdown).await
            });
        }
        Workers { tasks, stop }
    }

    /// Lets the workers finish what they have, and waits for them.
    ///
    /// # Errors
    ///
    /// If a worker had stopped before it was told to, for the queue's sake.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the workers stop as if they had crashed.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(report) => report.map(drop)?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        Ok(())
    }
}

/// The handler of orders, which the workers share.
#[derive(Debug)]
struct Booking {
    shards: Shards,
    oracle: Arc<Oracle>,
    sabotage: Option<Sabotage>,
    /// Deliveries so far.
    deliveries: AtomicU64,
}

impl Booking {
    async fn book(&self, worker: usize, leased: Leased) -> Result<(), Failure> {
        let Some(order) = Order::from_bytes(leased.job().payload()) else {
            return Err(Failure::never("not an order"));
        };
        self.oracle.delivered(order.number, worker);
        let nth = self.deliveries.fetch_add(1, Ordering::Relaxed) + 1;
        let strikes =
            |sabotage| self.sabotage == Some(sabotage) && nth.is_multiple_of(NOW_AND_THEN);
        if strikes(Sabotage::LoseJob) {
            return Ok(());
        }
        let change = |once| Change {
            key: Key::product(order.product),
            cause: order.number,
            once,
        };
        self.shards.change(change(true)).await?;
        if strikes(Sabotage::DoubleEffect) {
            self.shards.change(change(false)).await?;
        }
        if nth.is_multiple_of(STUMBLE) {
            return Err(Failure::retry_after("stumbled", Duration::from_millis(50)));
        }
        Ok(())
    }
}
