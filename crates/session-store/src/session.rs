//! One session, as a request sees it.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use purlin_core::{Clock, Retry, WallTime};

use crate::auth::{Assurance, Auth, AuthError, Login, SessionHandle};
use crate::fields::{AUTH, Changes, EPOCH, FLASH, Fields, MAX_NAME_LEN, PayloadError, RESERVED};
use crate::id::{SessionId, SessionKey};
use crate::store::{Entry, Lifetime, Version};

/// One client's session, for the length of a request: what was read, and what is to be changed.
///
/// It does no input or output. [`Sessions`](crate::Sessions) opens it and commits it; a session that is
/// dropped instead leaves the store as it was, which is what a request wants that failed.
///
/// Fields have names and byte values; with feature `json`, `get` and `set` carry values of any serde type.
/// Changes are kept field by field. If somebody else committed first, they are made again on what is there by
/// then: changes of different fields never undo each other, and of two changes of one field the later
/// commit's stays. For a change that depends on the present value, as a counter does, use
/// [`Sessions::update`](crate::Sessions::update).
///
/// Who is logged in is no field: it changes only together with the id, by [`login`](Session::login),
/// [`step_up`](Session::step_up) and [`logout`](Session::logout). So no request that is late, or was forged
/// with an old id, can bring back what a session was allowed to do before.
pub struct Session {
    /// None until the session is first committed, and after it has ended.
    pub(crate) id: Option<SessionId>,
    /// The version last read or written; none if the store has no such session.
    pub(crate) version: Option<Version>,
    pub(crate) fields: Fields,
    pub(crate) changes: Changes,
    pub(crate) wish: Wish,
    /// Who is to be logged in, or how sure that has become.
    pub(crate) auth_change: Option<AuthChange>,
    /// How long the session may last from now at most, if less than it would.
    pub(crate) ends_within: Option<Duration>,
    pub(crate) remaining: Option<Lifetime>,
    /// What the clock said when the session was opened, or became that of a user. Never, if it is nobody's: then nobody
    /// asks.
    pub(crate) opened_at: WallTime,
    superseded_by: Option<SessionKey>,
    /// The id that an unfinished rotation was to give, so that a repeated commit asks for the same.
    pub(crate) next_id: Option<SessionId>,
    /// Whether the id is newer than the client's, and no commit has said so yet.
    pub(crate) id_is_news: bool,
}

/// What is to become of the session beside its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Keep,
    Rotate,
    Destroy,
    /// Destroyed, or found to have ended.
    Ended,
}

/// What is to become of the login.
#[derive(Clone, Debug)]
pub(crate) enum AuthChange {
    Login(Login),
    StepUp(Assurance),
}

/// All that a request has asked for so far.
#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) changes: Changes,
    wish: Wish,
    auth_change: Option<AuthChange>,
    ends_within: Option<Duration>,
}

/// Where a [`Session`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the states of a session within a request"
)]
pub enum State {
    /// There is no session, and nothing to store. Committing makes no store call.
    Absent,
    /// As it is in the store. Committing makes no store call.
    Clean,
    /// Changed. Committing writes it, or creates it if there was none.
    Dirty,
    /// To get a new id, with its changes if any. Committing moves it.
    Rotated,
    /// Ended, or to be ended by the commit.
    Destroyed,
}

impl Session {
    /// No session. It becomes one by the commit after the first change, so clients that store nothing cost
    /// nothing.
    pub fn absent() -> Self {
        Session {
            id: None,
            version: None,
            fields: Fields::default(),
            changes: Changes::default(),
            wish: Wish::Keep,
            auth_change: None,
            ends_within: None,
            remaining: None,
            opened_at: WallTime::MAX,
            superseded_by: None,
            next_id: None,
            id_is_news: false,
        }
    }

    pub(crate) fn opened(
        id: SessionId,
        mut entry: Entry,
        clock: &impl Clock,
    ) -> Result<Self, PayloadError> {
        let fields = Fields::decode(core::mem::take(&mut entry.payload))?;
        let mut session = Session::absent();
        session.id = Some(id);
        session.rebase(entry, fields)?;
        session.note_opening(clock);
        Ok(session)
    }

    /// Looks at the clock for those who will ask how fresh a login is.
    pub(crate) fn note_opening(&mut self, clock: &impl Clock) {
        if self.opened_at == WallTime::MAX && self.fields.get_here(AUTH).is_some() {
            self.opened_at = clock.wall();
        }
    }

    /// Puts the changes on top of what the store has now.
    pub(crate) fn rebase(&mut self, entry: Entry, fields: Fields) -> Result<(), PayloadError> {
        if let Some(stored) = fields.get_here(AUTH) {
            Auth::decode(stored)?;
        }
        self.fields = fields;
        self.version = Some(entry.version);
        self.remaining = Some(entry.remaining);
        self.superseded_by = entry.superseded_by;
        Ok(())
    }

    pub(crate) fn pending(&self) -> Pending {
        Pending {
            changes: self.changes.clone(),
            wish: self.wish,
            auth_change: self.auth_change.clone(),
            ends_within: self.ends_within,
        }
    }

    pub(crate) fn set_pending(&mut self, pending: Pending) {
        self.changes = pending.changes;
        self.wish = pending.wish;
        self.auth_change = pending.auth_change;
        self.ends_within = pending.ends_within;
    }

    /// What is stored of the login.
    pub(crate) fn stored_auth(&self) -> Option<Auth<'_>> {
        // What cannot be decoded was refused when the session was opened.
        Auth::decode(self.fields.get_here(AUTH)?).ok()
    }

    pub(crate) fn stored_epoch(&self) -> u32 {
        let stored = self
            .fields
            .get_here(EPOCH)
            .and_then(|epoch| epoch.try_into().ok());
        stored.map_or(0, u32::from_le_bytes)
    }

    /// Where the session stands.
    pub fn state(&self) -> State {
        let ends_sooner = self.ends_within.is_some() && self.version.is_some();
        let changed = !self.changes.is_empty() || self.auth_change.is_some() || ends_sooner;
        match self.wish {
            Wish::Destroy | Wish::Ended => State::Destroyed,
            Wish::Rotate if self.version.is_some() => State::Rotated,
            Wish::Keep | Wish::Rotate if changed => State::Dirty,
            Wish::Keep | Wish::Rotate if self.version.is_some() => State::Clean,
            Wish::Keep | Wish::Rotate => State::Absent,
        }
    }

    /// The id, while the session is in a store. After a commit that created or rotated it, this is what the
    /// client's cookie must hold.
    pub fn id(&self) -> Option<&SessionId> {
        self.id.as_ref()
    }

    /// How long the session had left when it was opened or committed. `None` if there is none.
    pub fn remaining(&self) -> Option<Lifetime> {
        self.remaining
    }

    /// Whether the client came with an id that was rotated away, within the grace of that rotation. What can
    /// be read is what was there before, and a commit of changes is refused: the client has a newer cookie,
    /// or is about to.
    pub fn is_superseded(&self) -> bool {
        self.superseded_by.is_some()
    }

    /// The application's schema number that the stored fields were written under; 0 if there are none. See
    /// [`Policy::schema`](crate::Policy::schema).
    pub fn schema(&self) -> u8 {
        self.fields.schema()
    }

    /// The bytes of a field, with this request's changes. Shared, not copied. Costs a search through the
    /// names.
    pub fn get_bytes(&self, name: &str) -> Option<Bytes> {
        if name.starts_with(RESERVED) {
            return None;
        }
        self.fields.get_changed(&self.changes, name)
    }

    /// Sets the bytes of a field. Setting what is there already is no change.
    ///
    /// # Errors
    ///
    /// [`FieldError::Name`] for a name that is empty or longer than 255 bytes, [`FieldError::Reserved`] for one
    /// that begins with a zero byte.
    pub fn set_bytes(&mut self, name: &str, value: impl Into<Bytes>) -> Result<(), FieldError> {
        if name.starts_with(RESERVED) {
            return Err(FieldError::Reserved);
        }
        self.put(name, value.into())
    }

    fn put(&mut self, name: &str, value: Bytes) -> Result<(), FieldError> {
        if name.is_empty() || name.len() > MAX_NAME_LEN {
            return Err(FieldError::Name { len: name.len() });
        }
        if !self.changes.covers(name) && self.fields.get_here(name) == Some(&value[..]) {
            return Ok(());
        }
        self.changes.set(name, Some(value));
        Ok(())
    }

    /// Removes a field. Whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        !name.starts_with(RESERVED) && self.drop_field(name)
    }

    fn drop_field(&mut self, name: &str) -> bool {
        let present = self.fields.get_changed(&self.changes, name).is_some();
        if self.fields.get(name).is_none() {
            // Set and removed within this request: as if it had never been.
            self.changes.forget(name);
        } else if present {
            self.changes.set(name, None);
        }
        present
    }

    /// Leaves a value for the next request that takes it, as a page does that redirects to another. Flash
    /// values are no fields: neither [`get_bytes`](Session::get_bytes) nor [`names`](Session::names) knows
    /// them.
    ///
    /// # Errors
    ///
    /// [`FieldError::Name`] for a name that is empty or longer than 248 bytes.
    pub fn set_flash_bytes(
        &mut self,
        name: &str,
        value: impl Into<Bytes>,
    ) -> Result<(), FieldError> {
        if name.is_empty() || name.len() > MAX_NAME_LEN - FLASH.len() {
            return Err(FieldError::Name { len: name.len() });
        }
        self.put(&[FLASH, name].concat(), value.into())
    }

    /// Takes a value that was left by [`set_flash_bytes`](Session::set_flash_bytes); the commit removes it.
    /// Two requests that take it at the same moment may both get it.
    pub fn take_flash_bytes(&mut self, name: &str) -> Option<Bytes> {
        let name = [FLASH, name].concat();
        let value = self.fields.get_changed(&self.changes, &name)?;
        self.drop_field(&name);
        Some(value)
    }

    /// Removes all fields and flash values, also those that somebody else adds before the commit. Whoever is
    /// logged in stays so.
    pub fn clear(&mut self) {
        self.changes.clear();
    }

    /// The names of all fields, with this request's changes, in ascending order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.names_changed(&self.changes)
    }

    /// Asks for a new id. Do so whenever what the session may do changes, at login above all: whoever planted
    /// or learned the old id then has nothing.
    ///
    /// The commit moves the session in one step. For the grace of the [`Policy`](crate::Policy::grace) the
    /// old id still reads what was there before, for requests that were on their way. No effect on a session
    /// that is not in a store: it gets a fresh id in any case.
    pub fn rotate(&mut self) {
        if self.wish == Wish::Keep {
            self.wish = Wish::Rotate;
        }
    }

    /// Logs a user in: the commit gives the session a new id, and makes it theirs in the list of
    /// [`Sessions::of_user`](crate::Sessions::of_user). If they have as many sessions as the policy allows,
    /// their oldest ends, or the commit fails, as the policy says.
    ///
    /// The fields stay, as a cart should; but where another user was logged in, all that is in the session is
    /// theirs, so it is cleared first.
    pub fn login(&mut self, login: Login) {
        if self.user().is_some_and(|present| present != login.user()) {
            self.clear();
        }
        self.auth_change = Some(AuthChange::Login(login));
        self.rotate();
    }

    /// Notes that the user has just proven again who they are, with this assurance or with what they had if
    /// that is higher. The commit gives the session a new id.
    ///
    /// # Errors
    ///
    /// [`AuthError::LoggedOut`] if nobody is logged in.
    pub fn step_up(&mut self, assurance: Assurance) -> Result<(), AuthError> {
        let Some(present) = self.assurance() else {
            return Err(AuthError::LoggedOut);
        };
        let assurance = assurance.max(present);
        self.auth_change = Some(match self.auth_change.take() {
            Some(AuthChange::Login(login)) => AuthChange::Login(login.assurance(assurance)),
            Some(AuthChange::StepUp(_)) | None => AuthChange::StepUp(assurance),
        });
        self.rotate();
        Ok(())
    }

    /// Who is logged in, with this request's [`login`](Session::login).
    pub fn user(&self) -> Option<&str> {
        match &self.auth_change {
            Some(AuthChange::Login(login)) => Some(login.user()),
            Some(AuthChange::StepUp(_)) | None => self.stored_auth().map(|auth| auth.user),
        }
    }

    /// How sure it is who is logged in, with this request's changes.
    pub fn assurance(&self) -> Option<Assurance> {
        match &self.auth_change {
            Some(AuthChange::Login(login)) => Some(login.level()),
            Some(AuthChange::StepUp(assurance)) => Some(*assurance),
            None => self.stored_auth().map(|auth| auth.assurance),
        }
    }

    /// The name by which the user sees this session in the list of theirs. `None` before the login is
    /// committed.
    pub fn handle(&self) -> Option<SessionHandle> {
        self.stored_auth().map(|auth| auth.handle)
    }

    /// Makes sure that the user proved who they are within this time, as before a change of password. A login
    /// within this request counts.
    ///
    /// # Errors
    ///
    /// [`AuthError`] says what is missing.
    pub fn require_fresh(&self, within: Duration) -> Result<(), AuthError> {
        self.require_login()?;
        if self.auth_change.is_some() {
            return Ok(());
        }
        match self.stored_auth() {
            Some(auth) => auth.check_fresh(self.opened_at, within),
            None => Err(AuthError::LoggedOut),
        }
    }

    /// Makes sure that the user proved who they are as surely as this.
    ///
    /// # Errors
    ///
    /// [`AuthError`] says what is missing.
    pub fn require_assurance(&self, needed: Assurance) -> Result<(), AuthError> {
        self.require_login()?;
        match self.assurance() {
            Some(assurance) if assurance >= needed => Ok(()),
            Some(assurance) => Err(AuthError::Weak { assurance }),
            None => Err(AuthError::LoggedOut),
        }
    }

    /// Makes sure that somebody is logged in.
    ///
    /// # Errors
    ///
    /// [`AuthError::LoggedOut`], and [`AuthError::Superseded`] for a client that came with an old id.
    pub fn require_login(&self) -> Result<(), AuthError> {
        if self.is_superseded() {
            return Err(AuthError::Superseded);
        }
        match (self.wish, self.user()) {
            (Wish::Keep | Wish::Rotate, Some(_)) => Ok(()),
            (Wish::Destroy | Wish::Ended, _) | (_, None) => Err(AuthError::LoggedOut),
        }
    }

    /// Ends the session within this time at the latest, as when the login was by another service that gave it
    /// so long. Only ever moves the end in: of several calls, by several requests, the shortest stays.
    pub fn end_within(&mut self, time: Duration) {
        let present = self.ends_within.unwrap_or(Duration::MAX);
        self.ends_within = Some(time.min(present));
    }

    /// Logs out: ends the session. The name by which one looks for [`destroy`](Session::destroy).
    pub fn logout(&mut self) {
        self.destroy();
    }

    /// Asks for the session's end. The commit deletes it, whatever else was changed, and nothing under way
    /// brings it back.
    pub fn destroy(&mut self) {
        if self.wish != Wish::Ended {
            self.wish = Wish::Destroy;
        }
    }
}

#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
impl Session {
    /// The value of a field, with this request's changes. `None` if there is no such field.
    ///
    /// # Errors
    ///
    /// [`FieldError::Decode`] if the field holds something else than a `T`.
    pub fn get<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, FieldError> {
        if name.starts_with(RESERVED) {
            return Ok(None);
        }
        let value = self.fields.get_changed_here(&self.changes, name);
        value.map(|value| decoded(name, value)).transpose()
    }

    /// Sets the value of a field. Setting what is there already is no change.
    ///
    /// # Errors
    ///
    /// [`FieldError::Encode`] if JSON cannot express the value, and those of
    /// [`set_bytes`](Session::set_bytes).
    pub fn set<T: serde::Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), FieldError> {
        self.set_bytes(name, encoded(name, value)?)
    }

    /// [`set_flash_bytes`](Session::set_flash_bytes) of a value.
    ///
    /// # Errors
    ///
    /// [`FieldError::Encode`] if JSON cannot express the value, and those of
    /// [`set_flash_bytes`](Session::set_flash_bytes).
    pub fn set_flash<T: serde::Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), FieldError> {
        self.set_flash_bytes(name, encoded(name, value)?)
    }

    /// [`take_flash_bytes`](Session::take_flash_bytes) of a value. One that is no `T` is taken too.
    ///
    /// # Errors
    ///
    /// [`FieldError::Decode`] if what was left is something else than a `T`.
    pub fn take_flash<T: serde::de::DeserializeOwned>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, FieldError> {
        let value = self.take_flash_bytes(name);
        value.map(|value| decoded(name, &value)).transpose()
    }
}

#[cfg(feature = "json")]
fn encoded<T: serde::Serialize + ?Sized>(name: &str, value: &T) -> Result<Vec<u8>, FieldError> {
    serde_json::to_vec(value).map_err(|error| FieldError::Encode {
        name: name.into(),
        source: Box::new(error),
    })
}

#[cfg(feature = "json")]
fn decoded<T: serde::de::DeserializeOwned>(name: &str, value: &[u8]) -> Result<T, FieldError> {
    serde_json::from_slice(value).map_err(|error| FieldError::Decode {
        name: name.into(),
        source: Box::new(error),
    })
}

/// Shows names, and neither values nor the id.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state())
            .field("version", &self.version)
            .field("names", &self.names().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Why a field could not be read or set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The name is empty, or longer than 255 bytes.
    #[error("a field's name has 1 to 255 bytes, not {len}")]
    Name {
        /// The length of the name refused.
        len: usize,
    },
    /// The name begins with a zero byte, which names of this crate's own do.
    #[error("a field's name does not begin with a zero byte")]
    Reserved,
    /// The value cannot be encoded.
    #[error("field `{name}` cannot be encoded")]
    Encode {
        /// The field.
        name: Box<str>,
        /// What the encoder said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The field holds something else than was asked for.
    #[error("field `{name}` holds something else")]
    Decode {
        /// The field.
        name: Box<str>,
        /// What the decoder said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl FieldError {
    /// Never: the same call fails in the same way.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}
