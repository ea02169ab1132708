//! Sessions as middleware: the cookie in, the commit before the response, the cookie out.
//!
//! [`SessionLayer`] wraps a service of the `tower` kind and puts a [`SessionSlot`] into each request. A handler
//! that wants the session opens the slot; with axum (feature `axum`) it asks for a [`CurrentSession`]. The
//! response does not leave before what the handler changed is stored, so a client that has seen it finds its
//! changes on every server.
//!
//! | the request | store calls | the response |
//! |---|---|---|
//! | asks for no session | none | as the handler made it |
//! | has no cookie of ours, or a made-up one | none until something is stored | `Set-Cookie` if something was |
//! | reads | one `load` | `Vary: Cookie` |
//! | writes | `load`, `commit` | the same |
//! | logs in | `load`, `rotate` | `Set-Cookie` with the new id, `Cache-Control: no-store` |
//! | ends in a server error | no write, see [`CommitOn`] | the cookie stays |
//! | cannot reach the store | | 503 with `Retry-After`, the cookie stays |
//! | changes something for a handler of [`CheckedSession`] without the session's form token | one `load` | 403, the cookie stays |
//! | writes to a session that was ended meanwhile | `load`, `commit` | 409, the cookie is removed |
//! | writes to one that got a new id meanwhile | `load`, `commit` | 409, the cookie stays: the client has the new one |
//!
//! A commit that fails replaces what the handler had to say, because it is not so: nothing was stored. The
//! reason is in the response's extensions as a [`SessionFailure`], for a layer further out that renders it.

mod csrf;
#[cfg(feature = "axum")]
mod extract;
mod failure;
mod finish;
mod slot;

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use http::{Request, Response};
use purlin_core::Clock;
use tower_layer::Layer;
use tower_service::Service;

use crate::cookie::CookieCodec;
use crate::csrf::CsrfTokens;
use crate::id::SessionId;
use crate::session::Session;
use crate::sessions::{CommitError, OpenError, Saved, Sessions};
use crate::store::{BoxFuture, SessionStore};

pub use csrf::{CSRF_HEADER, CheckedSession};
pub use failure::SessionFailure;
pub use slot::{CurrentSession, SessionSlot};

/// Gives each request of the service it wraps its session. See [the module](self) for what it does when.
///
/// ```
/// use std::sync::Arc;
/// use purlin_core::{Keyring, SealingKey};
/// use purlin_session_store::tower::SessionLayer;
/// use purlin_session_store::{CookieAttributes, CookieCodec, MemoryStore, Policy, Sessions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ring = Keyring::new([SealingKey::new(1, [7; 32])])?;
/// let cookies = CookieCodec::new(CookieAttributes::default(), ring);
/// let sessions = Arc::new(Sessions::new(MemoryStore::new(), Policy::default()));
/// let layer = SessionLayer::new(Arc::clone(&sessions), cookies);
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct SessionLayer {
    setup: Arc<Setup>,
}

/// What all requests of a layer share.
#[derive(Clone)]
struct Setup {
    sessions: Arc<dyn AnySessions>,
    cookies: Arc<CookieCodec>,
    commit_on: CommitOn,
    max_age: Option<Duration>,
    csrf: Option<CsrfTokens>,
}

/// After which responses the session is committed. What a handler commits by itself is committed either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommitOn {
    /// After all but server errors (status 500 and above). A request that failed leaves the session as it was,
    /// a login that failed half way included.
    #[default]
    NotServerError,
    /// After every response.
    Always,
}

impl SessionLayer {
    /// A layer over these sessions, whose ids travel in this cookie. The handlers may share the sessions: for
    /// [`Sessions::update`], or whatever concerns more than the one session.
    pub fn new<S: SessionStore + 'static, C: Clock + Send + Sync + 'static>(
        sessions: Arc<Sessions<S, C>>,
        cookies: impl Into<Arc<CookieCodec>>,
    ) -> Self {
        SessionLayer {
            setup: Arc::new(Setup {
                sessions,
                cookies: cookies.into(),
                commit_on: CommitOn::default(),
                max_age: None,
                csrf: None,
            }),
        }
    }

    /// After which responses the session is committed; all but server errors, unless told otherwise.
    pub fn commit_on(self, commit_on: CommitOn) -> Self {
        self.with(|setup| setup.commit_on = commit_on)
    }

    /// How long the browser keeps the cookie, counted from when it was given. Without this it forgets it when
    /// it is closed. The cookie is not given anew when the session is used, so take the absolute limit of the
    /// [`Policy`](crate::Policy::absolute); the server's limits hold either way.
    pub fn max_age(self, max_age: Duration) -> Self {
        self.with(|setup| setup.max_age = Some(max_age))
    }

    /// The tokens that [`CheckedSession`] asks of requests that change something, and that
    /// [`CurrentSession::csrf_token`] gives out.
    pub fn csrf(self, tokens: CsrfTokens) -> Self {
        self.with(|setup| setup.csrf = Some(tokens))
    }

    fn with(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(Arc::make_mut(&mut self.setup));
        self
    }
}

impl<Inner> Layer<Inner> for SessionLayer {
    type Service = SessionService<Inner>;

    fn layer(&self, inner: Inner) -> Self::Service {
        SessionService {
            inner,
            setup: Arc::clone(&self.setup),
        }
    }
}

/// A service in a [`SessionLayer`].
#[derive(Clone, Debug)]
pub struct SessionService<Inner> {
    inner: Inner,
    setup: Arc<Setup>,
}

/// # Cancel safety
///
/// If the response's future is dropped, which servers do when the client hangs up, the session is committed as
/// a whole or not at all, and the handler's part of it not at all if the handler had not ended.
impl<Inner, Incoming, Outgoing> Service<Request<Incoming>> for SessionService<Inner>
where
    Inner: Service<Request<Incoming>, Response = Response<Outgoing>>,
    Inner::Future: Send + 'static,
    Outgoing: Default + Send,
{
    type Response = Response<Outgoing>;
    type Error = Inner::Error;
    type Future = SessionFuture<Outgoing, Inner::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let slot = SessionSlot::new(Arc::clone(&self.setup), request.headers());
        request.extensions_mut().insert(slot.clone());
        let response = self.inner.call(request);
        SessionFuture(Box::pin(async move {
            let response = response.await?;
            Ok(finish::finish(&slot, response).await)
        }))
    }
}

/// The response of a [`SessionService`], on its way.
#[must_use = "futures do nothing unless polled"]
pub struct SessionFuture<Outgoing, E>(BoxFuture<'static, Result<Response<Outgoing>, E>>);

impl<Outgoing, E> Future for SessionFuture<Outgoing, E> {
    type Output = Result<Response<Outgoing>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<Outgoing, E> fmt::Debug for SessionFuture<Outgoing, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("cookies", &self.cookies)
            .field("commit_on", &self.commit_on)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

/// [`Sessions`] of any store, so that handlers need not name it in their arguments.
trait AnySessions: Send + Sync {
    fn open(&self, id: SessionId) -> BoxFuture<'_, Result<Session, OpenError>>;

    fn commit<'a>(&'a self, session: &'a mut Session) -> BoxFuture<'a, Result<Saved, CommitError>>;
}

impl<S: SessionStore, C: Clock + Send + Sync> AnySessions for Sessions<S, C> {
    fn open(&self, id: SessionId) -> BoxFuture<'_, Result<Session, OpenError>> {
        Box::pin(Sessions::open(self, id))
    }

    fn commit<'a>(&'a self, session: &'a mut Session) -> BoxFuture<'a, Result<Saved, CommitError>> {
        Box::pin(Sessions::commit(self, session))
    }
}
