use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

/// A node's identity: a number that stays the node's own while its address, weight or name change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// A node's share of traffic or of keys, relative to the other nodes' weights. Zero means none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Weight(pub u32);

impl Weight {
    /// No traffic and no keys.
    pub const ZERO: Weight = Weight(0);
    /// One share, the default.
    pub const ONE: Weight = Weight(1);

    /// Whether the node takes nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Default for Weight {
    /// One share.
    fn default() -> Self {
        Weight::ONE
    }
}

/// The failure domain a node stands in: a rack, an availability zone, a region. Copies of one thing belong
/// in different zones. Equal names are the same zone. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(Arc<str>);

impl Zone {
    /// The zone of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Zone(name.into())
    }

    /// The zone's name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "serde")]
mod with_serde {
    use super::Zone;

    impl serde::Serialize for Zone {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.name())
        }
    }

    impl<'de> serde::Deserialize<'de> for Zone {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            alloc::string::String::deserialize(deserializer).map(Zone::new)
        }
    }
}

/// A member of a fleet: something keys live on or requests go to.
///
/// ```
/// use purlin_core::{Node, NodeId, Weight, Zone};
///
/// let node = Node::new(NodeId(7), "cache-7:11211").with_weight(Weight(2)).with_zone(Zone::new("eu-1a"));
/// assert_eq!(node.id, NodeId(7));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Node {
    /// Identity, which decides placement in every algorithm of ours.
    pub id: NodeId,
    /// The name that interoperating rings hash, usually `host:port`.
    pub name: String,
    /// Share of keys and traffic.
    #[cfg_attr(feature = "serde", serde(default))]
    pub weight: Weight,
    /// Failure domain, where it is known.
    #[cfg_attr(feature = "serde", serde(default))]
    pub zone: Option<Zone>,
}

impl Node {
    /// A node of weight one in no particular zone.
    pub fn new(id: NodeId, name: impl Into<String>) -> Self {
        Node {
            id,
            name: name.into(),
            weight: Weight::ONE,
            zone: None,
        }
    }

    /// The same node with another weight.
    #[must_use]
    pub fn with_weight(self, weight: Weight) -> Self {
        Node { weight, ..self }
    }

    /// The same node in a zone.
    #[must_use]
    pub fn with_zone(self, zone: Zone) -> Self {
        Node {
            zone: Some(zone),
            ..self
        }
    }
}

/// What a node may be given now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[expect(
    clippy::exhaustive_enums,
    reason = "a router must answer for every state, so a new one is a breaking change"
)]
pub enum Health {
    /// Everything.
    #[default]
    Up,
    /// What is already bound to it, such as sticky clients, and nothing new. A node on its way out.
    Draining,
    /// Nothing.
    Down,
}

impl Health {
    /// Whether clients that are bound to no node may be sent here.
    pub const fn takes_new(self) -> bool {
        matches!(self, Health::Up)
    }

    /// Whether clients that are bound to this node may still be sent here.
    pub const fn takes_bound(self) -> bool {
        matches!(self, Health::Up | Health::Draining)
    }
}
