//! Near sessions over a real server: two processes' worth of connections, what happens when one is cut, and processes
//! indeed.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use purlin_redis::{RedisInvalidations, RedisSessionStore, RedisSessionStoreBuilder};
use purlin_session_store::conformance::processes;
use purlin_session_store::{
    CommitOutcome, ErrorKind, Invalidation, Invalidations, Lifetime, Near, Record, SessionId,
    SessionKey, SessionStore, Slide, StoreError, Version,
};
use purlin_testkit::Redis;
use redis::aio::MultiplexedConnection;
use static_assertions::assert_impl_all;
use tokio::task::JoinHandle;

assert_impl_all!(RedisInvalidations: Send, Invalidations, std::fmt::Debug);

const HOUR: Duration = Duration::from_secs(60 * 60);

type NearRedis = Near<RedisSessionStore>;

fn settings() -> RedisSessionStoreBuilder {
    RedisSessionStore::builder().prefix("near:")
}

/// One process: its own connection for calls, and its own for reports. Only a report can make it forget: the bound
/// is far away.
async fn process(url: &str) -> (Arc<NearRedis>, JoinHandle<StoreError>) {
    let store = settings().connect(url).unwrap();
    let near = Arc::new(Near::builder().max_stale(HOUR).build(store));
    let reports = settings().invalidations(url).await.unwrap();
    let following = Arc::clone(&near);
    let task = tokio::spawn(async move { following.follow(reports).await });
    until(|| near.is_following()).await;
    (near, task)
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not happen");
        tokio::task::yield_now().await;
    }
}

async fn created(store: &RedisSessionStore, payload: &'static str) -> SessionKey {
    let key = SessionId::random().unwrap().key();
    let record = Record::new(payload, Lifetime::new(HOUR, HOUR));
    let _ = store.create(&key, record).await.unwrap();
    key
}

/// Loads until the answer is from here, so that a report of the creation is no longer under way.
async fn settled(near: &NearRedis, key: &SessionKey) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut quiet = 0;
    while quiet < 50 {
        assert!(Instant::now() < deadline, "it is never kept");
        let before = near.stats().hits;
        assert!(near.load(key, Slide::No).await.unwrap().is_some());
        quiet = if near.stats().hits > before {
            quiet + 1
        } else {
            0
        };
        tokio::task::yield_now().await;
    }
}

async fn gone(near: &NearRedis, key: &SessionKey) -> Duration {
    let began = Instant::now();
    while near.load(key, Slide::No).await.unwrap().is_some() {
        assert!(began.elapsed() < Duration::from_secs(30), "still served");
        tokio::task::yield_now().await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_by_one_process_reaches_another() {
    let redis = Redis::start().unwrap();
    let (near, _task) = process(&redis.url()).await;
    let other = settings().connect(&redis.url()).unwrap();
    let mut delays = Vec::new();
    for _ in 0..200 {
        let key = created(&other, "x").await;
        settled(&near, &key).await;
        assert!(other.delete(&key).await.unwrap());
        delays.push(gone(&near, &key).await);
    }
    delays.sort();
    let (median, p99) = (delays[100], delays[197]);
    println!("revocation to effect: median {median:?}, p99 {p99:?}");
    assert!(near.stats().hits >= 200 * 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_and_rotations_by_one_process_reach_another() {
    let redis = Redis::start().unwrap();
    let (near, _task) = process(&redis.url()).await;
    let (other, _other_task) = process(&redis.url()).await;
    let key = created(other.store(), "1").await;
    settled(&near, &key).await;
    let record = |payload: &'static str| Record::new(payload, Lifetime::new(HOUR, Duration::MAX));
    let outcome = other.commit(&key, Version::FIRST, record("2")).await;
    assert_eq!(outcome.unwrap(), CommitOutcome::Committed(Version(2)));
    let deadline = Instant::now() + Duration::from_secs(30);
    while near.load(&key, Slide::No).await.unwrap().unwrap().payload != "2" {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    settled(&near, &key).await;
    let new = SessionId::random().unwrap().key();
    let rotated = other.rotate(&key, &new, Version(2), record("3"), Duration::ZERO);
    let _ = rotated.await.unwrap();
    gone(&near, &key).await;
}

async fn raw(redis: &Redis) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Cuts the connections that reports go over, as the server has it.
async fn cut(redis: &Redis) {
    let mut server = raw(redis).await;
    let clients: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query_async(&mut server)
        .await
        .unwrap();
    let mut cut = 0;
    for client in clients.lines() {
        let of = |name: &str| {
            let mut words = client.split(' ');
            words
                .find_map(|word| word.strip_prefix(name))
                .unwrap()
                .to_owned()
        };
        // `t` is a client that tracks, `B` one that tracks by prefix.
        if of("flags=").contains('B') || of("flags=").contains('t') {
            let () = redis::cmd("CLIENT")
                .arg("KILL")
                .arg("ID")
                .arg(of("id="))
                .query_async(&mut server)
                .await
                .unwrap();
            cut += 1;
        }
    }
    assert_eq!(cut, 1, "{clients}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_connection_is_cut_every_load_goes_to_the_server() {
    let redis = Redis::start().unwrap();
    let (near, task) = process(&redis.url()).await;
    let other = settings().connect(&redis.url()).unwrap();
    let key = created(&other, "x").await;
    settled(&near, &key).await;
    cut(&redis).await;
    let error = task.await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(!near.is_following());
    assert!(other.delete(&key).await.unwrap());
    assert_eq!(near.load(&key, Slide::No).await.unwrap(), None);

    // A new connection, and what was missed meanwhile is not believed.
    let reports = settings().invalidations(&redis.url()).await.unwrap();
    let following = Arc::clone(&near);
    let _task = tokio::spawn(async move { following.follow(reports).await });
    until(|| near.is_following()).await;
    assert_eq!(near.load(&key, Slide::No).await.unwrap(), None);
    let key = created(&other, "y").await;
    settled(&near, &key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_noticed_and_one_that_is_emptied_too() {
    let redis = Redis::start().unwrap();
    let (near, task) = process(&redis.url()).await;
    let other = settings().connect(&redis.url()).unwrap();
    let key = created(&other, "x").await;
    settled(&near, &key).await;
    let () = redis::cmd("FLUSHALL")
        .query_async(&mut raw(&redis).await)
        .await
        .unwrap();
    gone(&near, &key).await;

    let key = created(&other, "x").await;
    settled(&near, &key).await;
    redis.pause().unwrap();
    let error = tokio::time::timeout(Duration::from_secs(30), task).await;
    let error = error.expect("it is noticed").unwrap();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(!near.is_following());
    let error = near.load(&key, Slide::No).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "not from here");
    redis.resume().unwrap();
    assert!(near.load(&key, Slide::No).await.unwrap().is_some());
}

/// A reader that takes nothing while the server reports more than there is room for has missed something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_falls_behind_is_told_so() {
    let redis = Redis::start().unwrap();
    let mut reports = settings().invalidations(&redis.url()).await.unwrap();
    let mut server = raw(&redis).await;
    let script = redis::Script::new(
        "for i = 1, 1000 do redis.call('SET', string.format('near:\\1%032d', ARGV[1] * 1000 + i), 'x') end",
    );
    for batch in 0..70 {
        let () = script.arg(batch).invoke_async(&mut server).await.unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(
            Instant::now() < deadline,
            "all of 70 000 reports found room"
        );
        match reports.next().await {
            Ok(report) => assert_ne!(report, Invalidation::All),
            Err(error) => return assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
    }
}

#[tokio::test]
async fn no_server_is_an_error() {
    let mut redis = Redis::start().unwrap();
    let url = redis.url();
    redis.kill().unwrap();
    let error = settings().invalidations(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(settings().invalidations("nonsense").await.is_err());
}

/// A server that processes share, each of which keeps sessions near.
struct Server(Redis);

impl Server {
    fn start() -> Self {
        Server(Redis::start().unwrap())
    }
}

impl processes::Shared for Server {
    type Store = Arc<NearRedis>;
    fn address(&self) -> String {
        self.0.url()
    }
    async fn connect(address: &str) -> Arc<NearRedis> {
        // It goes on following when nobody waits for it.
        process(address).await.0
    }
}

// Only a report can make these forget, so what passes passes by reports.
purlin_session_store::conformance_processes! { Server: Server::start();
    line_01_near_processes_lose_no_update: no_update_is_lost(32);
    line_03_a_logout_ends_what_a_near_process_is_writing: a_logout_ends_what_another_is_writing();
    line_04_an_id_works_in_a_near_process_while_another_logs_in: an_id_works_while_another_logs_in();
    line_08_a_revocation_in_one_process_reaches_another: a_revocation_reaches_another();
}
