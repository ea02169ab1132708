//! Ends and revocations: what is recorded of them, and what follows from it.

use core::time::Duration;
use std::collections::BTreeSet;

use purlin_core::Clock;
use sha2::{Digest, Sha256};

use super::Regional;
use super::outbox::done;
use super::row::{self, Awareness, Family, Revocation, Revocations, Row, Subject};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::regions::time::RegionId;
use crate::store::{CommitOutcome, CreateOutcome, Lifetime, Record, SessionStore, Slide};
use crate::user::{Owner, UserKey};

/// How often a record is changed anew when others change it at the same moment.
const RACES: usize = 64;

/// How often a user's sessions are listed to end some. The second time finds what was moved during the first.
const ROUNDS: usize = 16;

/// Who knows already of a change of a record.
#[derive(Clone, Copy)]
pub(super) enum News {
    /// The call has noted it for all.
    Noted,
    /// Nobody else: it is noted for all if it turns out to be new.
    Untold,
    /// This region told it: it is noted for the others if it turns out to be new.
    From(RegionId),
}

impl<S: SessionStore, C: Clock + Send + Sync> Regional<S, C> {
    /// Ends a session and all that was made of it. Whether it was this call that did.
    ///
    /// The end is recorded first: a process that dies in between has ended the session elsewhere, and here when the record
    /// is told of.
    pub(super) async fn end(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let Some(entry) = self.store.load(key, Slide::No).await? else {
            return Ok(false);
        };
        let row = Row::of(&entry)?;
        let marked = self.mark(Subject::Family(row.root)).await?;
        let known = [Some(*key), entry.superseded_by, Some(row.root)];
        let end = |family: &mut Family| {
            family.ended = true;
            family.until = family.until.max(row.born_until);
            family.keys.extend(known.iter().flatten());
        };
        let family = self.change_family(&row.root, end, News::Noted).await?;
        let ended = self.end_all(&family.keys).await.map_err(done)?;
        self.settle(marked).await?;
        Ok(ended)
    }

    /// Ends what lives under any of these keys.
    pub(super) async fn end_all(&self, keys: &BTreeSet<SessionKey>) -> Result<bool, StoreError> {
        let mut ended = false;
        for key in keys {
            ended |= self.store.delete(key).await?;
        }
        Ok(ended)
    }

    pub(super) async fn family(&self, root: &SessionKey) -> Result<Option<Family>, StoreError> {
        self.record(&family_key(root)).await
    }

    pub(super) async fn change_family(
        &self,
        root: &SessionKey,
        change: impl Fn(&mut Family) + Send + Sync,
        news: News,
    ) -> Result<Family, StoreError> {
        let key = family_key(root);
        self.change_record(&key, change, Subject::Family(*root), news)
            .await
    }

    pub(super) async fn revocations(&self, user: &UserKey) -> Result<Revocations, StoreError> {
        let record = self.record(&revocations_key(user)).await?;
        Ok(record.unwrap_or_default())
    }

    pub(super) async fn change_revocations(
        &self,
        user: &UserKey,
        change: impl Fn(&mut Revocations) + Send + Sync,
        news: News,
    ) -> Result<Revocations, StoreError> {
        let key = revocations_key(user);
        self.change_record(&key, change, Subject::User(*user), news)
            .await
    }

    /// Records that a user's sessions are ended wherever they are, but for one family.
    pub(super) async fn revoke(
        &self,
        user: &UserKey,
        spared: Option<&Row>,
    ) -> Result<(), StoreError> {
        let now = self.clock.wall();
        let revoke = |revocations: &mut Revocations| {
            // What an earlier revocation has ended, and is just arriving from elsewhere, cannot be spared by a later one.
            let spared = spared.filter(|row| revocations.spare(row));
            let spared = spared.map(|row| row.root);
            let last = revocations.by.get(&self.region);
            // It grows with the time, so that it never begins again when the record was forgotten.
            let number = last.map_or(0, |last| last.number.saturating_add(1));
            let number = number.max(now.as_unix_millis());
            revocations
                .by
                .insert(self.region, Revocation { number, spared });
            revocations.until = revocations.until.max(now.after(self.longest));
        };
        self.change_revocations(user, revoke, News::Noted).await?;
        Ok(())
    }

    /// The revocations that a session is made after, if it becomes this user's now.
    pub(super) async fn awareness(&self, user: Option<&UserKey>) -> Result<Awareness, StoreError> {
        match user {
            Some(user) => Ok(self.revocations(user).await?.awareness()),
            None => Ok(Awareness::new()),
        }
    }

    /// Whether no revocation has ended a session that was just made or moved. Asked afterwards: whoever revokes records it
    /// first and then looks what there is, so one of the two sees the other.
    pub(super) async fn is_spared(&self, row: &Row) -> Result<bool, StoreError> {
        match &row.owner {
            Some(user) => Ok(self.revocations(user).await?.spare(row)),
            None => Ok(true),
        }
    }

    /// Ends those of a user's sessions here that a revocation does not spare. They are not recorded one by one, as all
    /// regions go by the same revocations.
    pub(super) async fn end_revoked(&self, user: &UserKey) -> Result<usize, StoreError> {
        let revocations = self.revocations(user).await?;
        let mut ended = 0;
        for _ in 0..ROUNDS {
            let listed = self.store.by_user(user).await?;
            let entries = self.store.load_many(&listed).await?;
            let mut doomed = Vec::new();
            for (key, entry) in listed.iter().zip(&entries) {
                let Some(entry) = entry else { continue };
                let row = Row::of(entry)?;
                if !revocations.spare(&row) {
                    self.record_move(&row).await?;
                    doomed.push(key);
                }
            }
            if doomed.is_empty() {
                return Ok(ended);
            }
            for key in doomed {
                ended += usize::from(self.store.delete(key).await?);
            }
        }
        Err(StoreError::new(ErrorKind::Unavailable)
            .with_source("sessions come faster than they end"))
    }

    /// Records that a session has moved to where it is, if whoever moved it died before that.
    pub(super) async fn record_move(&self, row: &Row) -> Result<(), StoreError> {
        if let Some(from) = row.from {
            let leave = |family: &mut Family| {
                family.until = family.until.max(row.born_until);
                family.keys.extend([row.root, from.key]);
                family.moved.insert(from.key);
            };
            self.change_family(&row.root, leave, News::Untold).await?;
        }
        Ok(())
    }

    async fn record<T: row::Record>(&self, key: &SessionKey) -> Result<Option<T>, StoreError> {
        let Some(entry) = self.store.load(key, Slide::No).await? else {
            return Ok(None);
        };
        T::decode(entry.payload).ok_or_else(row::corrupt).map(Some)
    }

    /// Changes a record by a function of it. What is there afterwards.
    async fn change_record<T: row::Record>(
        &self,
        key: &SessionKey,
        change: impl Fn(&mut T) + Send + Sync,
        subject: Subject,
        news: News,
    ) -> Result<T, StoreError> {
        for _ in 0..RACES {
            let stored = self.store.load(key, Slide::No).await?;
            let before = match &stored {
                None => T::default(),
                Some(entry) => T::decode(entry.payload.clone()).ok_or_else(row::corrupt)?,
            };
            let mut next = before.clone();
            change(&mut next);
            if next == before {
                return Ok(next);
            }
            match news {
                News::Noted => {}
                News::Untold => self.mark_for(subject, None).await?,
                News::From(teller) => self.mark_for(subject, Some(teller)).await?,
            }
            let left = next.until().since(self.clock.wall());
            // No absolute deadline: the record lives on when it is about something that lives longer.
            let lifetime = Lifetime::new(left.saturating_add(self.skew), Duration::MAX);
            let record = Record::new(next.encode(), lifetime);
            let is_written = match stored {
                Some(entry) => {
                    let written = self.store.commit(key, entry.version, record).await?;
                    matches!(written, CommitOutcome::Committed(_))
                }
                None => {
                    // Somebody's, as what is nobody's may have to make room.
                    let user = UserKey::of(key.as_bytes());
                    let record = record.with_owner(Owner::User { user, cap: None });
                    let created = self.store.create(key, record).await?;
                    matches!(created, CreateOutcome::Created(_))
                }
            };
            if is_written {
                return Ok(next);
            }
        }
        Err(StoreError::new(ErrorKind::Unavailable).with_source("too many changes at once"))
    }
}

fn family_key(root: &SessionKey) -> SessionKey {
    let digest = Sha256::new()
        .chain_update(b"purlin region family\0")
        .chain_update(root.as_bytes());
    SessionKey::of_digest(digest.finalize().into())
}

fn revocations_key(user: &UserKey) -> SessionKey {
    let digest = Sha256::new()
        .chain_update(b"purlin region revocations\0")
        .chain_update(user.as_bytes());
    SessionKey::of_digest(digest.finalize().into())
}
