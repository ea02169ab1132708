//! What requests can rely on with [`Sessions`] over a store: one function a promise.
//!
//! Each function makes sessions of its own in the store, and gives the first [`Violation`] it finds. They are
//! meant for a test each, so that a failure has its promise for a name. As with all of the suite, a failure of
//! the store itself is a violation too.

use core::time::Duration;
use std::collections::BTreeSet;

use purlin_core::Retry;

use super::at_once::requests;
use super::{Subject, Violation, expect};
use crate::auth::{Assurance, AuthError, Login};
use crate::fields::PayloadError;
use crate::id::SessionId;
use crate::policy::Policy;
use crate::session::{Session, State};
use crate::sessions::{CommitError, OpenError, Saved, Sessions};
use crate::store::{CreateOutcome, Lifetime, Record, SessionStore, Slide};
use crate::user::{Cap, UserKey};

/// A test for each function of [`lines`](crate::conformance::lines), over the [`Subject`] that an
/// expression makes anew for each; the expression may await. The tests run on tokio, so the crate that calls this has it
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
            line_09_nothing_moves_the_deadline_out: nothing_moves_the_deadline_out();
            line_10_an_id_that_was_not_issued_is_never_adopted: an_id_that_was_not_issued_is_never_adopted();
            line_11_a_user_sees_and_ends_their_sessions: a_user_sees_and_ends_their_sessions();
            line_11_a_new_epoch_ends_all_sessions: a_new_epoch_ends_all_sessions();
            line_12_a_user_has_no_more_sessions_than_allowed: a_user_has_no_more_sessions_than_allowed();
            line_13_what_cannot_be_read_is_an_error_and_stays: what_cannot_be_read_is_an_error_and_stays();
            asvs_7_5_what_needs_a_login_is_refused_without: what_needs_a_login_is_refused_without();
        }
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

/// Line 1: of `n` requests at once, each of which sets a field of its own, every field is there.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn no_update_is_lost<S: Subject>(subject: &S, n: usize) -> Verdict {
    const PROMISE: &str = "no update is lost";
    let sessions = sessions(subject);
    let id = begun(&sessions).await?;
    let writes = (0..n).map(|i| {
        let (sessions, id) = (&sessions, id.clone());
        async move {
            let mut session = works(sessions.open(id).await)?;
            works(session.set_bytes(&format!("field {i}"), "x"))?;
            works(commit_in_the_end(sessions, &mut session).await)
        }
    });
    for outcome in requests(subject, writes).await {
        expect(PROMISE, outcome?, Saved::Written)?;
    }
    let session = works(sessions.open(id).await)?;
    expect(PROMISE, session.names().count(), n + 1)
}

/// Line 2: `n` requests at once count one field up, and the sum is exact.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn a_counter_is_exact<S: Subject>(subject: &S, n: usize) -> Verdict {
    let sessions = sessions(subject);
    let id = begun(&sessions).await?;
    let count = |session: &mut Session| {
        let present = session.get_bytes("count").unwrap_or_default();
        // As many bytes as were counted.
        session.set_bytes("count", [&present[..], b"x"].concat())
    };
    let counts = (0..n).map(|_| {
        let (sessions, id) = (&sessions, id.clone());
        async move {
            let mut session = works(sessions.open(id).await)?;
            loop {
                match sessions.update(&mut session, count).await {
                    Err(CommitError::Contended { .. }) => {}
                    outcome => return works(outcome).map(drop),
                }
            }
        }
    });
    for outcome in requests(subject, counts).await {
        outcome?;
    }
    let session = works(sessions.open(id).await)?;
    let counted = session.get_bytes("count").map(|count| count.len());
    expect("a counter is exact", counted, Some(n))
}

/// Line 3: a request that is under way when its session ends, by a logout, a revocation or its age, is told
/// so, stores nothing, and brings nothing back.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn nothing_under_way_survives_a_logout<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "a request under way at the end of its session is told so";
    let idle = subject.unit() * 4;
    let sessions = Sessions::new(subject.store(), Policy::default().idle(idle));
    for end in ["logout", "revocation", "age"] {
        let user = new_user()?;
        let mut session = logged_in(&sessions, &user).await?;
        let id = id_of(&session)?;
        let mut writes = works(sessions.open(id.clone()).await)?;
        let mut moves = works(sessions.open(id.clone()).await)?;
        works(writes.set_bytes("late", "x"))?;
        works(moves.step_up(Assurance::Two))?;
        match end {
            "logout" => {
                session.logout();
                let saved = works(sessions.commit(&mut session).await)?;
                expect("a logout ends the session", saved, Saved::Destroyed)?;
            }
            "revocation" => {
                let ended = works(sessions.end_all_of(&user).await)?;
                expect("a revocation ends the session", ended, 1)?;
            }
            _ => subject.pass(idle * 2).await,
        }
        for late in [&mut writes, &mut moves] {
            let outcome = sessions.commit(late).await;
            expect(PROMISE, matches!(outcome, Err(CommitError::Gone)), true)?;
            expect(PROMISE, late.id().is_none(), true)?;
            let again = sessions.commit(late).await;
            expect(
                "what has ended is not made anew",
                works(again)?,
                Saved::Destroyed,
            )?;
        }
        let seen = works(sessions.open(id).await)?;
        expect("the id stays dead", seen.state(), State::Absent)?;
        let left = works(sessions.of_user(&user).await)?;
        expect("nothing of the user's is left", left.len(), 0)?;
    }
    Ok(())
}

/// Line 4: while a session gets a new id, one of the two works at every moment, and the old one never has what
/// the new one grants.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn an_id_works_at_every_moment_of_a_rotation<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "while a session gets a new id, the old one reads what was there before";
    let sessions = sessions(subject);
    for _ in 0..8 {
        let old = begun(&sessions).await?;
        let user = new_user()?;
        let looks = (0..9).map(|i| {
            let (sessions, old, user) = (&sessions, old.clone(), &user);
            async move {
                if i == 4 {
                    let mut session = works(sessions.open(old).await)?;
                    session.login(Login::new(user.as_str()));
                    let saved = works(sessions.commit(&mut session).await)?;
                    expect("a login rotates", saved, Saved::Rotated)?;
                    return id_of(&session).map(Some);
                }
                for _ in 0..4 {
                    let mut seen = works(sessions.open(old.clone()).await)?;
                    let first = seen.get_bytes("first");
                    expect(PROMISE, first.as_deref(), Some(&b"1"[..]))?;
                    expect("the old id gets no privileges", seen.user(), None)?;
                    if seen.is_superseded() {
                        works(seen.set_bytes("late", "x"))?;
                        let late = sessions.commit(&mut seen).await;
                        let told = matches!(late, Err(CommitError::Superseded));
                        expect("the old id writes nothing", told, true)?;
                    }
                }
                Ok(None)
            }
        });
        let mut new = None;
        for look in requests(subject, looks).await {
            new = look?.or(new);
        }
        let Some(new) = new else { continue };
        let session = works(sessions.open(new).await)?;
        expect(
            "the new id has the session",
            (session.user(), session.get_bytes("late")),
            (Some(user.as_str()), None),
        )?;
    }
    Ok(())
}

/// Line 5: a request that fails leaves the session as it was, whatever it had asked for.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn a_failed_request_changes_nothing<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "a request that fails leaves the session as it was";
    let sessions = sessions(subject);
    let id = begun(&sessions).await?;
    let mut fails = works(sessions.open(id.clone()).await)?;
    works(fails.set_bytes("half", "x"))?;
    fails.login(Login::new(new_user()?));
    fails.end_within(Duration::ZERO);
    // The handler answers 500, and its session is dropped.
    drop(fails);
    let mut session = works(sessions.open(id).await)?;
    expect(
        PROMISE,
        (session.state(), session.user(), session.names().count()),
        (State::Clean, None, 1),
    )?;
    works(session.set_bytes("whole", "x"))?;
    let saved = works(sessions.commit(&mut session).await)?;
    expect(PROMISE, saved, Saved::Written)
}

/// Line 9: no use, write, rotation or login moves the absolute deadline out, and only ever in when told to.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn nothing_moves_the_deadline_out<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "nothing moves the absolute deadline out";
    let absolute = subject.unit() * 16;
    let policy = || Policy::default().idle(LONG).absolute(absolute);
    let sessions = Sessions::new(subject.store(), policy());
    // Another server, which was told something else.
    let laxer = Sessions::new(subject.store(), Policy::default().idle(LONG).absolute(LONG));
    let mut id = begun(&sessions).await?;
    let first = id.clone();
    for change in 0..5 {
        let mut session = works(laxer.open(id.clone()).await)?;
        match change {
            0 => works(session.set_bytes("field", "x"))?,
            1 => session.rotate(),
            2 => session.login(Login::new(new_user()?)),
            3 => works(session.step_up(Assurance::Two))?,
            _ => session.end_within(LONG),
        }
        committed(&laxer, &mut session).await?;
        id = id_of(&session)?;
        let left = works(laxer.open(id.clone()).await)?.remaining();
        expect(
            PROMISE,
            left.is_some_and(|left| left.absolute <= absolute),
            true,
        )?;
    }
    let mut session = works(laxer.open(id.clone()).await)?;
    session.end_within(subject.unit() * 4);
    session.end_within(LONG);
    committed(&laxer, &mut session).await?;
    let left = works(laxer.open(id.clone()).await)?.remaining();
    expect(
        "a deadline can be moved in",
        left.is_some_and(|left| left.absolute <= subject.unit() * 4),
        true,
    )?;
    subject.pass(subject.unit() * 5).await;
    for id in [first, id] {
        let seen = works(laxer.open(id).await)?;
        expect(PROMISE, seen.state(), State::Absent)?;
    }
    Ok(())
}

/// Line 10: an id that was not issued is nobody's, and no session ever gets it.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn an_id_that_was_not_issued_is_never_adopted<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "an id that was not issued is never adopted";
    let sessions = sessions(subject);
    let planted = works(SessionId::random())?;
    let mut session = works(sessions.open(planted.clone()).await)?;
    expect(PROMISE, session.state(), State::Absent)?;
    session.login(Login::new(new_user()?));
    committed(&sessions, &mut session).await?;
    let id = id_of(&session)?;
    expect(PROMISE, id.key() == planted.key(), false)?;
    let seen = works(sessions.open(planted).await)?;
    expect(PROMISE, seen.state(), State::Absent)
}

/// Line 11: a user's sessions are listed, and ended one by one, all others, or all.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn a_user_sees_and_ends_their_sessions<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "a user sees and ends their sessions, and nobody else's";
    let sessions = sessions(subject);
    let (user, other) = (new_user()?, new_user()?);
    let theirs = logged_in(&sessions, &other).await?;
    let mut mine = Vec::new();
    for _ in 0..5 {
        mine.push(logged_in(&sessions, &user).await?);
    }
    let handles =
        |devices: &[crate::Device]| BTreeSet::from_iter(devices.iter().map(|device| device.handle));
    let of =
        |sessions: &[Session]| BTreeSet::from_iter(sessions.iter().filter_map(Session::handle));
    let seen = works(sessions.devices(&mine[0]).await)?;
    expect(PROMISE, handles(&seen), of(&mine))?;
    let current: Vec<_> = seen.iter().filter(|device| device.is_current).collect();
    expect(
        PROMISE,
        current.iter().map(|device| Some(device.handle)).collect(),
        vec![mine[0].handle()],
    )?;

    // One, by its handle; and not that of another user.
    if let (Some(last), Some(foreign)) = (mine[4].handle(), theirs.handle()) {
        expect(
            PROMISE,
            works(sessions.end_device(&user, last).await)?,
            true,
        )?;
        expect(
            PROMISE,
            works(sessions.end_device(&user, last).await)?,
            false,
        )?;
        expect(
            PROMISE,
            works(sessions.end_device(&user, foreign).await)?,
            false,
        )?;
    }
    let seen = works(sessions.of_user(&user).await)?;
    expect(PROMISE, handles(&seen), of(&mine[..4]))?;

    // The session that asks is spared, under the id that it has now.
    works(mine[0].step_up(Assurance::Two))?;
    committed(&sessions, &mut mine[0]).await?;
    expect(PROMISE, works(sessions.logout_others(&mine[0]).await)?, 3)?;
    let seen = works(sessions.of_user(&user).await)?;
    expect(PROMISE, handles(&seen), of(&mine[..1]))?;

    let ended = works(sessions.logout_everywhere(&mut mine[0]).await)?;
    expect(PROMISE, ended, 1)?;
    expect(PROMISE, works(sessions.of_user(&user).await)?.len(), 0)?;
    let theirs = works(sessions.open(id_of(&theirs)?).await)?;
    expect(PROMISE, theirs.user(), Some(other.as_str()))
}

/// Line 11: raising the epoch ends everybody's sessions, and a login begins in the new one.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn a_new_epoch_ends_all_sessions<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "a new epoch ends all sessions of earlier ones";
    let sessions = sessions(subject);
    let user = new_user()?;
    let anonymous = begun(&sessions).await?;
    let before = logged_in(&sessions, &user).await?;
    let mut under_way = works(sessions.open(id_of(&before)?).await)?;
    sessions.raise_epoch(7);
    sessions.raise_epoch(3);
    let after = logged_in(&sessions, &user).await?;
    // One that was opened before cannot write itself into the new epoch.
    under_way.rotate();
    committed(&sessions, &mut under_way).await?;
    // It is looked at first: seen under its old id it would end too.
    for ended in [id_of(&under_way)?, anonymous, id_of(&before)?] {
        let seen = works(sessions.open(ended.clone()).await)?;
        expect(PROMISE, seen.state(), State::Absent)?;
        let key = ended.key();
        let stored = works(subject.store().load(&key, Slide::No).await)?;
        expect(
            "a session of an earlier epoch is deleted when seen",
            stored,
            None,
        )?;
    }
    let seen = works(sessions.open(id_of(&after)?).await)?;
    expect(PROMISE, seen.user(), Some(user.as_str()))?;
    let begun = begun(&sessions).await?;
    let seen = works(sessions.open(begun).await)?;
    expect(PROMISE, seen.state(), State::Clean)
}

/// Line 12: a user has no more sessions than the policy allows, and what happens at the limit is what it says.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn a_user_has_no_more_sessions_than_allowed<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "a user has no more sessions than the policy allows";
    let user = new_user()?;
    let evicts = Policy::default().sessions_per_user(Cap::evict_oldest(2));
    let evicts = Sessions::new(subject.store(), evicts);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(id_of(&logged_in(&evicts, &user).await?)?);
        subject.pass(subject.unit()).await;
    }
    for (i, id) in ids.iter().enumerate() {
        let seen = works(evicts.open(id.clone()).await)?;
        expect(PROMISE, seen.user().is_some(), i > 0)?;
    }
    let rejects = Policy::default().sessions_per_user(Cap::reject(2));
    let rejects = Sessions::new(subject.store(), rejects);
    let mut session = Session::absent();
    session.login(Login::new(user.as_str()));
    let refused = rejects.commit(&mut session).await;
    expect(PROMISE, matches!(refused, Err(CommitError::AtCap)), true)?;
    let one = id_of(&logged_in(&rejects, &new_user()?).await?)?;
    let mut session = works(rejects.open(one).await)?;
    session.login(Login::new(user.as_str()));
    let refused = rejects.commit(&mut session).await;
    expect(PROMISE, matches!(refused, Err(CommitError::AtCap)), true)?;
    expect(PROMISE, works(rejects.of_user(&user).await)?.len(), 2)
}

/// Line 13: fields that a program does not know survive its writes, and what cannot be read is an error that
/// leaves it as it is.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn what_cannot_be_read_is_an_error_and_stays<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "what cannot be read is an error, and stays";
    let sessions = sessions(subject);
    for (payload, kind) in [
        (&b"\x01\x00\x05no"[..], PayloadError::Corrupt),
        (
            b"\x09from a later version",
            PayloadError::Newer { format: 9 },
        ),
        (
            b"\x01\x00\x05\0auth\x01\x00\x00\x00\x63",
            PayloadError::Newer { format: 0x63 },
        ),
    ] {
        let id = works(SessionId::random())?;
        let record = Record::new(payload, Lifetime::new(LONG, LONG));
        let created = works(subject.store().create(&id.key(), record).await)?;
        expect(PROMISE, matches!(created, CreateOutcome::Created(_)), true)?;
        match sessions.open(id.clone()).await {
            Err(OpenError::Payload(found)) => expect(PROMISE, found, kind)?,
            other => expect(PROMISE, format!("{other:?}"), "an error".to_owned())?,
        }
        let stored = works(subject.store().load(&id.key(), Slide::No).await)?;
        let stored = stored.map(|entry| entry.payload);
        expect(PROMISE, stored.as_deref(), Some(payload))?;
    }
    let id = begun(&sessions).await?;
    let mut session = works(sessions.open(id.clone()).await)?;
    works(session.set_bytes("second", "2"))?;
    committed(&sessions, &mut session).await?;
    let session = works(sessions.open(id).await)?;
    let names: Vec<&str> = session.names().collect();
    expect(
        "unknown fields survive a write",
        names,
        vec!["first", "second"],
    )
}

/// What needs a login, or a fresh or sure one, is refused to those who have none (ASVS 7.5).
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn what_needs_a_login_is_refused_without<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "what needs a login is refused without";
    let sessions = sessions(subject);
    let anonymous = works(sessions.open(begun(&sessions).await?).await)?;
    let fresh = anonymous.require_fresh(LONG);
    expect(PROMISE, fresh, Err(AuthError::LoggedOut))?;
    let session = logged_in(&sessions, &new_user()?).await?;
    let old = id_of(&session)?;
    let mut session = works(sessions.open(old.clone()).await)?;
    expect(PROMISE, session.require_fresh(LONG), Ok(()))?;
    let assurance = Assurance::One;
    let weak = session.require_assurance(Assurance::Two);
    expect(PROMISE, weak, Err(AuthError::Weak { assurance }))?;
    works(session.step_up(Assurance::Two))?;
    committed(&sessions, &mut session).await?;
    let session = works(sessions.open(id_of(&session)?).await)?;
    expect(PROMISE, session.require_assurance(Assurance::Two), Ok(()))?;
    let old = works(sessions.open(old).await)?;
    let refused = old.require_assurance(Assurance::One);
    expect(PROMISE, refused, Err(AuthError::Superseded))?;
    let owner = works(
        subject
            .store()
            .by_user(&UserKey::of(session.user().unwrap_or("")))
            .await,
    )?;
    expect("a session that steps up stays listed once", owner.len(), 1)
}
