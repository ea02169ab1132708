//! The map: which shard owns which slot, and since when.

mod builder;
mod codec;
mod error;
mod runs;
mod succession;
#[cfg(feature = "serde")]
mod with_serde;

use std::collections::BTreeMap;
use std::fmt;

use purlin_core::{Placement, PlacementHash, PlacementKey};

pub use self::builder::Builder;
pub use self::codec::DecodeError;
pub use self::error::MapError;
pub use self::succession::{InstallError, InstallErrorKind, Installed};
use crate::group::{ShardGroup, group};
use crate::slot::slot_of_hash;
use crate::{KeyRule, MapVersion, Route, Shard, ShardId, Slot};

/// Which shard owns which slot: an immutable value with a version.
///
/// A key's slot follows from the map's hash, [`KeyRule`] and number of slots, which never change over the
/// history of a map; the slot's shard is one load from a table. Every slot has an owner that the map lists.
/// Changes give a new map with the next version: [`with_shard`](ShardMap::with_shard),
/// [`without_shard`](ShardMap::without_shard), [`with_move`](ShardMap::with_move), and
/// [`SlotMove`](crate::SlotMove) for slots that are being written to.
///
/// Two maps are equal when all of it is: version, hash, shards, owners, epochs. A map takes about 16 bytes a
/// slot, 256 KiB by default; copying it for a change costs that much.
///
/// ```
/// use purlin_shard_router::{Shard, ShardId, ShardMap};
///
/// let shards = [Shard::new(ShardId(1), "orders-1"), Shard::new(ShardId(2), "orders-2")];
/// let map = ShardMap::even_split(shards)?;
///
/// let route = map.route(&("tenant-7", 42u64));
/// let shard = map.shard(route.shard()).expect("routes lead to shards of the map");
/// assert!(shard.name().starts_with("orders-"));
/// # Ok::<(), purlin_shard_router::MapError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ShardMap {
    version: MapVersion,
    keying: Keying,
    /// Sorted by id; at least one.
    shards: Box<[Shard]>,
    /// One a slot. Owners are in `shards`, and no epoch is above `version`.
    holders: Box<[Holder]>,
    /// Where the slots are bound that nobody may write to because they are being moved. In `shards`, and not
    /// the slot's owner. Apart from `holders` because it is nearly always empty.
    moving: BTreeMap<Slot, ShardId>,
}

/// Who has a slot. What a route needs and no more, since a lookup should touch one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    epoch: MapVersion,
    owner: ShardId,
}

/// How a key finds its slot. The same over the whole history of a map, or keys would change their slots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keying {
    hash: PlacementHash,
    rule: KeyRule,
    /// The number of slots is `1 << bits`, at most [`ShardMap::MAX_SLOT_COUNT`].
    bits: u32,
}

impl Keying {
    pub(crate) fn slot_count(&self) -> u32 {
        1 << self.bits
    }

    #[inline]
    pub(crate) fn slot_of<K: PlacementKey + ?Sized>(&self, key: &K) -> Slot {
        key.with_key_bytes(|bytes| {
            let hash = self.hash.of_bytes(self.rule.hashed_part(bytes));
            slot_of_hash(hash, self.bits)
        })
    }
}

/// What a map says of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assignment {
    /// The shard that has the slot's data.
    pub owner: ShardId,
    /// The version of the map that last changed this slot.
    pub epoch: MapVersion,
    /// The shard the slot is being moved to. While it is, nobody may write to it, the owner included.
    pub moving_to: Option<ShardId>,
}

impl ShardMap {
    /// The number of slots unless another is asked for: 16,384, as in Redis Cluster. With it 100 shards differ
    /// by less than 1 % in slots, and a map is 256 KiB.
    pub const DEFAULT_SLOT_COUNT: u32 = 1 << 14;
    /// The largest number of slots. It bounds what decoding a map can be made to allocate.
    pub const MAX_SLOT_COUNT: u32 = 1 << 16;
    /// The largest number of shards: more could not own a slot each.
    pub const MAX_SHARDS: usize = 1 << 16;

    /// A builder of a first map over these shards.
    pub fn builder(shards: impl IntoIterator<Item = Shard>) -> Builder {
        Builder::new(shards)
    }

    /// A first map with everything at its default, in which each shard has an equal part of the slots, one
    /// run of them: [`Builder::even_split`].
    ///
    /// # Errors
    ///
    /// [`MapError`] if there is no shard, or two share a number or a name.
    pub fn even_split(shards: impl IntoIterator<Item = Shard>) -> Result<ShardMap, MapError> {
        ShardMap::builder(shards).even_split()
    }

    /// A first map with everything at its default, whose slots lie where a placement puts them:
    /// [`Builder::placed_by`]. The placement's nodes are the shards of the same number.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the shards are wrong, the placement has no owner for a slot, or one that is not among
    /// the shards.
    pub fn from_placement<P: Placement + ?Sized>(
        shards: impl IntoIterator<Item = Shard>,
        placement: &P,
    ) -> Result<ShardMap, MapError> {
        ShardMap::builder(shards).placed_by(placement)
    }

    /// The map's version.
    pub fn version(&self) -> MapVersion {
        self.version
    }

    /// The hash that finds a key's slot.
    pub fn hash(&self) -> PlacementHash {
        self.keying.hash
    }

    /// Which bytes of a key are hashed.
    pub fn key_rule(&self) -> KeyRule {
        self.keying.rule
    }

    pub(crate) fn keying(&self) -> Keying {
        self.keying
    }

    /// How many slots there are: a power of two.
    pub fn slot_count(&self) -> u32 {
        self.keying.slot_count()
    }

    /// The shards, by number.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The shard of this number.
    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        let at = self.shards.binary_search_by_key(&id, Shard::id).ok()?;
        Some(&self.shards[at])
    }

    /// The slot of a key.
    #[inline]
    pub fn slot_of<K: PlacementKey + ?Sized>(&self, key: &K) -> Slot {
        self.keying.slot_of(key)
    }

    /// Where a key lives: one hash and one load, without allocation.
    #[inline]
    pub fn route<K: PlacementKey + ?Sized>(&self, key: &K) -> Route {
        let slot = self.slot_of(key);
        let holder = self.holders[slot.index()];
        Route::new(holder.owner, slot, holder.epoch)
    }

    /// What the map says of a slot, if it has one of this number.
    pub fn assignment(&self, slot: Slot) -> Option<Assignment> {
        let holder = self.holders.get(slot.index())?;
        Some(Assignment {
            owner: holder.owner,
            epoch: holder.epoch,
            moving_to: self.moving.get(&slot).copied(),
        })
    }

    /// What the map says of each slot, in order.
    pub fn assignments(&self) -> impl Iterator<Item = (Slot, Assignment)> + '_ {
        (0..self.slot_count()).map(|number| {
            let slot = Slot(number);
            let assignment = self.assignment(slot);
            (slot, assignment.expect("the number is below the count"))
        })
    }

    /// The slots of a shard, in order. Those it is about to give away are still among them.
    pub fn slots_of(&self, shard: ShardId) -> impl Iterator<Item = Slot> + '_ {
        let numbered = (0..).map(Slot).zip(&self.holders);
        numbered
            .filter(move |(_, holder)| holder.owner == shard)
            .map(|(slot, _)| slot)
    }

    /// The slots that are being moved, each with the shard it is bound for, in order.
    pub fn moving(&self) -> impl Iterator<Item = (Slot, ShardId)> + '_ {
        self.moving.iter().map(|(&slot, &to)| (slot, to))
    }

    /// Groups keys by their shard, so that each shard is asked once: see [`ShardGroup`]. All keys are routed
    /// by this one map. O(keys + shards).
    pub fn group_by_shard<K: PlacementKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Vec<ShardGroup<K>> {
        group(self, keys)
    }

    /// The next version, with one shard more. It has no slots until some are moved to it.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the number or the name is taken, or the name is empty or too long.
    pub fn with_shard(&self, shard: Shard) -> Result<ShardMap, MapError> {
        let mut shards = self.shards.to_vec();
        shards.push(shard);
        let shards = checked_shards(shards)?;
        Ok(ShardMap {
            shards,
            ..self.next_version()?
        })
    }

    /// The next version, without this shard.
    ///
    /// # Errors
    ///
    /// [`MapError::ShardInUse`] if the shard has slots, or some are on the way to it;
    /// [`MapError::UnknownShard`] if there is no such shard.
    pub fn without_shard(&self, id: ShardId) -> Result<ShardMap, MapError> {
        self.known(id)?;
        let owned = self.slots_of(id).next();
        let awaited = || self.moving().find(|&(_, to)| to == id);
        if let Some(slot) = owned.or_else(|| awaited().map(|(slot, _)| slot)) {
            return Err(MapError::ShardInUse { id, slot });
        }
        let mut map = self.next_version()?;
        let others = self.shards.iter().filter(|shard| shard.id() != id);
        map.shards = others.cloned().collect();
        Ok(map)
    }

    /// The next version, in which `to` owns these slots, at once. Slots it owns already stay as they are.
    ///
    /// This is for maps that nobody is writing by: while building one, or with the service stopped. Where
    /// shards are being written to, the old owner would go on taking writes until it hears of the change, at
    /// the same time as the new one. [`SlotMove`](crate::SlotMove) is for that.
    ///
    /// # Errors
    ///
    /// [`MapError`] if the map has no such shard or slot, or a slot is being moved already.
    pub fn with_move(
        &self,
        slots: impl IntoIterator<Item = Slot>,
        to: ShardId,
    ) -> Result<ShardMap, MapError> {
        self.known(to)?;
        let mut map = self.next_version()?;
        for slot in slots {
            let assignment = self
                .assignment(slot)
                .ok_or(MapError::UnknownSlot { slot })?;
            if assignment.moving_to.is_some() {
                return Err(MapError::SlotMoving { slot });
            }
            if assignment.owner != to {
                map.set(slot, to, None);
            }
        }
        Ok(map)
    }

    /// The next version, in which each of these slots is with `owner`, open or on its way.
    ///
    /// # Panics
    ///
    /// If a slot is not of this map. Both shards must be in the map, and differ.
    pub(crate) fn with_slots(
        &self,
        slots: &[Slot],
        owner: ShardId,
        moving_to: Option<ShardId>,
    ) -> Result<ShardMap, MapError> {
        let mut map = self.next_version()?;
        for &slot in slots {
            map.set(slot, owner, moving_to);
        }
        Ok(map)
    }

    /// This map under the next version, for the caller to change.
    fn next_version(&self) -> Result<ShardMap, MapError> {
        let version = self.version.next().ok_or(MapError::VersionsExhausted)?;
        Ok(ShardMap {
            version,
            ..self.clone()
        })
    }

    /// Gives a slot away. Every change dates the slot with the map's version, since two maps that agree on a
    /// slot's epoch must agree on the slot.
    fn set(&mut self, slot: Slot, owner: ShardId, moving_to: Option<ShardId>) {
        self.holders[slot.index()] = Holder {
            epoch: self.version,
            owner,
        };
        match moving_to {
            Some(to) => self.moving.insert(slot, to),
            None => self.moving.remove(&slot),
        };
    }

    pub(crate) fn known(&self, id: ShardId) -> Result<(), MapError> {
        match self.shard(id) {
            Some(_) => Ok(()),
            None => Err(MapError::UnknownShard { id }),
        }
    }

    /// Checks what the fields promise, for maps that were read or put together by hand.
    fn checked(self) -> Result<ShardMap, MapError> {
        for (slot, assignment) in self.assignments() {
            self.known(assignment.owner)?;
            if assignment.epoch > self.version {
                return Err(MapError::EpochAhead { slot });
            }
            if let Some(to) = assignment.moving_to {
                self.known(to)?;
                if to == assignment.owner {
                    return Err(MapError::MovesToItself { slot });
                }
            }
        }
        Ok(self)
    }
}

/// Sorts shards by number and checks that a map can list them.
fn checked_shards(mut shards: Vec<Shard>) -> Result<Box<[Shard]>, MapError> {
    let count = shards.len();
    if count == 0 {
        return Err(MapError::NoShards);
    }
    if count > ShardMap::MAX_SHARDS {
        return Err(MapError::TooManyShards { count });
    }
    shards.sort_by_key(Shard::id);
    if let Some(twins) = shards.windows(2).find(|pair| pair[0].id() == pair[1].id()) {
        return Err(MapError::DuplicateShard { id: twins[0].id() });
    }
    let nameless = |shard: &&Shard| !(1..=Shard::MAX_NAME_LEN).contains(&shard.name().len());
    if let Some(shard) = shards.iter().find(nameless) {
        return Err(MapError::ShardName { id: shard.id() });
    }
    let mut by_name: Vec<&Shard> = shards.iter().collect();
    by_name.sort_by_key(|shard| shard.name());
    if let Some(twins) = by_name
        .windows(2)
        .find(|pair| pair[0].name() == pair[1].name())
    {
        let (first, second) = (twins[0].id(), twins[1].id());
        return Err(MapError::DuplicateName { first, second });
    }
    Ok(shards.into_boxed_slice())
}

/// In short: a table of thousands of slots helps nobody in a log, and a seed may be a key.
impl fmt::Debug for ShardMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardMap")
            .field("version", &self.version.0)
            .field("hash", &self.keying.hash.algorithm().name())
            .field("key_rule", &self.keying.rule)
            .field("slot_count", &self.slot_count())
            .field("shards", &self.shards.len())
            .field("moving", &self.moving.len())
            .finish_non_exhaustive()
    }
}
