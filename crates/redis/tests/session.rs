//! The Redis session store keeps the contract on a real server, and answers with typed errors when there is none.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use purlin_core::{Retry, Safety};
use purlin_redis::RedisSessionStore;
use purlin_session_store::conformance::{Subject, check, walk};
use purlin_session_store::{
    Cap, CommitOutcome, CreateOutcome, ErrorKind, Lifetime, Owner, Policy, Record, RotateOutcome,
    Session, SessionId, SessionKey, SessionStore, Sessions, Slide, StoreError, UserKey, Version,
};
use purlin_testkit::Redis;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, RedisFuture, Value};
use static_assertions::assert_impl_all;

assert_impl_all!(RedisSessionStore: Send, Sync, Clone, SessionStore, std::fmt::Debug);

const HOUR: Duration = Duration::from_secs(60 * 60);

fn key() -> SessionKey {
    SessionId::random().unwrap().key()
}

fn record(payload: &'static str) -> Record {
    Record::new(payload, Lifetime::new(HOUR, HOUR))
}

fn store(redis: &Redis) -> RedisSessionStore {
    RedisSessionStore::builder().connect(&redis.url()).unwrap()
}

async fn raw(redis: &Redis) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    // Without a limit on the answer: some of the commands wait on purpose.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap()
}

struct Real {
    store: RedisSessionStore,
    clock: MultiplexedConnection,
}

impl Subject for Real {
    type Store = RedisSessionStore;
    fn store(&self) -> &Self::Store {
        &self.store
    }
    fn retention(&self) -> Duration {
        Duration::from_secs(300)
    }
    fn unit(&self) -> Duration {
        Duration::from_millis(150)
    }
    /// By the server's clock: it is told to wait so long for something that does not come.
    async fn pass(&self, time: Duration) {
        let mut wait = redis::cmd("BLPOP");
        wait.arg("nothing").arg(time.as_secs_f64() + 0.005);
        let waited: Value = wait.query_async(&mut self.clock.clone()).await.unwrap();
        assert_eq!(waited, Value::Nil);
    }
}

#[tokio::test]
async fn the_redis_store_keeps_the_contract() {
    let redis = Redis::start().unwrap();
    let real = Real {
        store: store(&redis),
        clock: raw(&redis).await,
    };
    let report = check(&real).await.unwrap();
    assert_eq!(report.interleavings, 2 * 16 * 16 * 10);
    assert_eq!(report.promises, 26);
}

#[tokio::test]
async fn the_redis_store_walks_with_the_model() {
    let redis = Redis::start().unwrap();
    let real = Real {
        store: store(&redis),
        clock: raw(&redis).await,
    };
    for seed in 0..8 {
        let verdict = walk(&real, seed, 40).await;
        assert!(verdict.is_ok(), "seed {seed}: {verdict:?}");
    }
}

/// Scripts are called by their hash. A server that was restarted, or told to forget them, is sent them again.
#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let redis = Redis::start().unwrap();
    let (store, one) = (store(&redis), key());
    let _ = store.create(&one, record("x")).await.unwrap();
    let mut server = raw(&redis).await;
    let () = redis::cmd("SCRIPT")
        .arg("FLUSH")
        .query_async(&mut server)
        .await
        .unwrap();
    let outcome = store.commit(&one, Version::FIRST, record("y")).await;
    assert_eq!(outcome.unwrap(), CommitOutcome::Committed(Version(2)));
}

/// How often the server has run a command.
async fn calls_of(redis: &Redis, command: &str) -> usize {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut raw(redis).await)
        .await
        .unwrap();
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

/// A script costs the server several times what a `GET` does. One load a second goes by the script, for the time.
#[tokio::test]
async fn loads_that_write_nothing_are_plain_gets_in_one_round_trip() {
    let redis = Redis::start().unwrap();
    let (store, one) = (store(&redis), key());
    let lifetime = Lifetime::new(Duration::from_secs(1800), Duration::from_secs(43_200));
    let _ = store
        .create(&one, Record::new("x", lifetime))
        .await
        .unwrap();
    let slide = Slide::to(Duration::from_secs(1800));
    let scripts = calls_of(&redis, "evalsha").await;
    let gets = calls_of(&redis, "get").await;
    for _ in 0..200 {
        let entry = store.load(&one, slide).await.unwrap().unwrap();
        assert_eq!(entry.payload, "x");
        assert!(entry.remaining.idle > Duration::from_secs(1790));
        assert!(entry.remaining.idle <= Duration::from_secs(1800));
    }
    // Each load is one or the other; a script gets the row as well.
    let scripts = calls_of(&redis, "evalsha").await - scripts;
    let gets = calls_of(&redis, "get").await - gets;
    assert_eq!(gets, 200);
    assert!(scripts < 50, "{scripts} of 200 loads ran a script");

    // What is due to be moved is moved.
    let longer = Slide::to(Duration::from_secs(3600));
    let entry = store.load(&one, longer).await.unwrap().unwrap();
    assert!(
        entry.remaining.idle > Duration::from_secs(3590),
        "{entry:?}"
    );
    assert!(store.delete(&one).await.unwrap());
    assert_eq!(store.load(&one, slide).await.unwrap(), None);
}

/// Numbers are most of what a script costs: one commit a second asks the time, the others compare text. A load that
/// always moves the deadline does without a script.
#[tokio::test]
async fn commits_and_moved_deadlines_do_without_the_time_in_one_round_trip() {
    let redis = Redis::start().unwrap();
    let (store, one) = (store(&redis), key());
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let lifetime = Lifetime::new(minutes(30), Duration::MAX);
    let created = Record::new("0", Lifetime::new(minutes(30), minutes(600)));
    let _ = store.create(&one, created).await.unwrap();
    let counts = async || {
        [
            calls_of(&redis, "evalsha").await,
            calls_of(&redis, "time").await,
        ]
    };
    let before = counts().await;
    for n in 1..=200 {
        let outcome = store.commit(&one, Version(n), Record::new(n.to_string(), lifetime));
        assert_eq!(
            outcome.await.unwrap(),
            CommitOutcome::Committed(Version(n + 1))
        );
    }
    let [scripts, times] = counts().await;
    // One more where the server has to be given a script.
    assert!((200..=202).contains(&(scripts - before[0])), "{scripts}");
    assert!(
        times - before[1] < 50,
        "{times} of 200 commits asked the time"
    );

    let always = |idle| Slide::To {
        idle,
        min_gain: Duration::ZERO,
    };
    // The row does not say yet that its key's end is what counts.
    let _ = store.load(&one, always(minutes(40))).await.unwrap();
    let [before, gets] = [counts().await, [calls_of(&redis, "get").await; 2]];
    for n in 1..=200 {
        let slide = always(minutes(40) + Duration::from_secs(n));
        let entry = store.load(&one, slide).await.unwrap().unwrap();
        assert_eq!(
            (entry.version, &entry.payload[..]),
            (Version(201), &b"200"[..])
        );
        let moved = minutes(40) + Duration::from_secs(n);
        assert!(entry.remaining.idle > moved - Duration::from_secs(5));
        assert!(entry.remaining.idle <= moved);
    }
    let [scripts, times] = counts().await;
    assert!(
        scripts - before[0] < 50,
        "{scripts} of 200 loads were scripts"
    );
    assert_eq!(calls_of(&redis, "get").await - gets[0], 200);
    assert!(
        times - before[1] < 50,
        "{times} of 200 loads asked the time"
    );

    // Never in, by a use or by a commit; and never past the absolute deadline.
    let entry = store.load(&one, always(minutes(1))).await.unwrap().unwrap();
    assert!(entry.remaining.idle > minutes(42), "{entry:?}");
    let short = Record::new("", Lifetime::new(minutes(1), Duration::MAX));
    let _ = store.commit(&one, Version(201), short).await.unwrap();
    let entry = store.load(&one, Slide::No).await.unwrap().unwrap();
    assert!(entry.remaining.idle > minutes(42), "{entry:?}");
    let entry = store
        .load(&one, always(minutes(999)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.remaining.idle, entry.remaining.absolute);
    let long = Record::new("", Lifetime::new(minutes(9999), Duration::MAX));
    let _ = store.commit(&one, Version(202), long).await.unwrap();
    let entry = store.load(&one, Slide::No).await.unwrap().unwrap();
    assert_eq!(entry.remaining.idle, entry.remaining.absolute);
    assert!(entry.remaining.absolute <= minutes(600), "{entry:?}");

    // A load with a floor finds the true deadline, and has the row say it again.
    let _ = store.load(&one, always(minutes(50))).await.unwrap();
    for _ in 0..2 {
        let entry = store.load(&one, Slide::to(minutes(30))).await.unwrap();
        let idle = entry.unwrap().remaining.idle;
        assert!(idle > minutes(590), "{idle:?}");
    }
    let [scripts, _] = counts().await;
    let _ = store.load(&one, Slide::to(minutes(30))).await.unwrap();
    assert!(counts().await[0] - scripts < 2);
}

/// The row of a session whose key was moved past the absolute deadline does not live on with the key.
#[tokio::test]
async fn a_key_that_outlasts_its_session_does_not_prolong_it() {
    let redis = Redis::start().unwrap();
    let (store, one) = (store(&redis), key());
    let short = Duration::from_millis(300);
    let created = Record::new("0", Lifetime::new(short, short));
    let always = Slide::To {
        idle: Duration::from_secs(3600),
        min_gain: Duration::ZERO,
    };
    let _ = store.create(&one, created).await.unwrap();
    let _ = store.load(&one, always).await.unwrap();
    // The first marks the row, the second moves the key; from then on it ends as it would have.
    let began = Instant::now();
    while let Some(entry) = store.load(&one, always).await.unwrap() {
        assert!(entry.remaining.idle <= short, "{entry:?}");
        assert!(began.elapsed() < Duration::from_secs(30), "it lives on");
        tokio::task::yield_now().await;
    }
    let late = Record::new("1", Lifetime::new(short, Duration::MAX));
    let outcome = store.commit(&one, Version::FIRST, late).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Gone);
}

/// Two stores with a connection each, as two processes have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_over_two_connections_lose_no_update() {
    let redis = Redis::start().unwrap();
    let sessions = [store(&redis), store(&redis)]
        .map(|store| Arc::new(Sessions::new(store, Policy::default())));
    let mut session = Session::absent();
    session.set_bytes("first", "1").unwrap();
    let _ = sessions[0].commit(&mut session).await.unwrap();
    let id = session.id().unwrap().clone();
    let mut requests = tokio::task::JoinSet::new();
    for i in 0..32 {
        let (sessions, id) = (Arc::clone(&sessions[i % 2]), id.clone());
        requests.spawn(async move {
            let mut session = sessions.open(id).await.unwrap();
            session.set_bytes(&format!("field {i}"), "x").unwrap();
            // Each failed round lets another one through, so 32 contenders may need two rounds of attempts.
            while let Err(error) = sessions.commit(&mut session).await {
                assert_ne!(error.retry(), Retry::NEVER, "{error:?}");
            }
        });
    }
    requests.join_all().await;
    let session = sessions[0].open(id).await.unwrap();
    for i in 0..32 {
        assert!(session.get_bytes(&format!("field {i}")).is_some(), "{i}");
    }
}

/// The server frees what has ended by itself: every key has an expiry, and the right one.
#[tokio::test]
async fn every_key_expires_by_itself() {
    let redis = Redis::start().unwrap();
    let (store, mut server) = (store(&redis), raw(&redis).await);
    let [live, old, new, dead] = [key(), key(), key(), key()];
    for key in [&live, &old, &dead] {
        let _ = store.create(key, record("x")).await.unwrap();
    }
    let _ = store
        .rotate(&old, &new, Version::FIRST, record("y"), HOUR)
        .await
        .unwrap();
    assert!(store.delete(&dead).await.unwrap());
    let retention = Duration::from_secs(300);
    for (key, expected) in [
        (live, HOUR),
        (new, HOUR),
        (old, retention),
        (dead, retention),
    ] {
        let mut name = b"purlin:session:".to_vec();
        name.extend_from_slice(key.as_bytes());
        let left: u64 = redis::cmd("PTTL")
            .arg(name)
            .query_async(&mut server)
            .await
            .unwrap();
        let left = Duration::from_millis(left);
        assert!(left <= expected && left > expected - Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_key_that_is_no_session_is_an_error_and_left_alone() {
    let redis = Redis::start().unwrap();
    let store = RedisSessionStore::builder()
        .prefix("p")
        .connect(&redis.url())
        .unwrap();
    let mut server = raw(&redis).await;
    for (value, kind) in [("SET", "x"), ("SET", &*"x".repeat(90)), ("LPUSH", "x")] {
        let key = key();
        let name = [b"p", &key.as_bytes()[..]].concat();
        let () = redis::cmd(value)
            .arg(&name)
            .arg(kind)
            .query_async(&mut server)
            .await
            .unwrap();
        let corrupt = |error: StoreError| {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            assert_eq!(error.retry(), Retry::NEVER);
        };
        corrupt(store.load(&key, Slide::No).await.unwrap_err());
        corrupt(store.create(&key, record("x")).await.unwrap_err());
        corrupt(store.delete(&key).await.unwrap_err());
        let there: bool = redis::cmd("EXISTS")
            .arg(&name)
            .query_async(&mut server)
            .await
            .unwrap();
        assert!(there);
    }
}

#[tokio::test]
async fn at_its_limits_it_refuses_and_gives_the_record_back() {
    let redis = Redis::start().unwrap();
    let store = RedisSessionStore::builder()
        .max_payload(4)
        .connect(&redis.url())
        .unwrap();
    let (one, two) = (key(), key());
    let error = store.create(&one, record("12345")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.into_record(), Some(record("12345")));
    let _ = store.create(&one, record("1234")).await.unwrap();

    let mut server = raw(&redis).await;
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1"])
        .query_async(&mut server)
        .await
        .unwrap();
    let error = store.create(&two, record("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    assert_eq!(error.retry().safety, Safety::Safe);
    assert_eq!(error.into_record(), Some(record("2")));
}

/// Within the limit a call has an answer: an error that says so, and never "no session".
async fn fails_in_time<T: std::fmt::Debug>(
    call: impl Future<Output = Result<T, StoreError>>,
) -> StoreError {
    tokio::time::timeout(Duration::from_secs(20), call)
        .await
        .expect("a call does not hang")
        .expect_err("a store that cannot be asked does not answer")
}

#[tokio::test]
async fn a_server_that_is_killed_is_an_error_and_one_that_is_back_is_found() {
    let mut redis = Redis::start().unwrap();
    let (store, one) = (store(&redis), key());
    let _ = store.create(&one, record("x")).await.unwrap();
    redis.kill().unwrap();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let error = fails_in_time(store.load(&one, Slide::to(HOUR))).await;
        assert_ne!(error.retry(), Retry::NEVER, "{error:?}");
        kinds.push(error.kind());
        let error = fails_in_time(store.create(&key(), record("y"))).await;
        assert_ne!(error.retry(), Retry::NEVER, "{error:?}");
        kinds.push(error.kind());
    }
    let known = |kind| matches!(kind, ErrorKind::Unavailable | ErrorKind::Interrupted);
    assert!(kinds.iter().copied().all(known), "{kinds:?}");
    assert_eq!(
        kinds.last(),
        Some(&ErrorKind::Unavailable),
        "refused connections had no effect: {kinds:?}"
    );

    redis.restart().unwrap();
    let two = key();
    // The connection comes back with one of the next calls.
    let outcome = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            match store.create(&two, record("z")).await {
                Ok(outcome) => return outcome,
                Err(error) => assert_ne!(error.retry(), Retry::NEVER, "{error:?}"),
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(
        outcome.await.unwrap(),
        CreateOutcome::Created(Version::FIRST)
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_in_time() {
    let redis = Redis::start().unwrap();
    let store = RedisSessionStore::builder()
        .timeout(Duration::from_millis(100))
        .connect(&redis.url())
        .unwrap();
    let one = key();
    let _ = store.create(&one, record("x")).await.unwrap();
    redis.pause().unwrap();
    let error = fails_in_time(store.load(&one, Slide::No)).await;
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error:?}");
    assert_eq!(error.retry().safety, Safety::IfIdempotent);
    let error = fails_in_time(store.commit(&one, Version::FIRST, record("y"))).await;
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error:?}");
    redis.resume().unwrap();
    let entry = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Ok(entry) = store.load(&one, Slide::No).await {
                return entry;
            }
        }
    });
    assert!(entry.await.unwrap().is_some());
}

#[test]
fn an_address_that_makes_no_sense_is_refused() {
    let error = RedisSessionStore::builder()
        .connect("nonsense")
        .unwrap_err();
    assert_eq!(error.retry(), Retry::NEVER);
}

/// A connection that breaks at a call of one's choice.
#[derive(Clone)]
struct Breaking {
    inner: MultiplexedConnection,
    /// Calls until it breaks.
    left: Arc<AtomicU32>,
    /// Whether the server still gets the command at which it breaks.
    delivers: bool,
}

impl ConnectionLike for Breaking {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let left = self.left.load(Ordering::SeqCst);
            let broken = || RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
            if left == 0 {
                return Err(broken());
            }
            self.left.store(left - 1, Ordering::SeqCst);
            if left > 1 {
                return self.inner.req_packed_command(cmd).await;
            }
            if self.delivers {
                self.inner.req_packed_command(cmd).await?;
            }
            Err(broken())
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.inner.req_packed_commands(cmd, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

/// Whichever command of a rotation is the last that gets through, one key has the session afterwards and never two,
/// nothing that was acknowledged is lost, and a repeated rotation comes to its end.
#[tokio::test]
async fn a_rotation_that_breaks_anywhere_leaves_the_session_under_one_key() {
    let redis = Redis::start().unwrap();
    let whole = store(&redis);
    // So that the scripts are known, and every command is a step.
    let [old, new] = [key(), key()];
    let _ = whole.create(&old, record("x")).await.unwrap();
    let rotated = whole.rotate(&old, &new, Version::FIRST, record("y"), HOUR);
    assert_eq!(rotated.await.unwrap(), RotateOutcome::Rotated(Version(2)));

    let mut broken = 0;
    for at in 1..=4 {
        for (delivers, ending) in [(false, 0), (true, 0), (false, 1), (true, 1), (true, 2)] {
            let [old, new] = [key(), key()];
            let _ = whole.create(&old, record("old")).await.unwrap();
            let breaking = RedisSessionStore::builder().build(Breaking {
                inner: raw(&redis).await,
                left: Arc::new(AtomicU32::new(at)),
                delivers,
            });
            let outcome = breaking
                .rotate(&old, &new, Version::FIRST, record("new"), HOUR)
                .await;
            match &outcome {
                Ok(outcome) => assert_eq!(*outcome, RotateOutcome::Rotated(Version(2))),
                Err(error) => {
                    assert_eq!(error.retry().safety, Safety::IfIdempotent);
                    broken += 1;
                }
            }
            let what = format!("broken at {at}, delivered: {delivers}, {outcome:?}");
            match ending {
                // Somebody looks.
                0 => {
                    let seen = whole.load(&old, Slide::No).await.unwrap().unwrap();
                    assert_eq!(&seen.payload[..], b"old", "{what}");
                    let moved = whole.load(&new, Slide::No).await.unwrap();
                    match seen.superseded_by {
                        None => assert_eq!(moved, None, "{what}"),
                        Some(by) => {
                            assert_eq!(by, new, "{what}");
                            assert_eq!(&moved.unwrap().payload[..], b"new", "{what}");
                        }
                    }
                    assert!(outcome.is_err() || seen.superseded_by.is_some(), "{what}");
                }
                // The caller tries again.
                1 => {
                    let again = whole
                        .rotate(&old, &new, Version::FIRST, record("new"), HOUR)
                        .await
                        .unwrap();
                    let expected = [
                        RotateOutcome::Rotated(Version(2)),
                        RotateOutcome::Superseded(new),
                    ];
                    assert!(expected.contains(&again), "{what}: {again:?}");
                    let moved = whole.load(&new, Slide::No).await.unwrap().unwrap();
                    assert_eq!(
                        (&moved.payload[..], moved.version),
                        (&b"new"[..], Version(2))
                    );
                    assert!(moved.remaining.idle > HOUR - Duration::from_secs(60));
                }
                // Somebody logs out with the old cookie, and then nothing is left.
                _ => {
                    assert!(whole.delete(&old).await.unwrap(), "{what}");
                    for key in [&old, &new] {
                        assert_eq!(whole.load(key, Slide::No).await.unwrap(), None, "{what}");
                    }
                }
            }
        }
    }
    assert!(broken >= 10, "only {broken} rotations broke");
}

/// What the store says of its futures: unpolled they have done nothing.
#[tokio::test]
async fn a_future_that_is_never_polled_does_nothing() {
    let redis = Redis::start().unwrap();
    let (store, one) = (store(&redis), key());
    drop(store.create(&one, record("x")));
    assert_eq!(store.load(&one, Slide::No).await.unwrap(), None);
}

fn owned(user: UserKey, cap: Option<Cap>) -> Record {
    record("x").with_owner(Owner::User { user, cap })
}

async fn lives(store: &RedisSessionStore, key: &SessionKey) -> bool {
    let entry = store.load(key, Slide::No).await.unwrap();
    entry.is_some_and(|entry| entry.superseded_by.is_none())
}

/// A list that somebody deleted, or a server evicted, comes back as the sessions are used; so a revocation ends them.
#[tokio::test]
async fn a_list_that_was_lost_mends_itself_by_use() {
    let redis = Redis::start().unwrap();
    let (store, mut server, user) = (store(&redis), raw(&redis).await, UserKey::of("17"));
    let keys = [key(), key(), key()];
    let minute = Lifetime::new(HOUR / 60, HOUR);
    for key in &keys {
        let record = Record::new("x", minute).with_owner(Owner::User { user, cap: None });
        let _ = store.create(key, record).await.unwrap();
    }
    let name = [&b"purlin:session:user:"[..], user.as_bytes()].concat();
    let () = redis::cmd("DEL")
        .arg(&name)
        .query_async(&mut server)
        .await
        .unwrap();
    assert!(store.by_user(&user).await.unwrap().is_empty());
    // A slide that writes. Each session in use has one at least twenty times an idle window.
    let slide = Slide::To {
        idle: HOUR,
        min_gain: Duration::ZERO,
    };
    for key in &keys {
        assert!(store.load(key, slide).await.unwrap().is_some());
        assert!(store.by_user(&user).await.unwrap().contains(key));
    }
    let left: i64 = redis::cmd("PTTL")
        .arg(&name)
        .query_async(&mut server)
        .await
        .unwrap();
    assert!(
        left > 0 && Duration::from_millis(left as u64) <= HOUR,
        "it expires with the last session"
    );
    assert_eq!(store.revoke_user(&user, None).await.unwrap(), 3);
    for key in &keys {
        assert!(!lives(&store, key).await);
    }
}

/// Whichever command is the last that gets through, a session that lives is listed, a revocation ends it, and a name
/// without a session stands in nobody's way.
#[tokio::test]
async fn a_login_that_breaks_anywhere_leaves_no_session_that_is_on_no_list() {
    let redis = Redis::start().unwrap();
    let whole = store(&redis);
    let mut broken = 0;
    for at in 1..=9 {
        for (delivers, call) in [
            (false, 0),
            (true, 0),
            (false, 1),
            (true, 1),
            (false, 2),
            (true, 2),
        ] {
            let (user, [old, new, third]) = (UserKey::of(key().as_bytes()), [key(), key(), key()]);
            let cap = Some(Cap::evict_oldest(2));
            let (first, anonymous) = (key(), old);
            let _ = whole.create(&first, owned(user, cap)).await.unwrap();
            let _ = whole.create(&third, owned(user, cap)).await.unwrap();
            let _ = whole.create(&anonymous, record("a")).await.unwrap();
            let breaking = RedisSessionStore::builder().build(Breaking {
                inner: raw(&redis).await,
                left: Arc::new(AtomicU32::new(at)),
                delivers,
            });
            let failed = match call {
                0 => breaking.create(&new, owned(user, cap)).await.is_err(),
                1 => breaking
                    .rotate(&old, &new, Version::FIRST, owned(user, cap), HOUR)
                    .await
                    .is_err(),
                _ => breaking.revoke_user(&user, None).await.is_err(),
            };
            broken += u32::from(failed);
            let what =
                format!("call {call} broken at {at}, delivered: {delivers}, failed: {failed}");
            let listed = whole.by_user(&user).await.unwrap();
            let mut n_live = 0;
            for key in [&first, &third, &new] {
                let live = lives(&whole, key).await;
                assert_eq!(listed.contains(key), live, "{what}");
                n_live += usize::from(live);
            }
            assert!(n_live <= 2, "{what}");
            assert!(
                lives(&whole, &anonymous).await || lives(&whole, &new).await,
                "{what}"
            );
            // The next login is not kept out by what the broken one left.
            let next = key();
            let outcome = whole.create(&next, owned(user, cap)).await.unwrap();
            assert_eq!(outcome, CreateOutcome::Created(Version::FIRST), "{what}");
            let _ = whole.revoke_user(&user, None).await.unwrap();
            for key in [&first, &third, &new, &next] {
                assert!(!lives(&whole, key).await, "{what}");
            }
        }
    }
    assert!(broken >= 20, "only {broken} calls broke");
}
