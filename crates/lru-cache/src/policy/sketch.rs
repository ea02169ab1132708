use alloc::vec;
use alloc::vec::Vec;

/// How often hashes were seen lately, roughly: a count-min sketch of 4-bit counters, halved when its sample is
/// full, so that old fame fades. Each hash has four counters in one block of 64 bytes, and counts as the least
/// of them.
#[derive(Debug, Default)]
pub(super) struct Sketch {
    /// Sixteen counters a word, eight words a block. Empty until the first hash is counted.
    words: Vec<u64>,
    /// Counted since the start, less half at each halving.
    sample: u32,
}

/// Counters for each entry of a cache; 4 bytes.
const COUNTERS_PER_ENTRY: usize = 8;
/// The sample is this many times the entries.
const SAMPLE_PER_ENTRY: u32 = 10;
const BLOCK_WORDS: usize = 8;
const COUNTER_MAX: u64 = 15;

impl Sketch {
    /// Counts a hash, in a cache of so many entries. The first call decides the size.
    pub(super) fn add(&mut self, hash: u32, entries: usize) {
        if self.words.is_empty() {
            let blocks = (entries * COUNTERS_PER_ENTRY)
                .div_ceil(16 * BLOCK_WORDS)
                .max(1);
            self.words = vec![0; blocks * BLOCK_WORDS];
        }
        let mut counted = false;
        for (word, shift) in self.counters(hash) {
            let word = &mut self.words[word];
            if (*word >> shift) & COUNTER_MAX < COUNTER_MAX {
                *word += 1 << shift;
                counted = true;
            }
        }
        if counted {
            self.sample += 1;
            if self.sample >= SAMPLE_PER_ENTRY * self.entries() {
                self.halve();
            }
        }
    }

    /// How often a hash was counted: seldom less than the truth until a halving, more where others share its
    /// counters, and 15 at most.
    pub(super) fn count(&self, hash: u32) -> u8 {
        if self.words.is_empty() {
            return 0;
        }
        let counts = self
            .counters(hash)
            .map(|(word, shift)| (self.words[word] >> shift) & COUNTER_MAX);
        counts.into_iter().min().unwrap_or(0) as u8
    }

    fn entries(&self) -> u32 {
        (self.words.len() * 16 / COUNTERS_PER_ENTRY) as u32
    }

    /// The word and the bit of each of the four counters of a hash, each in a quarter of the block of its own.
    #[inline]
    fn counters(&self, hash: u32) -> [(usize, u32); 4] {
        let mixed = u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let blocks = (self.words.len() / BLOCK_WORDS) as u64;
        let block = ((mixed >> 32) * blocks) >> 32;
        // Mixed again, for the bits that chose the block are alike within it.
        let places = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
        core::array::from_fn(|quarter| {
            let place = (places >> (5 * quarter)) as usize & 31;
            let word = block as usize * BLOCK_WORDS + 2 * quarter + place / 16;
            (word, 4 * (place % 16) as u32)
        })
    }

    fn halve(&mut self) {
        for word in &mut self.words {
            // Each counter's lowest bit falls out, and none into its neighbour.
            *word = (*word >> 1) & 0x7777_7777_7777_7777;
        }
        self.sample /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_to_fifteen_and_forgets_by_halves() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.count(7), 0);
        for seen in 1..=20 {
            sketch.add(7, 32);
            assert_eq!(sketch.count(7), seen.min(15));
        }
        sketch.halve();
        assert_eq!(sketch.count(7), 7);
    }

    #[test]
    fn what_is_frequent_stands_out_from_a_full_sample() {
        let mut sketch = Sketch::default();
        let hash = |other: u32| other.wrapping_mul(0x0101_0107);
        for other in 0..300 {
            sketch.add(hash(other), 32);
            if other % 30 == 0 {
                sketch.add(0xffff_ffff, 32);
            }
        }
        let louder =
            (1_000..1_100).filter(|&other| sketch.count(hash(other)) >= sketch.count(0xffff_ffff));
        assert!(louder.count() < 10);
    }

    #[test]
    fn the_sample_is_bounded() {
        let mut sketch = Sketch::default();
        for hash in 0..100_000u32 {
            sketch.add(hash.wrapping_mul(0x9e37_79b9), 32);
            assert!(sketch.sample < SAMPLE_PER_ENTRY * 32);
        }
    }
}
