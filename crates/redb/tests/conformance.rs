//! The redb store keeps the contract, on threads and offloaded, and does what the naive model does.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use purlin_redb::{OffloadedQueue, RedbQueue};
use purlin_work_queue::conformance::{Harness, Step, run, walk};
use purlin_work_queue::{Clock, Limits, ManualClock, WallTime};
use tempfile::TempDir;

/// Files in a folder of their own, under a clock turned by hand.
struct Files {
    clock: ManualClock,
    folder: TempDir,
    opened: AtomicUsize,
    /// The file and the limits of the store opened last.
    latest: Mutex<(PathBuf, Limits)>,
}

impl Files {
    fn new() -> Self {
        Files {
            clock: ManualClock::at_wall(WallTime::from_unix_millis(1_700_000_000_000)),
            folder: tempfile::tempdir().unwrap(),
            opened: AtomicUsize::new(0),
            latest: Mutex::new((PathBuf::new(), Limits::default())),
        }
    }

    fn create(&self, limits: Limits) -> RedbQueue<ManualClock> {
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        let path = self.folder.path().join(format!("{number}.redb"));
        *self.latest.lock().unwrap() = (path, limits);
        self.open_latest()
    }

    fn open_latest(&self) -> RedbQueue<ManualClock> {
        let (path, limits) = self.latest.lock().unwrap().clone();
        RedbQueue::builder()
            .limits(limits)
            .clock(self.clock.clone())
            .open(path)
            .unwrap()
    }
}

struct Blocking(Files);

impl Harness for Blocking {
    type Store = RedbQueue<ManualClock>;

    async fn open(&self, limits: Limits) -> Self::Store {
        self.0.create(limits)
    }

    async fn pass(&self, time: Duration) {
        self.0.clock.advance(time);
    }

    fn date(&self) -> WallTime {
        self.0.clock.wall()
    }

    async fn reopen(&self, store: Self::Store) -> Result<Self::Store, Self::Store> {
        drop(store);
        Ok(self.0.open_latest())
    }
}

struct Offloaded(Files);

impl Harness for Offloaded {
    type Store = OffloadedQueue<ManualClock>;

    async fn open(&self, limits: Limits) -> Self::Store {
        OffloadedQueue::new(self.0.create(limits))
    }

    async fn pass(&self, time: Duration) {
        self.0.clock.advance(time);
    }

    fn date(&self) -> WallTime {
        self.0.clock.wall()
    }

    async fn reopen(&self, store: Self::Store) -> Result<Self::Store, Self::Store> {
        drop(store);
        Ok(OffloadedQueue::new(self.0.open_latest()))
    }
}

#[tokio::test]
async fn the_redb_store_keeps_the_contract() {
    assert!(run(&Blocking(Files::new())).await, "it can be reopened");
}

#[tokio::test]
async fn so_it_does_offloaded() {
    assert!(run(&Offloaded(Files::new())).await, "it can be reopened");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_redb_store_does_what_the_model_does(
        numbers in prop::collection::vec(any::<(u8, u8, u8)>(), 0..60),
    ) {
        let steps: Vec<Step> = numbers
            .into_iter()
            .map(|(kind, a, b)| Step::from_numbers(kind, a, b))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(walk(&Blocking(Files::new()), &steps));
    }
}
