//! What users have and may.

use std::collections::BTreeSet;

use super::super::{Subject, expect};
use super::{LONG, Verdict, begun, committed, id_of, logged_in, new_user, sessions, works};
use crate::auth::{Assurance, AuthError, Login};
use crate::policy::Policy;
use crate::session::{Session, State};
use crate::sessions::{CommitError, Sessions};
use crate::store::{SessionStore, Slide};
use crate::user::{Cap, UserKey};

/// Line 11: a user's sessions are listed, and ended one by one, all others, or all.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
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
/// The first [`Violation`](crate::conformance::Violation).
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
/// The first [`Violation`](crate::conformance::Violation).
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

/// What needs a login, or a fresh or sure one, is refused to those who have none (ASVS 7.5).
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
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
