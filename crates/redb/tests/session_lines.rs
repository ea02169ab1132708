//! What requests can rely on, line by line, over the redb store. The other stores have the same list.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use purlin_core::ManualClock;
use purlin_redb::RedbSessionStore;
use purlin_session_store::conformance::{Subject, lines};
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

macro_rules! lines {
    ($($name:ident: $($line:ident($($arg:expr),*)),+;)*) => {$(
        #[tokio::test]
        async fn $name() {
            $(lines::$line(&Embedded::new() $(, $arg)*).await.unwrap();)+
        }
    )*};
}
lines! {
    line_01_no_update_is_lost: no_update_is_lost(2), no_update_is_lost(32), no_update_is_lost(256);
    line_02_a_counter_is_exact: a_counter_is_exact(2), a_counter_is_exact(32), a_counter_is_exact(256);
    line_03_nothing_under_way_survives_a_logout: nothing_under_way_survives_a_logout();
    line_04_an_id_works_at_every_moment_of_a_rotation: an_id_works_at_every_moment_of_a_rotation();
    line_05_a_failed_request_changes_nothing: a_failed_request_changes_nothing();
    line_09_nothing_moves_the_deadline_out: nothing_moves_the_deadline_out();
    line_10_an_id_that_was_not_issued_is_never_adopted: an_id_that_was_not_issued_is_never_adopted();
    line_11_a_user_sees_and_ends_their_sessions: a_user_sees_and_ends_their_sessions();
    line_11_a_new_epoch_ends_all_sessions: a_new_epoch_ends_all_sessions();
    line_12_a_user_has_no_more_sessions_than_allowed: a_user_has_no_more_sessions_than_allowed();
    line_13_what_cannot_be_read_is_an_error_and_stays: what_cannot_be_read_is_an_error_and_stays();
    asvs_7_5_what_needs_a_login_is_refused_without: what_needs_a_login_is_refused_without();
}
