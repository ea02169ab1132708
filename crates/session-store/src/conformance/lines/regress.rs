//! What has gone wrong in session libraries, S1 to S10 of a list of published defects, as far as a store has a part in it.
//! The cookie's part, and what has none but that (S8 and S11), is tested without a store.

use core::time::Duration;

use purlin_core::{ManualClock, WallTime};

use super::super::{Subject, expect, new_key, record};
use super::{LONG, Verdict, begun, committed, id_of, logged_in, new_user, sessions, works};
use crate::auth::Login;
use crate::id::{SessionId, SessionKey};
use crate::policy::Policy;
use crate::session::{Session, State};
use crate::sessions::{CommitError, Saved, Sessions};
use crate::store::{CommitOutcome, CreateOutcome, SessionStore, Slide, Version};
use crate::user::{Owner, UserKey};

/// S1: a save after the delete brings the session back. Here a request that loads, writes, and writes again by what it was
/// told is overtaken at each point by the end of the session, for each way to write and to end it.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn no_save_revives_a_deleted_session<S: Subject>(subject: &S) -> Verdict {
    for save in [Save::Commit, Save::Rotate, Save::Use, Save::Create] {
        for end in [End::Delete, End::Revoke] {
            for at in 0..4 {
                overtaken(subject.store(), save, end, at).await?;
            }
        }
    }
    // The age of all at once, since it takes its time.
    let mut aged = Vec::new();
    let idle = subject.unit() * 2;
    for save in [Save::Commit, Save::Rotate, Save::Use] {
        let key = new_key()?;
        let created = subject.store().create(&key, record("x", idle, LONG)).await;
        let _ = works(created)?;
        aged.push((save, Keys::of(key)?));
    }
    subject.pass(idle * 2).await;
    for (save, keys) in &mut aged {
        save.make(subject.store(), keys).await?;
        stays_dead(subject.store(), keys).await?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Save {
    Commit,
    Rotate,
    Use,
    Create,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Delete,
    Revoke,
}

/// What a request under way knows.
struct Keys {
    first: SessionKey,
    /// To where it is moved.
    second: SessionKey,
    version: Version,
}

impl Keys {
    fn of(first: SessionKey) -> Result<Self, super::Violation> {
        Ok(Keys {
            first,
            second: new_key()?,
            version: Version::FIRST,
        })
    }
}

/// The session ends before step `at` of a request that loads, saves, and saves once more.
async fn overtaken<S: SessionStore>(store: &S, save: Save, end: End, at: usize) -> Verdict {
    let (user, mut keys) = (UserKey::of(new_user()?), Keys::of(new_key()?)?);
    let owner = Owner::User { user, cap: None };
    let first = record("x", LONG, LONG).with_owner(owner);
    let _ = works(store.create(&keys.first, first).await)?;
    for step in 0..4 {
        if step == at {
            match end {
                // Under the old key too, if it was moved: that is what the client has that logs out.
                End::Delete => expect(PROMISE, works(store.delete(&keys.first).await)?, true)?,
                End::Revoke => {
                    let ended = works(store.revoke_user(&user, None).await)?;
                    expect(PROMISE, ended, 1)?;
                }
            }
        }
        match step {
            0 => {
                let entry = works(store.load(&keys.first, Slide::to(LONG)).await)?;
                expect(PROMISE, entry.is_some(), at > 0)?;
            }
            1 | 2 => save.make(store, &mut keys).await?,
            _ => {}
        }
    }
    stays_dead(store, &keys).await?;
    expect(PROMISE, works(store.by_user(&user).await)?, Vec::new())
}

const PROMISE: &str = "what was deleted stays dead";

impl Save {
    async fn make<S: SessionStore>(self, store: &S, keys: &mut Keys) -> Verdict {
        let write = || record("late", LONG, LONG);
        match self {
            Save::Commit => {
                let outcome = store.commit(&keys.first, keys.version, write()).await;
                match works(outcome)? {
                    CommitOutcome::Committed(version) => keys.version = version,
                    CommitOutcome::Conflict(entry) => keys.version = entry.version,
                    CommitOutcome::Superseded(_) | CommitOutcome::Gone => {}
                }
            }
            Save::Rotate => {
                let moved = store
                    .rotate(&keys.first, &keys.second, keys.version, write(), LONG)
                    .await;
                let _ = works(moved)?;
            }
            Save::Use => {
                works(store.touch(&keys.first, Slide::to(LONG * 2)).await)?;
                works(store.load(&keys.first, Slide::to(LONG * 2)).await)?;
            }
            Save::Create => {
                let outcome = works(store.create(&keys.first, write()).await)?;
                expect(PROMISE, outcome, CreateOutcome::Collision)?;
            }
        }
        Ok(())
    }
}

/// No call finds anything under either key, whatever the version that it names.
async fn stays_dead<S: SessionStore>(store: &S, keys: &Keys) -> Verdict {
    for key in [keys.first, keys.second] {
        for version in 1..4 {
            let late = record("back", LONG, LONG);
            let outcome = works(store.commit(&key, Version(version), late).await)?;
            let written = matches!(
                outcome,
                CommitOutcome::Committed(_) | CommitOutcome::Conflict(_)
            );
            expect(PROMISE, written, false)?;
        }
        let used = works(store.touch(&key, Slide::to(LONG)).await)?;
        expect(PROMISE, used, false)?;
        expect(PROMISE, works(store.load(&key, Slide::No).await)?, None)?;
    }
    Ok(())
}

/// S2: the last writer wipes the fields of the others. Here a request that read first and writes last keeps what was set
/// and removed meanwhile, and the store by itself tells it of what it would overwrite.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn the_last_writer_wipes_nothing<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "the last writer wipes nothing";
    let sessions = sessions(subject);
    let id = begun(&sessions).await?;
    let mut stale = works(sessions.open(id.clone()).await)?;
    let mut other = works(sessions.open(id.clone()).await)?;
    works(other.set_bytes("theme", "dark"))?;
    other.remove("first");
    committed(&sessions, &mut other).await?;
    works(stale.set_bytes("lang", "mi"))?;
    committed(&sessions, &mut stale).await?;
    let seen = works(sessions.open(id.clone()).await)?;
    expect(PROMISE, seen.names().collect(), vec!["lang", "theme"])?;

    let (store, key) = (subject.store(), id.key());
    let before = works(store.load(&key, Slide::No).await)?;
    let blind = store.commit(&key, Version::FIRST, record("blind", LONG, LONG));
    match works(blind.await)? {
        CommitOutcome::Conflict(entry) => {
            let present = before.as_ref().map(|entry| entry.version);
            expect(PROMISE, Some(entry.version), present)?;
        }
        other => expect(PROMISE, format!("{other:?}"), "a conflict".to_owned())?,
    }
    let after = works(store.load(&key, Slide::No).await)?;
    let payloads = [before, after].map(|entry| entry.map(|entry| entry.payload));
    expect(PROMISE, &payloads[0], &payloads[1])
}

/// S3: the id that a client brings is adopted, or kept when it logs in. Here neither one that was made up nor one that was
/// issued to somebody else gets a login, with a grace and without.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn a_planted_id_gets_no_login<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "a planted id gets no login";
    for grace in [Duration::ZERO, Duration::from_secs(10)] {
        let sessions = Sessions::new(subject.store(), Policy::default().grace(grace));
        let user = new_user()?;
        let made_up = works(SessionId::random())?;
        let mut session = works(sessions.open(made_up.clone()).await)?;
        session.login(Login::new(user.as_str()));
        committed(&sessions, &mut session).await?;
        let seen = works(sessions.open(made_up).await)?;
        expect(PROMISE, seen.state(), State::Absent)?;

        let issued = begun(&sessions).await?;
        let mut session = works(sessions.open(issued.clone()).await)?;
        session.login(Login::new(user.as_str()));
        committed(&sessions, &mut session).await?;
        let mut seen = works(sessions.open(issued).await)?;
        expect(PROMISE, seen.user(), None)?;
        if grace.is_zero() {
            expect(PROMISE, seen.state(), State::Absent)?;
        } else {
            // The attacker logs in as somebody, so as to have the victim's session.
            seen.login(Login::new(new_user()?));
            let outcome = sessions.commit(&mut seen).await;
            let told = matches!(outcome, Err(CommitError::Superseded));
            expect(PROMISE, told, true)?;
        }
        let seen = works(sessions.open(id_of(&session)?).await)?;
        expect(PROMISE, seen.user(), Some(user.as_str()))?;
    }
    Ok(())
}

/// S4: ids can be guessed, or read where they are stored. Here a store never gives two sessions one id, and what it is
/// given to file a session under opens nothing.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn what_a_store_is_given_opens_nothing<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "what a store has of an id opens nothing";
    let sessions = sessions(subject);
    let user = new_user()?;
    for _ in 0..8 {
        logged_in(&sessions, &user).await?;
    }
    // Whoever can read the store has these, and no more.
    let keys = works(subject.store().by_user(&UserKey::of(&user)).await)?;
    expect("no two sessions have one id", keys.len(), 8)?;
    for key in keys {
        let stolen = works(<[u8; SessionId::LEN]>::try_from(&key.as_bytes()[1..]))?;
        let seen = works(sessions.open(SessionId::from_secret_bytes(stolen)).await)?;
        expect(PROMISE, seen.state(), State::Absent)?;
    }
    Ok(())
}

/// S5: hostile bytes are too much for whoever reads them. Here a store files under keys and takes payloads and users that
/// mean something in its own language, and finds them again.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn no_bytes_are_too_much<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "a store takes any bytes";
    let store = subject.store();
    for hostile in [
        &b"{tag}{other}\r\n*1\r\n$8\r\nFLUSHALL\r\n"[..],
        b"'; DROP TABLE sessions; --\\x00\\'\"$1",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\xff\xfe\xfd%n%s*?[a-z]\x1b[2J\xc3\x28",
    ] {
        // Ends as an unguessable key does, so that a store can be used twice.
        let mut bytes = *new_key()?.as_bytes();
        bytes[1..17].copy_from_slice(&hostile[..16]);
        let Some(key) = SessionKey::from_bytes(&bytes) else {
            return expect("a digest is a key", false, true);
        };
        let user = UserKey::of([hostile, &bytes].concat());
        let owner = Owner::User { user, cap: None };
        let payload = hostile.repeat(64);
        let kept = record(payload.clone(), LONG, LONG).with_owner(owner);
        let outcome = works(store.create(&key, kept).await)?;
        expect(PROMISE, outcome, CreateOutcome::Created(Version::FIRST))?;
        let entry = works(store.load(&key, Slide::to(LONG)).await)?;
        let seen = entry.map(|entry| (entry.payload.to_vec(), entry.owner));
        expect(PROMISE, seen, Some((payload, Some(user))))?;
        expect(PROMISE, works(store.by_user(&user).await)?, vec![key])?;
        expect(PROMISE, works(store.delete(&key).await)?, true)?;
    }
    Ok(())
}

/// S6: forged or replayed tokens are accepted. Here no id and no key that differs from an issued one in one bit finds its
/// session, and one that is used again after its logout finds nothing.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn a_forged_or_replayed_id_finds_nothing<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "a forged or replayed id finds nothing";
    let sessions = sessions(subject);
    let mut session = logged_in(&sessions, &new_user()?).await?;
    let id = id_of(&session)?;
    let mut forged = Vec::new();
    for bit in 0..SessionId::LEN * 8 {
        let mut secret = *id.secret_bytes();
        secret[bit / 8] ^= 1 << (bit % 8);
        forged.push(SessionId::from_secret_bytes(secret).key());
        // Nothing of an id is left in its digest, so a store that looks at a part of that shows by keys alone.
        let mut key = *id.key().as_bytes();
        key[1 + bit / 8] ^= 1 << (bit % 8);
        forged.extend(SessionKey::from_bytes(&key));
    }
    let found = works(subject.store().load_many(&forged).await)?;
    expect(PROMISE, found.iter().flatten().count(), 0)?;
    expect(PROMISE, found.len(), forged.len())?;
    session.logout();
    let saved = works(sessions.commit(&mut session).await)?;
    expect(PROMISE, saved, Saved::Destroyed)?;
    let seen = works(sessions.open(id).await)?;
    expect(PROMISE, seen.state(), State::Absent)
}

/// S7: only the browser expires, or use goes on for ever, or a clock that is set ends or revives sessions. Here a session
/// that is not used ends, and one that is used does so too, whatever the clocks of the servers say that use it.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn both_limits_are_the_stores<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "both limits are the store's, and no server's clock moves them";
    let unit = subject.unit();
    let (idles, absolute) = (Policy::default().idle(unit * 2), unit * 4);
    let ends = || Policy::default().idle(LONG).absolute(absolute);
    // One of the servers is in 1970, the other far from it.
    let servers = [0, 253_370_764_800_000].map(|wall| {
        let clock = ManualClock::at_wall(WallTime::from_unix_millis(wall));
        Sessions::new(subject.store(), ends()).with_clock(clock)
    });
    let unused = begun(&Sessions::new(subject.store(), idles)).await?;
    let mut session = Session::absent();
    session.login(Login::new(new_user()?));
    let saved = works(servers[1].commit(&mut session).await)?;
    expect(PROMISE, saved, Saved::Created)?;
    let id = id_of(&session)?;
    for used in 0..3 {
        let server = &servers[used % 2];
        let mut seen = works(server.open(id.clone()).await)?;
        // Where everything takes its time, it is over by now.
        let left = seen.remaining().map_or(absolute, |left| left.absolute);
        expect(PROMISE, left <= absolute, true)?;
        if seen.state() == State::Clean {
            works(seen.set_bytes("used", vec![used as u8]))?;
            match server.commit(&mut seen).await {
                Ok(_) | Err(CommitError::Gone) => {}
                Err(error) => works(Err(error))?,
            }
        }
        subject.pass(unit).await;
    }
    subject.pass(unit * 2).await;
    for server in &servers {
        for id in [&unused, &id] {
            let seen = works(server.open(id.clone()).await)?;
            expect(PROMISE, seen.state(), State::Absent)?;
        }
    }
    Ok(())
}

/// S10: an id that comes up twice overwrites the first session. Here a generator that repeats itself gets another id, and
/// the store refuses to make a session where one is.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn an_id_that_repeats_overwrites_nothing<S: Subject>(subject: &S) -> Verdict {
    const PROMISE: &str = "an id that repeats overwrites nothing";
    let random = works(SessionId::random())?;
    let [a, b, c, d, e, f, g, h, ..] = *random.secret_bytes();
    let seed = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let weak = || Sessions::new(subject.store(), Policy::default()).with_seeded_ids(seed);
    let first = begun(&weak()).await?;
    let sessions = weak();
    let mut second = Session::absent();
    works(second.set_bytes("first", "2"))?;
    let saved = works(sessions.commit(&mut second).await)?;
    expect(PROMISE, saved, Saved::Created)?;
    let id = id_of(&second)?;
    expect(PROMISE, id.key() == first.key(), false)?;
    // A login would move it to the first one's id.
    let sessions = weak();
    second.login(Login::new(new_user()?));
    committed(&sessions, &mut second).await?;
    expect(PROMISE, id_of(&second)?.key() == first.key(), false)?;
    let outcome = works(
        subject
            .store()
            .create(&first.key(), record("x", LONG, LONG))
            .await,
    )?;
    expect(PROMISE, outcome, CreateOutcome::Collision)?;
    let seen = works(sessions.open(first).await)?;
    expect(PROMISE, seen.user(), None)?;
    let kept = seen.get_bytes("first");
    expect(PROMISE, kept.as_deref(), Some(&b"1"[..]))
}
