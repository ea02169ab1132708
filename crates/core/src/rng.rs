use core::ops::Range;

/// A small seeded generator: xoshiro256++ of Blackman and Vigna (2019), seeded through SplitMix64.
///
/// Everything in the workspace that uses chance takes a seed, so that a run can be repeated. The sequence of
/// a seed is the same on every platform and stays the same within a major version. It is not for secrets.
///
/// ```
/// use purlin_core::Rng;
///
/// let (mut a, mut b) = (Rng::from_seed(7), Rng::from_seed(7));
/// assert_eq!(a.next_u64(), b.next_u64());
/// assert!(a.below(10) < 10);
/// ```
#[derive(Clone, Debug)]
pub struct Rng {
    /// Never all zero: SplitMix64 gives four zeros for no seed.
    state: [u64; 4],
}

impl Rng {
    /// The generator of a seed. Every seed is as good as another.
    pub fn from_seed(seed: u64) -> Self {
        let mut mix = seed;
        Rng {
            state: core::array::from_fn(|_| split_mix(&mut mix)),
        }
    }

    /// A generator with a seed from the process's random state, for where no run needs repeating.
    #[cfg(feature = "std")]
    pub fn from_entropy() -> Self {
        use core::hash::BuildHasher;
        Rng::from_seed(std::hash::RandomState::new().hash_one(0x5eed_u64))
    }

    /// Sixty-four random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// An even choice from `0..bound`, or 0 for a bound of 0. Without bias, by Lemire's method ("Fast Random
    /// Integer Generation in an Interval", 2019).
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            // The low part falls into the overhang of 2^64 by the bound with this chance only.
            let overhang = bound.wrapping_neg() % bound;
            while (product as u64) < overhang {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// An even choice from a range, or its start if it is empty.
    #[inline]
    pub fn in_range(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// An even choice from `[0, 1)`, in steps of 2⁻⁵³.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// True with this probability; never for 0 or less, always for 1 or more.
    #[inline]
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Puts a slice into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// Another generator, whose sequence is unrelated to what this one gives from here on: one seed can feed
    /// many actors.
    #[must_use]
    pub fn fork(&mut self) -> Rng {
        Rng::from_seed(self.next_u64())
    }
}

/// One step of SplitMix64 (Steele, Lea and Flood, 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first output of the published SplitMix64 and xoshiro256++ code for simple states.
    #[test]
    fn the_sequence_is_the_published_one() {
        let mut state = 1_234_567;
        assert_eq!(split_mix(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(split_mix(&mut state), 3_203_168_211_198_807_973);
        let mut rng = Rng {
            state: [1, 2, 3, 4],
        };
        let first: [u64; 4] = core::array::from_fn(|_| rng.next_u64());
        assert_eq!(
            first,
            [
                41_943_041,
                58_720_359,
                3_588_806_011_781_223,
                3_591_011_842_654_386
            ]
        );
    }

    #[test]
    fn choices_below_a_bound_are_even() {
        let mut rng = Rng::from_seed(3);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[rng.below(7) as usize] += 1;
        }
        // Standard deviation about 93; six of them.
        assert!(
            counts.iter().all(|&count| count.abs_diff(10_000) < 560),
            "{counts:?}"
        );
    }

    #[test]
    fn the_extremes_have_answers() {
        let mut rng = Rng::from_seed(0);
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
        assert!(rng.below(u64::MAX) < u64::MAX);
        assert_eq!(rng.in_range(9..9), 9);
        assert!(!rng.chance(0.0));
        assert!(rng.chance(1.0));
        assert!(!rng.chance(f64::NAN));
        rng.shuffle::<u8>(&mut []);
    }
}
