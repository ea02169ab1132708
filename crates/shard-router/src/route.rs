use std::fmt;

use crate::{MapVersion, ShardId, Slot};

/// Where a key lives, and since when: what a client learns from its map and shows to the shard.
///
/// It is a claim, not a proof. A [`Guard`](crate::Guard) at the shard checks it, so that a client with an old
/// map is refused where it would have written to the wrong place. Send it along with the request, as its
/// bytes or with the `serde` feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Route {
    shard: ShardId,
    slot: Slot,
    epoch: MapVersion,
}

impl Route {
    /// How many bytes [`to_bytes`](Route::to_bytes) gives.
    pub const ENCODED_LEN: usize = 16;

    /// The claim that `slot` has been with `shard` since `epoch`. Clients get theirs from a map.
    pub const fn new(shard: ShardId, slot: Slot, epoch: MapVersion) -> Self {
        Route { shard, slot, epoch }
    }

    /// The shard to ask.
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// The slot the key lies in.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// The version of the map that last changed the slot. A storage that can compare numbers may fence its
    /// writes by it.
    pub const fn epoch(&self) -> MapVersion {
        self.epoch
    }

    /// The compact form: shard and slot in four bytes each, the epoch in eight, little-endian.
    pub fn to_bytes(&self) -> [u8; Route::ENCODED_LEN] {
        let mut bytes = [0; Route::ENCODED_LEN];
        bytes[..4].copy_from_slice(&self.shard.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.slot.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes
    }

    /// Reads the compact form. Any bytes are some route; the guard judges what it claims.
    pub const fn from_bytes(bytes: [u8; Route::ENCODED_LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, epoch @ ..] = bytes;
        Route {
            shard: ShardId(u32::from_le_bytes([a, b, c, d])),
            slot: Slot(u32::from_le_bytes([e, f, g, h])),
            epoch: MapVersion(u64::from_le_bytes(epoch)),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} since {}", self.slot, self.shard, self.epoch)
    }
}
