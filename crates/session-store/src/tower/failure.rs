//! What a request is told when its session cannot be had or stored.

use core::time::Duration;
use std::sync::Arc;

use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use purlin_core::Retry;

use crate::sessions::{CommitError, OpenError};

/// Why a request has no session, or a response is not the handler's. The layer leaves it in the extensions of
/// the response it made, for whoever renders pages; it can be cloned for that.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionFailure {
    /// The session could not be opened.
    #[error("the request's session could not be opened")]
    Open(#[source] Arc<OpenError>),
    /// What the handler changed could not be stored.
    #[error("the request's session could not be committed")]
    Commit(#[source] Arc<CommitError>),
    /// Two at once want the session of one request; see [`CurrentSession`](super::CurrentSession).
    #[error("the request's session is in use elsewhere in the request")]
    InUse,
    /// A request that changes something has not the session's form token.
    #[error("the request has no form token of its session")]
    Forged,
    /// The session was asked for after the response.
    #[error("the request has been answered")]
    Closed,
    /// The service is not wrapped in a [`SessionLayer`](super::SessionLayer).
    #[error("no session layer around the service")]
    NoLayer,
    /// A form token was asked for, and the layer has none to give.
    #[error("the session layer has no form tokens")]
    NoCsrfTokens,
}

impl SessionFailure {
    pub(super) fn open(error: OpenError) -> Self {
        SessionFailure::Open(Arc::new(error))
    }

    pub(super) fn commit(error: CommitError) -> Self {
        SessionFailure::Commit(Arc::new(error))
    }

    /// The status to answer with: 503 if the store failed, 409 if the session ended or moved under the request,
    /// 403 without the form token, 500 for what another try cannot mend.
    pub fn status(&self) -> StatusCode {
        match self {
            SessionFailure::Open(error) => match &**error {
                OpenError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
                OpenError::Payload(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            SessionFailure::Commit(error) => match &**error {
                CommitError::Gone
                | CommitError::Superseded
                | CommitError::AtCap
                | CommitError::Clash { .. } => StatusCode::CONFLICT,
                CommitError::Contended { .. }
                | CommitError::TooManyNew { .. }
                | CommitError::Entropy(_)
                | CommitError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
                CommitError::TooLarge { .. }
                | CommitError::TooManyFields { .. }
                | CommitError::Payload(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            SessionFailure::Forged => StatusCode::FORBIDDEN,
            SessionFailure::InUse
            | SessionFailure::Closed
            | SessionFailure::NoLayer
            | SessionFailure::NoCsrfTokens => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the request may be tried again, and when.
    pub fn retry(&self) -> Retry {
        match self {
            SessionFailure::Open(error) => error.retry(),
            SessionFailure::Commit(error) => error.retry(),
            SessionFailure::Forged
            | SessionFailure::InUse
            | SessionFailure::Closed
            | SessionFailure::NoLayer
            | SessionFailure::NoCsrfTokens => Retry::NEVER,
        }
    }

    /// A response that says so: the [status](SessionFailure::status), an empty body, `Retry-After` with a 503,
    /// and this failure among its extensions. It touches no cookie.
    pub fn response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = self.status();
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = whole_seconds(self.retry().after);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Rounded up, and at least one: the header knows nothing shorter.
fn whole_seconds(wait: Duration) -> u64 {
    let rounded = wait
        .as_secs()
        .saturating_add(u64::from(wait.subsec_nanos() > 0));
    rounded.max(1)
}
