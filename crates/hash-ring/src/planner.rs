//! From what was measured to weights.

use alloc::vec::Vec;

use purlin_core::{Node, NodeId, Weight};

/// Turns measurements of unequal nodes into weights, and moves towards them a step at a time.
///
/// A measurement says how much a node can do (requests a second at its limit, memory, cores) or how loaded
/// it is; either becomes a target share, and each round moves each weight a part of the way, so that noise in
/// a measurement moves few keys, and a loop through a monitoring system does not swing.
///
/// ```
/// use purlin_core::{Node, NodeId};
/// use purlin_hash_ring::WeightPlanner;
///
/// let planner = WeightPlanner::default();
/// let nodes = vec![Node::new(NodeId(1), "old"), Node::new(NodeId(2), "new")];
/// let mut nodes = planner.normalised(&nodes);
/// for _ in 0..20 {
///     nodes = planner.toward_capacity(&nodes, &[(NodeId(1), 1_000.0), (NodeId(2), 3_000.0)]);
/// }
/// // Three to one, but for the difference that is left alone.
/// let ratio = f64::from(nodes[1].weight.0) / f64::from(nodes[0].weight.0);
/// assert!((2.8..3.2).contains(&ratio));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightPlanner {
    scale: u32,
    damping: f64,
    dead_band: f64,
    most_change: f64,
}

impl Default for WeightPlanner {
    /// An average weight of 100, half of the way each round, no change for less than 2 %, and no weight more
    /// than a half up or down in a round.
    fn default() -> Self {
        WeightPlanner {
            scale: 100,
            damping: 0.5,
            dead_band: 0.02,
            most_change: 0.5,
        }
    }
}

impl WeightPlanner {
    /// The average weight to work with: how finely shares can be told apart. At least 1. Rings take a point
    /// count a unit of weight, so lower theirs accordingly.
    #[must_use]
    pub fn scale(self, average_weight: u32) -> Self {
        WeightPlanner {
            scale: average_weight.max(1),
            ..self
        }
    }

    /// Which part of the way to its target a weight goes each round: 1 jumps, 0.1 creeps. Clamped to 0–1.
    #[must_use]
    pub fn damping(self, part: f64) -> Self {
        WeightPlanner {
            damping: clamp(part),
            ..self
        }
    }

    /// Relative differences up to this one are left alone. Clamped to 0–1.
    #[must_use]
    pub fn dead_band(self, part: f64) -> Self {
        WeightPlanner {
            dead_band: clamp(part),
            ..self
        }
    }

    /// A weight changes by no more than this part of itself in a round. Clamped to 0–1.
    #[must_use]
    pub fn most_change(self, part: f64) -> Self {
        WeightPlanner {
            most_change: clamp(part),
            ..self
        }
    }

    /// The same shares with an average weight of the planner's scale, so that small changes can be told.
    /// Nodes of weight 0 stay at 0, others get at least 1.
    #[must_use]
    pub fn normalised(&self, nodes: &[Node]) -> Vec<Node> {
        let shares: Vec<f64> = nodes.iter().map(|node| f64::from(node.weight.0)).collect();
        self.whole_weights(nodes, &shares)
    }

    /// One round towards shares in proportion to capacity. Nodes without a measurement, or with one that is
    /// not a positive finite number, keep their share; so do nodes of weight 0, which somebody took out.
    #[must_use]
    pub fn toward_capacity(&self, nodes: &[Node], capacity: &[(NodeId, f64)]) -> Vec<Node> {
        let weight: f64 = measured(nodes, capacity)
            .map(|(node, _)| f64::from(node.weight.0))
            .sum();
        let total: f64 = measured(nodes, capacity)
            .map(|(_, capacity)| capacity)
            .sum();
        self.round(nodes, |node| {
            let capacity = find(capacity, node.id)?;
            // The measured nodes divide among themselves what they have.
            Some(capacity / total * weight)
        })
    }

    /// One round towards equal utilisation, given each node's utilisation now (busy time, queue, memory used,
    /// each as a part of its limit): a node at twice the average should have half of its keys. Nodes without a
    /// usable measurement keep their share.
    #[must_use]
    pub fn toward_equal_load(&self, nodes: &[Node], utilisation: &[(NodeId, f64)]) -> Vec<Node> {
        let weight: f64 = measured(nodes, utilisation)
            .map(|(node, _)| f64::from(node.weight.0))
            .sum();
        let load: f64 = measured(nodes, utilisation)
            .map(|(node, load)| f64::from(node.weight.0) * load)
            .sum();
        let average = load / weight;
        self.round(nodes, |node| {
            Some(f64::from(node.weight.0) * average / find(utilisation, node.id)?)
        })
    }

    /// Moves each node with a target part of the way to it.
    fn round(&self, nodes: &[Node], target: impl Fn(&Node) -> Option<f64>) -> Vec<Node> {
        let step = |node: &Node| {
            let now = f64::from(node.weight.0);
            let change = target(node).map_or(0.0, |target| target / now - 1.0);
            if node.weight.is_zero()
                || !change.is_finite()
                || (change <= self.dead_band && -change <= self.dead_band)
            {
                return now;
            }
            now * (1.0 + (change * self.damping).clamp(-self.most_change, self.most_change))
        };
        let shares: Vec<f64> = nodes.iter().map(step).collect();
        if shares
            .iter()
            .zip(nodes)
            .all(|(&share, node)| share == f64::from(node.weight.0))
        {
            return nodes.to_vec();
        }
        self.whole_weights(nodes, &shares)
    }

    /// Whole weights in proportion to shares, with the planner's average.
    fn whole_weights(&self, nodes: &[Node], shares: &[f64]) -> Vec<Node> {
        let n_taking = nodes.iter().filter(|node| !node.weight.is_zero()).count();
        let total: f64 = shares.iter().sum();
        let unit = f64::from(self.scale) * n_taking as f64 / total;
        let weigh = |(node, &share): (&Node, &f64)| {
            if node.weight.is_zero() {
                return node.clone();
            }
            // Rounded half up; a cast saturates, so no weight is out of range.
            node.clone()
                .with_weight(Weight(((share * unit + 0.5) as u32).max(1)))
        };
        nodes.iter().zip(shares).map(weigh).collect()
    }
}

/// The nodes that take keys and have a usable measurement, with it.
fn measured<'a>(
    nodes: &'a [Node],
    values: &'a [(NodeId, f64)],
) -> impl Iterator<Item = (&'a Node, f64)> {
    let takers = nodes.iter().filter(|node| !node.weight.is_zero());
    takers.filter_map(|node| find(values, node.id).map(|value| (node, value)))
}

fn find(values: &[(NodeId, f64)], id: NodeId) -> Option<f64> {
    let value = values.iter().find(|(other, _)| *other == id)?.1;
    (value.is_finite() && value > 0.0).then_some(value)
}

fn clamp(part: f64) -> f64 {
    if part.is_nan() {
        0.0
    } else {
        part.clamp(0.0, 1.0)
    }
}
