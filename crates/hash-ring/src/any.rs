//! A placement whose algorithm is chosen at run time.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use purlin_core::{Node, NodeId, Placement, PlacementHash, PlacementKey};

use crate::snapshot::Decoder;
use crate::{
    Anchor, BuildError, DecodeError, Jump, Maglev, Memento, MultiProbe, Ranges, Rendezvous, Ring,
    SlotTable, Spread,
};

/// A way of placing keys, named for configuration files.
///
/// ```
/// use purlin_hash_ring::Algorithm;
///
/// assert_eq!("slot-table".parse(), Ok(Algorithm::SlotTable));
/// assert_eq!(Algorithm::default().to_string(), "slot-table");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Algorithm {
    /// [`Ring`].
    Ring = 1,
    /// [`Rendezvous`].
    Rendezvous = 2,
    /// [`SlotTable`], the default.
    #[default]
    SlotTable = 3,
    /// [`Jump`].
    Jump = 4,
    /// [`Maglev`].
    Maglev = 5,
    /// [`Anchor`].
    Anchor = 6,
    /// [`Memento`].
    Memento = 7,
    /// [`MultiProbe`].
    MultiProbe = 8,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 8] = [
        Algorithm::Ring,
        Algorithm::Rendezvous,
        Algorithm::SlotTable,
        Algorithm::Jump,
        Algorithm::Maglev,
        Algorithm::Anchor,
        Algorithm::Memento,
        Algorithm::MultiProbe,
    ];

    /// The name in configuration files and serialised forms.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Ring => "ring",
            Algorithm::Rendezvous => "rendezvous",
            Algorithm::SlotTable => "slot-table",
            Algorithm::Jump => "jump",
            Algorithm::Maglev => "maglev",
            Algorithm::Anchor => "anchor",
            Algorithm::Memento => "memento",
            Algorithm::MultiProbe => "multi-probe",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Text that names no algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseAlgorithmError(());

impl fmt::Display for ParseAlgorithmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of a placement algorithm")
    }
}

impl core::error::Error for ParseAlgorithmError {}

impl FromStr for Algorithm {
    type Err = ParseAlgorithmError;

    fn from_str(name: &str) -> Result<Self, ParseAlgorithmError> {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or(ParseAlgorithmError(()))
    }
}

macro_rules! any_placement {
    ($($name:ident)*) => {
        /// Any of the placements, for programs that are told at run time which one to use. A lookup costs one
        /// predictable branch more than that of the placement inside.
        ///
        /// ```
        /// use purlin_core::{Node, NodeId};
        /// use purlin_hash_ring::{Algorithm, AnyPlacement};
        ///
        /// let nodes = (1..=3).map(|i| Node::new(NodeId(i), format!("db-{i}")));
        /// let placement = AnyPlacement::from_nodes("anchor".parse()?, nodes)?;
        /// let copy = AnyPlacement::from_bytes(&placement.to_bytes(), &placement.hash())?;
        /// assert_eq!(copy.algorithm(), Algorithm::Anchor);
        /// assert_eq!(copy.owner("user:17"), placement.owner("user:17"));
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum AnyPlacement {
            $(#[doc = concat!("A [`", stringify!($name), "`].")] $name($name),)*
        }

        $(impl From<$name> for AnyPlacement {
            fn from(placement: $name) -> Self {
                AnyPlacement::$name(placement)
            }
        })*

        impl AnyPlacement {
            /// A placement of these nodes with the default hash and options.
            ///
            /// # Errors
            ///
            /// As the `from_nodes` of the placement.
            pub fn from_nodes(algorithm: Algorithm, nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
                match algorithm {
                    $(Algorithm::$name => $name::from_nodes(nodes).map(AnyPlacement::$name),)*
                }
            }

            /// Which algorithm it is.
            pub fn algorithm(&self) -> Algorithm {
                match self { $(AnyPlacement::$name(_) => Algorithm::$name,)* }
            }

            /// The placement with one more node, or with this one in the place of its namesake.
            ///
            /// # Errors
            ///
            /// As the `with` of the placement inside.
            pub fn with(&self, node: Node) -> Result<Self, BuildError> {
                match self { $(AnyPlacement::$name(inner) => inner.with(node).map(AnyPlacement::$name),)* }
            }

            /// The placement without a node. Equal to this one if there is no such node.
            #[must_use]
            pub fn without(&self, id: NodeId) -> Self {
                match self { $(AnyPlacement::$name(inner) => AnyPlacement::$name(inner.without(id)),)* }
            }

            /// The nodes, by ascending id, those of weight 0 included.
            pub fn nodes(&self) -> &[Node] {
                match self { $(AnyPlacement::$name(inner) => inner.nodes(),)* }
            }

            /// The hash that places keys.
            pub fn hash(&self) -> PlacementHash {
                match self { $(AnyPlacement::$name(inner) => inner.hash(),)* }
            }

            /// One more with each change since the placement was built.
            pub fn version(&self) -> u64 {
                match self { $(AnyPlacement::$name(inner) => inner.version(),)* }
            }

            /// Where replicas may stand.
            pub fn spread(&self) -> Spread {
                match self { $(AnyPlacement::$name(inner) => inner.spread(),)* }
            }

            /// The placement as bytes, with whatever history it needs; see [the layout](crate#snapshots).
            pub fn to_bytes(&self) -> Vec<u8> {
                match self { $(AnyPlacement::$name(inner) => inner.to_bytes(),)* }
            }

            /// Reads what any placement's `to_bytes` wrote. `hash` is the one the caller places keys with.
            ///
            /// # Errors
            ///
            /// [`DecodeError`]. Never panics, whatever the bytes.
            pub fn from_bytes(bytes: &[u8], hash: &PlacementHash) -> Result<Self, DecodeError> {
                let decoder = Decoder::open(bytes, hash)?;
                match decoder.algorithm() {
                    $(number if number == Algorithm::$name as u8 => $name::read(decoder).map(AnyPlacement::$name),)*
                    other => Err(DecodeError::OtherAlgorithm(other)),
                }
            }
        }

        impl Placement for AnyPlacement {
            #[inline]
            fn hash_key(&self, key: &[u8]) -> u64 {
                match self { $(AnyPlacement::$name(inner) => inner.hash_key(key),)* }
            }

            #[inline]
            fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
                match self { $(AnyPlacement::$name(inner) => inner.owner_of_hash(hash),)* }
            }

            #[inline]
            fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
                match self { $(AnyPlacement::$name(inner) => inner.replicas_of_hash(hash, into),)* }
            }
        }
    };
}
any_placement!(Ring Rendezvous SlotTable Jump Maglev Anchor Memento MultiProbe);

impl AnyPlacement {
    /// The node that owns a key, or `None` if no node takes keys.
    #[inline]
    pub fn owner<K: PlacementKey + ?Sized>(&self, key: &K) -> Option<NodeId> {
        self.owner_of(key)
    }

    /// Writes the distinct nodes that hold a key into `into`, the owner first, and returns how many there
    /// are; see [`Placement::replicas_of_hash`].
    #[inline]
    pub fn replicas<K: PlacementKey + ?Sized>(&self, key: &K, into: &mut [NodeId]) -> usize {
        self.replicas_of(key, into)
    }

    /// The placement as one that can be listed range by range, if its algorithm can.
    pub fn ranges(&self) -> Option<&dyn Ranges> {
        match self {
            AnyPlacement::Ring(inner) => Some(inner),
            AnyPlacement::SlotTable(inner) => Some(inner),
            AnyPlacement::Maglev(inner) => Some(inner),
            AnyPlacement::Rendezvous(_)
            | AnyPlacement::Jump(_)
            | AnyPlacement::Anchor(_)
            | AnyPlacement::Memento(_)
            | AnyPlacement::MultiProbe(_) => None,
        }
    }
}
