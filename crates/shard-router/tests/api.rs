//! What each call promises, and each way in which it says no.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::sync::Arc;

use purlin_core::{GroupId, Meter, NodeId, Placement, Safety, Value};
use purlin_shard_router::{
    Admit, Guard, InstallErrorKind, Installed, KeyRule, MapError, MapVersion, MoveError,
    PlacementHash, Refusal, Route, Router, Shard, ShardId, ShardMap, Slot, SlotMove, SlotState,
    Step,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};

assert_impl_all!(ShardMap: Send, Sync, Clone);
assert_impl_all!(Router: Send, Sync);
assert_impl_all!(Guard: Send, Sync);
assert_impl_all!(Admit: Send, Sync);
assert_not_impl_any!(Admit: Clone);
assert_impl_all!(Route: Copy, Send, Sync);
assert_impl_all!(SlotMove: Send, Sync, Clone);

const ONE: ShardId = ShardId(1);
const TWO: ShardId = ShardId(2);
const THREE: ShardId = ShardId(3);

fn shards(count: u32) -> Vec<Shard> {
    (1..=count)
        .map(|n| Shard::new(ShardId(n), format!("db-{n}")))
        .collect()
}

/// Eight slots over two shards: 0 to 3 with shard 1, 4 to 7 with shard 2.
fn small_map() -> ShardMap {
    ShardMap::builder(shards(2))
        .slot_count(8)
        .even_split()
        .unwrap()
}

fn route(map: &ShardMap, slot: u32) -> Route {
    let now = map.assignment(Slot(slot)).unwrap();
    Route::new(now.owner, Slot(slot), now.epoch)
}

#[test]
fn a_route_is_two_words_and_survives_its_bytes() {
    assert_eq!(size_of::<Route>(), 16);
    let route = Route::new(ShardId(7), Slot(513), MapVersion(0x0102_0304_0506_0708));
    let bytes = route.to_bytes();
    assert_eq!(bytes, [7, 0, 0, 0, 1, 2, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(Route::from_bytes(bytes), route);
    assert_eq!(GroupId::from(route.shard()), GroupId(7));
}

#[test]
fn an_even_split_differs_by_one_slot_at_most() {
    for (n_shards, slot_count) in [(1, 1), (1, 16), (3, 16), (7, 1024), (16, 16), (5, 4)] {
        let map = ShardMap::builder(shards(n_shards))
            .slot_count(slot_count)
            .even_split()
            .unwrap();
        let shares: Vec<usize> = map
            .shards()
            .iter()
            .map(|shard| map.slots_of(shard.id()).count())
            .collect();
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most - least <= 1, "{n_shards} on {slot_count}: {shares:?}");
        assert_eq!(shares.iter().sum::<usize>(), slot_count as usize);
    }
}

#[test]
fn shards_are_checked_where_the_map_is_built() {
    let built = |shards: Vec<Shard>| ShardMap::even_split(shards).map(drop);
    let shard = |n, name: &str| Shard::new(ShardId(n), name);
    assert_eq!(built(vec![]), Err(MapError::NoShards));
    assert_eq!(
        built(vec![shard(1, "a"), shard(1, "b")]),
        Err(MapError::DuplicateShard { id: ONE })
    );
    assert_eq!(
        built(vec![shard(2, "a"), shard(1, "a")]),
        Err(MapError::DuplicateName {
            first: ONE,
            second: TWO
        })
    );
    assert_eq!(
        built(vec![shard(1, "")]),
        Err(MapError::ShardName { id: ONE })
    );
    let long = "x".repeat(Shard::MAX_NAME_LEN);
    assert_eq!(built(vec![shard(1, &long)]), Ok(()));
    assert_eq!(
        built(vec![shard(1, &(long + "x"))]),
        Err(MapError::ShardName { id: ONE })
    );
    let count = ShardMap::MAX_SHARDS + 1;
    assert_eq!(
        built(shards(count as u32)),
        Err(MapError::TooManyShards { count })
    );
}

#[test]
fn slot_counts_are_powers_of_two_within_the_limit() {
    for good in [1, 2, 1 << 14, ShardMap::MAX_SLOT_COUNT] {
        let map = ShardMap::builder(shards(1))
            .slot_count(good)
            .even_split()
            .unwrap();
        assert_eq!(map.slot_count(), good);
        assert!(map.slot_of("key").0 < good);
    }
    for given in [0, 3, ShardMap::MAX_SLOT_COUNT * 2, u32::MAX] {
        let map = ShardMap::builder(shards(1)).slot_count(given).even_split();
        assert_eq!(map, Err(MapError::SlotCount { given }));
    }
}

#[test]
fn every_slot_gets_an_owner_that_the_map_lists() {
    let assigned = |owners: &[u32]| {
        ShardMap::builder(shards(2))
            .slot_count(4)
            .assigned(owners.iter().copied().map(ShardId))
    };
    let map = assigned(&[2, 1, 1, 2]).unwrap();
    assert_eq!(map.slots_of(ONE).collect::<Vec<_>>(), [Slot(1), Slot(2)]);
    let (unowned, unknown) = (Slot(3), Slot(4));
    assert_eq!(
        assigned(&[2, 1, 1]),
        Err(MapError::Unowned { slot: unowned })
    );
    assert_eq!(
        assigned(&[2, 1, 1, 1, 1]),
        Err(MapError::UnknownSlot { slot: unknown })
    );
    assert_eq!(
        assigned(&[2, 1, 1, 3]),
        Err(MapError::UnknownShard { id: THREE })
    );
}

/// A placement that knows only how to take the hash modulo a number, and has no owner below a floor.
struct Modulo {
    n: u64,
    floor: u64,
}

impl Placement for Modulo {
    fn hash_key(&self, key: &[u8]) -> u64 {
        PlacementHash::default().of_bytes(key)
    }
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        (hash >= self.floor).then_some(NodeId(1 + hash % self.n))
    }
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let owner = self.owner_of_hash(hash);
        owner.into_iter().zip(into).map(|(it, to)| *to = it).count()
    }
}

#[test]
fn a_placement_gives_each_slot_as_if_its_number_were_a_key() {
    let modulo = Modulo { n: 3, floor: 0 };
    let map = ShardMap::from_placement(shards(3), &modulo as &dyn Placement).unwrap();
    for (slot, assignment) in map.assignments() {
        let owner = modulo.owner_of(&slot.0).unwrap();
        assert_eq!(NodeId::from(assignment.owner), owner);
    }
    let least = (1..=3).map(|n| map.slots_of(ShardId(n)).count()).min();
    assert!(least > Some(16_384 / 4), "{least:?}");

    let two = ShardMap::from_placement(shards(2), &modulo);
    let node = NodeId(3);
    assert_eq!(two, Err(MapError::UnknownNode { node }));
    let holes = Modulo {
        n: 3,
        floor: 1 << 63,
    };
    let holes = ShardMap::from_placement(shards(3), &holes);
    assert!(matches!(holes, Err(MapError::Unowned { .. })), "{holes:?}");
}

#[test]
fn a_change_dates_the_slots_it_touches_and_no_others() {
    let map = small_map();
    let next = map.with_move([Slot(1), Slot(5), Slot(1)], TWO).unwrap();
    assert_eq!(next.version(), MapVersion(2));
    for (slot, assignment) in next.assignments() {
        // Slot 5 was with shard 2 already.
        let moved = slot == Slot(1);
        assert_eq!(assignment.epoch.0, if moved { 2 } else { 1 }, "{slot}");
        let owner = if slot.0 >= 4 || moved { TWO } else { ONE };
        assert_eq!(assignment.owner, owner, "{slot}");
    }
    let id = THREE;
    assert_eq!(
        map.with_move([Slot(1)], id),
        Err(MapError::UnknownShard { id })
    );
    let slot = Slot(8);
    assert_eq!(
        map.with_move([slot], TWO),
        Err(MapError::UnknownSlot { slot })
    );
}

#[test]
fn shards_come_without_slots_and_go_without_slots() {
    let map = small_map();
    let third = Shard::new(THREE, "db-3");
    let grown = map.with_shard(third.clone()).unwrap();
    assert_eq!(grown.version(), MapVersion(2));
    assert_eq!(grown.shard(THREE), Some(&third));
    assert_eq!(
        grown.with_shard(third),
        Err(MapError::DuplicateShard { id: THREE })
    );

    let shrunk = grown.without_shard(THREE).unwrap();
    assert_eq!(shrunk.shards(), map.shards());
    assert_eq!(
        grown.without_shard(ONE),
        Err(MapError::ShardInUse {
            id: ONE,
            slot: Slot(0)
        })
    );
    let awaiting = freeze(&grown, 6, THREE).1;
    assert_eq!(
        awaiting.without_shard(THREE),
        Err(MapError::ShardInUse {
            id: THREE,
            slot: Slot(6)
        })
    );
    assert_eq!(
        map.without_shard(THREE),
        Err(MapError::UnknownShard { id: THREE })
    );
}

#[test]
fn the_last_version_is_not_passed() {
    let last = ShardMap::builder(shards(2))
        .version(MapVersion(u64::MAX))
        .even_split()
        .unwrap();
    let exhausted = Err(MapError::VersionsExhausted);
    assert_eq!(last.with_move([Slot(0)], TWO), exhausted);
    assert_eq!(last.with_shard(Shard::new(THREE, "db-3")), exhausted);
    let mut moving = SlotMove::plan(&last, [Slot(0)], TWO).unwrap();
    assert_eq!(
        moving.propose(&last),
        Err(MoveError::Map(MapError::VersionsExhausted))
    );
    assert_eq!(ShardMap::decode(&last.encode()), Ok(last));
}

#[test]
fn the_hash_and_the_rule_of_the_map_decide_the_slot() {
    let plain = ShardMap::even_split(shards(2)).unwrap();
    let tagged = ShardMap::builder(shards(2))
        .key_rule(KeyRule::HashTag)
        .even_split()
        .unwrap();
    assert_eq!(tagged.slot_of("{user:7}:cart"), plain.slot_of("user:7"));
    assert_eq!(tagged.slot_of("{user:7}:cart"), tagged.slot_of("user:7"));
    assert_ne!(plain.slot_of("{user:7}:cart"), plain.slot_of("user:7"));
    let seeded = ShardMap::builder(shards(2))
        .hash(PlacementHash::xxh3(1))
        .even_split()
        .unwrap();
    assert_ne!(seeded.slot_of("user:7"), plain.slot_of("user:7"));
    // The highest bits of the hash.
    let hash = plain.hash().of("user:7");
    assert_eq!(u64::from(plain.slot_of("user:7").0), hash >> 50);
}

#[test]
fn groups_keep_the_order_and_lose_no_key() {
    let map = ShardMap::even_split(shards(5)).unwrap();
    let keys: Vec<u64> = (0..1000).map(|n| n * 37).collect();
    let groups = Router::new(map.clone()).group_by_shard(&keys);
    assert_eq!(groups.len(), 5);
    let mut first_places = Vec::new();
    let mut seen = BTreeMap::new();
    for group in groups {
        assert!(group.keys.is_sorted_by_key(|routed| routed.place));
        first_places.push(group.keys[0].place);
        for routed in group.keys {
            assert_eq!(routed.route, map.route(routed.key));
            assert_eq!(routed.route.shard(), group.shard);
            seen.insert(routed.place, *routed.key);
        }
    }
    assert!(first_places.is_sorted());
    assert_eq!(seen.into_values().collect::<Vec<_>>(), keys);
    assert_eq!(map.group_by_shard::<u64>([]), []);
}

#[test]
fn a_router_takes_later_maps_of_its_history_only() {
    let first = small_map();
    let second = first.with_move([Slot(1)], TWO).unwrap();
    let third = second.with_move([Slot(2)], TWO).unwrap();
    let router = Router::new(first.clone());
    assert_eq!(router.install(third.clone()), Ok(Installed::Replaced));
    assert_eq!(router.install(third.clone()), Ok(Installed::Unchanged));

    let late = Arc::new(second.clone());
    let error = router.install(Arc::clone(&late)).unwrap_err();
    assert_eq!(
        error.kind(),
        &InstallErrorKind::Older {
            current: MapVersion(3),
            offered: MapVersion(2)
        }
    );
    assert!(Arc::ptr_eq(&error.into_map(), &late), "the map comes back");

    let refused = |map: ShardMap| *router.install(map).unwrap_err().kind();
    // Another third version.
    assert_eq!(
        refused(second.with_move([Slot(3)], TWO).unwrap()),
        InstallErrorKind::Conflict {
            version: MapVersion(3)
        }
    );
    // A fourth version that has not seen slot 2 move in the third, and one that has seen slot 3 move in it.
    let slot = Slot(2);
    let fork = second.with_shard(Shard::new(THREE, "db-3")).unwrap();
    let fork = fork.with_move([Slot(0)], TWO).unwrap();
    assert_eq!(refused(fork), InstallErrorKind::Forked { slot });
    let base = second.with_move([Slot(2), Slot(3)], TWO).unwrap();
    let fork = base.with_move([Slot(0)], TWO).unwrap();
    let slot = Slot(3);
    assert_eq!(refused(fork), InstallErrorKind::Forked { slot });

    let later = |builder: purlin_shard_router::Builder| {
        builder.version(MapVersion(9)).even_split().unwrap()
    };
    let builder = ShardMap::builder(shards(2)).slot_count(8);
    let found = PlacementHash::xxh3(5);
    assert!(matches!(
        refused(later(builder.clone().hash(found))),
        InstallErrorKind::HashMismatch(mismatch) if mismatch.found == found
    ));
    assert_eq!(
        refused(later(builder.clone().key_rule(KeyRule::HashTag))),
        InstallErrorKind::KeyRuleMismatch {
            current: KeyRule::WholeKey,
            offered: KeyRule::HashTag
        }
    );
    assert_eq!(
        refused(later(builder.clone().slot_count(16))),
        InstallErrorKind::SlotCountMismatch {
            current: 8,
            offered: 16
        }
    );
    assert_eq!(router.map().as_ref(), &third);

    let stats = router.stats();
    assert_eq!((stats.installed, stats.older, stats.refused), (1, 1, 6));
    // A map made anew with a version above all others ends every route, which is what it is for.
    assert_eq!(router.install(later(builder)), Ok(Installed::Replaced));
}

/// A move of one slot at the point where its freeze is published, and that map.
fn freeze(map: &ShardMap, slot: u32, to: ShardId) -> (SlotMove, ShardMap) {
    let mut moving = SlotMove::plan(map, [Slot(slot)], to).unwrap();
    let frozen = moving.propose(map).unwrap().unwrap();
    moving.published().unwrap();
    (moving, frozen)
}

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

#[test]
fn a_move_is_planned_only_where_it_makes_sense() {
    let map = small_map();
    let plan = |map: &ShardMap, slots: &[u32], to| {
        SlotMove::plan(map, slots.iter().copied().map(Slot), to).map(drop)
    };
    assert_eq!(plan(&map, &[0, 3, 0], TWO), Ok(()));
    assert_eq!(plan(&map, &[], TWO), Err(MoveError::NoSlots));
    let slot = Slot(4);
    assert_eq!(
        plan(&map, &[0, 4], TWO),
        Err(MapError::MovesToItself { slot }.into())
    );
    let id = THREE;
    assert_eq!(
        plan(&map, &[0], id),
        Err(MapError::UnknownShard { id }.into())
    );
    let slot = Slot(8);
    assert_eq!(
        plan(&map, &[0, 8], TWO),
        Err(MapError::UnknownSlot { slot }.into())
    );
    let grown = map.with_shard(Shard::new(THREE, "db-3")).unwrap();
    let slot = Slot(4);
    assert_eq!(
        plan(&grown, &[0, 4], THREE),
        Err(MoveError::ManySources { slot })
    );
    let (_, frozen) = freeze(&map, 0, TWO);
    let slot = Slot(0);
    assert_eq!(
        plan(&frozen, &[0], TWO),
        Err(MapError::SlotMoving { slot }.into())
    );
    assert_eq!(
        frozen.with_move([slot], TWO),
        Err(MapError::SlotMoving { slot })
    );
    let slot = Slot(1);
    assert_eq!(
        SlotMove::take_over(&frozen, slot),
        Err(MoveError::NotMoving { slot })
    );
}

/// Drives a move by its own map until it is at a step.
fn drive(moving: &mut SlotMove, newest: &mut ShardMap, until: fn(Step) -> bool) {
    for _ in 0..20 {
        let version = newest.version();
        match moving.step() {
            step if until(step) => return,
            Step::Freeze | Step::Commit | Step::Thaw => {
                if let Some(next) = moving.propose(newest).unwrap() {
                    *newest = next;
                    moving.published().unwrap();
                }
            }
            Step::Drain { .. } => {
                moving.drained(moving.from(), version).unwrap();
                moving.drained(moving.to(), version).unwrap();
            }
            Step::Copy { .. } => drop(moving.copied().unwrap()),
            Step::Open { .. } => drop(moving.installed(moving.to(), version).unwrap()),
            Step::Release { .. } | Step::Reopen { .. } => {
                moving.installed(moving.from(), version).unwrap();
            }
            Step::Done | Step::Aborted => panic!("ended at {:?}", moving.step()),
        }
    }
    panic!("never got there");
}

const STEPS: [fn(Step) -> bool; 10] = [
    |step| step == Step::Freeze,
    |step| matches!(step, Step::Drain { .. }),
    |step| matches!(step, Step::Copy { .. }),
    |step| step == Step::Commit,
    |step| matches!(step, Step::Open { .. }),
    |step| matches!(step, Step::Release { .. }),
    |step| step == Step::Done,
    |step| step == Step::Thaw,
    |step| matches!(step, Step::Reopen { .. }),
    |step| step == Step::Aborted,
];

/// A move at each of its steps, with the newest map then.
fn at_each_step() -> Vec<(SlotMove, ShardMap)> {
    let at = |reached: usize| {
        let mut newest = small_map();
        let mut moving = SlotMove::plan(&newest, [Slot(0), Slot(2)], TWO).unwrap();
        if reached >= 7 {
            drive(&mut moving, &mut newest, STEPS[2]);
            moving.abort().unwrap();
        }
        drive(&mut moving, &mut newest, STEPS[reached]);
        (moving, newest)
    };
    (0..STEPS.len()).map(at).collect()
}

#[test]
fn each_step_takes_its_own_reports_and_no_others() {
    let far = MapVersion(1_000);
    for (n, (moving, newest)) in at_each_step().into_iter().enumerate() {
        let step = moving.step();
        let tried = |report: &dyn Fn(&mut SlotMove) -> Result<(), MoveError>| {
            let mut copy = moving.clone();
            let result = report(&mut copy);
            if result.is_err() {
                assert_eq!(
                    copy, moving,
                    "a refused report changed the move at {step:?}"
                );
            }
            result
        };
        let out_of_order = Err(MoveError::OutOfOrder { step });
        let expect = |accepting: &[usize]| {
            if accepting.contains(&n) {
                Ok(())
            } else {
                out_of_order.clone()
            }
        };
        assert_eq!(
            tried(&|it| it.propose(&newest).map(drop)),
            expect(&[0, 3, 7])
        );
        // Nothing was proposed at this step yet.
        assert_eq!(tried(&|it| it.published().map(drop)), out_of_order);
        assert_eq!(tried(&|it| it.drained(ONE, far).map(drop)), expect(&[1]));
        assert_eq!(tried(&|it| it.drained(TWO, far).map(drop)), expect(&[1]));
        assert_eq!(tried(&|it| it.copied().map(drop)), expect(&[2]));
        assert_eq!(
            tried(&|it| it.abort().map(drop)),
            expect(&[0, 1, 2, 3, 7, 8, 9])
        );
        for (shard, accepting) in [(ONE, &[5, 8][..]), (TWO, &[4]), (THREE, &[])] {
            let result = tried(&|it| it.installed(shard, far).map(drop));
            if [4, 5, 8].contains(&n) && !accepting.contains(&n) {
                assert_eq!(result, Err(MoveError::OtherShard { shard }));
            } else {
                assert_eq!(result, expect(accepting), "{shard} at {step:?}");
            }
        }
        // Reports of shards that have not got the map of the step.
        let version = MapVersion(1);
        if let Step::Drain { at } | Step::Open { at } | Step::Release { at } | Step::Reopen { at } =
            step
        {
            let shard = if n == 4 { TWO } else { ONE };
            let too_old = Err(MoveError::TooOld {
                shard,
                version,
                needed: at,
            });
            let report = |it: &mut SlotMove| match n {
                1 => it.drained(shard, version).map(drop),
                _ => it.installed(shard, version).map(drop),
            };
            assert_eq!(tried(&report), too_old);
        }
    }
}

#[test]
fn a_move_needs_both_shards_drained() {
    let (moving, newest) = at_each_step().swap_remove(1);
    let version = newest.version();
    for order in [[ONE, TWO], [TWO, ONE]] {
        let mut moving = moving.clone();
        let [first, second] = order;
        for _ in 0..2 {
            let step = moving.drained(first, version).unwrap();
            assert_eq!(step, Step::Drain { at: version });
        }
        let step = moving.drained(second, version).unwrap();
        assert_eq!(step, Step::Copy { epoch: version });
    }
    let shard = THREE;
    let other = moving.clone().drained(shard, version);
    assert_eq!(other, Err(MoveError::OtherShard { shard }));
}

#[test]
fn a_finished_move_and_an_aborted_one_leave_the_map_as_they_should() {
    let before = small_map();
    let steps = at_each_step();
    let (_, done) = &steps[6];
    let (_, aborted) = &steps[9];
    for slot in [Slot(0), Slot(2)] {
        let now = done.assignment(slot).unwrap();
        assert_eq!((now.owner, now.moving_to), (TWO, None));
        assert_eq!(now.epoch, MapVersion(3), "frozen by 2, given by 3");
        let now = aborted.assignment(slot).unwrap();
        assert_eq!((now.owner, now.moving_to), (ONE, None));
        assert_eq!(now.epoch, MapVersion(3), "frozen by 2, opened by 3");
    }
    for map in [done, aborted] {
        assert_eq!(map.assignment(Slot(1)), before.assignment(Slot(1)));
        assert_eq!(map.moving().count(), 0);
    }
}

#[test]
fn a_commit_of_unknown_outcome_is_found_out_from_the_newest_map() {
    let (mut moving, newest) = at_each_step().swap_remove(3);
    let committed = moving.propose(&newest).unwrap().unwrap();
    let other = newest.with_shard(Shard::new(THREE, "db-3")).unwrap();

    // It was lost, and somebody else's change came in between: propose again.
    let mut lost = moving.clone();
    let again = lost.propose(&other).unwrap().unwrap();
    assert_eq!(again.version(), MapVersion(4));
    assert_eq!(lost.step(), Step::Commit);
    assert!(again.shard(THREE).is_some(), "made from the newest map");

    // It had gone through.
    let mut landed = moving.clone();
    assert_eq!(landed.propose(&committed), Ok(None));
    let at = committed.version();
    assert_eq!(landed.step(), Step::Open { at });

    // It had gone through, though the driver had given up and turned back.
    assert_eq!(moving.abort(), Ok(Step::Thaw));
    assert_eq!(moving.propose(&committed), Ok(None));
    assert_eq!(moving.step(), Step::Open { at });
}

#[test]
fn a_driver_that_was_overtaken_is_told() {
    for reached in [3, 7] {
        let (mut slow, newest) = at_each_step().swap_remove(reached);
        // The other driver dates the slots anew, and may go on to either end.
        let mut quick = SlotMove::take_over(&newest, Slot(0)).unwrap();
        assert_eq!(quick.slots(), slow.slots());
        let mut theirs = newest.clone();
        drive(&mut quick, &mut theirs, STEPS[1]);
        assert_eq!(slow.propose(&theirs), Err(MoveError::Overtaken));
        drive(&mut quick, &mut theirs, STEPS[6]);
        assert_eq!(slow.propose(&theirs), Err(MoveError::Overtaken));
    }
}

#[test]
fn a_move_taken_over_can_be_called_off() {
    let (_, newest) = at_each_step().swap_remove(2);
    let mut second = SlotMove::take_over(&newest, Slot(2)).unwrap();
    assert_eq!(second.abort(), Ok(Step::Thaw));
    let mut map = newest;
    drive(&mut second, &mut map, STEPS[9]);
    let now = map.assignment(Slot(0)).unwrap();
    assert_eq!((now.owner, now.moving_to), (ONE, None));
}

#[test]
fn turning_back_defeats_a_freeze_that_is_still_on_its_way() {
    let map = small_map();
    let mut moving = SlotMove::plan(&map, [Slot(0)], TWO).unwrap();
    let on_its_way = moving.propose(&map).unwrap().unwrap();
    assert_eq!(moving.abort(), Ok(Step::Thaw));
    let thawed = moving.propose(&map).unwrap().unwrap();
    assert_eq!(
        thawed.version(),
        on_its_way.version(),
        "the store takes one"
    );
    // Had the freeze been taken first, the thaw is proposed anew on top of it.
    let thawed = moving.propose(&on_its_way).unwrap().unwrap();
    assert_eq!(thawed.assignment(Slot(0)).unwrap().moving_to, None);

    // Nothing proposed, nothing to undo.
    let mut idle = SlotMove::plan(&map, [Slot(0)], TWO).unwrap();
    assert_eq!(idle.abort(), Ok(Step::Aborted));
}
