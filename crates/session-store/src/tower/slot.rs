//! Where a request's session is kept: opened by the first who asks, lent to one at a time.

use core::fmt;
use core::mem;
use core::ops::{Deref, DerefMut};
use std::sync::Arc;

use http::header::{COOKIE, HeaderMap, HeaderValue};
use purlin_core::sync::Mutex;

use super::{SessionFailure, Setup};
use crate::cookie::Opened;
use crate::id::{SessionId, SessionKey};
use crate::session::Session;
use crate::sessions::{CommitError, Saved};

/// A request's session, not opened yet. [`SessionLayer`](super::SessionLayer) puts one into the extensions of
/// each request; clones are the same slot.
#[derive(Clone)]
pub struct SessionSlot(Arc<Slot>);

struct Slot {
    setup: Arc<Setup>,
    /// The request's `Cookie` headers; HTTP/2 clients may split them.
    cookies: Vec<HeaderValue>,
    place: Mutex<Place>,
}

/// Where the session is.
enum Place {
    /// In the store, if anywhere. Nobody has asked.
    Unopened,
    Here(Box<Held>),
    /// With a [`CurrentSession`], or on its way to one.
    Lent,
    /// The response has been made.
    Closed,
}

/// A session that was opened for a request.
pub(super) struct Held {
    pub(super) session: Session,
    /// What the client's cookie says, if it says anything.
    pub(super) presented: Option<Presented>,
}

pub(super) struct Presented {
    pub(super) key: SessionKey,
    /// Whether it was sealed by a key that is on its way out.
    pub(super) outdated: bool,
}

/// What became of the slot by the time the response was made.
pub(super) enum Left {
    Unopened,
    Opened(Box<Held>),
    /// Somebody still has the session, and may be changing it.
    StillLent,
}

impl SessionSlot {
    pub(super) fn new(setup: Arc<Setup>, headers: &HeaderMap) -> Self {
        SessionSlot(Arc::new(Slot {
            setup,
            cookies: headers.get_all(COOKIE).iter().cloned().collect(),
            place: Mutex::new(Place::Unopened),
        }))
    }

    /// The request's session: the one that its cookie names, or none. The first call of a request asks the
    /// store, if there is a cookie of ours; the later ones hand over what the earlier gave back.
    ///
    /// # Errors
    ///
    /// [`SessionFailure::Open`] if the store failed, which is not "no session"; [`SessionFailure::InUse`] if
    /// an earlier [`CurrentSession`] of this request has not been dropped, since two of them would each have
    /// half of the changes; [`SessionFailure::Closed`] after the response.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the slot is as before.
    pub async fn open(&self) -> Result<CurrentSession, SessionFailure> {
        let place = mem::replace(&mut *self.0.place.lock(), Place::Lent);
        // Whatever happens from here on gives back what was taken.
        let mut loan = Loan {
            slot: Arc::clone(&self.0),
            returns: Place::Unopened,
        };
        match place {
            Place::Here(held) => Ok(loan.lend(held)),
            Place::Unopened => {
                let held = self.0.open().await?;
                Ok(loan.lend(Box::new(held)))
            }
            Place::Lent => {
                loan.returns = Place::Lent;
                Err(SessionFailure::InUse)
            }
            Place::Closed => {
                loan.returns = Place::Closed;
                Err(SessionFailure::Closed)
            }
        }
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.0.setup
    }

    /// Takes the session out for good.
    pub(super) fn close(&self) -> Left {
        match mem::replace(&mut *self.0.place.lock(), Place::Closed) {
            Place::Unopened | Place::Closed => Left::Unopened,
            Place::Here(held) => Left::Opened(held),
            Place::Lent => Left::StillLent,
        }
    }
}

impl Slot {
    async fn open(&self) -> Result<Held, SessionFailure> {
        let Some(opened) = self.presented_id() else {
            return Ok(Held {
                session: Session::absent(),
                presented: None,
            });
        };
        let presented = Presented {
            key: opened.value.key(),
            outdated: opened.outdated,
        };
        let session = self.setup.sessions.open(opened.value).await;
        Ok(Held {
            session: session.map_err(SessionFailure::open)?,
            presented: Some(presented),
        })
    }

    /// The id that the client sent, if we sealed it. Of several cookies of the name, which a neighbouring host
    /// can plant, the first that was sealed here counts.
    fn presented_id(&self) -> Option<Opened<SessionId>> {
        let codec = &self.setup.cookies;
        let name = codec.attributes().name();
        self.cookies
            .iter()
            .flat_map(|header| values_of(name, header.as_bytes()))
            .find_map(|value| codec.decode(value).ok())
    }

    fn give_back(&self, returned: Place) {
        let mut place = self.place.lock();
        if let Place::Lent = *place {
            *place = returned;
        }
    }
}

/// The values of one name in a `Cookie` header: pairs between semicolons (RFC 6265, 4.2.1). What is quoted or
/// otherwise odd is not ours, and the codec refuses it.
fn values_of<'a>(name: &'a str, header: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    header.split(|&byte| byte == b';').filter_map(move |pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    })
}

/// Gives the slot back what was taken from it, unless it was lent on.
struct Loan {
    slot: Arc<Slot>,
    returns: Place,
}

impl Loan {
    fn lend(&mut self, held: Box<Held>) -> CurrentSession {
        self.returns = Place::Lent;
        CurrentSession {
            held: Some(held),
            slot: Arc::clone(&self.slot),
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.slot
            .give_back(mem::replace(&mut self.returns, Place::Lent));
    }
}

/// The session of the request at hand: a [`Session`] to read and change. When it is dropped, the session goes
/// back to the request, and the layer commits it before the response.
///
/// One request has one of these at a time. A middleware that looks at the session drops it before it calls the
/// handler. One that outlives the handler, in a task or in a streamed body, could still change what the client
/// has been told of; the response is then an error, [`SessionFailure::InUse`].
pub struct CurrentSession {
    /// Present until dropped.
    held: Option<Box<Held>>,
    slot: Arc<Slot>,
}

impl CurrentSession {
    /// Commits now, before the response is made: for what must be stored before the handler does something
    /// that cannot be undone. The layer sees to the cookie all the same.
    ///
    /// # Errors
    ///
    /// See [`CommitError`]. The session keeps its changes.
    ///
    /// # Cancel safety
    ///
    /// As [`Sessions::commit`](crate::Sessions::commit).
    pub async fn commit(&mut self) -> Result<Saved, CommitError> {
        let slot = Arc::clone(&self.slot);
        slot.setup.sessions.commit(self).await
    }
}

impl CurrentSession {
    pub(super) fn setup(&self) -> &Setup {
        &self.slot.setup
    }
}

const HELD: &str = "a session is only taken out by the drop";

impl Deref for CurrentSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.held.as_ref().expect(HELD).session
    }
}

impl DerefMut for CurrentSession {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.held.as_mut().expect(HELD).session
    }
}

impl Drop for CurrentSession {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.slot.give_back(Place::Here(held));
        }
    }
}

impl fmt::Debug for CurrentSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CurrentSession").field(&**self).finish()
    }
}

/// Shows where the session is, and no cookie.
impl fmt::Debug for SessionSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match *self.0.place.lock() {
            Place::Unopened => "unopened",
            Place::Here(_) => "opened",
            Place::Lent => "lent",
            Place::Closed => "closed",
        };
        f.debug_tuple("SessionSlot").field(&place).finish()
    }
}
