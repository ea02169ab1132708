//! Servers that fail, and what is at a limit.

use super::*;

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
