//! What can go wrong while a placement is built.

use core::fmt;

use purlin_core::{Node, NodeId, Retry};

/// Why a placement could not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// Two nodes had one id. The second is given back.
    DuplicateNode(Node),
    /// More nodes than a placement can number.
    TooManyNodes {
        /// How many there were.
        nodes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The weights ask for more points than a ring may have. Lower the points per weight unit, or scale the
    /// weights down: only their ratios matter.
    TooManyPoints {
        /// How many points the weights ask for.
        points: u64,
        /// How many there may be.
        limit: usize,
    },
    /// A table of 2 to this many slots cannot be made.
    SlotBits(u32),
    /// A table of this many entries would be too large.
    TableSize(u32),
    /// The nodes' weights add up to more buckets than the capacity.
    Capacity {
        /// The sum of the weights.
        buckets: u64,
        /// How many buckets there may be.
        capacity: u32,
    },
    /// The node's weight is above 1, which the algorithm has no use for. The node is given back.
    Weighted(Node),
    /// No node has this id.
    UnknownNode(NodeId),
}

impl BuildError {
    /// Always [`Retry::NEVER`]: the same nodes fail again.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::DuplicateNode(node) => {
                write!(f, "{} ({}) is there already", node.id, node.name)
            }
            BuildError::TooManyNodes { nodes, limit } => {
                write!(f, "{nodes} nodes, of at most {limit}")
            }
            BuildError::TooManyPoints { points, limit } => {
                write!(f, "the weights ask for {points} points, of at most {limit}")
            }
            BuildError::SlotBits(bits) => write!(
                f,
                "2 to the {bits} slots, of 2 to at least 1 and at most 24"
            ),
            BuildError::TableSize(size) => write!(f, "a table of {size} entries is too large"),
            BuildError::Capacity { buckets, capacity } => {
                write!(
                    f,
                    "the weights add up to {buckets} buckets, of at most {capacity}"
                )
            }
            BuildError::Weighted(node) => {
                write!(
                    f,
                    "{} has weight {}, and the algorithm knows no weights above 1",
                    node.id, node.weight.0
                )
            }
            BuildError::UnknownNode(id) => write!(f, "{id} is not there"),
        }
    }
}

impl core::error::Error for BuildError {}
