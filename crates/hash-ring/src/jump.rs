//! Jump hash and its constant-time successors.

use alloc::vec::Vec;
use core::fmt;

use purlin_core::{Node, NodeId, Placement, PlacementHash, Weight};

use crate::fleet::{Fleet, fleet_methods};
use crate::mix::{mix, nth};
use crate::points::MAX_OWNERS;
use crate::snapshot::{Decoder, Encoder};
use crate::{Algorithm, BuildError, Builder, DecodeError, salted};

/// Jump consistent hash (Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014): the
/// bucket of a hash among `n_buckets`, or 0 if there are none.
///
/// Takes O(ln n) steps, each with a division. Agrees with Guava's `Hashing.consistentHash`.
///
/// ```
/// assert_eq!(purlin_hash_ring::jump(256, 1024), 520);
/// ```
pub fn jump(hash: u64, n_buckets: u32) -> u32 {
    let mut state = hash;
    let mut bucket = 0;
    loop {
        state = state
            .wrapping_mul(2_862_933_555_777_941_757)
            .wrapping_add(1);
        // The next bucket count at which this key would move. Plain IEEE operations, the same everywhere.
        let chance = ((state >> 33) + 1) as f64 / (1u64 << 31) as f64;
        let next = f64::from(bucket + 1) / chance;
        if next >= f64::from(n_buckets) {
            return bucket;
        }
        bucket = next as u32;
    }
}

/// JumpBackHash (Ertl, "JumpBackHash: Say Goodbye to the Modulo Operation to Distribute Keys Uniformly to
/// Buckets", 2024): what [`jump`] does, in constant expected time and without floating point. The bucket of
/// a hash among `n_buckets`, or 0 if there are none. Its answers are other ones than `jump`'s.
///
/// Growing from 2^k to 2^(k+1) buckets, a key moves into the new half with chance one half, to a place in it
/// that is fixed in advance. One random bit for each k says whether it does. The answer is the last move
/// that lands below `n`; from the topmost half, which may be there only in part, moves are tried again in
/// the way the first ones went, back from the largest.
#[inline]
pub fn jump_back(hash: u64, n_buckets: u32) -> u32 {
    if n_buckets <= 1 {
        return 0;
    }
    let moves = nth(hash, 1);
    // One bit for each doubling that the buckets have begun.
    let mut left = (moves ^ (moves >> 32)) as u32 & (u32::MAX >> (n_buckets - 1).leading_zeros());
    let mut draw = 1;
    while left != 0 {
        let half = 1u32 << left.ilog2();
        // Where in the half the key lands; the halves take turns with the two parts of the draw.
        let place = (moves >> (left.count_ones() % 2 * 32)) as u32 & (half - 1);
        let mut bucket = half + place;
        loop {
            if bucket < n_buckets {
                return bucket;
            }
            draw += 1;
            let again = nth(hash, draw);
            bucket = again as u32 & (half | (half - 1));
            if bucket < half {
                break;
            }
            if bucket < n_buckets {
                return bucket;
            }
            bucket = (again >> 32) as u32 & (half | (half - 1));
            if bucket < half {
                break;
            }
        }
        left ^= half;
    }
    0
}

/// BinomialHash (Coluzzi, Brocco, Antonucci and Leidi, "BinomialHash: A Constant Time, Minimal Memory
/// Consistent Hash Algorithm", 2024): integer arithmetic only, constant time at worst. The bucket of a hash
/// among `n_buckets`, or 0 if there are none.
///
/// Shares are uneven by a little: a key that meets eight missing buckets in a row falls back to the lower
/// half, which at worst, just above a power of two, gives its buckets 1/256 more than the others.
#[inline]
pub fn binomial(hash: u64, n_buckets: u32) -> u32 {
    if n_buckets <= 1 {
        return 0;
    }
    let n = u64::from(n_buckets);
    let upper = n.next_power_of_two() - 1;
    let lower = upper >> 1;
    let mut draw = hash;
    for _ in 0..BINOMIAL_TRIES {
        let bucket = within_level(draw & upper, draw);
        if bucket <= lower {
            break;
        }
        if bucket < n {
            return bucket as u32;
        }
        draw = mix(draw ^ upper.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    within_level(hash & lower, hash) as u32
}

/// More tries make shares more even and the worst case longer.
const BINOMIAL_TRIES: u32 = 8;

/// Moves a bucket within its level, the numbers with the same top bit, in a way that depends on that level
/// alone: so that a key keeps its place when a level is added above.
#[inline]
fn within_level(bucket: u64, hash: u64) -> u64 {
    if bucket < 2 {
        return bucket;
    }
    let level = 1u64 << bucket.ilog2();
    level + (mix(hash ^ level.wrapping_mul(0x9e37_79b9_7f4a_7c15)) & (level - 1))
}

/// Which function of the jump family places keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JumpFunction {
    /// [`jump`].
    Jump,
    /// [`jump_back`], the default: as even as jump, and several times as fast.
    #[default]
    JumpBack,
    /// [`binomial`].
    Binomial,
}

impl JumpFunction {
    /// The bucket of a hash among `n_buckets`, or 0 if there are none.
    #[inline]
    pub fn bucket(self, hash: u64, n_buckets: u32) -> u32 {
        match self {
            JumpFunction::Jump => jump(hash, n_buckets),
            JumpFunction::JumpBack => jump_back(hash, n_buckets),
            JumpFunction::Binomial => binomial(hash, n_buckets),
        }
    }

    const fn code(self) -> u8 {
        match self {
            JumpFunction::Jump => 0,
            JumpFunction::JumpBack => 1,
            JumpFunction::Binomial => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(JumpFunction::Jump),
            1 => Some(JumpFunction::JumpBack),
            2 => Some(JumpFunction::Binomial),
            _ => None,
        }
    }
}

/// Nodes in a row, placed by a function of the jump family.
///
/// - **Cost**: a few nanoseconds a lookup, O(ln n) for [`JumpFunction::Jump`]; no memory but the nodes.
/// - **Balance**: even but for the noise of the keys. No weights: 0 or 1.
/// - **Disruption**: minimal while nodes come and go at the end. A node taken from the middle is replaced by
///   the last one, which moves that one's keys too: twice the minimum.
/// - **Replicas** come from salted hashes. A set that loses a node keeps the others, but for about one set
///   in n that loses a second.
/// - **Take it** for rows of equal nodes that only grow: numbered shards, partitions of a log.
///
/// The order of the nodes is part of the value, and travels with it: it is that in which they were given.
#[derive(Clone, PartialEq)]
pub struct Jump {
    pub(crate) fleet: Fleet,
    function: JumpFunction,
    /// The index of each bucket's node.
    buckets: Vec<u32>,
}

fleet_methods!(Jump);

/// What the builder of a row may be told beside what all builders may.
#[derive(Clone, Debug, Default)]
pub struct JumpOptions {
    function: JumpFunction,
}

impl Builder<JumpOptions> {
    /// Which function places keys; [`JumpFunction::JumpBack`] if this is not called.
    pub fn function(mut self, function: JumpFunction) -> Self {
        self.options.function = function;
        self
    }

    /// Builds the row in the order in which the nodes were given.
    ///
    /// # Errors
    ///
    /// [`BuildError::DuplicateNode`], [`BuildError::TooManyNodes`] above 2²⁴ nodes, or
    /// [`BuildError::Weighted`] for a weight above 1.
    pub fn build(self) -> Result<Jump, BuildError> {
        if let Some(node) = self.nodes.iter().find(|node| node.weight > Weight::ONE) {
            return Err(BuildError::Weighted(node.clone()));
        }
        let row: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|node| !node.weight.is_zero())
            .map(|node| node.id)
            .collect();
        let (fleet, JumpOptions { function }) = self.into_parts(MAX_OWNERS)?;
        Ok(Jump::of(fleet, function, &row))
    }
}

impl Jump {
    /// A row of these nodes, in this order, with the default hash and function.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`](Builder#method.build).
    pub fn from_nodes(nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
        Jump::builder().nodes(nodes).build()
    }

    /// Chooses the hash, the function and the spread of replicas.
    pub fn builder() -> Builder<JumpOptions> {
        Builder::default()
    }

    fn of(fleet: Fleet, function: JumpFunction, row: &[NodeId]) -> Self {
        let index = |id: &NodeId| fleet.nodes.index(*id).map_or(0, |index| index as u32);
        Jump {
            buckets: row.iter().map(index).collect(),
            fleet,
            function,
        }
    }

    /// The nodes that take keys, in the order of their buckets.
    pub fn row(&self) -> impl Iterator<Item = NodeId> {
        self.buckets.iter().map(|&index| self.fleet.nodes.id(index))
    }

    /// Which function places keys.
    pub fn function(&self) -> JumpFunction {
        self.function
    }

    /// The row with one more node at its end; or, for a node that is in the row, with its other fields
    /// changed. A weight of 0 takes the node out of the row as [`without`](Jump::without) does, and keeps it
    /// among the nodes.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooManyNodes`], or [`BuildError::Weighted`] for a weight above 1.
    pub fn with(&self, node: Node) -> Result<Self, BuildError> {
        if node.weight > Weight::ONE {
            return Err(BuildError::Weighted(node));
        }
        let mut row: Vec<NodeId> = self.row().collect();
        let at = row.iter().position(|&id| id == node.id);
        match at {
            Some(at) if node.weight.is_zero() => {
                row.swap_remove(at);
            }
            None if !node.weight.is_zero() => row.push(node.id),
            Some(_) | None => {}
        }
        let (nodes, _, _) = self.fleet.nodes.with(node, MAX_OWNERS)?;
        Ok(Jump::of(self.fleet.next(nodes), self.function, &row))
    }

    /// The row without a node, whose place the last one takes. Equal to this one if there is no such node.
    #[must_use]
    pub fn without(&self, id: NodeId) -> Self {
        let Ok(index) = self.fleet.nodes.index(id) else {
            return self.clone();
        };
        let mut row: Vec<NodeId> = self.row().collect();
        if let Some(at) = row.iter().position(|&other| other == id) {
            row.swap_remove(at);
        }
        Jump::of(
            self.fleet.next(self.fleet.nodes.without(index)),
            self.function,
            &row,
        )
    }

    #[inline]
    fn index_of(&self, hash: u64) -> u32 {
        self.buckets[self.function.bucket(hash, self.buckets.len() as u32) as usize]
    }

    /// The row as bytes: what all placements have, then the function as a byte, and the index of each
    /// bucket's node as `u32` behind their number.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Algorithm::Jump, &self.fleet);
        encoder.u8(self.function.code());
        encoder.list(&self.buckets);
        encoder.finish()
    }

    /// Reads what [`to_bytes`](Jump::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Never panics, whatever the bytes.
    pub fn from_bytes(bytes: &[u8], hash: &PlacementHash) -> Result<Self, DecodeError> {
        Jump::read(Decoder::open(bytes, hash)?.expect(Algorithm::Jump)?)
    }

    pub(crate) fn read(mut decoder: Decoder<'_>) -> Result<Self, DecodeError> {
        let function = JumpFunction::from_code(decoder.u8()?).ok_or(DecodeError::Malformed)?;
        let buckets = decoder.list()?;
        let mut row = decoder
            .finish(JumpOptions { function })?
            .build()
            .map_err(DecodeError::Invalid)?;
        // Each node that takes keys has one bucket.
        let (mut ours, mut theirs) = (row.buckets.clone(), buckets.clone());
        ours.sort_unstable();
        theirs.sort_unstable();
        if ours != theirs {
            return Err(DecodeError::Malformed);
        }
        row.buckets = buckets;
        Ok(row)
    }
}

impl Placement for Jump {
    #[inline]
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.fleet.hash.of_bytes(key)
    }

    #[inline]
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        if self.buckets.is_empty() {
            None
        } else {
            Some(self.fleet.nodes.id(self.index_of(hash)))
        }
    }

    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let tries = salted::hashes(hash, self.buckets.len() as u32).map(|hash| self.index_of(hash));
        self.fleet.spread.pick(
            &self.fleet.nodes,
            tries.chain(self.fleet.nodes.takers()),
            into,
        )
    }
}

impl fmt::Debug for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jump")
            .field("fleet", &self.fleet)
            .field("function", &self.function)
            .field("n_buckets", &self.buckets.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One more bucket takes keys and moves none between the others, and shares are even.
    #[test]
    fn every_function_moves_only_to_the_new_bucket() {
        let functions = [
            JumpFunction::Jump,
            JumpFunction::JumpBack,
            JumpFunction::Binomial,
        ];
        for function in functions {
            let n_keys = if cfg!(miri) { 20 } else { 4_000 };
            for hash in (0..n_keys).map(mix) {
                let mut before = function.bucket(hash, 1);
                assert_eq!(before, 0);
                for n in 2..300 {
                    let now = function.bucket(hash, n);
                    assert!(
                        now == before || now == n - 1,
                        "{function:?}: {hash:x} went from {before} to {now} at {n}"
                    );
                    before = now;
                }
            }
        }
    }

    #[test]
    fn every_function_is_even() {
        for function in [
            JumpFunction::Jump,
            JumpFunction::JumpBack,
            JumpFunction::Binomial,
        ] {
            for n in [2u32, 3, 5, 8, 9, 13, 33, 100] {
                let n_keys = if cfg!(miri) { 100 } else { 100_000u64 };
                let mut counts = [0u32; 100];
                (0..n_keys)
                    .map(|key| mix(key ^ 0x5eed))
                    .for_each(|hash| counts[function.bucket(hash, n) as usize] += 1);
                let ideal = n_keys as f64 / f64::from(n);
                for count in &counts[..n as usize] {
                    let off = (f64::from(*count) - ideal).abs();
                    // Five standard deviations, and what binomial admits to.
                    assert!(
                        cfg!(miri) || off < 5.0 * ideal.sqrt() + ideal / 256.0,
                        "{function:?}, {n}: {off} of {ideal}"
                    );
                }
            }
        }
    }

    #[test]
    fn no_buckets_and_very_many_have_answers() {
        for function in [
            JumpFunction::Jump,
            JumpFunction::JumpBack,
            JumpFunction::Binomial,
        ] {
            for hash in [0, 1, u64::MAX, 0x5eed << 40] {
                assert_eq!(function.bucket(hash, 0), 0);
                assert!(function.bucket(hash, u32::MAX) < u32::MAX);
                assert!(function.bucket(hash, (1 << 31) + 1) <= 1 << 31);
            }
        }
    }
}
