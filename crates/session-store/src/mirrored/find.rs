//! What a session has become, wherever a rotation has got to.

use core::time::Duration;

use bytes::Bytes;
use purlin_core::Placement;

use super::Mirrored;
use super::register::{Attempt, Step, View};
use super::row::{Value, Writes};
use crate::error::StoreError;
use crate::id::SessionKey;
use crate::memory::MAX_HOPS;
use crate::store::{Lifetime, SessionStore, Version};
use crate::user::UserKey;

/// What is found under a key, once it is clear what a rotation has made of it.
pub(super) enum Found {
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
    pub(super) async fn find(&self, key: &SessionKey) -> Result<Found, StoreError> {
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
    pub(super) async fn promote(
        &self,
        key: &SessionKey,
        from: &SessionKey,
    ) -> Result<View, StoreError> {
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
    pub(super) async fn follow(
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
}
