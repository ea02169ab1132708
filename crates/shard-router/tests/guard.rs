//! What a shard's guard admits, and how it refuses the rest.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixtures;

use std::collections::BTreeMap;

use fixtures::*;
use purlin_core::{Meter, Safety, Value};
use purlin_shard_router::{
    Guard, InstallErrorKind, Installed, MapVersion, PlacementHash, Refusal, Route, Router, Shard,
    ShardMap, Slot, SlotState,
};

#[test]
fn a_guard_admits_what_it_owns_and_refuses_the_rest() {
    let map = small_map();
    let guard = Guard::new(ONE, map.clone());
    assert_eq!(guard.state(Slot(0)), Some(SlotState::Owned));
    assert_eq!(guard.state(Slot(4)), Some(SlotState::NotOwned));
    assert_eq!(guard.state(Slot(8)), None);

    let admit = guard.admit(route(&map, 0)).unwrap();
    assert_eq!((admit.slot(), admit.epoch()), (Slot(0), MapVersion(1)));
    let refused = |route: Route| guard.admit(route).unwrap_err();

    let wrong = refused(route(&map, 4));
    assert_eq!(
        wrong,
        Refusal::WrongShard {
            slot: Slot(4),
            owner: TWO,
            needed: MapVersion(1)
        }
    );
    assert_eq!(wrong.redirect(), Some(route(&map, 4)));
    assert_eq!(wrong.retry().safety, Safety::Safe);

    // From a map that this shard has not got yet.
    let behind = refused(Route::new(ONE, Slot(0), MapVersion(5)));
    assert_eq!(
        behind,
        Refusal::Behind {
            slot: Slot(0),
            current: MapVersion(1),
            needed: MapVersion(5)
        }
    );
    assert!(behind.retry().after > std::time::Duration::ZERO);

    // An owner that no map of this version names.
    let foreign = refused(Route::new(TWO, Slot(0), MapVersion(1)));
    let (slot, epoch) = (Slot(0), MapVersion(1));
    assert_eq!(foreign, Refusal::Foreign { slot, epoch });
    assert_eq!(foreign.retry().safety, Safety::Never);

    for slot in [Slot(8), Slot(u32::MAX)] {
        let unknown = refused(Route::new(ONE, slot, MapVersion(1)));
        let slot_count = 8;
        assert_eq!(unknown, Refusal::UnknownSlot { slot, slot_count });
    }
}

#[test]
fn an_old_epoch_is_refused_even_where_the_slot_has_come_back() {
    let map = small_map();
    let old = route(&map, 1);
    let away = map.with_move([Slot(1)], TWO).unwrap();
    let back = away.with_move([Slot(1)], ONE).unwrap();
    let guard = Guard::new(ONE, map);

    guard.install(away).unwrap();
    let stale = guard.admit(old).unwrap_err();
    let (slot, owner, needed) = (Slot(1), TWO, MapVersion(2));
    assert_eq!(
        stale,
        Refusal::Stale {
            slot,
            owner,
            needed
        }
    );

    guard.install(back.clone()).unwrap();
    let stale = guard.admit(old).unwrap_err();
    let (owner, needed) = (ONE, MapVersion(3));
    assert_eq!(
        stale,
        Refusal::Stale {
            slot,
            owner,
            needed
        }
    );
    assert_eq!(stale.redirect(), Some(route(&back, 1)));
    assert!(guard.admit(stale.redirect().unwrap()).is_ok());
    // A made-up epoch between the two: this slot was never changed by it.
    let touched = back.with_move([Slot(0)], TWO).unwrap();
    guard.install(touched).unwrap();
    let epoch = MapVersion(4);
    let made_up = guard.admit(Route::new(ONE, slot, epoch)).unwrap_err();
    assert_eq!(made_up, Refusal::Foreign { slot, epoch });
}

#[test]
fn a_closed_slot_serves_nobody_and_drains() {
    let map = small_map();
    let (moving, frozen) = freeze(&map, 1, TWO);
    let source = Guard::new(ONE, map.clone());
    let target = Guard::new(TWO, map.clone());
    let running = source.admit(route(&map, 1)).unwrap();
    let elsewhere = source.admit(route(&map, 2)).unwrap();

    source.install(frozen.clone()).unwrap();
    target.install(frozen.clone()).unwrap();
    assert_eq!(source.state(Slot(1)), Some(SlotState::Frozen));
    assert!(!source.is_drained(moving.slots()));
    assert_eq!(source.in_flight(Slot(1)), 1);
    for claim in [route(&map, 1), route(&frozen, 1)] {
        let refusal = source.admit(claim).unwrap_err();
        let (slot, to, since) = (Slot(1), TWO, MapVersion(2));
        assert_eq!(refusal, Refusal::Frozen { slot, to, since });
        assert_eq!(refusal.redirect(), None, "nobody serves it yet");
        assert_eq!(refusal.retry().safety, Safety::Safe);
        assert!(target.admit(claim).is_err());
    }
    // The other slots go on, under the epochs they had.
    assert!(source.admit(route(&map, 2)).is_ok());
    drop(running);
    assert!(
        source.is_drained(moving.slots()),
        "slot 2 is not its concern"
    );
    assert_eq!(source.in_flight(Slot(2)), 1);
    drop(elsewhere);
    assert_eq!(source.stats().in_flight, 0);
}

#[test]
fn imports_are_for_the_target_and_clean_ups_for_those_who_have_no_part_in_it() {
    let map = small_map().with_shard(Shard::new(THREE, "db-3")).unwrap();
    let (_, frozen) = freeze(&map, 1, TWO);
    let epoch = frozen.version();
    let slot = Slot(1);
    let [source, target, third] = [ONE, TWO, THREE].map(|id| Guard::new(id, frozen.clone()));

    assert!(target.admit_import(slot, epoch).is_ok());
    for guard in [&source, &third] {
        let refusal = guard.admit_import(slot, epoch).unwrap_err();
        let (owner, needed) = (TWO, epoch);
        assert_eq!(
            refusal,
            Refusal::WrongShard {
                slot,
                owner,
                needed
            }
        );
    }
    // An import of an earlier freeze, and one of a slot that is not being moved.
    let stale = target.admit_import(slot, MapVersion(1)).unwrap_err();
    assert!(matches!(stale, Refusal::Stale { .. }), "{stale}");
    let none = target.admit_import(Slot(2), MapVersion(1)).unwrap_err();
    assert!(matches!(none, Refusal::Foreign { .. }), "{none}");

    assert!(third.admit_cleanup(slot, epoch).is_ok());
    for guard in [&source, &target] {
        let refusal = guard.admit_cleanup(slot, epoch).unwrap_err();
        assert_eq!(refusal, Refusal::InUse { slot });
    }
    let stale = third.admit_cleanup(slot, MapVersion(1)).unwrap_err();
    assert!(matches!(stale, Refusal::Stale { .. }), "{stale}");
    let behind = third.admit_cleanup(slot, MapVersion(99)).unwrap_err();
    assert!(matches!(behind, Refusal::Behind { .. }), "{behind}");
}

#[test]
fn a_key_must_lie_in_the_slot_of_its_route() {
    let map = ShardMap::even_split(shards(1)).unwrap();
    let guard = Guard::new(ONE, map.clone());
    let right = map.route("user:17");
    assert!(guard.admit_key("user:17", right).is_ok());
    let refusal = guard.admit_key("user:18", right).unwrap_err();
    let (slot, claimed) = (map.slot_of("user:18"), right.slot());
    assert_eq!(refusal, Refusal::WrongSlot { slot, claimed });
    assert_eq!(refusal.slot(), claimed);
}

#[test]
fn a_guard_keeps_its_map_when_it_refuses_another() {
    let first = small_map();
    let second = first.with_move([Slot(1)], TWO).unwrap();
    let guard = Guard::new(ONE, second.clone());
    assert_eq!(guard.install(second.clone()), Ok(Installed::Unchanged));
    let error = guard.install(first).unwrap_err();
    assert!(matches!(error.kind(), InstallErrorKind::Older { .. }));
    assert_eq!(guard.map().as_ref(), &second);
    assert_eq!(guard.state(Slot(1)), Some(SlotState::NotOwned));
}

#[test]
fn counters_say_what_happened() {
    let map = small_map();
    let guard = Guard::new(ONE, map.clone());
    let _held = guard.admit(route(&map, 0)).unwrap();
    drop(guard.admit(route(&map, 1)));
    drop(guard.admit(route(&map, 5)));
    drop(guard.admit(Route::new(ONE, Slot(0), MapVersion(7))));
    drop(guard.admit(Route::new(ONE, Slot(99), MapVersion(1))));
    guard.install(freeze(&map, 0, TWO).1).unwrap();
    drop(guard.admit(route(&map, 0)));

    let mut readings = BTreeMap::new();
    guard.stats().read(&mut |reading| {
        readings.insert(reading.name, reading.value);
    });
    let expected = [
        ("admitted_total", Value::Counter(2)),
        ("behind_total", Value::Counter(1)),
        ("frozen_total", Value::Counter(1)),
        ("in_flight", Value::Gauge(1.0)),
        ("invalid_total", Value::Counter(1)),
        ("map_version", Value::Gauge(2.0)),
        ("stale_total", Value::Counter(0)),
        ("wrong_shard_total", Value::Counter(1)),
    ];
    let expected =
        expected.map(|(name, value)| (format!("purlin_shard_router_guard_{name}"), value));
    let readings: Vec<_> = readings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    assert_eq!(readings, expected);
}

#[test]
fn debug_output_is_short_and_shows_no_seed() {
    let map = ShardMap::builder(shards(2))
        .hash(PlacementHash::siphash24([0xab; 16]))
        .even_split()
        .unwrap();
    let guard = Guard::new(ONE, map.clone());
    let admit = guard.admit(route(&map, 0));
    let router = Router::new(map.clone());
    for text in [
        format!("{map:?}"),
        format!("{guard:?}"),
        format!("{admit:?}"),
        format!("{router:?}"),
    ] {
        assert!(text.len() < 500, "{text}");
        assert!(!text.contains("abab"), "{text}");
        assert!(!text.contains(&format!("{}", map.hash().seed())), "{text}");
    }
}
