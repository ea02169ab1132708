//! MementoHash.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use purlin_core::{Node, NodeId, Placement, PlacementHash};

use crate::buckets::{Holders, Working, are_distinct_below};
use crate::fleet::{Fleet, fleet_methods};
use crate::jump::jump_back;
use crate::mix::{nth, reduce};
use crate::nodes::Nodes;
use crate::points::MAX_OWNERS;
use crate::snapshot::{Decoder, Encoder};
use crate::{Algorithm, BuildError, Builder, DecodeError, salted};

/// There may not be more buckets.
const MAX_BUCKETS: u32 = 1 << 24;

/// The bucket works.
const WORKS: u32 = u32::MAX;

/// MementoHash (Coluzzi, Brocco, Antonucci and Leidi, "MementoHash: A Stateful, Minimal Memory, Best
/// Performing Consistent Hash Algorithm", 2023), over [`jump_back`](crate::jump_back) in place of jump.
///
/// Buckets are numbered from 0 and grow without limit; nodes hold as many as their weight. What was removed
/// from the middle is remembered together with how many were left, and a key that meets it goes on among
/// those.
///
/// - **Cost**: that of jump-back while nothing is missing, and some more steps for each removal a key meets.
///   8 bytes a bucket. A change copies them.
/// - **Balance**: even but for the noise of the keys; weights are exact.
/// - **Disruption**: minimal for any sequence of adding, removing and reweighting.
/// - **Replicas** come from salted hashes. A set that loses a node keeps the others, but for about one set
///   in n that loses a second.
/// - **Take it** as [`Anchor`](crate::Anchor), where no capacity can be named in advance and removals are rare.
///
/// A new node fills the gap that was made last: the history is part of the value and travels with it.
#[derive(Clone, PartialEq)]
pub struct Memento {
    pub(crate) fleet: Fleet,
    core: Core,
    holders: Holders,
}

fleet_methods!(Memento);

/// Memento has no options of its own.
#[derive(Clone, Debug, Default)]
pub struct MementoOptions(());

impl Builder<MementoOptions> {
    /// Builds the placement; the nodes get buckets in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`BuildError::DuplicateNode`], or [`BuildError::Capacity`] if the weights add up to more than 2²⁴.
    pub fn build(self) -> Result<Memento, BuildError> {
        let (fleet, _) = self.into_parts(MAX_OWNERS)?;
        let (mut core, mut holders) = (Core::new(0), Holders::new());
        holders.follow(&mut core, &Nodes::default(), &fleet.nodes, MAX_BUCKETS)?;
        Ok(Memento {
            fleet,
            core,
            holders,
        })
    }
}

impl Memento {
    /// A placement on these nodes with the default hash.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`](Builder#method.build).
    pub fn from_nodes(nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
        Memento::builder().nodes(nodes).build()
    }

    /// Chooses the hash and the spread of replicas.
    pub fn builder() -> Builder<MementoOptions> {
        Builder::default()
    }

    /// The placement with one more node, or with this one in the place of its namesake.
    ///
    /// # Errors
    ///
    /// [`BuildError::Capacity`] if the weights add up to more than 2²⁴.
    pub fn with(&self, node: Node) -> Result<Self, BuildError> {
        let (nodes, _, _) = self.fleet.nodes.with(node, MAX_OWNERS)?;
        self.changed(nodes)
    }

    /// The placement without a node: moves only that node's keys. Equal to this one if there is none.
    #[must_use]
    pub fn without(&self, id: NodeId) -> Self {
        match self.fleet.nodes.index(id) {
            Ok(index) => self
                .changed(self.fleet.nodes.without(index))
                .expect("fewer buckets fit where more did"),
            Err(_) => self.clone(),
        }
    }

    fn changed(&self, nodes: Nodes) -> Result<Self, BuildError> {
        let (mut core, mut holders) = (self.core.clone(), self.holders.clone());
        holders.follow(&mut core, &self.fleet.nodes, &nodes, MAX_BUCKETS)?;
        holders.truncate(core.replaced.len());
        Ok(Memento {
            fleet: self.fleet.next(nodes),
            core,
            holders,
        })
    }

    /// The placement as bytes: what all placements have, then the index of each bucket's node and the
    /// removed buckets, oldest first, each a list of `u32` behind their number.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Algorithm::Memento, &self.fleet);
        encoder.list(self.holders.as_slice());
        encoder.list(&self.core.removed);
        encoder.finish()
    }

    /// Reads what [`to_bytes`](Memento::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Never panics, whatever the bytes.
    pub fn from_bytes(bytes: &[u8], hash: &PlacementHash) -> Result<Self, DecodeError> {
        Memento::read(Decoder::open(bytes, hash)?.expect(Algorithm::Memento)?)
    }

    pub(crate) fn read(mut decoder: Decoder<'_>) -> Result<Self, DecodeError> {
        let (holders, removed) = (decoder.list()?, decoder.list()?);
        let n_buckets = holders.len() as u32;
        if n_buckets > MAX_BUCKETS || !are_distinct_below(&removed, n_buckets) {
            return Err(DecodeError::Malformed);
        }
        let (fleet, _) = decoder
            .finish(MementoOptions::default())?
            .into_parts(MAX_OWNERS)
            .map_err(DecodeError::Invalid)?;
        let holders = Holders::read(holders, &removed, &fleet.nodes)?;
        let mut core = Core::new(n_buckets);
        removed.iter().for_each(|&bucket| core.remove(bucket));
        // The first removal is never that of the last bucket, which would have shortened the row instead.
        if core.removed == removed {
            Ok(Memento {
                fleet,
                core,
                holders,
            })
        } else {
            Err(DecodeError::Malformed)
        }
    }
}

/// Which buckets work, and how a key gets from one that does not to one that does.
#[derive(Clone, PartialEq, Eq)]
struct Core {
    /// For each bucket `WORKS`, or how many others worked after it was removed; that is also the number of
    /// the bucket that replaced it then.
    replaced: Vec<u32>,
    removed: Vec<u32>,
}

impl Core {
    fn new(n_buckets: u32) -> Self {
        Core {
            replaced: vec![WORKS; n_buckets as usize],
            removed: Vec::new(),
        }
    }

    fn n_working(&self) -> u32 {
        (self.replaced.len() - self.removed.len()) as u32
    }

    /// The working bucket of a hash. There must be one.
    #[inline]
    fn bucket(&self, hash: u64) -> u32 {
        let mut bucket = jump_back(hash, self.replaced.len() as u32);
        loop {
            let n_left = self.replaced[bucket as usize];
            if n_left == WORKS {
                return bucket;
            }
            // On among those that were left when this bucket went: numbers below `n_left`, each followed to
            // whatever stood for it at the time.
            bucket = reduce(nth(hash, u64::from(bucket) + 1), u64::from(n_left)) as u32;
            loop {
                let replacement = self.replaced[bucket as usize];
                if replacement == WORKS || replacement < n_left {
                    break;
                }
                bucket = replacement;
            }
        }
    }
}

impl Working for Core {
    fn add(&mut self) -> Option<u32> {
        match self.removed.pop() {
            Some(bucket) => {
                self.replaced[bucket as usize] = WORKS;
                Some(bucket)
            }
            None => {
                self.replaced.push(WORKS);
                Some(self.replaced.len() as u32 - 1)
            }
        }
    }

    fn remove(&mut self, bucket: u32) {
        if self.removed.is_empty() && bucket as usize + 1 == self.replaced.len() {
            self.replaced.pop();
            return;
        }
        self.replaced[bucket as usize] = self.n_working() - 1;
        self.removed.push(bucket);
    }
}

impl Placement for Memento {
    #[inline]
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.fleet.hash.of_bytes(key)
    }

    #[inline]
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        if self.core.n_working() == 0 {
            return None;
        }
        Some(self.fleet.nodes.id(self.holders.of(self.core.bucket(hash))))
    }

    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let tries = salted::hashes(hash, self.core.n_working())
            .map(|hash| self.holders.of(self.core.bucket(hash)));
        self.fleet.spread.pick(
            &self.fleet.nodes,
            tries.chain(self.fleet.nodes.takers()),
            into,
        )
    }
}

impl fmt::Debug for Memento {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memento")
            .field("fleet", &self.fleet)
            .field("removed", &self.core.removed)
            .finish()
    }
}
