//! Loads that are made at the same moment share a command, and each has its own answer, on a real server.

use super::*;

const EVERY_USE: Slide = Slide::To {
    idle: HOUR,
    min_gain: Duration::ZERO,
};

/// What each load says, by a task each, in a message of their own.
async fn load_all(
    store: &RedisSessionStore,
    keys: &[SessionKey],
    slide: Slide,
) -> Vec<Result<Option<String>, ErrorKind>> {
    let mut tasks = Vec::new();
    for key in keys {
        let (store, key) = (store.clone(), *key);
        tasks.push(tokio::spawn(async move { store.load(&key, slide).await }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        let payload =
            |entry: purlin_session_store::Entry| String::from_utf8(entry.payload.to_vec()).unwrap();
        let answer = task.await.unwrap().map(|entry| entry.map(payload));
        answers.push(answer.map_err(|error| error.kind()));
    }
    answers
}

/// The same, so often that some of them shared a command: that is a matter of the moment.
async fn until_fetched_at_once(redis: &Redis, scene: impl AsyncFn()) {
    let began = Instant::now();
    let before = calls_of(redis, "mget").await;
    while calls_of(redis, "mget").await - before < 4 {
        scene().await;
        assert!(began.elapsed() < Duration::from_secs(30), "they never do");
    }
}

fn patient(redis: &Redis) -> RedisSessionStore {
    let builder = RedisSessionStore::builder().timeout(Duration::from_secs(10));
    builder.connect(&redis.url()).unwrap()
}

#[tokio::test]
async fn no_failure_is_taken_for_a_session_that_is_not_there() {
    let redis = Redis::start().unwrap();
    let store = patient(&redis);
    let keys = [key(), key(), key(), key()];
    for key in &keys[..2] {
        let created = store.create(key, record("cart")).await.unwrap();
        assert_eq!(created, CreateOutcome::Created(Version::FIRST));
    }
    // Nobody wrote the third, and the fourth is something else, of which `MGET` says nil as well.
    let name = [b"purlin:session:", &keys[3].as_bytes()[..]].concat();
    let mut other = Cmd::new();
    other.arg("RPUSH").arg(name).arg("x");
    let () = other.query_async(&mut raw(&redis).await).await.unwrap();
    let cart = Ok(Some("cart".to_owned()));
    let expected = [cart.clone(), cart, Ok(None), Err(ErrorKind::Corrupt)];
    for slide in [Slide::No, Slide::to(HOUR), EVERY_USE] {
        until_fetched_at_once(&redis, async || {
            assert_eq!(load_all(&store, &keys, slide).await, expected, "{slide:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn where_rows_may_not_be_fetched_at_once_each_load_asks_alone() {
    let redis = Redis::start().unwrap();
    let store = patient(&redis);
    let keys = [key(), key(), key()];
    for key in &keys[..2] {
        let created = store.create(key, record("cart")).await.unwrap();
        assert_eq!(created, CreateOutcome::Created(Version::FIRST));
    }
    let mut forbid = Cmd::new();
    forbid.arg(&["ACL", "SETUSER", "default", "-mget"]);
    let () = forbid.query_async(&mut raw(&redis).await).await.unwrap();
    let cart = Ok(Some("cart".to_owned()));
    let began = Instant::now();
    while n_refused(&redis).await == 0 {
        let loaded = load_all(&store, &keys, Slide::to(HOUR)).await;
        assert_eq!(loaded, [cart.clone(), cart.clone(), Ok(None)]);
        assert!(began.elapsed() < Duration::from_secs(30), "they never do");
    }
    for slide in [Slide::No, EVERY_USE, EVERY_USE] {
        let loaded = load_all(&store, &keys, slide).await;
        assert_eq!(loaded, [cart.clone(), cart.clone(), Ok(None)]);
    }
    assert_eq!(n_refused(&redis).await, 1, "it is not tried again");
}

/// How often the server did not let somebody fetch rows at once.
async fn n_refused(redis: &Redis) -> usize {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut raw(redis).await)
        .await
        .unwrap();
    let line = stats.lines().find(|line| line.starts_with("cmdstat_mget:"));
    let refused = line.and_then(|line| line.split("rejected_calls=").nth(1));
    refused.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}
