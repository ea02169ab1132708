//! What requests can rely on, line by line, over the memory store. The other stores have the same list.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use purlin_core::ManualClock;
use purlin_session_store::MemoryStore;
use purlin_session_store::conformance::Subject;

struct Memory {
    store: MemoryStore<ManualClock>,
    clock: ManualClock,
}

impl Memory {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        Memory { store, clock }
    }
}

impl Subject for Memory {
    type Store = MemoryStore<ManualClock>;
    fn store(&self) -> &Self::Store {
        &self.store
    }
    fn retention(&self) -> Duration {
        Duration::from_secs(300)
    }
    fn unit(&self) -> Duration {
        Duration::from_millis(1)
    }
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
    fn is_free_of_runtimes(&self) -> bool {
        true
    }
}

purlin_session_store::conformance_lines!(Memory::new());
