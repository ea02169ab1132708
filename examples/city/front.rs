//! The front door: an HTTP server that hands each request to an app node, over real sockets.
//!
//! A visitor sticks to the node that served him, by a sealed cookie that names it: its cache knows what he looks
//! at. Nothing but that is lost when the node is: his session is in the shared store, and the next node has it.
//!
//! A request that never left for its node goes to another one, whatever it is. One that was lost on the way, so
//! that nobody knows whether it was carried out, goes to another only if doing it twice is doing it once: if it
//! is a `GET`, or carries an idempotency key.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue, SET_COOKIE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use purlin_balancer::{Balancer, Policy, Stickiness, StickyCodec};
use purlin_core::{Health, Keyring, Node, NodeId};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::http_pool::{HttpPool, SendError};
use crate::visitors::cookie;

/// The cookie that names a visitor's node.
pub const STICKY_COOKIE: &str = "purlin-node";

/// The header by which a client says that a request does the same thing however often it arrives.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Connections to each app node.
const CONNECTIONS: usize = 128;

/// The largest request body.
const MAX_BODY: usize = 16 << 10;

/// How long an app node may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks at whether a node takes connections.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// How long a node may take to accept a probe's connection.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// What was between the app node and the door only. The door's server writes its own.
const HOP_BY_HOP: [&str; 5] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "transfer-encoding",
];

/// The front door. Dropping it stops its probe; its server is the caller's.
#[derive(Debug)]
pub struct Front {
    door: Arc<Door>,
    probing: JoinHandle<()>,
}

/// What the server's tasks and the probe share.
#[derive(Debug)]
struct Door {
    balancer: Balancer,
    sticky: StickyCodec,
    /// By index: node `i` of the list has the id `i`.
    nodes: Vec<AppNode>,
}

#[derive(Debug)]
struct AppNode {
    address: SocketAddr,
    pool: HttpPool,
}

impl Front {
    /// A door before app nodes at these addresses, whose cookies are sealed by this ring.
    ///
    /// # Errors
    ///
    /// If there are more nodes than a balancer holds.
    pub fn open(
        addresses: &[SocketAddr],
        keyring: Arc<Keyring>,
    ) -> Result<Self, purlin_balancer::EndpointsError> {
        let nodes = addresses
            .iter()
            .enumerate()
            .map(|(index, address)| Node::new(NodeId(index as u64), address.to_string()));
        let door = Arc::new(Door {
            balancer: Balancer::new(Policy::PowerOfTwoChoices, nodes)?,
            sticky: StickyCodec::new(STICKY_COOKIE, keyring),
            nodes: addresses
                .iter()
                .map(|&address| AppNode {
                    address,
                    pool: HttpPool::new(address, CONNECTIONS),
                })
                .collect(),
        });
        let probing = tokio::spawn(Arc::clone(&door).probe());
        Ok(Front { door, probing })
    }

    /// What serves one connection of the door's [`Server`](crate::server::Server).
    pub fn service(&self) -> impl Fn(TcpStream) -> ServeFuture + Send + 'static {
        let door = Arc::clone(&self.door);
        move |stream| Box::pin(Arc::clone(&door).serve(stream))
    }
}

/// The serving of one connection.
pub type ServeFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Drop for Front {
    fn drop(&mut self) {
        self.probing.abort();
    }
}

impl Door {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let service = service_fn(|request| {
            let door = Arc::clone(&self);
            async move { Ok::<_, std::convert::Infallible>(door.answer(request).await) }
        });
        // An error here is a client that hung up, or broke the protocol: in either case it is gone.
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
        };
        let errand = Errand {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body: body.to_bytes(),
        };
        self.hand_over(&errand).await
    }

    /// Tries node after node, as long as that is safe.
    async fn hand_over(&self, errand: &Errand) -> Response<Full<Bytes>> {
        let cookie = cookie(&errand.headers, STICKY_COOKIE);
        let binding = cookie.and_then(|text| self.sticky.open(text));
        let bound = binding.map(|binding| binding.node);
        let mut tried = Vec::new();
        loop {
            let Ok(sticky) = self.balancer.pick_sticky_excluding(bound, &tried) else {
                return refusal(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no app node is left to ask",
                );
            };
            let id = sticky.pick.id();
            let node = &self.nodes[id.0 as usize];
            let sent = tokio::time::timeout(PATIENCE, node.pool.send(errand.request(node))).await;
            match sent {
                Ok(Ok(response)) => {
                    let unbound = sticky.outcome != Stickiness::Kept;
                    let due = unbound || binding.is_some_and(|binding| binding.is_due);
                    return self.finish(response, due.then_some(id));
                }
                Ok(Err(SendError::NotSent(error))) => {
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        // Nobody else needs to find out the same way. The probe sees when it is back.
                        self.balancer.set_health(id, Health::Down);
                    }
                }
                Ok(Err(SendError::Lost)) if errand.is_idempotent() => {}
                Ok(Err(SendError::Lost)) => {
                    return refusal(StatusCode::BAD_GATEWAY, "the app node hung up");
                }
                Err(_) => {
                    return refusal(StatusCode::GATEWAY_TIMEOUT, "the app node took too long");
                }
            }
            tried.push(id);
        }
    }

    fn finish(&self, response: Response<Bytes>, bind: Option<NodeId>) -> Response<Full<Bytes>> {
        let (mut head, body) = response.into_parts();
        for name in HOP_BY_HOP {
            head.headers.remove(name);
        }
        if let Some(node) = bind {
            let cookie = format!(
                "{STICKY_COOKIE}={}; Path=/; HttpOnly; SameSite=Lax",
                self.sticky.seal(node)
            );
            let cookie = HeaderValue::try_from(cookie).expect("the seal is hexadecimal");
            head.headers.append(SET_COOKIE, cookie);
        }
        Response::from_parts(head, Full::new(body))
    }

    /// Looks again and again whether each node takes connections.
    async fn probe(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for (index, node) in self.nodes.iter().enumerate() {
                let connect = TcpStream::connect(node.address);
                let health = match tokio::time::timeout(PROBE_PATIENCE, connect).await {
                    Ok(Ok(_)) => Health::Up,
                    Ok(Err(_)) | Err(_) => Health::Down,
                };
                self.balancer.set_health(NodeId(index as u64), health);
            }
        }
    }
}

/// A request as it came in, to be sent as often as needed.
#[derive(Debug)]
struct Errand {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Errand {
    fn is_idempotent(&self) -> bool {
        self.method == Method::GET || self.headers.contains_key(IDEMPOTENCY_KEY)
    }

    fn request(&self, node: &AppNode) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        for name in [
            COOKIE,
            CONTENT_TYPE,
            HeaderName::from_static(IDEMPOTENCY_KEY),
        ] {
            for value in self.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        let host = HeaderValue::try_from(node.address.to_string());
        headers.insert(HOST, host.expect("an address is plain text"));
        request
    }
}

fn refusal(status: StatusCode, why: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(why.as_bytes())));
    *response.status_mut() = status;
    response
}
