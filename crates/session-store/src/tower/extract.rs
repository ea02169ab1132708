//! The session as an argument of an axum handler.

use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use super::{CurrentSession, SessionFailure, SessionSlot};

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
