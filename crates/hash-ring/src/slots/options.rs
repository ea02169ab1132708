//! What a slot table is built with.

use alloc::vec;

use super::{MAX_BITS, MAX_LISTED, MAX_NODES, SlotTable, matching};
use crate::rank::Ranking;
use crate::{BuildError, Builder};

/// What a slot table's builder may be told beside what all builders may.
#[derive(Clone, Debug, Default)]
pub struct SlotOptions {
    pub(super) bits: Option<u32>,
    pub(super) listed: u8,
}

impl Builder<SlotOptions> {
    /// How many slots the table has: 2 to the power `bits`. Without this, 65 536, or more if there are more
    /// than 2 730 nodes, so that there are at least 24 for each. More slots balance better and take longer
    /// to read once they outgrow a cache.
    pub fn slot_bits(mut self, bits: u32) -> Self {
        self.options.bits = Some(bits);
        self
    }

    /// Works the first `n` replicas of each slot out ahead, which makes looking them up a copy, also for the first
    /// who asks; at most 16, and more are worked out when they are asked for. Takes O(slots × nodes) to build, and
    /// `2 × n` bytes a slot if `n` is more than three; for three every table has room.
    pub fn replica_lists(mut self, n: u8) -> Self {
        self.options.listed = n.min(MAX_LISTED);
        self
    }

    /// Builds the table: slots are dealt to nodes by weight.
    ///
    /// # Errors
    ///
    /// [`BuildError::DuplicateNode`], [`BuildError::TooManyNodes`] above 65 535 nodes, or
    /// [`BuildError::SlotBits`] for fewer than 1 or more than 24.
    pub fn build(self) -> Result<SlotTable, BuildError> {
        let (fleet, options) = self.into_parts(MAX_NODES)?;
        let bits = options.bits(fleet.nodes.len())?;
        let n_slots = 1usize << bits;
        let nobody = vec![None; n_slots];
        Ok(SlotTable::rebalanced(fleet, bits, options.listed, nobody))
    }

    /// Builds the table from the nodes alone, in a way that changes little when they do: see
    /// [`SlotTable::history_free`].
    ///
    /// # Errors
    ///
    /// As [`build`](Builder#method.build).
    pub fn build_history_free(self) -> Result<SlotTable, BuildError> {
        let (fleet, options) = self.into_parts(MAX_NODES)?;
        let bits = options.bits(fleet.nodes.len())?;
        let ranking = Ranking::new(&fleet.nodes, fleet.hash);
        let owners = matching::stable(&fleet.nodes, &ranking, bits);
        Ok(SlotTable::of(fleet, bits, options.listed, owners, ranking))
    }
}

impl SlotOptions {
    pub(super) fn bits(&self, n_nodes: usize) -> Result<u32, BuildError> {
        match self.bits {
            Some(bits) if (1..=MAX_BITS).contains(&bits) => Ok(bits),
            Some(bits) => Err(BuildError::SlotBits(bits)),
            None => Ok((n_nodes.max(1) * DEFAULT_SLOTS_PER_NODE)
                .next_power_of_two()
                .ilog2()
                .max(DEFAULT_BITS)),
        }
    }
}

/// Tables have at least 2 to this many slots where the builder is told nothing.
const DEFAULT_BITS: u32 = 16;

/// And at least this many for each node, or up to twice as many, as their number is a power of two. With 32 a
/// table of 10 000 nodes would fill a second-level cache of 1 MiB; docs/hash-ring.md has what that costs.
const DEFAULT_SLOTS_PER_NODE: usize = 24;
