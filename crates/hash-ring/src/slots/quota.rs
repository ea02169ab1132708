//! How many slots each node should have, given how many it has.

use alloc::vec::Vec;

use purlin_core::Node;

/// The number of slots for each node, summing to `n_slots` if any node has a weight, as near as possible to
/// what the nodes `have`.
///
/// With `n` weighted nodes, total weight `W` and `S` slots, node `i` gets between `⌊S·wᵢ/W⌋` and
/// `⌊(S + n)·wᵢ/W⌋`. The upper ends sum to more than `(S + n) − n`, so there is always such a division; and
/// with it no node has more than `1 + n/S` times its share, whatever the weights.
///
/// Nodes outside their range are brought to its nearer end. What is then missing goes to whoever is
/// furthest below its exact share, and what is too much comes from whoever is furthest above, one slot at a
/// time; so slots move only for the sake of a range, and rounding errors are evened out on the way. From
/// nothing this is the method of largest remainders.
pub(super) fn quotas(n_slots: u32, nodes: &[Node], have: &[u32]) -> Vec<u32> {
    let total: u128 = nodes.iter().map(|node| u128::from(node.weight.0)).sum();
    if total == 0 {
        return nodes.iter().map(|_| 0).collect();
    }
    let n_weighted = nodes.iter().filter(|node| !node.weight.is_zero()).count();
    let part =
        |slots: u64, node: &Node| (u128::from(slots) * u128::from(node.weight.0) / total) as u32;
    let low: Vec<u32> = nodes
        .iter()
        .map(|node| part(u64::from(n_slots), node))
        .collect();
    let high: Vec<u32> = nodes
        .iter()
        .map(|node| part(u64::from(n_slots) + n_weighted as u64, node))
        .collect();
    let mut quotas: Vec<u32> = have
        .iter()
        .enumerate()
        .map(|(i, &have)| have.clamp(low[i], high[i]))
        .collect();

    let given: u64 = quotas.iter().map(|&quota| u64::from(quota)).sum();
    let mut missing = i64::from(n_slots) - given as i64;
    // Sorted by how far below its share a node is, in units of 1/W slots, furthest first.
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_cached_key(|&i| {
        let exact = u128::from(n_slots) * u128::from(nodes[i].weight.0);
        // Both products are far below 2^127: slots have 32 bits, weights 32, and there are 2^24 nodes at most.
        (u128::from(quotas[i]) * total) as i128 - exact as i128
    });
    while missing > 0 {
        for &i in &order {
            if missing > 0 && quotas[i] < high[i] {
                quotas[i] += 1;
                missing -= 1;
            }
        }
    }
    while missing < 0 {
        for &i in order.iter().rev() {
            if missing < 0 && quotas[i] > low[i] {
                quotas[i] -= 1;
                missing += 1;
            }
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use purlin_core::{NodeId, Weight};

    use super::*;

    fn nodes(weights: &[u32]) -> Vec<Node> {
        (0..)
            .zip(weights)
            .map(|(id, &weight)| Node::new(NodeId(id), "").with_weight(Weight(weight)))
            .collect()
    }

    #[test]
    fn nodes_within_their_range_keep_what_they_have() {
        let have = [6, 6, 6, 6, 6, 6, 7, 7, 7, 7];
        assert_eq!(quotas(64, &nodes(&[1; 10]), &have), have);
    }

    #[test]
    fn from_nothing_the_largest_remainders_round_up() {
        // Exact shares are 4.57, 9.14 and 18.29 of 32.
        assert_eq!(quotas(32, &nodes(&[1, 2, 4]), &[0; 3]), [5, 9, 18]);
        assert_eq!(quotas(32, &nodes(&[0, 0]), &[3, 4]), [0, 0]);
        assert_eq!(quotas(2, &nodes(&[1, 1, 1]), &[0; 3]), [1, 1, 0]);
    }
}
