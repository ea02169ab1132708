//! Rendezvous hashing.

use alloc::vec::Vec;
use core::fmt;

use purlin_core::{Node, NodeId, Placement, PlacementHash};

use crate::fleet::{Fleet, fleet_methods};
use crate::points::MAX_OWNERS;
use crate::rank::Ranking;
use crate::snapshot::{Decoder, Encoder};
use crate::{Algorithm, BuildError, Builder, DecodeError};

/// Rendezvous hashing, also called highest random weight (Thaler and Ravishankar, "Using Name-Based Mappings
/// to Increase Hit Rates", 1998), with weights by exponential variables (Schindelhauer and Schomaker,
/// "Weighted Distributed Hash Tables", 2005).
///
/// Each key ranks all nodes by a cost made of both; the cheapest owns it, and the next ones are its
/// replicas. Nothing is kept but the nodes.
///
/// - **Cost**: O(n) a lookup, about 2 ns a node and 100 ns to begin with; replicas the same once for each four. 24
///   bytes a node.
/// - **Balance**: exact in expectation for any weights; what is left is the noise of the keys themselves.
/// - **Disruption**: minimal for adding, removing and reweighting, for owners and for replica sets: a lost
///   replica is replaced by the next in the key's order, and the rest stay.
/// - **Take it** for up to a few dozen nodes, for weights that must be exact without shared state, or as the
///   source of order for something that caches the answer, as [`SlotTable`](crate::SlotTable) does.
#[derive(Clone, PartialEq)]
pub struct Rendezvous {
    pub(crate) fleet: Fleet,
    ranking: Ranking,
}

fleet_methods!(Rendezvous);

/// Rendezvous hashing has no options of its own.
#[derive(Clone, Debug, Default)]
pub struct RendezvousOptions(());

impl Builder<RendezvousOptions> {
    /// Builds the placement.
    ///
    /// # Errors
    ///
    /// [`BuildError::DuplicateNode`], or [`BuildError::TooManyNodes`] above 2²⁴ nodes.
    pub fn build(self) -> Result<Rendezvous, BuildError> {
        self.into_parts(MAX_OWNERS)
            .map(|(fleet, _)| Rendezvous::of(fleet))
    }
}

impl Rendezvous {
    /// A placement on these nodes with the default hash.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`](Builder#method.build).
    pub fn from_nodes(nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
        Rendezvous::builder().nodes(nodes).build()
    }

    /// Chooses the hash and the spread of replicas.
    pub fn builder() -> Builder<RendezvousOptions> {
        Builder::default()
    }

    fn of(fleet: Fleet) -> Self {
        let ranking = Ranking::new(&fleet.nodes, fleet.hash);
        Rendezvous { fleet, ranking }
    }

    /// The placement with one more node, or with this one in the place of its namesake. Moves keys only to
    /// or from it.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooManyNodes`].
    pub fn with(&self, node: Node) -> Result<Self, BuildError> {
        let (nodes, _, _) = self.fleet.nodes.with(node, MAX_OWNERS)?;
        Ok(Rendezvous::of(self.fleet.next(nodes)))
    }

    /// The placement without a node: moves only that node's keys. Equal to this one if there is none.
    #[must_use]
    pub fn without(&self, id: NodeId) -> Self {
        match self.fleet.nodes.index(id) {
            Ok(index) => Rendezvous::of(self.fleet.next(self.fleet.nodes.without(index))),
            Err(_) => self.clone(),
        }
    }

    /// The placement as bytes; see [the layout](crate#snapshots).
    pub fn to_bytes(&self) -> Vec<u8> {
        Encoder::new(Algorithm::Rendezvous, &self.fleet).finish()
    }

    /// Reads what [`to_bytes`](Rendezvous::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Never panics, whatever the bytes.
    pub fn from_bytes(bytes: &[u8], hash: &PlacementHash) -> Result<Self, DecodeError> {
        Rendezvous::read(Decoder::open(bytes, hash)?.expect(Algorithm::Rendezvous)?)
    }

    pub(crate) fn read(decoder: Decoder<'_>) -> Result<Self, DecodeError> {
        decoder
            .finish(RendezvousOptions::default())?
            .build()
            .map_err(DecodeError::Invalid)
    }
}

impl Placement for Rendezvous {
    #[inline]
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.fleet.hash.of_bytes(key)
    }

    #[inline]
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        self.ranking
            .best(hash)
            .map(|index| self.fleet.nodes.id(index))
    }

    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        self.fleet
            .spread
            .pick(&self.fleet.nodes, self.ranking.order(hash), into)
    }
}

impl fmt::Debug for Rendezvous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendezvous")
            .field("fleet", &self.fleet)
            .finish()
    }
}
