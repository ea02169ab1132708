//! What a shard says to a claim, given its map. Pure, so that the rules can be read on one page.

use super::Refusal;
use crate::map::Assignment;
use crate::{MapVersion, Route, ShardId, ShardMap, Slot};

/// A request of a client: the slot must be ours, open, and as the client believes it to be.
pub(super) fn judge_request(map: &ShardMap, me: ShardId, route: Route) -> Result<(), Refusal> {
    let slot = route.slot();
    let now = assignment(map, slot, route.epoch())?;
    // Before the epoch: every client's epoch is old while a slot is closed, and sending them all for the map
    // that closed it would help none of them.
    if let (true, Some(to)) = (now.owner == me, now.moving_to) {
        let since = now.epoch;
        return Err(Refusal::Frozen { slot, to, since });
    }
    let (owner, needed) = (now.owner, now.epoch);
    if route.epoch() < now.epoch {
        return Err(Refusal::Stale {
            slot,
            owner,
            needed,
        });
    }
    if route.shard() != owner {
        return Err(foreign(slot, route.epoch()));
    }
    if owner != me {
        return Err(Refusal::WrongShard {
            slot,
            owner,
            needed,
        });
    }
    Ok(())
}

/// A step of copying a slot to us: the slot must be on its way here, by the very move that asks.
pub(super) fn judge_import(
    map: &ShardMap,
    me: ShardId,
    slot: Slot,
    epoch: MapVersion,
) -> Result<(), Refusal> {
    let now = current(map, slot, epoch)?;
    match now.moving_to {
        Some(to) if to == me => Ok(()),
        Some(to) => Err(Refusal::WrongShard {
            slot,
            owner: to,
            needed: now.epoch,
        }),
        None => Err(foreign(slot, epoch)),
    }
}

/// The removal of left-overs: the slot must be neither ours nor on its way here.
pub(super) fn judge_cleanup(
    map: &ShardMap,
    me: ShardId,
    slot: Slot,
    epoch: MapVersion,
) -> Result<(), Refusal> {
    let now = current(map, slot, epoch)?;
    if now.owner == me || now.moving_to == Some(me) {
        return Err(Refusal::InUse { slot });
    }
    Ok(())
}

/// What the map says of a slot of which the caller knows exactly the present epoch.
fn current(map: &ShardMap, slot: Slot, epoch: MapVersion) -> Result<Assignment, Refusal> {
    let now = assignment(map, slot, epoch)?;
    if epoch < now.epoch {
        let (owner, needed) = (now.owner, now.epoch);
        return Err(Refusal::Stale {
            slot,
            owner,
            needed,
        });
    }
    Ok(now)
}

/// What the map says of a slot of which the caller does not know more than the map.
fn assignment(map: &ShardMap, slot: Slot, epoch: MapVersion) -> Result<Assignment, Refusal> {
    let slot_count = map.slot_count();
    let unknown = Refusal::UnknownSlot { slot, slot_count };
    let now = map.assignment(slot).ok_or(unknown)?;
    if epoch <= now.epoch {
        return Ok(now);
    }
    // A map of the claimed version or later would show that epoch, had there been such a change.
    let current = map.version();
    if epoch <= current {
        return Err(foreign(slot, epoch));
    }
    let needed = epoch;
    Err(Refusal::Behind {
        slot,
        current,
        needed,
    })
}

fn foreign(slot: Slot, epoch: MapVersion) -> Refusal {
    Refusal::Foreign { slot, epoch }
}
