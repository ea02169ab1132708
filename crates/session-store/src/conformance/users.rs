//! The sentences of the contract about users: whose a session is, their list, their cap, their revocation.

use core::time::Duration;
use std::collections::BTreeSet;

use super::at_once::{all, both};
use super::{Report, Subject, Violation, answered, expect, new_key, record};
use crate::id::SessionKey;
use crate::store::{
    CommitOutcome, CreateOutcome, Record, RotateOutcome, SessionStore, Slide, Version,
};
use crate::user::{Cap, Owner, UserKey};

const LONG: Duration = Duration::from_secs(60 * 60);

pub(super) async fn check<S: Subject>(subject: &S, report: &mut Report) -> Result<(), Violation> {
    a_session_is_listed_for_its_user_alone(subject).await?;
    a_commit_leaves_the_owner(subject).await?;
    a_rotation_gives_and_takes(subject).await?;
    what_has_ended_is_not_listed(subject).await?;
    a_revocation_ends_all_but_what_it_spares(subject).await?;
    a_session_that_moved_is_spared_and_found(subject).await?;
    a_cap_that_rejects_writes_nothing(subject).await?;
    a_cap_that_evicts_ends_the_oldest(subject).await?;
    many_loads_at_once_answer_in_order(subject).await?;
    logins_at_once_are_all_listed(subject).await?;
    nothing_in_flight_survives_a_revocation(subject).await?;
    a_login_during_a_revocation_is_listed_or_dead(subject).await?;
    a_cap_holds_however_many_log_in_at_once(subject).await?;
    report.promises += 13;
    Ok(())
}

fn new_user() -> Result<UserKey, Violation> {
    Ok(UserKey::of(new_key()?.as_bytes()))
}

fn owned(payload: &'static str, user: UserKey, cap: Option<Cap>) -> Record {
    record(payload, LONG, LONG).with_owner(Owner::User { user, cap })
}

async fn login<S: Subject>(subject: &S, user: UserKey) -> Result<SessionKey, Violation> {
    let key = new_key()?;
    let outcome = answered(subject.store().create(&key, owned("x", user, None)).await)?;
    expect(
        "a new key is free",
        outcome,
        CreateOutcome::Created(Version::FIRST),
    )?;
    Ok(key)
}

async fn listed<S: Subject>(
    subject: &S,
    user: &UserKey,
) -> Result<BTreeSet<SessionKey>, Violation> {
    let keys = answered(subject.store().by_user(user).await)?;
    let set = BTreeSet::from_iter(keys.iter().copied());
    expect("no session is listed twice", keys.len(), set.len())?;
    Ok(set)
}

async fn lives<S: Subject>(subject: &S, key: &SessionKey) -> Result<bool, Violation> {
    let entry = answered(subject.store().load(key, Slide::No).await)?;
    Ok(entry.is_some_and(|entry| entry.superseded_by.is_none()))
}

async fn a_session_is_listed_for_its_user_alone<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "a session is listed for its user, and for nobody else";
    let (store, user, other) = (subject.store(), new_user()?, new_user()?);
    expect(PROMISE, listed(subject, &user).await?, BTreeSet::new())?;
    let mine = [login(subject, user).await?, login(subject, user).await?];
    let theirs = login(subject, other).await?;
    let nobodys = new_key()?;
    let outcome = answered(store.create(&nobodys, record("x", LONG, LONG)).await)?;
    expect(PROMISE, outcome, CreateOutcome::Created(Version::FIRST))?;
    expect(PROMISE, listed(subject, &user).await?, mine.into())?;
    expect(PROMISE, listed(subject, &other).await?, [theirs].into())?;
    for (key, owner) in [
        (mine[0], Some(user)),
        (theirs, Some(other)),
        (nobodys, None),
    ] {
        let entry = answered(store.load(&key, Slide::No).await)?;
        expect(
            "an entry says whose it is",
            entry.map(|entry| entry.owner),
            Some(owner),
        )?;
    }
    Ok(())
}

async fn a_commit_leaves_the_owner<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "a commit leaves the owner, whatever its record says";
    let (store, user, other) = (subject.store(), new_user()?, new_user()?);
    let key = login(subject, user).await?;
    for (version, owner) in [
        (1, Owner::Unchanged),
        (2, Owner::Nobody),
        (
            3,
            Owner::User {
                user: other,
                cap: None,
            },
        ),
    ] {
        let write = record("y", LONG, LONG).with_owner(owner);
        let outcome = answered(store.commit(&key, Version(version), write).await)?;
        expect(
            PROMISE,
            outcome,
            CommitOutcome::Committed(Version(version + 1)),
        )?;
        let entry = answered(store.load(&key, Slide::No).await)?;
        expect(PROMISE, entry.map(|entry| entry.owner), Some(Some(user)))?;
    }
    expect(PROMISE, listed(subject, &user).await?, [key].into())?;
    expect(PROMISE, listed(subject, &other).await?, BTreeSet::new())
}

async fn a_rotation_gives_and_takes<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "a rotation gives a session to whom its record says";
    let (store, alice, bob) = (subject.store(), new_user()?, new_user()?);
    let mut key = new_key()?;
    let outcome = answered(store.create(&key, record("x", LONG, LONG)).await)?;
    expect(PROMISE, outcome, CreateOutcome::Created(Version::FIRST))?;
    let user = |user| Owner::User { user, cap: None };
    let mut version = Version::FIRST;
    let mut before = None;
    for (owner, after) in [
        (Owner::Unchanged, None),
        (user(alice), Some(alice)),
        (Owner::Unchanged, Some(alice)),
        (user(alice), Some(alice)),
        (user(bob), Some(bob)),
        (Owner::Nobody, None),
        (user(bob), Some(bob)),
    ] {
        let new = new_key()?;
        let write = record("x", LONG, LONG).with_owner(owner);
        let outcome = answered(store.rotate(&key, &new, version, write, LONG).await)?;
        expect(PROMISE, outcome, RotateOutcome::Rotated(version.next()))?;
        let old = answered(store.load(&key, Slide::No).await)?;
        expect(
            "the old key shows whose the session was",
            old.map(|entry| (entry.owner, entry.superseded_by)),
            Some((before, Some(new))),
        )?;
        (key, version, before) = (new, version.next(), after);
        let entry = answered(store.load(&key, Slide::No).await)?;
        expect(PROMISE, entry.map(|entry| entry.owner), Some(after))?;
        for user in [alice, bob] {
            let expected = BTreeSet::from_iter((after == Some(user)).then_some(key));
            expect(PROMISE, listed(subject, &user).await?, expected)?;
        }
    }
    Ok(())
}

async fn what_has_ended_is_not_listed<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "what has ended is not listed";
    let (store, user, unit) = (subject.store(), new_user()?, subject.unit());
    let stays = login(subject, user).await?;
    let deleted = login(subject, user).await?;
    expect(PROMISE, answered(store.delete(&deleted).await)?, true)?;
    for (idle, absolute) in [(unit * 2, LONG), (LONG, unit * 2)] {
        let key = new_key()?;
        let write = record("x", idle, absolute).with_owner(Owner::User { user, cap: None });
        let outcome = answered(store.create(&key, write).await)?;
        expect(PROMISE, outcome, CreateOutcome::Created(Version::FIRST))?;
    }
    expect(
        "what lives is listed",
        listed(subject, &user).await?.len(),
        3,
    )?;
    subject.pass(unit * 3).await;
    expect(PROMISE, listed(subject, &user).await?, [stays].into())
}

async fn a_revocation_ends_all_but_what_it_spares<S: Subject>(
    subject: &S,
) -> Result<(), Violation> {
    const PROMISE: &str = "a revocation ends all sessions of the user but the one it spares";
    let (store, user, other) = (subject.store(), new_user()?, new_user()?);
    let theirs = login(subject, other).await?;
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(login(subject, user).await?);
    }
    let ended = answered(store.revoke_user(&user, Some(&keys[2])).await)?;
    expect(PROMISE, ended, 4)?;
    for (i, key) in keys.iter().enumerate() {
        expect(PROMISE, lives(subject, key).await?, i == 2)?;
    }
    expect(PROMISE, listed(subject, &user).await?, [keys[2]].into())?;
    // Another user's session spares nothing, and is not touched.
    let ended = answered(store.revoke_user(&user, Some(&theirs)).await)?;
    expect(PROMISE, ended, 1)?;
    expect(PROMISE, listed(subject, &user).await?, BTreeSet::new())?;
    expect(PROMISE, answered(store.revoke_user(&user, None).await)?, 0)?;
    expect(
        "a revocation leaves the sessions of others",
        lives(subject, &theirs).await?,
        true,
    )?;
    for key in &keys {
        let write = record("back", LONG, LONG);
        expect(
            "a write after a revocation is answered by Gone",
            answered(store.commit(key, Version::FIRST, write).await)?,
            CommitOutcome::Gone,
        )?;
        expect(
            "a key is remembered after its session was revoked",
            answered(store.create(key, owned("back", user, None)).await)?,
            CreateOutcome::Collision,
        )?;
    }
    expect(PROMISE, listed(subject, &user).await?, BTreeSet::new())
}

async fn a_session_that_moved_is_spared_and_found<S: Subject>(
    subject: &S,
) -> Result<(), Violation> {
    const PROMISE: &str = "a session is spared, and ended, under the key that it has moved to";
    let (store, user) = (subject.store(), new_user()?);
    let (mine, other) = (login(subject, user).await?, login(subject, user).await?);
    let (mine_now, other_now) = (new_key()?, new_key()?);
    for (old, new, grace) in [(mine, mine_now, LONG), (other, other_now, Duration::ZERO)] {
        let write = owned("x", user, None);
        let outcome = answered(store.rotate(&old, &new, Version::FIRST, write, grace).await)?;
        expect(PROMISE, outcome, RotateOutcome::Rotated(Version(2)))?;
    }
    expect(
        PROMISE,
        answered(store.revoke_user(&user, Some(&mine)).await)?,
        1,
    )?;
    expect(PROMISE, lives(subject, &mine_now).await?, true)?;
    expect(PROMISE, lives(subject, &other_now).await?, false)?;
    expect(PROMISE, answered(store.revoke_user(&user, None).await)?, 1)?;
    expect(PROMISE, lives(subject, &mine_now).await?, false)
}

async fn a_cap_that_rejects_writes_nothing<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str =
        "a cap that rejects refuses one more and counts no session that has ended";
    let (store, user, unit) = (subject.store(), new_user()?, subject.unit());
    let cap = Some(Cap::reject(2));
    let mut keys = Vec::new();
    for idle in [LONG, unit * 2] {
        let key = new_key()?;
        let write = record("x", idle, LONG).with_owner(Owner::User { user, cap });
        let outcome = answered(store.create(&key, write).await)?;
        expect(PROMISE, outcome, CreateOutcome::Created(Version::FIRST))?;
        keys.push(key);
    }
    let third = new_key()?;
    let outcome = answered(store.create(&third, owned("x", user, cap)).await)?;
    expect(PROMISE, outcome, CreateOutcome::AtCap)?;
    expect(PROMISE, lives(subject, &third).await?, false)?;

    let anonymous = new_key()?;
    let outcome = answered(store.create(&anonymous, record("a", LONG, LONG)).await)?;
    expect(PROMISE, outcome, CreateOutcome::Created(Version::FIRST))?;
    let write = owned("y", user, cap);
    let outcome = answered(
        store
            .rotate(&anonymous, &third, Version::FIRST, write, LONG)
            .await,
    )?;
    expect(PROMISE, outcome, RotateOutcome::AtCap)?;
    let entry = answered(store.load(&anonymous, Slide::No).await)?;
    expect(
        "a rotation refused by a cap leaves the session as it was",
        entry.map(|entry| (entry.payload, entry.owner, entry.superseded_by)),
        Some(("a".into(), None, None)),
    )?;
    expect(
        PROMISE,
        listed(subject, &user).await?,
        keys.iter().copied().collect(),
    )?;

    // The session is theirs already, so it is not one more.
    let moved = new_key()?;
    let write = owned("y", user, cap);
    let outcome = answered(
        store
            .rotate(&keys[0], &moved, Version::FIRST, write, LONG)
            .await,
    )?;
    expect(PROMISE, outcome, RotateOutcome::Rotated(Version(2)))?;

    subject.pass(unit * 3).await;
    let outcome = answered(store.create(&third, owned("x", user, cap)).await)?;
    expect(PROMISE, outcome, CreateOutcome::Created(Version::FIRST))?;
    expect(
        PROMISE,
        listed(subject, &user).await?,
        [moved, third].into(),
    )
}

async fn a_cap_that_evicts_ends_the_oldest<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "a cap that evicts ends the oldest session and no other";
    let (store, user, unit) = (subject.store(), new_user()?, subject.unit());
    let cap = Some(Cap::evict_oldest(2));
    let mut keys = Vec::new();
    for i in 0..4 {
        let key = new_key()?;
        if i == 3 {
            // By a login into a session that was there.
            let before = new_key()?;
            let outcome = answered(store.create(&before, record("a", LONG, LONG)).await)?;
            expect(PROMISE, outcome, CreateOutcome::Created(Version::FIRST))?;
            let write = owned("x", user, cap);
            let outcome = answered(
                store
                    .rotate(&before, &key, Version::FIRST, write, LONG)
                    .await,
            )?;
            expect(PROMISE, outcome, RotateOutcome::Rotated(Version(2)))?;
        } else {
            let outcome = answered(store.create(&key, owned("x", user, cap)).await)?;
            expect(PROMISE, outcome, CreateOutcome::Created(Version::FIRST))?;
        }
        keys.push(key);
        subject.pass(unit).await;
        let newest = keys.iter().rev().take(2).copied().collect();
        expect(PROMISE, listed(subject, &user).await?, newest)?;
    }
    for (i, key) in keys.iter().enumerate() {
        expect(PROMISE, lives(subject, key).await?, i >= 2)?;
    }
    Ok(())
}

async fn many_loads_at_once_answer_in_order<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "load_many answers to each key, in their order";
    let (store, user) = (subject.store(), new_user()?);
    let (one, two) = (login(subject, user).await?, login(subject, user).await?);
    let (three, dead) = (new_key()?, new_key()?);
    let write = owned("moved", user, None);
    let outcome = answered(
        store
            .rotate(&two, &three, Version::FIRST, write, LONG)
            .await,
    )?;
    expect(PROMISE, outcome, RotateOutcome::Rotated(Version(2)))?;
    let answers = answered(store.load_many(&[dead, three, one, two, one]).await)?;
    let seen: Vec<_> = answers
        .iter()
        .map(|entry| {
            entry.as_ref().map(|entry| {
                let payload = core::str::from_utf8(&entry.payload).unwrap_or("?");
                (payload, entry.superseded_by)
            })
        })
        .collect();
    expect(
        PROMISE,
        seen,
        vec![
            None,
            Some(("moved", None)),
            Some(("x", None)),
            Some(("x", Some(three))),
            Some(("x", None)),
        ],
    )?;
    expect(PROMISE, answered(store.load_many(&[]).await)?.len(), 0)
}

/// How many calls are under way at once.
const AT_ONCE: usize = 12;

/// Logs in: every other time by a rotation.
async fn login_somehow<S: Subject>(
    subject: &S,
    user: UserKey,
    cap: Option<Cap>,
    by_rotation: bool,
) -> Result<Option<SessionKey>, Violation> {
    let (store, key) = (subject.store(), new_key()?);
    if by_rotation {
        let before = new_key()?;
        let outcome = answered(store.create(&before, record("a", LONG, LONG)).await)?;
        expect(
            "a new key is free",
            outcome,
            CreateOutcome::Created(Version::FIRST),
        )?;
        let write = owned("x", user, cap);
        let outcome = store
            .rotate(&before, &key, Version::FIRST, write, Duration::ZERO)
            .await;
        return Ok(matches!(answered(outcome)?, RotateOutcome::Rotated(_)).then_some(key));
    }
    let outcome = answered(store.create(&key, owned("x", user, cap)).await)?;
    Ok(matches!(outcome, CreateOutcome::Created(_)).then_some(key))
}

async fn logins_at_once_are_all_listed<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "logins at once are all listed, and all revoked";
    let (store, user) = (subject.store(), new_user()?);
    let logins = (0..AT_ONCE).map(|i| login_somehow(subject, user, None, i % 2 == 0));
    let mut keys = Vec::new();
    for key in all(logins).await {
        keys.extend(key?);
    }
    expect(PROMISE, keys.len(), AT_ONCE)?;
    expect(
        PROMISE,
        listed(subject, &user).await?,
        keys.iter().copied().collect(),
    )?;
    let ended = answered(store.revoke_user(&user, None).await)?;
    expect(PROMISE, ended, AT_ONCE)?;
    for key in &keys {
        expect(PROMISE, lives(subject, key).await?, false)?;
    }
    Ok(())
}

async fn nothing_in_flight_survives_a_revocation<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str =
        "no use, write or rotation in flight brings a session through a revocation";
    let (store, user) = (subject.store(), new_user()?);
    for round in 0..4 {
        let mut keys = Vec::new();
        for _ in 0..AT_ONCE {
            keys.push(login(subject, user).await?);
        }
        let moved: Vec<SessionKey> = keys.iter().map(|_| new_key()).collect::<Result<_, _>>()?;
        let revocation = async {
            // Later in each round by what a load takes.
            for _ in 0..round {
                answered(store.load(&keys[0], Slide::No).await)?;
            }
            answered(store.revoke_user(&user, None).await)
        };
        let uses = keys
            .iter()
            .zip(&moved)
            .enumerate()
            .map(|(i, (key, new))| async move {
                let write = owned("y", user, None);
                match i % 4 {
                    0 => answered(store.load(key, Slide::to(LONG * 2)).await).map(drop),
                    1 => answered(store.touch(key, Slide::to(LONG * 2)).await).map(drop),
                    2 => answered(store.commit(key, Version::FIRST, write).await).map(drop),
                    _ => {
                        let rotated = store.rotate(key, new, Version::FIRST, write, Duration::ZERO);
                        answered(rotated.await).map(drop)
                    }
                }
            });
        let (ended, used) = both(revocation, all(uses)).await;
        ended?;
        for used in used {
            used?;
        }
        for key in keys.iter().chain(&moved) {
            expect(PROMISE, lives(subject, key).await?, false)?;
        }
        expect(PROMISE, listed(subject, &user).await?, BTreeSet::new())?;
    }
    Ok(())
}

async fn a_login_during_a_revocation_is_listed_or_dead<S: Subject>(
    subject: &S,
) -> Result<(), Violation> {
    const PROMISE: &str = "a login during a revocation is listed, or has ended";
    let (store, user) = (subject.store(), new_user()?);
    let mut keys = Vec::new();
    for round in 0..4 {
        keys.push(login(subject, user).await?);
        let revocation = async {
            for _ in 0..round {
                answered(store.by_user(&user).await)?;
            }
            answered(store.revoke_user(&user, None).await)
        };
        let logins = (0..AT_ONCE).map(|i| login_somehow(subject, user, None, i % 2 == 0));
        let (ended, created) = both(revocation, all(logins)).await;
        ended?;
        for key in created {
            keys.extend(key?);
        }
        let list = listed(subject, &user).await?;
        for key in &keys {
            expect(PROMISE, list.contains(key), lives(subject, key).await?)?;
        }
    }
    answered(store.revoke_user(&user, None).await)?;
    for key in &keys {
        expect(PROMISE, lives(subject, key).await?, false)?;
    }
    Ok(())
}

async fn a_cap_holds_however_many_log_in_at_once<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "a cap holds however many log in at once";
    for (cap, least) in [(Cap::reject(3), 1), (Cap::evict_oldest(3), 0)] {
        let user = new_user()?;
        let logins = (0..AT_ONCE).map(|i| login_somehow(subject, user, Some(cap), i % 2 == 0));
        let mut keys = Vec::new();
        for key in all(logins).await {
            keys.extend(key?);
        }
        let list = listed(subject, &user).await?;
        expect(PROMISE, list.len() <= 3 && list.len() >= least, true)?;
        for key in &keys {
            expect(PROMISE, list.contains(key), lives(subject, key).await?)?;
        }
    }
    Ok(())
}
