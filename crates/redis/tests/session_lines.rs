//! What requests can rely on, line by line, over a Redis server that two processes share. The other stores have the
//! same list.
//!
//! Two stores with a connection each stand for two processes, and take turns call by call; two tests have processes
//! indeed, one of which is killed in one of them.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use purlin_redis::RedisSessionStore;
use purlin_session_store::conformance::Subject;
use purlin_session_store::{
    CommitError, CommitOutcome, CreateOutcome, Entry, Login, Policy, Record, RotateOutcome,
    Session, SessionId, SessionKey, SessionStore, Sessions, Slide, State, StoreError, Swept,
    UserKey, Version,
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
    _redis: Redis,
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
            _redis: redis,
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

/// Names the server and the session of a child.
const CHILD: &str = "PURLIN_SESSION_CHILD";

/// Two processes count one field up and set fields of their own, and one of them is killed: nothing that either was
/// told is stored is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_07_two_processes_lose_nothing_and_one_is_killed() {
    if let Ok(told) = std::env::var(CHILD) {
        return work(&told).await;
    }
    let redis = Redis::start().unwrap();
    let sessions = Sessions::new(connect(&redis.url()), Policy::default());
    let mut session = Session::absent();
    session.login(Login::new("17"));
    let _ = sessions.commit(&mut session).await.unwrap();
    let id = session.id().unwrap().clone();
    let mut children = [0, 1].map(|number| start(&redis.url(), &id, number));
    let acknowledged: Vec<usize> = children
        .iter_mut()
        .enumerate()
        .map(|(number, child)| {
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut done = 0;
            while done < 40 {
                let line = lines
                    .next()
                    .expect("a child works until it is killed")
                    .unwrap();
                done += usize::from(line.ends_with("done"));
            }
            // The first in the midst of its work.
            child.kill().unwrap();
            child.wait().unwrap();
            let rest = lines.map(|line| usize::from(line.unwrap().ends_with("done")));
            let done = done + rest.sum::<usize>();
            assert!(done >= 40, "child {number}");
            done
        })
        .collect();
    let session = sessions.open(id).await.unwrap();
    assert_eq!(session.user(), Some("17"));
    let counted = session.get_bytes("count").unwrap().len();
    let sum: usize = acknowledged.iter().sum();
    // Each may have been killed between the commit and the word of it.
    assert!(
        (sum..=sum + 2).contains(&counted),
        "{acknowledged:?} {counted}"
    );
    for (number, done) in acknowledged.iter().enumerate() {
        let own = session.get_bytes(&format!("own {number}")).unwrap();
        assert!(own.len() >= *done);
    }
}

/// Another process goes on writing, renewing and asking for a new id when its user logs out everywhere in this one: it
/// is told so, and nothing is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_03_a_logout_in_one_process_ends_what_another_is_writing() {
    if let Ok(told) = std::env::var(CHILD) {
        return write_until_gone(&told).await;
    }
    let redis = Redis::start().unwrap();
    let sessions = Sessions::new(connect(&redis.url()), Policy::default());
    let mut session = Session::absent();
    session.login(Login::new("17"));
    let _ = sessions.commit(&mut session).await.unwrap();
    let id = session.id().unwrap().clone();
    let name = "line_03_a_logout_in_one_process_ends_what_another_is_writing";
    let mut child = start_test(name, &redis.url(), &id, 0);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut done = 0;
    while done < 20 {
        let line = lines.next().expect("a child works until it is told");
        done += usize::from(line.unwrap().ends_with("done"));
    }
    assert!(sessions.end_all_of("17").await.unwrap() >= 1);
    // The child ends by itself, with what it was told.
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    assert!(sessions.of_user("17").await.unwrap().is_empty());
    let seen = sessions.open(id).await.unwrap();
    assert_eq!(seen.state(), State::Absent);
}

/// Writes, and every third time asks for a new id, until it is told that the session has ended.
async fn write_until_gone(told: &str) {
    let (_, id, url) = understood(told);
    let sessions = Sessions::new(connect(url), Policy::default());
    let mut session = sessions.open(id).await.unwrap();
    assert_eq!(session.state(), State::Clean);
    for number in 0.. {
        session.set_bytes("n", number.to_string()).unwrap();
        if number % 3 == 2 {
            session.rotate();
        }
        match sessions.commit(&mut session).await {
            // One write a line. Whether anybody still listens is all the same.
            Ok(_) => drop(std::io::stdout().write_all(b"\ndone\n")),
            Err(CommitError::Gone) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(session.state(), State::Destroyed);
}

fn start(url: &str, id: &SessionId, number: usize) -> Child {
    let name = "line_07_two_processes_lose_nothing_and_one_is_killed";
    start_test(name, url, id, number)
}

fn start_test(name: &str, url: &str, id: &SessionId, number: usize) -> Child {
    let secret: Vec<String> = id
        .secret_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{number} {} {url}", secret.concat()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a child was told: its number, the session, and the address.
fn understood(told: &str) -> (&str, SessionId, &str) {
    let [number, secret, url] = told.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    let bytes =
        (0..SessionId::LEN).map(|i| u8::from_str_radix(&secret[2 * i..2 * i + 2], 16).unwrap());
    let id = SessionId::from_secret_bytes(bytes.collect::<Vec<u8>>().try_into().unwrap());
    (number, id, url)
}

/// Counts until it is killed.
async fn work(told: &str) {
    let (number, id, url) = understood(told);
    let sessions = Sessions::new(connect(url), Policy::default());
    let own = format!("own {number}");
    let mut session = sessions.open(id).await.unwrap();
    assert_eq!(session.state(), State::Clean);
    for _ in 0..100_000 {
        let updated = sessions.update(&mut session, |session| {
            for name in ["count", &own] {
                let present = session.get_bytes(name).unwrap_or_default();
                session
                    .set_bytes(name, [&present[..], b"x"].concat())
                    .unwrap();
            }
        });
        match updated.await {
            // One write a line. The parent may be gone, and then so are we.
            Ok(_) if std::io::stdout().write_all(b"\ndone\n").is_err() => return,
            Ok(_) | Err(CommitError::Contended { .. } | CommitError::TooLarge { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}
