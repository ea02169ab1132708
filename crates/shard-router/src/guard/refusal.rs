use std::time::Duration;

use purlin_core::Retry;

use crate::{MapVersion, Route, ShardId, Slot};

/// Why a [`Guard`](crate::Guard) did not admit a request. The request has had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Refusal {
    /// The client's map is too old: the slot has changed since. Install a map of at least `needed` and route
    /// again, or follow [`redirect`](Refusal::redirect).
    #[error("stale route: {slot} has been with {owner} since {needed}")]
    Stale {
        /// The slot.
        slot: Slot,
        /// Its owner now, which may be this shard.
        owner: ShardId,
        /// The version of the map that changed the slot.
        needed: MapVersion,
    },
    /// The slot is being moved, and nobody serves it for a moment. Wait, look for a map later than `since`, and
    /// route again.
    #[error("{slot} is being moved to {to} since {since}")]
    Frozen {
        /// The slot.
        slot: Slot,
        /// Where it is going. It is not there yet, and the move may be called off.
        to: ShardId,
        /// The version of the map that closed the slot.
        since: MapVersion,
    },
    /// The route is right, and this is not the shard it leads to. For an import: the slot is moving elsewhere.
    #[error("wrong shard: {slot} is with {owner} since {needed}")]
    WrongShard {
        /// The slot.
        slot: Slot,
        /// The shard to go to.
        owner: ShardId,
        /// The version of the map that changed the slot.
        needed: MapVersion,
    },
    /// The shard's map is older than the client's, so the shard cannot tell. It should get a newer one; the
    /// client waits and tries the same route again. Anybody can claim a high version: shards should not fetch
    /// a map more often than they would anyhow because of this.
    #[error("the shard has {current} and {slot} was changed by {needed}")]
    Behind {
        /// The slot.
        slot: Slot,
        /// The version of the shard's map.
        current: MapVersion,
        /// The version the client has shown.
        needed: MapVersion,
    },
    /// No map of the shard's history says what the route claims. It was made up, or comes from a map that is
    /// no version of ours.
    #[error("foreign route: {slot} was not changed so by {epoch}")]
    Foreign {
        /// The slot.
        slot: Slot,
        /// The epoch claimed.
        epoch: MapVersion,
    },
    /// The map has no such slot.
    #[error("{slot} is not among {slot_count} slots")]
    UnknownSlot {
        /// The slot claimed.
        slot: Slot,
        /// How many slots there are.
        slot_count: u32,
    },
    /// The key does not lie in the route's slot. The client hashes otherwise than the shard.
    #[error("the key lies in {slot}, not {claimed}")]
    WrongSlot {
        /// Where the key lies.
        slot: Slot,
        /// The slot of the route.
        claimed: Slot,
    },
    /// Removing left-overs of a slot whose data this shard needs.
    #[error("{slot} is in use here")]
    InUse {
        /// The slot.
        slot: Slot,
    },
}

/// How long a client waits for something that takes a shard a moment: a cut-over, or news of the map. Long
/// enough that a thousand waiting clients are no load, short enough to be a small part of a request's time.
const A_MOMENT: Duration = Duration::from_millis(10);

impl Refusal {
    /// The slot that was asked for.
    pub fn slot(&self) -> Slot {
        match *self {
            Refusal::Stale { slot, .. }
            | Refusal::Frozen { slot, .. }
            | Refusal::WrongShard { slot, .. }
            | Refusal::Behind { slot, .. }
            | Refusal::Foreign { slot, .. }
            | Refusal::UnknownSlot { slot, .. }
            | Refusal::WrongSlot { claimed: slot, .. }
            | Refusal::InUse { slot } => slot,
        }
    }

    /// The route to take now, if the shard knew one: exactly what a map as new as the shard's would have
    /// said. Following it saves waiting for that map, which the client should still get. Each redirect leads to
    /// a later epoch, or from the wrong shard to the right one of the same epoch, so following them ends.
    pub fn redirect(&self) -> Option<Route> {
        match *self {
            Refusal::Stale {
                slot,
                owner,
                needed,
            }
            | Refusal::WrongShard {
                slot,
                owner,
                needed,
            } => Some(Route::new(owner, slot, needed)),
            Refusal::Frozen { .. }
            | Refusal::Behind { .. }
            | Refusal::Foreign { .. }
            | Refusal::UnknownSlot { .. }
            | Refusal::WrongSlot { .. }
            | Refusal::InUse { .. } => None,
        }
    }

    /// Whether the request may be repeated, which is always safe where it makes sense. It makes sense along
    /// the [`redirect`](Refusal::redirect), by a newer map, or after a wait.
    pub fn retry(&self) -> Retry {
        match self {
            Refusal::Stale { .. } | Refusal::WrongShard { .. } => Retry::NOW,
            Refusal::Frozen { .. } | Refusal::Behind { .. } => Retry::safe_after(A_MOMENT),
            Refusal::Foreign { .. }
            | Refusal::UnknownSlot { .. }
            | Refusal::WrongSlot { .. }
            | Refusal::InUse { .. } => Retry::NEVER,
        }
    }
}
