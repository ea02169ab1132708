//! Maglev's table.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use purlin_core::{Node, NodeId, Placement, PlacementHash};

use crate::fleet::{Fleet, fleet_methods};
use crate::mix::{nth, reduce, reduce_end};
use crate::nodes::Nodes;
use crate::snapshot::{Decoder, Encoder};
use crate::{Algorithm, BuildError, Builder, DecodeError};

/// The table names nodes by 16 bits; the last value says that nobody owns the entry.
const NOBODY: u16 = u16::MAX;

/// The table size that the paper recommends for fleets of up to about 650 nodes.
const DEFAULT_SIZE: u32 = 65_537;

/// A table may not be larger.
const MAX_SIZE: u32 = 1 << 24;

/// Maglev hashing (Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load Balancer", 2016).
///
/// Nodes take turns in claiming entries of a table of prime size, each in its own pseudo-random order; by
/// weight, a node of half the largest weight takes every second turn. Nothing but the nodes decides the
/// table, so processes agree without sharing it.
///
/// - **Cost**: a lookup is the hash, a multiplication and two loads. 2 bytes an entry; building takes
///   O(entries) turns and more probes towards the end.
/// - **Balance**: within one turn, so about `1 + n/entries`.
/// - **Disruption**: not minimal. With a hundred entries a node, a change moves 1.2 times the minimum at 10
///   nodes, 2.5 at 100, and 6 at 1 000.
/// - **Replicas**: the next entries' nodes.
/// - **Take it** where connection tracking or a cache forgives extra moves and nothing can be shared. A
///   [`SlotTable`](crate::SlotTable) has its balance and speed without the extra moves.
#[derive(Clone, PartialEq)]
pub struct Maglev {
    pub(crate) fleet: Fleet,
    /// The index of each entry's node, or `NOBODY` throughout.
    entries: Vec<u16>,
}

fleet_methods!(Maglev);

/// What Maglev's builder may be told beside what all builders may.
#[derive(Clone, Debug, Default)]
pub struct MaglevOptions {
    size: Option<u32>,
}

impl Builder<MaglevOptions> {
    /// The least size of the table; the next prime is taken. 65 537, or a hundred entries a node if that is
    /// more, if this is not called. At most 2²⁴.
    pub fn table_size(mut self, at_least: u32) -> Self {
        self.options.size = Some(at_least);
        self
    }

    /// Builds the table.
    ///
    /// # Errors
    ///
    /// [`BuildError::DuplicateNode`], [`BuildError::TooManyNodes`] above 65 535 nodes, or
    /// [`BuildError::TableSize`].
    pub fn build(self) -> Result<Maglev, BuildError> {
        let (fleet, options) = self.into_parts(usize::from(NOBODY))?;
        let size = options
            .size
            .unwrap_or(DEFAULT_SIZE.max(fleet.nodes.len() as u32 * 100));
        if size > MAX_SIZE {
            return Err(BuildError::TableSize(size));
        }
        Ok(Maglev::of(fleet, next_prime(size)))
    }
}

impl Maglev {
    /// A table of these nodes with the default hash and size.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`](Builder#method.build).
    pub fn from_nodes(nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
        Maglev::builder().nodes(nodes).build()
    }

    /// Chooses the hash, the size of the table and the spread of replicas.
    pub fn builder() -> Builder<MaglevOptions> {
        Builder::default()
    }

    fn of(fleet: Fleet, size: u32) -> Self {
        let entries = fill(&fleet.nodes, fleet.hash, size);
        Maglev { fleet, entries }
    }

    /// The table with one more node, or with this one in the place of its namesake, of the same size.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooManyNodes`].
    pub fn with(&self, node: Node) -> Result<Self, BuildError> {
        let (nodes, _, _) = self.fleet.nodes.with(node, usize::from(NOBODY))?;
        Ok(Maglev::of(self.fleet.next(nodes), self.table_size()))
    }

    /// The table without a node, of the same size. Equal to this one if there is no such node.
    #[must_use]
    pub fn without(&self, id: NodeId) -> Self {
        match self.fleet.nodes.index(id) {
            Ok(index) => Maglev::of(
                self.fleet.next(self.fleet.nodes.without(index)),
                self.table_size(),
            ),
            Err(_) => self.clone(),
        }
    }

    /// How many entries the table has, a prime.
    pub fn table_size(&self) -> u32 {
        self.entries.len() as u32
    }

    /// The last hash that has the same entry.
    pub(crate) fn entry_end(&self, hash: u64) -> u64 {
        reduce_end(hash, self.entries.len() as u64)
    }

    /// The table as bytes: what all placements have, then its size as `u32`. Entries are made anew.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Algorithm::Maglev, &self.fleet);
        encoder.u32(self.table_size());
        encoder.finish()
    }

    /// Reads what [`to_bytes`](Maglev::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Never panics, whatever the bytes; they can ask for a table of 32 MiB.
    pub fn from_bytes(bytes: &[u8], hash: &PlacementHash) -> Result<Self, DecodeError> {
        Maglev::read(Decoder::open(bytes, hash)?.expect(Algorithm::Maglev)?)
    }

    pub(crate) fn read(mut decoder: Decoder<'_>) -> Result<Self, DecodeError> {
        let size = decoder.u32()?;
        if size > MAX_SIZE + 100 || next_prime(size) != size {
            return Err(DecodeError::Malformed);
        }
        let (fleet, ()) = decoder
            .finish(())?
            .into_parts(usize::from(NOBODY))
            .map_err(DecodeError::Invalid)?;
        Ok(Maglev::of(fleet, size))
    }
}

/// Lets the nodes take turns until each entry has one.
fn fill(nodes: &Nodes, hash: PlacementHash, size: u32) -> Vec<u16> {
    let mut entries = vec![NOBODY; size as usize];
    let heaviest = nodes
        .as_slice()
        .iter()
        .map(|node| node.weight.0)
        .max()
        .unwrap_or(0);
    if heaviest == 0 {
        return entries;
    }
    let mut claims: Vec<Claim> = (0..)
        .zip(nodes.as_slice())
        .filter(|(_, node)| !node.weight.is_zero())
        .map(|(index, node)| Claim::new(hash.of(&node.id.0), size, index, node.weight.0))
        .collect();
    let mut left = size;
    let mut round = 0u64;
    loop {
        round += 1;
        for claim in &mut claims {
            // A node is due when its share of the rounds exceeds the turns it took, in whole numbers.
            if claim.turns * u64::from(heaviest) >= round * u64::from(claim.weight) {
                continue;
            }
            claim.turns += 1;
            while entries[claim.next as usize] != NOBODY {
                claim.advance(size);
            }
            entries[claim.next as usize] = claim.index;
            left -= 1;
            if left == 0 {
                return entries;
            }
        }
    }
}

/// A node's way through the table: from an offset in steps of a length that has no factor with the size, so
/// that it meets every entry.
struct Claim {
    next: u32,
    step: u32,
    turns: u64,
    weight: u32,
    index: u16,
}

impl Claim {
    fn new(seed: u64, size: u32, index: u16, weight: u32) -> Self {
        let next = reduce(seed, u64::from(size)) as u32;
        let step = reduce(nth(seed, 1), u64::from(size) - 1) as u32 + 1;
        Claim {
            next,
            step,
            turns: 0,
            weight,
            index,
        }
    }

    fn advance(&mut self, size: u32) {
        self.next += self.step;
        if self.next >= size {
            self.next -= size;
        }
    }
}

/// The least prime not below a number, and at least 3.
fn next_prime(at_least: u32) -> u32 {
    (at_least.max(3)..)
        .find(|&n| is_prime(n))
        .expect("there is a prime between n and 2n (Bertrand, Chebyshev)")
}

fn is_prime(n: u32) -> bool {
    n % 2 == 1
        && (3..)
            .step_by(2)
            .take_while(|&d| u64::from(d) * u64::from(d) <= u64::from(n))
            .all(|d: u32| n % d != 0)
}

impl Placement for Maglev {
    #[inline]
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.fleet.hash.of_bytes(key)
    }

    #[inline]
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        match self.entries[reduce(hash, self.entries.len() as u64) as usize] {
            NOBODY => None,
            index => Some(self.fleet.nodes.id(u32::from(index))),
        }
    }

    #[inline]
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let (before, after) = self
            .entries
            .split_at(reduce(hash, self.entries.len() as u64) as usize);
        let candidates = after.iter().chain(before).map(|&index| u32::from(index));
        // Light nodes of a heavy fleet may have no entry; they come last.
        let candidates = candidates.chain(self.fleet.nodes.takers());
        self.fleet.spread.pick(&self.fleet.nodes, candidates, into)
    }
}

impl fmt::Debug for Maglev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maglev")
            .field("fleet", &self.fleet)
            .field("table_size", &self.table_size())
            .finish()
    }
}
