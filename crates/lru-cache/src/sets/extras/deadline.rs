//! Deadlines in few bits: a number of steps from a base on, as a floating-point number that is rounded down.

use purlin_core::Tick;

/// A deadline in so many bits, of which the upper six are an exponent and the lower ones a mantissa.
///
/// With exponent `e` it is a multiple of 2^`e` nanoseconds, counted from zero and not from the base: so it says the same
/// from any base that is not after it, and a base that is moved on makes no deadline less exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coding {
    mantissa_bits: u32,
    /// The base is too old at so many times what is left to live, as a power of two.
    age_bits: u32,
}

const EXPONENT_BITS: u32 = 6;

/// In three bytes, exact to a part in 2^13 of the life that ends with it.
pub(super) const SHORT: Coding = Coding {
    mantissa_bits: 18,
    age_bits: 4,
};
/// In four, exact to a part in 2^17.
pub(super) const LONG: Coding = Coding {
    mantissa_bits: 26,
    age_bits: 8,
};

impl Coding {
    /// The word for no deadline at all.
    pub(super) const fn never(self) -> u32 {
        u32::MAX >> (u32::BITS - EXPONENT_BITS - self.mantissa_bits)
    }

    /// The word for a deadline, rounded down, so that nothing lives longer than it may. One before the base is the base.
    #[inline]
    pub(super) fn pack(self, base: Tick, deadline: Tick) -> u32 {
        if deadline == Tick::MAX {
            return self.never();
        }
        let (base, deadline) = (base.as_nanos(), deadline.max(base).as_nanos());
        let steps = |exponent: u32| (deadline >> exponent) - (base >> exponent);
        let bits = u64::BITS - (deadline - base).leading_zeros();
        let mut exponent = bits.saturating_sub(self.mantissa_bits);
        // Where both ends of the span fall into steps of their own, there is one more than in its length.
        if steps(exponent) >> self.mantissa_bits != 0 {
            exponent += 1;
        }
        exponent << self.mantissa_bits | steps(exponent) as u32
    }

    #[inline]
    pub(super) fn unpack(self, base: Tick, word: u32) -> Tick {
        if word == self.never() {
            return Tick::MAX;
        }
        let exponent = word >> self.mantissa_bits;
        let steps = u64::from(word & ((1 << self.mantissa_bits) - 1));
        Tick::from_nanos(((base.as_nanos() >> exponent) + steps) << exponent)
    }

    /// Whether a base is so old that a deadline would lose more by it than it should.
    #[inline]
    pub(super) fn is_coarse(self, base: Tick, now: Tick, deadline: Tick) -> bool {
        let age = now.as_nanos().saturating_sub(base.as_nanos());
        let lasts = deadline.as_nanos().saturating_sub(now.as_nanos());
        // While the steps are single nanoseconds, nothing is lost.
        age >> self.age_bits > lasts && age >> self.mantissa_bits > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of all lengths, not all of them close to the greatest.
    fn ticks() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..u64::BITS).prop_map(|(nanos, bits)| nanos >> bits)
    }

    proptest! {
        #[test]
        fn a_deadline_is_never_later_than_asked_and_hardly_earlier(base in ticks(), ahead in ticks()) {
            let deadline = base.saturating_add(ahead).min(u64::MAX - 1);
            let base = base.min(deadline);
            for (coding, exact) in [(SHORT, 17), (LONG, 25)] {
                let word = coding.pack(Tick::from_nanos(base), Tick::from_nanos(deadline));
                prop_assert!(word < coding.never());
                let kept = coding.unpack(Tick::from_nanos(base), word).as_nanos();
                prop_assert!(kept <= deadline);
                prop_assert!(deadline - kept <= (deadline - base) >> exact);
            }
        }

        #[test]
        fn a_later_base_says_the_same(base in ticks(), ahead in ticks(), share in 0.0..1.0) {
            let deadline = base.saturating_add(ahead).min(u64::MAX - 1);
            let base = base.min(deadline);
            for coding in [SHORT, LONG] {
                let at = Tick::from_nanos(base);
                let kept = coding.unpack(at, coding.pack(at, Tick::from_nanos(deadline)));
                let later = base + ((kept.as_nanos().saturating_sub(base)) as f64 * share) as u64;
                let later = Tick::from_nanos(later.min(kept.as_nanos()));
                prop_assert_eq!(coding.unpack(later, coding.pack(later, kept)), kept);
                // And in the longer one.
                prop_assert_eq!(LONG.unpack(later, LONG.pack(later, kept)), kept);
            }
        }
    }

    /// A span that begins late in a step and ends early in one has one step more than its length.
    #[test]
    fn a_span_that_is_a_step_too_long_is_written_in_longer_ones() {
        for coding in [SHORT, LONG] {
            for exponent in 1..30 {
                let base = Tick::from_nanos((1 << exponent) - 1);
                let deadline = Tick::from_nanos(1 << (coding.mantissa_bits + exponent));
                let kept = coding.unpack(base, coding.pack(base, deadline));
                assert_eq!(kept, deadline, "{exponent}");
            }
        }
    }

    #[test]
    fn none_stays_none_and_what_was_before_the_base_is_the_base() {
        let at = Tick::from_nanos;
        for coding in [SHORT, LONG] {
            for base in [0, 77, u64::MAX] {
                let never = coding.pack(at(base), Tick::MAX);
                assert_eq!(coding.unpack(at(base), never), Tick::MAX);
            }
            assert_eq!(coding.unpack(at(77), coding.pack(at(77), at(5))), at(77));
        }
    }
}
