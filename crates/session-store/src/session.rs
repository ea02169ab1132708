//! One session, as a request sees it.

use core::fmt;

use bytes::Bytes;
use purlin_core::Retry;

use crate::fields::{Changes, Fields, MAX_NAME_LEN, PayloadError};
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
pub struct Session {
    /// None until the session is first committed, and after it has ended.
    pub(crate) id: Option<SessionId>,
    /// The version last read or written; none if the store has no such session.
    pub(crate) version: Option<Version>,
    pub(crate) fields: Fields,
    pub(crate) changes: Changes,
    pub(crate) wish: Wish,
    pub(crate) remaining: Option<Lifetime>,
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
            remaining: None,
            superseded_by: None,
            next_id: None,
            id_is_news: false,
        }
    }

    pub(crate) fn opened(id: SessionId, entry: Entry) -> Result<Self, PayloadError> {
        let mut session = Session::absent();
        session.id = Some(id);
        session.rebase(entry)?;
        Ok(session)
    }

    /// Puts the changes on top of what the store has now.
    pub(crate) fn rebase(&mut self, entry: Entry) -> Result<(), PayloadError> {
        self.fields = Fields::decode(entry.payload)?;
        self.version = Some(entry.version);
        self.remaining = Some(entry.remaining);
        self.superseded_by = entry.superseded_by;
        Ok(())
    }

    /// Where the session stands.
    pub fn state(&self) -> State {
        match self.wish {
            Wish::Destroy | Wish::Ended => State::Destroyed,
            Wish::Rotate if self.version.is_some() => State::Rotated,
            Wish::Keep | Wish::Rotate if !self.changes.is_empty() => State::Dirty,
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
        self.fields.get_changed(&self.changes, name)
    }

    /// Sets the bytes of a field. Setting what is there already is no change.
    ///
    /// # Errors
    ///
    /// [`FieldError::Name`] for a name that is empty or longer than 255 bytes.
    pub fn set_bytes(&mut self, name: &str, value: impl Into<Bytes>) -> Result<(), FieldError> {
        if name.is_empty() || name.len() > MAX_NAME_LEN {
            return Err(FieldError::Name { len: name.len() });
        }
        let value = value.into();
        if !self.changes.covers(name) && self.fields.get(name).as_ref() == Some(&value) {
            return Ok(());
        }
        self.changes.set(name, Some(value));
        Ok(())
    }

    /// Removes a field. Whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let present = self.get_bytes(name).is_some();
        if self.fields.get(name).is_none() {
            // Set and removed within this request: as if it had never been.
            self.changes.forget(name);
        } else if present {
            self.changes.set(name, None);
        }
        present
    }

    /// Removes all fields, also those that somebody else adds before the commit.
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
        let Some(value) = self.get_bytes(name) else {
            return Ok(None);
        };
        match serde_json::from_slice(&value) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(FieldError::Decode {
                name: name.into(),
                source: Box::new(error),
            }),
        }
    }

    /// Sets the value of a field. Setting what is there already is no change.
    ///
    /// # Errors
    ///
    /// [`FieldError::Encode`] if JSON cannot express the value, [`FieldError::Name`] for a name that is empty
    /// or longer than 255 bytes.
    pub fn set<T: serde::Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), FieldError> {
        match serde_json::to_vec(value) {
            Ok(value) => self.set_bytes(name, value),
            Err(error) => Err(FieldError::Encode {
                name: name.into(),
                source: Box::new(error),
            }),
        }
    }
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
