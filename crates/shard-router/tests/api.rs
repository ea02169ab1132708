//! Maps, routes and routers: what each call promises, and each way in which it says no.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixtures;

use std::collections::BTreeMap;
use std::sync::Arc;

use fixtures::*;
use purlin_core::{GroupId, NodeId, Placement};
use purlin_shard_router::{
    Admit, Guard, InstallErrorKind, Installed, KeyRule, MapError, MapVersion, MoveError,
    PlacementHash, Route, Router, Shard, ShardId, ShardMap, Slot, SlotMove,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};

assert_impl_all!(ShardMap: Send, Sync, Clone);
assert_impl_all!(Router: Send, Sync);
assert_impl_all!(Guard: Send, Sync);
assert_impl_all!(Admit: Send, Sync);
assert_not_impl_any!(Admit: Clone);
assert_impl_all!(Route: Copy, Send, Sync);
assert_impl_all!(SlotMove: Send, Sync, Clone);

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
