//! What requests can rely on, line by line, over a Redis server that two processes share. The other stores have the
//! same list.
//!
//! Two stores with a connection each stand for two processes, and take turns call by call. The tests at the end have
//! processes indeed, which are killed in one of them.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use purlin_redis::RedisSessionStore;
use purlin_session_store::conformance::{Subject, an_outage_logs_nobody_out, processes};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, Record, RotateOutcome, SessionKey, SessionStore, Slide,
    StoreError, Swept, UserKey, Version,
};
use purlin_testkit::Redis;
use redis::Value;
use redis::aio::MultiplexedConnection;

fn connect(url: &str) -> RedisSessionStore {
    RedisSessionStore::builder()
        .timeout(Duration::from_secs(10))
        .connect(url)
        .unwrap()
}

async fn raw(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    // Without a limit on the answer: some of the commands wait on purpose.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap()
}

/// Two stores on one server, call by call in turns.
struct InTurns {
    stores: [RedisSessionStore; 2],
    calls: AtomicUsize,
}

impl InTurns {
    fn next(&self) -> &RedisSessionStore {
        &self.stores[self.calls.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

impl SessionStore for InTurns {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.next().create(key, record).await
    }
    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        self.next().load(key, slide).await
    }
    async fn touch(&self, key: &SessionKey, slide: Slide) -> Result<bool, StoreError> {
        self.next().touch(key, slide).await
    }
    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.next().commit(key, expected, record).await
    }
    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        self.next().rotate(old, new, expected, record, grace).await
    }
    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.next().delete(key).await
    }
    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.next().by_user(user).await
    }
    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        self.next().revoke_user(user, except).await
    }
    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.next().load_many(keys).await
    }
    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        self.next().sweep(budget).await
    }
}

struct Shared {
    store: InTurns,
    clock: MultiplexedConnection,
    redis: Redis,
}

impl Shared {
    async fn new() -> Self {
        let redis = Redis::start().unwrap();
        let url = redis.url();
        Shared {
            store: InTurns {
                stores: [connect(&url), connect(&url)],
                calls: AtomicUsize::new(0),
            },
            clock: raw(&url).await,
            redis,
        }
    }
}

impl Subject for Shared {
    type Store = InTurns;
    fn store(&self) -> &InTurns {
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

purlin_session_store::conformance_lines!(Shared::new().await);

impl processes::Shared for Shared {
    type Store = RedisSessionStore;
    fn address(&self) -> String {
        self.redis.url()
    }
    async fn connect(address: &str) -> RedisSessionStore {
        connect(address)
    }
}

purlin_session_store::conformance_processes!(Shared: Shared::new().await);

/// The server is killed, and back with what it had written down.
#[tokio::test]
async fn line_06_an_outage_logs_nobody_out() {
    let mut redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).unwrap();
    let store = connect(&redis.url());
    let verdict = an_outage_logs_nobody_out(
        store,
        &mut redis,
        |redis| redis.kill().unwrap(),
        |redis| redis.restart().unwrap(),
    )
    .await;
    assert!(verdict.is_ok(), "{verdict:?}");
}
