//! Random histories of a map beside a naive table, and their serialised forms.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use purlin_shard_router::{
    InstallErrorKind, Installed, MapError, MapVersion, PlacementHash, Router, Shard, ShardId,
    ShardMap, Slot, SlotMove,
};

#[derive(Clone, Debug)]
enum Change {
    Move { slots: Vec<u32>, to: u32 },
    Freeze { slots: Vec<u32>, to: u32 },
    Thaw { slot: u32 },
    AddShard { id: u32 },
    RemoveShard { id: u32 },
}

fn change() -> impl Strategy<Value = Change> {
    // A little beyond what exists: sixteen slots, shards up to number 5.
    let slots = || prop::collection::vec(0..18u32, 0..5);
    prop_oneof![
        4 => (slots(), 1..7u32).prop_map(|(slots, to)| Change::Move { slots, to }),
        2 => (slots(), 1..7u32).prop_map(|(slots, to)| Change::Freeze { slots, to }),
        1 => (0..18u32).prop_map(|slot| Change::Thaw { slot }),
        1 => (1..6u32).prop_map(|id| Change::AddShard { id }),
        1 => (1..6u32).prop_map(|id| Change::RemoveShard { id }),
    ]
}

/// What a map is, in the plainest terms.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    version: u64,
    shards: BTreeSet<u32>,
    slots: BTreeMap<u32, Row>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    owner: u32,
    epoch: u64,
    to: Option<u32>,
}

impl Model {
    /// Carries a change out, or says that it is not to be.
    fn apply(&mut self, change: &Change) -> bool {
        let next = self.version + 1;
        let mut after = self.clone();
        after.version = next;
        let allowed = match change {
            Change::Move { slots, to } => {
                for slot in slots {
                    let Some(row) = after.slots.get_mut(slot) else {
                        return false;
                    };
                    if row.to.is_some() {
                        return false;
                    }
                    if row.owner != *to {
                        (row.owner, row.epoch) = (*to, next);
                    }
                }
                self.shards.contains(to)
            }
            Change::Freeze { slots, to } => {
                let mut owners = BTreeSet::new();
                for slot in slots {
                    let Some(row) = after.slots.get_mut(slot) else {
                        return false;
                    };
                    // Named twice is named once.
                    if (row.epoch, row.to) == (next, Some(*to)) {
                        continue;
                    }
                    owners.insert(row.owner);
                    if row.to.is_some() || row.owner == *to {
                        return false;
                    }
                    (row.epoch, row.to) = (next, Some(*to));
                }
                owners.len() == 1 && self.shards.contains(to)
            }
            Change::Thaw { slot } => {
                let Some(wanted) = self.slots.get(slot).filter(|row| row.to.is_some()) else {
                    return false;
                };
                let mates = after.slots.values_mut().filter(|row| *row == wanted);
                mates.for_each(|row| (row.epoch, row.to) = (next, None));
                true
            }
            Change::AddShard { id } => after.shards.insert(*id),
            Change::RemoveShard { id } => {
                let mut rows = self.slots.values();
                after.shards.remove(id) && rows.all(|row| row.owner != *id && row.to != Some(*id))
            }
        };
        if allowed {
            *self = after;
        }
        allowed
    }
}

fn apply(map: &ShardMap, change: &Change) -> Option<ShardMap> {
    let numbered = |slots: &[u32]| slots.iter().copied().map(Slot).collect::<Vec<_>>();
    match change {
        Change::Move { slots, to } => map.with_move(numbered(slots), ShardId(*to)).ok(),
        Change::Freeze { slots, to } => {
            let mut moving = SlotMove::plan(map, numbered(slots), ShardId(*to)).ok()?;
            moving.propose(map).unwrap()
        }
        Change::Thaw { slot } => {
            let mut moving = SlotMove::take_over(map, Slot(*slot)).ok()?;
            moving.abort().unwrap();
            moving.propose(map).unwrap()
        }
        Change::AddShard { id } => map.with_shard(shard(*id)).ok(),
        Change::RemoveShard { id } => map.without_shard(ShardId(*id)).ok(),
    }
}

fn shard(id: u32) -> Shard {
    Shard::new(ShardId(id), format!("db-{id}"))
}

fn first() -> (ShardMap, Model) {
    let map = ShardMap::builder((1..=3).map(shard))
        .slot_count(16)
        .even_split()
        .unwrap();
    let model = model_of(&map);
    (map, model)
}

fn model_of(map: &ShardMap) -> Model {
    let row = |(slot, now): (Slot, purlin_shard_router::Assignment)| {
        let row = Row {
            owner: now.owner.0,
            epoch: now.epoch.0,
            to: now.moving_to.map(|to| to.0),
        };
        (slot.0, row)
    };
    Model {
        version: map.version().0,
        shards: map.shards().iter().map(|shard| shard.id().0).collect(),
        slots: map.assignments().map(row).collect(),
    }
}

/// All maps of a history, oldest first.
fn history(changes: &[Change]) -> Vec<ShardMap> {
    let mut maps = vec![first().0];
    for change in changes {
        let next = apply(maps.last().unwrap(), change);
        maps.extend(next);
    }
    maps
}

fn check_forms(map: &ShardMap) {
    let bytes = map.encode();
    assert_eq!(ShardMap::decode(&bytes).as_ref(), Ok(map));
    #[cfg(feature = "serde")]
    {
        let text = serde_json::to_string(map).unwrap();
        assert_eq!(&serde_json::from_str::<ShardMap>(&text).unwrap(), map);
    }
}

proptest! {
    #[test]
    fn maps_change_as_the_table_does(changes in prop::collection::vec(change(), 0..40)) {
        let (mut map, mut model) = first();
        for change in &changes {
            let next = apply(&map, change);
            prop_assert_eq!(next.is_some(), model.apply(change), "{:?}", change);
            map = next.unwrap_or(map);
            prop_assert_eq!(&model_of(&map), &model);
            for (slot, row) in &model.slots {
                let owns = map.slots_of(ShardId(row.owner)).any(|it| it == Slot(*slot));
                prop_assert!(owns);
            }
            let moving: Vec<_> = map.moving().map(|(slot, to)| (slot.0, to.0)).collect();
            let rows = model.slots.iter();
            let expected: Vec<_> = rows.filter_map(|(slot, row)| Some((*slot, row.to?))).collect();
            prop_assert_eq!(moving, expected);
        }
        check_forms(&map);
    }

    /// However the maps of two histories with a common beginning arrive, the router holds the newest that
    /// arrived of one of them, and its version never falls.
    #[test]
    fn a_router_follows_one_history(
        (common, left, right) in (
            prop::collection::vec(change(), 0..10),
            prop::collection::vec(change(), 0..10),
            prop::collection::vec(change(), 0..10),
        ),
        order in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..40),
    ) {
        let histories = [left, right].map(|branch| history(&[common.clone(), branch].concat()));
        let router = Router::new(first().0);
        for (branch, index) in order {
            let offered = index.get(&histories[usize::from(branch)]);
            let before = router.map();
            let result = router.install(offered.clone());
            let after = router.map();
            match result {
                Ok(Installed::Replaced) => {
                    prop_assert!(offered.version() > before.version());
                    prop_assert_eq!(after.as_ref(), offered);
                }
                Ok(Installed::Unchanged) => prop_assert_eq!(after.as_ref(), offered),
                Err(error) => {
                    prop_assert_eq!(&after, &before);
                    let older = offered.version() < before.version();
                    let is_older = matches!(error.kind(), InstallErrorKind::Older { .. });
                    prop_assert_eq!(older, is_older);
                    // One history never conflicts with itself.
                    let holds = |maps: &Vec<ShardMap>| maps.contains(&before) && maps.contains(offered);
                    prop_assert!(older || !histories.iter().any(holds), "{}", error.kind());
                }
            }
            // If an epoch is known for a slot, so is the owner: what routes rely on.
            for (slot, now) in after.assignments() {
                let was = before.assignment(slot).unwrap();
                prop_assert!(now == was || now.epoch > before.version());
            }
        }
    }

    #[test]
    fn every_map_comes_back_from_its_bytes(
        bits in 0..12u32,
        ids in prop::collection::btree_set(any::<u32>(), 1..20),
        owners in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
        version in any::<u64>(),
        key in any::<[u8; 16]>(),
    ) {
        let ids: Vec<u32> = ids.into_iter().collect();
        let map = ShardMap::builder(ids.iter().copied().map(shard))
            .slot_count(1 << bits)
            .hash(PlacementHash::siphash24(key))
            .version(MapVersion(version))
            .assigned((0..1 << bits).map(|n: usize| {
                ShardId(*owners[n * 7 % owners.len()].get(&ids))
            }))
            .unwrap();
        check_forms(&map);
        match map.with_move((0..1 << bits).step_by(3).map(Slot), ShardId(ids[0])) {
            Ok(moved) => check_forms(&moved),
            Err(error) => prop_assert_eq!(error, MapError::VersionsExhausted),
        }
    }
}
