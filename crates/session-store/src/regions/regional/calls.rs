//! The calls that write: what a caller asks for, as what the store is asked for and what is recorded beside it.

use core::time::Duration;

use bytes::Bytes;
use purlin_core::Clock;

use super::family::News;
use super::outbox::done;
use super::row::{Family, Rotation, Row, Subject};
use super::{Regional, payload};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::regions::replica::{Replica, SetError};
use crate::regions::time::Writer;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Lifetime, Record, RotateOutcome, SessionStore, Slide,
    Version,
};
use crate::user::{Cap, Owner, UserKey, WhenFull};

/// A version that no row has, to ask what became of a key that reads nothing.
const NEVER: Version = Version(0);

/// How often room is made among a user's sessions for one more, when others take it.
const WAYS_MADE: usize = 256;

impl<S: SessionStore, C: Clock + Send + Sync> Regional<S, C> {
    pub(super) async fn create_record(
        &self,
        key: &SessionKey,
        record: &Record,
    ) -> Result<CreateOutcome, StoreError> {
        let by = Writer {
            region: self.region,
            now: self.clock.wall(),
        };
        let absolute = record.lifetime.absolute.min(self.longest);
        let mut replica = Replica::new(by, absolute, absolute);
        payload::write(&mut replica, by, &record.payload).map_err(too_large)?;
        let owner = record.owner.after(None);
        let row = Row {
            base: 0,
            root: *key,
            from: None,
            owner,
            born_until: replica.absolute_until(),
            aware: self.awareness(owner.as_ref()).await?,
            replica,
        };
        let marked = self.mark(Subject::Family(*key)).await?;
        let lifetime = Lifetime::new(record.lifetime.idle, absolute);
        let stored = Record::new(row.encode(), lifetime);
        let create = |owner| self.store.create(key, stored.clone().with_owner(owner));
        let outcome = self
            .with_way(record.owner, create, |outcome| {
                *outcome == CreateOutcome::AtCap
            })
            .await?;
        if let CreateOutcome::Created(_) = outcome {
            if !self.is_spared(&row).await.map_err(done)? {
                self.store.delete(key).await.map_err(done)?;
                return Ok(CreateOutcome::Collision);
            }
        }
        self.settle(marked).await?;
        Ok(outcome)
    }

    pub(super) async fn commit_record(
        &self,
        key: &SessionKey,
        expected: Version,
        record: &Record,
    ) -> Result<CommitOutcome, StoreError> {
        let stored = self.store.load(key, Slide::No).await?;
        let entry = match stored {
            Some(entry) => entry,
            None => match self.store.commit(key, NEVER, nothing()).await? {
                CommitOutcome::Conflict(entry) => entry,
                other => return Ok(other),
            },
        };
        if let Some(by) = entry.superseded_by {
            return Ok(CommitOutcome::Superseded(by));
        }
        let mut row = Row::of(&entry)?;
        if row.version(entry.version) != expected {
            return Ok(CommitOutcome::Conflict(row.entry(&entry)));
        }
        let by = self.by(&row, &entry);
        payload::write(&mut row.replica, by, &record.payload).map_err(too_large)?;
        let before = row.replica.absolute_until();
        let limit = before.min(by.now.after(record.lifetime.absolute));
        row.replica.limit(by, limit);
        let marked = self.mark(Subject::Family(row.root)).await?;
        if limit < before {
            // Before anybody can see it: the session may be moved elsewhere at this moment, or be over here before it was told,
            // and if this process dies, nobody knows of it but the row.
            let confine = |family: &mut Family| {
                family.until = family.until.max(row.born_until);
                family.keys.extend([row.root, *key]);
                family.confine(Some(limit));
            };
            self.change_family(&row.root, confine, News::Noted).await?;
        }
        let next = Record::new(row.encode(), record.lifetime);
        match self.store.commit(key, entry.version, next).await? {
            CommitOutcome::Committed(version) => {
                self.settle(marked).await?;
                Ok(CommitOutcome::Committed(row.version(version)))
            }
            CommitOutcome::Conflict(entry) => {
                Ok(CommitOutcome::Conflict(Row::of(&entry)?.entry(&entry)))
            }
            other => Ok(other),
        }
    }

    pub(super) async fn rotate_record(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: &Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let entry = match self.store.load(old, Slide::No).await? {
            Some(entry) => entry,
            None => {
                let asked = self
                    .store
                    .rotate(old, new, NEVER, nothing(), Duration::ZERO);
                match asked.await? {
                    RotateOutcome::Conflict(entry) => entry,
                    RotateOutcome::Superseded(by) => return self.superseded(old, new, by).await,
                    other => return Ok(other),
                }
            }
        };
        if let Some(by) = entry.superseded_by {
            return self.superseded(old, new, by).await;
        }
        let row = Row::of(&entry)?;
        if row.version(entry.version) != expected {
            return Ok(RotateOutcome::Conflict(row.entry(&entry)));
        }
        if old == new {
            return Ok(RotateOutcome::Collision);
        }
        let by = self.by(&row, &entry);
        let absolute = record.lifetime.absolute.min(entry.remaining.absolute);
        let mut replica = Replica::new(by, absolute, absolute);
        payload::write(&mut replica, by, &record.payload).map_err(too_large)?;
        let owner = record.owner.after(row.owner);
        let aware = if owner == row.owner {
            row.aware.clone()
        } else {
            self.awareness(owner.as_ref()).await?
        };
        let next = Row {
            base: row.base,
            root: row.root,
            from: Some(Rotation {
                key: *old,
                grace_until: by.now.after(grace),
            }),
            owner,
            born_until: replica.absolute_until(),
            aware,
            replica,
        };
        let marked = self.mark(Subject::Family(row.root)).await?;
        // Known as one of its keys before it lives there, so that whoever ends the session ends it there too.
        let enter = |family: &mut Family| {
            family.until = family.until.max(row.born_until);
            family.keys.extend([row.root, *old, *new]);
        };
        self.change_family(&row.root, enter, News::Noted).await?;
        let lifetime = Lifetime::new(record.lifetime.idle, absolute);
        let stored = Record::new(next.encode(), lifetime);
        let rotate = |owner| {
            let stored = stored.clone().with_owner(owner);
            self.store.rotate(old, new, entry.version, stored, grace)
        };
        let outcome = self
            .with_way(record.owner, rotate, |outcome| {
                *outcome == RotateOutcome::AtCap
            })
            .await?;
        match outcome {
            RotateOutcome::Rotated(version) => {
                let is_spared = self.finish_rotation(&next, old).await.map_err(done)?;
                self.settle(marked).await?;
                Ok(if is_spared {
                    RotateOutcome::Rotated(row.version(version))
                } else {
                    RotateOutcome::Gone
                })
            }
            RotateOutcome::Conflict(entry) => {
                Ok(RotateOutcome::Conflict(Row::of(&entry)?.entry(&entry)))
            }
            RotateOutcome::Superseded(by) => self.superseded(old, new, by).await,
            other => Ok(other),
        }
    }

    /// What to tell the caller of a rotation that finds the session moved. If it was moved by an attempt of their own,
    /// which may not have come to its end, that is made good.
    async fn superseded(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        by: SessionKey,
    ) -> Result<RotateOutcome, StoreError> {
        if by == *new {
            if let Some(entry) = self.store.load(new, Slide::No).await? {
                if !self.finish_rotation(&Row::of(&entry)?, old).await? {
                    return Ok(RotateOutcome::Gone);
                }
            }
        }
        Ok(RotateOutcome::Superseded(by))
    }

    /// What is left to do after a rotation has happened. Whether the session still lives.
    async fn finish_rotation(&self, next: &Row, old: &SessionKey) -> Result<bool, StoreError> {
        let leave = |family: &mut Family| {
            family.until = family.until.max(next.born_until);
            family.keys.extend([next.root, *old]);
            family.moved.insert(*old);
        };
        let family = self.change_family(&next.root, leave, News::Noted).await?;
        if family.ended {
            self.end_all(&family.keys).await?;
            return Ok(false);
        }
        if !self.is_spared(next).await? {
            if let Some(user) = &next.owner {
                self.end_revoked(user).await?;
            }
            return Ok(false);
        }
        Ok(true)
    }

    /// Runs a write that may make a session its owner's. The cap is kept by the store; but which session makes room is
    /// decided here, since other regions must be told of its end.
    async fn with_way<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        owner: Owner,
        write: impl Fn(Owner) -> F,
        is_full: impl Fn(&T) -> bool,
    ) -> Result<T, StoreError> {
        let Owner::User {
            user,
            cap: Some(cap),
        } = owner
        else {
            return write(owner).await;
        };
        let strict = Owner::User {
            user,
            cap: Some(Cap {
                when_full: WhenFull::Reject,
                ..cap
            }),
        };
        for _ in 0..WAYS_MADE {
            let outcome = write(strict).await?;
            if cap.when_full == WhenFull::Reject || !is_full(&outcome) {
                return Ok(outcome);
            }
            self.make_way(&user, cap).await?;
        }
        write(strict).await
    }

    /// Ends the oldest of a user's sessions, so that there is room for one more.
    async fn make_way(&self, user: &UserKey, cap: Cap) -> Result<(), StoreError> {
        let listed = self.store.by_user(user).await?;
        let entries = self.store.load_many(&listed).await?;
        let mut live: Vec<(Duration, SessionKey)> = listed
            .into_iter()
            .zip(entries)
            .filter_map(|(key, entry)| {
                let entry = entry.filter(|entry| entry.superseded_by.is_none())?;
                Some((entry.remaining.absolute, key))
            })
            .collect();
        live.sort_unstable();
        let over = (live.len() + 1).saturating_sub(cap.limit());
        for (_, key) in live.iter().take(over) {
            self.end(key).await?;
        }
        Ok(())
    }

    fn by(&self, row: &Row, entry: &Entry) -> Writer {
        Writer {
            region: self.region,
            now: row.now(entry),
        }
    }
}

/// What is offered along with a question.
fn nothing() -> Record {
    Record::new(Bytes::new(), Lifetime::new(Duration::ZERO, Duration::MAX))
}

fn too_large(error: SetError) -> StoreError {
    StoreError::new(ErrorKind::TooLarge).with_source(error)
}
