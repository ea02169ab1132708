//! The mixing of hashes with numbers. Everything here decides placements and is frozen.

/// Stafford's "mix 13", the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom
/// Number Generators", 2014): a bijection in which each bit in changes each bit out with a chance of about
/// one half.
#[inline]
pub(crate) const fn mix(value: u64) -> u64 {
    let z = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The `i`th of a sequence of hashes that begins with `hash`, as SplitMix64 makes them.
#[inline]
pub(crate) const fn nth(hash: u64, i: u64) -> u64 {
    mix(hash.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// A number below `n` from a hash: the part of the whole range it falls into, as Lemire does it. Uses the
/// top bits, and hashes next to each other stay together.
#[inline]
pub(crate) const fn reduce(hash: u64, n: u64) -> u64 {
    ((hash as u128 * n as u128) >> 64) as u64
}

/// The last hash that [`reduce`] takes to the same number.
#[inline]
pub(crate) const fn reduce_end(hash: u64, n: u64) -> u64 {
    // reduce(h) = r  <=>  h < (r + 1) * 2^64 / n, rounded up.
    let next = (reduce(hash, n) as u128 + 1) << 64;
    (next.div_ceil(n as u128) - 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_part_is_its_last_hash() {
        for n in [1u64, 2, 3, 7, 64, 65_537, u64::MAX] {
            for hash in [0, 1, 5, 1 << 40, u64::MAX / 3, u64::MAX - 1, u64::MAX] {
                let end = reduce_end(hash, n);
                assert!(end >= hash);
                assert_eq!(reduce(end, n), reduce(hash, n), "{hash} of {n}");
                assert!(
                    end == u64::MAX || reduce(end + 1, n) == reduce(hash, n) + 1,
                    "{hash} of {n}"
                );
            }
        }
    }
}
