//! Sessions that survive the death of a store.

mod calls;
mod find;
mod quorum;
mod register;
mod row;
mod users;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use purlin_core::sync::Mutex;
use purlin_core::{NodeId, Placement, Retry, Rng};

use self::find::Found;
use self::row::OVERHEAD;
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
