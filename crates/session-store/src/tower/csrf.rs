//! Requests that another site made the browser send.

use core::ops::{Deref, DerefMut};

use http::header::HeaderMap;
use http::{HeaderName, Method};

use super::{CurrentSession, SessionFailure};
use crate::csrf::CsrfTokens;

/// Where a script puts the form token of a request. A form has it in a field, for [`CurrentSession::is_csrf_token`].
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// The session of a request that is no forgery: it changes nothing by its method (`GET`, `HEAD`, `OPTIONS`,
/// `TRACE`), or has the session's form token in [`CSRF_HEADER`].
///
/// A request without a session has no token, and is refused with the others: give a visitor a session with the page
/// that has the form. That protects the login form too, by which an attacker could log others in as himself.
#[derive(Debug)]
pub struct CheckedSession(CurrentSession);

impl CheckedSession {
    /// The session as it is without the check.
    pub fn into_inner(self) -> CurrentSession {
        self.0
    }
}

impl CurrentSession {
    /// A form token of this session, good until its id changes. None if the session is not stored yet: it has
    /// no id that a token could be bound to; [`commit`](CurrentSession::commit) it first.
    ///
    /// # Errors
    ///
    /// [`SessionFailure::NoCsrfTokens`] if the layer has none; [`SessionFailure::Commit`] if the system gives no
    /// random bytes.
    pub fn csrf_token(&self) -> Result<Option<String>, SessionFailure> {
        let tokens = self.csrf_tokens()?;
        let Some(id) = self.id() else {
            return Ok(None);
        };
        let token = tokens.issue(id).map_err(crate::CommitError::from);
        token.map(Some).map_err(SessionFailure::commit)
    }

    /// Whether this is a form token of this session. A layer without tokens has none.
    pub fn is_csrf_token(&self, token: &str) -> bool {
        let tokens = self.csrf_tokens().ok();
        tokens
            .zip(self.id())
            .is_some_and(|(tokens, id)| tokens.check(id, token))
    }

    /// The session, if the request is no forgery.
    ///
    /// # Errors
    ///
    /// [`SessionFailure::Forged`] if the method changes something and the header has no token of this session.
    pub fn checked(
        self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<CheckedSession, SessionFailure> {
        self.csrf_tokens()?;
        let is_ours = method.is_safe() || {
            let token = headers
                .get(CSRF_HEADER)
                .and_then(|token| token.to_str().ok());
            token.is_some_and(|token| self.is_csrf_token(token))
        };
        if is_ours {
            Ok(CheckedSession(self))
        } else {
            Err(SessionFailure::Forged)
        }
    }

    fn csrf_tokens(&self) -> Result<&CsrfTokens, SessionFailure> {
        self.setup()
            .csrf
            .as_ref()
            .ok_or(SessionFailure::NoCsrfTokens)
    }
}

impl Deref for CheckedSession {
    type Target = CurrentSession;

    fn deref(&self) -> &CurrentSession {
        &self.0
    }
}

impl DerefMut for CheckedSession {
    fn deref_mut(&mut self) -> &mut CurrentSession {
        &mut self.0
    }
}
