//! What requests can rely on, line by line, over the redb store. The other stores have the same list.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use purlin_core::ManualClock;
use purlin_redb::RedbSessionStore;
use purlin_session_store::conformance::Subject;
use tempfile::TempDir;

struct Embedded {
    store: RedbSessionStore<ManualClock>,
    clock: ManualClock,
    _folder: TempDir,
}

impl Embedded {
    fn new() -> Self {
        let (clock, folder) = (ManualClock::new(), tempfile::tempdir().unwrap());
        let store = RedbSessionStore::builder()
            .clock(clock.clone())
            .open(folder.path().join("sessions.redb"))
            .unwrap();
        Embedded {
            store,
            clock,
            _folder: folder,
        }
    }
}

impl Subject for Embedded {
    type Store = RedbSessionStore<ManualClock>;
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

purlin_session_store::conformance_lines!(Embedded::new());
