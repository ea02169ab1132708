//! A random walk over all calls, beside the model.

use core::fmt::Debug;
use core::future::Future;
use core::time::Duration;
use std::collections::BTreeSet;

use purlin_core::{Rng, Tick};

use super::{Faults, Faulty, Model, Subject, Violation, answered, expect, new_key, record};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{CommitOutcome, Entry, Record, RotateOutcome, SessionStore, Slide, Version};
use crate::user::{Cap, Owner, UserKey};

const PROMISE: &str = "every answer is the model's";
const LONG: Duration = Duration::from_secs(60 * 60);

/// Makes this many calls that a seed decides, one after the other, on sessions that are nobody's and those of two users
/// with caps and without, and compares each answer and both lists with the [`Model`]'s. A call of ten fails before its effect
/// or loses its answer after it, and is repeated until it has one. No time passes in it that matters.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the walk are left in the store. They expire.
pub async fn walk<S: Subject>(subject: &S, seed: u64, steps: usize) -> Result<(), Violation> {
    let mut walk = Walk {
        subject,
        rng: Rng::from_seed(seed),
        model: Model::new(subject.retention()),
        keys: vec![new_key()?],
        users: [new_user()?, new_user()?],
        step: 0,
    };
    for _ in 0..steps {
        walk.step += 1;
        walk.call().await?;
        walk.compare().await?;
    }
    for user in walk.users {
        answered(subject.store().revoke_user(&user, None).await)?;
        walk.model.revoke_user(NOW, &user, None);
    }
    walk.compare().await
}

/// The model's time stands still: everything lives for longer than the walk takes.
const NOW: Tick = Tick::ZERO;

struct Walk<'a, S> {
    subject: &'a S,
    rng: Rng,
    model: Model,
    keys: Vec<SessionKey>,
    users: [UserKey; 2],
    step: u64,
}

/// What of an answer does not depend on the time.
#[derive(Debug, PartialEq)]
struct Seen {
    version: Version,
    payload: Vec<u8>,
    superseded_by: Option<SessionKey>,
    owner: Option<UserKey>,
}

impl Seen {
    fn of(entry: Entry) -> Self {
        Seen {
            version: entry.version,
            payload: entry.payload.to_vec(),
            superseded_by: entry.superseded_by,
            owner: entry.owner,
        }
    }
}

impl<S: Subject> Walk<'_, S> {
    async fn call(&mut self) -> Result<(), Violation> {
        let (store, key) = (Faulty::new(self.subject.store()), self.key());
        store.inject(Faults::by_chance(self.rng.next_u64(), 0.1));
        match self.rng.below(16) {
            0..5 => {
                let (owner, has_cap) = self.owner();
                // Whether a key that is taken is found before the cap is looked at, is a store's own affair.
                let key = if has_cap { self.fresh()? } else { key };
                if has_cap {
                    store.heal();
                }
                let record = || record_at(self.step).with_owner(owner);
                let create = || store.create(&key, record());
                let twin = |model: &mut Model| model.create(NOW, &key, record());
                let (outcome, model) = ask(&store, &mut self.model, create, twin).await?;
                compare(self.step, outcome, model)
            }
            5..8 => {
                let (expected, step) = (self.version(&key), self.step);
                let commit = || store.commit(&key, expected, record_at(step));
                let twin = |model: &mut Model| model.commit(NOW, &key, expected, record_at(step));
                let (outcome, model) = ask(&store, &mut self.model, commit, twin).await?;
                compare(step, committed(outcome), committed(model))
            }
            8..12 => {
                let (new, expected) = (self.fresh()?, self.version(&key));
                let (owner, step) = (self.owner().0, self.step);
                let record = || record_at(step).with_owner(owner);
                let rotate = || store.rotate(&key, &new, expected, record(), LONG);
                let twin =
                    |model: &mut Model| model.rotate(NOW, &key, &new, expected, record(), LONG);
                let (outcome, model) = ask(&store, &mut self.model, rotate, twin).await?;
                compare(step, rotated_seen(outcome), rotated_seen(model))
            }
            12..14 => {
                let delete = || store.delete(&key);
                let twin = |model: &mut Model| model.delete(NOW, &key);
                let (ended, model) = ask(&store, &mut self.model, delete, twin).await?;
                compare(self.step, ended, model)
            }
            14 => {
                let user = self.users[self.rng.below(2) as usize];
                let except = self.rng.chance(0.7).then_some(key);
                let revoke = || store.revoke_user(&user, except.as_ref());
                let twin = |model: &mut Model| model.revoke_user(NOW, &user, except.as_ref());
                let (ended, model) = ask(&store, &mut self.model, revoke, twin).await?;
                compare(self.step, ended, model)
            }
            _ => {
                let slide = Slide::to(LONG * 2);
                let touch = || store.touch(&key, slide);
                let twin = |model: &mut Model| model.load(NOW, &key, slide).is_some();
                let (moved, model) = ask(&store, &mut self.model, touch, twin).await?;
                compare(self.step, moved, model)
            }
        }
    }

    /// Every key and both lists, after each call.
    async fn compare(&mut self) -> Result<(), Violation> {
        let store = self.subject.store();
        let found = answered(store.load_many(&self.keys).await)?;
        for (key, found) in self.keys.iter().zip(found) {
            let model = self.model.load(NOW, key, Slide::No);
            compare(self.step, found.map(Seen::of), model.map(Seen::of))?;
        }
        for user in &self.users {
            let listed = BTreeSet::from_iter(answered(store.by_user(user).await)?);
            let model = BTreeSet::from_iter(self.model.by_user(NOW, user));
            compare(self.step, listed, model)?;
        }
        Ok(())
    }

    /// One of the last keys.
    fn key(&mut self) -> SessionKey {
        let n_keys = self.keys.len();
        let back = self.rng.below(n_keys.min(8) as u64) as usize;
        self.keys[n_keys - 1 - back]
    }

    fn fresh(&mut self) -> Result<SessionKey, Violation> {
        let key = new_key()?;
        self.keys.push(key);
        Ok(key)
    }

    /// An owner, and whether there is a cap to it.
    fn owner(&mut self) -> (Owner, bool) {
        let user = self.users[self.rng.below(2) as usize];
        let cap = match self.rng.below(6) {
            0 => return (Owner::Unchanged, false),
            1 => return (Owner::Nobody, false),
            2 => Some(Cap::reject(3)),
            3 => Some(Cap::evict_oldest(2)),
            _ => None,
        };
        (Owner::User { user, cap }, cap.is_some())
    }

    /// Mostly the present version.
    fn version(&mut self, key: &SessionKey) -> Version {
        let entry = self.model.load(NOW, key, Slide::No);
        let present = entry.map_or(Version::FIRST, |entry| entry.version);
        Version(present.0 - u64::from(self.rng.chance(0.1)))
    }
}

/// The answer of the store and that of its model, asked until there is one. What was lost has had its effect on both.
async fn ask<S, T, M, F: Future<Output = Result<T, StoreError>>>(
    store: &Faulty<S>,
    model: &mut Model,
    call: impl Fn() -> F,
    twin: impl Fn(&mut Model) -> M,
) -> Result<(T, M), Violation> {
    loop {
        let failed = store.failed();
        match call().await {
            Ok(answer) => return Ok((answer, twin(model))),
            Err(error) if store.failed() > failed => {
                if error.kind() == ErrorKind::Interrupted {
                    twin(model);
                }
            }
            Err(error) => answered(Err(error))?,
        }
    }
}

/// The absolute deadlines are seconds apart, so that it is clear which session is the oldest.
fn record_at(step: u64) -> Record {
    let absolute = LONG * 3 + Duration::from_secs(step);
    record(step.to_string(), LONG, absolute)
}

fn compare<T: PartialEq + Debug>(step: u64, answer: T, model: T) -> Result<(), Violation> {
    expect(PROMISE, (step, answer), (step, model))
}

/// The outcome, and the entry of a conflict.
fn committed(outcome: CommitOutcome) -> (Option<CommitOutcome>, Option<Seen>) {
    match outcome {
        CommitOutcome::Conflict(entry) => (None, Some(Seen::of(entry))),
        other => (Some(other), None),
    }
}

fn rotated_seen(outcome: RotateOutcome) -> (Option<RotateOutcome>, Option<Seen>) {
    match outcome {
        RotateOutcome::Conflict(entry) => (None, Some(Seen::of(entry))),
        other => (Some(other), None),
    }
}

fn new_user() -> Result<UserKey, Violation> {
    Ok(UserKey::of(new_key()?.as_bytes()))
}
