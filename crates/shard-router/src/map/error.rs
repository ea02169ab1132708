use purlin_core::{NodeId, Retry};

use crate::{Shard, ShardId, ShardMap, Slot};

/// Why there is no such map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// A map needs at least one shard.
    #[error("a map without shards")]
    NoShards,
    /// More shards than could own a slot each.
    #[error(
        "{count} shards, of which a map holds at most {}",
        ShardMap::MAX_SHARDS
    )]
    TooManyShards {
        /// How many were given.
        count: usize,
    },
    /// Two shards have one number.
    #[error("{id} is listed twice")]
    DuplicateShard {
        /// The number.
        id: ShardId,
    },
    /// Two shards have one name.
    #[error("{first} and {second} have the same name")]
    DuplicateName {
        /// One of them.
        first: ShardId,
        /// The other.
        second: ShardId,
    },
    /// A shard's name is empty or too long.
    #[error("the name of {id} is not 1 to {} bytes long", Shard::MAX_NAME_LEN)]
    ShardName {
        /// The shard.
        id: ShardId,
    },
    /// The number of slots is not a power of two, or too large.
    #[error(
        "{given} slots, where a power of two up to {} is needed",
        ShardMap::MAX_SLOT_COUNT
    )]
    SlotCount {
        /// The number asked for.
        given: u32,
    },
    /// A shard that the map does not list.
    #[error("{id} is not in the map")]
    UnknownShard {
        /// The number.
        id: ShardId,
    },
    /// A placement chose a node that is not among the shards.
    #[error("the placement chose {node}, which is not among the shards")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// The map has no slot of this number, or an assignment went on behind its last slot.
    #[error("{slot} is not in the map")]
    UnknownSlot {
        /// The number.
        slot: Slot,
    },
    /// Nobody owns this slot.
    #[error("nobody owns {slot}")]
    Unowned {
        /// The first slot without an owner.
        slot: Slot,
    },
    /// The slot is being moved, and only that move may change it.
    #[error("{slot} is being moved")]
    SlotMoving {
        /// The slot.
        slot: Slot,
    },
    /// The slot is on its way to the shard that has it.
    #[error("{slot} moves to its own shard")]
    MovesToItself {
        /// The slot.
        slot: Slot,
    },
    /// The slot was changed by a version that is still to come.
    #[error("{slot} is dated later than the map")]
    EpochAhead {
        /// The slot.
        slot: Slot,
    },
    /// The shard has slots, or some are on their way to it.
    #[error("{id} is in use by {slot}")]
    ShardInUse {
        /// The shard.
        id: ShardId,
        /// One of the slots.
        slot: Slot,
    },
    /// The map has reached the last version there is.
    #[error("no version is left")]
    VersionsExhausted,
}

impl MapError {
    /// Never: the same call fails the same way.
    pub fn retry(&self) -> Retry {
        Retry::NEVER
    }
}
