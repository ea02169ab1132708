//! The sentences of the contract, one by one.

use core::time::Duration;

use super::{Report, Subject, Violation, answered, expect, new_key, record};
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, RotateOutcome, SessionStore, Slide, Version,
};

/// Far enough away for a test.
const LONG: Duration = Duration::from_secs(60 * 60);

pub(super) async fn check<S: Subject>(subject: &S, report: &mut Report) -> Result<(), Violation> {
    payloads_come_back(subject).await?;
    a_key_in_use_is_not_taken(subject).await?;
    nothing_is_written_under_an_unknown_key(subject).await?;
    an_unused_session_ends(subject).await?;
    a_used_session_goes_on(subject).await?;
    a_small_gain_is_not_written(subject).await?;
    nothing_moves_the_absolute_deadline_out(subject).await?;
    a_commit_can_move_the_absolute_deadline_in(subject).await?;
    a_commit_after_the_end_brings_nothing_back(subject).await?;
    an_old_key_reads_for_the_grace_and_no_longer(subject).await?;
    without_grace_an_old_key_reads_nothing(subject).await?;
    a_rotation_can_be_found_out_again(subject).await?;
    an_old_key_ends_the_session_within_the_grace(subject).await?;
    report.promises += 13;
    Ok(())
}

async fn created<S: Subject>(
    subject: &S,
    payload: &'static str,
    idle: Duration,
    absolute: Duration,
) -> Result<crate::SessionKey, Violation> {
    let key = new_key()?;
    let outcome = answered(
        subject
            .store()
            .create(&key, record(payload, idle, absolute))
            .await,
    )?;
    expect(
        "a new key is free",
        outcome,
        CreateOutcome::Created(Version::FIRST),
    )?;
    Ok(key)
}

async fn loaded<S: Subject>(
    subject: &S,
    key: &crate::SessionKey,
) -> Result<Option<Entry>, Violation> {
    answered(subject.store().load(key, Slide::No).await)
}

async fn payloads_come_back<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "a payload comes back as it was given";
    let all_bytes: Vec<u8> = (0..=255).collect();
    for payload in [Vec::new(), vec![0], all_bytes, vec![7; 4096]] {
        let key = new_key()?;
        let outcome = answered(
            subject
                .store()
                .create(&key, record(payload.clone(), LONG, LONG))
                .await,
        )?;
        expect(PROMISE, outcome, CreateOutcome::Created(Version::FIRST))?;
        let entry = loaded(subject, &key).await?;
        expect(
            PROMISE,
            entry.as_ref().map(|entry| &entry.payload[..]),
            Some(&payload[..]),
        )?;
        expect(
            "touch says that a session lives",
            answered(subject.store().touch(&key, Slide::No).await)?,
            true,
        )?;
    }
    Ok(())
}

async fn a_key_in_use_is_not_taken<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "a key in use is not taken, by a rotation either";
    let (store, first) = (
        subject.store(),
        created(subject, "first", LONG, LONG).await?,
    );
    let second = created(subject, "second", LONG, LONG).await?;
    let outcome = answered(store.create(&first, record("other", LONG, LONG)).await)?;
    expect(PROMISE, outcome, CreateOutcome::Collision)?;
    for new in [first, second] {
        let write = record("moved", LONG, LONG);
        let outcome = answered(
            store
                .rotate(&first, &new, Version::FIRST, write, LONG)
                .await,
        )?;
        expect(PROMISE, outcome, RotateOutcome::Collision)?;
    }
    for (key, payload) in [(first, "first"), (second, "second")] {
        let entry = loaded(subject, &key).await?;
        expect(
            PROMISE,
            entry.map(|entry| (entry.version, entry.payload)),
            Some((Version::FIRST, payload.into())),
        )?;
    }
    Ok(())
}

async fn nothing_is_written_under_an_unknown_key<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "nothing is written under a key that was never created";
    let (store, key, new) = (subject.store(), new_key()?, new_key()?);
    let write = || record("x", LONG, LONG);
    expect(
        PROMISE,
        answered(store.commit(&key, Version::FIRST, write()).await)?,
        CommitOutcome::Gone,
    )?;
    let rotated = answered(
        store
            .rotate(&key, &new, Version::FIRST, write(), LONG)
            .await,
    )?;
    expect(PROMISE, rotated, RotateOutcome::Gone)?;
    expect(PROMISE, answered(store.delete(&key).await)?, false)?;
    expect(
        PROMISE,
        answered(store.touch(&key, Slide::to(LONG)).await)?,
        false,
    )?;
    for key in [key, new] {
        expect(PROMISE, loaded(subject, &key).await?, None)?;
    }
    Ok(())
}

async fn an_unused_session_ends<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str =
        "an unused session ends at its idle deadline, and a load without slide is no use";
    let unit = subject.unit();
    let key = created(subject, "x", unit * 4, LONG).await?;
    subject.pass(unit * 2).await;
    expect(PROMISE, loaded(subject, &key).await?.is_some(), true)?;
    subject.pass(unit * 3).await;
    expect(PROMISE, loaded(subject, &key).await?, None)
}

async fn a_used_session_goes_on<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "load, touch and commit move the idle deadline out";
    let (store, unit) = (subject.store(), subject.unit());
    let key = created(subject, "x", unit * 4, LONG).await?;
    subject.pass(unit * 2).await;
    expect(
        PROMISE,
        answered(store.load(&key, Slide::to(unit * 4)).await)?.is_some(),
        true,
    )?;
    subject.pass(unit * 3).await;
    expect(
        PROMISE,
        answered(store.touch(&key, Slide::to(unit * 4)).await)?,
        true,
    )?;
    subject.pass(unit * 3).await;
    let write = record("y", unit * 4, Duration::MAX);
    let outcome = answered(store.commit(&key, Version::FIRST, write).await)?;
    expect(PROMISE, outcome, CommitOutcome::Committed(Version(2)))?;
    subject.pass(unit * 3).await;
    expect(PROMISE, loaded(subject, &key).await?.is_some(), true)
}

async fn a_small_gain_is_not_written<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "a slide that gains less than its floor is not made";
    let unit = subject.unit();
    let key = created(subject, "x", unit * 4, LONG).await?;
    subject.pass(unit * 2).await;
    let slide = Slide::To {
        idle: unit * 4,
        min_gain: LONG,
    };
    expect(
        PROMISE,
        answered(subject.store().touch(&key, slide).await)?,
        true,
    )?;
    subject.pass(unit * 3).await;
    expect(PROMISE, loaded(subject, &key).await?, None)
}

async fn nothing_moves_the_absolute_deadline_out<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "no load, commit or rotation moves the absolute deadline out";
    let (store, unit) = (subject.store(), subject.unit());
    let (key, new) = (created(subject, "x", unit * 8, unit * 8).await?, new_key()?);
    answered(store.load(&key, Slide::to(LONG)).await)?;
    let outcome = answered(
        store
            .commit(&key, Version::FIRST, record("y", LONG, LONG))
            .await,
    )?;
    expect(PROMISE, outcome, CommitOutcome::Committed(Version(2)))?;
    let outcome = answered(
        store
            .rotate(&key, &new, Version(2), record("z", LONG, LONG), LONG)
            .await,
    )?;
    expect(PROMISE, outcome, RotateOutcome::Rotated(Version(3)))?;
    let left = answered(store.load(&new, Slide::to(LONG)).await)?.map(|entry| entry.remaining);
    expect(
        PROMISE,
        left.is_some_and(|left| left.absolute <= unit * 8 && left.idle <= left.absolute),
        true,
    )?;
    subject.pass(unit * 9).await;
    for key in [key, new] {
        expect(PROMISE, loaded(subject, &key).await?, None)?;
    }
    Ok(())
}

async fn a_commit_can_move_the_absolute_deadline_in<S: Subject>(
    subject: &S,
) -> Result<(), Violation> {
    const PROMISE: &str = "a commit moves the absolute deadline in when told to";
    let unit = subject.unit();
    let key = created(subject, "x", LONG, LONG).await?;
    let write = record("y", LONG, unit * 2);
    let outcome = answered(subject.store().commit(&key, Version::FIRST, write).await)?;
    expect(PROMISE, outcome, CommitOutcome::Committed(Version(2)))?;
    subject.pass(unit * 3).await;
    expect(PROMISE, loaded(subject, &key).await?, None)
}

async fn a_commit_after_the_end_brings_nothing_back<S: Subject>(
    subject: &S,
) -> Result<(), Violation> {
    const PROMISE: &str = "a write that comes after a session expired is answered by Gone";
    let (store, unit) = (subject.store(), subject.unit());
    let (key, new) = (created(subject, "x", unit * 2, LONG).await?, new_key()?);
    subject.pass(unit * 3).await;
    let write = || record("back", LONG, LONG);
    expect(
        PROMISE,
        answered(store.commit(&key, Version::FIRST, write()).await)?,
        CommitOutcome::Gone,
    )?;
    let rotated = answered(
        store
            .rotate(&key, &new, Version::FIRST, write(), LONG)
            .await,
    )?;
    expect(PROMISE, rotated, RotateOutcome::Gone)?;
    expect(
        PROMISE,
        answered(store.touch(&key, Slide::to(LONG)).await)?,
        false,
    )?;
    for key in [key, new] {
        expect(PROMISE, loaded(subject, &key).await?, None)?;
    }
    Ok(())
}

async fn an_old_key_reads_for_the_grace_and_no_longer<S: Subject>(
    subject: &S,
) -> Result<(), Violation> {
    const PROMISE: &str =
        "for the grace of a rotation the old key reads what was there before, and nothing later";
    let (store, unit) = (subject.store(), subject.unit());
    let (key, new) = (created(subject, "old", LONG, LONG).await?, new_key()?);
    let outcome = answered(
        store
            .rotate(
                &key,
                &new,
                Version::FIRST,
                record("new", LONG, LONG),
                unit * 4,
            )
            .await,
    )?;
    expect(PROMISE, outcome, RotateOutcome::Rotated(Version(2)))?;
    let outcome = answered(
        store
            .commit(&new, Version(2), record("newer", LONG, LONG))
            .await,
    )?;
    expect(PROMISE, outcome, CommitOutcome::Committed(Version(3)))?;
    subject.pass(unit * 2).await;

    let entry = answered(store.load(&key, Slide::to(LONG)).await)?;
    let seen = entry.map(|entry| (entry.payload, entry.superseded_by));
    expect(PROMISE, seen, Some(("old".into(), Some(new))))?;
    let late = answered(
        store
            .commit(&key, Version::FIRST, record("late", LONG, LONG))
            .await,
    )?;
    expect(
        "a write under a key that was rotated away is told so",
        late,
        CommitOutcome::Superseded(new),
    )?;
    subject.pass(unit * 3).await;

    expect(PROMISE, loaded(subject, &key).await?, None)?;
    let late = answered(
        store
            .commit(&key, Version::FIRST, record("late", LONG, LONG))
            .await,
    )?;
    expect(
        "a write under a key that was rotated away is told so",
        late,
        CommitOutcome::Superseded(new),
    )?;
    expect(
        "after the grace an old key ends nothing",
        answered(store.delete(&key).await)?,
        false,
    )?;
    let payload = loaded(subject, &new).await?.map(|entry| entry.payload);
    expect(
        "the session goes on under its new key",
        payload,
        Some("newer".into()),
    )
}

async fn without_grace_an_old_key_reads_nothing<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "with a grace of zero the old key reads nothing at once";
    let (store, key, new) = (
        subject.store(),
        created(subject, "old", LONG, LONG).await?,
        new_key()?,
    );
    let write = record("new", LONG, LONG);
    let outcome = answered(
        store
            .rotate(&key, &new, Version::FIRST, write, Duration::ZERO)
            .await,
    )?;
    expect(PROMISE, outcome, RotateOutcome::Rotated(Version(2)))?;
    expect(PROMISE, loaded(subject, &key).await?, None)
}

async fn a_rotation_can_be_found_out_again<S: Subject>(subject: &S) -> Result<(), Violation> {
    const PROMISE: &str = "a repeated rotation is answered by the key it moved the session to";
    let (store, key, new) = (
        subject.store(),
        created(subject, "old", LONG, LONG).await?,
        new_key()?,
    );
    let rotate = || {
        store.rotate(
            &key,
            &new,
            Version::FIRST,
            record("new", LONG, LONG),
            Duration::ZERO,
        )
    };
    expect(
        PROMISE,
        answered(rotate().await)?,
        RotateOutcome::Rotated(Version(2)),
    )?;
    expect(
        PROMISE,
        answered(rotate().await)?,
        RotateOutcome::Superseded(new),
    )
}

async fn an_old_key_ends_the_session_within_the_grace<S: Subject>(
    subject: &S,
) -> Result<(), Violation> {
    const PROMISE: &str = "a logout under a key that was just rotated away ends the session";
    let (store, key, new) = (
        subject.store(),
        created(subject, "old", LONG, LONG).await?,
        new_key()?,
    );
    let write = record("new", LONG, LONG);
    let outcome = answered(store.rotate(&key, &new, Version::FIRST, write, LONG).await)?;
    expect(PROMISE, outcome, RotateOutcome::Rotated(Version(2)))?;
    expect(PROMISE, answered(store.delete(&key).await)?, true)?;
    for key in [key, new] {
        expect(PROMISE, loaded(subject, &key).await?, None)?;
        let write = record("back", LONG, LONG);
        expect(
            PROMISE,
            answered(store.commit(&key, Version(2), write).await)?,
            CommitOutcome::Gone,
        )?;
    }
    Ok(())
}
