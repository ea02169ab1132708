//! What becomes of what requests write.

use core::time::Duration;

use super::super::at_once::requests;
use super::super::{Subject, expect};
use super::{LONG, Verdict, begun, commit_in_the_end, committed, new_user, sessions, works};
use crate::auth::Login;
use crate::fields::PayloadError;
use crate::id::SessionId;
use crate::session::{Session, State};
use crate::sessions::{CommitError, OpenError, Saved};
use crate::store::{CreateOutcome, Lifetime, Record, SessionStore, Slide};

/// Line 1: of `n` requests at once, each of which sets a field of its own, every field is there.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
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
/// The first [`Violation`](crate::conformance::Violation).
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

/// Line 5: a request that fails leaves the session as it was, whatever it had asked for.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
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

/// Line 13: fields that a program does not know survive its writes, and what cannot be read is an error that
/// leaves it as it is.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
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
