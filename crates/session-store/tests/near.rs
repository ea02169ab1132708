//! Sessions kept close: what may be answered from here, and for how long.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use common::{HOUR, Under, key, record};
use purlin_core::{Clock, ManualClock};
use purlin_session_store::conformance::{Call, Faulty, Subject, check, lines};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, ErrorKind, Invalidation, Invalidations, Lifetime, MemoryStore,
    Near, NearBuilder, Record, SessionKey, SessionStore, Slide, StoreError, Version,
};
use static_assertions::assert_impl_all;
use tokio::sync::mpsc;

assert_impl_all!(Near<MemoryStore>: Send, Sync, std::fmt::Debug, SessionStore);

const SECOND: Duration = Duration::from_secs(1);

type Shared = Arc<Faulty<MemoryStore<ManualClock>>>;

/// A store that two processes share, of which one keeps sessions close.
struct Fleet {
    near: Near<Shared, ManualClock>,
    store: Shared,
    clock: ManualClock,
}

fn fleet(settings: impl FnOnce(NearBuilder) -> NearBuilder) -> Fleet {
    let clock = ManualClock::new();
    let memory = MemoryStore::builder().clock(clock.clone()).build();
    let store = Arc::new(Faulty::new(memory));
    let near = settings(Near::builder())
        .clock(clock.clone())
        .build(Arc::clone(&store));
    Fleet { near, store, clock }
}

impl Fleet {
    async fn created(&self, payload: &'static str) -> SessionKey {
        let key = key();
        let created = self.store.store().create(&key, record(payload)).await;
        assert_eq!(created.unwrap(), CreateOutcome::Created(Version::FIRST));
        key
    }

    async fn seen(&self, key: &SessionKey) -> Option<String> {
        let entry = self.near.load(key, Slide::No).await.unwrap()?;
        Some(String::from_utf8(entry.payload.to_vec()).unwrap())
    }
}

/// Reports that a test sends. Dropping the sender cuts the connection.
struct Reports(mpsc::UnboundedReceiver<Invalidation>);

fn reports() -> (mpsc::UnboundedSender<Invalidation>, Reports) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Reports(receiver))
}

impl Invalidations for Reports {
    async fn next(&mut self) -> Result<Invalidation, StoreError> {
        let report = self.0.recv().await;
        report.ok_or_else(|| StoreError::new(ErrorKind::Unavailable))
    }
}

/// Polls once; whether it is over.
fn poll<F: Future>(future: &mut Pin<&mut F>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    future.as_mut().poll(&mut cx).is_ready()
}

#[tokio::test]
async fn the_contract_holds_with_and_without_a_connection() {
    for connected in [true, false] {
        let Fleet { near, clock, .. } = fleet(|near| near);
        let subject = Under { store: near, clock };
        let (_sender, source) = reports();
        let mut following = pin!(subject.store.follow(source));
        if connected {
            assert!(!poll(&mut following));
        }
        check(&subject).await.unwrap();
        assert_eq!(subject.store.stats().hits > 1_000, connected);
    }
}

/// With a connection for reports, of which there are none: nobody else writes.
struct Following {
    near: Arc<Near<Shared, ManualClock>>,
    store: Shared,
    clock: ManualClock,
    _sender: mpsc::UnboundedSender<Invalidation>,
}

impl Following {
    async fn new() -> Self {
        let Fleet { near, store, clock } = fleet(|near| near);
        let (near, (sender, source)) = (Arc::new(near), reports());
        let follows = Arc::clone(&near);
        tokio::spawn(async move { drop(follows.follow(source).await) });
        while !near.is_following() {
            tokio::task::yield_now().await;
        }
        Following {
            near,
            store,
            clock,
            _sender: sender,
        }
    }
}

impl Subject for Following {
    type Store = Arc<Near<Shared, ManualClock>>;
    fn store(&self) -> &Self::Store {
        &self.near
    }
    fn retention(&self) -> Duration {
        Duration::from_secs(300)
    }
    fn unit(&self) -> Duration {
        Duration::from_millis(1)
    }
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

purlin_session_store::conformance_regressions!(Following::new().await);

#[tokio::test]
async fn line_06_an_outage_beneath_logs_nobody_out() {
    let following = Following::new().await;
    let apart = fleet(|near| near);
    for (near, store) in [
        (&*following.near, &following.store),
        (&apart.near, &apart.store),
    ] {
        let verdict = lines::an_outage_beneath_logs_nobody_out(near, &[&**store]).await;
        assert!(verdict.is_ok(), "{verdict:?}");
    }
    assert!(following.near.stats().hits > 0 && apart.near.stats().hits == 0);
}

#[tokio::test]
async fn a_report_is_effective_at_once() {
    let fleet = fleet(|near| near);
    let key = fleet.created("a").await;
    let (sender, source) = reports();
    let mut following = pin!(fleet.near.follow(source));
    assert!(!poll(&mut following));
    for _ in 0..10 {
        assert_eq!(fleet.seen(&key).await.unwrap(), "a");
    }
    assert_eq!(
        (fleet.near.stats().hits, fleet.store.calls_of(Call::Load)),
        (9, 1)
    );

    fleet.store.store().delete(&key).await.unwrap();
    sender.send(Invalidation::Key(key)).unwrap();
    assert!(!poll(&mut following));
    assert_eq!(fleet.seen(&key).await, None);

    let [one, two] = [fleet.created("1").await, fleet.created("2").await];
    fleet.seen(&one).await;
    fleet.seen(&two).await;
    fleet.store.store().delete(&one).await.unwrap();
    fleet.store.store().delete(&two).await.unwrap();
    sender.send(Invalidation::All).unwrap();
    assert!(!poll(&mut following));
    assert_eq!(
        (fleet.seen(&one).await, fleet.seen(&two).await),
        (None, None)
    );
}

/// The connection is dead, and nobody has noticed: no report comes, and no error.
#[tokio::test]
async fn a_revoked_session_is_not_served_past_the_bound_though_no_report_ever_comes() {
    let bounds = [SECOND * 5, SECOND, Duration::ZERO];
    for (max_stale, keeps_longer) in bounds
        .iter()
        .flat_map(|&bound| [(bound, false), (bound, true)])
    {
        let fleet = fleet(|near| {
            let near = near.max_stale(max_stale);
            if keeps_longer {
                // For an outage, which this is not.
                return near.stale_read_only(SECOND * 60, |_| false);
            }
            near
        });
        let key = fleet.created("a").await;
        let (_sender, source) = reports();
        let mut following = pin!(fleet.near.follow(source));
        assert!(!poll(&mut following));
        let asked_at = fleet.clock.now();
        fleet.seen(&key).await;
        fleet.store.store().delete(&key).await.unwrap();
        let mut last_served = asked_at;
        for _ in 0..100 {
            if fleet.seen(&key).await.is_some() {
                last_served = fleet.clock.now();
            }
            fleet.clock.advance(SECOND / 10);
        }
        let served_for = last_served.since(asked_at);
        assert!(served_for < max_stale || max_stale.is_zero());
        assert_eq!(served_for, max_stale.saturating_sub(SECOND / 10));
    }
}

#[tokio::test]
async fn when_the_connection_is_cut_every_load_goes_to_the_store() {
    cut(fleet(|near| near)).await;
    // Kept for an outage of the store, which this is not.
    cut(fleet(|near| near.stale_read_only(SECOND * 60, |_| false))).await;
}

async fn cut(fleet: Fleet) {
    let key = fleet.created("a").await;
    assert_eq!(fleet.seen(&key).await.unwrap(), "a");
    assert_eq!(fleet.near.stats().bypassed, 1, "nobody follows yet");

    let (sender, source) = reports();
    {
        let mut following = pin!(fleet.near.follow(source));
        assert!(!poll(&mut following));
        fleet.seen(&key).await;
        fleet.store.store().delete(&key).await.unwrap();
        assert_eq!(fleet.seen(&key).await.unwrap(), "a", "not reported yet");
        drop(sender);
        assert!(poll(&mut following), "the source failed");
        assert!(!fleet.near.is_following());
        assert_eq!(fleet.seen(&key).await, None);
    }

    // What was kept before the cut is not believed after it, since reports may have been missed between.
    let other = fleet.created("b").await;
    let (_sender, source) = reports();
    {
        let mut following = pin!(fleet.near.follow(source));
        assert!(!poll(&mut following));
        fleet.seen(&other).await;
    }
    assert!(!fleet.near.is_following(), "dropping it ends it too");
    fleet.store.store().delete(&other).await.unwrap();
    let (_sender, source) = reports();
    let mut following = pin!(fleet.near.follow(source));
    assert!(!poll(&mut following));
    assert_eq!(fleet.seen(&other).await, None);
}

/// The store has answered, and before the answer is here a report says that it is out of date.
#[tokio::test]
async fn a_load_that_a_report_overtakes_is_not_kept() {
    let fleet = fleet(|near| near);
    let key = fleet.created("a").await;
    let (sender, source) = reports();
    let mut following = pin!(fleet.near.follow(source));
    assert!(!poll(&mut following));
    for overtaken_by in [Invalidation::Key(key), Invalidation::All] {
        fleet.near.forget(&key);
        fleet.store.hold_answers();
        let mut load = pin!(fleet.near.load(&key, Slide::No));
        assert!(!poll(&mut load));
        sender.send(overtaken_by).unwrap();
        assert!(!poll(&mut following));
        fleet.store.let_go();
        assert!(poll(&mut load));
        let before = fleet.store.calls_of(Call::Load);
        fleet.seen(&key).await;
        assert_eq!(
            fleet.store.calls_of(Call::Load),
            before + 1,
            "{overtaken_by:?}"
        );
    }
}

#[tokio::test]
async fn what_this_process_wrote_is_seen_by_it_also_if_the_write_was_given_up() {
    let fleet = fleet(|near| near);
    let key = fleet.created("a").await;
    let (_sender, source) = reports();
    let mut following = pin!(fleet.near.follow(source));
    assert!(!poll(&mut following));
    fleet.seen(&key).await;
    let outcome = fleet.near.commit(&key, Version::FIRST, record("b")).await;
    assert_eq!(outcome.unwrap(), CommitOutcome::Committed(Version(2)));
    assert_eq!(fleet.seen(&key).await.unwrap(), "b");

    fleet.store.hold_answers();
    {
        let mut commit = pin!(fleet.near.commit(&key, Version(2), record("c")));
        assert!(!poll(&mut commit));
    }
    fleet.store.let_go();
    assert_eq!(fleet.seen(&key).await.unwrap(), "c");

    // A logout under an old key ends the session that is kept under the new one.
    let new = common::key();
    let rotated = fleet.near.rotate(&key, &new, Version(3), record("d"), HOUR);
    let _ = rotated.await.unwrap();
    assert_eq!(fleet.seen(&new).await.unwrap(), "d");
    assert_eq!(fleet.seen(&key).await.unwrap(), "c", "the grace");
    assert!(fleet.near.delete(&key).await.unwrap());
    assert_eq!(
        (fleet.seen(&key).await, fleet.seen(&new).await),
        (None, None)
    );
}

/// A session that is only ever read from here lives on exactly as without us, by as few moves of its deadline.
#[tokio::test]
async fn deadlines_move_as_they_would_without() {
    let fleet = fleet(|near| near.max_stale(HOUR));
    let idle = SECOND * 200;
    let key = key();
    let lifetime = Lifetime::new(idle, SECOND * 1_000);
    let _ = fleet.near.create(&key, Record::new("x", lifetime)).await;
    let (_sender, source) = reports();
    let mut following = pin!(fleet.near.follow(source));
    assert!(!poll(&mut following));
    for second in 0..1_000 {
        let entry = fleet.near.load(&key, Slide::to(idle)).await.unwrap();
        let entry = entry.unwrap_or_else(|| panic!("ended after {second} s"));
        let left = SECOND * (1_000 - second);
        assert_eq!(entry.remaining.absolute, left);
        assert!(entry.remaining.idle <= left);
        assert!(
            entry.remaining.idle + SECOND * 10 >= idle.min(left),
            "{entry:?}"
        );
        fleet.clock.advance(SECOND);
    }
    assert_eq!(fleet.near.load(&key, Slide::to(idle)).await.unwrap(), None);
    let loads = fleet.store.calls_of(Call::Load);
    assert!(loads <= 1_000 / 10 + 3, "{loads} loads of the store");

    // And one that is not used ends at its idle deadline, though it is kept.
    let key = common::key();
    let _ = fleet.near.create(&key, Record::new("x", lifetime)).await;
    fleet.seen(&key).await;
    fleet.clock.advance(idle - SECOND);
    assert!(fleet.seen(&key).await.is_some());
    fleet.clock.advance(SECOND);
    assert_eq!(fleet.seen(&key).await, None);
}

fn is_privileged(entry: &purlin_session_store::Entry) -> bool {
    entry.payload.starts_with(b"admin")
}

#[tokio::test]
async fn a_privileged_session_is_not_kept() {
    let fleet = fleet(|near| near.privileged(is_privileged));
    let key = fleet.created("guest").await;
    let (_sender, source) = reports();
    let mut following = pin!(fleet.near.follow(source));
    assert!(!poll(&mut following));
    fleet.seen(&key).await;
    let outcome = fleet
        .near
        .commit(&key, Version::FIRST, record("admin"))
        .await;
    assert_eq!(outcome.unwrap(), CommitOutcome::Committed(Version(2)));
    assert_eq!(fleet.seen(&key).await.unwrap(), "admin");
    fleet.store.store().delete(&key).await.unwrap();
    assert_eq!(fleet.seen(&key).await, None, "without a report");
}

#[tokio::test]
async fn a_failing_store_is_an_error_unless_stale_reads_were_asked_for() {
    let fleet = fleet(|near| near);
    let key = fleet.created("a").await;
    let (sender, source) = reports();
    let mut following = pin!(fleet.near.follow(source));
    assert!(!poll(&mut following));
    fleet.seen(&key).await;
    fleet.store.fail(ErrorKind::Unavailable);
    assert_eq!(fleet.seen(&key).await.unwrap(), "a", "within the bound");
    drop(sender);
    assert!(poll(&mut following));
    let error = fleet.near.load(&key, Slide::No).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn stale_reads_that_were_asked_for_are_bounded_and_never_privileged() {
    let fleet = fleet(|near| near.stale_read_only(SECOND * 60, is_privileged));
    let [guest, admin, revoked] = [
        fleet.created("guest").await,
        fleet.created("admin").await,
        fleet.created("guest").await,
    ];
    let (sender, source) = reports();
    let mut following = pin!(fleet.near.follow(source));
    assert!(!poll(&mut following));
    for key in [&guest, &admin, &revoked] {
        fleet.seen(key).await;
    }
    fleet.store.store().delete(&revoked).await.unwrap();
    sender.send(Invalidation::Key(revoked)).unwrap();
    assert!(!poll(&mut following));
    drop(sender);
    assert!(poll(&mut following));

    for kind in [ErrorKind::Corrupt, ErrorKind::Other] {
        fleet.store.fail(kind);
        let error = fleet.near.load(&guest, Slide::No).await.unwrap_err();
        assert_eq!(error.kind(), kind, "an answer is not an outage");
    }
    for kind in [ErrorKind::Interrupted, ErrorKind::Unavailable] {
        fleet.store.fail(kind);
        assert_eq!(fleet.seen(&guest).await.unwrap(), "guest");
        for key in [&admin, &revoked] {
            let error = fleet.near.load(key, Slide::No).await.unwrap_err();
            assert_eq!(error.kind(), kind);
        }
    }
    assert_eq!(fleet.near.stats().served_stale, 2);
    let write = fleet.near.commit(&guest, Version::FIRST, record("x")).await;
    assert!(write.is_err(), "read only");
    let error = fleet.near.load(&guest, Slide::No).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Unavailable,
        "and it may have got through"
    );

    fleet.store.heal();
    fleet.seen(&guest).await;
    fleet.store.fail(ErrorKind::Unavailable);
    fleet.clock.advance(SECOND * 60 - Duration::from_nanos(1));
    fleet.seen(&guest).await.unwrap();
    fleet.clock.advance(Duration::from_nanos(1));
    let error = fleet.near.load(&guest, Slide::No).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn memory_is_bounded() {
    let fleet = fleet(|near| near.max_bytes(64 << 10));
    let (_sender, source) = reports();
    let mut following = pin!(fleet.near.follow(source));
    assert!(!poll(&mut following));
    let mut keys = Vec::new();
    for _ in 0..1_000 {
        let key = fleet.created("0123456789abcdef").await;
        fleet.seen(&key).await;
        keys.push(key);
    }
    let before = fleet.near.stats().hits;
    for key in &keys {
        assert!(fleet.seen(key).await.is_some());
    }
    let kept = fleet.near.stats().hits - before;
    assert!(kept * (256 + 16) <= 64 << 10, "{kept} sessions were kept");
}
