//! The hash ring.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

use purlin_core::{Node, NodeId, Placement, PlacementHash, Weight};

use crate::fleet::{Fleet, fleet_methods};
use crate::nodes::Nodes;
use crate::points::{MAX_OWNERS, MAX_POINTS, Points, owner, point};
use crate::snapshot::{Decoder, Encoder};
use crate::{Algorithm, BuildError, Builder, DecodeError, Spread};

/// Points per weight unit where the builder is told nothing: what ketama settled on. The busiest node then
/// gets about 1.2 times the average with 100 nodes, 1.3 with 1 000.
const DEFAULT_POINTS_PER_WEIGHT: NonZeroU32 = NonZeroU32::new(160).expect("160 is not zero");

/// Consistent hashing on a circle (Karger and others, "Consistent Hashing and Random Trees", 1997).
///
/// Each node has `weight × points per weight` points on a circle; a key belongs to the node of the first
/// point at or after its own place. A node's points depend on its id and the ring's hash and on nothing
/// else, so:
///
/// - a node that is added takes keys, and no other key moves; one that is removed gives its keys away, and
///   no other key moves; a new weight moves only keys to or from that node;
/// - rings built of the same nodes in any order, or by any sequence of [`with`](Ring::with) and
///   [`without`](Ring::without) that ends in the same nodes, place every key alike;
/// - where two points fall on one place (of 2⁴⁰), the lower id has it.
///
/// The value never changes: `with` and `without` return another ring. Share it through an `Arc` or an
/// atomic pointer and swap the whole.
///
/// # Cost
///
/// With `v` points: a lookup is the hash of the key, one load from the index and a short scan, independent
/// of `v`; 10 bytes a point, and 8.25 from 262 144 points on; building and changing are O(v). Two or three replicas
/// anywhere on up to 256 nodes are the same lookup, and a load each. Others walk on from the owner: O(1)
/// expected for each while there are many more nodes than replicas, the whole circle at worst. Nothing
/// allocates but building.
///
/// # Balance
///
/// A node's share is random around its weight: the standard deviation is about `1/√(weight × points per
/// weight)` of it, 8 % at the default 160. More points buy balance with memory.
///
/// # Take it
///
/// Where processes know the list of nodes and share nothing else, and nodes come and go anywhere: caches,
/// clients that are deployed apart. Where a map is shared anyway, [`SlotTable`](crate::SlotTable) is faster,
/// smaller and even.
///
/// ```
/// use purlin_core::{Node, NodeId, Placement};
/// use purlin_hash_ring::Ring;
///
/// let ring = Ring::from_nodes((1..=4).map(|i| Node::new(NodeId(i), format!("cache-{i}"))))?;
/// let smaller = ring.without(NodeId(4));
/// let home = ring.owner_of("user:17").expect("a ring of four nodes has an owner for every key");
/// if home != NodeId(4) {
///     assert_eq!(smaller.owner_of("user:17"), Some(home));
/// }
/// # Ok::<(), purlin_hash_ring::BuildError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    pub(crate) fleet: Fleet,
    points_per_weight: NonZeroU32,
    /// The owner of a point is the index of a node.
    points: Points,
}

fleet_methods!(Ring);

impl Ring {
    /// A ring of these nodes with the default hash and 160 points per weight unit.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`](Builder#method.build).
    pub fn from_nodes(nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
        Ring::builder().nodes(nodes).build()
    }

    /// Chooses the hash, the number of points and the spread of replicas.
    pub fn builder() -> Builder<RingOptions> {
        Builder::default()
    }

    /// The ring with one more node, or, where a node of that id is there already, with this one in its
    /// place. Moves keys only to or from that node. Takes O(points); the version is one higher.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooManyNodes`] or [`BuildError::TooManyPoints`].
    pub fn with(&self, node: Node) -> Result<Self, BuildError> {
        let (id, weight) = (node.id, node.weight);
        let (nodes, index, is_new) = self.fleet.nodes.with(node, MAX_OWNERS)?;
        count_points(nodes.as_slice(), self.points_per_weight)?;
        // A new node pushes the indexes behind it up by one; a replaced one's points are made anew.
        let kept = self.points.iter().filter_map(|point| {
            let owner = owner(point) as usize;
            if is_new {
                Some(point + u64::from(owner >= index))
            } else {
                (owner != index).then_some(point)
            }
        });
        let mut new: Vec<u64> = node_points(
            self.fleet.hash,
            id,
            index as u32,
            weight,
            self.points_per_weight,
        )
        .collect();
        new.sort_unstable();
        Ok(self.changed(nodes, merge(kept, &new)))
    }

    /// The ring without a node: moves only that node's keys. Takes O(points). The version is one higher; if
    /// there is no such node, the result is equal to this ring.
    #[must_use]
    pub fn without(&self, id: NodeId) -> Self {
        let Ok(index) = self.fleet.nodes.index(id) else {
            return self.clone();
        };
        let kept = self.points.iter().filter_map(|point| {
            let owner = owner(point) as usize;
            (owner != index).then(|| point - u64::from(owner > index))
        });
        self.changed(self.fleet.nodes.without(index), kept.collect())
    }

    /// Replicas by walking, as far as it takes.
    #[inline(never)]
    fn pick(&self, hash: u64, into: &mut [NodeId]) -> usize {
        self.fleet
            .spread
            .pick(&self.fleet.nodes, self.points.walk(hash), into)
    }

    fn changed(&self, nodes: Nodes, points: Vec<u64>) -> Self {
        let (fleet, points) = (self.fleet.next(nodes), Points::from_sorted(points));
        Ring {
            fleet,
            points_per_weight: self.points_per_weight,
            points,
        }
    }

    /// How many points a node has for each unit of its weight.
    pub const fn points_per_weight(&self) -> NonZeroU32 {
        self.points_per_weight
    }

    /// How many points the ring has.
    pub fn n_points(&self) -> usize {
        self.points.len()
    }

    /// The last hash that has the same next point.
    pub(crate) fn point_end(&self, hash: u64) -> u64 {
        self.points.end(hash)
    }

    /// How many bytes the points and their index take.
    pub fn point_bytes(&self) -> usize {
        self.points.heap_bytes()
    }

    /// The ring as bytes, for another process: the hash, the version and the nodes. The points are made
    /// anew from them. The layout is [described](crate#snapshots) and will stay readable.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Algorithm::Ring, &self.fleet);
        encoder.u32(self.points_per_weight.get());
        encoder.finish()
    }

    /// Reads what [`to_bytes`](Ring::to_bytes) wrote. `hash` is the one the caller places keys with.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for bytes that are damaged, of an unknown format, or made with another hash. Never
    /// panics, whatever the bytes, and allocates no more than the limits on points allow.
    pub fn from_bytes(bytes: &[u8], hash: &PlacementHash) -> Result<Self, DecodeError> {
        Ring::read(Decoder::open(bytes, hash)?.expect(Algorithm::Ring)?)
    }

    pub(crate) fn read(mut decoder: Decoder<'_>) -> Result<Self, DecodeError> {
        let points_per_weight = NonZeroU32::new(decoder.u32()?).ok_or(DecodeError::Malformed)?;
        let builder = decoder.finish(RingOptions { points_per_weight })?;
        builder.build().map_err(DecodeError::Invalid)
    }
}

impl Placement for Ring {
    #[inline]
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.fleet.hash.of_bytes(key)
    }

    #[inline]
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        self.points
            .owner_of(hash)
            .map(|index| self.fleet.nodes.id(index))
    }

    /// The owner, then each node that a walk on from there meets, the first time it does.
    #[inline]
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        if let (2 | 3, Spread::Anywhere) = (into.len(), self.fleet.spread) {
            if let Some(three) = self.points.next_three(hash) {
                for (replica, index) in into.iter_mut().zip(three) {
                    *replica = self.fleet.nodes.id(index);
                }
                return into.len();
            }
        }
        self.pick(hash, into)
    }
}

/// What the ring is made of; its points would fill pages.
impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("fleet", &self.fleet)
            .field("points_per_weight", &self.points_per_weight)
            .field("n_points", &self.n_points())
            .finish()
    }
}

/// What a ring's builder may be told beside what all builders may.
#[derive(Clone, Debug)]
pub struct RingOptions {
    points_per_weight: NonZeroU32,
}

impl Default for RingOptions {
    fn default() -> Self {
        RingOptions {
            points_per_weight: DEFAULT_POINTS_PER_WEIGHT,
        }
    }
}

impl Builder<RingOptions> {
    /// How many points a node has for each unit of its weight; 160 if this is not called. Four times as
    /// many halve the spread of the shares.
    pub fn points_per_weight(mut self, points: NonZeroU32) -> Self {
        self.options.points_per_weight = points;
        self
    }

    /// Builds the ring, in time linear in its points. No nodes, or none with a weight above 0, make a ring
    /// that owns nothing.
    ///
    /// # Errors
    ///
    /// [`BuildError::DuplicateNode`], [`BuildError::TooManyNodes`] above 2²⁴ nodes, or
    /// [`BuildError::TooManyPoints`] above 2²⁴ points.
    pub fn build(self) -> Result<Ring, BuildError> {
        let (fleet, RingOptions { points_per_weight }) = self.into_parts(MAX_OWNERS)?;
        let nodes = fleet.nodes.as_slice();
        let mut points = Vec::with_capacity(count_points(nodes, points_per_weight)?);
        for (index, node) in nodes.iter().enumerate() {
            points.extend(node_points(
                fleet.hash,
                node.id,
                index as u32,
                node.weight,
                points_per_weight,
            ));
        }
        Ok(Ring {
            fleet,
            points_per_weight,
            points: Points::from_unsorted(&points),
        })
    }
}

/// The points of all nodes, unsorted, if a ring may have that many.
pub(crate) fn ring_points(
    hash: PlacementHash,
    nodes: &[Node],
    per_weight: NonZeroU32,
) -> Result<Vec<u64>, BuildError> {
    let mut points = Vec::with_capacity(count_points(nodes, per_weight)?);
    for (index, node) in nodes.iter().enumerate() {
        points.extend(node_points(
            hash,
            node.id,
            index as u32,
            node.weight,
            per_weight,
        ));
    }
    Ok(points)
}

/// How many points the nodes' weights ask for, if a ring may have that many.
fn count_points(nodes: &[Node], per_weight: NonZeroU32) -> Result<usize, BuildError> {
    // At most 2^24 nodes of 2^32 weight units of 2^32 points: only a u128 holds the sum.
    let weights: u128 = nodes.iter().map(|node| u128::from(node.weight.0)).sum();
    let points = weights * u128::from(per_weight.get());
    if points <= MAX_POINTS as u128 {
        Ok(points as usize)
    } else {
        Err(BuildError::TooManyPoints {
            points: u64::try_from(points).unwrap_or(u64::MAX),
            limit: MAX_POINTS,
        })
    }
}

/// The points of one node, unsorted. Point `i` stands where the ring's hash of the node's id and `i` says,
/// both as in a placement key: little-endian, eight and four bytes. Frozen: another formula would be
/// another algorithm.
fn node_points(
    hash: PlacementHash,
    id: NodeId,
    index: u32,
    weight: Weight,
    per_weight: NonZeroU32,
) -> impl Iterator<Item = u64> {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&id.0.to_le_bytes());
    (0..weight.0 * per_weight.get()).map(move |i| {
        key[8..].copy_from_slice(&i.to_le_bytes());
        point(hash.of_bytes(&key), index)
    })
}

/// Two sorted runs as one.
fn merge(run: impl Iterator<Item = u64>, new: &[u64]) -> Vec<u64> {
    let mut merged = Vec::with_capacity(run.size_hint().1.unwrap_or(0) + new.len());
    let mut new = new.iter().copied().peekable();
    for point in run {
        while let Some(earlier) = new.next_if(|&new| new < point) {
            merged.push(earlier);
        }
        merged.push(point);
    }
    merged.extend(new);
    merged
}
