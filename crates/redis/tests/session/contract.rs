//! The store keeps the contract.

use super::*;

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
        Duration::from_millis(250)
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

/// What the store says of its futures: unpolled they have done nothing.
#[tokio::test]
async fn a_future_that_is_never_polled_does_nothing() {
    let redis = Redis::start().unwrap();
    let (store, one) = (store(&redis), key());
    drop(store.create(&one, record("x")));
    assert_eq!(store.load(&one, Slide::No).await.unwrap(), None);
}
