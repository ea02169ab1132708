//! The version in use: only forward, whole or not at all, and known by what it changed.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{hashes, node, nodes};
use proptest::prelude::*;
use purlin_core::{NodeId, Placement, PlacementHash, Retry};
use purlin_hash_ring::{
    Algorithm, AnyPlacement, BoundedLoad, Change, Current, PublishErrorKind, Published, Reader,
    Ring, SlotTable, Versioned, evenly, least_movement,
};

fn table(n: u64) -> SlotTable {
    SlotTable::builder()
        .slot_bits(8)
        .nodes(nodes(n))
        .build()
        .unwrap()
}

fn kind_of<P: Versioned>(current: &Current<P>, next: P) -> PublishErrorKind {
    current.publish(next).unwrap_err().kind()
}

#[test]
fn ring_versions_only_go_up() {
    let first = table(4);
    let (second, third) = (
        first.without(NodeId(1)),
        first.without(NodeId(1)).without(NodeId(2)),
    );
    let current = Current::new(first.clone());
    assert_eq!(current.version(), 1);
    let change = current.publish(third.clone()).unwrap().change().unwrap();
    assert_eq!((&**change.from(), &**change.to()), (&first, &third));
    assert_eq!(*current.get(), third);

    for late in [first, second] {
        let offered = late.version();
        let refused = current.publish(late.clone()).unwrap_err();
        assert_eq!(
            refused.kind(),
            PublishErrorKind::Older {
                current: 3,
                offered
            }
        );
        assert_eq!(refused.retry(), Retry::NEVER);
        assert_eq!(*refused.into_version(), late, "given back");
    }
    assert_eq!(*current.get(), third);
}

#[test]
fn ring_one_version_has_one_content() {
    let first = table(4);
    let current = Current::new(first.clone());
    let ours = first.with(node(5, 1)).unwrap();
    let theirs = first.with(node(6, 1)).unwrap();
    assert!(current.publish(ours.clone()).is_ok());
    let held = current.get();
    let refused = current.publish(theirs).unwrap_err();
    assert_eq!(refused.kind(), PublishErrorKind::Conflict { version: 2 });
    assert_eq!(refused.to_string(), "the version was not published");
    assert_eq!(
        refused.source().unwrap().to_string(),
        "another version 2 is in use"
    );

    // The same once more is no error, and takes nothing's place.
    assert!(matches!(current.publish(ours), Ok(Published::Unchanged)));
    assert!(Arc::ptr_eq(&current.get(), &held));
}

#[test]
fn ring_a_version_of_another_hash_is_refused() {
    let current = Current::new(table(4));
    let other = SlotTable::builder()
        .hash(PlacementHash::siphash24([1; 16]))
        .version(9)
        .build()
        .unwrap();
    assert_eq!(kind_of(&current, other), PublishErrorKind::Unrelated);
    assert_eq!(current.version(), 1);
}

/// The version after the last is the last, so that a change of it is another content of one version.
#[test]
fn ring_the_last_version_cannot_be_followed() {
    let last = SlotTable::builder().version(u64::MAX).build().unwrap();
    let current = Current::new(last.clone());
    let next = last.with(node(1, 1)).unwrap();
    let conflict = PublishErrorKind::Conflict { version: u64::MAX };
    assert_eq!(kind_of(&current, next), conflict);
}

#[test]
fn ring_an_algorithm_can_be_changed_and_some_changes_have_no_ranges() {
    let ring = AnyPlacement::from_nodes(Algorithm::Ring, nodes(5)).unwrap();
    let current = Current::new(ring);
    let table = SlotTable::builder()
        .version(2)
        .nodes(nodes(5))
        .build()
        .unwrap();
    let change = current
        .publish(AnyPlacement::from(table))
        .unwrap()
        .change()
        .unwrap();
    assert!(change.diff_any(1).unwrap().count() > 0);
    let jump = AnyPlacement::from_nodes(Algorithm::Jump, nodes(5)).unwrap();
    let jump = jump.with(node(6, 1)).unwrap().with(node(7, 1)).unwrap();
    let change = current.publish(jump).unwrap().change().unwrap();
    assert!(change.diff_any(1).is_err());
    assert!(hashes(100).any(|hash| change.moves(hash, 1)));
}

/// A change lists exactly what moved, and its plan copies that.
#[test]
fn ring_a_change_is_what_moved() {
    let current = Current::new(table(4));
    let mut reader = current.reader();
    assert!(reader.changed().is_none());
    for id in 5..=8 {
        current
            .publish(current.get().with(node(id, 1)).unwrap())
            .unwrap();
    }
    // Four versions at once.
    let change: Change<SlotTable> = reader.changed().unwrap();
    assert_eq!(format!("{change:?}"), "Change { from: 1, to: 5 }");
    let moved: u128 = change.diff(1).map(|moved| moved.n_hashes()).sum();
    let list = |table: &SlotTable| -> Vec<_> {
        table
            .nodes()
            .iter()
            .map(|node| (node.id, node.weight))
            .collect()
    };
    let least = least_movement(&list(change.from()), &list(change.to()));
    assert_eq!(moved as f64 / 2f64.powi(64), least);
    assert_eq!(change.plan(1, evenly(1 << 20)).copied_bytes(), 1 << 19);
    assert!(hashes(500).all(|hash| {
        let (before, after) = (
            change.from().owner_of_hash(hash),
            change.to().owner_of_hash(hash),
        );
        change.moves(hash, 1) == (before != after)
    }));
    assert!(reader.changed().is_none());
}

#[test]
fn ring_the_version_in_use_is_a_placement() {
    let current: Arc<Current<Ring>> = Arc::new(Current::new(Ring::from_nodes(nodes(5)).unwrap()));
    let object: &dyn Placement = &current;
    let (mut of_object, mut of_ring) = ([NodeId(0); 3], [NodeId(0); 3]);
    for _ in 0..2 {
        let ring = current.get();
        for key in ["", "a", "user:17"] {
            assert_eq!(object.owner(key.as_bytes()), ring.owner_of(key));
            assert_eq!(current.owner_of(key), ring.owner_of(key));
            assert_eq!(object.hash_key(key.as_bytes()), ring.hash().of(key));
            assert_eq!(object.replicas(key.as_bytes(), &mut of_object), 3);
            assert_eq!(ring.replicas_of(key, &mut of_ring), 3);
            assert_eq!(of_object, of_ring);
        }
        current.publish(ring.without(NodeId(2))).unwrap();
    }
}

/// What older versions hold counts in the next; a load that would begin to count anew is refused.
#[test]
fn ring_r10_a_bounded_load_goes_on_counting() {
    let bounded = BoundedLoad::new(table(4), nodes(4), 1.25).unwrap();
    let current = Current::new(bounded);
    let version = current.get();
    let held = version.acquire("user:17").unwrap();
    let next = version.placement().with(node(5, 1)).unwrap();

    let anew = BoundedLoad::new(next.clone(), nodes(5), 1.25).unwrap();
    assert_eq!(kind_of(&current, anew), PublishErrorKind::Unrelated);
    assert_eq!(current.version(), 1);

    current
        .publish(version.with_placement(next.clone(), nodes(5)).unwrap())
        .unwrap();
    assert_eq!(current.version(), 2);
    assert_eq!(
        (current.get().total(), current.get().load(held.node())),
        (1, Some(1))
    );
    let again = version.with_placement(next, nodes(5)).unwrap();
    assert!(matches!(current.publish(again), Ok(Published::Unchanged)));
}

/// Publishers at odds, and readers who look all the time: nobody sees a version after a later one, each version
/// that is seen is whole, and in the end the newest is in use.
#[test]
fn ring_r6_no_reader_goes_back_whoever_publishes() {
    const VERSIONS: u64 = if cfg!(miri) { 6 } else { 120 };
    // Version v has v nodes more than the first.
    let mut versions = vec![Arc::new(table(3))];
    for v in 1..VERSIONS {
        versions.push(Arc::new(
            versions[v as usize - 1].with(node(3 + v, 1)).unwrap(),
        ));
    }
    let current = Arc::new(Current::from(Arc::clone(&versions[0])));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (current, is_over) = (Arc::clone(&current), &is_over);
                scope.spawn(move || {
                    let mut reader = Reader::new(Arc::clone(&current));
                    let (mut seen, mut looks) = (0, 0);
                    // One more look after the end.
                    loop {
                        let was_over = is_over.load(Ordering::Acquire);
                        for version in [reader.get().clone(), (*current.get()).clone()] {
                            assert!(version.version() >= seen, "an older version came back");
                            seen = version.version();
                            assert_eq!(version.nodes().len() as u64, seen + 2, "half a change");
                        }
                        assert!(current.version() >= seen);
                        looks += 1;
                        if was_over {
                            return (seen, looks);
                        }
                    }
                })
            })
            .collect();
        let publishers: Vec<_> = (0..2)
            .map(|part| {
                let (current, versions) = (Arc::clone(&current), &versions);
                scope.spawn(move || {
                    let mut n_replaced = 0;
                    for version in versions.iter().skip(part).step_by(2) {
                        match current.publish(Arc::clone(version)) {
                            Ok(Published::Replaced(change)) => {
                                assert!(change.from().version() < change.to().version());
                                n_replaced += 1;
                            }
                            Ok(Published::Unchanged) => assert_eq!(version.version(), 1),
                            Err(refused) => {
                                assert!(matches!(refused.kind(), PublishErrorKind::Older { .. }));
                            }
                        }
                    }
                    n_replaced
                })
            })
            .collect();
        let replaced: u64 = publishers
            .into_iter()
            .map(|publisher| publisher.join().unwrap())
            .sum();
        assert!((1..VERSIONS).contains(&replaced));
        is_over.store(true, Ordering::Release);
        for reader in readers {
            let (seen, looks) = reader.join().unwrap();
            assert_eq!(seen, VERSIONS);
            assert!(looks > 0);
        }
    });
    assert_eq!(current.version(), VERSIONS);
}

/// Threads that each change what is in use, one step at a time, and begin again when they were overtaken: no
/// change is lost.
#[test]
fn ring_r6_no_change_is_lost_between_writers() {
    const EACH: u64 = if cfg!(miri) { 3 } else { 40 };
    let current = Current::new(table(1));
    thread::scope(|scope| {
        for writer in 1..=2u64 {
            let current = &current;
            scope.spawn(move || {
                for i in 0..EACH {
                    let joins = node(writer * 1_000 + i, 1);
                    while let Err(refused) =
                        current.publish(current.get().with(joins.clone()).unwrap())
                    {
                        assert!(!matches!(refused.kind(), PublishErrorKind::Unrelated));
                    }
                }
            });
        }
    });
    assert_eq!(current.get().nodes().len() as u64, 1 + 2 * EACH);
    assert_eq!(current.version(), 1 + 2 * EACH);
}

proptest! {
    #![proptest_config(common::cases(60, 4))]

    /// Versions in any order and repeated, beside a number and what it stands for.
    #[test]
    fn ring_any_order_of_versions_ends_at_the_highest(
        offers in prop::collection::vec((1..12u64, 0..3u64), 1..30),
    ) {
        let offer = |&(version, content): &(u64, u64)| {
            SlotTable::builder().slot_bits(3).version(version).nodes(nodes(content)).build().unwrap()
        };
        let mut model = (1, 0);
        let current = Current::new(offer(&model));
        // Each with what it saw last.
        let mut readers = vec![(current.reader(), model)];
        for given in &offers {
            let result = current.publish(offer(given));
            match result {
                Ok(Published::Replaced(change)) => {
                    prop_assert!(given.0 > model.0);
                    prop_assert_eq!((change.from(), change.to()), (&Arc::new(offer(&model)), &Arc::new(offer(given))));
                    model = *given;
                }
                Ok(Published::Unchanged) => prop_assert_eq!(model, *given),
                Err(refused) => {
                    let expected = if given.0 < model.0 {
                        PublishErrorKind::Older { current: model.0, offered: given.0 }
                    } else {
                        prop_assert!(given.0 == model.0 && given.1 != model.1);
                        PublishErrorKind::Conflict { version: model.0 }
                    };
                    prop_assert_eq!(refused.kind(), expected);
                    prop_assert_eq!(&*refused.into_version(), &offer(given));
                }
            }
            // Some readers look now and some later; each finds the model, and what changed since it looked.
            readers.push((current.reader(), model));
            for (reader, seen) in readers.iter_mut().skip(given.1 as usize) {
                let change = reader.changed();
                prop_assert_eq!(change.is_some(), *seen != model);
                if let Some(change) = change {
                    prop_assert_eq!(&**change.from(), &offer(seen));
                    prop_assert_eq!(&**change.to(), &offer(&model));
                }
                prop_assert_eq!(reader.get(), &offer(&model));
                *seen = model;
            }
        }
    }
}
