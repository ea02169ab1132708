//! Limits, expiry and concurrency of the memory store.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::{Arc, Barrier};
use std::time::Duration;

use bytes::Bytes;
use purlin_core::{ManualClock, Safety, Tick};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, ErrorKind, Lifetime, MemoryStore, Owner, Record, RotateOutcome,
    SessionId, SessionKey, SessionStore, Slide, StoreError, Swept, UserKey, Version,
};

const MINUTE: Duration = Duration::from_secs(60);
const LONG: Lifetime = Lifetime::new(Duration::MAX, Duration::MAX);
const ENTRY: usize = MemoryStore::<ManualClock>::ENTRY_BYTES;

fn key(number: u64) -> SessionKey {
    let mut bytes = [0; SessionId::LEN];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    SessionId::from_secret_bytes(bytes).key()
}

fn minutes(n: u32) -> Lifetime {
    Lifetime::new(MINUTE * n, Duration::MAX)
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

fn create<S: SessionStore>(store: &S, number: u64, payload: &str, lifetime: Lifetime) {
    let record = Record::new(payload.to_owned(), lifetime);
    let outcome = run(store.create(&key(number), record)).unwrap();
    assert_eq!(outcome, CreateOutcome::Created(Version::FIRST));
}

fn rotate<S: SessionStore>(
    store: &S,
    from: u64,
    to: u64,
    version: u64,
    record: Record,
) -> Result<RotateOutcome, StoreError> {
    run(store.rotate(&key(from), &key(to), Version(version), record, MINUTE))
}

fn is_live<S: SessionStore>(store: &S, number: u64) -> bool {
    run(store.load(&key(number), Slide::No)).unwrap().is_some()
}

#[test]
fn at_the_limit_of_entries_a_session_is_refused_and_none_is_dropped() {
    let store = MemoryStore::builder().max_entries(3).build();
    (0..3).for_each(|n| create(&store, n, "x", LONG));
    let refused = run(store.create(&key(3), Record::new("mine", LONG))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
    assert_eq!(refused.retry().safety, Safety::Safe);
    assert_eq!(refused.into_record(), Some(Record::new("mine", LONG)));
    assert!((0..3).all(|n| is_live(&store, n)));
    assert_eq!(store.stats().refused, 1);
    assert_eq!(store.stats().entries, 3);
}

#[test]
fn the_limit_of_bytes_is_exact_and_a_commit_that_grows_past_it_changes_nothing() {
    let store = MemoryStore::builder().max_bytes(2 * (ENTRY + 10)).build();
    create(&store, 0, "0123456789", LONG);
    create(&store, 1, "0123456789", LONG);
    let grown = Record::new("0123456789a", LONG);
    let refused = run(store.commit(&key(1), Version::FIRST, grown.clone())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
    assert_eq!(refused.into_record(), Some(grown.clone()));
    let entry = run(store.load(&key(1), Slide::No)).unwrap().unwrap();
    assert_eq!(
        (entry.version, &entry.payload[..]),
        (Version::FIRST, &b"0123456789"[..])
    );

    // One shrinks by a byte, so the other may grow by one.
    let shrunk = Record::new("012345678", LONG);
    let outcome = run(store.commit(&key(0), Version::FIRST, shrunk)).unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(Version(2)));
    let outcome = run(store.commit(&key(1), Version::FIRST, grown)).unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(Version(2)));
    assert_eq!(store.stats().bytes, 2 * (ENTRY + 10));
}

#[test]
fn a_rotation_without_room_leaves_the_session_where_it_was() {
    let store = MemoryStore::builder().max_entries(1).build();
    create(&store, 0, "x", LONG);
    let rotated = rotate(&store, 0, 1, 1, Record::new("y", LONG));
    assert_eq!(rotated.unwrap_err().kind(), ErrorKind::Full);
    assert!(is_live(&store, 0) && !is_live(&store, 1));
}

#[test]
fn what_has_expired_makes_room_before_anyone_is_refused() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .max_entries(100)
        .build();
    (0..100).for_each(|n| create(&store, n, "x", minutes(1)));
    clock.advance(MINUTE + Duration::from_secs(1));
    (100..200).for_each(|n| create(&store, n, "x", minutes(1)));
    assert_eq!(store.stats().refused, 0);
}

#[test]
fn a_payload_larger_than_the_limit_is_refused_for_good() {
    let store = MemoryStore::builder().max_payload(4).build();
    create(&store, 0, "1234", LONG);
    let large = || Record::new("12345", LONG);
    for refused in [
        run(store.create(&key(1), large())).unwrap_err(),
        run(store.commit(&key(0), Version::FIRST, large())).unwrap_err(),
        run(store.rotate(&key(0), &key(1), Version::FIRST, large(), MINUTE)).unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::TooLarge);
        assert_eq!(refused.retry().safety, Safety::Never);
        assert_eq!(refused.into_record(), Some(large()));
    }
}

#[test]
fn limits_of_nothing_and_of_everything_have_answers() {
    for store in [
        MemoryStore::builder().max_entries(0).build(),
        MemoryStore::builder().max_bytes(0).shards(0).build(),
    ] {
        let refused = run(store.create(&key(0), Record::new("", LONG))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Full);
    }
    let store = MemoryStore::builder()
        .max_entries(usize::MAX)
        .max_bytes(usize::MAX)
        .max_payload(usize::MAX)
        .shards(usize::MAX)
        .retention(Duration::MAX)
        .build();
    create(&store, 0, "x", LONG);
    assert!(run(store.delete(&key(0))).unwrap());
    let again = run(store.create(&key(0), Record::new("x", LONG))).unwrap();
    assert_eq!(again, CreateOutcome::Collision, "remembered for ever");
}

#[test]
fn a_session_may_live_for_no_time_or_for_ever() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    create(&store, 0, "x", Lifetime::new(Duration::ZERO, Duration::MAX));
    assert!(!is_live(&store, 0));
    create(&store, 1, "x", LONG);
    clock.jump_to(Tick::from_nanos(u64::MAX - 1));
    let entry = run(store.load(&key(1), Slide::to(MINUTE)))
        .unwrap()
        .unwrap();
    assert_eq!(entry.remaining, LONG);
}

#[test]
fn a_clock_that_steps_back_brings_nothing_back() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    create(&store, 0, "x", minutes(1));
    clock.advance(MINUTE);
    assert!(!is_live(&store, 0));
    clock.jump_to(Tick::ZERO);
    assert!(!is_live(&store, 0));
    let late = run(store.commit(&key(0), Version::FIRST, Record::new("y", LONG))).unwrap();
    assert_eq!(late, CommitOutcome::Gone);
}

#[test]
fn setting_the_wall_clock_ends_no_session() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    create(&store, 0, "x", minutes(1));
    clock.set_wall(purlin_core::WallTime::MAX);
    assert!(is_live(&store, 0));
}

#[test]
fn a_stored_slice_does_not_keep_its_buffer_alive() {
    let store = MemoryStore::new();
    let buffer = Bytes::from(vec![7; 1 << 20]);
    let slice = buffer.slice(10..20);
    let outcome = run(store.create(&key(0), Record::new(slice, LONG))).unwrap();
    assert_eq!(outcome, CreateOutcome::Created(Version::FIRST));
    assert!(buffer.is_unique());
}

/// The work of a sweep follows what expires: among a hundred times as many live sessions it takes as many
/// units.
#[test]
fn a_sweep_touches_what_expires_and_not_what_lives() {
    for live in [1_000, 100_000] {
        let clock = ManualClock::new();
        let store = MemoryStore::builder()
            .clock(clock.clone())
            .shards(1)
            .build();
        (0..1_000).for_each(|n| create(&store, n, "x", minutes(10)));
        (1_000..1_000 + live).for_each(|n| create(&store, n, "x", minutes(600)));
        clock.advance(MINUTE * 11);
        let mut calls = 0;
        loop {
            calls += 1;
            let swept = run(store.sweep(100)).unwrap();
            if swept.caught_up {
                break;
            }
        }
        assert!(
            calls <= 20,
            "{calls} calls of 100 units for 1000 expired among {live} live"
        );
        assert_eq!(store.stats().expired, 1_000);
        assert_eq!(store.stats().entries as u64, live);
    }
}

#[test]
fn a_used_session_outlives_its_first_timer_and_is_freed_at_its_last() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    create(&store, 0, "x", minutes(10));
    for _ in 0..20 {
        clock.advance(MINUTE * 5);
        assert!(run(store.touch(&key(0), Slide::to(MINUTE * 10))).unwrap());
        assert_eq!(run(store.sweep(usize::MAX)).unwrap().removed, 0);
    }
    clock.advance(MINUTE * 11);
    assert_eq!(run(store.sweep(usize::MAX)).unwrap().removed, 1);
    assert_eq!((store.stats().entries, store.stats().bytes), (0, 0));
}

#[test]
fn a_deleted_session_is_forgotten_after_the_retention_and_not_at_its_old_deadline() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .retention(MINUTE)
        .build();
    create(&store, 0, "x", minutes(600));
    create(&store, 1, "x", minutes(600));
    assert!(run(store.delete(&key(0))).unwrap());
    let ending = Record::new("x", Lifetime::new(MINUTE * 600, MINUTE));
    let outcome = run(store.commit(&key(1), Version::FIRST, ending)).unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(Version(2)));
    clock.advance(MINUTE);
    assert_eq!(run(store.sweep(usize::MAX)).unwrap().removed, 2);
    assert_eq!((store.stats().entries, store.stats().bytes), (0, 0));
}

/// Timers count whole seconds, rounded so that one never fires on a session that still lives.
#[test]
fn a_sweep_has_nothing_to_do_until_a_session_has_expired() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let lifetime = Lifetime::new(Duration::from_millis(10_900), Duration::MAX);
    create(&store, 0, "x", lifetime);
    clock.advance(Duration::from_millis(10_500));
    run(store.sweep(usize::MAX)).unwrap();
    assert!(run(store.sweep(0)).unwrap().caught_up);
    clock.advance(Duration::from_millis(500));
    assert_eq!(run(store.sweep(usize::MAX)).unwrap().removed, 1);
}

#[test]
fn writes_alone_keep_the_store_clean() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .retention(MINUTE)
        .build();
    for n in 0..20_000 {
        create(&store, n, "x", minutes(1));
        clock.advance(Duration::from_millis(100));
    }
    // A minute's worth is alive: 600. A shard that nobody writes to for a while lags behind.
    assert!(store.stats().entries < 1_000, "{:?}", store.stats());
}

#[test]
fn small_budgets_reach_every_shard() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .shards(16)
        .build();
    (0..500).for_each(|n| create(&store, n, "x", minutes(1)));
    clock.advance(MINUTE * 2);
    let mut removed = 0;
    for _ in 0..3_000 {
        let swept = run(store.sweep(1)).unwrap();
        assert!(swept.removed <= 1);
        removed += swept.removed;
    }
    assert_eq!(removed, 500);
    assert_eq!(store.stats().bytes, 0);
}

#[test]
fn the_payload_of_a_rotated_session_is_freed_after_the_grace_and_its_key_later() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .retention(MINUTE * 5)
        .build();
    create(&store, 0, &"x".repeat(1_000), minutes(60));
    let rotated = rotate(&store, 0, 1, 1, Record::new("y", minutes(60)));
    assert_eq!(rotated.unwrap(), RotateOutcome::Rotated(Version(2)));
    assert!(store.stats().bytes > 2 * ENTRY + 1_000);
    clock.advance(MINUTE + Duration::from_secs(1));
    run(store.sweep(usize::MAX)).unwrap();
    assert!(store.stats().bytes < 2 * ENTRY + 200);
    assert_eq!(store.stats().entries, 2);
    clock.advance(MINUTE * 4);
    run(store.sweep(usize::MAX)).unwrap();
    assert_eq!(store.stats().entries, 1);
    assert!(is_live(&store, 1));
}

/// However often a session is rotated within the time that keys are remembered, no call walks the whole
/// chain.
#[test]
fn a_long_chain_of_rotations_ends_the_oldest_keys_first() {
    let store = MemoryStore::new();
    create(&store, 0, "x", LONG);
    for n in 0..40 {
        let write = Record::new("x", LONG);
        let rotated = rotate(&store, n, n + 1, n + 1, write);
        assert_eq!(rotated.unwrap(), RotateOutcome::Rotated(Version(n + 2)));
    }
    let live: Vec<u64> = (0..=40).filter(|n| is_live(&store, *n)).collect();
    assert_eq!(live, (24..=40).collect::<Vec<_>>());
    assert!(!run(store.delete(&key(0))).unwrap());
    assert!(run(store.delete(&key(24))).unwrap());
    assert!((0..=40).all(|n| !is_live(&store, n)));
}

/// The work of a call happens when its future is polled, all at once: a future that is dropped before did
/// nothing.
#[test]
fn a_dropped_future_did_nothing() {
    let store = MemoryStore::new();
    create(&store, 0, "x", LONG);
    let (zero, one) = (key(0), key(1));
    drop(store.create(&one, Record::new("y", LONG)));
    drop(store.commit(&zero, Version::FIRST, Record::new("y", LONG)));
    drop(store.rotate(&zero, &one, Version::FIRST, Record::new("y", LONG), MINUTE));
    drop(store.delete(&zero));
    drop(store.load(&zero, Slide::to(MINUTE)));
    drop(store.sweep(usize::MAX));
    let entry = run(store.load(&zero, Slide::No)).unwrap().unwrap();
    assert_eq!(
        (entry.version, &entry.payload[..]),
        (Version::FIRST, &b"x"[..])
    );
    assert!(!is_live(&store, 1));
}

/// Threads count one session up, each from what it read. Every acknowledged step is in the sum.
#[test]
fn concurrent_commits_lose_nothing() {
    const THREADS: u64 = 8;
    const STEPS: u64 = 500;
    let store = Arc::new(MemoryStore::new());
    create(&store, 0, "0", LONG);
    let barrier = Arc::new(Barrier::new(THREADS as usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (store, barrier) = (Arc::clone(&store), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                let mut entry = run(store.load(&key(0), Slide::No)).unwrap().unwrap();
                let mut done = 0;
                while done < STEPS {
                    let sum: u64 = std::str::from_utf8(&entry.payload)
                        .unwrap()
                        .parse()
                        .unwrap();
                    let next = Record::new((sum + 1).to_string(), LONG);
                    match run(store.commit(&key(0), entry.version, next)).unwrap() {
                        CommitOutcome::Committed(_) => {
                            done += 1;
                            entry = run(store.load(&key(0), Slide::No)).unwrap().unwrap();
                        }
                        CommitOutcome::Conflict(present) => entry = present,
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let entry = run(store.load(&key(0), Slide::No)).unwrap().unwrap();
    assert_eq!(entry.payload, (THREADS * STEPS).to_string());
    assert_eq!(entry.version, Version(1 + THREADS * STEPS));
}

/// Rotations in both directions between two shards, with deletions through old keys: neither waits for the
/// other for ever, and at the end the counts agree.
#[test]
fn concurrent_rotations_do_not_deadlock_and_the_accounts_agree() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .shards(2)
        .retention(MINUTE)
        .build();
    let store = Arc::new(store);
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                for round in 0..500 {
                    let base = (thread * 500 + round) * 10;
                    create(&store, base, "start", minutes(5));
                    for hop in 0..5 {
                        let write = Record::new("moved", minutes(5));
                        let rotated = rotate(&store, base + hop, base + hop + 1, hop + 1, write);
                        assert_eq!(rotated.unwrap(), RotateOutcome::Rotated(Version(hop + 2)));
                    }
                    assert!(is_live(&store, base));
                    assert!(run(store.delete(&key(base + 2))).unwrap());
                    assert!(!is_live(&store, base + 5));
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    clock.advance(MINUTE * 6);
    run(store.sweep(usize::MAX)).unwrap();
    let stats = store.stats();
    assert_eq!((stats.entries, stats.bytes), (0, 0));
    assert_eq!(
        (stats.created, stats.rotated, stats.deleted),
        (2_000, 10_000, 2_000)
    );
}

fn owned(user: &str, payload: usize) -> Record {
    let owner = Owner::User {
        user: UserKey::of(user),
        cap: None,
    };
    Record::new(vec![0; payload], Lifetime::new(HOUR, HOUR)).with_owner(owner)
}

fn nobodys(payload: usize) -> Record {
    Record::new(vec![0; payload], Lifetime::new(HOUR, HOUR))
}

const HOUR: Duration = Duration::from_secs(3600);

/// Whoever makes sessions by the thousand keeps other visitors out, and nobody who is logged in.
#[tokio::test]
async fn when_it_is_full_a_users_session_takes_the_room_of_a_visitors() {
    let store = MemoryStore::builder().max_entries(100).build();
    for i in 0..100 {
        let _ = store.create(&key(i), nobodys(10)).await.unwrap();
    }
    let refused = store.create(&key(100), nobodys(10)).await.unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::Full,
        "a visitor takes nobody's room"
    );
    for i in 200..260 {
        let _ = store.create(&key(i), owned("17", 10)).await.unwrap();
    }
    // By a login, which does not take the room of the session that logs in.
    let mut logins = 0;
    for i in 0..100 {
        let rotated = store
            .rotate(
                &key(i),
                &key(1000 + i),
                Version::FIRST,
                owned("17", 10),
                Duration::ZERO,
            )
            .await;
        match rotated {
            Ok(RotateOutcome::Rotated(_)) => logins += 1,
            Ok(RotateOutcome::Gone) => {}
            // Nothing is left but what is somebody's, and the keys remembered.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Full),
            Ok(other) => panic!("{other:?}"),
        }
    }
    assert!(logins > 10, "{logins}");
    let listed = store.by_user(&UserKey::of("17")).await.unwrap();
    assert_eq!(
        listed.len(),
        60 + logins,
        "no session that is somebody's has gone"
    );
    let stats = store.stats();
    assert_eq!(stats.evicted as usize, 60 + (100 - 60 - logins));
    assert_eq!(stats.expired, 0);
    assert!(stats.entries <= 100);
}

#[tokio::test]
async fn a_users_session_grows_into_the_room_of_visitors() {
    let store = MemoryStore::builder()
        .max_bytes(20 * (ENTRY + 1000))
        .build();
    let _ = store.create(&key(0), owned("17", 10)).await.unwrap();
    let mut visitors = 0;
    while store
        .create(&key(visitors + 1), nobodys(1000))
        .await
        .is_ok()
    {
        visitors += 1;
        assert!(visitors <= 20, "they push each other out");
    }
    let grown = store
        .commit(&key(0), Version::FIRST, owned("17", 5000))
        .await
        .unwrap();
    assert_eq!(grown, CommitOutcome::Committed(Version(2)));
    assert!(
        (3..=6).contains(&store.stats().evicted),
        "{:?}",
        store.stats()
    );
    let refused = store.commit(&key(200), Version::FIRST, nobodys(10)).await;
    assert_eq!(refused.unwrap(), CommitOutcome::Gone);
}

/// A sweep costs what has expired, however much lives.
#[tokio::test]
async fn a_sweep_of_a_thousand_among_a_million_looks_at_no_more_than_two_thousand() {
    let live = 1_000_000;
    let clock = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .max_entries(2_000_000)
        .max_bytes(usize::MAX)
        .build();
    for i in 0..live {
        let lifetime = Lifetime::new(HOUR * 10, HOUR * 20);
        let _ = store
            .create(&key(i), Record::new("x", lifetime))
            .await
            .unwrap();
    }
    for i in 0..1000 {
        let lifetime = Lifetime::new(Duration::from_secs(60), HOUR);
        let _ = store
            .create(&key(live + i), Record::new("x", lifetime))
            .await
            .unwrap();
    }
    clock.advance(Duration::from_secs(61));
    // The budget is of units of work: 2000 are enough for all.
    let swept = store.sweep(2000).await.unwrap();
    assert_eq!(
        swept,
        Swept {
            removed: 1000,
            caught_up: true
        }
    );
    assert_eq!(store.stats().entries, live as usize);
}
