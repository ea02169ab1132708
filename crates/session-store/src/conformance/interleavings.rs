//! Every order of two requests' steps.
//!
//! Each call of a store is atomic, so what two requests can do to each other is the order of their calls. A
//! request loads the session and then takes two steps out of four; two requests of three steps have 20 orders,
//! of which half are the other half under other names, and there are 256 pairs of them. All of that is tried on
//! a session that is nobody's, and with other steps on one that is a user's.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use purlin_core::Tick;

use super::at_once::all;
use super::{Model, Report, Subject, Violation, answered, expect, new_key, record};
use crate::id::SessionKey;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, RotateOutcome, SessionStore, Slide, Version,
};
use crate::user::{Owner, UserKey};

/// What a request does after it has loaded the session.
#[derive(Clone, Copy, Debug)]
enum Step {
    Load,
    /// Adds a mark of its own to what it knows of the session.
    Commit,
    Rotate,
    Delete,
    /// Another session of the same user, as from another device.
    Login,
    /// Ends all sessions of the user.
    Revoke,
}

const NOBODYS: [Step; 4] = [Step::Load, Step::Commit, Step::Rotate, Step::Delete];
const A_USERS: [Step; 4] = [Step::Commit, Step::Rotate, Step::Login, Step::Revoke];

pub(super) async fn check<S: Subject>(subject: &S, report: &mut Report) -> Result<(), Violation> {
    for (steps, owned) in [(NOBODYS, false), (A_USERS, true)] {
        // What happens to different sessions does not meet, and over a network most of a call is waiting.
        let lanes = scripts(steps).map(|first| after(subject, first, steps, owned));
        for tried in all(lanes).await {
            let tried = tried?;
            report.interleavings += tried.interleavings;
            report.calls += tried.calls;
        }
    }
    Ok(())
}

/// Every order in which the request that comes first takes these steps.
async fn after<S: Subject>(
    subject: &S,
    first: [Step; 3],
    steps: [Step; 4],
    owned: bool,
) -> Result<Report, Violation> {
    let mut report = Report::default();
    for second in scripts(steps) {
        for order in orders() {
            Trial::run(subject, [&first, &second], order, owned, &mut report)
                .await
                .map_err(|violation| Violation {
                    detail: format!(
                        "{} in order {order:06b} of {first:?} and {second:?}",
                        violation.detail
                    ),
                    ..violation
                })?;
            report.interleavings += 1;
        }
    }
    Ok(report)
}

/// The orders of two times three steps as bits, the first step's the lowest, of which those of the second request are
/// ones. The first request is the one that comes first: under other names, the rest are the same orders again.
fn orders() -> impl Iterator<Item = u32> {
    (0..1 << 6).filter(|order: &u32| order.count_ones() == 3 && order & 1 == 0)
}

fn scripts(steps: [Step; 4]) -> impl Iterator<Item = [Step; 3]> {
    steps
        .into_iter()
        .flat_map(move |second| steps.map(|third| [Step::Load, second, third]))
}

/// Nothing expires within a trial.
const LONG: Duration = Duration::from_secs(60 * 60);
const GRACE: Duration = Duration::from_secs(60);

/// One order of the steps, on a session of its own.
struct Trial<'a, S: Subject> {
    subject: &'a S,
    model: Model,
    /// The keys the session has had.
    keys: Vec<SessionKey>,
    requests: [Request; 2],
    /// The marks whose writing was acknowledged.
    acknowledged: Vec<u8>,
    next_mark: u8,
    deleted: bool,
    /// Whose session it is, if it is somebody's. Each trial has a user of its own.
    user: Option<UserKey>,
}

/// What a request knows.
struct Request {
    key: SessionKey,
    version: Version,
    payload: Bytes,
}

impl<S: Subject> Trial<'_, S> {
    async fn run(
        subject: &S,
        scripts: [&[Step; 3]; 2],
        order: u32,
        owned: bool,
        report: &mut Report,
    ) -> Result<(), Violation> {
        let key = new_key()?;
        let user = owned.then(|| UserKey::of(key.as_bytes()));
        let first = record("", LONG, LONG).with_owner(owner(user));
        let mut model = Model::new(subject.retention());
        let created = answered(subject.store().create(&key, first.clone()).await)?;
        expect(
            "a new key is free",
            created,
            model.create(Tick::ZERO, &key, first),
        )?;
        expect(
            "the first version is 1",
            created,
            CreateOutcome::Created(Version::FIRST),
        )?;

        let request = || Request {
            key,
            version: Version::FIRST,
            payload: Bytes::new(),
        };
        let mut trial = Trial {
            subject,
            model,
            keys: vec![key],
            requests: [request(), request()],
            acknowledged: Vec::new(),
            next_mark: b'a',
            deleted: false,
            user,
        };
        let mut remaining = scripts.map(|script| script.iter());
        for turn in 0..6 {
            let who = (order >> turn & 1) as usize;
            let step = remaining[who]
                .next()
                .expect("an order has three turns for each");
            trial.step(who, *step).await?;
            report.calls += 1;
        }
        trial.check_end().await
    }

    async fn step(&mut self, who: usize, step: Step) -> Result<(), Violation> {
        let store = self.subject.store();
        let Request {
            key,
            version,
            payload,
        } = &self.requests[who];
        let (key, version) = (*key, *version);
        let mut next = payload.to_vec();
        next.push(self.next_mark);
        let write = record(next.clone(), LONG, LONG);
        match step {
            Step::Load => {
                let answer = answered(store.load(&key, Slide::to(LONG)).await)?;
                let promised = self.model.load(Tick::ZERO, &key, Slide::to(LONG));
                expect(
                    "load answers with what is there",
                    timeless(answer.clone()),
                    timeless(promised),
                )?;
                if let Some(entry) = answer {
                    self.learn(who, entry);
                }
            }
            Step::Commit => {
                let answer = answered(store.commit(&key, version, write.clone()).await)?;
                let promised = self.model.commit(Tick::ZERO, &key, version, write);
                expect(
                    "commit compares versions",
                    timeless_commit(&answer),
                    timeless_commit(&promised),
                )?;
                match answer {
                    CommitOutcome::Committed(version) => self.wrote(who, key, version, next),
                    CommitOutcome::Conflict(entry) => self.learn(who, entry),
                    CommitOutcome::Superseded(_) | CommitOutcome::Gone => {}
                }
            }
            Step::Rotate => {
                let new = new_key()?;
                let answer = answered(
                    store
                        .rotate(&key, &new, version, write.clone(), GRACE)
                        .await,
                )?;
                let promised = self
                    .model
                    .rotate(Tick::ZERO, &key, &new, version, write, GRACE);
                expect(
                    "rotate compares versions",
                    timeless_rotate(&answer),
                    timeless_rotate(&promised),
                )?;
                match answer {
                    RotateOutcome::Rotated(version) => {
                        self.keys.push(new);
                        self.wrote(who, new, version, next);
                    }
                    RotateOutcome::Conflict(entry) => self.learn(who, entry),
                    RotateOutcome::Superseded(_)
                    | RotateOutcome::Gone
                    | RotateOutcome::Collision
                    | RotateOutcome::AtCap => {}
                }
            }
            Step::Delete => {
                let answer = answered(store.delete(&key).await)?;
                expect(
                    "delete says whether there was a session",
                    answer,
                    self.model.delete(Tick::ZERO, &key),
                )?;
                self.deleted |= answer;
            }
            Step::Login => {
                let new = new_key()?;
                let write = record("login", LONG, LONG).with_owner(owner(self.user));
                let answer = answered(store.create(&new, write.clone()).await)?;
                expect(
                    "a new key is free",
                    answer,
                    self.model.create(Tick::ZERO, &new, write),
                )?;
                self.keys.push(new);
            }
            Step::Revoke => {
                if let Some(user) = self.user {
                    let answer = answered(store.revoke_user(&user, None).await)?;
                    expect(
                        "a revocation says how many sessions it ended",
                        answer,
                        self.model.revoke_user(Tick::ZERO, &user, None),
                    )?;
                }
            }
        }
        Ok(())
    }

    fn learn(&mut self, who: usize, entry: Entry) {
        self.requests[who].version = entry.version;
        self.requests[who].payload = entry.payload;
    }

    fn wrote(&mut self, who: usize, key: SessionKey, version: Version, payload: Vec<u8>) {
        self.acknowledged.push(self.next_mark);
        self.next_mark += 1;
        self.requests[who] = Request {
            key,
            version,
            payload: payload.into(),
        };
    }

    /// What must hold at the end of every order, said without the model.
    async fn check_end(mut self) -> Result<(), Violation> {
        if let Some(user) = self.user {
            return self.check_user(user).await;
        }
        let store = self.subject.store();
        let mut live = Vec::new();
        for key in &self.keys {
            let entry = answered(store.load(key, Slide::No).await)?;
            live.extend(entry.filter(|entry| entry.superseded_by.is_none()));
        }
        if self.deleted {
            expect("a deleted session is not revived", live.len(), 0)?;
            for key in &self.keys {
                let outcome = answered(store.create(key, record("back", LONG, LONG)).await)?;
                let promised = self
                    .model
                    .create(Tick::ZERO, key, record("back", LONG, LONG));
                expect(
                    "a key is remembered after its session ended",
                    outcome,
                    promised,
                )?;
            }
            return Ok(());
        }
        expect(
            "a session that was not deleted lives under one key",
            live.len(),
            1,
        )?;
        let payload: Vec<Bytes> = live.into_iter().map(|entry| entry.payload).collect();
        expect(
            "no acknowledged write is lost",
            &payload[..],
            &[Bytes::from(self.acknowledged)],
        )
    }
}

impl<S: Subject> Trial<'_, S> {
    /// What must hold at the end of every order on a user's sessions.
    async fn check_user(mut self, user: UserKey) -> Result<(), Violation> {
        let store = self.subject.store();
        let listed = answered(store.by_user(&user).await)?;
        expect(
            "a user's list has what lives and nothing else",
            BTreeSet::from_iter(listed.clone()),
            BTreeSet::from_iter(self.model.by_user(Tick::ZERO, &user)),
        )?;
        let entries = answered(store.load_many(&self.keys).await)?;
        for (key, entry) in self.keys.iter().zip(entries) {
            let promised = self.model.load(Tick::ZERO, key, Slide::No);
            expect(
                "load answers with what is there",
                timeless(entry.clone()),
                timeless(promised),
            )?;
            let lives = entry.is_some_and(|entry| entry.superseded_by.is_none());
            expect(
                "a session that can be loaded is listed",
                listed.contains(key),
                lives,
            )?;
        }
        let ended = answered(store.revoke_user(&user, None).await)?;
        expect(
            "a revocation ends what is listed",
            ended,
            self.model.revoke_user(Tick::ZERO, &user, None),
        )?;
        let left = answered(store.load_many(&self.keys).await)?;
        expect(
            "after a revocation nothing of the user's is left",
            left.iter().flatten().count(),
            0,
        )
    }
}

fn owner(user: Option<UserKey>) -> Owner {
    user.map_or(Owner::Unchanged, |user| Owner::User { user, cap: None })
}

/// An entry without its times, which differ between a server and a model.
fn timeless(entry: Option<Entry>) -> Option<(Version, Bytes, Option<SessionKey>, Option<UserKey>)> {
    entry.map(|entry| {
        (
            entry.version,
            entry.payload,
            entry.superseded_by,
            entry.owner,
        )
    })
}

fn timeless_commit(outcome: &CommitOutcome) -> String {
    match outcome {
        CommitOutcome::Conflict(entry) => format!("Conflict{:?}", timeless(Some(entry.clone()))),
        CommitOutcome::Committed(_) | CommitOutcome::Superseded(_) | CommitOutcome::Gone => {
            format!("{outcome:?}")
        }
    }
}

fn timeless_rotate(outcome: &RotateOutcome) -> String {
    match outcome {
        RotateOutcome::Conflict(entry) => format!("Conflict{:?}", timeless(Some(entry.clone()))),
        RotateOutcome::Rotated(_)
        | RotateOutcome::Superseded(_)
        | RotateOutcome::Gone
        | RotateOutcome::Collision
        | RotateOutcome::AtCap => format!("{outcome:?}"),
    }
}
