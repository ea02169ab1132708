//! Commits that are made at the same moment go together, and each has its own outcome, on a real server.
//!
//! Whether calls share a message is a matter of the moment, so each scene is played until its commits did; what they
//! come to is checked each time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use purlin_core::Retry;
use purlin_redis::RedisSessionStore;
use purlin_session_store::{
    CommitOutcome, Entry, ErrorKind, Lifetime, Owner, Policy, Record, RotateOutcome, Session,
    SessionId, SessionKey, SessionStore, Sessions, Slide, StoreError, UserKey, Version,
};
use purlin_testkit::Redis;
use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use super::calls_of;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn store(redis: &Redis) -> RedisSessionStore {
    let builder = RedisSessionStore::builder().timeout(Duration::from_secs(10));
    builder.connect(&redis.url()).unwrap()
}

async fn raw(redis: &Redis) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn ask<T: FromRedisValue>(redis: &Redis, words: &[&str]) -> T {
    let mut command = redis::Cmd::new();
    command.arg(words);
    command.query_async(&mut raw(redis).await).await.unwrap()
}

/// How many commits were put in place together with others.
async fn n_together(redis: &Redis) -> usize {
    calls_of(redis, "rename").await
}

/// The names of rows that wait to be put in place.
async fn waiting(redis: &Redis) -> Vec<Vec<u8>> {
    ask(redis, &["KEYS", "purlin:session:new:*"]).await
}

/// Plays a scene until enough commits went together in it.
async fn until_together(redis: &Redis, n: usize, mut scene: impl AsyncFnMut()) {
    let began = Instant::now();
    loop {
        let before = n_together(redis).await;
        scene().await;
        assert!(waiting(redis).await.is_empty());
        if n_together(redis).await - before >= n {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "they never do");
    }
}

/// A new session, whose head this store has seen.
async fn seen(store: &RedisSessionStore, user: Option<UserKey>) -> SessionKey {
    let key = SessionId::random().unwrap().key();
    let mut record = Record::new("0", Lifetime::new(HOUR, 12 * HOUR));
    if let Some(user) = user {
        record = record.with_owner(Owner::User { user, cap: None });
    }
    let _ = store.create(&key, record).await.unwrap();
    assert_eq!(loaded(store, &key).await.unwrap().payload, "0");
    key
}

async fn loaded(store: &RedisSessionStore, key: &SessionKey) -> Option<Entry> {
    store.load(key, Slide::to(HOUR)).await.unwrap()
}

fn next(payload: &str) -> Record {
    Record::new(payload.to_owned(), Lifetime::new(2 * HOUR, Duration::MAX))
}

/// All at the same moment, by a task each.
async fn commit_all(
    store: &RedisSessionStore,
    commits: impl IntoIterator<Item = (SessionKey, Version, &str)>,
) -> Vec<Result<CommitOutcome, StoreError>> {
    let mut tasks = Vec::new();
    for (key, version, payload) in commits {
        let (store, record) = (store.clone(), next(payload));
        tasks.push(tokio::spawn(async move {
            store.commit(&key, version, record).await
        }));
    }
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

fn minutes_of(time: Duration) -> u64 {
    // Up, as some of it has passed.
    time.as_secs().div_ceil(60)
}

#[tokio::test]
async fn each_session_of_those_that_go_together_becomes_what_it_would_alone() {
    let redis = Redis::start().unwrap();
    let (store, user) = (store(&redis), UserKey::of("17"));
    until_together(&redis, 8, async || {
        let mut keys = Vec::new();
        for i in 0..8 {
            keys.push(seen(&store, (i % 2 == 0).then_some(user)).await);
        }
        let commits = keys.iter().map(|key| (*key, Version::FIRST, "1"));
        for outcome in commit_all(&store, commits).await {
            let committed = CommitOutcome::Committed(Version(2));
            assert_eq!(outcome.unwrap(), committed);
        }
        for (i, key) in keys.iter().enumerate() {
            let entry = loaded(&store, key).await.unwrap();
            assert_eq!((entry.version, &entry.payload[..]), (Version(2), &b"1"[..]));
            // The deadline moved out, the absolute one stayed, and the session is whose it was.
            assert_eq!(minutes_of(entry.remaining.idle), 120);
            assert_eq!(minutes_of(entry.remaining.absolute), 12 * 60);
            assert_eq!(entry.owner, (i % 2 == 0).then_some(user));
            let name = [b"purlin:session:", &key.as_bytes()[..]].concat();
            let mut end = redis::cmd("PTTL");
            let left: u64 = end
                .arg(name)
                .query_async(&mut raw(&redis).await)
                .await
                .unwrap();
            assert_eq!(
                minutes_of(Duration::from_millis(left)),
                120,
                "it ends by itself"
            );
        }
        let listed = store.by_user(&user).await.unwrap();
        assert!(keys.iter().step_by(2).all(|key| listed.contains(key)));
    })
    .await;
}

/// What was remembered is older than what is there, in every way that there is.
#[tokio::test]
async fn one_that_somebody_was_faster_on_is_refused_and_the_others_are_done() {
    let redis = Redis::start().unwrap();
    let (store, other) = (store(&redis), store(&redis));
    until_together(&redis, 4, async || {
        let mut keys = Vec::new();
        for _ in 0..8 {
            keys.push(seen(&store, None).await);
        }
        let [written, ended, moved, .., slid] = &keys[..] else {
            unreachable!()
        };
        let _ = other
            .commit(written, Version::FIRST, next("2"))
            .await
            .unwrap();
        assert!(other.delete(ended).await.unwrap());
        let to = SessionId::random().unwrap().key();
        let rotated = other
            .rotate(moved, &to, Version::FIRST, next("2"), HOUR)
            .await;
        assert_eq!(rotated.unwrap(), RotateOutcome::Rotated(Version(2)));
        // The version stays, and the deadline is one that nobody here has seen.
        let longer = other
            .load(slid, Slide::to(3 * HOUR))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(minutes_of(longer.remaining.idle), 180);

        let commits = keys.iter().map(|key| (*key, Version::FIRST, "1"));
        let outcomes = commit_all(&store, commits).await;
        for (key, outcome) in keys.iter().zip(outcomes) {
            match outcome.unwrap() {
                CommitOutcome::Conflict(entry) if key == written => {
                    assert_eq!((entry.version, &entry.payload[..]), (Version(2), &b"2"[..]));
                }
                CommitOutcome::Gone if key == ended => {}
                CommitOutcome::Superseded(by) if key == moved => assert_eq!(by, to),
                CommitOutcome::Committed(Version(2)) => {
                    assert!(![written, ended, moved].contains(&key));
                    let entry = loaded(&other, key).await.unwrap();
                    assert_eq!(entry.payload, "1");
                    let minutes = if key == slid { 180 } else { 120 };
                    assert_eq!(minutes_of(entry.remaining.idle), minutes, "never in");
                }
                wrong => panic!("{wrong:?}"),
            }
        }
        assert_eq!(loaded(&other, ended).await, None);
        assert_eq!(loaded(&other, &to).await.unwrap().payload, "2");
        assert_eq!(loaded(&other, written).await.unwrap().payload, "2");
    })
    .await;
}

#[tokio::test]
async fn of_two_commits_of_one_session_that_go_together_one_is_done() {
    let redis = Redis::start().unwrap();
    let store = store(&redis);
    // Two of them are on the way together, of which one is put in place.
    until_together(&redis, 1, async || {
        let key = seen(&store, None).await;
        let commits = [(key, Version::FIRST, "a"), (key, Version::FIRST, "b")];
        let outcomes = commit_all(&store, commits).await;
        let present = loaded(&store, &key).await.unwrap();
        assert_eq!(present.version, Version(2));
        let mut n_done = 0;
        for (outcome, payload) in outcomes.into_iter().zip(["a", "b"]) {
            match outcome.unwrap() {
                CommitOutcome::Committed(version) => {
                    assert_eq!(
                        (version, &present.payload[..]),
                        (Version(2), payload.as_bytes())
                    );
                    n_done += 1;
                }
                CommitOutcome::Conflict(entry) => assert_eq!(entry.payload, present.payload),
                wrong => panic!("{wrong:?}"),
            }
        }
        assert_eq!(n_done, 1);
    })
    .await;
}

#[tokio::test]
async fn the_script_is_sent_again_to_a_server_that_forgot_it() {
    let redis = Redis::start().unwrap();
    let store = store(&redis);
    until_together(&redis, 8, async || {
        let mut keys = Vec::new();
        for _ in 0..8 {
            keys.push(seen(&store, None).await);
        }
        let () = ask(&redis, &["SCRIPT", "FLUSH"]).await;
        let commits = keys.iter().map(|key| (*key, Version::FIRST, "1"));
        for outcome in commit_all(&store, commits).await {
            assert_eq!(outcome.unwrap(), CommitOutcome::Committed(Version(2)));
        }
    })
    .await;
}

/// Commits many at once a few times. Once it is found out that they cannot go together, it is not tried again.
async fn all_go_alone(redis: &Redis) {
    let store = store(redis);
    for round in 0..4 {
        let before = calls_of(redis, "set").await;
        let mut keys = Vec::new();
        for _ in 0..8 {
            keys.push(seen(&store, None).await);
        }
        let commits = keys.iter().map(|key| (*key, Version::FIRST, "1"));
        for outcome in commit_all(&store, commits).await {
            assert_eq!(outcome.unwrap(), CommitOutcome::Committed(Version(2)));
        }
        for key in &keys {
            assert_eq!(loaded(&store, key).await.unwrap().payload, "1");
        }
        assert!(waiting(redis).await.is_empty());
        // One to make each session, and one to commit it.
        let n_sets = calls_of(redis, "set").await - before;
        assert!(round == 0 || n_sets == 16, "{n_sets}");
    }
}

/// A server of a cluster takes no script on keys that may live on several.
#[tokio::test]
async fn on_a_server_of_a_cluster_each_commit_goes_alone() {
    let redis = Redis::start_with(&["--cluster-enabled", "yes"]).unwrap();
    let () = ask(&redis, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let began = Instant::now();
    loop {
        let info: String = ask(&redis, &["CLUSTER", "INFO"]).await;
        if info.contains("cluster_state:ok") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{info}");
        tokio::task::yield_now().await;
    }
    all_go_alone(&redis).await;
}

#[tokio::test]
async fn where_rows_may_not_be_renamed_each_commit_goes_alone() {
    let redis = Redis::start().unwrap();
    let () = ask(&redis, &["ACL", "SETUSER", "default", "-rename"]).await;
    all_go_alone(&redis).await;
}

/// Whatever a broken connection leaves undone, nothing that was acknowledged is lost, no outcome is made up, and what is
/// left on the way ends by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_lose_no_commit_that_was_acknowledged() {
    let redis = Redis::start().unwrap();
    let store = store(&redis);
    let mut cutter = raw(&redis).await;
    let mut writers = JoinSet::new();
    for _ in 0..32 {
        let (store, key) = (store.clone(), seen(&store, None).await);
        writers.spawn(async move {
            let (mut version, mut n_unknown) = (Version::FIRST, 0);
            for _ in 0..30 {
                let payload = version.next().0.to_string();
                match store.commit(&key, version, next(&payload)).await {
                    Ok(CommitOutcome::Committed(now)) => version = now,
                    Ok(other) => panic!("nobody else writes: {other:?}"),
                    Err(error) => {
                        let kind = error.kind();
                        let broken = [ErrorKind::Interrupted, ErrorKind::Unavailable];
                        assert!(broken.contains(&kind), "{error:?}");
                        // It has happened or not, as a whole. A call after it finds out which.
                        let found = loop {
                            match store.load(&key, Slide::No).await {
                                Ok(found) => break found.expect("it lives"),
                                Err(error) => assert_ne!(error.retry(), Retry::NEVER),
                            }
                            tokio::task::yield_now().await;
                        };
                        assert!([version, version.next()].contains(&found.version));
                        assert!(kind == ErrorKind::Interrupted || found.version == version);
                        let payload = found.payload.to_vec();
                        let known = if found.version == Version::FIRST {
                            0
                        } else {
                            found.version.0
                        };
                        assert_eq!(payload, known.to_string().into_bytes());
                        version = found.version;
                        n_unknown += 1;
                    }
                }
            }
            n_unknown
        });
    }
    let mut n_unknown = 0;
    while !writers.is_empty() {
        let mut kill = redis::cmd("CLIENT");
        kill.arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]);
        let _: usize = kill.query_async(&mut cutter).await.unwrap();
        tokio::task::yield_now().await;
        while let Some(ended) = writers.try_join_next() {
            n_unknown += ended.unwrap();
        }
    }
    assert!(n_unknown > 0, "no call met a connection that was cut");
    for name in waiting(&redis).await {
        let left: i64 = redis::cmd("PTTL")
            .arg(name)
            .query_async(&mut cutter)
            .await
            .unwrap();
        assert!(left > 0, "it ends by itself");
    }
}

/// Many writers of a few sessions over two connections, as two processes have: every update is there, and many went
/// together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_go_together_over_two_connections_lose_no_update() {
    let redis = Redis::start().unwrap();
    let both = [store(&redis), store(&redis)]
        .map(|store| Arc::new(Sessions::new(store, Policy::default())));
    for n_writers in [2, 32, 256] {
        let mut ids = Vec::new();
        for _ in 0..8 {
            let mut session = Session::absent();
            session.set_bytes("count", "").unwrap();
            let _ = both[0].commit(&mut session).await.unwrap();
            ids.push(session.id().unwrap().clone());
        }
        let mut writers = JoinSet::new();
        for i in 0..n_writers {
            let (sessions, id) = (Arc::clone(&both[i % 2]), ids[i / 2 % 8].clone());
            writers.spawn(async move {
                let mut session = sessions.open(id).await.unwrap();
                for _ in 0..2 {
                    // Somebody gets through each time, so every writer does in the end.
                    while let Err(error) = sessions
                        .update(&mut session, |session| {
                            let count = session.get_bytes("count").unwrap_or_default();
                            let more = [&count[..], b"x"].concat();
                            session.set_bytes("count", more).unwrap();
                        })
                        .await
                    {
                        assert_ne!(error.retry(), Retry::NEVER, "{error:?}");
                    }
                }
            });
        }
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        let mut sum = 0;
        for id in ids {
            let session = both[1].open(id).await.unwrap();
            sum += session.get_bytes("count").unwrap().len();
        }
        assert_eq!(sum, 2 * n_writers);
    }
    assert!(n_together(&redis).await > 0);
    assert!(waiting(&redis).await.is_empty());
}
