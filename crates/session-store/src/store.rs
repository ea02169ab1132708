//! What a session store promises, and the words it speaks.

mod twin;

use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::user::{Owner, UserKey};

pub use twin::{BoxFuture, DynSessionStore};

/// A place where sessions live: in memory, in a file, or on a server that many processes share.
///
/// # The contract
///
/// 1. Each call is atomic, and calls on one session have an order that all callers agree on.
/// 2. A session has a [`Version`] that grows with each [`commit`](SessionStore::commit). A commit names the
///    version it was made from; if that is no longer the present one, nothing is written and the caller gets
///    what is there. So no update is lost without its author being told.
/// 3. Only [`create`](SessionStore::create) and [`rotate`](SessionStore::rotate) bring a session into being,
///    and neither under a key that the store remembers. No call that was under way when a session was
///    deleted, rotated away or expired brings it back; such a commit is answered by [`CommitOutcome::Gone`]
///    or [`CommitOutcome::Superseded`].
/// 4. A session lives until the earlier of two deadlines. The idle deadline moves out with use and never past
///    the absolute one; the absolute deadline is set by `create`, and can be moved in but never out, not by a
///    rotation either.
/// 5. Time is the store's own: callers give and get durations, so servers whose clocks differ agree on when a
///    session ends. A clock that steps back makes sessions last longer, and never brings an ended one back.
/// 6. A failure is an error, never "there is no such session".
/// 7. A session is one user's or nobody's. [`create`](SessionStore::create) and
///    [`rotate`](SessionStore::rotate) say whose, and a commit leaves it, so under one key it never changes.
/// 8. [`by_user`](SessionStore::by_user) leaves out no session of the user that lives: one is listed before it
///    can be loaded, under its new key before it is gone from its old one, and until it has ended. Where list
///    and sessions are apart, the list mends itself.
/// 9. A call with a [`Cap`](crate::Cap) never leaves the user with more sessions than it says, however many
///    such calls there are at once. Sessions that have ended do not count.
///
/// The payload is opaque: a store neither reads nor changes it. The module
/// [`conformance`](crate#checking-a-store-of-ones-own) turns the contract into a suite.
///
/// Use [`DynSessionStore`] for a store that is chosen at run time.
pub trait SessionStore: Send + Sync {
    /// Stores a new session.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] of kind `Full` or `TooLarge` gives the record back.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session may or may not have been stored. Nobody else knows its key, so
    /// it ends unused at its idle deadline.
    fn create(
        &self,
        key: &SessionKey,
        record: Record,
    ) -> impl Future<Output = Result<CreateOutcome, StoreError>> + Send;

    /// The session of a key, if it lives. With [`Slide::To`] its idle deadline moves out in the same step.
    ///
    /// Within the grace of a rotation, the old key still answers with the session as it was before, marked by
    /// [`Entry::superseded_by`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the deadline may or may not have moved.
    fn load(
        &self,
        key: &SessionKey,
        slide: Slide,
    ) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;

    /// Moves the idle deadline as [`load`](SessionStore::load) does, without fetching the payload where the
    /// store can do that. Whether the session lives.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the deadline may or may not have moved.
    fn touch(
        &self,
        key: &SessionKey,
        slide: Slide,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move { Ok(self.load(key, slide).await?.is_some()) }
    }

    /// Replaces the payload, if the session is still at the version it was made from.
    ///
    /// The idle deadline moves out to `record.lifetime.idle` from now (never in), and the absolute deadline
    /// moves in to `record.lifetime.absolute` from now (never out). [`Duration::MAX`] leaves the latter as it
    /// is. The owner stays, whatever `record.owner` says: what a session may do changes with its key or not at
    /// all.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] of kind `Full` or `TooLarge` gives the record back, and the session is as before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the payload has been replaced as a whole, or not at all. A repeated call
    /// then finds out by a [`CommitOutcome::Conflict`] whose entry is the caller's own.
    fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> impl Future<Output = Result<CommitOutcome, StoreError>> + Send;

    /// Moves the session to a new key with a new payload, if it is still at the version expected.
    ///
    /// For `grace` the old key goes on answering `load` with the old payload, read-only, so that requests
    /// that left the client before the new cookie arrived are not turned away; but what the new payload
    /// grants, the old key never gets. A store may cut the grace to the time it remembers keys, and ends it
    /// with the session.
    ///
    /// The idle deadline is set to `record.lifetime.idle` from now, earlier than before too; the absolute one
    /// stays or moves in. The session becomes `record.owner`'s.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] of kind `Full` or `TooLarge` gives the record back, and the session is as before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session has moved or it has not: one of the two keys is live. A repeated
    /// call with the same new key finds out by [`RotateOutcome::Superseded`] with that key.
    fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> impl Future<Output = Result<RotateOutcome, StoreError>> + Send;

    /// Ends the session, for good. Whether there was one.
    ///
    /// The store remembers the key for a while (a tombstone), during which `create` refuses it. A key within
    /// the grace of a rotation ends the session it has become.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session may or may not have ended. Repeating the call is harmless.
    fn delete(&self, key: &SessionKey) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The keys of all sessions that a user has, in no order. Those that have ended are left out. Costs what
    /// the user has, however many others there are.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing has changed but that ended sessions may have been forgotten.
    fn by_user(
        &self,
        user: &UserKey,
    ) -> impl Future<Output = Result<Vec<SessionKey>, StoreError>> + Send;

    /// Ends all sessions of a user but the one of the key `except`, and says how many it ended.
    ///
    /// What the user had when the call began has ended when it returns, also what was moved to another key
    /// meanwhile. What they get meanwhile has ended as well, or is listed. The session of `except` is spared
    /// under a key that it was or is moved to, too, as long as the old key still loads; a key that loads
    /// nothing spares nothing.
    ///
    /// The default lists and deletes until nothing is left to delete, and where a session is to be spared loads the
    /// others first, so as to know that none of them is the spared one under another key. That is right for every store
    /// that keeps the contract, and not the fastest for most.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] of kind `Unavailable` too if the user got new sessions faster than they were ended, or the one to
    /// be spared moved each time that somebody looked.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some of the sessions have ended. Repeating the call is harmless.
    fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> impl Future<Output = Result<usize, StoreError>> + Send {
        async move {
            let mut ended = 0;
            for _ in 0..REVOKE_ROUNDS {
                let listed = self.by_user(user).await?;
                let (doomed, n_unknown) = match except {
                    None => (listed, 0),
                    Some(spared) => all_but(self, listed, spared).await?,
                };
                if doomed.is_empty() && n_unknown == 0 {
                    return Ok(ended);
                }
                for key in &doomed {
                    ended += usize::from(self.delete(key).await?);
                }
            }
            Err(StoreError::new(ErrorKind::Unavailable)
                .with_source("sessions come faster than they end"))
        }
    }

    /// What [`load`](SessionStore::load) without a slide answers to each of the keys, in their order. Not one
    /// moment for all: each answer was true at some moment within the call.
    ///
    /// The default asks for one after the other.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing has changed.
    fn load_many(
        &self,
        keys: &[SessionKey],
    ) -> impl Future<Output = Result<Vec<Option<Entry>>, StoreError>> + Send {
        async move {
            let mut entries = Vec::with_capacity(keys.len());
            for key in keys {
                entries.push(self.load(key, Slide::No).await?);
            }
            Ok(entries)
        }
    }

    /// Frees what has expired, with at most `budget` units of work. Nothing depends on it but memory: an
    /// expired session is gone to every other call, swept or not. A store that its server sweeps has nothing
    /// to do here, which is the default.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, part of the work may have been done.
    fn sweep(&self, budget: usize) -> impl Future<Output = Result<Swept, StoreError>> + Send {
        async move {
            let _ = budget;
            Ok(Swept {
                removed: 0,
                caught_up: true,
            })
        }
    }
}

/// How often the default of `revoke_user` lists. The second time finds what was moved during the first.
const REVOKE_ROUNDS: usize = 16;

/// Those of the keys that load a session which is not the spared one, and how many load nothing by now, as their session
/// has ended or moved on.
///
/// To delete an old key deletes the session where it is now. So it must be known of each key whose it is: a session never
/// comes back to a key that it has left, so where the spared one is the same before and after, it was all the while, and a
/// key that led elsewhere meanwhile is not, and never will be, one of its keys.
async fn all_but<S: SessionStore + ?Sized>(
    store: &S,
    mut keys: Vec<SessionKey>,
    spared: &SessionKey,
) -> Result<(Vec<SessionKey>, usize), StoreError> {
    keys.retain(|key| key != spared);
    for _ in 0..REVOKE_ROUNDS {
        let before = store.load(spared, Slide::No).await?;
        let entries = store.load_many(&keys).await?;
        let after = store.load(spared, Slide::No).await?;
        let [before, after] = [before, after].map(|entry| Some(present_key(spared, &entry?)));
        if before != after {
            continue;
        }
        let n_unknown = entries.iter().filter(|entry| entry.is_none()).count();
        let others = keys.into_iter().zip(entries).filter(|(key, entry)| {
            let present = entry.as_ref().map(|entry| present_key(key, entry));
            present.is_some() && present != before
        });
        return Ok((others.map(|(key, _)| key).collect(), n_unknown));
    }
    Err(StoreError::new(ErrorKind::Unavailable)
        .with_source("the session to be spared moves faster than one can look"))
}

/// The key under which a session lives that this one loads.
fn present_key(key: &SessionKey, entry: &Entry) -> SessionKey {
    entry.superseded_by.unwrap_or(*key)
}

/// How often a session was written. Only versions of one session compare in a meaningful way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The version of a session just created.
    pub const FIRST: Version = Version(1);

    /// The version after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Version(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How long a session lives from now, each limit at its own length. [`Duration::MAX`] is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Until it ends for want of use.
    pub idle: Duration,
    /// Until it ends however much it is used.
    pub absolute: Duration,
}

impl Lifetime {
    /// Both limits.
    pub const fn new(idle: Duration, absolute: Duration) -> Self {
        Lifetime { idle, absolute }
    }
}

/// What a caller stores. `Debug` shows the payload's length only.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The session's content, opaque to the store.
    pub payload: Bytes,
    /// How long it lives from now.
    pub lifetime: Lifetime,
    /// Whose it becomes when it is created or rotated.
    pub owner: Owner,
}

impl Record {
    /// A payload that lives this long, and whose owner is [`Owner::Unchanged`].
    pub fn new(payload: impl Into<Bytes>, lifetime: Lifetime) -> Self {
        Record {
            payload: payload.into(),
            lifetime,
            owner: Owner::Unchanged,
        }
    }

    /// The same, for this owner.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("payload_len", &self.payload.len())
            .field("lifetime", &self.lifetime)
            .field("owner", &self.owner)
            .finish()
    }
}

/// What a store holds under a key. `Debug` shows the payload's length only.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The version to commit from.
    pub version: Version,
    /// The session's content.
    pub payload: Bytes,
    /// How long it has left, as of this answer.
    pub remaining: Lifetime,
    /// The key under which the session lives now, if this one has been rotated away. The payload is then that
    /// of before the rotation, and cannot be written.
    ///
    /// To go on under the new key would give the bearer of the old id what the rotation may have been meant
    /// to keep from them; only a rotation that changed no privilege allows it.
    pub superseded_by: Option<SessionKey>,
    /// Whose session it is.
    pub owner: Option<UserKey>,
}

impl Entry {
    /// A live session that is nobody's.
    pub fn new(version: Version, payload: impl Into<Bytes>, remaining: Lifetime) -> Self {
        Entry {
            version,
            payload: payload.into(),
            remaining,
            superseded_by: None,
            owner: None,
        }
    }

    /// The same, of this user.
    #[must_use]
    pub fn with_owner(mut self, owner: Option<UserKey>) -> Self {
        self.owner = owner;
        self
    }

    /// The same, as seen under a key that was rotated away.
    #[must_use]
    pub fn with_successor(mut self, key: SessionKey) -> Self {
        self.superseded_by = Some(key);
        self
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("version", &self.version)
            .field("payload_len", &self.payload.len())
            .field("remaining", &self.remaining)
            .field("superseded_by", &self.superseded_by)
            .field("owner", &self.owner)
            .finish()
    }
}

/// Whether to move the idle deadline out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the deadline moves or it does not"
)]
pub enum Slide {
    /// Leave it.
    No,
    /// Move it to `idle` from now, if it is not later already and the move gains at least `min_gain`. A floor
    /// of a twentieth of `idle` holds the writes to twenty an idle window, however many requests there are.
    To {
        /// The new idle time.
        idle: Duration,
        /// The smallest move worth a write.
        min_gain: Duration,
    },
}

impl Slide {
    /// Moves to `idle` from now where that gains at least a twentieth of it.
    pub const fn to(idle: Duration) -> Self {
        // Division of a duration by 20 in const code, without overflow at `Duration::MAX`.
        let min_gain = Duration::new(
            idle.as_secs() / 20,
            (idle.as_secs() % 20 * 50_000_000) as u32,
        );
        Slide::To { idle, min_gain }
    }
}

/// What came of [`SessionStore::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: a caller must decide on each"
)]
#[must_use]
pub enum CreateOutcome {
    /// The session exists, at this version.
    Created(Version),
    /// The key is in use or still remembered. Nothing was written. With random ids this means that an earlier
    /// call of the same caller got through. Or the user's sessions were revoked at this moment, this one among
    /// them.
    Collision,
    /// The user has as many sessions as they may. Nothing was written.
    AtCap,
}

/// What came of [`SessionStore::commit`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: a caller must decide on each"
)]
#[must_use]
pub enum CommitOutcome {
    /// The payload is stored, at this version.
    Committed(Version),
    /// Somebody else wrote first. Nothing was written; this is what is there now.
    Conflict(Entry),
    /// The session has moved to this key. Nothing was written. The client is about to get, or has got, a
    /// cookie for the new id, so its cookie must be left alone.
    Superseded(SessionKey),
    /// The session has ended, or never was. Nothing was written, and nothing will be under this key.
    Gone,
}

/// What came of [`SessionStore::rotate`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: a caller must decide on each"
)]
#[must_use]
pub enum RotateOutcome {
    /// The session lives under the new key, at this version.
    Rotated(Version),
    /// Somebody else wrote first. Nothing was moved; this is what is there now.
    Conflict(Entry),
    /// The session has moved already, to this key.
    Superseded(SessionKey),
    /// The session has ended, or never was.
    Gone,
    /// The new key is in use or still remembered. Nothing was moved.
    Collision,
    /// The user has as many sessions as they may. Nothing was moved.
    AtCap,
}

/// What a call to [`SessionStore::sweep`] got done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "both answers to the question, and stores elsewhere must build it"
)]
pub struct Swept {
    /// How many entries were freed: sessions, and keys that were remembered long enough.
    pub removed: usize,
    /// Whether all that had expired is freed. If not, the budget ran out: call again.
    pub caught_up: bool,
}

macro_rules! forwarded_store {
    ($($pointer:ty),*) => {$(
        impl<S: SessionStore + ?Sized> SessionStore for $pointer {
            fn create(
                &self,
                key: &SessionKey,
                record: Record,
            ) -> impl Future<Output = Result<CreateOutcome, StoreError>> + Send {
                (**self).create(key, record)
            }

            fn load(
                &self,
                key: &SessionKey,
                slide: Slide,
            ) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send {
                (**self).load(key, slide)
            }

            fn touch(
                &self,
                key: &SessionKey,
                slide: Slide,
            ) -> impl Future<Output = Result<bool, StoreError>> + Send {
                (**self).touch(key, slide)
            }

            fn commit(
                &self,
                key: &SessionKey,
                expected: Version,
                record: Record,
            ) -> impl Future<Output = Result<CommitOutcome, StoreError>> + Send {
                (**self).commit(key, expected, record)
            }

            fn rotate(
                &self,
                old: &SessionKey,
                new: &SessionKey,
                expected: Version,
                record: Record,
                grace: Duration,
            ) -> impl Future<Output = Result<RotateOutcome, StoreError>> + Send {
                (**self).rotate(old, new, expected, record, grace)
            }

            fn delete(&self, key: &SessionKey) -> impl Future<Output = Result<bool, StoreError>> + Send {
                (**self).delete(key)
            }

            fn by_user(
                &self,
                user: &UserKey,
            ) -> impl Future<Output = Result<Vec<SessionKey>, StoreError>> + Send {
                (**self).by_user(user)
            }

            fn revoke_user(
                &self,
                user: &UserKey,
                except: Option<&SessionKey>,
            ) -> impl Future<Output = Result<usize, StoreError>> + Send {
                (**self).revoke_user(user, except)
            }

            fn load_many(
                &self,
                keys: &[SessionKey],
            ) -> impl Future<Output = Result<Vec<Option<Entry>>, StoreError>> + Send {
                (**self).load_many(keys)
            }

            fn sweep(&self, budget: usize) -> impl Future<Output = Result<Swept, StoreError>> + Send {
                (**self).sweep(budget)
            }
        }
    )*};
}
forwarded_store!(&S, Arc<S>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_of_a_slide_is_a_twentieth_also_of_the_longest_time() {
        let floor = |idle| match Slide::to(idle) {
            Slide::To { min_gain, .. } => min_gain,
            Slide::No => unreachable!(),
        };
        assert_eq!(floor(Duration::from_secs(1800)), Duration::from_secs(90));
        assert_eq!(floor(Duration::from_secs(19)), Duration::from_millis(950));
        assert_eq!(floor(Duration::ZERO), Duration::ZERO);
        assert!(floor(Duration::MAX) > Duration::from_secs(u64::MAX / 20 - 1));
    }
}
