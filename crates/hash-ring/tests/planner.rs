//! From measurements to weights.

mod common;

use common::node;
use purlin_core::{Node, NodeId};
use purlin_hash_ring::WeightPlanner;

fn weights(nodes: &[Node]) -> Vec<u32> {
    nodes.iter().map(|node| node.weight.0).collect()
}

#[test]
fn shares_go_to_capacity_and_stay_there() {
    let planner = WeightPlanner::default();
    let capacity = [(NodeId(1), 10.0), (NodeId(2), 20.0), (NodeId(3), 30.0)];
    let mut nodes = planner.normalised(&[node(1, 1), node(2, 1), node(3, 1)]);
    assert_eq!(weights(&nodes), [100, 100, 100]);
    let mut last = nodes.clone();
    for _ in 0..30 {
        last = nodes.clone();
        nodes = planner.toward_capacity(&nodes, &capacity);
        // No weight moved by more than a half, and each towards its end.
        for (old, new) in last.iter().zip(&nodes) {
            assert!(
                new.weight.0 * 2 <= old.weight.0 * 3 + 2 && new.weight.0 * 2 + 2 >= old.weight.0
            );
        }
    }
    assert_eq!(nodes, last, "still moving");
    for (weight, exact) in weights(&nodes).into_iter().zip([50, 100, 150]) {
        assert!(weight.abs_diff(exact) <= exact / 20, "{nodes:?}");
    }
}

/// A closed loop: utilisation is share over strength; it ends where all are equal, without swinging.
#[test]
fn loads_become_equal() {
    let planner = WeightPlanner::default();
    let strength = [1.0, 2.0, 4.0, 4.0];
    let mut nodes = planner.normalised(&[node(1, 1), node(2, 1), node(3, 1), node(4, 1)]);
    let mut spread = f64::INFINITY;
    for _ in 0..40 {
        let total: u32 = weights(&nodes).iter().sum();
        let load: Vec<(NodeId, f64)> = nodes
            .iter()
            .zip(strength)
            .map(|(node, strength)| {
                (
                    node.id,
                    f64::from(node.weight.0) / f64::from(total) / strength,
                )
            })
            .collect();
        let most = load.iter().map(|(_, load)| *load).fold(0.0, f64::max);
        let least = load
            .iter()
            .map(|(_, load)| *load)
            .fold(f64::INFINITY, f64::min);
        assert!(
            most / least <= spread + 0.1,
            "swung from {spread} to {}",
            most / least
        );
        spread = most / least;
        nodes = planner.toward_equal_load(&nodes, &load);
    }
    assert!(spread < 1.1, "{spread}");
}

#[test]
fn small_differences_and_useless_measurements_move_nothing() {
    let planner = WeightPlanner::default().dead_band(0.05);
    let nodes = [node(1, 100), node(2, 100), node(3, 0)];
    let near = [(NodeId(1), 1.0), (NodeId(2), 1.04)];
    assert_eq!(planner.toward_capacity(&nodes, &near), nodes);
    for useless in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let values = [(NodeId(1), useless), (NodeId(9), 5.0)];
        assert_eq!(planner.toward_capacity(&nodes, &values), nodes, "{useless}");
        assert_eq!(
            planner.toward_equal_load(&nodes, &values),
            nodes,
            "{useless}"
        );
    }
    assert!(planner.toward_capacity(&[], &near).is_empty());
    assert!(planner.normalised(&[]).is_empty());
}

#[test]
fn weight_zero_stays_and_others_never_reach_it() {
    let planner = WeightPlanner::default().damping(1.0).most_change(1.0);
    let nodes = [node(1, 1), node(2, 0), node(3, 1)];
    let capacity = [(NodeId(1), 1e-12), (NodeId(2), 5.0), (NodeId(3), 1e12)];
    let next = planner.toward_capacity(&nodes, &capacity);
    assert_eq!(next[1].weight.0, 0);
    assert_eq!(next[0].weight.0, 1);
    assert!(next[2].weight.0 > 100);
}

/// Settings outside their range are brought into it.
#[test]
fn settings_are_clamped() {
    let frozen = WeightPlanner::default().damping(f64::NAN);
    let nodes = [node(1, 100), node(2, 100)];
    let next = frozen.toward_capacity(&nodes, &[(NodeId(1), 1.0), (NodeId(2), 9.0)]);
    assert_eq!(weights(&next), [100, 100]);
    let coarse = WeightPlanner::default().scale(0).normalised(&nodes);
    assert_eq!(weights(&coarse), [1, 1]);
}
