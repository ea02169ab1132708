//! The load driver, which plays all the visitors.
//!
//! It is open-loop: requests leave when they are due, whether or not earlier ones were answered, and a latency
//! counts from the moment the request was *due*. So a city that stalls is charged for everybody who would have
//! come meanwhile ("coordinated omission" is what hides that from drivers that wait for each answer).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use purlin_core::{Clock, SystemClock, Tick, Timer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::browser::{Browsers, Carried, Errand, Outcome};
use crate::front::{IDEMPOTENCY_KEY, STICKY_COOKIE};
use crate::http_pool::{HttpPool, SendError};
use crate::oracle::{Oracle, Promise, Sent};
use crate::page::Page;
use crate::report::Tally;
use crate::traffic::{Step, Traffic};
use crate::visitors::SESSION_COOKIE;

/// Connections to the front door. More requests than this at one time wait for each other, and the wait counts.
pub const CONNECTIONS: usize = 256;

/// Requests under way at most, those that wait for a connection included. Beyond it a request is given up as it
/// becomes due.
const MAX_UNDER_WAY: usize = 20_000;

/// Steps that a driver which is late takes without a break.
const STEPS_AT_ONCE: u64 = 64;

/// How long a visitor waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// Requests of the closing check at one time.
const REVIEWS: usize = 32;

/// The driver.
#[derive(Debug)]
pub struct Driver {
    front: HttpPool,
    clock: SystemClock,
    oracle: Arc<Oracle>,
    browsers: Mutex<Browsers>,
    /// Since the last [`take_tally`](Driver::take_tally).
    tally: Mutex<Tally>,
    next_request: AtomicU64,
}

impl Driver {
    /// Visitors for the front door that the pool leads to.
    pub fn new(front: HttpPool, clock: SystemClock, oracle: Arc<Oracle>) -> Self {
        Driver {
            front,
            clock,
            oracle,
            browsers: Mutex::default(),
            tally: Mutex::default(),
            next_request: AtomicU64::new(0),
        }
    }

    /// Sends the traffic at this average rate, to its end or for `run_time`, and waits for the last answers.
    /// Returns how long it took from the first request to the last answer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the requests under way are given up.
    pub async fn drive(
        self: &Arc<Self>,
        traffic: &mut dyn Traffic,
        rate: f64,
        run_time: Option<Duration>,
    ) -> Duration {
        let places = Arc::new(Semaphore::new(MAX_UNDER_WAY));
        let mut visits = JoinSet::new();
        let start = self.clock.now();
        let mut due = Duration::ZERO;
        let mut n_steps = 0u64;
        while run_time.is_none_or(|end| due < end) {
            let Some(step) = traffic.next_step() else {
                break;
            };
            let due_at = start.after(due);
            n_steps += 1;
            if self.clock.now() < due_at {
                self.clock.sleep_until(due_at).await;
            } else if n_steps.is_multiple_of(STEPS_AT_ONCE) {
                // Late, and perhaps for good: others in this task must have their turn all the same.
                tokio::task::yield_now().await;
            }
            while visits.try_join_next().is_some() {}
            self.tally().due += 1;
            match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let driver = Arc::clone(self);
                    visits.spawn(async move {
                        driver.visit(step, due_at).await;
                        drop(place);
                    });
                }
                Err(_) => self.tally().given_up("given up: too many under way"),
            }
            due += Duration::from_secs_f64(1.0 / (rate * traffic.pace(due)));
        }
        visits.join_all().await;
        self.clock.now().since(start)
    }

    /// The closing check: everybody who still has a session looks at it once more. Not part of the tally, but a
    /// failure is a violation, since nothing is being killed any more: it is returned.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the rest is not checked.
    pub async fn review(self: &Arc<Self>) -> Vec<String> {
        let places = Arc::new(Semaphore::new(REVIEWS));
        let mut reviews = JoinSet::new();
        let users = self.browsers().users();
        for user in users {
            let Some(carried) = self.browsers().start_review(user) else {
                continue;
            };
            let (driver, places) = (Arc::clone(self), Arc::clone(&places));
            reviews.spawn(async move {
                let _place = places.acquire_owned().await;
                let step = Step {
                    user: Some(user),
                    product: 0,
                    action: crate::traffic::Action::View,
                };
                driver.run(Errand::Review, &step, &carried).await.err()
            });
        }
        reviews.join_all().await.into_iter().flatten().collect()
    }

    /// What happened since the last call.
    pub fn take_tally(&self) -> Tally {
        std::mem::take(&mut *self.tally())
    }

    /// One step, from the moment it is due.
    async fn visit(&self, step: Step, due_at: Tick) {
        let (errand, carried) = self.browsers().start(&step);
        let result = self.run(errand, &step, &carried).await;
        let latency = self.clock.now().since(due_at);
        let mut tally = self.tally();
        match result {
            Ok(node) => {
                tally.answered(latency);
                if let Some((last, _)) = carried.sticky {
                    tally.sticky_shown += 1;
                    tally.sticky_kept += u64::from(last == node);
                }
            }
            Err(why) => tally.failed(&why, latency),
        }
    }

    /// Sends a request and sees to its answer. Returns the node that answered, or what went wrong.
    async fn run(&self, errand: Errand, step: &Step, carried: &Carried) -> Result<usize, String> {
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        let request = request(errand, step, carried, number);
        let session = carried.session.as_ref().map(|(label, _)| *label);
        let user = step.user.filter(|_| errand != Errand::Look);
        let sent = self.oracle.sent(number, user, session);
        let answer = tokio::time::timeout(PATIENCE, self.front.send(request)).await;
        let (outcome, result) = match answer {
            Ok(Ok(response)) => self.judge(errand, step, &sent, &response),
            Ok(Err(error @ (SendError::NotSent(_) | SendError::Lost))) => {
                (Outcome::Failed, Err(format!("front door: {error}")))
            }
            Err(_) => (Outcome::Failed, Err("no answer in time".to_owned())),
        };
        if let Some(user) = step.user {
            self.browsers().finish(user, errand, outcome);
        }
        result
    }

    fn judge(
        &self,
        errand: Errand,
        step: &Step,
        sent: &Sent,
        response: &Response<Bytes>,
    ) -> (Outcome, Result<usize, String>) {
        if response.status() == StatusCode::UNAUTHORIZED {
            self.oracle.session_denied(sent);
            return (Outcome::Denied, Err("no such session".to_owned()));
        }
        if response.status() != StatusCode::OK {
            let why = String::from_utf8_lossy(response.body());
            return (
                Outcome::Failed,
                Err(format!("{}: {why}", response.status())),
            );
        }
        let Ok(page) = serde_json::from_slice::<Page>(response.body()) else {
            return (
                Outcome::Failed,
                Err("an answer that makes no sense".to_owned()),
            );
        };
        self.oracle.answered(sent, promise(errand, step), &page);
        let label = page.session.as_ref().map(|session| session.label);
        let outcome = Outcome::Done {
            opened: label.zip(set_cookie(response.headers(), SESSION_COOKIE)),
            sticky: set_cookie(response.headers(), STICKY_COOKIE),
            node: page.node,
        };
        (outcome, Ok(page.node))
    }

    fn browsers(&self) -> MutexGuard<'_, Browsers> {
        // A visit that panicked has at worst left its user waiting for its answer.
        self.browsers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        // Numbers, each whole.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn promise(errand: Errand, step: &Step) -> Promise {
    match errand {
        Errand::LogIn => Promise::SessionOpened,
        Errand::AddToCart => Promise::SessionWrite,
        Errand::CheckOut => Promise::Order(step.product),
        Errand::Look | Errand::View | Errand::LogOut | Errand::Review => Promise::Nothing,
    }
}

fn request(errand: Errand, step: &Step, carried: &Carried, number: u64) -> Request<Full<Bytes>> {
    let product = step.product;
    let (method, path) = match errand {
        Errand::Look | Errand::View => (Method::GET, format!("/product/{product}")),
        Errand::LogIn => {
            let user = step.user.unwrap_or_default();
            (Method::POST, format!("/login/{user}"))
        }
        Errand::AddToCart => (Method::POST, format!("/cart/{product}")),
        Errand::CheckOut => (Method::POST, format!("/checkout/{product}")),
        Errand::LogOut => (Method::POST, "/logout".to_owned()),
        Errand::Review => (Method::GET, "/session".to_owned()),
    };
    let mut request = Request::builder().method(method).uri(path);
    // These two do the same thing however often they arrive, and say so. A login or a logout does not.
    if matches!(errand, Errand::AddToCart | Errand::CheckOut) {
        request = request.header(IDEMPOTENCY_KEY, number);
    }
    if let Some(cookies) = cookies(carried) {
        request = request.header(COOKIE, cookies);
    }
    request
        .body(Full::default())
        .expect("paths and headers are made of numbers")
}

/// The `Cookie` header, if there is anything to put in it.
fn cookies(carried: &Carried) -> Option<HeaderValue> {
    let session = carried.session.as_ref();
    let sticky = carried.sticky.as_ref();
    let session = session.map(|(_, value)| format!("{SESSION_COOKIE}={value}"));
    let sticky = sticky.map(|(_, value)| format!("{STICKY_COOKIE}={value}"));
    let header = match (session, sticky) {
        (None, None) => return None,
        (Some(one), None) | (None, Some(one)) => one,
        (Some(session), Some(sticky)) => format!("{session}; {sticky}"),
    };
    HeaderValue::try_from(header).ok()
}

/// The value of a cookie that is being set.
fn set_cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get_all(SET_COOKIE).iter().find_map(|header| {
        let (pair, _attributes) = header.to_str().ok()?.split_once(';')?;
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}
