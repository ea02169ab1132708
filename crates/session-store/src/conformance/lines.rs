//! What requests can rely on with [`Sessions`] over a store: one function a promise.
//!
//! Each function makes sessions of its own in the store, and gives the first [`Violation`] it finds. They are
//! meant for a test each, so that a failure has its promise for a name. As with all of the suite, a failure of
//! the store itself is a violation too.

mod ids;
mod outage;
mod regress;
mod users;
mod writes;

use core::time::Duration;

use purlin_core::Retry;

use super::{Subject, Violation, expect};
use crate::auth::Login;
use crate::id::SessionId;
use crate::policy::Policy;
use crate::session::Session;
use crate::sessions::{CommitError, Saved, Sessions};
use crate::store::SessionStore;

pub use ids::{
    an_id_that_was_not_issued_is_never_adopted, an_id_works_at_every_moment_of_a_rotation,
    nothing_moves_the_deadline_out, nothing_under_way_survives_a_logout,
};
pub use outage::{
    a_store_that_is_down_is_neither_no_session_nor_a_valid_one,
    an_outage_at_any_call_logs_nobody_out, an_outage_beneath_logs_nobody_out,
};
pub use regress::{
    a_forged_or_replayed_id_finds_nothing, a_planted_id_gets_no_login,
    an_id_that_repeats_overwrites_nothing, both_limits_are_the_stores, no_bytes_are_too_much,
    no_save_revives_a_deleted_session, the_last_writer_wipes_nothing,
    what_a_store_is_given_opens_nothing,
};
pub use users::{
    a_new_epoch_ends_all_sessions, a_user_has_no_more_sessions_than_allowed,
    a_user_sees_and_ends_their_sessions, what_needs_a_login_is_refused_without,
};
pub use writes::{
    a_counter_is_exact, a_failed_request_changes_nothing, no_update_is_lost,
    what_cannot_be_read_is_an_error_and_stays,
};

/// A test for each function of [`lines`](crate::conformance::lines), over the [`Subject`] that an
/// expression makes anew for each; the expression may await. Those that begin with `regress_s` are
/// [`conformance_regressions!`](crate::conformance_regressions), which this includes. The tests run on tokio, so the crate that calls this has it
/// with its feature `macros`.
///
/// ```
/// use purlin_core::ManualClock;
/// use purlin_session_store::MemoryStore;
/// # use std::time::Duration;
/// # use purlin_session_store::conformance::Subject;
/// # struct Memory { store: MemoryStore<ManualClock>, clock: ManualClock }
/// # impl Memory {
/// #     fn new() -> Self {
/// #         let clock = ManualClock::new();
/// #         Memory { store: MemoryStore::builder().clock(clock.clone()).build(), clock }
/// #     }
/// # }
/// # impl Subject for Memory {
/// #     type Store = MemoryStore<ManualClock>;
/// #     fn store(&self) -> &Self::Store { &self.store }
/// #     fn retention(&self) -> Duration { Duration::from_secs(300) }
/// #     fn unit(&self) -> Duration { Duration::from_millis(1) }
/// #     async fn pass(&self, time: Duration) { self.clock.advance(time) }
/// # }
///
/// purlin_session_store::conformance_lines!(Memory::new());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_lines {
    ($subject:expr) => {
        $crate::conformance_lines! { $subject;
            line_01_no_update_is_lost: no_update_is_lost(2), no_update_is_lost(32), no_update_is_lost(256);
            line_02_a_counter_is_exact: a_counter_is_exact(2), a_counter_is_exact(32), a_counter_is_exact(256);
            line_03_nothing_under_way_survives_a_logout: nothing_under_way_survives_a_logout();
            line_04_an_id_works_at_every_moment_of_a_rotation: an_id_works_at_every_moment_of_a_rotation();
            line_05_a_failed_request_changes_nothing: a_failed_request_changes_nothing();
            line_06_an_outage_at_any_call_logs_nobody_out: an_outage_at_any_call_logs_nobody_out();
            line_09_nothing_moves_the_deadline_out: nothing_moves_the_deadline_out();
            line_10_an_id_that_was_not_issued_is_never_adopted: an_id_that_was_not_issued_is_never_adopted();
            line_11_a_user_sees_and_ends_their_sessions: a_user_sees_and_ends_their_sessions();
            line_11_a_new_epoch_ends_all_sessions: a_new_epoch_ends_all_sessions();
            line_12_a_user_has_no_more_sessions_than_allowed: a_user_has_no_more_sessions_than_allowed();
            line_13_what_cannot_be_read_is_an_error_and_stays: what_cannot_be_read_is_an_error_and_stays();
            asvs_7_5_what_needs_a_login_is_refused_without: what_needs_a_login_is_refused_without();
        }
        $crate::conformance_regressions!($subject);
    };
    ($subject:expr; $($name:ident: $($line:ident($($arg:expr),*)),+;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let subject = $subject;
            $(
                let verdict = $crate::conformance::lines::$line(&subject $(, $arg)*).await;
                assert!(verdict.is_ok(), "{verdict:?}");
            )+
        }
    )*};
}

/// A test for each published defect of session libraries, S1 to S10, in which a store has a part; S8 and S11 are about cookies
/// alone. [`conformance_lines!`](crate::conformance_lines) includes them; by themselves they are for a store in front of
/// others, whose lines are those of what it stands in front of.
#[macro_export]
macro_rules! conformance_regressions {
    ($subject:expr) => {
        $crate::conformance_lines! { $subject;
            regress_s1_no_save_revives_a_deleted_session: no_save_revives_a_deleted_session();
            regress_s2_the_last_writer_wipes_nothing: the_last_writer_wipes_nothing();
            regress_s3_a_planted_id_gets_no_login: a_planted_id_gets_no_login();
            regress_s4_what_a_store_is_given_opens_nothing: what_a_store_is_given_opens_nothing();
            regress_s5_no_bytes_are_too_much: no_bytes_are_too_much();
            regress_s6_a_forged_or_replayed_id_finds_nothing: a_forged_or_replayed_id_finds_nothing();
            regress_s7_both_limits_are_the_stores: both_limits_are_the_stores();
            regress_s9_a_store_that_is_down_is_neither_no_session_nor_a_valid_one: a_store_that_is_down_is_neither_no_session_nor_a_valid_one();
            regress_s10_an_id_that_repeats_overwrites_nothing: an_id_that_repeats_overwrites_nothing();
        }
    };
}

type Verdict = Result<(), Violation>;

const LONG: Duration = Duration::from_secs(60 * 60);

fn sessions<S: Subject>(subject: &S) -> Sessions<&S::Store> {
    Sessions::new(subject.store(), Policy::default())
}

fn works<T, E: core::fmt::Debug>(answer: Result<T, E>) -> Result<T, Violation> {
    answer.map_err(|error| Violation {
        promise: "a store that works does not fail",
        detail: format!("{error:?}"),
    })
}

/// A session with one field, and its id.
async fn begun<S: SessionStore>(sessions: &Sessions<S>) -> Result<SessionId, Violation> {
    let mut session = Session::absent();
    works(session.set_bytes("first", "1"))?;
    expect(
        "a first change makes a session",
        works(sessions.commit(&mut session).await)?,
        Saved::Created,
    )?;
    id_of(&session)
}

async fn logged_in<S: SessionStore>(
    sessions: &Sessions<S>,
    user: &str,
) -> Result<Session, Violation> {
    let mut session = Session::absent();
    session.login(Login::new(user));
    expect(
        "a login makes a session",
        works(sessions.commit(&mut session).await)?,
        Saved::Created,
    )?;
    Ok(session)
}

/// Commits, whatever comes of it.
async fn committed<S: SessionStore>(sessions: &Sessions<S>, session: &mut Session) -> Verdict {
    works(sessions.commit(session).await).map(drop)
}

fn id_of(session: &Session) -> Result<SessionId, Violation> {
    session.id().cloned().ok_or_else(|| Violation {
        promise: "a committed session has an id",
        detail: format!("{session:?}"),
    })
}

fn new_user() -> Result<String, Violation> {
    Ok(format!("{:?}", works(SessionId::random())?.secret_bytes()))
}

/// Each failed round lets another one through, so many contenders may need several rounds of attempts.
async fn commit_in_the_end<S: SessionStore>(
    sessions: &Sessions<S>,
    session: &mut Session,
) -> Result<Saved, CommitError> {
    loop {
        match sessions.commit(session).await {
            Err(error @ CommitError::Contended { .. }) if error.retry() != Retry::NEVER => {}
            outcome => return outcome,
        }
    }
}
