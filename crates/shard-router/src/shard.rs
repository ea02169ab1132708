use std::fmt;

use purlin_core::{GroupId, NodeId};

/// A shard's identity: a number that stays its own while its name or its databases change.
///
/// A shard is what owns slots: a primary with its replicas, a schema, a server. Where shards are replication
/// groups, use the same number for the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}", self.0)
    }
}

/// The replication group of the same number, whose tokens a replica router understands.
impl From<ShardId> for GroupId {
    fn from(shard: ShardId) -> Self {
        GroupId(shard.0)
    }
}

/// The node of the same number, for placements that choose among shards.
impl From<ShardId> for NodeId {
    fn from(shard: ShardId) -> Self {
        NodeId(u64::from(shard.0))
    }
}

/// A shard of a map: its identity, and the name by which a program finds its database.
///
/// ```
/// use purlin_shard_router::{Shard, ShardId};
///
/// let shard = Shard::new(ShardId(3), "orders-3");
/// assert_eq!(shard.name(), "orders-3");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Shard {
    id: ShardId,
    name: Box<str>,
}

impl Shard {
    /// The longest name in bytes. It is a name to look an address up by, not a place for passwords: maps are
    /// handed to every client.
    pub const MAX_NAME_LEN: usize = 255;

    /// A shard of this number and name. The map it goes into checks both.
    pub fn new(id: ShardId, name: impl Into<Box<str>>) -> Self {
        Shard {
            id,
            name: name.into(),
        }
    }

    /// Who it is.
    pub const fn id(&self) -> ShardId {
        self.id
    }

    /// What it is called.
    pub const fn name(&self) -> &str {
        &self.name
    }
}
