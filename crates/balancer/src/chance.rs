use crossbeam_utils::CachePadded;
use purlin_core::sync::atomic::{AtomicU64, Ordering};

/// The balancer's turn counter: what round robin counts and what P2C draws its chance from.
///
/// One atomic add a pick, whoever picks: no lock, no state a thread, and a single-threaded run repeats from
/// its seed. On a cache line of its own, since every pick writes it.
pub(crate) struct Turns(CachePadded<AtomicU64>);

impl Turns {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Turns(CachePadded::new(AtomicU64::new(seed)))
    }

    /// The next turn, counting by one.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// Sixty-four random bits: SplitMix64 (Steele, Lea and Flood, 2014), whose state is a plain sum, so many
    /// threads can advance it with one atomic add and still each draw from the one sequence.
    #[inline]
    pub(crate) fn random(&self) -> u64 {
        let sum = self
            .0
            .fetch_add(GOLDEN, Ordering::Relaxed)
            .wrapping_add(GOLDEN);
        let mixed = (sum ^ (sum >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// An even choice from `0..n`, from 32 random bits. Its bias is at most `n / 2³²`, which no balance shows.
#[inline]
pub(crate) fn scale(bits: u32, n: usize) -> usize {
    ((u64::from(bits) * n as u64) >> 32) as usize
}

/// 2⁶⁴ divided by the golden ratio, made odd: SplitMix64's step.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(all(test, not(any(purlin_loom, purlin_shuttle))))]
mod tests {
    use super::*;

    /// The first outputs of the published SplitMix64 code for this state.
    #[test]
    fn the_sequence_is_the_published_one() {
        let turns = Turns::from_seed(1_234_567);
        assert_eq!(turns.random(), 6_457_827_717_110_365_317);
        assert_eq!(turns.random(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn scaling_reaches_both_ends_and_no_further() {
        assert_eq!(scale(0, 7), 0);
        assert_eq!(scale(u32::MAX, 7), 6);
        assert_eq!(scale(u32::MAX, 1), 0);
    }
}
