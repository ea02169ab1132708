//! What is asked of the server, and that it is no more than that.

use super::*;

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

const ALWAYS_AN_HOUR: Slide = Slide::To {
    idle: HOUR,
    min_gain: Duration::ZERO,
};

/// Waits by the server's clock: it is told to wait so long for something that does not come.
async fn server_waits(redis: &Redis, time: Duration) {
    let mut wait = redis::cmd("BLPOP");
    wait.arg("nothing").arg(time.as_secs_f64() + 0.005);
    let waited: Value = wait.query_async(&mut raw(redis).await).await.unwrap();
    assert_eq!(waited, Value::Nil);
}

/// The key's end is beyond the absolute deadline, and nobody has looked since: the commit is the first to find out, and by
/// text alone.
#[tokio::test]
async fn a_commit_after_the_absolute_deadline_of_a_row_whose_key_is_still_there_is_refused() {
    let redis = Redis::start().unwrap();
    let (store, other) = (store(&redis), key());
    let _ = store.create(&other, record("x")).await.unwrap();
    let began = Instant::now();
    loop {
        let one = key();
        let short = Duration::from_millis(100);
        let created = Record::new("0", Lifetime::new(short, short));
        let _ = store.create(&one, created).await.unwrap();
        // The first has the row say that its key's end counts, the second moves the key.
        let _ = store.load(&one, ALWAYS_AN_HOUR).await.unwrap();
        let _ = store.load(&one, ALWAYS_AN_HOUR).await.unwrap();
        server_waits(&redis, short).await;
        // Tells the time, so that the commit need not ask for it.
        assert!(store.touch(&other, Slide::No).await.unwrap());
        let name = [b"purlin:session:", &one.as_bytes()[..]].concat();
        let mut exists = redis::cmd("EXISTS");
        let is_there: bool = exists
            .arg(name)
            .query_async(&mut raw(&redis).await)
            .await
            .unwrap();
        let late = Record::new("1", Lifetime::new(HOUR, Duration::MAX));
        let outcome = store.commit(&one, Version::FIRST, late).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Gone);
        if is_there {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the key never outlasts it"
        );
    }
}

/// What the row says is past; what counts is its key's end, and every script knows.
#[tokio::test]
async fn a_session_whose_end_was_moved_by_its_key_alone_lives_until_then() {
    let redis = Redis::start().unwrap();
    let store = store(&redis);
    let began = Instant::now();
    loop {
        let one = key();
        let short = Duration::from_millis(200);
        let _ = store
            .create(&one, Record::new("0", Lifetime::new(short, HOUR)))
            .await
            .unwrap();
        let briefly = Slide::To {
            idle: short,
            min_gain: Duration::ZERO,
        };
        // Marks the row, which says when it would have ended.
        let _ = store.load(&one, briefly).await.unwrap();
        let gets = calls_of(&redis, "pexpireat").await;
        let moved = store.load(&one, ALWAYS_AN_HOUR).await.unwrap();
        let moves = calls_of(&redis, "pexpireat").await - gets;
        server_waits(&redis, short).await;
        if let (Some(_), 1) = (moved, moves) {
            let name = [b"purlin:session:", &one.as_bytes()[..]].concat();
            let mut head = redis::cmd("GETRANGE");
            head.arg(name).arg(9).arg(21);
            let mut server = raw(&redis).await;
            let till: u64 = head.query_async(&mut server).await.unwrap();
            let now: (u64, u64) = redis::cmd("TIME").query_async(&mut server).await.unwrap();
            // By the script that loads it, which would end it otherwise.
            assert!(store.touch(&one, Slide::No).await.unwrap());
            let entry = store.load(&one, Slide::No).await.unwrap().unwrap();
            assert!(entry.remaining.idle > HOUR - Duration::from_secs(60));
            if till < now.0 * 1000 {
                return;
            }
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "it is never moved in time"
        );
    }
}
