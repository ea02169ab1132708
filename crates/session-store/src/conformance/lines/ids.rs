//! When an id works, and when no more.

use super::super::at_once::requests;
use super::super::{Subject, expect};
use super::{LONG, Verdict, begun, committed, id_of, logged_in, new_user, sessions, works};
use crate::auth::{Assurance, Login};
use crate::id::SessionId;
use crate::policy::Policy;
use crate::session::State;
use crate::sessions::{CommitError, Saved, Sessions};

/// Line 3: a request that is under way when its session ends, by a logout, a revocation or its age, is told
/// so, stores nothing, and brings nothing back.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
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
/// The first [`Violation`](crate::conformance::Violation).
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

/// Line 9: no use, write, rotation or login moves the absolute deadline out, and only ever in when told to.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
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
/// The first [`Violation`](crate::conformance::Violation).
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
