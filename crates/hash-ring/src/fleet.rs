//! What every placement of ours has: a hash, a version, nodes, and where replicas may stand.

use alloc::vec::Vec;
use core::fmt;

use purlin_core::{Node, PlacementHash};

use crate::nodes::Nodes;
use crate::{BuildError, Spread};

/// The part that all placements share.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Fleet {
    pub(crate) hash: PlacementHash,
    pub(crate) version: u64,
    pub(crate) spread: Spread,
    pub(crate) nodes: Nodes,
}

impl Fleet {
    /// The fleet with other nodes, one version on.
    pub(crate) fn next(&self, nodes: Nodes) -> Self {
        Fleet {
            hash: self.hash,
            version: self.version.saturating_add(1),
            spread: self.spread,
            nodes,
        }
    }
}

/// Without the seed, which may be a key.
impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("hash", &self.hash.algorithm())
            .field("version", &self.version)
            .field("spread", &self.spread)
            .field("nodes", &self.nodes.as_slice())
            .finish()
    }
}

/// Makes a placement: what all of them have is set here, and the option type `O` adds what one algorithm
/// has. Each algorithm's `builder()` gives one.
///
/// ```
/// use std::num::NonZeroU32;
/// use purlin_core::{Node, NodeId, PlacementHash, Weight};
/// use purlin_hash_ring::{Ring, Spread};
///
/// let ring = Ring::builder()
///     .hash(PlacementHash::siphash24([7; 16]))
///     .spread(Spread::Zones)
///     .points_per_weight(NonZeroU32::new(40).expect("40 is not zero"))
///     .node(Node::new(NodeId(1), "small"))
///     .node(Node::new(NodeId(2), "large").with_weight(Weight(3)))
///     .build()?;
/// assert_eq!(ring.n_points(), 160);
/// # Ok::<(), purlin_hash_ring::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Builder<O> {
    pub(crate) hash: PlacementHash,
    pub(crate) version: u64,
    pub(crate) spread: Spread,
    pub(crate) nodes: Vec<Node>,
    pub(crate) options: O,
}

impl<O: Default> Default for Builder<O> {
    fn default() -> Self {
        let (hash, spread) = (PlacementHash::default(), Spread::default());
        Builder {
            hash,
            version: 1,
            spread,
            nodes: Vec::new(),
            options: O::default(),
        }
    }
}

impl<O> Builder<O> {
    /// The hash of keys and of whatever stands for nodes. The default is XXH3-64 with seed 0; take SipHash
    /// with a secret key where an attacker chooses keys.
    pub fn hash(mut self, hash: PlacementHash) -> Self {
        self.hash = hash;
        self
    }

    /// Where replicas may stand; anywhere if this is not called.
    pub fn spread(mut self, spread: Spread) -> Self {
        self.spread = spread;
        self
    }

    /// The version the placement starts at; 1 if this is not called.
    pub fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// One more node.
    pub fn node(mut self, node: Node) -> Self {
        self.nodes.push(node);
        self
    }

    /// More nodes.
    pub fn nodes(mut self, nodes: impl IntoIterator<Item = Node>) -> Self {
        self.nodes.extend(nodes);
        self
    }

    /// The common part, checked, and the options.
    pub(crate) fn into_parts(self, limit: usize) -> Result<(Fleet, O), BuildError> {
        let nodes = Nodes::new(self.nodes, limit)?;
        Ok((
            Fleet {
                hash: self.hash,
                version: self.version,
                spread: self.spread,
                nodes,
            },
            self.options,
        ))
    }
}

impl<O: fmt::Debug> fmt::Debug for Builder<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("hash", &self.hash.algorithm())
            .field("version", &self.version)
            .field("spread", &self.spread)
            .field("nodes", &self.nodes)
            .field("options", &self.options)
            .finish()
    }
}

/// The methods that every placement with a `fleet` has: the ones a caller would otherwise import a trait for,
/// and the accessors of the common part.
macro_rules! fleet_methods {
    ($placement:ty) => {
        impl $placement {
            /// The node that owns a key, or `None` if no node takes keys.
            #[inline]
            pub fn owner<K: purlin_core::PlacementKey + ?Sized>(
                &self,
                key: &K,
            ) -> Option<purlin_core::NodeId> {
                purlin_core::Placement::owner_of_hash(self, self.fleet.hash.of(key))
            }

            /// Writes the distinct nodes that hold a key into `into`, the owner first, and returns how many
            /// there are; see [`Placement::replicas_of_hash`](purlin_core::Placement::replicas_of_hash).
            #[inline]
            pub fn replicas<K: purlin_core::PlacementKey + ?Sized>(
                &self,
                key: &K,
                into: &mut [purlin_core::NodeId],
            ) -> usize {
                purlin_core::Placement::replicas_of_hash(self, self.fleet.hash.of(key), into)
            }

            /// The nodes, by ascending id, those of weight 0 included.
            pub fn nodes(&self) -> &[purlin_core::Node] {
                self.fleet.nodes.as_slice()
            }

            /// The hash that places keys.
            pub fn hash(&self) -> purlin_core::PlacementHash {
                self.fleet.hash
            }

            /// One more with each change since the placement was built.
            pub fn version(&self) -> u64 {
                self.fleet.version
            }

            /// Where replicas may stand.
            pub fn spread(&self) -> $crate::Spread {
                self.fleet.spread
            }
        }
    };
}
pub(crate) use fleet_methods;
