use std::collections::BTreeMap;

use purlin_core::{NodeId, Placement, PlacementHash, PlacementKey};

use super::{Holder, Keying, checked_shards};
use crate::{KeyRule, MapError, MapVersion, Shard, ShardId, ShardMap, Slot};

/// Puts a first map together: what is not the default, then who owns the slots.
///
/// ```
/// use purlin_shard_router::{PlacementHash, Shard, ShardId, ShardMap};
///
/// let map = ShardMap::builder((1..=4).map(|n| Shard::new(ShardId(n), format!("orders-{n}"))))
///     .hash(PlacementHash::xxh3(7))
///     .slot_count(4096)
///     .even_split()?;
/// assert_eq!(map.slots_of(ShardId(1)).count(), 1024);
/// # Ok::<(), purlin_shard_router::MapError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is told who owns the slots"]
pub struct Builder {
    shards: Vec<Shard>,
    hash: PlacementHash,
    rule: KeyRule,
    slot_count: u32,
    version: MapVersion,
}

impl Builder {
    pub(super) fn new(shards: impl IntoIterator<Item = Shard>) -> Self {
        Builder {
            shards: shards.into_iter().collect(),
            hash: PlacementHash::default(),
            rule: KeyRule::default(),
            slot_count: ShardMap::DEFAULT_SLOT_COUNT,
            version: MapVersion::FIRST,
        }
    }

    /// The hash that finds a key's slot; XXH3-64 with seed 0 unless set. Take SipHash with a secret key where
    /// keys come from people who might want to fill one shard. It stays with the map for good.
    pub fn hash(self, hash: PlacementHash) -> Self {
        Builder { hash, ..self }
    }

    /// Which bytes of a key are hashed; all of them unless set. It stays with the map for good.
    pub fn key_rule(self, rule: KeyRule) -> Self {
        Builder { rule, ..self }
    }

    /// The number of slots, a power of two; [`ShardMap::DEFAULT_SLOT_COUNT`] unless set. It stays with the
    /// map for good, and is the largest number of shards that can have data.
    pub fn slot_count(self, slot_count: u32) -> Self {
        Builder { slot_count, ..self }
    }

    /// The map's version and every slot's epoch; [`MapVersion::FIRST`] unless set. To replace a history that
    /// was lost, take a version above any that is still in use somewhere.
    pub fn version(self, version: MapVersion) -> Self {
        Builder { version, ..self }
    }

    /// Gives each shard an equal part, in order of number: a run of slots whose length differs by at most one
    /// between shards. With more shards than slots, some have none.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the shards or the number of slots are wrong.
    pub fn even_split(self) -> Result<ShardMap, MapError> {
        self.build(|slot, slot_count, shards| {
            let share = u64::from(slot.0) * shards.len() as u64 / u64::from(slot_count);
            Ok(shards[share as usize].id())
        })
    }

    /// Gives the slots, from number 0 on, to these shards.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the shards or the number of slots are wrong, there are fewer or more owners than slots,
    /// or one that is not among the shards.
    pub fn assigned(self, owners: impl IntoIterator<Item = ShardId>) -> Result<ShardMap, MapError> {
        let mut owners = owners.into_iter();
        let map = self.build(|slot, _, _| owners.next().ok_or(MapError::Unowned { slot }))?;
        match owners.next() {
            None => Ok(map),
            Some(_) => Err(MapError::UnknownSlot {
                slot: Slot(map.slot_count()),
            }),
        }
    }

    /// Gives each slot to the owner of its number, taken as a key of type `u32`, so that a ring spreads the
    /// slots as it would spread keys, by its weights. The placement's nodes are the shards of the same number.
    /// Only the slots are placed by it: the keys' slots still follow from the map's own hash.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the shards or the number of slots are wrong, the placement has no owner for a slot, or
    /// one that is not among the shards.
    pub fn placed_by<P: Placement + ?Sized>(self, placement: &P) -> Result<ShardMap, MapError> {
        self.build(|slot, _, shards| {
            let owner = slot.0.with_key_bytes(|key| placement.owner(key));
            let node = owner.ok_or(MapError::Unowned { slot })?;
            shards
                .binary_search_by_key(&node, |shard| NodeId::from(shard.id()))
                .map(|at| shards[at].id())
                .map_err(|_| MapError::UnknownNode { node })
        })
    }

    fn build(
        self,
        mut owner_of: impl FnMut(Slot, u32, &[Shard]) -> Result<ShardId, MapError>,
    ) -> Result<ShardMap, MapError> {
        let keying = Keying::new(self.hash, self.rule, self.slot_count)?;
        let shards = checked_shards(self.shards)?;
        let epoch = self.version;
        let mut holders = Vec::with_capacity(self.slot_count as usize);
        for number in 0..self.slot_count {
            let owner = owner_of(Slot(number), self.slot_count, &shards)?;
            holders.push(Holder { epoch, owner });
        }
        let map = ShardMap {
            version: self.version,
            keying,
            shards,
            holders: holders.into_boxed_slice(),
            moving: BTreeMap::new(),
        };
        map.checked()
    }
}

impl Keying {
    pub(super) fn new(
        hash: PlacementHash,
        rule: KeyRule,
        slot_count: u32,
    ) -> Result<Self, MapError> {
        if !slot_count.is_power_of_two() || slot_count > ShardMap::MAX_SLOT_COUNT {
            return Err(MapError::SlotCount { given: slot_count });
        }
        let bits = slot_count.ilog2();
        Ok(Keying { hash, rule, bits })
    }
}
