//! The sessions of one user, as the user sees them: a list, and the end of one or all of them.

use core::time::Duration;

use purlin_core::{Clock, Retry, WallTime};

use super::Sessions;
use crate::auth::{Assurance, Auth, SessionHandle};
use crate::error::StoreError;
use crate::fields::{AUTH, Fields};
use crate::id::SessionKey;
use crate::session::Session;
use crate::store::{Entry, Lifetime, SessionStore};
use crate::user::UserKey;

/// One session of a user, for the page on which they look after them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// The name to end it by.
    pub handle: SessionHandle,
    /// What the login called it; empty if nothing.
    pub label: String,
    /// When the user logged in.
    pub since: WallTime,
    /// When they last proved who they are.
    pub proven: WallTime,
    /// How surely they did.
    pub assurance: Assurance,
    /// How long it has not been used, to within a twentieth of the idle time. None if idle sessions last for
    /// ever.
    pub unused_for: Option<Duration>,
    /// How long it has left.
    pub remaining: Lifetime,
    /// Whether it is the session that asks.
    pub is_current: bool,
}

impl<S: SessionStore, C: Clock + Send + Sync> Sessions<S, C> {
    /// The sessions in which this user is logged in, the latest first. One whose payload cannot be read is left
    /// out; to end it, end all. Costs what the user has, however many others there are.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the store failed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing has changed.
    pub async fn of_user(&self, user: &str) -> Result<Vec<Device>, StoreError> {
        let listed = self.listed(user).await?;
        Ok(listed.into_iter().map(|(_, device)| device).collect())
    }

    /// The sessions of the user who is logged in to this one, this one marked. Empty if nobody is.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the store failed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing has changed.
    pub async fn devices(&self, session: &Session) -> Result<Vec<Device>, StoreError> {
        let Some(auth) = session.stored_auth() else {
            return Ok(Vec::new());
        };
        let mut devices = self.of_user(auth.user).await?;
        for device in &mut devices {
            device.is_current = device.handle == auth.handle;
        }
        Ok(devices)
    }

    /// Ends one of a user's sessions, and says whether there was one of this handle. The user is asked for so
    /// that nobody ends the sessions of others.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the store failed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session may or may not have ended. Repeating the call is harmless.
    pub async fn end_device(&self, user: &str, handle: SessionHandle) -> Result<bool, StoreError> {
        // A session that is moved while it is looked for is found under its new key by the next look.
        for _ in 0..LOOKS {
            let listed = self.listed(user).await?;
            let Some((key, _)) = listed.iter().find(|(_, device)| device.handle == handle) else {
                return Ok(false);
            };
            if self.store.delete(key).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends all sessions of a user, on all devices, and says how many.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the store failed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some of them have ended. Repeating the call is harmless.
    pub async fn end_all_of(&self, user: &str) -> Result<usize, StoreError> {
        self.store.revoke_user(&UserKey::of(user), None).await
    }

    /// Ends all other sessions of the user who is logged in to this one, as after a change of password, and
    /// says how many. Commit the session first if it is to be rotated; what is in it is not touched.
    ///
    /// # Errors
    ///
    /// [`RevokeError::LoggedOut`] if nobody is logged in, or only this request's uncommitted login;
    /// [`RevokeError::Superseded`] if the client came with an old id.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some of them have ended. Repeating the call is harmless.
    pub async fn logout_others(&self, session: &Session) -> Result<usize, RevokeError> {
        let (user, key) = Self::who(session)?;
        Ok(self.store.revoke_user(&user, Some(&key)).await?)
    }

    /// Ends all sessions of the user who is logged in to this one, this one included, and says how many. The
    /// session is then [`Destroyed`](crate::State::Destroyed), and its next commit says that the cookie goes.
    ///
    /// # Errors
    ///
    /// [`RevokeError::LoggedOut`] if nobody is logged in, or only this request's uncommitted login;
    /// [`RevokeError::Superseded`] if the client came with an old id.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some of them have ended. Repeating the call is harmless.
    pub async fn logout_everywhere(&self, session: &mut Session) -> Result<usize, RevokeError> {
        let (user, _) = Self::who(session)?;
        let ended = self.store.revoke_user(&user, None).await?;
        session.end();
        Ok(ended)
    }

    fn who(session: &Session) -> Result<(UserKey, SessionKey), RevokeError> {
        if session.is_superseded() {
            return Err(RevokeError::Superseded);
        }
        match (session.stored_auth(), session.id()) {
            (Some(auth), Some(id)) => Ok((UserKey::of(auth.user), id.key())),
            (Some(_), None) | (None, _) => Err(RevokeError::LoggedOut),
        }
    }

    async fn listed(&self, user: &str) -> Result<Vec<(SessionKey, Device)>, StoreError> {
        let keys = self.store.by_user(&UserKey::of(user)).await?;
        let entries = self.store.load_many(&keys).await?;
        let mut listed: Vec<(SessionKey, Device)> = keys
            .into_iter()
            .zip(entries)
            .filter_map(|(key, entry)| Some((key, self.device(user, entry?)?)))
            .collect();
        listed.sort_by_key(|(key, device)| (core::cmp::Reverse(device.since), *key));
        Ok(listed)
    }

    fn device(&self, user: &str, entry: Entry) -> Option<Device> {
        // Moved between the list and the look, and listed under its new key.
        if entry.superseded_by.is_some() {
            return None;
        }
        let remaining = entry.remaining;
        let fields = Fields::decode(entry.payload).ok()?;
        let auth = Auth::decode(fields.get_here(AUTH)?).ok()?;
        if auth.user != user {
            return None;
        }
        let idle = self.policy.lifetime(true).idle;
        // Near its absolute end a session has less idle time left for no want of use.
        let given = idle.min(remaining.absolute);
        Some(Device {
            handle: auth.handle,
            label: auth.label.to_owned(),
            since: auth.since,
            proven: auth.proven,
            assurance: auth.assurance,
            unused_for: (given != Duration::MAX).then(|| given.saturating_sub(remaining.idle)),
            remaining,
            is_current: false,
        })
    }
}

/// How often a session is looked for that moves from key to key.
const LOOKS: usize = 8;

/// Why no sessions were ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// Nobody is logged in to this session, so there are no others.
    #[error("nobody is logged in")]
    LoggedOut,
    /// The client came with an id that was rotated away, which may read and no more.
    #[error("the session has got another id")]
    Superseded,
    /// The store failed.
    #[error("the sessions could not be ended")]
    Store(#[from] StoreError),
}

impl RevokeError {
    /// Whether to try again, and when.
    pub fn retry(&self) -> Retry {
        match self {
            RevokeError::LoggedOut | RevokeError::Superseded => Retry::NEVER,
            RevokeError::Store(error) => error.retry(),
        }
    }
}
