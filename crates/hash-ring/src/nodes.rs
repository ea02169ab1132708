//! The nodes of a placement, in an order of their own.

use alloc::vec::Vec;

use purlin_core::{Node, NodeId};

use crate::BuildError;
use crate::places::Places;

/// Nodes sorted by id, whatever order they came in, so that everything computed from their order is the
/// same on every machine. A node's place in the list is its index, by which tables and points name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    /// The ids alone, in the same order: what lookups read.
    ids: Ids,
    /// Where they stand, in the same order.
    places: Places,
}

/// Half as wide where all fit, which is nearly everywhere: the ids of 10 000 nodes then leave more of a cache to
/// the tables that lead to them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ids {
    Narrow(Vec<u32>),
    Wide(Vec<u64>),
}

impl Ids {
    fn of(nodes: &[Node]) -> Self {
        match nodes.last().map(|node| u32::try_from(node.id.0)) {
            // Sorted, so that the others are smaller. The cast cuts nothing.
            None | Some(Ok(_)) => Ids::Narrow(nodes.iter().map(|node| node.id.0 as u32).collect()),
            Some(Err(_)) => Ids::Wide(nodes.iter().map(|node| node.id.0).collect()),
        }
    }
}

impl Default for Ids {
    fn default() -> Self {
        Ids::of(&[])
    }
}

impl Nodes {
    /// Sorts the nodes; refuses two of one id, and more than `limit`.
    pub(crate) fn new(mut nodes: Vec<Node>, limit: usize) -> Result<Self, BuildError> {
        if nodes.len() > limit {
            return Err(BuildError::TooManyNodes {
                nodes: nodes.len(),
                limit,
            });
        }
        nodes.sort_by_key(|node| node.id);
        if let Some(first) = nodes.windows(2).position(|pair| pair[0].id == pair[1].id) {
            return Err(BuildError::DuplicateNode(nodes.swap_remove(first + 1)));
        }
        Ok(Nodes::of_sorted(nodes))
    }

    fn of_sorted(nodes: Vec<Node>) -> Self {
        Nodes {
            ids: Ids::of(&nodes),
            places: Places::of(&nodes),
            nodes,
        }
    }

    /// The nodes with this one in its place, over the one of the same id if there is one; the index, and
    /// whether it is new.
    pub(crate) fn with(&self, node: Node, limit: usize) -> Result<(Self, usize, bool), BuildError> {
        let found = self.index(node.id);
        if found.is_err() && self.nodes.len() >= limit {
            return Err(BuildError::TooManyNodes {
                nodes: self.nodes.len() + 1,
                limit,
            });
        }
        let mut nodes = self.nodes.clone();
        match found {
            Ok(index) => nodes[index] = node,
            Err(index) => nodes.insert(index, node),
        }
        let (Ok(index) | Err(index)) = found;
        Ok((Nodes::of_sorted(nodes), index, found.is_err()))
    }

    /// The nodes without the one at an index.
    pub(crate) fn without(&self, index: usize) -> Self {
        let mut nodes = self.nodes.clone();
        nodes.remove(index);
        Nodes::of_sorted(nodes)
    }

    /// The index of an id, or the index it would have.
    pub(crate) fn index(&self, id: NodeId) -> Result<usize, usize> {
        match &self.ids {
            Ids::Narrow(ids) => ids.binary_search_by_key(&id.0, |&id| u64::from(id)),
            Ids::Wide(ids) => ids.binary_search(&id.0),
        }
    }

    #[inline]
    pub(crate) fn id(&self, index: u32) -> NodeId {
        match &self.ids {
            Ids::Narrow(ids) => NodeId(u64::from(ids[index as usize])),
            Ids::Wide(ids) => NodeId(ids[index as usize]),
        }
    }

    /// The id at an index of 16 bits, if there is one.
    #[inline]
    pub(crate) fn get(&self, index: u16) -> Option<NodeId> {
        let [id] = self.all([index])?;
        Some(id)
    }

    /// The ids at some indexes of 16 bits, if there are all.
    #[inline]
    pub(crate) fn all<const N: usize>(&self, indexes: [u16; N]) -> Option<[NodeId; N]> {
        let mut found = [NodeId(0); N];
        match &self.ids {
            Ids::Narrow(ids) => {
                for (id, index) in found.iter_mut().zip(indexes) {
                    *id = NodeId(u64::from(*ids.get(usize::from(index))?));
                }
            }
            Ids::Wide(ids) => {
                for (id, index) in found.iter_mut().zip(indexes) {
                    *id = NodeId(*ids.get(usize::from(index))?);
                }
            }
        }
        Some(found)
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    pub(crate) fn as_slice(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The indexes of the nodes that take keys.
    #[inline]
    pub(crate) fn takers(&self) -> impl Iterator<Item = u32> + Clone {
        (0..)
            .zip(&self.nodes)
            .filter(|(_, node)| !node.weight.is_zero())
            .map(|(index, _)| index)
    }

    /// How many nodes take keys.
    #[inline]
    pub(crate) fn n_weighted(&self) -> usize {
        self.places.n_weighted()
    }

    /// The sum of all weights. At most 2^24 nodes of 2^32 units fit with room to spare.
    pub(crate) fn total_weight(&self) -> u64 {
        self.nodes.iter().map(|node| u64::from(node.weight.0)).sum()
    }
}
