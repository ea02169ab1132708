//! Sessions in several regions, each with a store of its own: the contract in one, and what they make of each other's.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;
#[path = "regional/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{HOUR, Under, key, record};
use purlin_core::sync::Mutex;
use purlin_core::{ManualClock, Retry, WallTime};
use purlin_session_store::conformance::{Fault, Faults, Faulty, check, lines, walk};
use purlin_session_store::regions::{
    ExchangeError, Exchanged, ReceiveError, Received, RegionId, RegionLink, Regional,
};
use purlin_session_store::{
    Cap, CommitOutcome, CreateOutcome, Entry, ErrorKind, Lifetime, MemoryStore, Owner,
    PayloadError, Policy, Record, RotateOutcome, Session, SessionKey, SessionStore, Sessions,
    Slide, StoreError, UserKey, Version,
};
use static_assertions::assert_impl_all;

assert_impl_all!(Regional<MemoryStore>: Send, Sync, std::fmt::Debug, SessionStore);

type Store = Arc<Faulty<MemoryStore<ManualClock>>>;
type Region = Regional<Store, ManualClock>;

const EAST: RegionId = RegionId(1);
const WEST: RegionId = RegionId(2);
const SECOND: Duration = Duration::from_secs(1);

/// A region on a clock that is so many minutes ahead of the others'.
fn region(id: RegionId, peers: &[RegionId], minutes_ahead: u64) -> Under<Region> {
    let wall = WallTime::from_unix_millis(1_000_000_000_000 + minutes_ahead * 60_000);
    let clock = ManualClock::at_wall(wall);
    on(clock, id, peers, MemoryStore::builder().max_payload(2_000))
}

fn on(
    clock: ManualClock,
    id: RegionId,
    peers: &[RegionId],
    limits: purlin_session_store::Builder,
) -> Under<Region> {
    let memory = limits.clock(clock.clone()).build();
    let store = Regional::new(id, peers.iter().copied(), Arc::new(Faulty::new(memory)))
        .clock(clock.clone())
        .seed(id.0.into());
    Under { store, clock }
}

/// Two regions that can be told what happened, when a test wants it.
struct Two {
    east: Under<Region>,
    west: Under<Region>,
}

impl Two {
    fn new() -> Self {
        Two {
            east: region(EAST, &[WEST], 0),
            west: region(WEST, &[EAST], 7),
        }
    }

    fn pass(&self, time: Duration) {
        self.east.clock.advance(time);
        self.west.clock.advance(time);
    }

    async fn tell(&self) -> [Exchanged; 2] {
        let (east, west) = (&self.east.store, &self.west.store);
        let eastward = west.exchange(EAST, east).await.unwrap();
        let westward = east.exchange(WEST, west).await.unwrap();
        [eastward, westward]
    }
}

async fn created(region: &Region, payload: &'static str, owner: Owner) -> SessionKey {
    let key = key();
    let record = record(payload).with_owner(owner);
    let outcome = region.create(&key, record).await.unwrap();
    assert_eq!(outcome, CreateOutcome::Created(Version::FIRST));
    key
}

async fn loaded(region: &Region, key: &SessionKey) -> Option<Entry> {
    region.load(key, Slide::No).await.unwrap()
}

async fn lives(region: &Region, key: &SessionKey) -> bool {
    let entry = loaded(region, key).await;
    entry.is_some_and(|entry| entry.superseded_by.is_none())
}

fn of(user: &str) -> Owner {
    let user = UserKey::of(user);
    Owner::User { user, cap: None }
}

/// For the suites, whose payloads are larger.
fn roomy(id: RegionId, peers: &[RegionId]) -> Under<Region> {
    let clock = ManualClock::at_wall(WallTime::from_unix_millis(1_000_000_000_000));
    on(clock, id, peers, MemoryStore::builder())
}

#[tokio::test]
async fn a_region_keeps_the_contract_with_peers_that_are_away_and_without() {
    check(&roomy(EAST, &[WEST])).await.unwrap();
    walk(&roomy(EAST, &[]), 1, 80).await.unwrap();
}

#[tokio::test]
async fn a_region_walks_with_the_model() {
    for seed in 0..2 {
        let verdict = walk(&roomy(EAST, &[WEST]), seed, 80).await;
        assert!(verdict.is_ok(), "seed {seed}: {verdict:?}");
    }
}

purlin_session_store::conformance_lines!(roomy(EAST, &[WEST]));

#[tokio::test]
async fn line_06_an_outage_beneath_logs_nobody_out() {
    for peers in [&[][..], &[WEST]] {
        let Under { store, .. } = roomy(EAST, peers);
        let verdict = lines::an_outage_beneath_logs_nobody_out(&store, &[&**store.store()]).await;
        assert!(verdict.is_ok(), "{verdict:?}");
    }
}

/// `ci/regions.sh` runs many more.
#[test]
fn regions_agree_in_the_end_and_an_end_wins_whatever_happens() {
    let seeds = std::env::var("PURLIN_REGIONAL_SEEDS").map_or(40, |seeds| seeds.parse().unwrap());
    let first = std::env::var("PURLIN_REGIONAL_FIRST").map_or(0, |first| first.parse().unwrap());
    let mut sum = world::Outcome::default();
    for seed in first..first + seeds {
        sum += world::World::new(seed).run();
    }
    println!("{seeds} seeds: {sum:?}");
    assert!(
        sum.live > seeds && sum.writes > seeds && sum.rotations > seeds,
        "{sum:?}"
    );
    assert!(
        sum.ends > seeds / 4 && sum.revocations > seeds / 4,
        "{sum:?}"
    );
    assert!(sum.lost > seeds && sum.deaths > seeds / 2, "{sum:?}");
}

/// Every call is told to the other region, which tells what it has made of it, before the next one.
struct Connected(Two);

impl Connected {
    async fn then<T>(&self, call: impl Future<Output = T>) -> T {
        let answer = call.await;
        self.0.tell().await;
        answer
    }
}

impl SessionStore for Connected {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.then(self.0.east.store.create(key, record)).await
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        let here = self.then(self.0.east.store.load(key, slide)).await?;
        let there = self.0.west.store.load(key, Slide::No).await?;
        let seen = |entry: &Entry| (entry.payload.clone(), entry.owner, entry.superseded_by);
        assert_eq!(here.as_ref().map(seen), there.as_ref().map(seen));
        Ok(here)
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.then(self.0.east.store.commit(key, expected, record))
            .await
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let east = &self.0.east.store;
        self.then(east.rotate(old, new, expected, record, grace))
            .await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.then(self.0.east.store.delete(key)).await
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        let mut listed = self.0.east.store.by_user(user).await?;
        let mut there = self.0.west.store.by_user(user).await?;
        listed.sort_unstable();
        there.sort_unstable();
        assert_eq!(listed, there);
        Ok(listed)
    }

    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        self.then(self.0.east.store.revoke_user(user, except)).await
    }
}

#[tokio::test]
async fn two_connected_regions_walk_with_the_model_as_one() {
    for seed in 0..2 {
        let two = Two::new();
        let clock = two.east.clock.clone();
        let store = Connected(two);
        walk(&Under { store, clock }, seed, 60).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_written_apart_stays_apart_and_of_one_field_the_later_write_is_left() {
    let two = Two::new();
    let policy = || Policy::default();
    let east = Sessions::new(&two.east.store, policy()).with_clock(two.east.clock.clone());
    let west = Sessions::new(&two.west.store, policy()).with_clock(two.west.clock.clone());
    let mut session = Session::absent();
    session.set_bytes("cart", "hammer").unwrap();
    let _ = east.commit(&mut session).await.unwrap();
    let id = session.id().unwrap().clone();
    two.tell().await;

    let mut here = east.open(id.clone()).await.unwrap();
    let mut there = west.open(id.clone()).await.unwrap();
    here.set_bytes("theme", "dark").unwrap();
    here.set_bytes("cart", "hammer, saw").unwrap();
    there.set_bytes("lang", "mi").unwrap();
    there.set_bytes("cart", "hammer, nails").unwrap();
    let _ = east.commit(&mut here).await.unwrap();
    two.pass(SECOND);
    let _ = west.commit(&mut there).await.unwrap();
    // A request that has read what was there before hears of it, and loses nothing.
    let mut late = east.open(id.clone()).await.unwrap();
    two.tell().await;
    late.set_bytes("late", "x").unwrap();
    let _ = east.commit(&mut late).await.unwrap();
    two.tell().await;
    for sessions in [&east, &west] {
        let seen = sessions.open(id.clone()).await.unwrap();
        for (name, value) in [
            ("theme", "dark"),
            ("lang", "mi"),
            ("cart", "hammer, nails"),
            ("late", "x"),
        ] {
            let found = seen.get_bytes(name);
            assert_eq!(found.as_deref(), Some(value.as_bytes()), "{name}");
        }
    }
}

/// The store itself has long forgotten the key by then.
#[tokio::test]
async fn a_late_message_brings_nothing_back() {
    let two = Two::new();
    let (east, west) = (&two.east.store, &two.west.store);
    let ended = created(east, "x", Owner::Nobody).await;
    let moved = created(east, "x", Owner::Nobody).await;
    let recorder = Recorder::default();
    recorder.record(east).await;
    two.tell().await;
    assert!(lives(west, &ended).await && lives(west, &moved).await);
    assert!(west.delete(&ended).await.unwrap());
    let entry = loaded(west, &moved).await.unwrap();
    let new = key();
    let outcome = west
        .rotate(&moved, &new, entry.version, record("y"), SECOND)
        .await;
    assert!(matches!(outcome.unwrap(), RotateOutcome::Rotated(_)));
    two.pass(Duration::from_secs(20 * 60));
    for message in recorder.take() {
        west.receive(message).await.unwrap();
    }
    assert!(!lives(west, &ended).await && !lives(west, &moved).await);
    two.tell().await;
    for region in [east, west] {
        assert!(!lives(region, &ended).await && !lives(region, &moved).await);
        assert!(lives(region, &new).await);
    }
}

/// Keeps what it is given.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<Bytes>>);

impl Recorder {
    /// All that a region has to tell. As nothing gets through, it has it still.
    async fn record(&self, region: &Region) {
        // Each exchange begins at another of the lists, and breaks off at the first message.
        for _ in 0..32 {
            let told = region.exchange(WEST, self).await;
            assert!(matches!(told, Err(ExchangeError::Link(Cut))));
        }
    }

    fn take(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.0.lock())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

impl RegionLink for Recorder {
    type Error = Cut;

    async fn deliver(&self, message: Bytes) -> Result<(), Cut> {
        self.0.lock().push(message);
        Err(Cut)
    }
}

#[tokio::test]
async fn an_old_id_reads_for_what_is_left_of_its_grace_in_the_other_region_too() {
    let two = Two::new();
    let (east, west) = (&two.east.store, &two.west.store);
    let old = created(east, "visitor", Owner::Nobody).await;
    two.tell().await;
    let new = key();
    let login = record("alice").with_owner(of("alice"));
    let outcome = east
        .rotate(&old, &new, Version::FIRST, login, 10 * SECOND)
        .await;
    assert_eq!(outcome.unwrap(), RotateOutcome::Rotated(Version(2)));
    // The west's clock is minutes ahead, and its own grace would be over; what is told is told in what is left.
    two.pass(2 * SECOND);
    two.tell().await;
    let past = loaded(west, &old).await;
    let is_over = past.is_none();
    assert!(is_over || past.unwrap().superseded_by == Some(new));
    let entry = loaded(west, &new).await.unwrap();
    assert_eq!(entry.payload, "alice");
    assert_eq!(west.by_user(&UserKey::of("alice")).await.unwrap(), [new]);
    // Whoever is late with the old id is told where the session is.
    let late = west.commit(&old, Version::FIRST, record("late")).await;
    assert_eq!(late.unwrap(), CommitOutcome::Superseded(new));
}

#[tokio::test]
async fn a_logout_everywhere_ends_what_the_region_has_never_heard_of() {
    let two = Two::new();
    let (east, west) = (&two.east.store, &two.west.store);
    let alice = UserKey::of("alice");
    let unheard = created(west, "x", of("alice")).await;
    let another = created(west, "x", of("bob")).await;
    let known = created(east, "x", of("alice")).await;
    let spared = created(east, "x", of("alice")).await;
    assert_eq!(east.revoke_user(&alice, Some(&spared)).await.unwrap(), 1);
    // Later by every clock, and without having heard of it.
    two.pass(HOUR / 4);
    let crossed = created(west, "x", of("alice")).await;
    two.tell().await;
    two.tell().await;
    let after = created(west, "x", of("alice")).await;
    two.tell().await;
    for region in [east, west] {
        for key in [unheard, known, crossed] {
            assert!(!lives(region, &key).await);
        }
        for key in [another, spared, after] {
            assert!(lives(region, &key).await);
        }
    }
}

#[tokio::test]
async fn a_session_that_makes_room_for_another_ends_everywhere() {
    let two = Two::new();
    let (east, west) = (&two.east.store, &two.west.store);
    let owner = Owner::User {
        user: UserKey::of("alice"),
        cap: Some(Cap::evict_oldest(1)),
    };
    let first = created(east, "x", owner).await;
    two.tell().await;
    two.pass(SECOND);
    let second = created(east, "x", owner).await;
    two.tell().await;
    for region in [east, west] {
        assert!(!lives(region, &first).await);
        assert!(lives(region, &second).await);
    }
}

/// However often a session is used while a region is away, it is told once; and the notes go when they are settled.
#[tokio::test]
async fn a_region_that_was_away_is_told_each_session_once() {
    let two = Two::new();
    let (east, west) = (&two.east.store, &two.west.store);
    let mut keys = Vec::new();
    for _ in 0..20 {
        keys.push(created(east, "0", Owner::Nobody).await);
    }
    for _ in 0..12 {
        two.pass(5 * SECOND);
        for key in &keys {
            let version = loaded(east, key).await.unwrap().version;
            let written = east.commit(key, version, record("n")).await.unwrap();
            assert_eq!(written, CommitOutcome::Committed(version.next()));
        }
        let error = east.exchange(WEST, &Recorder::default()).await.unwrap_err();
        assert!(matches!(error, ExchangeError::Link(Cut)));
        assert_eq!(error.retry(), Retry::NOW);
    }
    let [_, told] = two.tell().await;
    assert_eq!(
        (told.told, told.waiting),
        (20, 20),
        "the last are not settled"
    );
    two.pass(10 * SECOND);
    let [_, told] = two.tell().await;
    assert_eq!((told.told, told.waiting), (0, 0));
    let calls = east.store().calls();
    let [_, told] = two.tell().await;
    assert_eq!(told, Exchanged::default());
    assert_eq!(east.store().calls() - calls, 32, "nothing is left of them");
    for key in &keys {
        assert_eq!(loaded(west, key).await.unwrap().payload, "n");
    }
}

#[tokio::test]
async fn a_load_that_changes_nothing_is_one_call_and_leaves_no_note() {
    let two = Two::new();
    let east = &two.east.store;
    let key = created(east, "x", Owner::Nobody).await;
    let calls = east.store().calls();
    let _ = east.load(&key, Slide::to(HOUR)).await.unwrap();
    assert_eq!(east.store().calls() - calls, 1);
    two.pass(HOUR / 2);
    let calls = east.store().calls();
    let entry = east.load(&key, Slide::to(HOUR)).await.unwrap().unwrap();
    assert_eq!(entry.remaining.idle, HOUR);
    assert_eq!(east.store().calls() - calls, 3, "load, note, move");
    two.tell().await;
    two.pass(HOUR * 3 / 4);
    assert!(
        lives(&two.west.store, &key).await,
        "it was used in the east"
    );
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_what_cannot_be_stored_is_counted() {
    let two = Two::new();
    let (east, west) = (&two.east.store, &two.west.store);
    let error = west
        .receive(Bytes::from_static(b"hello"))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        ReceiveError::Message(PayloadError::Newer { format: b'h' })
    ));
    assert_eq!(error.retry(), Retry::NEVER);

    let small = on(
        two.west.clock.clone(),
        WEST,
        &[EAST],
        MemoryStore::builder().max_payload(300),
    );
    created(east, "x", Owner::Nobody).await;
    let large = "y".repeat(400);
    let outcome = east
        .create(&key(), Record::new(large, record("").lifetime))
        .await;
    assert!(outcome.is_ok());
    let recorder = Recorder::default();
    recorder.record(east).await;
    let mut sum = Received::default();
    for message in recorder.take() {
        let received = small.store.receive(message).await.unwrap();
        sum.heard += received.heard;
        sum.refused += received.refused;
    }
    assert!(sum.heard >= 1 && sum.refused >= 1, "{sum:?}");

    // A store that is down is asked again.
    recorder.record(east).await;
    west.store().fail(ErrorKind::Unavailable);
    let error = west.receive(recorder.take().remove(0)).await.unwrap_err();
    assert!(matches!(error, ReceiveError::Store(_)));
    assert_ne!(error.retry(), Retry::NEVER);
    west.store().heal();
    two.pass(11 * SECOND);
    let error = {
        west.store().fail(ErrorKind::Unavailable);
        east.exchange(WEST, west).await.unwrap_err()
    };
    assert!(matches!(error, ExchangeError::Link(_)), "{error:?}");
    west.store().heal();
    two.tell().await;
    assert_eq!(two.tell().await[1], Exchanged::default());
}

#[tokio::test]
async fn a_refused_record_comes_back_as_it_was_given() {
    let two = Two::new();
    let east = &two.east.store;
    let one = created(east, "x", Owner::Nobody).await;
    let huge = Record::new(vec![7; 3_000], record("").lifetime);
    let created = east.create(&key(), huge.clone()).await.unwrap_err();
    let written = east.commit(&one, Version::FIRST, huge.clone()).await;
    let new = key();
    let moved = east.rotate(&one, &new, Version::FIRST, huge.clone(), SECOND);
    for error in [created, written.unwrap_err(), moved.await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(error.into_record(), Some(huge.clone()));
    }
    east.store()
        .inject(Faults::always(Fault::Before(ErrorKind::Interrupted)).after(1));
    let error = east
        .commit(&one, Version::FIRST, record("y"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert_eq!(error.into_record(), None);
}

/// A request is dropped after each of its calls, as when its process dies, and what it had begun is finished or not there.
#[tokio::test]
async fn a_logout_that_breaks_off_anywhere_ends_the_session_or_leaves_it() {
    for calls in 0..8 {
        let two = Two::new();
        let (east, west) = (&two.east.store, &two.west.store);
        let one = created(east, "x", of("alice")).await;
        two.tell().await;
        east.store()
            .inject(Faults::always(Fault::Before(ErrorKind::Unavailable)).after(calls));
        let ended = east.delete(&one).await;
        east.store().heal();
        two.pass(11 * SECOND);
        two.tell().await;
        let live = [lives(east, &one).await, lives(west, &one).await];
        assert_eq!(live[0], live[1], "broken off after {calls} calls");
        assert!(!live[0] || ended.is_err());
        let _ = east.delete(&one).await.unwrap();
        two.tell().await;
        assert!(!lives(east, &one).await && !lives(west, &one).await);
    }
}

/// The other region's message breaks off at each of the store's calls, while it is told of the revocation. Then it ends the session, and
/// has nothing to tell of it any more.
#[tokio::test]
async fn a_session_that_was_revoked_here_does_not_come_back_from_a_message_that_breaks_off() {
    for calls in 0..16 {
        let two = Two::new();
        let (east, west) = (&two.east.store, &two.west.store);
        let one = created(west, "x", of("alice")).await;
        assert_eq!(
            east.revoke_user(&UserKey::of("alice"), None).await.unwrap(),
            0
        );
        two.pass(11 * SECOND);
        let crossing = Crossing { two: &two, calls };
        let _ = east.exchange(WEST, crossing).await.unwrap();
        assert!(!lives(west, &one).await);
        two.tell().await;
        assert!(!lives(east, &one).await, "broken off after {calls} calls");
    }
}

/// The line to the west, on which a message to the east comes first and breaks off.
struct Crossing<'a> {
    two: &'a Two,
    calls: u64,
}

impl RegionLink for Crossing<'_> {
    type Error = ReceiveError;

    async fn deliver(&self, message: Bytes) -> Result<(), ReceiveError> {
        let (east, west) = (&self.two.east.store, &self.two.west.store);
        let outage = Faults::always(Fault::Before(ErrorKind::Unavailable)).after(self.calls);
        east.store().inject(outage);
        let _ = west.exchange(EAST, east).await;
        east.store().heal();
        west.receive(message).await.map(drop)
    }
}

/// It is asked for once without an answer, and again. Meanwhile the session is moved elsewhere, and then it is over here.
#[tokio::test]
async fn a_deadline_that_is_moved_in_twice_holds_in_every_region() {
    for calls in 0..12 {
        let two = Two::new();
        let (east, west) = (&two.east.store, &two.west.store);
        let one = created(east, "x", Owner::Nobody).await;
        two.tell().await;
        let moved = Record::new("y", Lifetime::new(HOUR * 4, Duration::MAX));
        let here = loaded(west, &one).await.unwrap();
        let new = key();
        let rotated = west.rotate(&one, &new, here.version, moved, SECOND).await;
        assert!(matches!(rotated.unwrap(), RotateOutcome::Rotated(_)));

        let outage = Faults::always(Fault::Before(ErrorKind::Unavailable)).after(calls);
        east.store().inject(outage);
        let sooner = || Record::new("x", Lifetime::new(HOUR, HOUR * 6));
        let _ = east.commit(&one, Version::FIRST, sooner()).await;
        east.store().heal();
        let present = loaded(east, &one).await.unwrap().version;
        let again = east.commit(&one, present, sooner()).await.unwrap();
        assert!(matches!(again, CommitOutcome::Committed(_)));
        two.pass(HOUR * 2);
        assert!(!lives(east, &one).await, "it was not used");
        two.tell().await;
        for region in [east, west] {
            let left = loaded(region, &new).await.unwrap().remaining.absolute;
            assert!(left <= HOUR * 4, "{left:?}, broken off after {calls} calls");
        }
    }
}
