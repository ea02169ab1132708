//! What to keep, without the keys and values themselves: state machines over hashes, deterministic from a seed.
//!
//! A cache is cut into sets of a few dozen entries, and everything a policy decides it decides within one [`set`]:
//! who is a newcomer on probation (the window), who has proved itself (main), who was thrown out lately (the
//! ghosts), and who has to leave. How it decides is an [`arm`]: a handful of parameters of one mechanism, among them
//! exact least recently used, S3-FIFO, TinyLFU and LIRS as far as they fit in a set.
//!
//! No arm is best for all loads. So a sample of the keys also runs through a [`shadow`] for each arm, a small cache
//! of hashes alone, and the [`selector`] moves the real cache to an arm once it is ahead by more than chance.

use core::error::Error;
use core::fmt;
use core::str::FromStr;

use self::arm::Arm;
use crate::raw::Print;

pub(crate) mod arm;
mod order;
mod past;
#[cfg(feature = "serde")]
pub(crate) mod repute;
pub(crate) mod selector;
pub(crate) mod set;
mod shadow;

/// How a cache chooses what to keep.
///
/// It can be named in configuration: by [`FromStr`] and [`Display`](fmt::Display) each is its name in lower case, as
/// in `s3-fifo`.
///
/// ```
/// use purlin_lru_cache::Policy;
///
/// assert_eq!("s3-fifo".parse(), Ok(Policy::S3Fifo));
/// assert_eq!(Policy::default().to_string(), "adaptive");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Finds out what suits the load, and changes with it: a sample of the keys also runs through small caches
    /// without values, one for each way to choose, and the cache goes the way of the best. Of a small cache, which
    /// has few keys to show, up to each request is sampled.
    #[default]
    Adaptive,
    /// Exactly the least recently used entry of the shard leaves. Anybody can say what it holds, and a scan flushes
    /// it. Costs the most memory.
    Lru,
    /// Entries that are not used again soon leave soon, and do not push out those that are (Yang et al., 2023).
    S3Fifo,
    /// The oldest entry of a set leaves, however much it is used.
    Fifo,
    /// An entry is kept if it was asked for oftener lately than the one it would push out (TinyLFU, Einziger et al.,
    /// 2017). For loads that stay the same.
    Lfu,
}

impl Policy {
    /// All of them, under their names.
    const NAMES: [(Policy, &str); 5] = [
        (Policy::Adaptive, "adaptive"),
        (Policy::Lru, "lru"),
        (Policy::S3Fifo, "s3-fifo"),
        (Policy::Fifo, "fifo"),
        (Policy::Lfu, "lfu"),
    ];

    /// How sets decide under it, to begin with. None for exact order, which needs no sets.
    pub(crate) fn first_arm(self) -> Option<Arm> {
        match self {
            Policy::Lru => None,
            Policy::Adaptive => Some(Arm::CHOICES[Arm::FIRST_IDX]),
            Policy::S3Fifo => Some(Arm::S3),
            Policy::Fifo => Some(Arm::FIFO),
            Policy::Lfu => Some(Arm::TINY_LFU),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Policy::NAMES.iter().find(|(policy, _)| policy == self);
        let (_, name) = named.expect("every policy has a name");
        f.pad(name)
    }
}

impl FromStr for Policy {
    type Err = ParsePolicyError;

    fn from_str(name: &str) -> Result<Self, ParsePolicyError> {
        let named = Policy::NAMES.iter().find(|(_, its)| *its == name);
        named.map(|(policy, _)| *policy).ok_or(ParsePolicyError(()))
    }
}

/// A name that no [`Policy`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePolicyError(());

impl fmt::Display for ParsePolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a policy: expected one of ")?;
        for (n, (_, name)) in Policy::NAMES.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

impl Error for ParsePolicyError {}

/// Where a key belongs, and what its set sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// From zero at the start of the first set on, 2^16 steps to a set. In this order stand all keys, however often
    /// the sets are cut in two.
    pub(crate) position: u32,
    pub(crate) print: Print,
}

/// The most sets a table may begin with.
pub(crate) const SETS_MAX: usize = 1 << 16;

/// The spot of a hash in a table that began with so many sets.
#[inline]
pub(crate) fn spot(hash: u64, n_sets: u32) -> Spot {
    debug_assert!(n_sets as usize <= SETS_MAX, "a position has 32 bits");
    // Other bits than those that choose a shard, so that the keys of one shard fill all of its sets.
    let short = mixed(hash) >> 32;
    let position = ((short * u64::from(n_sets)) >> 16) as u32;
    Spot {
        position,
        print: Print {
            // Zero is nobody's.
            tag: (short as u8).max(1),
            mark: position as u16,
        },
    }
}

/// A hash of which all bits depend on all of the hasher's, so that one which leaves some empty fills all shards and sets.
/// Multiplied to twice the width and folded, as in wyhash.
#[inline]
pub(crate) fn mixed(hash: u64) -> u64 {
    let product = u128::from(hash) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

impl Spot {
    /// The set, in a table that has doubled so many times.
    #[inline]
    pub(crate) fn set(self, doublings: u8) -> usize {
        (self.position >> (16 - doublings)) as usize
    }
}

#[cfg(test)]
mod tests;
