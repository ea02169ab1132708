//! The memory store keeps the contract, and does what the naive model does.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use purlin_work_queue::conformance::{Harness, Step, run, walk};
use purlin_work_queue::{Clock, DynQueueStore, Limits, ManualClock, MemoryQueue, WallTime};

struct Memory(ManualClock);

impl Memory {
    fn new() -> Self {
        Memory(ManualClock::at_wall(WallTime::from_unix_millis(
            1_700_000_000_000,
        )))
    }
}

impl Harness for Memory {
    type Store = MemoryQueue<ManualClock>;

    async fn open(&self, limits: Limits) -> Self::Store {
        MemoryQueue::with_clock(limits, self.0.clone())
    }

    async fn pass(&self, time: Duration) {
        self.0.advance(time);
    }

    fn date(&self) -> WallTime {
        self.0.wall()
    }

    async fn reopen(&self, store: Self::Store) -> Result<Self::Store, Self::Store> {
        Err(store)
    }
}

/// The same, behind boxed futures.
struct Boxed(Memory);

impl Harness for Boxed {
    type Store = Arc<dyn DynQueueStore>;

    async fn open(&self, limits: Limits) -> Self::Store {
        Arc::new(self.0.open(limits).await)
    }

    async fn pass(&self, time: Duration) {
        self.0.pass(time).await;
    }

    fn date(&self) -> WallTime {
        self.0.date()
    }

    async fn reopen(&self, store: Self::Store) -> Result<Self::Store, Self::Store> {
        Err(store)
    }
}

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    let durable = run(&Memory::new()).await;
    assert!(!durable, "memory forgets");
}

#[tokio::test]
async fn so_it_does_as_a_trait_object() {
    run(&Boxed(Memory::new())).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_memory_store_does_what_the_model_does(
        numbers in prop::collection::vec(any::<(u8, u8, u8)>(), 0..120),
    ) {
        let steps: Vec<Step> = numbers
            .into_iter()
            .map(|(kind, a, b)| Step::from_numbers(kind, a, b))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(walk(&Memory::new(), &steps));
    }
}
