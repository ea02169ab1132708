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

/// The failure domain a node stands in: an availability zone, a region, or a rack where there is nothing above it.
/// Copies of one thing belong in different zones. Equal names are the same zone. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(Arc<str>);

/// The failure domain within a zone: a rack, a chassis, a switch. Copies of one thing that must share a zone
/// belong in different racks. Equal names in one zone are the same rack, and in two zones two racks. Cloning is
/// cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rack(Arc<str>);

macro_rules! failure_domain {
    ($($domain:ident, $noun:literal);*) => {$(
        impl $domain {
            #[doc = concat!("The ", $noun, " of this name.")]
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                $domain(name.into())
            }

            #[doc = concat!("The ", $noun, "'s name.")]
            pub fn name(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $domain {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $domain {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $domain {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer).map($domain::new)
            }
        }
    )*};
}
failure_domain!(Zone, "zone"; Rack, "rack");

/// A member of a fleet: something keys live on or requests go to.
///
/// ```
/// use purlin_core::{Node, NodeId, Weight, Zone};
///
/// let node = Node::new(NodeId(7), "cache-7:11211").with_weight(Weight(2)).with_zone(Zone::new("eu-1a"));
/// assert_eq!(node.id, NodeId(7));
/// ```
///
/// Later versions may say more of a node; make one with [`Node::new`]. In serialised text a node without a rack
/// is written without that field, as before there was one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
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
    /// Failure domain within the zone, where it is known. Says nothing of a node of no zone.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rack: Option<Rack>,
}

impl Node {
    /// A node of weight one in no particular zone.
    pub fn new(id: NodeId, name: impl Into<String>) -> Self {
        Node {
            id,
            name: name.into(),
            weight: Weight::ONE,
            zone: None,
            rack: None,
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

    /// The same node in a rack of its zone.
    #[must_use]
    pub fn with_rack(self, rack: Rack) -> Self {
        Node {
            rack: Some(rack),
            ..self
        }
    }
}

/// Text without the rack where there is none, so that readers which know no racks take what they always took.
/// Forms that tell fields apart by their places alone have all of them.
#[cfg(feature = "serde")]
impl serde::Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let with_rack = self.rack.is_some() || !serializer.is_human_readable();
        let mut form = serializer.serialize_struct("Node", 4 + usize::from(with_rack))?;
        form.serialize_field("id", &self.id)?;
        form.serialize_field("name", &self.name)?;
        form.serialize_field("weight", &self.weight)?;
        form.serialize_field("zone", &self.zone)?;
        if with_rack {
            form.serialize_field("rack", &self.rack)?;
        }
        form.end()
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
