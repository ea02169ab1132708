//! A site with one handler at a time, over a store that counts its calls and fails or hangs when told to.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::header::{COOKIE, SET_COOKIE};
use http::{Request, Response, StatusCode};
use purlin_core::{Keyring, SealingKey};
use purlin_session_store::conformance::{Call, Faulty};
use purlin_session_store::tower::{CurrentSession, SessionLayer, SessionService, SessionSlot};
use purlin_session_store::{
    CookieAttributes, CookieCodec, ErrorKind, MemoryStore, Policy, Saved, Session, Sessions,
};
use tokio::sync::Barrier;
use tower_layer::Layer;
use tower_service::Service;

pub(crate) type Reply = Response<String>;

pub(crate) fn ok(body: &str) -> Reply {
    answer(StatusCode::OK, body)
}

pub(crate) fn answer(status: StatusCode, body: &str) -> Reply {
    let mut reply = Response::new(body.to_owned());
    *reply.status_mut() = status;
    reply
}

pub(crate) fn request(cookie: Option<&str>) -> Request<()> {
    let mut request = Request::new(());
    if let Some(cookie) = cookie {
        let value = cookie.parse().unwrap();
        request.headers_mut().insert(COOKIE, value);
    }
    request
}

/// As a browser sends it back: name and value of the first cookie set, without the attributes.
pub(crate) fn cookie_of(reply: &Reply) -> Option<String> {
    let header = reply.headers().get(SET_COOKIE)?.to_str().unwrap();
    header.split(';').next().map(str::to_owned)
}

pub(crate) async fn opened(slot: SessionSlot) -> CurrentSession {
    slot.open().await.unwrap()
}

/// Seals with key `first`, and opens with that and with key 0.
pub(crate) fn codec(first: u8) -> CookieCodec {
    let keys = [first, 0].map(|number| SealingKey::new(number, [number; 32]));
    let keys = if first == 0 { &keys[..1] } else { &keys[..] };
    let ring = Keyring::new(keys.iter().cloned()).unwrap();
    CookieCodec::new(CookieAttributes::default(), ring)
}

pub(crate) struct Site {
    pub(crate) sessions: Arc<Sessions<Faulty<MemoryStore>>>,
    /// Where two requests wait for each other.
    pub(crate) meet: Arc<Barrier>,
    layer: SessionLayer,
    taken: Mutex<Calls>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Site::with(|layer| layer)
    }

    pub(crate) fn with(change: impl FnOnce(SessionLayer) -> SessionLayer) -> Self {
        let sessions = Arc::new(Sessions::new(Faulty::default(), Policy::default()));
        Site {
            layer: change(SessionLayer::new(Arc::clone(&sessions), codec(1))),
            sessions,
            meet: Arc::new(Barrier::new(2)),
            taken: Mutex::default(),
        }
    }

    pub(crate) fn layer(&self) -> &SessionLayer {
        &self.layer
    }

    pub(crate) fn service<F>(&self, handler: F) -> SessionService<Handler<F>> {
        self.layer.layer(Handler(Some(handler)))
    }

    /// One request, answered by this handler.
    pub(crate) async fn ask<'a, F, R>(&self, cookie: Option<&str>, handler: F) -> Reply
    where
        F: FnOnce(SessionSlot) -> R,
        R: Future<Output = Reply> + Send + 'a,
    {
        // A service's futures own what they use, and those of the tests borrow: so the handler runs here, between
        // a service that hands its slot out and one that hands its reply in.
        let (give_slot, slot) = tokio::sync::oneshot::channel();
        let (give_reply, reply) = tokio::sync::oneshot::channel();
        let mut service = self.service(move |slot: SessionSlot| async move {
            assert!(give_slot.send(slot).is_ok());
            reply.await.unwrap()
        });
        let response = service.call(request(cookie));
        let handled = async {
            let reply = handler(slot.await.unwrap()).await;
            assert!(give_reply.send(reply).is_ok());
        };
        let (response, ()) = tokio::join!(response, handled);
        response.unwrap()
    }

    /// The cookie of a new session with one field. Its calls are not counted.
    pub(crate) async fn session_with(&self, field: &str, value: &'static str) -> String {
        let mut session = Session::absent();
        session.set_bytes(field, value).unwrap();
        let saved = self.sessions.commit(&mut session).await.unwrap();
        assert_eq!(saved, Saved::Created);
        self.take_calls();
        format!("__Host-id={}", codec(1).encode(session.id().unwrap()))
    }

    /// The session of a cookie, as the store has it.
    pub(crate) async fn open(&self, cookie: &str) -> Session {
        let value = cookie.strip_prefix("__Host-id=").unwrap();
        let id = codec(1).decode(value).unwrap().value;
        self.sessions.open(id).await.unwrap()
    }

    /// Those since the last ones that were taken.
    pub(crate) fn calls(&self) -> Calls {
        let (all, taken) = (self.all_calls(), self.taken.lock().unwrap());
        Calls {
            loads: all.loads - taken.loads,
            writes: all.writes - taken.writes,
        }
    }

    pub(crate) fn take_calls(&self) -> Calls {
        let calls = self.calls();
        *self.taken.lock().unwrap() = self.all_calls();
        calls
    }

    fn all_calls(&self) -> Calls {
        let store = self.sessions.store();
        let of = |calls: &[Call]| calls.iter().map(|call| store.calls_of(*call)).sum();
        Calls {
            loads: of(&[Call::Load, Call::LoadMany, Call::ByUser]),
            writes: of(&[Call::Create, Call::Commit, Call::Rotate, Call::Delete]),
        }
    }

    pub(crate) fn fail_with(&self, failure: ErrorKind) {
        self.sessions.store().fail(failure);
    }

    pub(crate) fn heal(&self) {
        self.sessions.store().heal();
    }

    /// Whether the store answers at all.
    pub(crate) fn stall(&self, stalls: bool) {
        if stalls {
            self.sessions.store().hold_calls();
        } else {
            self.sessions.store().let_go();
        }
    }
}

/// How often the store was asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) loads: u64,
    pub(crate) writes: u64,
}

/// A service of one request.
#[derive(Clone)]
pub(crate) struct Handler<F>(Option<F>);

impl<F, R> Service<Request<()>> for Handler<F>
where
    F: FnOnce(SessionSlot) -> R,
    R: Future<Output = Reply> + Send + 'static,
{
    type Response = Reply;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let slot = request.extensions().get::<SessionSlot>().unwrap().clone();
        let reply = (self.0.take().unwrap())(slot);
        Box::pin(async { Ok(reply.await) })
    }
}
