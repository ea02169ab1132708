//! The PostgreSQL session store keeps the contract on a real server.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "session/server.rs"]
mod server;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use purlin_core::Retry;
use purlin_postgres::{Clients, MigrateError, PostgresSessionStore};
use purlin_session_store::conformance::{Report, Subject, check, processes, walk};
use purlin_session_store::{
    Cap, CreateOutcome, ErrorKind, Lifetime, Owner, Policy, Record, RotateOutcome, Session,
    SessionId, SessionKey, SessionStore, Sessions, Slide, UserKey, Version,
};
use static_assertions::assert_impl_all;
use tokio_postgres::Client;

use server::{Database, Pool, connect};

type Store = PostgresSessionStore<Arc<Client>>;

assert_impl_all!(Store: Send, Sync, SessionStore, std::fmt::Debug);

const HOUR: Duration = Duration::from_secs(60 * 60);

fn key() -> SessionKey {
    SessionId::random().unwrap().key()
}

fn record(payload: &'static str) -> Record {
    Record::new(payload, Lifetime::new(HOUR, HOUR))
}

struct Real<P> {
    store: PostgresSessionStore<P>,
    clock: Arc<Client>,
}

impl<P: Clients> Subject for Real<P> {
    type Store = PostgresSessionStore<P>;
    fn store(&self) -> &Self::Store {
        &self.store
    }
    fn retention(&self) -> Duration {
        Duration::from_secs(300)
    }
    fn unit(&self) -> Duration {
        Duration::from_millis(250)
    }
    /// By the server's clock.
    async fn pass(&self, time: Duration) {
        let wait = format!("SELECT pg_sleep({})", time.as_secs_f64() + 0.002);
        self.clock.batch_execute(&wait).await.unwrap();
    }
}

fn assert_whole(report: Report) {
    assert_eq!(report.interleavings, 2 * 16 * 16 * 10);
    assert!(report.promises >= 26, "{report:?}");
}

/// Over a pool, so that calls that are under way at once meet on the server.
#[tokio::test]
async fn the_store_keeps_the_contract_over_a_pool() {
    let database = Database::new();
    // The promise is about what the calls do to each other; that a commit waits for the log would only take time.
    let client = database.client().await;
    let at_ease = format!(
        "ALTER DATABASE {} SET synchronous_commit = off",
        database.name()
    );
    client.batch_execute(&at_ease).await.unwrap();
    let (store, clock) = (database.pooled(3).await, client);
    assert_whole(check(&Real { store, clock }).await.unwrap());
}

#[tokio::test]
async fn the_store_walks_with_the_model() {
    let database = Database::new();
    let (store, clock) = (database.store().await, database.client().await);
    let real = Real { store, clock };
    for seed in 0..4 {
        let verdict = walk(&real, seed, 30).await;
        assert!(verdict.is_ok(), "seed {seed}: {verdict:?}");
    }
}

impl Real<Pool> {
    async fn new() -> Self {
        let database = Database::new();
        let (store, clock) = (database.pooled(3).await, database.client().await);
        Real { store, clock }
    }
}

// What requests can rely on, line by line, with calls that meet on the server.
purlin_session_store::conformance_lines!(Real::new().await);

// The same with processes, which are killed in one of the tests.
purlin_session_store::conformance_processes!(Database: migrated().await);

async fn migrated() -> Database {
    let database = Database::new();
    database.store().await;
    database
}

impl processes::Shared for Database {
    type Store = PostgresSessionStore<Arc<Client>>;
    fn address(&self) -> String {
        self.url()
    }
    async fn connect(address: &str) -> Self::Store {
        PostgresSessionStore::new(connect(address).await)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_of_one_field_over_two_pools_add_up() {
    let database = Database::new();
    let attempts = NonZeroU32::new(64).unwrap();
    let mut pools = Vec::new();
    for _ in 0..2 {
        let policy = Policy::default().attempts(attempts);
        pools.push(Arc::new(Sessions::new(database.pooled(4).await, policy)));
    }
    let mut session = Session::absent();
    session.set_bytes("count", "0").unwrap();
    let _ = pools[0].commit(&mut session).await.unwrap();
    let id = session.id().unwrap().clone();
    let mut requests = tokio::task::JoinSet::new();
    for i in 0..32 {
        let (sessions, id) = (Arc::clone(&pools[i % 2]), id.clone());
        requests.spawn(async move {
            let mut session = sessions.open(id).await.unwrap();
            let count_up = |session: &mut Session| {
                let count = session.get_bytes("count").unwrap();
                let count: u32 = std::str::from_utf8(&count).unwrap().parse().unwrap();
                session.set_bytes("count", (count + 1).to_string()).unwrap();
            };
            let _ = sessions.update(&mut session, count_up).await.unwrap().1;
        });
    }
    requests.join_all().await;
    let session = pools[1].open(id).await.unwrap();
    assert_eq!(session.get_bytes("count").unwrap(), "32");
}

#[tokio::test]
async fn a_migration_can_be_run_again_and_a_later_one_is_respected() {
    let database = Database::new();
    let (store, one) = (database.store().await, key());
    let _ = store.create(&one, record("kept")).await.unwrap();
    store.migrate().await.unwrap();
    assert!(store.load(&one, Slide::No).await.unwrap().is_some());
    // By a tool of one's own, also while others are at work.
    let client = database.client().await;
    for migration in Store::MIGRATIONS {
        client.batch_execute(migration).await.unwrap();
    }
    assert!(store.load(&one, Slide::No).await.unwrap().is_some());

    let later = "UPDATE purlin_session_meta SET format = 99";
    client.batch_execute(later).await.unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(
        matches!(
            error,
            MigrateError::Newer {
                found: 99,
                known: 1
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.retry(), Retry::NEVER);
}

/// As when a fleet starts on an empty database.
#[tokio::test]
async fn servers_that_migrate_at_the_same_moment_all_succeed() {
    let database = Database::new();
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = database.client().await;
        starts.spawn(async move { PostgresSessionStore::new(client).migrate().await });
    }
    for migrated in starts.join_all().await {
        migrated.unwrap();
    }
    let formats = "SELECT count(*) FROM purlin_session_meta WHERE format = 1";
    assert_eq!(database.number(formats).await, 1);
}

/// A table or function that is in the way ends it, and the connection is of use afterwards.
#[tokio::test]
async fn a_migration_that_fails_changes_nothing() {
    let database = Database::new();
    let client = database.client().await;
    let in_the_way = "CREATE VIEW purlin_session AS SELECT 1 AS key";
    client.batch_execute(in_the_way).await.unwrap();
    let store = PostgresSessionStore::new(Arc::clone(&client));
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(error, MigrateError::Server(_)), "{error:?}");
    let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'purlin_session_%'";
    assert_eq!(database.number(tables).await, 0);
    client
        .batch_execute("DROP VIEW purlin_session")
        .await
        .unwrap();
    store.migrate().await.unwrap();
}

/// Using a session changes no index: each update stays on its page. A login's does, once.
#[tokio::test]
async fn a_use_is_a_hot_update() {
    let database = Database::new();
    let client = database.client().await;
    let store = PostgresSessionStore::new(Arc::clone(&client));
    store.migrate().await.unwrap();
    let one = key();
    let owner = Owner::User {
        user: UserKey::of("17"),
        cap: None,
    };
    let long = Lifetime::new(HOUR, 24 * HOUR);
    let created = store.create(&one, Record::new("x", long).with_owner(owner));
    let _ = created.await.unwrap();
    for minutes in 1..=20 {
        let slide = Slide::To {
            idle: HOUR + Duration::from_secs(minutes * 60),
            min_gain: Duration::ZERO,
        };
        assert!(store.touch(&one, slide).await.unwrap());
        let entry = store.load(&one, Slide::No).await.unwrap().unwrap();
        let write = Record::new("y", Lifetime::new(HOUR, Duration::MAX));
        let _ = store.commit(&one, entry.version, write).await.unwrap();
    }
    // By the connection that did the work, which otherwise reports about once a second.
    client
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .await
        .unwrap();
    let row = client
        .query_one(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'purlin_session'",
            &[],
        )
        .await
        .unwrap();
    let (updates, hot): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!((updates, hot), (40, 40));
}

/// The plan of what is asked by user, however many others there are.
#[tokio::test]
async fn a_users_sessions_are_found_by_an_index() {
    let database = Database::new();
    let store = database.store().await;
    let client = database.client().await;
    client
        .batch_execute(
            "INSERT INTO purlin_session (key, state, version, till, absolute, grace, bucket, owner, seniority, since, payload)
             SELECT decode(md5(i::text), 'hex'), 1, 1, 9223372036854775807, 9223372036854775807, 0, 2147483647,
                    decode(md5((i / 4)::text), 'hex'), 0, 0, ''
             FROM generate_series(1, 20000) i;
             ANALYZE purlin_session",
        )
        .await
        .unwrap();
    let (user, one) = (UserKey::of("17"), key());
    let owner = Owner::User {
        user,
        cap: Some(Cap::evict_oldest(3)),
    };
    let created = store.create(&one, record("x").with_owner(owner)).await;
    assert_eq!(created.unwrap(), CreateOutcome::Created(Version::FIRST));
    assert_eq!(store.by_user(&user).await.unwrap(), [one]);
    let plan = client
        .query(
            "EXPLAIN SELECT s.key FROM purlin_session s WHERE s.owner = 'x' AND s.state = 1 AND s.till > 1",
            &[],
        )
        .await
        .unwrap();
    let plan: String = plan.iter().map(|row| row.get::<_, String>(0)).collect();
    assert!(plan.contains("purlin_session_owner"), "{plan}");
}

/// A device that logs in again and again under a cap leaves the user at the cap, also while sessions move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_holds_while_sessions_move() {
    let database = Database::new();
    let store = Arc::new(database.pooled(6).await);
    let user = UserKey::of("17");
    let cap = Some(Cap::evict_oldest(3));
    let mut devices = tokio::task::JoinSet::new();
    for device in 0..6 {
        let store = Arc::clone(&store);
        devices.spawn(async move {
            for _ in 0..8 {
                let (first, second) = (key(), key());
                let mine = || record("x").with_owner(Owner::User { user, cap });
                let created = store.create(&first, mine()).await.unwrap();
                assert_eq!(created, CreateOutcome::Created(Version::FIRST));
                // Others may have ended it by now.
                let moved = store.rotate(&first, &second, Version::FIRST, mine(), Duration::ZERO);
                let moved = moved.await.unwrap();
                assert!(
                    matches!(moved, RotateOutcome::Rotated(_) | RotateOutcome::Gone),
                    "{moved:?}"
                );
                let n = store.by_user(&user).await.unwrap().len();
                assert!(n <= 3, "device {device} sees {n} sessions");
            }
        });
    }
    devices.join_all().await;
    assert_eq!(store.by_user(&user).await.unwrap().len(), 3);
}

/// Where a user has no session yet there is no row to wait for each other at: none of the logins sees those that are not
/// committed.
#[tokio::test]
async fn a_cap_holds_for_first_logins_at_once() {
    let database = Database::new();
    let store = Arc::new(database.pooled(6).await);
    for round in 0..20_u8 {
        let user = UserKey::of([round]);
        let cap = Some(Cap::reject(1));
        let mut devices = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let store = Arc::clone(&store);
            let mine = record("x").with_owner(Owner::User { user, cap });
            devices.spawn(async move { store.create(&key(), mine).await.unwrap() });
        }
        let outcomes = devices.join_all().await;
        let made = outcomes
            .iter()
            .filter(|outcome| **outcome != CreateOutcome::AtCap);
        assert_eq!(made.count(), 1, "round {round}: {outcomes:?}");
        assert_eq!(store.by_user(&user).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn sweeps_share_the_work_and_free_what_ended() {
    let database = Database::new();
    let [one, two] = [database.store().await, database.store().await];
    for i in 0..40 {
        let idle = if i % 2 == 0 {
            Duration::from_micros(1)
        } else {
            HOUR
        };
        let write = Record::new("x", Lifetime::new(idle, HOUR));
        let _ = one.create(&key(), write).await.unwrap();
    }
    // As if it were two minutes later for the index, and all rows are to be looked at.
    let client = database.client().await;
    let due = "UPDATE purlin_session SET bucket = 0";
    client.batch_execute(due).await.unwrap();
    let (a, b) = tokio::join!(one.sweep(15), two.sweep(15));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(!a.caught_up && !b.caught_up);
    let rest = one.sweep(usize::MAX).await.unwrap();
    assert!(rest.caught_up);
    assert_eq!(a.removed + b.removed + rest.removed, 20);
    let left = "SELECT count(*) FROM purlin_session";
    assert_eq!(database.number(left).await, 20);
    let nothing = one.sweep(usize::MAX).await.unwrap();
    assert_eq!((nothing.removed, nothing.caught_up), (0, true));
}

/// A sweep does not wait for a call that holds a row, and leaves the row for the next one.
#[tokio::test]
async fn a_sweep_passes_over_what_somebody_holds() {
    let database = Database::new();
    let (store, holder) = (database.store().await, database.client().await);
    for _ in 0..3 {
        let write = Record::new("x", Lifetime::new(Duration::from_micros(1), HOUR));
        let _ = store.create(&key(), write).await.unwrap();
    }
    holder
        .batch_execute("UPDATE purlin_session SET bucket = 0")
        .await
        .unwrap();
    holder
        .batch_execute("BEGIN; SELECT 1 FROM purlin_session LIMIT 1 FOR UPDATE")
        .await
        .unwrap();
    assert_eq!(store.sweep(usize::MAX).await.unwrap().removed, 2);
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.sweep(usize::MAX).await.unwrap().removed, 1);
}

#[tokio::test]
async fn too_large_a_record_comes_back() {
    let database = Database::new();
    let store = database.store().await.max_payload(4);
    let error = store.create(&key(), record("12345")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.into_record(), Some(record("12345")));
}

/// What the store says of its futures: unpolled they have done nothing.
#[tokio::test]
async fn a_future_that_is_never_polled_does_nothing() {
    let database = Database::new();
    let (store, one) = (database.store().await, key());
    drop(store.create(&one, record("x")));
    assert_eq!(store.load(&one, Slide::No).await.unwrap(), None);
}
