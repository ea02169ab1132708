//! Hearing of what another region has done.
//!
//! Each step is written first and then compared with its neighbours: a session with the record of its family and with the
//! revocations of its user, and each of these with the sessions that are there. So whichever of two comes last finds the
//! other, whatever happens at once.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use purlin_core::{Clock, Retry};

use super::Regional;
use super::family::News;
use super::message::{Item, Leaf, Message};
use super::row::{Family, Record as _, Revocations, Row, Subject};
use crate::error::{ErrorKind, StoreError};
use crate::fields::PayloadError;
use crate::id::SessionKey;
use crate::regions::time::RegionId;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Lifetime, Record, RotateOutcome, SessionStore, Slide,
};
use crate::user::{Owner, UserKey};

/// What came of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Sessions and users that were heard of.
    pub heard: usize,
    /// Those that this region's store will never take, since they are too large for it or something else stands in their
    /// place. The other region takes them for told, so this is worth an alarm: the limits of the two stores differ.
    pub refused: usize,
}

/// Why a message was not taken in. The other region must not be told that it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The store failed. Some of the message may have been taken in, which does no harm when it comes again.
    #[error("the region's own store failed")]
    Store(#[from] StoreError),
    /// It is no message, or one of a later version of this crate.
    #[error("this is no message between regions")]
    Message(#[from] PayloadError),
}

impl ReceiveError {
    /// Whether the message may be received again, and when.
    pub fn retry(&self) -> Retry {
        match self {
            // Hearing of the same thing twice changes nothing.
            ReceiveError::Store(error) => match error.kind() {
                ErrorKind::Unavailable | ErrorKind::Interrupted | ErrorKind::Full => {
                    Retry::safe_after(Duration::from_millis(100))
                }
                ErrorKind::TooLarge | ErrorKind::Corrupt | ErrorKind::Other => Retry::NEVER,
            },
            ReceiveError::Message(error) => error.retry(),
        }
    }
}

/// How often a step is begun anew when its session changes in between.
const RACES: usize = 64;

impl<S: SessionStore, C: Clock + Send + Sync> Regional<S, C> {
    /// Takes in a message of another region. What it says may be known, old, or out of order.
    ///
    /// Sessions that it changes have a new version, so a request that is under way makes its changes again on top.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] if the store fails or this is no message. The sender must then take it for not delivered.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, part of the message has been taken in. The sender must take it for not delivered.
    pub async fn receive(&self, message: Bytes) -> Result<Received, ReceiveError> {
        let Message { teller, items } = Message::decode(message)?;
        let mut received = Received::default();
        for item in items {
            match self.hear(teller, item).await {
                Ok(()) => received.heard += 1,
                Err(error) => match error.kind() {
                    ErrorKind::TooLarge | ErrorKind::Corrupt => received.refused += 1,
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(received)
    }

    async fn hear(&self, teller: RegionId, item: Item) -> Result<(), StoreError> {
        match item {
            Item::User { user, revocations } => {
                self.hear_of_user(teller, &user, &revocations).await
            }
            Item::Session {
                root,
                family,
                leaves,
            } => self.hear_of_session(teller, root, family, leaves).await,
        }
    }

    async fn hear_of_user(
        &self,
        teller: RegionId,
        user: &UserKey,
        told: &Revocations,
    ) -> Result<(), StoreError> {
        if self.is_over(told.until) {
            return Ok(());
        }
        let merge = |revocations: &mut Revocations| revocations.merge(told);
        self.change_revocations(user, merge, News::From(teller))
            .await?;
        // Also if nothing was new: whoever heard of it first may have died before this.
        self.end_revoked(user).await.map(drop)
    }

    async fn hear_of_session(
        &self,
        teller: RegionId,
        root: SessionKey,
        mut told: Family,
        mut leaves: Vec<Leaf>,
    ) -> Result<(), StoreError> {
        for leaf in &leaves {
            told.keys.insert(leaf.key);
            told.until = told.until.max(leaf.row.born_until);
            told.moved.extend(leaf.row.from.map(|from| from.key));
        }
        told.keys.insert(root);
        if self.is_over(told.until) {
            return Ok(());
        }
        let mut known = self.family(&root).await?;
        if let Some(family) = &known {
            self.record_moves(family).await?;
        }
        if known.is_some() || !told.is_trivial() {
            let merge = |family: &mut Family| family.merge(&told);
            known = Some(self.change_family(&root, merge, News::From(teller)).await?);
        }
        let family = known.unwrap_or_default();
        if family.ended {
            return self.end_all(&family.keys).await.map(drop);
        }
        for leaf in &mut leaves {
            leaf.row.replica.confine(family.limit);
            // One that was revoked here long ago is not taken in to be looked at afterwards: if this breaks off in between, and
            // the teller hears of the revocation meanwhile, nobody would tell of it again. A revocation that is made at this
            // moment is still noted, and looks again by itself.
            if !family.moved.contains(&leaf.key) && self.is_spared(&leaf.row).await? {
                self.take_in(teller, leaf, &family.moved).await?;
            }
        }
        self.retire(&family.moved).await?;
        self.confine(&family).await?;

        if let Some(family) = self.family(&root).await?.filter(|family| family.ended) {
            return self.end_all(&family.keys).await.map(drop);
        }
        for leaf in &leaves {
            if let (Some(user), false) = (&leaf.row.owner, self.is_spared(&leaf.row).await?) {
                self.end_revoked(user).await?;
            }
        }
        Ok(())
    }

    /// Records where the session has moved here, if whoever moved it died before that: what is told of the old key is past.
    async fn record_moves(&self, family: &Family) -> Result<(), StoreError> {
        let entries = self.store.load_many(&family.leaves()).await?;
        for entry in entries.iter().flatten() {
            let row = Row::of(entry)?;
            if row
                .from
                .is_some_and(|from| !family.moved.contains(&from.key))
            {
                self.record_move(&row).await?;
            }
        }
        Ok(())
    }

    /// Moves the absolute deadlines here in to what was told of the session under another key, or elsewhere.
    pub(super) async fn confine(&self, family: &Family) -> Result<(), StoreError> {
        let Some(limit) = family.limit else {
            return Ok(());
        };
        for key in family.leaves() {
            for _ in 0..RACES {
                let Some(entry) = self.store.load(&key, Slide::No).await? else {
                    break;
                };
                let mut row = Row::of(&entry)?;
                if entry.superseded_by.is_some() || row.replica.absolute_until() <= limit {
                    break;
                }
                let left = limit.since(row.now(&entry));
                row.replica.confine(Some(limit));
                let record = Record::new(row.encode(), Lifetime::new(Duration::ZERO, left));
                let written = self.store.commit(&key, entry.version, record).await?;
                if matches!(written, CommitOutcome::Committed(_)) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether everything with this deadline is over everywhere, as far as clocks agree.
    fn is_over(&self, until: purlin_core::WallTime) -> bool {
        until.after(self.skew) <= self.clock.wall()
    }

    /// Puts what lives elsewhere together with what lives here.
    async fn take_in(
        &self,
        teller: RegionId,
        leaf: &Leaf,
        moved: &BTreeSet<SessionKey>,
    ) -> Result<(), StoreError> {
        let subject = Subject::Family(leaf.row.root);
        for _ in 0..RACES {
            if let Some(entry) = self.store.load(&leaf.key, Slide::No).await? {
                // Where it has moved on, the record of the family says so, and what is told of the old key is past.
                if entry.superseded_by.is_some() || self.merge(teller, leaf, &entry).await? {
                    return Ok(());
                }
                continue;
            }
            let now = self.clock.wall();
            let lifetime = Lifetime::new(
                leaf.idle_until.since(now),
                leaf.row.replica.absolute_until().since(now),
            );
            if lifetime.idle.is_zero() || lifetime.absolute.is_zero() {
                return Ok(());
            }
            self.mark_for(subject, Some(teller)).await?;
            let mut row = leaf.row.clone();
            row.base = now.as_unix_millis();
            if self.moved_here(leaf, row.clone(), moved).await? {
                return Ok(());
            }
            let record = stored(&row, lifetime);
            match self.store.create(&leaf.key, record).await? {
                CreateOutcome::Created(_) => return Ok(()),
                CreateOutcome::Collision | CreateOutcome::AtCap => {
                    // It ended here a moment ago, and is remembered; or somebody else has just heard of it as well.
                    if self.store.load(&leaf.key, Slide::No).await?.is_none() {
                        return Ok(());
                    }
                }
            }
        }
        Err(StoreError::new(ErrorKind::Unavailable).with_source("too many changes at once"))
    }

    /// Merges into what lives here. False if that has changed meanwhile.
    async fn merge(
        &self,
        teller: RegionId,
        leaf: &Leaf,
        entry: &Entry,
    ) -> Result<bool, StoreError> {
        let mut row = Row::of(entry)?;
        let now = row.now(entry);
        let idle = leaf.idle_until.since(now);
        let is_used = leaf.idle_until.since(row.idle_until(entry)) >= USE_GAIN;
        let is_news = row.replica.merge(&leaf.row.replica);
        if !is_news && !is_used {
            return Ok(true);
        }
        self.mark_for(Subject::Family(row.root), Some(teller))
            .await?;
        if !is_news {
            let slide = Slide::To {
                idle,
                min_gain: Duration::ZERO,
            };
            self.store.touch(&leaf.key, slide).await?;
            return Ok(true);
        }
        let absolute = row.replica.absolute_until().since(now);
        let record = Record::new(row.encode(), Lifetime::new(idle, absolute));
        match self.store.commit(&leaf.key, entry.version, record).await? {
            CommitOutcome::Committed(_) => Ok(true),
            CommitOutcome::Conflict(_) | CommitOutcome::Superseded(_) | CommitOutcome::Gone => {
                Ok(false)
            }
        }
    }

    /// Moves the session here as it was moved elsewhere, if it lives here under a key that it no longer has: then that
    /// one reads for what is left of its grace. Whether it did.
    async fn moved_here(
        &self,
        leaf: &Leaf,
        mut row: Row,
        moved: &BTreeSet<SessionKey>,
    ) -> Result<bool, StoreError> {
        let from = leaf.row.from.map(|from| from.key);
        let others = moved.iter().filter(|key| Some(**key) != from);
        for old in from.iter().chain(others) {
            let Some(entry) = self.store.load(old, Slide::No).await? else {
                continue;
            };
            if entry.superseded_by.is_some() {
                continue;
            }
            let before = Row::of(&entry)?;
            let now = before.now(&entry);
            let limit = before.replica.absolute_until();
            if limit < row.replica.absolute_until() {
                // Told here, by a process that died before it had recorded it.
                let confine = |family: &mut Family| family.confine(Some(limit));
                self.change_family(&row.root, confine, News::Untold).await?;
                row.replica.confine(Some(limit));
            }
            let grace = leaf
                .row
                .from
                .map_or(Duration::ZERO, |from| from.grace_until.since(now));
            let lifetime = Lifetime::new(
                leaf.idle_until.since(now),
                row.replica.absolute_until().since(now),
            );
            let record = stored(&row, lifetime);
            let rotated = self
                .store
                .rotate(old, &leaf.key, entry.version, record, grace)
                .await?;
            if matches!(rotated, RotateOutcome::Rotated(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends what still lives under keys that its session no longer has.
    pub(super) async fn retire(&self, moved: &BTreeSet<SessionKey>) -> Result<(), StoreError> {
        for _ in 0..RACES {
            let keys: Vec<SessionKey> = moved.iter().copied().collect();
            let entries = self.store.load_many(&keys).await?;
            let mut is_done = true;
            for (key, entry) in keys.iter().zip(entries) {
                let Some(entry) = entry.filter(|entry| entry.superseded_by.is_none()) else {
                    continue;
                };
                // To delete it would end what it may have moved to at this moment. So it is moved away itself, if it is as
                // it was, to where nobody finds it.
                is_done = false;
                let grave = self.random_key();
                let record = Record::new(Bytes::new(), Lifetime::new(RETIRED, RETIRED));
                let record = record.with_owner(Owner::Nobody);
                let moved = self
                    .store
                    .rotate(key, &grave, entry.version, record, Duration::ZERO)
                    .await?;
                if matches!(moved, RotateOutcome::Rotated(_)) {
                    self.store.delete(&grave).await?;
                }
            }
            if is_done {
                return Ok(());
            }
        }
        Err(StoreError::new(ErrorKind::Unavailable).with_source("too many changes at once"))
    }
}

fn stored(row: &Row, lifetime: Lifetime) -> Record {
    let owner = match row.owner {
        Some(user) => Owner::User { user, cap: None },
        None => Owner::Nobody,
    };
    Record::new(row.encode(), lifetime).with_owner(owner)
}

/// A use elsewhere counts if it moves the idle deadline by so much. A deadline that was heard of is later here by what the
/// call took, and must not go back and forth as a use of its own.
const USE_GAIN: Duration = Duration::from_secs(1);

/// How long what was moved out of the way lasts, if its end is interrupted.
const RETIRED: Duration = Duration::from_secs(1);
