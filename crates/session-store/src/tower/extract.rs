//! The session as an argument of an axum handler.

use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use super::{CheckedSession, CurrentSession, SessionFailure, SessionSlot};

/// Opens the session: one load if the request has a cookie of ours.
impl<S: Sync> FromRequestParts<S> for CurrentSession {
    type Rejection = SessionFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionFailure> {
        SessionSlot::from_request_parts(parts, state)
            .await?
            .open()
            .await
    }
}

/// Opens the session and checks the request, see [`CheckedSession`].
impl<S: Sync> FromRequestParts<S> for CheckedSession {
    type Rejection = SessionFailure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionFailure> {
        let session = CurrentSession::from_request_parts(parts, state).await?;
        session.checked(&parts.method, &parts.headers)
    }
}

/// The session to be opened only if the handler gets that far.
impl<S: Sync> FromRequestParts<S> for SessionSlot {
    type Rejection = SessionFailure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, SessionFailure> {
        let slot = parts.extensions.get::<SessionSlot>();
        slot.cloned().ok_or(SessionFailure::NoLayer)
    }
}

impl IntoResponse for SessionFailure {
    fn into_response(self) -> Response {
        self.response::<Body>()
    }
}
