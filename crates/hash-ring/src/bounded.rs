//! Bounded load: no node gets more than a little above its share of what is in flight.

#[cfg(not(feature = "std"))]
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
#[cfg(not(feature = "std"))]
use core::sync::atomic::{AtomicUsize, Ordering};

// With `std` the counters are those that a model checker can take over.
#[cfg(feature = "std")]
use purlin_core::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use purlin_core::{Node, NodeId, Placement, PlacementKey, Retry};

use crate::BuildError;
use crate::mix::nth;
use crate::nodes::Nodes;
use crate::points::MAX_OWNERS;

/// How many counters the total is striped over, by the hash of the key, so that threads at work on different
/// keys seldom write to one cache line. Two are all that a model checker needs to see.
const STRIPES: usize = if cfg!(purlin_loom) { 2 } else { 8 };

/// How many places a key tries before the least loaded node is looked for. With a bound of 1.05 the chance
/// that all are full is far below one in a thousand.
const TRIES: u64 = 64;

/// A salt that keeps a key's further places apart from its replicas.
const SALT: u64 = 0xb0bd << 48;

/// A counter on a cache line of its own; 128 bytes, because neighbouring lines are fetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicUsize);

/// Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with
/// Bounded Loads", 2018), over any placement: a key goes to its owner, unless that has more than `c` times
/// its share of the load in flight.
///
/// A node's capacity is `⌈c · (total + 1) · weight / total weight⌉`. A key whose owner is full goes to the
/// owner of another hash made from its own, and so on (the random jumps of Chen, Coleman and Shrivastava,
/// "Revisiting Consistent Hashing with Bounded Loads", 2021). So a full node's keys spread over all others by
/// weight, and none of them becomes the next to fill up, as the neighbour on a ring does; and each of a key's
/// places moves as little as the placement's owners do.
///
/// - **Cost**: a lookup, a look at `STRIPES` counters, and O(1 / (c − 1)) more lookups on average. Nothing is
///   locked or allocated.
/// - **The bound** is exact for changes one after the other. Of threads that decide at the same moment each
///   may have seen a total that was right a moment before: a node may then be above its capacity by less
///   than `c` times its share of their number.
/// - **Take it** where requests of one key should land on one node, and a hot key may not drown it.
///
/// ```
/// use purlin_core::{Node, NodeId};
/// use purlin_hash_ring::{BoundedLoad, SlotTable};
///
/// let table = SlotTable::from_nodes((1..=4).map(|i| Node::new(NodeId(i), "")))?;
/// let nodes = table.nodes().to_vec();
/// let bounded = BoundedLoad::new(table, nodes, 1.25)?;
/// let held: Vec<_> = (0..100).filter_map(|_| bounded.acquire("one hot key")).collect();
/// // 1.25 × 100 / 4, rounded up, though every request was for one key.
/// assert!((1..=4).all(|id| bounded.load(NodeId(id)) <= Some(32)));
/// drop(held);
/// assert_eq!(bounded.total(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BoundedLoad<P> {
    placement: P,
    bound: Bound,
    nodes: Nodes,
    total_weight: u64,
    /// The load of each node, in the order of `nodes`. Shared with other versions of the same fleet.
    loads: Vec<Arc<Line>>,
    /// Their sum, striped. Never counts a request that `loads` does not: it is counted here last and
    /// forgotten here first, so a total that is seen a moment late is too small, and the capacity made from
    /// it errs on the strict side.
    totals: Arc<[Line; STRIPES]>,
}

/// How far above its share a node may be: a number above 1, in units of 1/65 536, so that capacities are
/// whole numbers and alike on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound(u64);

impl Bound {
    const ONE: u64 = 1 << 16;

    fn new(bound: f64) -> Result<Self, BoundError> {
        // The least bound above 1 that can be told from it, and one beyond which nothing is bounded.
        if bound > 1.0 && bound <= 65_536.0 {
            Ok(Bound(
                ((bound * Bound::ONE as f64) as u64).max(Bound::ONE + 1),
            ))
        } else {
            Err(BoundError::Bound(bound))
        }
    }

    /// `⌈c · (total + 1) · weight / total weight⌉`.
    fn capacity(self, total: usize, weight: u32, total_weight: u64) -> usize {
        // 2^33 of bound, 2^64 of load and 2^32 of weight would not fit into 128 bits; loads stay below 2^56.
        let total = (total as u128 + 1).min(1 << 56);
        let scaled = u128::from(self.0) * total * u128::from(weight);
        let capacity = scaled.div_ceil(u128::from(Bound::ONE) * u128::from(total_weight.max(1)));
        usize::try_from(capacity).unwrap_or(usize::MAX)
    }
}

impl<P: Placement> BoundedLoad<P> {
    /// Bounds the load that `placement` gives to `nodes`, which are the nodes it places on, to `bound` times
    /// each one's share. 1.25 is a good start: closer to 1 moves more requests away from their owners.
    ///
    /// # Errors
    ///
    /// [`BoundError::Bound`] for a bound that is not above 1 or is above 65 536, or [`BoundError::Build`] for
    /// two nodes of one id.
    pub fn new(
        placement: P,
        nodes: impl IntoIterator<Item = Node>,
        bound: f64,
    ) -> Result<Self, BoundError> {
        let bound = Bound::new(bound)?;
        let nodes =
            Nodes::new(nodes.into_iter().collect(), MAX_OWNERS).map_err(BoundError::Build)?;
        Ok(BoundedLoad {
            placement,
            bound,
            total_weight: nodes.total_weight(),
            loads: nodes.as_slice().iter().map(|_| Arc::default()).collect(),
            nodes,
            totals: Arc::default(),
        })
    }

    /// The same load under another version of the placement: nodes that stay keep counting where they were,
    /// together with the requests that older versions still hold. A `Current` exchanges it as any other version.
    ///
    /// # Errors
    ///
    /// [`BoundError::Build`] for two nodes of one id.
    pub fn with_placement<Q: Placement>(
        &self,
        placement: Q,
        nodes: impl IntoIterator<Item = Node>,
    ) -> Result<BoundedLoad<Q>, BoundError> {
        let nodes =
            Nodes::new(nodes.into_iter().collect(), MAX_OWNERS).map_err(BoundError::Build)?;
        let kept = |node: &Node| {
            self.nodes
                .index(node.id)
                .ok()
                .map(|index| self.loads[index].clone())
        };
        Ok(BoundedLoad {
            placement,
            bound: self.bound,
            total_weight: nodes.total_weight(),
            loads: nodes
                .as_slice()
                .iter()
                .map(|node| kept(node).unwrap_or_default())
                .collect(),
            nodes,
            totals: self.totals.clone(),
        })
    }

    /// Chooses a node for a key and counts the request there until the guard is dropped. `None` if no node
    /// takes keys.
    #[inline]
    pub fn acquire<K: PlacementKey + ?Sized>(&self, key: &K) -> Option<Held<'_>> {
        key.with_key_bytes(|bytes| self.acquire_hash(self.placement.hash_key(bytes)))
    }

    /// [`acquire`](BoundedLoad::acquire) by the placement's hash of a key.
    pub fn acquire_hash(&self, hash: u64) -> Option<Held<'_>> {
        let total = self.total();
        for i in 0..TRIES {
            let place = if i == 0 { hash } else { nth(hash, SALT + i) };
            let id = self.placement.owner_of_hash(place)?;
            // A placement that names nodes we were not told of is passed over.
            let Ok(index) = self.nodes.index(id) else {
                continue;
            };
            let capacity = self.bound.capacity(
                total,
                self.nodes.as_slice()[index].weight.0,
                self.total_weight,
            );
            if self.reserve(index, capacity) {
                return Some(self.held(index, hash));
            }
        }
        self.least_loaded().map(|index| {
            self.reserve(index, usize::MAX);
            self.held(index, hash)
        })
    }

    /// Counts one more request at a node unless that is at its capacity.
    fn reserve(&self, index: usize, capacity: usize) -> bool {
        let more = |load: usize| (load < capacity).then(|| load + 1);
        // Relaxed: the counters order nothing but themselves.
        self.loads[index]
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn held(&self, index: usize, hash: u64) -> Held<'_> {
        let stripe = &self.totals[nth(hash, 0) as usize % STRIPES];
        stripe.0.fetch_add(1, Ordering::Relaxed);
        Held {
            node: self.nodes.id(index as u32),
            load: &self.loads[index],
            stripe,
        }
    }

    /// The node with the least load for its weight.
    fn least_loaded(&self) -> Option<usize> {
        let relative = |&index: &u32| {
            let weight = self.nodes.as_slice()[index as usize].weight.0;
            let load = self.loads[index as usize].0.load(Ordering::Relaxed) as u128;
            (load << 32) / u128::from(weight.max(1))
        };
        self.nodes
            .takers()
            .min_by_key(relative)
            .map(|index| index as usize)
    }

    /// How many requests are held at a node; `None` for a node that is not there.
    pub fn load(&self, id: NodeId) -> Option<usize> {
        self.nodes
            .index(id)
            .ok()
            .map(|index| self.loads[index].0.load(Ordering::Relaxed))
    }

    /// How many requests a node may hold now; `None` for a node that is not there.
    pub fn capacity(&self, id: NodeId) -> Option<usize> {
        let index = self.nodes.index(id).ok()?;
        Some(self.bound.capacity(
            self.total(),
            self.nodes.as_slice()[index].weight.0,
            self.total_weight,
        ))
    }

    /// How many requests are held in all.
    pub fn total(&self) -> usize {
        // Stripes may wrap on their own when a request is forgotten in a moment between; the sum does not.
        let sum = self.totals.iter().fold(0usize, |sum, line| {
            sum.wrapping_add(line.0.load(Ordering::Relaxed))
        });
        if sum > usize::MAX / 2 { 0 } else { sum }
    }
}

impl<P> BoundedLoad<P> {
    /// The placement below.
    pub fn placement(&self) -> &P {
        &self.placement
    }

    /// Whether what one holds counts for the other too.
    pub(crate) fn shares_load_with<Q>(&self, other: &BoundedLoad<Q>) -> bool {
        Arc::ptr_eq(&self.totals, &other.totals)
    }
}

/// Equal if they choose alike and count the same load, not if two loads happen to be of one size.
impl<P: PartialEq> PartialEq for BoundedLoad<P> {
    fn eq(&self, other: &Self) -> bool {
        self.shares_load_with(other)
            && self.bound == other.bound
            && self.nodes == other.nodes
            && self.placement == other.placement
    }
}

impl<P> fmt::Debug for BoundedLoad<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedLoad")
            .field("bound", &(self.bound.0 as f64 / Bound::ONE as f64))
            .field("nodes", &self.nodes.as_slice())
            .finish_non_exhaustive()
    }
}

/// A request that counts at a node until this is dropped.
#[derive(Debug)]
#[must_use = "the request stops counting when this is dropped"]
pub struct Held<'a> {
    node: NodeId,
    load: &'a Line,
    stripe: &'a Line,
}

impl Held<'_> {
    /// The node to send the request to.
    pub fn node(&self) -> NodeId {
        self.node
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.stripe.0.fetch_sub(1, Ordering::Relaxed);
        self.load.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a bounded load could not be built.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BoundError {
    /// The bound is not above 1, or above 65 536, or not a number.
    Bound(f64),
    /// The nodes cannot be counted for.
    Build(BuildError),
}

impl BoundError {
    /// [`Retry::NEVER`]: the same input fails again.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

impl fmt::Display for BoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoundError::Bound(bound) => {
                write!(f, "a bound of {bound} is not above 1 and at most 65536")
            }
            BoundError::Build(_) => f.write_str("the nodes cannot be counted for"),
        }
    }
}

impl core::error::Error for BoundError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            BoundError::Bound(_) => None,
            BoundError::Build(error) => Some(error),
        }
    }
}
