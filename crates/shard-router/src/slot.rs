use std::fmt;

/// A part of the key space: all keys whose hash begins with the same bits. Keys never change their slot;
/// slots change their shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Slot(pub u32);

impl Slot {
    /// The slot's place in a table. Slots of a map are below 65,536, and a foreign number that does not fit
    /// lies behind every table.
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}", self.0)
    }
}

/// The slot of a hash among `1 << bits`: the hash's highest bits. The highest, so that a slot is one range
/// of hashes, and doubling the slots cuts each range in two without moving a key elsewhere.
#[inline]
pub(crate) fn slot_of_hash(hash: u64, bits: u32) -> Slot {
    // In two steps: with one slot, a single shift would be by 64, which overflows.
    Slot((hash >> 1 >> (63 - bits)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bits_choose_the_slot() {
        assert_eq!(slot_of_hash(u64::MAX, 0), Slot(0));
        assert_eq!(slot_of_hash(u64::MAX, 1), Slot(1));
        assert_eq!(slot_of_hash(1 << 63, 14), Slot(1 << 13));
        assert_eq!(slot_of_hash((1 << 50) - 1, 14), Slot(0));
        assert_eq!(slot_of_hash(u64::MAX, 16), Slot(0xffff));
    }

    #[test]
    fn doubling_the_slots_splits_each_in_two() {
        for hash in (0..1000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            assert_eq!(slot_of_hash(hash, 7).0, slot_of_hash(hash, 8).0 / 2);
        }
    }
}
