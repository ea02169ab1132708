//! Sessions within requests: what is written, what is refused, and what two requests do to each other.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use purlin_core::{ManualClock, Safety};
use purlin_session_store::conformance::{Call, Faulty};
use purlin_session_store::{
    CommitError, CommitOutcome, CreateOutcome, ErrorKind, FieldError, Lifetime, MemoryStore,
    OpenError, PayloadError, Policy, Record, Saved, Session, SessionId, SessionStore, Sessions,
    Slide, State, Version, WhenCorrupt,
};
use tokio::sync::Barrier;

fn memory() -> Arc<Sessions<MemoryStore>> {
    Arc::new(Sessions::new(MemoryStore::new(), Policy::default()))
}

/// The same for `n` requests that all commit at once: each can come second to every other once, and to none
/// twice.
fn memory_for(n: usize) -> Arc<Sessions<MemoryStore>> {
    let attempts = u32::try_from(n).ok().and_then(NonZeroU32::new).unwrap();
    Arc::new(Sessions::new(
        MemoryStore::new(),
        Policy::default().attempts(attempts),
    ))
}

/// A stored session with one field, and its id.
async fn stored<S: SessionStore>(
    sessions: &Sessions<S>,
    field: &str,
    value: &'static str,
) -> SessionId {
    let mut session = Session::absent();
    session.set_bytes(field, value).unwrap();
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Created);
    session.id().unwrap().clone()
}

fn text(session: &Session, field: &str) -> Option<String> {
    session
        .get_bytes(field)
        .map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[tokio::test]
async fn a_session_goes_through_its_states() {
    let sessions = memory();
    let mut session = Session::absent();
    assert_eq!(session.state(), State::Absent);
    assert_eq!(
        sessions.commit(&mut session).await.unwrap(),
        Saved::Unchanged
    );
    assert!(session.id().is_none());

    session.set_bytes("a", "1").unwrap();
    assert_eq!(session.state(), State::Dirty);
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Created);
    assert_eq!(session.state(), State::Clean);
    assert_eq!(
        sessions.commit(&mut session).await.unwrap(),
        Saved::Unchanged
    );

    session.set_bytes("a", "1").unwrap();
    assert_eq!(session.state(), State::Clean, "it is there already");
    session.set_bytes("b", "2").unwrap();
    assert_eq!(session.state(), State::Dirty);
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Written);

    let old = session.id().unwrap().clone();
    session.rotate();
    assert_eq!(session.state(), State::Rotated);
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Rotated);
    assert_eq!(session.state(), State::Clean);
    assert_ne!(session.id().unwrap().key(), old.key());
    assert_eq!(text(&session, "b").unwrap(), "2");

    session.destroy();
    assert_eq!(session.state(), State::Destroyed);
    assert_eq!(
        sessions.commit(&mut session).await.unwrap(),
        Saved::Destroyed
    );
    assert_eq!(session.state(), State::Destroyed);
    assert_eq!(
        sessions.commit(&mut session).await.unwrap(),
        Saved::Destroyed
    );
    assert!(session.id().is_none());
}

#[tokio::test]
async fn a_session_that_was_dropped_without_a_commit_left_no_trace() {
    let sessions = memory();
    let id = stored(&sessions, "a", "1").await;
    let mut failed = sessions.open(id.clone()).await.unwrap();
    failed.set_bytes("a", "2").unwrap();
    failed.rotate();
    drop(failed);
    let session = sessions.open(id).await.unwrap();
    assert_eq!(text(&session, "a").unwrap(), "1");
    assert!(!session.is_superseded());
}

#[tokio::test]
async fn fields_are_set_read_removed_and_listed() {
    let sessions = memory();
    let id = stored(&sessions, "b", "1").await;
    let mut session = sessions.open(id.clone()).await.unwrap();
    session.set_bytes("a", "2").unwrap();
    session.set_bytes("c", "3").unwrap();
    assert!(session.remove("c"));
    assert!(!session.remove("c"));
    assert!(session.remove("b"));
    assert_eq!(session.names().collect::<Vec<_>>(), ["a"]);
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Written);

    let mut session = sessions.open(id.clone()).await.unwrap();
    assert_eq!(session.names().collect::<Vec<_>>(), ["a"]);
    session.clear();
    session.set_bytes("d", "4").unwrap();
    assert_eq!(text(&session, "a"), None);
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Written);
    let session = sessions.open(id).await.unwrap();
    assert_eq!(session.names().collect::<Vec<_>>(), ["d"]);
}

#[tokio::test]
async fn set_and_removed_within_a_request_is_nothing_to_store() {
    let sessions = memory();
    let mut session = Session::absent();
    session.set_bytes("a", "1").unwrap();
    session.remove("a");
    assert_eq!(session.state(), State::Absent);
    assert_eq!(
        sessions.commit(&mut session).await.unwrap(),
        Saved::Unchanged
    );
    assert_eq!(sessions.store().stats().created, 0);
}

#[test]
fn a_name_is_neither_empty_nor_too_long() {
    let mut session = Session::absent();
    assert!(matches!(
        session.set_bytes("", "x"),
        Err(FieldError::Name { len: 0 })
    ));
    assert!(session.set_bytes(&"n".repeat(255), "x").is_ok());
    assert!(matches!(
        session.set_bytes(&"n".repeat(256), "x"),
        Err(FieldError::Name { len: 256 })
    ));
}

#[cfg(feature = "json")]
#[test]
fn typed_fields_come_back_as_their_type_or_as_an_error() {
    let mut session = Session::absent();
    session.set("cart", &[("hammer", 2)]).unwrap();
    let cart: Vec<(String, u32)> = session.get("cart").unwrap().unwrap();
    assert_eq!(cart, [("hammer".to_owned(), 2)]);
    assert_eq!(session.get::<u64>("absent").unwrap(), None);
    let wrong = session.get::<u64>("cart").unwrap_err();
    assert!(matches!(&wrong, FieldError::Decode { name, .. } if &**name == "cart"));
    assert_eq!(wrong.retry().safety, Safety::Never);
    let unkeyable = std::collections::BTreeMap::from([(vec![1], 1)]);
    assert!(matches!(
        session.set("map", &unkeyable),
        Err(FieldError::Encode { .. })
    ));
}

/// N requests at once, each with a field of its own: all are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_lose_no_field() {
    for n in [2, 32, 256] {
        let sessions = memory_for(n);
        let id = stored(&sessions, "seed", "x").await;
        let barrier = Arc::new(Barrier::new(n));
        let requests: Vec<_> = (0..n)
            .map(|i| {
                let (sessions, barrier, id) =
                    (Arc::clone(&sessions), Arc::clone(&barrier), id.clone());
                tokio::spawn(async move {
                    let mut session = sessions.open(id).await.unwrap();
                    session.set_bytes(&format!("field {i}"), "set").unwrap();
                    barrier.wait().await;
                    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Written);
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
        let session = sessions.open(id).await.unwrap();
        assert_eq!(session.names().count(), n + 1);
        assert!(
            sessions.store().stats().conflicts as usize >= n - 1,
            "nothing was concurrent"
        );
    }
}

/// N requests at once count the same field up: the sum is exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_updates_of_one_field_add_up() {
    for n in [2, 32, 256_usize] {
        let sessions = memory_for(n);
        let id = stored(&sessions, "count", "0").await;
        let barrier = Arc::new(Barrier::new(n));
        let requests: Vec<_> = (0..n)
            .map(|_| {
                let (sessions, barrier, id) =
                    (Arc::clone(&sessions), Arc::clone(&barrier), id.clone());
                tokio::spawn(async move {
                    let mut session = sessions.open(id).await.unwrap();
                    barrier.wait().await;
                    let count_up = |session: &mut Session| {
                        let count: usize = text(session, "count").unwrap().parse().unwrap();
                        session.set_bytes("count", (count + 1).to_string()).unwrap();
                        count + 1
                    };
                    sessions.update(&mut session, count_up).await.unwrap().0
                })
            })
            .collect();
        let mut results = Vec::new();
        for request in requests {
            results.push(request.await.unwrap());
        }
        results.sort_unstable();
        assert_eq!(
            results,
            (1..=n).collect::<Vec<_>>(),
            "each request saw a number of its own"
        );
        let session = sessions.open(id).await.unwrap();
        assert_eq!(text(&session, "count").unwrap(), n.to_string());
    }
}

#[tokio::test]
async fn of_two_changes_of_one_field_the_later_commit_stays() {
    let sessions = memory();
    let id = stored(&sessions, "a", "0").await;
    let mut one = sessions.open(id.clone()).await.unwrap();
    let mut two = sessions.open(id.clone()).await.unwrap();
    one.set_bytes("a", "one").unwrap();
    two.set_bytes("a", "two").unwrap();
    assert_eq!(sessions.commit(&mut two).await.unwrap(), Saved::Written);
    assert_eq!(sessions.commit(&mut one).await.unwrap(), Saved::Written);
    assert_eq!(text(&sessions.open(id).await.unwrap(), "a").unwrap(), "one");
}

#[tokio::test]
async fn changes_before_an_update_are_kept_in_every_run() {
    let sessions = memory();
    let id = stored(&sessions, "a", "0").await;
    let mut session = sessions.open(id.clone()).await.unwrap();
    session.set_bytes("before", "kept").unwrap();
    let mut other = sessions.open(id.clone()).await.unwrap();
    other.set_bytes("other", "first").unwrap();
    assert_eq!(sessions.commit(&mut other).await.unwrap(), Saved::Written);
    let mut runs = 0;
    let change = |session: &mut Session| {
        runs += 1;
        session
            .set_bytes("seen", text(session, "other").unwrap_or_default())
            .unwrap();
    };
    let ((), saved) = sessions.update(&mut session, change).await.unwrap();
    assert_eq!((runs, saved), (2, Saved::Written));
    let session = sessions.open(id).await.unwrap();
    assert_eq!(text(&session, "seen").unwrap(), "first");
    assert_eq!(text(&session, "before").unwrap(), "kept");
}

/// A request is under way when the user logs out.
#[tokio::test]
async fn logout_cannot_be_undone() {
    let sessions = memory();
    let id = stored(&sessions, "user", "42").await;
    for rotate in [false, true] {
        let id = if rotate {
            stored(&sessions, "user", "42").await
        } else {
            id.clone()
        };
        let mut late = sessions.open(id.clone()).await.unwrap();
        let mut logout = sessions.open(id.clone()).await.unwrap();
        logout.destroy();
        assert_eq!(
            sessions.commit(&mut logout).await.unwrap(),
            Saved::Destroyed
        );

        late.set_bytes("cart", "saw").unwrap();
        if rotate {
            late.rotate();
        }
        let error = sessions.commit(&mut late).await.unwrap_err();
        assert!(matches!(error, CommitError::Gone));
        assert_eq!(error.retry().safety, Safety::Never);
        assert_eq!(late.state(), State::Destroyed);
        // The second try neither revives it nor makes another session.
        assert_eq!(sessions.commit(&mut late).await.unwrap(), Saved::Destroyed);
        assert_eq!(sessions.open(id).await.unwrap().state(), State::Absent);
    }
    assert_eq!(sessions.store().stats().created, 2);
}

#[tokio::test]
async fn an_id_that_was_never_issued_is_not_adopted() {
    let sessions = memory();
    let planted = SessionId::from_secret_bytes([7; 32]);
    let mut session = sessions.open(planted.clone()).await.unwrap();
    assert_eq!(session.state(), State::Absent);
    session.set_bytes("user", "42").unwrap();
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Created);
    assert_ne!(session.id().unwrap().key(), planted.key());
    assert_eq!(sessions.open(planted).await.unwrap().state(), State::Absent);
}

#[tokio::test]
async fn after_a_rotation_the_old_id_reads_what_was_before_and_writes_nothing() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let sessions = Sessions::new(store, Policy::default());
    let old = stored(&sessions, "cart", "saw").await;
    let mut parallel = sessions.open(old.clone()).await.unwrap();
    let mut login = sessions.open(old.clone()).await.unwrap();
    login.set_bytes("user", "42").unwrap();
    login.rotate();
    assert_eq!(sessions.commit(&mut login).await.unwrap(), Saved::Rotated);

    // One that was under way, and one that arrives within the grace.
    parallel.set_bytes("cart", "hammer").unwrap();
    assert!(matches!(
        sessions.commit(&mut parallel).await,
        Err(CommitError::Superseded)
    ));
    let mut arrives = sessions.open(old.clone()).await.unwrap();
    assert!(arrives.is_superseded());
    assert_eq!(text(&arrives, "cart").unwrap(), "saw");
    assert_eq!(
        text(&arrives, "user"),
        None,
        "the old id never has the new privileges"
    );
    arrives.rotate();
    assert!(matches!(
        sessions.commit(&mut arrives).await,
        Err(CommitError::Superseded)
    ));

    clock.advance(Duration::from_secs(11));
    assert_eq!(sessions.open(old).await.unwrap().state(), State::Absent);
    let new = sessions.open(login.id().unwrap().clone()).await.unwrap();
    assert_eq!(
        (text(&new, "user").unwrap(), text(&new, "cart").unwrap()),
        ("42".into(), "saw".into())
    );
}

#[tokio::test]
async fn a_logout_with_the_old_id_within_the_grace_ends_the_session() {
    let sessions = memory();
    let old = stored(&sessions, "a", "1").await;
    let mut rotated = sessions.open(old.clone()).await.unwrap();
    rotated.rotate();
    assert_eq!(sessions.commit(&mut rotated).await.unwrap(), Saved::Rotated);
    let mut logout = sessions.open(old).await.unwrap();
    logout.destroy();
    assert_eq!(
        sessions.commit(&mut logout).await.unwrap(),
        Saved::Destroyed
    );
    let new = rotated.id().unwrap().clone();
    assert_eq!(sessions.open(new).await.unwrap().state(), State::Absent);
}

#[tokio::test]
async fn use_prolongs_a_session_up_to_its_absolute_end_and_is_seldom_written() {
    let clock = ManualClock::new();
    let minute = Duration::from_secs(60);
    let store = Faulty::new(MemoryStore::builder().clock(clock.clone()).build());
    let policy = Policy::default().idle(minute * 20).absolute(minute * 60);
    let sessions = Sessions::new(store, policy);
    let id = stored(&sessions, "a", "1").await;
    // A request a second for an hour less a minute.
    let mut moves = 0;
    let mut left = Duration::ZERO;
    for _ in 0..59 * 60 {
        clock.advance(Duration::from_secs(1));
        let session = sessions.open(id.clone()).await.unwrap();
        let remaining = session.remaining().unwrap();
        moves += usize::from(remaining.idle > left);
        left = remaining.idle;
    }
    assert!(moves <= 60, "{moves} moves in three idle windows");
    let store = sessions.store();
    assert_eq!(
        (store.calls(), store.calls_of(Call::Load)),
        (59 * 60 + 1, 59 * 60),
        "the session was only read"
    );
    clock.advance(minute);
    assert_eq!(sessions.open(id).await.unwrap().state(), State::Absent);
}

#[tokio::test]
async fn an_unused_session_ends() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let sessions = Sessions::new(store, Policy::default());
    let id = stored(&sessions, "a", "1").await;
    clock.advance(Duration::from_secs(30 * 60 - 1));
    let mut session = sessions.open(id.clone()).await.unwrap();
    assert_eq!(session.state(), State::Clean);
    clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(sessions.open(id).await.unwrap().state(), State::Absent);
    session.set_bytes("a", "2").unwrap();
    assert!(matches!(
        sessions.commit(&mut session).await,
        Err(CommitError::Gone)
    ));
}

#[tokio::test]
async fn a_commit_is_use_too() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let sessions = Sessions::new(store, Policy::default());
    for rotate in [false, true] {
        let id = stored(&sessions, "a", "1").await;
        let mut session = sessions.open(id).await.unwrap();
        clock.advance(Duration::from_secs(20 * 60));
        session.set_bytes("a", "2").unwrap();
        if rotate {
            session.rotate();
        }
        assert!(sessions.commit(&mut session).await.is_ok());
        clock.advance(Duration::from_secs(20 * 60));
        let id = session.id().unwrap().clone();
        assert_eq!(sessions.open(id).await.unwrap().state(), State::Clean);
    }
}

#[test]
fn a_session_that_is_to_end_is_not_to_be_rotated() {
    let mut session = Session::absent();
    session.destroy();
    session.rotate();
    assert_eq!(session.state(), State::Destroyed);
}

#[tokio::test]
async fn a_change_can_be_taken_back_by_setting_the_old_value() {
    let sessions = memory();
    let id = stored(&sessions, "a", "1").await;
    let mut session = sessions.open(id.clone()).await.unwrap();
    session.set_bytes("a", "2").unwrap();
    session.set_bytes("a", "1").unwrap();
    assert_eq!(text(&session, "a").unwrap(), "1");
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Written);
    assert_eq!(text(&sessions.open(id).await.unwrap(), "a").unwrap(), "1");
}

#[tokio::test]
async fn a_session_that_is_not_there_costs_no_store_call() {
    let sessions = Sessions::new(Faulty::new(MemoryStore::new()), Policy::default());
    let mut session = Session::absent();
    session.rotate();
    assert_eq!(
        sessions.commit(&mut session).await.unwrap(),
        Saved::Unchanged
    );
    session.destroy();
    assert_eq!(
        sessions.commit(&mut session).await.unwrap(),
        Saved::Destroyed
    );
    assert_eq!(sessions.store().calls(), 0);
}

/// A store that fails is not a store without the session.
#[tokio::test]
async fn a_failing_store_is_an_error_and_never_an_empty_session() {
    let sessions = Sessions::new(Faulty::new(MemoryStore::new()), Policy::default());
    let id = stored(&sessions, "a", "1").await;
    sessions.store().fail(ErrorKind::Unavailable);
    let error = sessions.open(id.clone()).await.unwrap_err();
    assert!(matches!(&error, OpenError::Store(error) if error.kind() == ErrorKind::Unavailable));
    assert_eq!(error.retry().safety, Safety::Safe);

    sessions.store().heal();
    let mut session = sessions.open(id.clone()).await.unwrap();
    session.set_bytes("b", "2").unwrap();
    sessions.store().fail(ErrorKind::Interrupted);
    let error = sessions.commit(&mut session).await.unwrap_err();
    assert_eq!(error.retry().safety, Safety::IfIdempotent);
    sessions.store().heal();
    assert_eq!(
        sessions.commit(&mut session).await.unwrap(),
        Saved::Written,
        "the changes were kept"
    );
    assert_eq!(text(&sessions.open(id).await.unwrap(), "b").unwrap(), "2");
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_is_not_written_over() {
    let sessions = memory();
    let lifetime = Lifetime::new(Duration::MAX, Duration::MAX);
    for (payload, expected) in [
        (&b"\xffgarbage"[..], PayloadError::Newer { format: 255 }),
        (&b"\x00"[..], PayloadError::Corrupt),
        (&b""[..], PayloadError::Corrupt),
    ] {
        let id = SessionId::random().unwrap();
        let outcome = sessions
            .store()
            .create(&id.key(), Record::new(payload, lifetime))
            .await
            .unwrap();
        assert_eq!(outcome, CreateOutcome::Created(Version::FIRST));
        let error = sessions.open(id.clone()).await.unwrap_err();
        assert!(matches!(error, OpenError::Payload(error) if error == expected));
        let entry = sessions
            .store()
            .load(&id.key(), Slide::No)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(entry.payload, payload);
    }

    // Another program writes it between the load and the commit.
    let id = stored(&sessions, "a", "1").await;
    let mut session = sessions.open(id.clone()).await.unwrap();
    session.set_bytes("a", "2").unwrap();
    let foreign = Record::new(&b"\x00"[..], lifetime);
    let outcome = sessions
        .store()
        .commit(&id.key(), Version::FIRST, foreign)
        .await
        .unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(Version(2)));
    let error = sessions.commit(&mut session).await.unwrap_err();
    assert!(matches!(error, CommitError::Payload(PayloadError::Corrupt)));
}

/// So that nobody is shut out for ever by bytes that no version will read; but what a later one can read stays.
#[tokio::test]
async fn what_is_corrupt_is_ended_if_the_policy_says_so() {
    let policy = Policy::default().when_corrupt(WhenCorrupt::End);
    let sessions = Sessions::new(MemoryStore::new(), policy);
    let lifetime = Lifetime::new(Duration::MAX, Duration::MAX);
    for (payload, is_corrupt) in [(&b"\x00"[..], true), (b"", true), (b"\xffnewer", false)] {
        let id = SessionId::random().unwrap();
        let record = Record::new(payload, lifetime);
        let created = sessions.store().create(&id.key(), record).await.unwrap();
        assert_eq!(created, CreateOutcome::Created(Version::FIRST));
        match sessions.open(id.clone()).await {
            Ok(session) => assert!(is_corrupt && session.state() == State::Absent),
            Err(OpenError::Payload(error)) => {
                assert_eq!(error, PayloadError::Newer { format: 255 });
            }
            Err(error) => panic!("{error:?}"),
        }
        let stored = sessions.store().load(&id.key(), Slide::No).await.unwrap();
        assert_eq!(stored.is_none(), is_corrupt);
    }
}

#[tokio::test]
async fn a_session_too_large_for_the_policy_is_refused_and_stays_as_it_was() {
    let sessions = Sessions::new(MemoryStore::new(), Policy::default().max_len(100));
    let id = stored(&sessions, "a", "1").await;
    let mut session = sessions.open(id.clone()).await.unwrap();
    session.set_bytes("b", vec![0; 100]).unwrap();
    let error = sessions.commit(&mut session).await.unwrap_err();
    assert!(
        matches!(
            error,
            CommitError::TooLarge {
                len: 115,
                limit: 100
            }
        ),
        "{error:?}"
    );
    session.set_bytes("b", "2").unwrap();
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Written);
}

#[tokio::test]
async fn a_schema_number_is_stored_and_never_lowered() {
    let store = Arc::new(MemoryStore::new());
    let newer = Sessions::new(Arc::clone(&store), Policy::default().schema(2));
    let older = Sessions::new(Arc::clone(&store), Policy::default().schema(1));
    let id = stored(&newer, "a", "1").await;
    let mut session = older.open(id.clone()).await.unwrap();
    assert_eq!(session.schema(), 2);
    session.set_bytes("a", "2").unwrap();
    assert_eq!(older.commit(&mut session).await.unwrap(), Saved::Written);
    assert_eq!(newer.open(id).await.unwrap().schema(), 2);
}

#[tokio::test]
async fn a_commit_gives_up_after_its_attempts_and_can_be_tried_again() {
    let policy = Policy::default().attempts(NonZeroU32::new(3).unwrap());
    let store = Faulty::new(MemoryStore::new()).giving_way();
    let sessions = Sessions::new(store, policy);
    let id = stored(&sessions, "a", "1").await;
    let mut session = sessions.open(id.clone()).await.unwrap();
    session.set_bytes("b", "2").unwrap();
    let error = committed_second(&sessions, &mut session, 3).await;
    let error = error.unwrap_err();
    assert!(matches!(error, CommitError::Contended { attempts: 3 }));
    assert_eq!(error.retry().safety, Safety::Safe);
    let saved = committed_second(&sessions, &mut session, 2).await.unwrap();
    assert_eq!(saved, Saved::Written);
    assert_eq!(text(&sessions.open(id).await.unwrap(), "b").unwrap(), "2");
}

/// A commit whose first attempts each come second to somebody else's.
async fn committed_second(
    sessions: &Sessions<Faulty<MemoryStore>>,
    session: &mut Session,
    times: u64,
) -> Result<Saved, CommitError> {
    let store = sessions.store();
    let key = session.id().unwrap().key();
    let mut n_attempts = store.calls_of(Call::Commit);
    let last = n_attempts + times;
    let mut commit = pin!(sessions.commit(session));
    loop {
        let polled = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
        if let Poll::Ready(outcome) = polled {
            return outcome;
        }
        // It waits before an attempt, and with its answer.
        if n_attempts < last && store.calls_of(Call::Commit) > n_attempts {
            n_attempts += 1;
            let store = store.store();
            let other = store.load(&key, Slide::No).await.unwrap().unwrap();
            let write = Record::new(other.payload, other.remaining);
            let outcome = store.commit(&key, other.version, write).await.unwrap();
            assert!(matches!(outcome, CommitOutcome::Committed(_)));
        }
    }
}

#[tokio::test]
async fn seeded_ids_repeat() {
    let first = Sessions::new(MemoryStore::new(), Policy::default()).with_seeded_ids(7);
    let second = Sessions::new(MemoryStore::new(), Policy::default()).with_seeded_ids(7);
    let (a, b) = (
        stored(&first, "a", "1").await,
        stored(&second, "a", "1").await,
    );
    assert_eq!(a.key(), b.key());
    assert_ne!(stored(&first, "a", "1").await.key(), a.key());
}
