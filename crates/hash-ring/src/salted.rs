//! Replicas for algorithms that know only how to place one key in one bucket.

use crate::mix::nth;

/// Beyond this many salted hashes the nodes are taken one after the other.
const TRIES: u64 = 64;

/// A hash and others made from it, whose buckets are candidates for replicas; none if there are no buckets.
///
/// A bucket function that moves few keys moves few of these too, so most sets that lose a node keep the
/// others. Not all: where two of the hashes had led to the lost node, both lead elsewhere now, and the second
/// may push a member out.
#[inline]
pub(crate) fn hashes(hash: u64, n_buckets: u32) -> impl Iterator<Item = u64> + Clone {
    let tries = if n_buckets == 0 { 0 } else { TRIES };
    (0..tries).map(move |i| if i == 0 { hash } else { nth(hash, SALT + i) })
}

/// Keeps these hashes apart from those that algorithms make for themselves, which count from 0 by buckets
/// and draws.
const SALT: u64 = 0x5a17 << 48;
