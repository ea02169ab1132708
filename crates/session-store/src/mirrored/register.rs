//! One session's state, agreed upon by a majority of its stores.
//!
//! This is CASPaxos (Rystsov, "CASPaxos: Replicated State Machines without logs", 2018): a register for each key, whose
//! next value is a function of its present one. Each store is an acceptor, whose state is the row under the session's
//! key; a row is written by the store's own compare-and-commit, so an acceptor's step is atomic.
//!
//! 1. *Read* a majority. If a majority accepted the highest ballot seen, its value is chosen, and an answer that needs
//!    no write is given: one round.
//! 2. *Prepare* a ballot higher than all seen: a majority promises to accept nothing lower, and says what it accepted.
//! 3. *Accept*: a majority writes the next value under that ballot. From that moment it is chosen, and every later read or
//!    preparation of a majority meets it.
//!
//! A value that only some stores accepted, because its writer died, is met by the next preparation and completed, or by
//! none and forgotten. That is the read repair.

use core::time::Duration;

use super::quorum::{Gathered, gather};
use super::row::{Ballot, Row, Seen, Value};
use super::{Mirrored, Replicas};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{
    BoxFuture, CommitOutcome, CreateOutcome, Lifetime, Record, SessionStore, Slide, Version,
};

/// The state of a session as a majority has it.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) value: Option<Value>,
    pub(super) remaining: Lifetime,
}

/// What a change makes of the present state.
pub(super) enum Step<T> {
    Answer(T),
    Write {
        value: Value,
        /// Moves the row's deadlines as a commit's lifetime does.
        lifetime: Lifetime,
        then: T,
    },
    /// It cannot be known whether an earlier attempt got through.
    Unknown,
}

/// What a change knows of itself.
#[derive(Clone, Copy)]
pub(super) struct Attempt {
    /// Names the write.
    pub(super) write: u64,
    /// Whether an earlier attempt of it may have got through.
    pub(super) is_repeated: bool,
}

/// How often a change is tried when others change the same session at the same moment.
const MAX_ATTEMPTS: u32 = 32;

/// How often an acceptor's step is begun anew when its row changes in between.
const MAX_RACES: u32 = 16;

impl<S: SessionStore, P: Sync + Send> Mirrored<S, P> {
    /// What a majority agrees on, read in one round; or as a change that changes nothing, if it does not.
    pub(super) async fn view(
        &self,
        replicas: &Replicas<'_, S>,
        key: &SessionKey,
    ) -> Result<View, StoreError> {
        let seen = self.read(replicas, key).await?;
        match settled(&seen, replicas.majority()) {
            Some(view) => Ok(view),
            None => {
                let same = |view: &View, _| Step::Answer(view.clone());
                self.change(replicas, key, None, same).await
            }
        }
    }

    /// Moves the idle deadline in a majority of the stores, and only in those that hold the session as it is now: a copy
    /// that is out of date must not outlive what replaced it.
    pub(super) async fn slide(
        &self,
        replicas: &Replicas<'_, S>,
        key: &SessionKey,
        slide: Slide,
        present: Version,
    ) -> Result<(), StoreError> {
        let calls = replicas.each(|_, store| async move {
            let seen = Seen::of(store.load(key, Slide::No).await?)?;
            match seen.row.value {
                Some(Value::Live { version, .. }) if version >= present => {
                    store.touch(key, slide).await
                }
                Some(_) | None => Ok(false),
            }
        });
        let moved = gather(calls, replicas.majority(), |moved| *moved).await;
        // If a majority holds it no more, the session was changed meanwhile, which is a use as well.
        if moved.is_quorum(replicas.majority()) || moved.errors.is_empty() {
            Ok(())
        } else {
            Err(failed(moved.errors, true))
        }
    }

    /// Changes a session by a function of its state, and tells what the function says of it. `birth` is how long a row
    /// lives that is not there yet, if the change may make one.
    pub(super) async fn change<T: Send>(
        &self,
        replicas: &Replicas<'_, S>,
        key: &SessionKey,
        birth: Option<Lifetime>,
        decide: impl Fn(&View, Attempt) -> Step<T> + Send + Sync,
    ) -> Result<T, StoreError> {
        let majority = replicas.majority();
        let mut attempt = Attempt {
            write: self.random().max(1),
            is_repeated: false,
        };
        for tries in 0..MAX_ATTEMPTS {
            self.make_way(replicas, key, tries).await;
            let seen = match self.read(replicas, key).await {
                Ok(seen) => seen,
                Err(error) if attempt.is_repeated => return Err(unknown(error)),
                Err(error) => return Err(error),
            };
            if let Some(view) = settled(&seen, majority) {
                match decide(&view, attempt) {
                    Step::Answer(answer) => return Ok(answer),
                    Step::Unknown => return Err(StoreError::new(ErrorKind::Interrupted)),
                    Step::Write { .. } => {}
                }
            }
            let highest = seen.iter().map(|(_, seen)| seen.row.promised.round).max();
            let ballot = Ballot {
                round: highest.unwrap_or(0).saturating_add(1),
                proposer: self.random(),
            };
            let birth = born(&seen).or(birth).unwrap_or(LEFT_ALONE);
            let promises = self.prepare(replicas, key, ballot, seen, birth).await;
            if !promises.is_quorum(majority) {
                if !promises.refused.is_empty() {
                    continue;
                }
                return Err(failed(promises.errors, attempt.is_repeated));
            }
            let promised = promises.agreed;
            let view = newest(promised.iter().map(|(_, seen)| seen));
            let (value, lifetime, then, is_ours) = match (decide(&view, attempt), &view.value) {
                (Step::Unknown, _) => return Err(StoreError::new(ErrorKind::Interrupted)),
                (
                    Step::Write {
                        value,
                        lifetime,
                        then,
                    },
                    _,
                ) => (value, lifetime, then, true),
                // A majority has promised, and accepted nothing: nothing is chosen, nor will be below our ballot.
                (Step::Answer(answer), None) => return Ok(answer),
                // The answer rests on a value that may not be chosen yet, so it is made so first.
                (Step::Answer(answer), Some(value)) => {
                    (value.clone(), view.remaining, answer, false)
                }
            };
            let row = Row {
                promised: ballot,
                accepted: ballot,
                value: Some(value),
            };
            let accepted = self.accept(replicas, key, promised, row, lifetime).await;
            if accepted.is_quorum(majority) {
                return Ok(then);
            }
            attempt.is_repeated |= is_ours && may_have_happened(&accepted);
            if accepted.refused.is_empty() {
                return Err(failed(accepted.errors, attempt.is_repeated));
            }
        }
        Err(failed(Vec::new(), attempt.is_repeated))
    }

    /// Lets others finish, the longer the more often this change was overtaken. There is no timer here, so what passes
    /// the time is looking.
    async fn make_way(&self, replicas: &Replicas<'_, S>, key: &SessionKey, tries: u32) {
        let looks = self.random() % (1 << tries.min(6));
        for _ in 0..looks {
            // Nothing is asked but for time, so an error is as good as an answer.
            let _ = self.read(replicas, key).await;
        }
    }

    async fn read(
        &self,
        replicas: &Replicas<'_, S>,
        key: &SessionKey,
    ) -> Result<Vec<(usize, Seen)>, StoreError> {
        let calls =
            replicas.each(|_, store| async move { Seen::of(store.load(key, Slide::No).await?) });
        let gathered = gather(calls, replicas.majority(), |_| true).await;
        if gathered.is_quorum(replicas.majority()) {
            Ok(gathered.agreed)
        } else {
            Err(failed(gathered.errors, false))
        }
    }

    async fn prepare(
        &self,
        replicas: &Replicas<'_, S>,
        key: &SessionKey,
        ballot: Ballot,
        seen: Vec<(usize, Seen)>,
        birth: Lifetime,
    ) -> Gathered<Seen> {
        let mut known = by_number(seen);
        let calls = replicas.each(|idx, store| {
            let known = known.get_mut(idx).and_then(Option::take);
            let bump = move |row: &Row| {
                (row.promised < ballot).then(|| Row {
                    promised: ballot,
                    ..row.clone()
                })
            };
            step(store, key, known, bump, LEFT_ALONE, Some(birth))
        });
        gather(calls, replicas.majority(), move |seen| {
            seen.row.promised == ballot
        })
        .await
    }

    async fn accept(
        &self,
        replicas: &Replicas<'_, S>,
        key: &SessionKey,
        promised: Vec<(usize, Seen)>,
        row: Row,
        lifetime: Lifetime,
    ) -> Gathered<Seen> {
        let ballot = row.promised;
        let mut known = by_number(promised);
        let calls = replicas.each(|idx, store| {
            let known = known.get_mut(idx).and_then(Option::take);
            let next = row.clone();
            let bump = move |row: &Row| (row.promised <= ballot).then(|| next.clone());
            step(store, key, known, bump, lifetime, None)
        });
        gather(calls, replicas.majority(), move |seen| {
            seen.row.accepted == ballot
        })
        .await
    }
}

/// Moves neither of a row's deadlines.
const LEFT_ALONE: Lifetime = Lifetime::new(Duration::ZERO, Duration::MAX);

/// One acceptor's step: replaces its row, unless it has promised not to. What is there afterwards.
///
/// Only a preparation may make a row, with the lifetime `birth`, and such a row has no value. If a row that was there
/// has expired meanwhile, nothing takes its place: else a writer that was held up for long would bring a session back.
async fn step<S: SessionStore>(
    store: &S,
    key: &SessionKey,
    mut known: Option<Seen>,
    next: impl Fn(&Row) -> Option<Row> + Send,
    lifetime: Lifetime,
    birth: Option<Lifetime>,
) -> Result<Seen, StoreError> {
    for _ in 0..MAX_RACES {
        let seen = match known.take() {
            Some(seen) => seen,
            None => Seen::of(store.load(key, Slide::No).await?)?,
        };
        let Some(row) = next(&seen.row) else {
            return Ok(seen);
        };
        let payload = row.encode();
        let written = |version, remaining| Seen {
            version: Some(version),
            row,
            remaining,
        };
        match seen.version {
            None => {
                let Some(birth) = birth else {
                    return Ok(Seen::nothing());
                };
                match store.create(key, Record::new(payload, birth)).await? {
                    CreateOutcome::Created(version) => return Ok(written(version, birth)),
                    // A row is nobody's, so no cap applies.
                    CreateOutcome::Collision | CreateOutcome::AtCap => {}
                }
            }
            Some(version) => {
                let record = Record::new(payload, lifetime);
                match store.commit(key, version, record).await? {
                    CommitOutcome::Committed(version) => {
                        return Ok(written(version, seen.remaining));
                    }
                    CommitOutcome::Conflict(entry) => known = Some(Seen::of(Some(entry))?),
                    CommitOutcome::Gone | CommitOutcome::Superseded(_) => {
                        return Ok(Seen::nothing());
                    }
                }
            }
        }
    }
    Err(StoreError::new(ErrorKind::Unavailable))
}

/// The value that a majority is seen to have accepted, under the highest ballot of all seen.
fn settled(seen: &[(usize, Seen)], majority: usize) -> Option<View> {
    let highest = seen.iter().map(|(_, seen)| seen.row.accepted).max()?;
    let holders = || {
        let seen = seen.iter().map(|(_, seen)| seen);
        seen.filter(|seen| seen.row.accepted == highest)
    };
    (holders().count() >= majority).then(|| newest(holders()))
}

/// The value of the highest ballot, and the time it has left: of the idle deadlines the latest, since a use is told to
/// as many stores as can be reached, and of the absolute ones the earliest.
fn newest<'a>(seen: impl Iterator<Item = &'a Seen> + Clone) -> View {
    let highest = seen.clone().map(|seen| seen.row.accepted).max();
    let mut holders = seen.filter(|seen| Some(seen.row.accepted) == highest);
    let Some(first) = holders.next() else {
        return View {
            value: None,
            remaining: Lifetime::new(Duration::ZERO, Duration::ZERO),
        };
    };
    let mut remaining = first.remaining;
    for other in holders {
        remaining.idle = remaining.idle.max(other.remaining.idle);
        remaining.absolute = remaining.absolute.min(other.remaining.absolute);
    }
    remaining.idle = remaining.idle.min(remaining.absolute);
    View {
        value: first.row.value.clone(),
        remaining,
    }
}

/// The lifetime of a copy for a store that has none.
fn born(seen: &[(usize, Seen)]) -> Option<Lifetime> {
    let rows = seen.iter().map(|(_, seen)| seen);
    let rows = rows.filter(|seen| seen.version.is_some());
    (rows.clone().count() > 0).then(|| newest(rows).remaining)
}

fn by_number(seen: Vec<(usize, Seen)>) -> Vec<Option<Seen>> {
    let mut numbered = Vec::new();
    for (idx, seen) in seen {
        if numbered.len() <= idx {
            numbered.resize(idx + 1, None);
        }
        numbered[idx] = Some(seen);
    }
    numbered
}

/// Whether some store may have done what not enough of them have.
fn may_have_happened(gathered: &Gathered<Seen>) -> bool {
    let unclear = |error: &StoreError| {
        matches!(
            error.kind(),
            ErrorKind::Interrupted | ErrorKind::Other | ErrorKind::Corrupt
        )
    };
    !gathered.agreed.is_empty() || gathered.unfinished > 0 || gathered.errors.iter().any(unclear)
}

/// What to tell the caller when there is no majority.
fn failed(mut errors: Vec<StoreError>, may_have_happened: bool) -> StoreError {
    let worst = |kind| errors.iter().position(|error| error.kind() == kind);
    let told = worst(ErrorKind::TooLarge).or(worst(ErrorKind::Full));
    let kind = match told {
        _ if may_have_happened => ErrorKind::Interrupted,
        Some(idx) => errors[idx].kind(),
        None if errors
            .iter()
            .any(|error| error.kind() == ErrorKind::Corrupt) =>
        {
            ErrorKind::Corrupt
        }
        None => ErrorKind::Unavailable,
    };
    let error = StoreError::new(kind);
    match errors.pop() {
        Some(source) => error.with_source(source),
        None => error,
    }
}

fn unknown(error: StoreError) -> StoreError {
    StoreError::new(ErrorKind::Interrupted).with_source(error)
}

impl<'a, S: SessionStore> Replicas<'a, S> {
    /// A call to each store that there is.
    fn each<'f, T, F>(
        &self,
        mut call: impl FnMut(usize, &'a S) -> F,
    ) -> Vec<BoxFuture<'f, Result<T, StoreError>>>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'f,
        T: Send + 'f,
        'a: 'f,
    {
        let stores = self.stores.iter().enumerate();
        stores
            .map(|(idx, store)| Box::pin(call(idx, store)) as BoxFuture<'f, _>)
            .collect()
    }
}
