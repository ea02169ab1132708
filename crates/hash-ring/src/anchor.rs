//! AnchorHash.

use alloc::vec::Vec;
use core::fmt;

use purlin_core::{Node, NodeId, Placement, PlacementHash};

use crate::buckets::{Holders, Working, are_distinct_below};
use crate::fleet::{Fleet, fleet_methods};
use crate::mix::{nth, reduce};
use crate::nodes::Nodes;
use crate::points::MAX_OWNERS;
use crate::snapshot::{Decoder, Encoder};
use crate::{Algorithm, BuildError, Builder, DecodeError, salted};

/// An anchor may not have more buckets.
const MAX_CAPACITY: u32 = 1 << 24;

/// AnchorHash (Mendelson, Vargaftik, Barabash, Lorenz, Keslassy and Orda, "AnchorHash: A Scalable Consistent
/// Hash", 2021), in the variant whose arrays are changed in place.
///
/// There is a fixed number of buckets, of which the working ones are held by nodes, as many as each one's
/// weight. A key hashes into all buckets; where it meets one that was removed it goes on among those that
/// were working then.
///
/// - **Cost**: O(1) expected, growing with `ln(capacity / buckets in use)²`: about ten nanoseconds at half
///   use, whatever the size. 20 bytes a bucket of capacity. A change copies the arrays.
/// - **Balance**: even but for the noise of the keys, whatever was removed; weights are exact.
/// - **Disruption**: minimal for any sequence of adding, removing and reweighting.
/// - **Replicas** come from salted hashes. A set that loses a node keeps the others, but for about one set
///   in n that loses a second.
/// - **Take it** for large fleets that change anywhere, where a slot table's kilobytes or rounding are in
///   the way.
///
/// Which bucket a new node gets depends on what was removed before: the history is part of the value and
/// travels with it.
#[derive(Clone, PartialEq)]
pub struct Anchor {
    pub(crate) fleet: Fleet,
    core: Core,
    holders: Holders,
}

fleet_methods!(Anchor);

/// What an anchor's builder may be told beside what all builders may.
#[derive(Clone, Debug, Default)]
pub struct AnchorOptions {
    capacity: Option<u32>,
}

impl Builder<AnchorOptions> {
    /// The most buckets there can ever be, and so the largest sum of weights. Twice the sum of the first
    /// nodes' weights, and at least 16, if this is not called. At most 2²⁴.
    pub fn capacity(mut self, buckets: u32) -> Self {
        self.options.capacity = Some(buckets);
        self
    }

    /// Builds the anchor; the nodes get buckets in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`BuildError::DuplicateNode`], or [`BuildError::Capacity`] if the weights add up to more than the
    /// capacity, or that is more than 2²⁴.
    pub fn build(self) -> Result<Anchor, BuildError> {
        let (fleet, options) = self.into_parts(MAX_OWNERS)?;
        let total = fleet.nodes.total_weight();
        let capacity = options
            .capacity
            .unwrap_or((total * 2).clamp(16, u64::from(MAX_CAPACITY)) as u32);
        if capacity > MAX_CAPACITY {
            return Err(BuildError::Capacity {
                buckets: u64::from(capacity),
                capacity: MAX_CAPACITY,
            });
        }
        let mut core = Core::new(capacity);
        for bucket in (0..capacity).rev() {
            core.remove(bucket);
        }
        let mut holders = Holders::new();
        holders.follow(&mut core, &Nodes::default(), &fleet.nodes, capacity)?;
        Ok(Anchor {
            fleet,
            core,
            holders,
        })
    }
}

impl Anchor {
    /// An anchor of these nodes with the default hash and capacity.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`](Builder#method.build).
    pub fn from_nodes(nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
        Anchor::builder().nodes(nodes).build()
    }

    /// Chooses the hash, the capacity and the spread of replicas.
    pub fn builder() -> Builder<AnchorOptions> {
        Builder::default()
    }

    /// The anchor with one more node, or with this one in the place of its namesake.
    ///
    /// # Errors
    ///
    /// [`BuildError::Capacity`] if there is no room for its weight.
    pub fn with(&self, node: Node) -> Result<Self, BuildError> {
        let (nodes, _, _) = self.fleet.nodes.with(node, MAX_OWNERS)?;
        self.changed(nodes)
    }

    /// The anchor without a node: moves only that node's keys. Equal to this one if there is no such node.
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
        holders.follow(&mut core, &self.fleet.nodes, &nodes, self.capacity())?;
        Ok(Anchor {
            fleet: self.fleet.next(nodes),
            core,
            holders,
        })
    }

    /// The most buckets there can ever be.
    pub fn capacity(&self) -> u32 {
        self.core.capacity()
    }

    /// The anchor as bytes: what all placements have, then the index of each bucket's node and the removed
    /// buckets, oldest first, each a list of `u32` behind their number.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Algorithm::Anchor, &self.fleet);
        encoder.u32(self.capacity());
        encoder.list(self.holders.as_slice());
        encoder.list(&self.core.removed);
        encoder.finish()
    }

    /// Reads what [`to_bytes`](Anchor::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Never panics, whatever the bytes.
    pub fn from_bytes(bytes: &[u8], hash: &PlacementHash) -> Result<Self, DecodeError> {
        Anchor::read(Decoder::open(bytes, hash)?.expect(Algorithm::Anchor)?)
    }

    pub(crate) fn read(mut decoder: Decoder<'_>) -> Result<Self, DecodeError> {
        let capacity = decoder.u32()?;
        let (mut holders, removed) = (decoder.list()?, decoder.list()?);
        // What no node holds was removed, so a large capacity takes many bytes.
        let accounted = holders.len() + removed.len() >= capacity as usize;
        if capacity > MAX_CAPACITY
            || holders.len() > capacity as usize
            || !accounted
            || !are_distinct_below(&removed, capacity)
        {
            return Err(DecodeError::Malformed);
        }
        let n_listed = holders.len();
        let (fleet, _) = decoder
            .finish(AnchorOptions::default())?
            .into_parts(MAX_OWNERS)
            .map_err(DecodeError::Invalid)?;
        holders.resize(capacity as usize, u32::MAX);
        Holders::read(holders.clone(), &removed, &fleet.nodes)?;
        holders.truncate(n_listed);
        let mut core = Core::new(capacity);
        removed.iter().for_each(|&bucket| core.remove(bucket));
        Ok(Anchor {
            fleet,
            core,
            holders: Holders::unchecked(holders),
        })
    }
}

/// Which buckets work, and how a key gets from one that does not to one that does.
#[derive(Clone, PartialEq, Eq)]
struct Core {
    /// For each bucket the number of working ones after it was removed, 0 while it works, and the bucket
    /// that took its place in `row` then: together because a lookup reads both.
    anchors: Vec<(u32, u32)>,
    /// The working buckets are the first of this row.
    row: Vec<u32>,
    /// Where in the row a bucket is or was.
    place: Vec<u32>,
    removed: Vec<u32>,
    n_working: u32,
}

impl Core {
    /// All buckets working.
    fn new(capacity: u32) -> Self {
        Core {
            anchors: (0..capacity).map(|bucket| (0, bucket)).collect(),
            row: (0..capacity).collect(),
            place: (0..capacity).collect(),
            removed: Vec::new(),
            n_working: capacity,
        }
    }

    fn capacity(&self) -> u32 {
        self.anchors.len() as u32
    }

    /// The working bucket of a hash. There must be one.
    #[inline]
    fn bucket(&self, hash: u64) -> u32 {
        let mut bucket = reduce(hash, self.anchors.len() as u64) as u32;
        loop {
            let (n_left, _) = self.anchors[bucket as usize];
            if n_left == 0 {
                return bucket;
            }
            // On among the buckets that were left when this one went, by a hash of its own.
            let mut next = reduce(nth(hash, u64::from(bucket) + 1), u64::from(n_left)) as u32;
            while self.anchors[next as usize].0 >= n_left {
                next = self.anchors[next as usize].1;
            }
            bucket = next;
        }
    }
}

impl Working for Core {
    fn add(&mut self) -> Option<u32> {
        let bucket = self.removed.pop()?;
        let n = self.n_working;
        self.anchors[bucket as usize] = (0, bucket);
        let moved = self.row[n as usize];
        self.place[moved as usize] = n;
        self.row[self.place[bucket as usize] as usize] = bucket;
        self.n_working = n + 1;
        Some(bucket)
    }

    fn remove(&mut self, bucket: u32) {
        self.n_working -= 1;
        let n = self.n_working;
        let last = self.row[n as usize];
        let place = self.place[bucket as usize];
        self.row[place as usize] = last;
        self.place[last as usize] = place;
        self.anchors[bucket as usize] = (n, last);
        self.removed.push(bucket);
    }
}

impl Placement for Anchor {
    #[inline]
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.fleet.hash.of_bytes(key)
    }

    #[inline]
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        if self.core.n_working == 0 {
            return None;
        }
        Some(self.fleet.nodes.id(self.holders.of(self.core.bucket(hash))))
    }

    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let tries = salted::hashes(hash, self.core.n_working)
            .map(|hash| self.holders.of(self.core.bucket(hash)));
        self.fleet.spread.pick(
            &self.fleet.nodes,
            tries.chain(self.fleet.nodes.takers()),
            into,
        )
    }
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchor")
            .field("fleet", &self.fleet)
            .field("capacity", &self.capacity())
            .field("removed", &self.core.removed)
            .finish()
    }
}
