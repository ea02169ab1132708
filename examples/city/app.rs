//! An app node: the shop's web server. It keeps nothing of its own but a cache, so it can die at any moment.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use purlin_core::{Clock, SystemClock, Tick};
use purlin_lru_cache::Cache;
use tokio::net::TcpStream;

use crate::front::IDEMPOTENCY_KEY;
use crate::jobs::{JobQueue, Order};
use crate::page::{Asked, Page, RowView};
use crate::report::CacheCounts;
use crate::row::{Change, Key};
use crate::sabotage::Sabotage;
use crate::shards::{ShardError, Shards};
use crate::visitors::{Visit, Visitor, VisitorError, Visitors};

/// Product pages a node keeps.
const CACHED_PAGES: usize = 10_000;

/// Sabotage that strikes now and then strikes every so many times.
const NOW_AND_THEN: u64 = 16;

/// How often a page that turns out too old is loaded again before the node gives up.
const RELOADS: usize = 3;

/// An app node.
pub struct App {
    index: usize,
    visitors: Visitors,
    pages: Cache<u32, ProductPage>,
    shards: Shards,
    queue: Arc<JobQueue>,
    clock: SystemClock,
    page_age: Duration,
    sabotage: Option<Sabotage>,
    /// Occasions for sabotage so far.
    occasions: AtomicU64,
}

/// What an app node is made of.
#[derive(Debug)]
pub struct Parts {
    /// Its index: 0 is `app-1`.
    pub index: usize,
    /// The sessions, which all nodes share.
    pub visitors: Visitors,
    /// The database.
    pub shards: Shards,
    /// The queue, which all nodes share.
    pub queue: Arc<JobQueue>,
    /// The clock of the run.
    pub clock: SystemClock,
    /// How old a product page may be.
    pub page_age: Duration,
    /// The fault to build in.
    pub sabotage: Option<Sabotage>,
}

/// A product page as it is cached.
#[derive(Clone, Copy, Debug)]
struct ProductPage {
    shown: RowView,
    /// It holds all that was committed by this tick.
    fresh_at: Tick,
}

impl App {
    /// A node with an empty cache.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            index,
            visitors,
            shards,
            queue,
            clock,
            page_age,
            sabotage,
        } = parts;
        let pages = Cache::builder().clock(clock).entry_limit(CACHED_PAGES);
        App {
            index,
            visitors,
            // A page is loaded at most a quarter of its allowed age old, so it can stay for the rest.
            pages: match sabotage {
                Some(Sabotage::StaleRead) => pages.build(),
                _ => pages.time_to_live(page_age * 3 / 4).build(),
            },
            shards,
            queue,
            clock,
            page_age,
            sabotage,
            occasions: AtomicU64::new(0),
        }
    }

    /// The node's HTTP interface.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/product/{product}", get(view))
            .route("/session", get(review))
            .route("/login/{user}", post(log_in))
            .route("/logout", post(log_out))
            .route("/cart/{product}", post(add_to_cart))
            .route("/checkout/{product}", post(check_out))
            .with_state(self)
    }

    /// How often its cache could answer.
    pub fn cache_counts(&self) -> CacheCounts {
        let stats = self.pages.stats();
        CacheCounts {
            hits: stats.hits,
            misses: stats.misses,
        }
    }

    fn page(&self, visitor: Option<&Visitor>, rows: Vec<RowView>) -> Json<Page> {
        Json(Page {
            node: self.index,
            session: visitor.map(Visitor::view),
            rows,
        })
    }

    /// A product's page, from the cache if it is not too old.
    async fn product(&self, product: u32) -> Result<RowView, Failure> {
        for _ in 0..RELOADS {
            let page = self
                .pages
                .try_get_or_load_async(&product, |&product| self.load(product))
                .await?;
            // The clock is read after the page was had, so that waiting for a slow load counts too.
            let age = self.clock.now().since(page.fresh_at);
            if age <= self.page_age || self.sabotage == Some(Sabotage::StaleRead) {
                return Ok(page.shown);
            }
            self.pages.remove(&product);
        }
        Err(Failure::Unavailable(
            "the product page cannot be had fresh enough".to_owned(),
        ))
    }

    async fn load(&self, product: u32) -> Result<ProductPage, ShardError> {
        let key = Key::product(product);
        let reading = self.shards.read_recent(key, self.page_age / 4).await?;
        let asked = Asked::AgeMs(self.page_age.as_millis() as u64);
        Ok(ProductPage {
            shown: RowView::new(key, reading.row, reading.from, asked),
            fresh_at: reading.fresh_at,
        })
    }

    /// How many orders a visitor has placed: never fewer than he knows of.
    async fn orders(&self, visitor: &mut Visitor) -> Result<RowView, Failure> {
        let key = Key::user(visitor.visit().user);
        let (reading, asked) = self.shards.read_seen(key, &visitor.visit().seen()).await?;
        // From now on he knows of this. Nearly always he did before.
        if !visitor.visit().has_seen(reading.token) {
            let token = reading.token;
            self.visitors
                .change(visitor, |visit| visit.see(token))
                .await?;
        }
        Ok(RowView::new(key, reading.row, reading.from, asked))
    }

    /// Whether this is the time for a fault that strikes now and then.
    fn strikes(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
            && self.occasions.fetch_add(1, Ordering::Relaxed) % NOW_AND_THEN == NOW_AND_THEN - 1
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Serves one connection to a node.
///
/// # Cancel safety
///
/// If the future is dropped before it completes, the request under way is dropped where it stands: it may have
/// written something, and its client is not told.
pub async fn serve(stream: TcpStream, router: Router) {
    if stream.set_nodelay(true).is_err() || stream.set_zero_linger().is_err() {
        return;
    }
    // An error here is a client that hung up, or broke the protocol: in either case it is gone.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
}

type AppState = State<Arc<App>>;
type Answer = Result<Response, Failure>;

async fn view(State(app): AppState, Path(product): Path<u32>, headers: HeaderMap) -> Answer {
    let Some(mut visitor) = app.visitors.recognise(&headers).await? else {
        let shown = app.product(product).await?;
        return Ok(app.page(None, vec![shown]).into_response());
    };
    let (shown, orders) = tokio::try_join!(app.product(product), app.orders(&mut visitor))?;
    Ok(app
        .page(Some(&visitor), vec![shown, orders])
        .into_response())
}

async fn review(State(app): AppState, headers: HeaderMap) -> Answer {
    let mut visitor = required(&app, &headers).await?;
    let orders = app.orders(&mut visitor).await?;
    Ok(app.page(Some(&visitor), vec![orders]).into_response())
}

/// A real shop would ask for a password here.
async fn log_in(State(app): AppState, Path(user): Path<u32>) -> Answer {
    let key = Key::user(user);
    // What the user knows from his last session is in that session. The present is never behind it.
    let reading = app.shards.read_present(key).await?;
    let mut visit = Visit::of(user);
    visit.see(reading.token);
    let (visitor, cookie) = app.visitors.open(visit).await?;
    let orders = RowView::new(key, reading.row, reading.from, Asked::AgeMs(0));
    Ok(with_cookie(cookie, app.page(Some(&visitor), vec![orders])))
}

async fn log_out(State(app): AppState, headers: HeaderMap) -> Answer {
    let visitor = required(&app, &headers).await?;
    let (view, removal) = app.visitors.close(visitor).await?;
    let page = Page {
        node: app.index,
        session: Some(view),
        rows: Vec::new(),
    };
    Ok(with_cookie(removal, Json(page)))
}

async fn add_to_cart(State(app): AppState, Path(product): Path<u32>, headers: HeaderMap) -> Answer {
    let request = request_number(&headers)?;
    let mut visitor = required(&app, &headers).await?;
    if !app.strikes(Sabotage::DropSessionWrite) {
        let add = |visit: &mut Visit| {
            if visit.begin_write(request) {
                visit.cart.push(product);
            }
        };
        app.visitors.change(&mut visitor, add).await?;
    }
    Ok(app.page(Some(&visitor), Vec::new()).into_response())
}

/// Every step of it is harmless to repeat under the same request number, and all of it is done before the
/// customer is told.
async fn check_out(State(app): AppState, Path(product): Path<u32>, headers: HeaderMap) -> Answer {
    let request = request_number(&headers)?;
    let mut visitor = required(&app, &headers).await?;
    let order = Order {
        number: request,
        product,
    };
    app.queue
        .place(order)
        .await
        .map_err(|error| Failure::Unavailable(error.to_string()))?;
    let change = Change {
        key: Key::user(visitor.visit().user),
        cause: request,
        once: true,
    };
    let changed = app.shards.change(change).await?;
    let bought = |visit: &mut Visit| {
        if visit.begin_write(request) {
            visit.cart.clear();
        }
        visit.see(changed.token);
    };
    app.visitors.change(&mut visitor, bought).await?;
    let orders = RowView::new(change.key, changed.row, changed.from, Asked::Change);
    Ok(app.page(Some(&visitor), vec![orders]).into_response())
}

async fn required(app: &App, headers: &HeaderMap) -> Result<Visitor, Failure> {
    let visitor = app.visitors.recognise(headers).await?;
    visitor.ok_or(Failure::NoSession)
}

/// The number by which a request is recognised when it comes again.
fn request_number(headers: &HeaderMap) -> Result<u64, Failure> {
    let header = headers.get(IDEMPOTENCY_KEY);
    let text = header.and_then(|header| header.to_str().ok());
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or(Failure::BadRequest("an idempotency key is required"))
}

fn with_cookie(cookie: HeaderValue, page: Json<Page>) -> Response {
    // A shared cache must not give one visitor's cookie to another.
    let no_store = HeaderValue::from_static("no-store");
    (
        AppendHeaders([(SET_COOKIE, cookie), (CACHE_CONTROL, no_store)]),
        page,
    )
        .into_response()
}

/// Why a request could not be answered.
#[derive(Debug)]
enum Failure {
    NoSession,
    BadRequest(&'static str),
    Unavailable(String),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::NoSession => (StatusCode::UNAUTHORIZED, "no such session").into_response(),
            Failure::BadRequest(why) => (StatusCode::BAD_REQUEST, why).into_response(),
            Failure::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
        }
    }
}

impl From<VisitorError> for Failure {
    fn from(error: VisitorError) -> Self {
        match error {
            VisitorError::NoSession => Failure::NoSession,
            error => Failure::Unavailable(error.to_string()),
        }
    }
}

impl From<ShardError> for Failure {
    fn from(error: ShardError) -> Self {
        Failure::Unavailable(error.to_string())
    }
}
