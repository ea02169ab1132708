use std::collections::BTreeMap;

use super::{Assignment, Holder, Keying};
use crate::{MapError, MapVersion, Shard, ShardMap, Slot};

/// Neighbouring slots with one assignment: how both serialised forms write the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// How many slots; at least one in what we write.
    pub(super) len: u32,
    pub(super) assignment: Assignment,
}

impl ShardMap {
    /// The table as the fewest runs: neighbours differ.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (_, assignment) in self.assignments() {
            match runs.last_mut() {
                Some(last) if last.assignment == assignment => last.len += 1,
                _ => runs.push(Run { len: 1, assignment }),
            }
        }
        runs
    }

    /// The map of these parts, checked. `shards` have been checked before.
    pub(super) fn from_runs(
        version: MapVersion,
        keying: Keying,
        shards: Box<[Shard]>,
        runs: impl IntoIterator<Item = Run>,
    ) -> Result<ShardMap, MapError> {
        // Grows with the runs, and no further than the count, which is at most `MAX_SLOT_COUNT`: a few bytes
        // of hostile input cannot ask for more than that.
        let mut holders: Vec<Holder> = Vec::new();
        let mut moving = BTreeMap::new();
        let slot_count = keying.slot_count();
        for Run { len, assignment } in runs {
            let start = holders.len() as u32; // At most `slot_count`, as the next lines see to.
            if len > slot_count - start {
                return Err(MapError::UnknownSlot {
                    slot: Slot(slot_count),
                });
            }
            let Assignment { owner, epoch, .. } = assignment;
            holders.resize(holders.len() + len as usize, Holder { epoch, owner });
            if let Some(to) = assignment.moving_to {
                moving.extend((start..start + len).map(|number| (Slot(number), to)));
            }
        }
        let reached = holders.len() as u32;
        if reached < slot_count {
            return Err(MapError::Unowned {
                slot: Slot(reached),
            });
        }
        let map = ShardMap {
            version,
            keying,
            shards,
            holders: holders.into_boxed_slice(),
            moving,
        };
        map.checked()
    }
}
