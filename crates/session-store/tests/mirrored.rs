//! Several stores as one: the contract, and what is left when some of them die.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;
#[path = "mirrored/network.rs"]
mod network;
#[path = "mirrored/users.rs"]
mod users;
#[path = "mirrored/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use common::{HOUR, Under, key, record};
use purlin_core::{ManualClock, NodeId, Placement, Safety};
use purlin_session_store::conformance::{Fault, Faults, Faulty, check, lines, walk};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, ErrorKind, Lifetime, MemoryStore, MirrorError, Mirrored, Record,
    RotateOutcome, SessionStore, Slide, Version,
};
use static_assertions::assert_impl_all;
use world::World;

assert_impl_all!(Mirrored<MemoryStore, Turned>: Send, Sync, std::fmt::Debug, SessionStore);

/// Nodes 0 to `n`, beginning at one that the key says.
#[derive(Debug)]
pub(crate) struct Turned(pub(crate) u64);

impl Placement for Turned {
    fn hash_key(&self, key: &[u8]) -> u64 {
        u64::from(key[1])
    }
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        Some(NodeId(hash % self.0))
    }
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let nodes = (0..self.0).map(|step| NodeId((hash + step) % self.0));
        into.iter_mut()
            .zip(nodes)
            .map(|(place, node)| *place = node)
            .count()
    }
}

type Store = Arc<Faulty<MemoryStore<ManualClock>>>;

struct Mirror {
    under: Under<Mirrored<Store, Turned>>,
    stores: Vec<Store>,
}

fn mirror(nodes: u64, copies: usize) -> Mirror {
    let clock = ManualClock::new();
    let store = |_| {
        let memory = MemoryStore::builder().clock(clock.clone()).build();
        Arc::new(Faulty::new(memory))
    };
    let stores: Vec<Store> = (0..nodes).map(store).collect();
    let named = stores.iter().cloned().enumerate();
    let named = named.map(|(id, store)| (NodeId(id as u64), store));
    let store = Mirrored::new(Turned(nodes), named, copies).unwrap().seed(7);
    Mirror {
        under: Under { store, clock },
        stores,
    }
}

#[tokio::test]
async fn the_contract_holds_with_any_number_of_copies() {
    // The simulation below has three and five copies.
    for (nodes, copies) in [(1, 1), (5, 3)] {
        check(&mirror(nodes, copies).under).await.unwrap();
    }
}

#[tokio::test]
async fn the_contract_holds_with_a_minority_down() {
    let mirror = mirror(3, 3);
    mirror.stores[1].fail(ErrorKind::Interrupted);
    check(&mirror.under).await.unwrap();
}

#[tokio::test]
async fn mirrored_stores_walk_with_the_model() {
    for seed in 0..6 {
        let verdict = walk(&mirror(4, 3).under, seed, 60).await;
        assert!(verdict.is_ok(), "seed {seed}: {verdict:?}");
    }
}

purlin_session_store::conformance_regressions!(mirror(3, 3).under);

#[tokio::test]
async fn line_06_an_outage_beneath_logs_nobody_out() {
    let mirror = mirror(3, 3);
    let beneath: Vec<_> = mirror.stores.iter().map(|store| &**store).collect();
    let store = &mirror.under.store;
    let verdict = lines::an_outage_beneath_logs_nobody_out(store, &beneath).await;
    assert!(verdict.is_ok(), "{verdict:?}");
}

#[tokio::test]
async fn a_majority_down_is_an_error_and_never_no_session() {
    let mirror = mirror(3, 3);
    let (store, one) = (&mirror.under.store, key());
    let _ = store.create(&one, record("x")).await.unwrap();
    mirror.stores[0].fail(ErrorKind::Unavailable);
    mirror.stores[2].fail(ErrorKind::Unavailable);
    let error = store.load(&one, Slide::No).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = store
        .commit(&one, Version::FIRST, record("y"))
        .await
        .unwrap_err();
    assert_eq!(error.retry().safety, Safety::Safe, "nothing was written");
    assert_eq!(error.into_record(), Some(record("y")));
    assert!(store.delete(&one).await.is_err());
    let (fresh, other) = (key(), key());
    assert!(store.create(&fresh, record("z")).await.is_err());
    let rotated = store.rotate(&one, &other, Version::FIRST, record("z"), HOUR);
    assert!(rotated.await.is_err());

    for store in &mirror.stores {
        store.heal();
    }
    let entry = store.load(&one, Slide::No).await.unwrap().unwrap();
    assert_eq!(
        (entry.version, &entry.payload[..]),
        (Version::FIRST, &b"x"[..])
    );
}

/// Each store in turn sleeps through a commit, and then through a logout. It is believed in neither.
#[tokio::test]
async fn a_store_that_slept_is_corrected_and_revives_nothing() {
    for sleeper in 0..3 {
        let mirror = mirror(3, 3);
        let (store, one) = (&mirror.under.store, key());
        let _ = store.create(&one, record("old")).await.unwrap();
        mirror.stores[sleeper].fail(ErrorKind::Unavailable);
        let outcome = store.commit(&one, Version::FIRST, record("new")).await;
        assert_eq!(outcome.unwrap(), CommitOutcome::Committed(Version(2)));
        mirror.stores[sleeper].heal();
        // With every other store away once, the sleeper is needed.
        for away in (0..3).filter(|&away| away != sleeper) {
            mirror.stores[away].fail(ErrorKind::Unavailable);
            let entry = store.load(&one, Slide::No).await.unwrap().unwrap();
            assert_eq!(&entry.payload[..], b"new");
            mirror.stores[away].heal();
        }

        mirror.stores[sleeper].fail(ErrorKind::Unavailable);
        assert!(store.delete(&one).await.unwrap());
        mirror.stores[sleeper].heal();
        // Long after every store would have forgotten by itself, and the sleeper's copy kept alive by use.
        for _ in 0..20 {
            mirror.under.clock.advance(HOUR / 2);
            for away in 0..3 {
                mirror.stores[away].fail(ErrorKind::Unavailable);
                let loaded = store.load(&one, Slide::to(HOUR)).await.unwrap();
                assert_eq!(loaded, None, "{sleeper} slept, {away} is away");
                mirror.stores[away].heal();
            }
            let late = store.commit(&one, Version(2), record("back")).await;
            assert_eq!(late.unwrap(), CommitOutcome::Gone);
            let again = store.create(&one, record("again")).await;
            assert_eq!(again.unwrap(), CreateOutcome::Collision);
        }
    }
}

/// A copy that is out of date is not kept alive by use, also if the others die when they are to be told of it.
#[tokio::test]
async fn use_reaches_only_copies_that_are_up_to_date() {
    let mirror = mirror(3, 3);
    let (store, one) = (&mirror.under.store, key());
    let lifetime = Lifetime::new(HOUR, HOUR * 1_000);
    let created = store.create(&one, Record::new("old", lifetime)).await;
    assert_eq!(created.unwrap(), CreateOutcome::Created(Version::FIRST));
    mirror.stores[2].fail(ErrorKind::Unavailable);
    let write = Record::new("new", lifetime);
    let outcome = store.commit(&one, Version::FIRST, write).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(Version(2)));
    mirror.stores[2].heal();

    mirror.under.clock.advance(HOUR * 3 / 4);
    for up_to_date in 0..2 {
        mirror.stores[up_to_date]
            .inject(Faults::always(Fault::Before(ErrorKind::Unavailable)).after(1));
    }
    assert!(store.load(&one, Slide::to(HOUR)).await.is_err());
    for store in &mirror.stores {
        store.heal();
    }
    mirror.under.clock.advance(HOUR / 2);
    for away in 0..3 {
        mirror.stores[away].fail(ErrorKind::Unavailable);
        let loaded = store.load(&one, Slide::No).await.unwrap();
        assert_eq!(loaded, None, "it ended a quarter of an hour ago");
        mirror.stores[away].heal();
    }
}

/// A writer dies when one store has its write. Whoever comes next completes it or forgets it, and then it stays so.
#[tokio::test]
async fn a_write_that_reached_one_store_is_either_done_or_not() {
    for lonely in 0..3 {
        let mirror = mirror(3, 3);
        let (store, one) = (&mirror.under.store, key());
        let _ = store.create(&one, record("old")).await.unwrap();
        // Prepared everywhere, accepted by one: the others fail from the third call on.
        for (idx, other) in mirror.stores.iter().enumerate() {
            if idx != lonely {
                other.inject(Faults::always(Fault::Before(ErrorKind::Interrupted)).after(2));
            }
        }
        let error = store
            .commit(&one, Version::FIRST, record("new"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "nobody knows");
        for other in &mirror.stores {
            other.heal();
        }
        let first = store.load(&one, Slide::No).await.unwrap().unwrap();
        assert!([&b"old"[..], b"new"].contains(&&first.payload[..]));
        for away in 0..3 {
            mirror.stores[away].fail(ErrorKind::Unavailable);
            let entry = store.load(&one, Slide::No).await.unwrap().unwrap();
            assert_eq!(
                entry.payload, first.payload,
                "{lonely} had it, {away} is away"
            );
            mirror.stores[away].heal();
        }
    }
}

/// The rotation has happened at the old key, and whoever did it died before the new key heard.
#[tokio::test]
async fn a_rotation_that_broke_off_is_finished_by_whoever_uses_the_new_key() {
    for calls in 1..24 {
        let mirror = mirror(3, 3);
        let (store, one, two) = (&mirror.under.store, key(), key());
        let _ = store.create(&one, record("old")).await.unwrap();
        for other in &mirror.stores {
            other.inject(Faults::always(Fault::Before(ErrorKind::Unavailable)).after(calls));
        }
        let outcome = store
            .rotate(&one, &two, Version::FIRST, record("new"), HOUR)
            .await;
        for other in &mirror.stores {
            other.heal();
        }
        let old = store.load(&one, Slide::No).await.unwrap().unwrap();
        let new = store.load(&two, Slide::No).await.unwrap();
        assert_eq!(&old.payload[..], b"old");
        match old.superseded_by {
            None => {
                assert_eq!(new, None, "broken off after {calls} calls");
                assert!(outcome.is_err());
            }
            Some(by) => {
                assert_eq!(by, two);
                assert_eq!(&new.unwrap().payload[..], b"new");
            }
        }
        let again = store
            .rotate(&one, &two, Version::FIRST, record("new"), HOUR)
            .await;
        let expected = [
            RotateOutcome::Rotated(Version(2)),
            RotateOutcome::Superseded(two),
        ];
        assert!(expected.contains(&again.unwrap()));
        assert!(store.delete(&one).await.unwrap());
        assert_eq!(store.load(&two, Slide::No).await.unwrap(), None);
    }
}

#[tokio::test]
async fn sessions_without_limits_have_none_here_either() {
    let mirror = mirror(3, 3);
    let (store, one) = (&mirror.under.store, key());
    let forever = Lifetime::new(Duration::MAX, Duration::MAX);
    let _ = store.create(&one, Record::new("x", forever)).await.unwrap();
    mirror.under.clock.advance(HOUR * 24 * 365);
    let entry = store
        .load(&one, Slide::to(Duration::MAX))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.remaining, forever);
}

#[tokio::test]
async fn limits_of_the_stores_are_told_with_the_record() {
    let stores = (0..3).map(|id| (NodeId(id), MemoryStore::builder().max_payload(200).build()));
    let store = Mirrored::new(Turned(3), stores, 3).unwrap();
    let one = key();
    let _ = store.create(&one, record("x")).await.unwrap();
    let lifetime = Lifetime::new(HOUR, HOUR);
    let fits = 200 - Mirrored::<MemoryStore, Turned>::OVERHEAD;
    let large = Record::new(vec![7; fits], lifetime);
    let outcome = store.commit(&one, Version::FIRST, large).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(Version(2)));
    let huge = Record::new(vec![7; 300], lifetime);
    let error = store
        .commit(&one, Version(2), huge.clone())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(error.into_record(), Some(huge));
    let entry = store.load(&one, Slide::No).await.unwrap().unwrap();
    assert_eq!((entry.version, entry.payload.len()), (Version(2), fits));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let stores = |n| (0..n).map(|id| (NodeId(id), MemoryStore::new()));
    for copies in [0, 10, usize::MAX] {
        let refused = Mirrored::new(Turned(9), stores(9), copies).unwrap_err();
        assert_eq!(refused, MirrorError::Copies { copies });
    }
    let refused = Mirrored::new(Turned(3), stores(1), 3).unwrap_err();
    assert_eq!(
        refused,
        MirrorError::TooFewStores {
            stores: 1,
            copies: 3
        }
    );
}

/// Clients at once, stores that fail and come back, messages that are lost on their way there and back, in an order
/// that a seed decides: nothing that was acknowledged is lost, nothing that was refused is done, and time does not go back.
#[test]
fn no_order_of_events_loses_what_was_acknowledged() {
    let mut sum = world::Outcome::default();
    for seed in 0..400 {
        sum += World::new(seed, 3).run();
    }
    for seed in 0..60 {
        sum += World::new(seed, 5).run();
    }
    println!("{sum:?}");
    assert!(
        sum.acknowledged > 2_000 && sum.conflicts > 500 && sum.unknown > 100,
        "{sum:?}"
    );
    assert!(sum.rotated > 60 && sum.deleted > 50, "{sum:?}");
}

/// The same with users, who log in and out here and there: what a logout everywhere has ended stays so, whatever was in
/// flight and whichever store comes back; lists are never short, and caps hold. `ci/mirrored.sh` runs ten thousand.
#[test]
fn no_order_of_events_brings_a_session_through_a_logout_everywhere() {
    let seeds = std::env::var("PURLIN_MIRROR_SEEDS").map_or(80, |seeds| seeds.parse().unwrap());
    let mut sum = users::Outcome::default();
    for seed in 0..seeds {
        sum += users::World::new(seed, if seed % 3 == 0 { 5 } else { 3 }).run();
    }
    println!("{sum:?}");
    assert!(
        sum.logins > seeds && sum.revoked > seeds && sum.ended > seeds / 2,
        "{sum:?}"
    );
    assert!(
        sum.told > seeds / 10 && sum.unknown > seeds && sum.late > seeds,
        "{sum:?}"
    );
}
