//! The nodes of a placement, in an order of their own.

use alloc::vec::Vec;

use purlin_core::{Node, NodeId};

use crate::BuildError;

/// Nodes sorted by id, whatever order they came in, so that everything computed from their order is the
/// same on every machine. A node's place in the list is its index, by which tables and points name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    /// The ids alone, in the same order: what lookups read.
    ids: Vec<NodeId>,
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
        let ids = nodes.iter().map(|node| node.id).collect();
        Ok(Nodes { nodes, ids })
    }

    /// Puts a node in its place, over the one of the same id if there is one, which is returned with the
    /// index.
    pub(crate) fn insert(
        &mut self,
        node: Node,
        limit: usize,
    ) -> Result<(usize, Option<Node>), BuildError> {
        match self.index(node.id) {
            Ok(index) => Ok((
                index,
                Some(core::mem::replace(&mut self.nodes[index], node)),
            )),
            Err(_) if self.nodes.len() >= limit => Err(BuildError::TooManyNodes {
                nodes: self.nodes.len() + 1,
                limit,
            }),
            Err(index) => {
                self.ids.insert(index, node.id);
                self.nodes.insert(index, node);
                Ok((index, None))
            }
        }
    }

    /// Takes the node at an index out.
    pub(crate) fn remove(&mut self, index: usize) -> Node {
        self.ids.remove(index);
        self.nodes.remove(index)
    }

    /// The index of an id, or the index it would have.
    pub(crate) fn index(&self, id: NodeId) -> Result<usize, usize> {
        self.ids.binary_search(&id)
    }

    #[inline]
    pub(crate) fn id(&self, index: u32) -> NodeId {
        self.ids[index as usize]
    }

    pub(crate) fn as_slice(&self) -> &[Node] {
        &self.nodes
    }

    /// How many nodes take keys.
    pub(crate) fn n_weighted(&self) -> usize {
        self.nodes
            .iter()
            .filter(|node| !node.weight.is_zero())
            .count()
    }
}
