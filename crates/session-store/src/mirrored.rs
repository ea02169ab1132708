//! Sessions that survive the death of a store.

mod quorum;
mod register;
mod row;
mod users;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use purlin_core::sync::Mutex;
use purlin_core::{NodeId, Placement, Retry, Rng};

use self::register::{Attempt, Step, View};
use self::row::{OVERHEAD, Value, Writes};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::memory::MAX_HOPS;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Lifetime, Record, RotateOutcome, SessionStore, Slide,
    Swept, Version,
};
use crate::user::UserKey;

/// One store out of several, each session on some of them: what a majority of its stores acknowledged survives the
/// death of the others.
///
/// A [`Placement`] says which stores a session has its copies on. Every call asks them all at once and goes by the
/// majority, so it works as long as a majority of them answers, and takes as long as the slower of the fastest two of
/// three. There is no leader to elect and no clock to agree on: each store goes by its own.
///
/// # What is promised
///
/// With `n` copies of which fewer than half fail (their answers stop, come late or get lost, or they come back with what
/// they had):
///
/// 1. The contract of [`SessionStore`], with calls on one session in an order that all callers agree on.
/// 2. What was acknowledged is not lost, and what was refused by [`Conflict`](CommitOutcome::Conflict) was not done. A
///    call of which nobody knows is an error of kind [`ErrorKind::Interrupted`].
/// 3. A session that has ended does not come back with a store that slept through its end: what is known of ended and
///    rotated keys is kept until the session's absolute deadline.
///
/// # What is not
///
/// - A majority that is down is an outage: every call is an error. No smaller number of stores is believed, for that is
///   how logouts are undone.
/// - **A store that lost its data** has forgotten what it promised. Keep it away for as long as the longest absolute
///   lifetime, and let it come back empty; it counts as down meanwhile. Sooner, and another store's failure at the same
///   moment can lose what was acknowledged.
/// - **The set of stores of a session does not change** while it lives. A placement with other nodes is for new
///   sessions; one whose set changed by more than the new store's absence is not found.
/// - Deadlines agree between stores to within the time a call takes. A use whose call failed may count or not, and until
///   that is found out a session at its idle deadline may be seen by one call and not by the next.
/// - Sessions without an absolute deadline leave a trace for ever. Give them one.
///
/// # Cost
///
/// A load is one round to all stores, and a second one when its slide moves the deadline or when the copies differ. A
/// write is three: read, prepare, accept (a rotation seven or more). A row has up to 83 bytes beside the payload.
/// Writers of one session at once get into each other's way, and each makes way for longer when it was overtaken;
/// after 32 attempts the call fails. `docs/session-store.md` has what was weighed.
///
/// # Cancel safety
///
/// As [`SessionStore`] says. A write that is dropped may be completed by the next call that meets it.
///
/// ```
/// use purlin_core::{NodeId, Placement};
/// use purlin_session_store::{MemoryStore, Mirrored, Policy, Sessions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # struct All;
/// # impl Placement for All {
/// #     fn hash_key(&self, _: &[u8]) -> u64 { 0 }
/// #     fn owner_of_hash(&self, _: u64) -> Option<NodeId> { Some(NodeId(1)) }
/// #     fn replicas_of_hash(&self, _: u64, into: &mut [NodeId]) -> usize {
/// #         into.iter_mut().zip(1..=3).map(|(node, id)| *node = NodeId(id)).count()
/// #     }
/// # }
/// # let ring = All;
/// // Three servers' stores; `ring` is any placement, of `purlin-hash-ring` say.
/// let stores = (1..=3).map(|id| (NodeId(id), MemoryStore::new()));
/// let sessions = Sessions::new(Mirrored::new(ring, stores, 3)?, Policy::default());
/// # let _ = sessions;
/// # Ok(())
/// # }
/// ```
pub struct Mirrored<S, P> {
    placement: P,
    stores: BTreeMap<NodeId, S>,
    copies: usize,
    rng: Mutex<Rng>,
}

/// The stores of one session that there are.
struct Replicas<'a, S> {
    stores: Vec<&'a S>,
    copies: usize,
}

impl<S> Replicas<'_, S> {
    fn majority(&self) -> usize {
        self.copies / 2 + 1
    }
}

/// Why stores cannot be a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// No copies, or more than nine, which would be slow and hardly safer.
    #[error("a session has 1 to 9 copies, not {copies}")]
    Copies {
        /// What was asked for.
        copies: usize,
    },
    /// Fewer stores than make a majority of the copies.
    #[error("{stores} stores are no majority of {copies} copies")]
    TooFewStores {
        /// How many stores there are.
        stores: usize,
        /// How many copies were asked for.
        copies: usize,
    },
}

impl MirrorError {
    /// Never: the same call fails in the same way.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

const MAX_COPIES: usize = 9;

/// What is taken for "no limit" in a store, since what is left of a limit is how a store tells the time here.
const UNLIMITED: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl<S, P> Mirrored<S, P> {
    /// What a copy takes beside its payload, for the limits of the stores.
    pub const OVERHEAD: usize = OVERHEAD;

    /// Sessions in `copies` copies each, on the stores that the placement says. A store that the placement names and
    /// that is not given counts as one that is down. Odd numbers of copies are best: four survive no more than three.
    ///
    /// # Errors
    ///
    /// [`MirrorError`] for numbers that make no sense.
    pub fn new(
        placement: P,
        stores: impl IntoIterator<Item = (NodeId, S)>,
        copies: usize,
    ) -> Result<Self, MirrorError> {
        let stores: BTreeMap<_, _> = stores.into_iter().collect();
        if !(1..=MAX_COPIES).contains(&copies) {
            return Err(MirrorError::Copies { copies });
        }
        if stores.len() <= copies / 2 {
            let stores = stores.len();
            return Err(MirrorError::TooFewStores { stores, copies });
        }
        Ok(Mirrored {
            placement,
            stores,
            copies,
            rng: Mutex::new(Rng::from_entropy()),
        })
    }

    /// The chance in it by a seed, so that a run can be repeated. Two processes must not have the same.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = Mutex::new(Rng::from_seed(seed));
        self
    }

    /// A store.
    pub fn store(&self, id: NodeId) -> Option<&S> {
        self.stores.get(&id)
    }

    fn random(&self) -> u64 {
        self.rng.lock().next_u64()
    }
}

impl<S, P: Placement> Mirrored<S, P> {
    fn replicas(&self, key: &SessionKey) -> Result<Replicas<'_, S>, StoreError> {
        let mut nodes = [NodeId(0); MAX_COPIES];
        let nodes = &mut nodes[..self.copies];
        if self.placement.replicas(key.as_bytes(), nodes) < self.copies {
            return Err(StoreError::new(ErrorKind::Unavailable).with_source(TooFewNodes));
        }
        Ok(Replicas {
            stores: nodes.iter().filter_map(|id| self.stores.get(id)).collect(),
            copies: self.copies,
        })
    }
}

/// The placement has fewer nodes than a session has copies.
#[derive(Debug, thiserror::Error)]
#[error("the placement has fewer nodes than a session has copies")]
struct TooFewNodes;

/// What is found under a key, once it is clear what a rotation has made of it.
enum Found {
    Nothing,
    /// What a rotation prepares that has not happened.
    Prepared,
    Dead,
    Live {
        version: Version,
        owner: Option<UserKey>,
        payload: Bytes,
        remaining: Lifetime,
    },
    Rotated {
        by: SessionKey,
        version: Version,
        owner: Option<UserKey>,
        payload: Bytes,
        grace: Duration,
    },
}

impl Found {
    fn of(view: View) -> Result<Self, SessionKey> {
        let remaining = view.remaining;
        match view.value {
            None | Some(Value::List(_)) => Ok(Found::Nothing),
            Some(Value::Dead { .. }) => Ok(Found::Dead),
            Some(Value::Live {
                version,
                owner,
                payload,
                ..
            }) => Ok(Found::Live {
                version,
                owner,
                payload,
                remaining,
            }),
            Some(Value::Rotated {
                by,
                version,
                grace_ends_at,
                owner,
                payload,
            }) => Ok(Found::Rotated {
                by,
                version,
                owner,
                payload,
                grace: remaining.absolute.saturating_sub(grace_ends_at),
            }),
            Some(Value::Prepared { from, .. }) => Err(from),
        }
    }
}

impl<S: SessionStore, P: Placement + Send + Sync> Mirrored<S, P> {
    /// What is under a key. A prepared session is settled first: it lives if the key that it comes from says so.
    async fn find(&self, key: &SessionKey) -> Result<Found, StoreError> {
        let replicas = self.replicas(key)?;
        let view = self.view(&replicas, key).await?;
        let from = match Found::of(view) {
            Ok(found) => return Ok(found),
            Err(from) => from,
        };
        if !self.has_moved(&from, key).await? {
            return Ok(Found::Prepared);
        }
        let view = self.promote(key, &from).await?;
        Ok(Found::of(view).unwrap_or(Found::Prepared))
    }

    /// Whether the rotation from one key to another has happened.
    async fn has_moved(&self, from: &SessionKey, to: &SessionKey) -> Result<bool, StoreError> {
        let view = self.view(&self.replicas(from)?, from).await?;
        Ok(matches!(view.value, Some(Value::Rotated { by, .. }) if by == *to))
    }

    /// Makes a prepared session live, after its rotation has happened. What is there afterwards.
    async fn promote(&self, key: &SessionKey, from: &SessionKey) -> Result<View, StoreError> {
        let promoted = |view: &View, attempt: Attempt| match &view.value {
            Some(Value::Prepared {
                from: prepared,
                version,
                owner,
                payload,
            }) if prepared == from => {
                let value = Value::Live {
                    version: *version,
                    writes: Writes::first(attempt.write),
                    owner: *owner,
                    payload: payload.clone(),
                };
                Step::Write {
                    value: value.clone(),
                    lifetime: Lifetime::new(Duration::ZERO, Duration::MAX),
                    then: View {
                        value: Some(value),
                        remaining: view.remaining,
                    },
                }
            }
            Some(_) | None => Step::Answer(view.clone()),
        };
        let replicas = self.replicas(key)?;
        self.change(&replicas, key, None, promoted).await
    }

    /// The key under which a session lives that has moved to `key`, and whose it is, if it still lives.
    async fn follow(
        &self,
        mut key: SessionKey,
    ) -> Result<Option<(SessionKey, Option<UserKey>)>, StoreError> {
        for _ in 0..MAX_HOPS {
            match self.find(&key).await? {
                Found::Live { owner, .. } => return Ok(Some((key, owner))),
                Found::Rotated { by, .. } => key = by,
                Found::Nothing | Found::Prepared | Found::Dead => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn create_record(
        &self,
        key: &SessionKey,
        record: &Record,
    ) -> Result<CreateOutcome, StoreError> {
        let lifetime = capped(record.lifetime);
        let owner = record.owner.after(None);
        if let Some(user) = &owner {
            let cap = record.owner.cap_for(None);
            if !self.enlist(user, key, lifetime.absolute, cap).await? {
                return Ok(CreateOutcome::AtCap);
            }
        }
        let create = |view: &View, attempt: Attempt| match &view.value {
            None => Step::Write {
                value: Value::Live {
                    version: Version::FIRST,
                    writes: Writes::first(attempt.write),
                    owner,
                    payload: record.payload.clone(),
                },
                lifetime,
                then: CreateOutcome::Created(Version::FIRST),
            },
            Some(Value::Live { writes, .. }) if writes.ago(attempt.write).is_some() => {
                Step::Answer(CreateOutcome::Created(Version::FIRST))
            }
            Some(_) if attempt.is_repeated => Step::Unknown,
            Some(_) => Step::Answer(CreateOutcome::Collision),
        };
        let replicas = self.replicas(key)?;
        let outcome = self.change(&replicas, key, Some(lifetime), create).await?;
        match (outcome, owner) {
            (CreateOutcome::Created(_), Some(user)) if !self.confirm(&user, key).await? => {
                // It was struck off the list before it was made, so it must not be.
                self.bury(key).await?;
                Ok(CreateOutcome::Collision)
            }
            (outcome, _) => Ok(outcome),
        }
    }

    async fn commit_record(
        &self,
        key: &SessionKey,
        expected: Version,
        record: &Record,
    ) -> Result<CommitOutcome, StoreError> {
        let replicas = self.replicas(key)?;
        let commit = |view: &View, attempt: Attempt| match &view.value {
            Some(Value::Live {
                version,
                writes,
                owner,
                payload,
            }) => {
                if let Some(ago) = writes.ago(attempt.write) {
                    let made = Version(version.0.saturating_sub(ago));
                    return Step::Answer(Ok(CommitOutcome::Committed(made)));
                }
                if *version == expected {
                    return Step::Write {
                        value: Value::Live {
                            version: version.next(),
                            writes: writes.then(attempt.write),
                            owner: *owner,
                            payload: record.payload.clone(),
                        },
                        lifetime: record.lifetime,
                        then: Ok(CommitOutcome::Committed(version.next())),
                    };
                }
                if attempt.is_repeated && version.0 > expected.0.saturating_add(Writes::KEPT as u64)
                {
                    return Step::Unknown;
                }
                let remaining = uncapped(view.remaining);
                let entry = Entry::new(*version, payload.clone(), remaining).with_owner(*owner);
                Step::Answer(Ok(CommitOutcome::Conflict(entry)))
            }
            Some(Value::Dead { .. } | Value::List(_)) | None => {
                Step::Answer(Ok(CommitOutcome::Gone))
            }
            // What a rotation has made of the key takes a look at another.
            Some(Value::Rotated { .. }) if attempt.is_repeated => Step::Unknown,
            Some(Value::Rotated { .. } | Value::Prepared { .. }) => Step::Answer(Err(Elsewhere)),
        };
        // Twice: the second time after a prepared session was settled.
        for _ in 0..2 {
            if let Ok(outcome) = self.change(&replicas, key, None, &commit).await? {
                return Ok(outcome);
            }
            match self.find(key).await? {
                Found::Rotated { by, .. } => {
                    let live = self.follow(by).await?;
                    return Ok(live.map_or(CommitOutcome::Gone, |(key, _)| {
                        CommitOutcome::Superseded(key)
                    }));
                }
                Found::Nothing | Found::Prepared | Found::Dead => return Ok(CommitOutcome::Gone),
                Found::Live { .. } => {}
            }
        }
        Err(StoreError::new(ErrorKind::Unavailable))
    }

    async fn rotate_record(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: &Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let (version, before, remaining) = match self.find(old).await? {
            Found::Live {
                version,
                owner,
                remaining,
                ..
            } if version == expected => (version.next(), owner, remaining),
            Found::Rotated { by, owner, .. } if by == *new => {
                // By an earlier attempt of the caller's, which may not have come to its end.
                let moves = (owner, record.owner.after(owner));
                return if self.settle((old, new), moves).await? {
                    Ok(RotateOutcome::Superseded(*new))
                } else {
                    self.present(old).await
                };
            }
            other => return self.refused(other).await,
        };
        let absolute = record.lifetime.absolute.min(remaining.absolute);
        let lifetime = Lifetime::new(record.lifetime.idle.min(absolute), absolute);
        let owner = record.owner.after(before);
        if old == new {
            return Ok(RotateOutcome::Collision);
        }
        if let Some(user) = &owner {
            let cap = record.owner.cap_for(before);
            if !self.enlist(user, new, absolute, cap).await? {
                return Ok(RotateOutcome::AtCap);
            }
        }

        let prepare = |view: &View, _| match &view.value {
            Some(Value::Prepared { from, .. }) if from != old => Step::Answer(false),
            // Of an earlier attempt, or none.
            Some(Value::Prepared { .. }) | None => Step::Write {
                value: Value::Prepared {
                    from: *old,
                    version,
                    owner,
                    payload: record.payload.clone(),
                },
                lifetime,
                then: true,
            },
            Some(_) => Step::Answer(false),
        };
        let replicas = self.replicas(new)?;
        if !self.change(&replicas, new, Some(lifetime), prepare).await? {
            return Ok(RotateOutcome::Collision);
        }

        // Here it happens.
        let flip = |view: &View, attempt: Attempt| match &view.value {
            Some(Value::Live {
                version,
                owner,
                payload,
                ..
            }) if *version == expected => {
                let grace = grace.min(view.remaining.idle);
                Step::Write {
                    value: Value::Rotated {
                        by: *new,
                        version: *version,
                        grace_ends_at: view.remaining.absolute.saturating_sub(grace),
                        owner: *owner,
                        payload: payload.clone(),
                    },
                    lifetime: TO_THE_END,
                    then: true,
                }
            }
            Some(Value::Rotated { by, .. }) if attempt.is_repeated && by == new => {
                Step::Answer(true)
            }
            Some(_) if attempt.is_repeated => Step::Unknown,
            Some(_) | None => Step::Answer(false),
        };
        let replicas = self.replicas(old)?;
        if !self.change(&replicas, old, None, flip).await? {
            let found = self.find(old).await?;
            if matches!(found, Found::Rotated { by, .. } if by == *new) {
                // By an earlier attempt of the caller's that got through late.
                return if self.settle((old, new), (before, owner)).await? {
                    Ok(RotateOutcome::Superseded(*new))
                } else {
                    self.present(old).await
                };
            }
            // What was prepared is believed by nobody, and expires.
            if let Some(user) = &owner {
                self.strike(user, &[*new]).await;
            }
            return self.refused(found).await;
        }
        if self.settle((old, new), (before, owner)).await? {
            Ok(RotateOutcome::Rotated(version))
        } else {
            Ok(RotateOutcome::Gone)
        }
    }

    /// What is left to do after a rotation has happened. Whether the session still lives under the new key.
    ///
    /// If this fails the caller does not know the new id to be good, and tries the rotation again; then this is done
    /// again. So whoever goes by the new id has it listed.
    async fn settle(
        &self,
        (old, new): (&SessionKey, &SessionKey),
        (before, owner): (Option<UserKey>, Option<UserKey>),
    ) -> Result<bool, StoreError> {
        // If this fails, whoever uses the new key does it.
        let _ = self.promote(new, old).await;
        if let Some(user) = &before {
            self.strike(user, &[*old]).await;
        }
        match &owner {
            Some(user) if !self.confirm(user, new).await? => {
                // All of the user's sessions were ended meanwhile, and this one with them.
                self.bury(new).await?;
                Ok(false)
            }
            Some(_) | None => Ok(true),
        }
    }

    /// What to tell the caller of a rotation that has happened, and whose session has gone on since.
    async fn present(&self, old: &SessionKey) -> Result<RotateOutcome, StoreError> {
        let found = self.find(old).await?;
        self.refused(found).await
    }

    /// What to tell the caller of a rotation whose old key is not what was expected.
    async fn refused(&self, found: Found) -> Result<RotateOutcome, StoreError> {
        match found {
            Found::Live {
                version,
                owner,
                payload,
                remaining,
            } => {
                let present = Entry::new(version, payload, uncapped(remaining));
                let present = present.with_owner(owner);
                Ok(RotateOutcome::Conflict(present))
            }
            Found::Rotated { by, .. } => {
                let live = self.follow(by).await?;
                Ok(live.map_or(RotateOutcome::Gone, |(key, _)| {
                    RotateOutcome::Superseded(key)
                }))
            }
            Found::Nothing | Found::Prepared | Found::Dead => Ok(RotateOutcome::Gone),
        }
    }

    /// Ends a session that was found live. Whether it was this call that did.
    async fn bury(&self, key: &SessionKey) -> Result<Option<bool>, StoreError> {
        let bury = |view: &View, attempt: Attempt| match &view.value {
            Some(Value::Live { .. }) => Step::Write {
                value: Value::Dead {
                    write: attempt.write,
                },
                lifetime: TO_THE_END,
                then: Some(true),
            },
            Some(Value::Dead { write }) => Step::Answer(Some(*write == attempt.write)),
            Some(Value::Rotated { .. } | Value::Prepared { .. }) => Step::Answer(None),
            Some(Value::List(_)) | None => Step::Answer(Some(false)),
        };
        let replicas = self.replicas(key)?;
        self.change(&replicas, key, None, bury).await
    }
}

/// A key whose session is under another, or is not there yet.
struct Elsewhere;

/// Keeps a row up to its absolute deadline: what has ended must not be forgotten before every copy that has not heard
/// of it.
const TO_THE_END: Lifetime = Lifetime::new(Duration::MAX, Duration::MAX);

fn capped(lifetime: Lifetime) -> Lifetime {
    Lifetime::new(lifetime.idle, lifetime.absolute.min(UNLIMITED))
}

fn uncapped(remaining: Lifetime) -> Lifetime {
    let or_ever = |left: Duration| {
        if left > UNLIMITED / 2 {
            Duration::MAX
        } else {
            left
        }
    };
    Lifetime::new(or_ever(remaining.idle), or_ever(remaining.absolute))
}

impl<S: SessionStore, P: Placement + Send + Sync> SessionStore for Mirrored<S, P> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        let created = self.create_record(key, &record).await;
        created.map_err(|error| with_record(error, record))
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        match self.find(key).await? {
            Found::Nothing | Found::Prepared | Found::Dead => Ok(None),
            Found::Live {
                version,
                owner,
                payload,
                mut remaining,
            } => {
                if let (true, Slide::To { idle, .. }) = (slide.would_move(remaining), slide) {
                    let replicas = self.replicas(key)?;
                    self.slide(&replicas, key, slide, version).await?;
                    remaining.idle = idle.min(remaining.absolute);
                }
                let entry = Entry::new(version, payload, uncapped(remaining));
                Ok(Some(entry.with_owner(owner)))
            }
            Found::Rotated {
                by,
                version,
                owner,
                payload,
                grace,
            } if !grace.is_zero() => {
                let past = Entry::new(version, payload, Lifetime::new(grace, grace));
                let past = past.with_owner(owner);
                Ok(self
                    .follow(by)
                    .await?
                    .map(|(live, _)| past.with_successor(live)))
            }
            Found::Rotated { .. } => Ok(None),
        }
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        let committed = self.commit_record(key, expected, &record).await;
        committed.map_err(|error| with_record(error, record))
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let rotated = self.rotate_record(old, new, expected, &record, grace).await;
        rotated.map_err(|error| with_record(error, record))
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let mut key = *key;
        for hop in 0..=MAX_HOPS {
            match self.find(&key).await? {
                Found::Live { owner, .. } => {
                    if let Some(is_ours) = self.bury(&key).await? {
                        if let (true, Some(user)) = (is_ours, &owner) {
                            self.strike(user, &[key]).await;
                        }
                        return Ok(is_ours);
                    }
                    // It was rotated away in between. Look again.
                }
                Found::Rotated { by, grace, .. } if hop > 0 || !grace.is_zero() => key = by,
                Found::Rotated { .. } | Found::Nothing | Found::Prepared | Found::Dead => {
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.living(user).await
    }

    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.at_once(keys, |key| self.load(key, Slide::No)).await
    }

    /// Sweeps every store, one after the other, each with the whole budget.
    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        let mut total = Swept {
            removed: 0,
            caught_up: true,
        };
        let mut failure = None;
        for store in self.stores.values() {
            match store.sweep(budget).await {
                Ok(swept) => {
                    total.removed += swept.removed;
                    total.caught_up &= swept.caught_up;
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(total),
        }
    }
}

/// The error, with the record if the kind is one that gives it back.
fn with_record(error: StoreError, record: Record) -> StoreError {
    match error.kind() {
        ErrorKind::Full | ErrorKind::TooLarge | ErrorKind::Unavailable => error.with_record(record),
        _ => error,
    }
}

impl<S, P: fmt::Debug> fmt::Debug for Mirrored<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirrored")
            .field("placement", &self.placement)
            .field("stores", &self.stores.len())
            .field("copies", &self.copies)
            .finish_non_exhaustive()
    }
}
