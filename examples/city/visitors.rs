//! The visitors' sessions: what is in them, and how an app node gets at them.
//!
//! A session is in the store that all app nodes share, under the digest of an id that only the visitor's sealed
//! cookie holds. So any node can serve any visitor, and a node that dies takes no session with it. Two requests of
//! one visitor that change his session at once are both kept: the second to commit is told of the first, and
//! makes its change again on top.

use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};
use purlin_core::{Keyring, KeyringError, SealingKey, Token, TokenSet};
use purlin_session_store::{
    CommitError, CookieAttributes, CookieCodec, FieldError, MemoryStore, OpenError, Policy, Saved,
    Session, Sessions,
};
use serde::{Deserialize, Serialize};

use crate::page::SessionView;

/// The name of the session cookie, which is that of [`CookieAttributes::default`].
pub const SESSION_COOKIE: &str = "__Host-id";

/// The one field of a session. Its parts belong together, so they are read and written together.
const FIELD: &str = "visit";

/// Nobody's session ends for want of use while a run lasts: the oracle would call it lost.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// The sessions as one app node sees them.
#[derive(Debug)]
pub struct Visitors {
    sessions: Sessions<Arc<MemoryStore>>,
    cookies: CookieCodec,
}

/// Somebody with a session.
#[derive(Debug)]
pub struct Visitor {
    session: Session,
    visit: Visit,
}

/// What a session holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Whose it is.
    pub user: u32,
    /// The requests that have written to it, each once.
    pub writes: Vec<u64>,
    /// The products in the cart.
    pub cart: Vec<u32>,
    /// How far along a shard must be to be read for this visitor, as text.
    seen: String,
}

impl Visit {
    /// The visit of a user who has only just come.
    pub fn of(user: u32) -> Self {
        Visit {
            user,
            ..Visit::default()
        }
    }

    /// How far along a shard must be to be read for this visitor.
    pub fn seen(&self) -> TokenSet {
        // Only `see` writes the text. If it were damaged, asking for nothing would be wrong and the oracle would say so.
        self.seen.parse().unwrap_or_default()
    }

    /// Notes a write that the visitor made, or has seen.
    pub fn see(&mut self, token: Token) {
        let mut seen = self.seen();
        seen.record(token);
        self.seen = seen.to_string();
    }

    /// Whether a row of this shard position is news.
    pub fn has_seen(&self, token: Token) -> bool {
        self.seen()
            .get(token.group)
            .is_some_and(|seen| seen >= token)
    }

    /// Notes a request that writes to the session. Whether it is the first time: a request may be sent again when
    /// its answer was lost.
    pub fn begin_write(&mut self, request: u64) -> bool {
        let new = !self.writes.contains(&request);
        if new {
            self.writes.push(request);
        }
        new
    }
}

/// Why a session could not be had or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisitorError {
    /// The session has ended meanwhile, or was never there.
    #[error("no such session")]
    NoSession,
    /// The store failed, or others change the session too fast.
    #[error("the session store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Visitors {
    /// The sessions of a store, with cookies sealed by these keys.
    ///
    /// # Errors
    ///
    /// If the keys are no keyring.
    pub fn new(store: Arc<MemoryStore>, keys: Vec<SealingKey>) -> Result<Self, KeyringError> {
        Ok(Visitors {
            sessions: Sessions::new(store, Policy::default().idle(IDLE).absolute(IDLE)),
            cookies: CookieCodec::new(CookieAttributes::default(), Keyring::new(keys)?),
        })
    }

    /// Who sent a request. `Ok(None)` for somebody without a cookie that we sealed.
    ///
    /// # Errors
    ///
    /// [`VisitorError::NoSession`] for a good cookie whose session is gone.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the session may or may not live longer for it.
    pub async fn recognise(&self, headers: &HeaderMap) -> Result<Option<Visitor>, VisitorError> {
        let Some(cookie) = cookie(headers, SESSION_COOKIE) else {
            return Ok(None);
        };
        let Ok(opened) = self.cookies.decode(cookie) else {
            return Ok(None);
        };
        let session = self.sessions.open(opened.value).await?;
        let visit = session.get(FIELD)?.ok_or(VisitorError::NoSession)?;
        Ok(Some(Visitor { session, visit }))
    }

    /// Opens a session for a user who has proved who he is, and gives the cookie that he needs.
    ///
    /// # Errors
    ///
    /// [`VisitorError::Store`] if the store is full, or there is no random id to be had.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, there may be a session that nobody has the cookie of; it ends
    /// unused.
    pub async fn open(&self, visit: Visit) -> Result<(Visitor, HeaderValue), VisitorError> {
        let mut session = Session::absent();
        session.set(FIELD, &visit)?;
        let Saved::Created = self.sessions.commit(&mut session).await? else {
            return Err(VisitorError::NoSession);
        };
        let id = session.id().ok_or(VisitorError::NoSession)?;
        let cookie = HeaderValue::try_from(self.cookies.set_cookie(id, None));
        let cookie = cookie.map_err(|error| VisitorError::Store(error.into()))?;
        Ok((Visitor { session, visit }, cookie))
    }

    /// Changes a visitor's session, on top of whatever others have changed meanwhile.
    ///
    /// # Errors
    ///
    /// [`VisitorError`]; the session is unchanged then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the session is changed or it is not.
    pub async fn change<R: Send>(
        &self,
        visitor: &mut Visitor,
        mut change: impl FnMut(&mut Visit) -> R + Send,
    ) -> Result<R, VisitorError> {
        let attempt = |session: &mut Session| -> Result<(R, Visit), FieldError> {
            let mut visit: Visit = session.get(FIELD)?.unwrap_or_default();
            let result = change(&mut visit);
            session.set(FIELD, &visit)?;
            Ok((result, visit))
        };
        let (result, _saved) = self.sessions.update(&mut visitor.session, attempt).await?;
        let (result, visit) = result?;
        visitor.visit = visit;
        Ok(result)
    }

    /// Ends a visitor's session, for good, and gives the header that removes his cookie.
    ///
    /// # Errors
    ///
    /// [`VisitorError::Store`] if the store fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the session has ended or it has not.
    pub async fn close(
        &self,
        mut visitor: Visitor,
    ) -> Result<(SessionView, HeaderValue), VisitorError> {
        let view = visitor.view();
        visitor.session.destroy();
        let _saved = self.sessions.commit(&mut visitor.session).await?;
        let removal = HeaderValue::try_from(self.cookies.removal());
        let removal = removal.map_err(|error| VisitorError::Store(error.into()))?;
        Ok((view, removal))
    }
}

impl Visitor {
    /// What the session holds, as of the last look.
    pub fn visit(&self) -> &Visit {
        &self.visit
    }

    /// The session as it is shown to its owner.
    pub fn view(&self) -> SessionView {
        SessionView {
            label: self.label(),
            user: self.visit.user,
            writes: self.visit.writes.clone(),
            cart: self.visit.cart.clone(),
        }
    }

    /// A number of the session's own that is no secret: eight bytes of the digest of its id.
    fn label(&self) -> u64 {
        let key = self.session.id().map(|id| id.key());
        let bytes = key
            .as_ref()
            .and_then(|key| key.as_bytes().last_chunk::<8>());
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// The value of a cookie that a client shows.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|header| {
        let text = header.to_str().unwrap_or("");
        text.split(';')
            .filter_map(|pair| pair.trim().split_once('='))
    });
    let mut named = pairs.filter(|(key, _)| *key == name);
    named.next().map(|(_, value)| value)
}

impl From<OpenError> for VisitorError {
    fn from(error: OpenError) -> Self {
        VisitorError::Store(error.into())
    }
}

impl From<CommitError> for VisitorError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Gone => VisitorError::NoSession,
            error => VisitorError::Store(error.into()),
        }
    }
}

impl From<FieldError> for VisitorError {
    fn from(error: FieldError) -> Self {
        VisitorError::Store(error.into())
    }
}
