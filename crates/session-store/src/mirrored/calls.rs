//! The calls that write, each a few changes of registers.

use core::time::Duration;

use purlin_core::Placement;

use super::find::Found;
use super::register::{Attempt, Step, View};
use super::row::{Value, Writes};
use super::{Mirrored, TO_THE_END, capped, uncapped};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Lifetime, Record, RotateOutcome, SessionStore, Version,
};
use crate::user::UserKey;

impl<S: SessionStore, P: Placement + Send + Sync> Mirrored<S, P> {
    pub(super) async fn create_record(
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

    pub(super) async fn commit_record(
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

    pub(super) async fn rotate_record(
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
    pub(super) async fn bury(&self, key: &SessionKey) -> Result<Option<bool>, StoreError> {
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
