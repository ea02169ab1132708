//! The redb session store does what the naive model does, survives a restart, and sweeps what expires and no more. That
//! it keeps the contract is tested beside it, on a disk in memory: some 40 000 commits.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use purlin_core::{Clock, ManualClock, Retry, Tick, WallTime};
use purlin_redb::{OffloadedSessionStore, OpenError, RedbQueue, RedbSessionStore};
use purlin_session_store::conformance::Model;
use purlin_session_store::{
    Cap, CommitOutcome, CreateOutcome, ErrorKind, Lifetime, Owner, Policy, Record, RotateOutcome,
    Session, SessionId, SessionKey, SessionStore, Sessions, Slide, Swept, UserKey, Version,
};
use static_assertions::assert_impl_all;
use tempfile::TempDir;

assert_impl_all!(RedbSessionStore: Send, Sync, SessionStore, std::fmt::Debug);
assert_impl_all!(OffloadedSessionStore: Send, Sync, Clone, SessionStore, std::fmt::Debug);

const RETENTION: Duration = Duration::from_secs(300);
const MINUTE: Duration = Duration::from_secs(60);
const NOON: WallTime = WallTime::from_unix_millis(1_700_000_000_000);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    (folder, path)
}

fn open_at(path: &PathBuf, wall: WallTime) -> (ManualClock, RedbSessionStore<ManualClock>) {
    let clock = ManualClock::at_wall(wall);
    let store = RedbSessionStore::builder()
        .retention(RETENTION)
        .clock(clock.clone())
        .open(path)
        .unwrap();
    (clock, store)
}

fn key(number: u16) -> SessionKey {
    let mut secret = [0; SessionId::LEN];
    secret[..2].copy_from_slice(&number.to_le_bytes());
    SessionId::from_secret_bytes(secret).key()
}

fn record(payload: &'static str, idle: Duration) -> Record {
    Record::new(payload, Lifetime::new(idle, MINUTE * 600))
}

fn user(number: u8) -> UserKey {
    UserKey::of([number % 2])
}

/// Nobody's, or one of two users', with a cap of one or the other kind or none.
fn owner(number: u8) -> Owner {
    let cap = match number / 4 % 4 {
        0 => Some(Cap::reject(2)),
        1 => Some(Cap::evict_oldest(u32::from(number) % 3 + 1)),
        _ => None,
    };
    match number % 4 {
        0 => Owner::Unchanged,
        1 => Owner::Nobody,
        _ => Owner::User {
            user: user(number),
            cap,
        },
    }
}

#[tokio::test]
async fn offloaded_calls_that_come_at_once_lose_no_update() {
    let (_folder, path) = folder();
    let store = OffloadedSessionStore::new(RedbSessionStore::open(&path).unwrap());
    let sessions = std::sync::Arc::new(Sessions::new(store, Policy::default()));
    let mut session = Session::absent();
    session.set_bytes("first", "1").unwrap();
    let _ = sessions.commit(&mut session).await.unwrap();
    let id = session.id().unwrap().clone();
    let mut requests = tokio::task::JoinSet::new();
    for i in 0..32 {
        let (sessions, id) = (std::sync::Arc::clone(&sessions), id.clone());
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
    let session = sessions.open(id).await.unwrap();
    for i in 0..32 {
        assert!(session.get_bytes(&format!("field {i}")).is_some(), "{i}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_redb_store_does_what_the_model_does(
        steps in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 0..60),
    ) {
        let (_folder, path) = folder();
        let (mut clock, mut store) = open_at(&path, NOON);
        let mut model = Model::new(RETENTION);
        for (kind, a, b, c) in steps {
            let step = (kind, a, b, c);
            let now = Tick::ZERO.after(Duration::from_millis(clock.wall().as_unix_millis()));
            let (one, two) = (key(u16::from(a % 4)), key(u16::from(b % 4)));
            let version = Version(u64::from(b % 3) + 1);
            let idle = [Duration::ZERO, MINUTE, MINUTE * 10, Duration::MAX][usize::from(b % 4)];
            let lifetime = Lifetime::new(idle, [MINUTE * 5, Duration::MAX][usize::from(a % 2)]);
            let write = Record::new(vec![kind; usize::from(b)], lifetime).with_owner(owner(c));
            match kind % 10 {
                0 | 1 => prop_assert_eq!(
                    store.create(&one, write.clone()).unwrap(),
                    model.create(now, &one, write), "{:?}", step),
                2 => prop_assert_eq!(
                    store.load(&one, Slide::to(idle)).unwrap(),
                    model.load(now, &one, Slide::to(idle)), "{:?}", step),
                3 => prop_assert_eq!(
                    store.commit(&one, version, write.clone()).unwrap(),
                    model.commit(now, &one, version, write), "{:?}", step),
                4 | 5 => prop_assert_eq!(
                    store.rotate(&one, &two, version, write.clone(), idle).unwrap(),
                    model.rotate(now, &one, &two, version, write, idle), "{:?}", step),
                6 => prop_assert_eq!(
                    store.delete(&one).unwrap(), model.delete(now, &one), "{:?}", step),
                7 => clock.advance(Duration::from_secs(u64::from(b) * 2)),
                8 => {
                    let except = (b % 3 > 0).then_some(&two);
                    prop_assert_eq!(
                        store.revoke_user(&user(c), except).unwrap(),
                        model.revoke_user(now, &user(c), except), "{:?}", step);
                }
                _ if b % 4 == 0 => {
                    drop(store);
                    (clock, store) = open_at(&path, clock.wall());
                }
                _ => drop(store.sweep(usize::from(b)).unwrap()),
            }
            let now = Tick::ZERO.after(Duration::from_millis(clock.wall().as_unix_millis()));
            for number in 0..4 {
                let key = key(number);
                prop_assert_eq!(
                    store.load(&key, Slide::No).unwrap(),
                    model.load(now, &key, Slide::No), "{:?}", step);
            }
            for user in [user(0), user(1)] {
                prop_assert_eq!(
                    store.by_user(&user).unwrap(), model.by_user(now, &user), "{:?}", step);
            }
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let (_folder, path) = folder();
    let (clock, store) = open_at(&path, NOON);
    let _ = store.create(&key(1), record("one", MINUTE * 10)).unwrap();
    let _ = store.create(&key(2), record("two", MINUTE * 10)).unwrap();
    let _ = store.create(&key(3), record("three", MINUTE * 10)).unwrap();
    let _ = store
        .commit(&key(1), Version::FIRST, record("one more", MINUTE * 10))
        .unwrap();
    assert!(store.delete(&key(2)).unwrap());
    let _ = store
        .rotate(
            &key(3),
            &key(4),
            Version::FIRST,
            record("moved", MINUTE * 10),
            MINUTE,
        )
        .unwrap();
    clock.advance(MINUTE * 4);
    let wall = clock.wall();
    drop(store);

    let (_, store) = open_at(&path, wall);
    let entry = store.load(&key(1), Slide::No).unwrap().unwrap();
    assert_eq!(
        (entry.version, &entry.payload[..]),
        (Version(2), &b"one more"[..])
    );
    assert_eq!(
        entry.remaining,
        Lifetime::new(MINUTE * 6, MINUTE * 596),
        "the time between counts"
    );
    let back = record("back", MINUTE);
    assert_eq!(
        store.commit(&key(2), Version::FIRST, back.clone()).unwrap(),
        CommitOutcome::Gone
    );
    assert_eq!(
        store.create(&key(2), back.clone()).unwrap(),
        CreateOutcome::Collision
    );
    assert_eq!(store.load(&key(3), Slide::No).unwrap(), None, "grace over");
    assert_eq!(
        store.commit(&key(3), Version::FIRST, back).unwrap(),
        CommitOutcome::Superseded(key(4))
    );
}

/// What anybody was told has ended is over, whatever the wall clock says at the next start.
#[test]
fn a_clock_set_back_over_a_restart_revives_nothing_that_was_seen_to_have_ended() {
    let (_folder, path) = folder();
    let (clock, store) = open_at(&path, NOON);
    for number in 1..=5 {
        let _ = store.create(&key(number), record("x", MINUTE)).unwrap();
    }
    let moved = record("moved", MINUTE * 60);
    let rotated = store.rotate(&key(5), &key(6), Version::FIRST, moved, MINUTE / 2);
    assert_eq!(rotated.unwrap(), RotateOutcome::Rotated(Version(2)));
    clock.advance(MINUTE);
    let write = || record("back", MINUTE);
    assert_eq!(store.load(&key(1), Slide::No).unwrap(), None);
    assert!(!store.delete(&key(2)).unwrap());
    assert_eq!(
        store.commit(&key(3), Version::FIRST, write()).unwrap(),
        CommitOutcome::Gone
    );
    assert_eq!(store.load(&key(5), Slide::No).unwrap(), None);
    drop(store);

    let (_, store) = open_at(&path, WallTime::UNIX_EPOCH);
    for number in [1, 2, 3, 5] {
        assert_eq!(store.load(&key(number), Slide::No).unwrap(), None);
        let late = store.commit(&key(number), Version::FIRST, write());
        assert!(!matches!(late.unwrap(), CommitOutcome::Committed(_)));
    }
    assert!(!store.delete(&key(5)).unwrap(), "its grace is over");
    assert!(store.load(&key(6), Slide::No).unwrap().is_some());
}

#[test]
fn a_clock_that_steps_back_while_open_revives_nothing() {
    let (_folder, path) = folder();
    let (clock, store) = open_at(&path, NOON);
    let start = clock.now();
    let _ = store.create(&key(1), record("x", MINUTE)).unwrap();
    clock.advance(MINUTE);
    assert_eq!(store.load(&key(1), Slide::No).unwrap(), None);
    clock.jump_to(start);
    assert_eq!(store.load(&key(1), Slide::No).unwrap(), None);
    clock.set_wall(WallTime::UNIX_EPOCH);
    let _ = store.create(&key(2), record("x", MINUTE)).unwrap();
    let left = store.load(&key(2), Slide::No).unwrap().unwrap().remaining;
    assert_eq!(
        left.idle, MINUTE,
        "the wall clock is asked at the opening only"
    );
}

/// The sweep finds what is due by the index, and looks at no more than it was told to.
#[test]
fn a_sweep_keeps_to_its_budget_and_frees_what_expired() {
    let (_folder, path) = folder();
    let (clock, store) = open_at(&path, NOON);
    for number in 0..40 {
        let idle = if number % 2 == 0 { MINUTE } else { MINUTE * 60 };
        let _ = store.create(&key(number), record("x", idle)).unwrap();
    }
    // Used, so that its first deadline says nothing any more.
    let used = store.load(&key(0), Slide::to(MINUTE * 30)).unwrap();
    assert!(used.is_some());
    clock.advance(MINUTE * 2);
    let swept = store.sweep(5).unwrap();
    assert!(!swept.caught_up);
    assert!((4..=5).contains(&swept.removed), "{swept:?}");
    let rest = store.sweep(usize::MAX).unwrap();
    assert!(rest.caught_up);
    assert_eq!(swept.removed + rest.removed, 19);
    let nothing = Swept {
        removed: 0,
        caught_up: true,
    };
    assert_eq!(store.sweep(usize::MAX).unwrap(), nothing);
    assert_eq!(store.sweep(0).unwrap(), nothing);
    for number in 0..40 {
        let lives = number == 0 || number % 2 == 1;
        let found = store.load(&key(number), Slide::No).unwrap();
        assert_eq!(found.is_some(), lives, "{number}");
    }
}

/// Without anybody who calls `sweep`, a store that is written to does not grow.
#[test]
fn writes_free_what_expired() {
    let (_folder, path) = folder();
    let clock = ManualClock::at_wall(NOON);
    let store = RedbSessionStore::builder()
        .max_entries(60)
        .retention(MINUTE)
        .clock(clock.clone())
        .open(&path)
        .unwrap();
    for number in 0..400 {
        clock.advance(Duration::from_secs(2));
        let _ = store
            .create(&key(number * 2), record("x", MINUTE))
            .unwrap_or_else(|error| panic!("{number}: {error:?}"));
        if number % 2 == 0 {
            let (old, new) = (key(number * 2), key(number * 2 + 1));
            let _ = store
                .rotate(&old, &new, Version::FIRST, record("y", MINUTE), MINUTE)
                .unwrap();
        }
    }
}

#[test]
fn at_its_limits_it_refuses_and_gives_the_record_back() {
    let (_folder, path) = folder();
    let clock = ManualClock::at_wall(NOON);
    let store = RedbSessionStore::builder()
        .max_entries(2)
        .max_payload(4)
        .clock(clock.clone())
        .open(&path)
        .unwrap();
    let write = |payload| record(payload, MINUTE);
    let error = store.create(&key(1), write("12345")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.into_record(), Some(write("12345")));
    let _ = store.create(&key(1), write("1")).unwrap();
    let _ = store.create(&key(2), write("2")).unwrap();
    let error = store.create(&key(3), write("3")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(error.into_record(), Some(write("3")));
    let error = store
        .rotate(&key(1), &key(3), Version::FIRST, write("3"), MINUTE)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    let kept = store.load(&key(1), Slide::No).unwrap().unwrap();
    assert_eq!(&kept.payload[..], b"1");
    clock.advance(MINUTE);
    let _ = store.create(&key(3), write("3")).unwrap();
}

#[test]
fn neither_kind_of_file_is_taken_for_the_other() {
    let (_folder, path) = folder();
    drop(RedbQueue::open(&path).unwrap());
    let error = RedbSessionStore::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::NotSessions { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::NEVER);

    let (_folder, path) = folder();
    let store = RedbSessionStore::open(&path).unwrap();
    let held = RedbSessionStore::open(&path).unwrap_err();
    assert!(matches!(held, OpenError::Held { .. }), "{held:?}");
    drop(store);
    let error = RedbQueue::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::NotAQueue { .. }), "{error:?}");
}

#[test]
fn threads_that_commit_at_once_each_get_their_turn() {
    let (_folder, path) = folder();
    let store = RedbSessionStore::open(&path).unwrap();
    let _ = store
        .create(&key(0), Record::new(vec![0], Lifetime::new(MINUTE, MINUTE)))
        .unwrap();
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..10 {
                    let mut entry = store.load(&key(0), Slide::No).unwrap().unwrap();
                    loop {
                        let next = vec![entry.payload[0] + 1];
                        let write = Record::new(next, Lifetime::new(MINUTE, Duration::MAX));
                        match store.commit(&key(0), entry.version, write).unwrap() {
                            CommitOutcome::Committed(_) => break,
                            CommitOutcome::Conflict(present) => entry = present,
                            other => panic!("{other:?}"),
                        }
                    }
                }
            });
        }
    });
    let entry = store.load(&key(0), Slide::No).unwrap().unwrap();
    assert_eq!((entry.payload[0], entry.version), (80, Version(81)));
}

/// What `RedbSessionStore` says of its futures: unpolled they have done nothing, and one poll does everything.
#[test]
fn a_future_of_the_blocking_store_works_in_its_first_poll() {
    let (_folder, path) = folder();
    let store = RedbSessionStore::open(&path).unwrap();
    drop(SessionStore::create(&store, &key(1), record("x", MINUTE)));
    assert_eq!(store.load(&key(1), Slide::No).unwrap(), None);
    let mut cx = Context::from_waker(Waker::noop());
    let polled = pin!(SessionStore::create(&store, &key(1), record("x", MINUTE))).poll(&mut cx);
    assert!(matches!(polled, Poll::Ready(Ok(_))));
    assert!(store.load(&key(1), Slide::No).unwrap().is_some());
}

/// What `OffloadedSessionStore` says of its futures: unpolled they have done nothing, and once polled they do all of it
/// though they are dropped.
#[tokio::test]
async fn a_future_of_the_offloaded_store_runs_to_its_end_once_polled() {
    let (_folder, path) = folder();
    let store = OffloadedSessionStore::new(RedbSessionStore::open(&path).unwrap());
    let (one, two) = (key(1), key(2));
    drop(store.create(&one, record("x", MINUTE)));
    {
        let mut cx = Context::from_waker(Waker::noop());
        let mut dropped = pin!(store.create(&two, record("y", MINUTE)));
        let _: Poll<_> = dropped.as_mut().poll(&mut cx);
    }
    // Waits on a condition: nobody else will create it.
    while store.load(&two, Slide::No).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.load(&one, Slide::No).await.unwrap(), None);
}
