//! Single tiers of the city among stand-ins for the others: what the front door sends again, how a replica follows,
//! and that the driver waits for nobody.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use city::database::Database;
use city::driver::Driver;
use city::front::{Front, IDEMPOTENCY_KEY, STICKY_COOKIE};
use city::http_pool::HttpPool;
use city::oracle::Oracle;
use city::primary::Primary;
use city::replay::Replay;
use city::replica::Replica;
use city::row::{Change, Key, Row};
use city::server::{Server, listen};
use city::shard_client::ShardClient;
use city::shard_server::{Role, ShardCopy};
use city::traffic::{Step, Traffic};
use city::wire::{Need, Reply, Request as ShardRequest, Stamp};
use http_body_util::Full;
use hyper::header::SET_COOKIE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use purlin_core::{Clock, Keyring, SealingKey, SystemClock};
use purlin_shard_router::{Guard, Shard, ShardId, ShardMap};
use tokio::io::AsyncReadExt;
use tokio::sync::Barrier;

/// A node that answers, and counts what it has answered.
async fn answering(count: &Arc<AtomicUsize>) -> Server {
    let count = Arc::clone(count);
    let serve = move |stream| {
        let count = Arc::clone(&count);
        async move {
            let service = service_fn(|_request| {
                count.fetch_add(1, Ordering::Relaxed);
                async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("{}")))) }
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    };
    Server::start(listen(0).await.unwrap(), serve).unwrap()
}

/// A node that takes a request and hangs up, and counts how often.
async fn hanging_up(count: &Arc<AtomicUsize>) -> Server {
    let count = Arc::clone(count);
    let serve = move |mut stream: tokio::net::TcpStream| {
        let count = Arc::clone(&count);
        async move {
            let mut request = [0; 1024];
            // The front door's probe connects too, and sends nothing.
            if stream
                .read(&mut request)
                .await
                .is_ok_and(|n_bytes| n_bytes > 0)
            {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    Server::start(listen(0).await.unwrap(), serve).unwrap()
}

/// A front door before nodes, and connections to it.
async fn door(nodes: &[SocketAddr]) -> (Front, Server, HttpPool) {
    let keyring = Keyring::new([SealingKey::new(1, [7; 32])]).unwrap();
    let front = Front::open(nodes, Arc::new(keyring)).unwrap();
    let server = Server::start(listen(0).await.unwrap(), front.service()).unwrap();
    let pool = HttpPool::new(server.address(), 4);
    (front, server, pool)
}

/// Sends forty requests one after the other, and gives their statuses.
async fn send(pool: &HttpPool, method: Method, key: Option<&str>) -> Vec<StatusCode> {
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let mut request = Request::builder().method(&method).uri("/cart/1");
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        let response = pool.send(request.body(Full::default()).unwrap()).await;
        statuses.push(response.unwrap().status());
    }
    statuses
}

#[tokio::test]
async fn what_was_lost_on_its_way_is_sent_again_only_if_that_is_safe() {
    let (lost, answered) = (Arc::default(), Arc::default());
    let (bad, good) = (hanging_up(&lost).await, answering(&answered).await);
    let (_front, _server, pool) = door(&[bad.address(), good.address()]).await;

    assert_eq!(send(&pool, Method::GET, None).await, [StatusCode::OK; 40]);
    assert_eq!(
        send(&pool, Method::POST, Some("7")).await,
        [StatusCode::OK; 40]
    );
    assert!(lost.load(Ordering::Relaxed) > 0, "nothing was ever lost");

    let (lost_before, answered_before) = (
        lost.load(Ordering::Relaxed),
        answered.load(Ordering::Relaxed),
    );
    let statuses = send(&pool, Method::POST, None).await;
    let failed = statuses
        .iter()
        .filter(|status| **status == StatusCode::BAD_GATEWAY)
        .count();
    let fine = statuses
        .iter()
        .filter(|status| **status == StatusCode::OK)
        .count();
    assert_eq!(failed + fine, 40, "{statuses:?}");
    assert_eq!(
        lost.load(Ordering::Relaxed) - lost_before,
        failed,
        "each lost one failed, and was not sent again"
    );
    assert_eq!(answered.load(Ordering::Relaxed) - answered_before, fine);
}

#[tokio::test]
async fn what_never_left_goes_to_another_node_whatever_it_is() {
    let answered = Arc::default();
    let good = answering(&answered).await;
    let gone = answering(&Arc::default()).await;
    let nodes = [gone.address(), good.address()];
    gone.stop().await;
    let (_front, _server, pool) = door(&nodes).await;
    assert_eq!(send(&pool, Method::POST, None).await, [StatusCode::OK; 40]);
}

#[tokio::test]
async fn a_visitor_stays_with_his_node_and_moves_when_it_is_gone() {
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let mut nodes = [
        Some(answering(&counts[0]).await),
        Some(answering(&counts[1]).await),
    ];
    let addresses = nodes
        .each_ref()
        .map(|node| node.as_ref().unwrap().address());
    let (_front, _server, pool) = door(&addresses).await;
    let ask = async |cookie: Option<&str>| {
        let mut request = Request::builder().uri("/");
        if let Some(cookie) = cookie {
            request = request.header("cookie", format!("other=1; {STICKY_COOKIE}={cookie}"));
        }
        let response = pool
            .send(request.body(Full::default()).unwrap())
            .await
            .unwrap();
        let header = response
            .headers()
            .get(SET_COOKIE)?
            .to_str()
            .unwrap()
            .to_owned();
        let (_, value) = header.split_once('=').unwrap();
        Some(value.split(';').next().unwrap().to_owned())
    };

    let cookie = ask(None).await.expect("a new visitor is bound");
    let home = usize::from(counts[1].load(Ordering::Relaxed) == 1);
    for _ in 0..30 {
        assert_eq!(ask(Some(&cookie)).await, None, "he is bound already");
    }
    assert_eq!(counts[home].load(Ordering::Relaxed), 31);

    nodes[home].take().unwrap().stop().await;
    let moved = ask(Some(&cookie)).await.expect("he is bound to another");
    assert_ne!(moved, cookie);
    assert_eq!(counts[1 - home].load(Ordering::Relaxed), 1);
    assert!(
        ask(Some("forged")).await.is_some(),
        "a forged cookie is none"
    );
}

const KEY: Key = Key::user(7);

/// A shard of two copies, the second so late.
struct TwoCopies {
    map: ShardMap,
    clock: SystemClock,
    clients: [ShardClient; 2],
    _servers: [Server; 2],
    _folder: tempfile::TempDir,
}

impl TwoCopies {
    async fn start(lag: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = SystemClock::new();
        let oracle = Arc::new(Oracle::new(clock));
        let map = ShardMap::even_split([Shard::new(ShardId(0), "only")]).unwrap();
        let serve = async |copy: u32, role| {
            let guard = Guard::new(ShardId(0), map.clone());
            let copy = Arc::new(ShardCopy::new(Stamp { shard: 0, copy }, role, guard, true));
            let serve = move |stream| Arc::clone(&copy).serve(stream);
            Server::start(listen(0).await.unwrap(), serve).unwrap()
        };
        let database = |name| Arc::new(Database::open(&folder.path().join(name)).unwrap());
        let primary = Primary::start(database("primary"), 0, clock, oracle).unwrap();
        let primary = serve(0, Role::Primary(primary)).await;
        let replica = Replica::start(database("replica"), primary.address(), lag, clock).unwrap();
        let replica = serve(1, Role::Replica(replica)).await;
        TwoCopies {
            clients: [&primary, &replica].map(|server| ShardClient::new(server.address())),
            map,
            clock,
            _servers: [primary, replica],
            _folder: folder,
        }
    }

    async fn read(&self, copy: usize, need: Need) -> Reply {
        let route = self.map.route(&KEY);
        let request = ShardRequest::Read {
            route,
            key: KEY,
            need,
        };
        self.clients[copy].call(&request).await.unwrap()
    }

    async fn change(&self, cause: u64) -> Reply {
        let route = self.map.route(&KEY);
        let once = true;
        let change = Change {
            key: KEY,
            cause,
            once,
        };
        let request = ShardRequest::Change { route, change };
        self.clients[0].call(&request).await.unwrap()
    }

    /// Asks the replica until it is so far, and gives the row.
    async fn wait_for(&self, need: Need) -> Row {
        loop {
            if let Reply::Row { row, .. } = self.read(1, need).await {
                return row;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_follows_and_says_how_far_it_is() {
    let shard = TwoCopies::start(Duration::ZERO).await;
    for cause in 1..=40 {
        assert!(matches!(shard.change(cause).await, Reply::Changed { .. }));
    }
    let row = shard.wait_for(Need::Position(40)).await;
    assert_eq!((row.value, row.version), (40, 40));
    // The same change again is answered as the first time, and makes no record.
    let Reply::Changed { outcome, .. } = shard.change(40).await else {
        panic!("the primary takes changes");
    };
    assert!(outcome.repeated && outcome.row.value == 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_replica_is_fresh_while_nothing_happens_and_refuses_what_it_lacks() {
    let shard = TwoCopies::start(Duration::from_secs(3600)).await;
    // Nothing was written, so being late makes no difference.
    let row = shard
        .wait_for(Need::FreshAt(shard.clock.now().as_nanos()))
        .await;
    assert_eq!(row, Row::default());
    shard.change(1).await;
    assert!(matches!(
        shard.read(1, Need::Position(1)).await,
        Reply::Behind(_)
    ));
    let now = shard.clock.now().as_nanos();
    assert!(matches!(
        shard.read(1, Need::FreshAt(now)).await,
        Reply::Behind(_)
    ));
    assert!(
        matches!(shard.read(1, Need::Nothing).await, Reply::Row { row, .. } if row == Row::default())
    );
    assert!(
        matches!(shard.read(0, Need::FreshAt(now)).await, Reply::Row { row, .. } if row.value == 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_as_late_as_it_was_told() {
    let lag = Duration::from_millis(150);
    let shard = TwoCopies::start(lag).await;
    let before = shard.clock.now();
    shard.change(1).await;
    shard.wait_for(Need::Position(1)).await;
    assert!(shard.clock.now().since(before) >= lag);
}

/// Traffic that holds the driver up, once.
struct HoldUp {
    traffic: Replay,
    steps: usize,
    clock: SystemClock,
}

impl Traffic for HoldUp {
    fn next_step(&mut self) -> Option<Step> {
        self.steps += 1;
        if self.steps == 10 {
            let begun = self.clock.now();
            while self.clock.now().since(begun) < Duration::from_millis(100) {}
        }
        self.traffic.next_step()
    }

    fn pace(&self, since_start: Duration) -> f64 {
        self.traffic.pace(since_start)
    }
}

#[tokio::test]
async fn a_driver_that_was_held_up_charges_the_wait_to_the_requests() {
    let server = answering(&Arc::default()).await;
    let clock = SystemClock::new();
    let pool = HttpPool::new(server.address(), 4);
    let driver = Arc::new(Driver::new(pool, clock, Arc::new(Oracle::new(clock))));
    let mut traffic = HoldUp {
        traffic: Replay::new((0..40).collect(), NonZeroUsize::new(40).unwrap()),
        steps: 0,
        clock,
    };
    driver.drive(&mut traffic, 1_000.0, None).await;
    let tally = driver.take_tally();
    assert_eq!(tally.finished(), 40);
    // Thirty of forty were due while nothing went out.
    assert!(
        tally.percentile(50.0) >= Duration::from_millis(60),
        "{:?}",
        tally.percentile(50.0)
    );
}

#[tokio::test]
async fn the_driver_sends_what_is_due_whether_or_not_it_was_answered() {
    // Nobody is answered before the last has asked: a driver that waited for answers would wait for ever.
    const VISITORS: u32 = 50;
    let all_are_here = Arc::new(Barrier::new(VISITORS as usize));
    let serve = move |stream| {
        let all_are_here = Arc::clone(&all_are_here);
        async move {
            let service = service_fn(|_request| async {
                all_are_here.wait().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("not a page"))))
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    };
    let server = Server::start(listen(0).await.unwrap(), serve).unwrap();
    let clock = SystemClock::new();
    let pool = HttpPool::new(server.address(), VISITORS as usize);
    let driver = Arc::new(Driver::new(pool, clock, Arc::new(Oracle::new(clock))));
    let lanes = NonZeroUsize::new(VISITORS as usize).unwrap();
    let mut traffic = Replay::new((0..VISITORS).collect(), lanes);
    driver.drive(&mut traffic, 250.0, None).await;

    let tally = driver.take_tally();
    assert_eq!((tally.due, tally.ok, tally.finished()), (50, 0, 50));
    assert_eq!(
        tally.failures.get("an answer that makes no sense"),
        Some(&50)
    );
    // The first was due a fifth of a second before the last.
    assert!(
        tally.percentile(100.0) >= Duration::from_millis(190),
        "{:?}",
        tally.percentile(100.0)
    );
    assert!(
        tally.percentile(50.0) >= Duration::from_millis(90),
        "{:?}",
        tally.percentile(50.0)
    );
}
