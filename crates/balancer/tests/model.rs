//! Random operations beside a naive balancer: a list of nodes and a count for each.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![cfg(not(any(purlin_loom, purlin_shuttle)))]

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use purlin_balancer::{
    Balancer, Health, Node, NodeId, NoneUp, Pick, PickError, Policy, Stickiness, Weight,
};

#[derive(Clone, Debug)]
enum Op {
    Pick { tried: Vec<u64> },
    Sticky { bound: u64, tried: Vec<u64> },
    Drop(usize),
    SetHealth(u64, Health),
    SetEndpoints(BTreeMap<u64, u32>),
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0u64..8;
    let health = prop_oneof![Just(Health::Up), Just(Health::Draining), Just(Health::Down)];
    prop_oneof![
        4 => vec(node.clone(), 0..4).prop_map(|tried| Op::Pick { tried }),
        4 => (node.clone(), vec(node.clone(), 0..3)).prop_map(|(bound, tried)| Op::Sticky { bound, tried }),
        4 => any::<usize>().prop_map(Op::Drop),
        2 => (node.clone(), health).prop_map(|(node, health)| Op::SetHealth(node, health)),
        1 => prop::collection::btree_map(node, 0u32..4, 0..6).prop_map(Op::SetEndpoints),
    ]
}

#[derive(Clone, Debug)]
struct Entry {
    weight: u32,
    health: Health,
    in_flight: u64,
    /// Which membership of this node the counts belong to.
    membership: u64,
}

#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<u64, Entry>,
    memberships: u64,
}

impl Model {
    fn candidates(&self, none_up: NoneUp) -> Vec<u64> {
        let at = |health| {
            let fits = move |entry: &Entry| entry.weight > 0 && entry.health == health;
            self.entries
                .iter()
                .filter(|(_, entry)| fits(entry))
                .map(|(&id, _)| id)
                .collect::<Vec<_>>()
        };
        match (at(Health::Up), none_up) {
            (up, NoneUp::Refuse) => up,
            (up, NoneUp::Spread) if !up.is_empty() => up,
            (_, NoneUp::Spread) => {
                let draining = at(Health::Draining);
                if draining.is_empty() {
                    at(Health::Down)
                } else {
                    draining
                }
            }
        }
    }

    fn check_refusal(&self, error: PickError, candidates: &[u64]) {
        match error {
            PickError::NoEndpoints => assert!(self.entries.is_empty()),
            PickError::NoneUp {
                draining,
                down,
                weightless,
            } => {
                assert!(candidates.is_empty());
                assert_eq!(draining + down + weightless, self.entries.len());
            }
            PickError::AllExcluded { candidates: n } => assert!(n == candidates.len() && n > 0),
            other => panic!("{other}"),
        }
    }

    fn takes_bound(&self, node: u64) -> bool {
        self.entries
            .get(&node)
            .is_some_and(|entry| entry.weight > 0 && entry.health != Health::Down)
    }
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(400)))]

    #[test]
    fn a_balancer_agrees_with_the_naive_one(
        ops in vec(op(), 1..120),
        seed: u64,
        turns: bool,
        spread: bool,
    ) {
        let policy = if turns { Policy::RoundRobin } else { Policy::PowerOfTwoChoices };
        let none_up = if spread { NoneUp::Spread } else { NoneUp::Refuse };
        let balancer = Balancer::builder().policy(policy).none_up(none_up).seed(seed).build([]).unwrap();
        let mut model = Model::default();
        let mut held: Vec<(Pick, u64)> = Vec::new();
        for op in ops {
            match op {
                Op::Pick { tried } => {
                    let tried: Vec<NodeId> = tried.into_iter().map(NodeId).collect();
                    let candidates = model.candidates(none_up);
                    match balancer.pick_excluding(&tried) {
                        Ok(pick) => {
                            prop_assert!(candidates.contains(&pick.id().0) && !tried.contains(&pick.id()));
                            let entry = model.entries.get_mut(&pick.id().0).unwrap();
                            entry.in_flight += 1;
                            held.push((pick, entry.membership));
                        }
                        Err(error) => {
                            prop_assert!(candidates.iter().all(|&node| tried.contains(&NodeId(node))));
                            model.check_refusal(error, &candidates);
                        }
                    }
                }
                Op::Sticky { bound, tried } => {
                    let tried: Vec<NodeId> = tried.into_iter().map(NodeId).collect();
                    let candidates = model.candidates(none_up);
                    let stays = model.takes_bound(bound) && !tried.contains(&NodeId(bound));
                    match balancer.pick_sticky_excluding(Some(NodeId(bound)), &tried) {
                        Ok(sticky) => {
                            let node = sticky.pick.id().0;
                            prop_assert!(!tried.contains(&sticky.pick.id()));
                            let expected = if stays { node == bound } else { candidates.contains(&node) };
                            prop_assert!(expected, "went to {}", node);
                            let outcome = match node == bound {
                                true => Stickiness::Kept,
                                false => Stickiness::Moved { from: NodeId(bound) },
                            };
                            prop_assert_eq!(sticky.outcome, outcome);
                            let entry = model.entries.get_mut(&node).unwrap();
                            entry.in_flight += 1;
                            held.push((sticky.pick, entry.membership));
                        }
                        Err(error) => {
                            prop_assert!(!stays);
                            model.check_refusal(error, &candidates);
                        }
                    }
                }
                Op::Drop(which) => {
                    if !held.is_empty() {
                        let (pick, membership) = held.swap_remove(which % held.len());
                        let entry = model.entries.get_mut(&pick.id().0);
                        if let Some(entry) = entry.filter(|entry| entry.membership == membership) {
                            entry.in_flight -= 1;
                        }
                    }
                }
                Op::SetHealth(node, health) => {
                    let before = model.entries.get_mut(&node).map(|entry| {
                        std::mem::replace(&mut entry.health, health)
                    });
                    prop_assert_eq!(balancer.set_health(NodeId(node), health), before);
                }
                Op::SetEndpoints(weights) => {
                    let nodes = weights.iter().map(|(&id, &weight)| {
                        Node::new(NodeId(id), id.to_string()).with_weight(Weight(weight))
                    });
                    balancer.set_endpoints(nodes).unwrap();
                    let known = std::mem::take(&mut model.entries);
                    for (id, weight) in weights {
                        model.memberships += 1;
                        let fresh = Entry {
                            weight,
                            health: Health::Up,
                            in_flight: 0,
                            membership: model.memberships,
                        };
                        let entry = known.get(&id).cloned().unwrap_or(fresh);
                        model.entries.insert(id, Entry { weight, ..entry });
                    }
                }
            }
            let endpoints = balancer.endpoints();
            let seen: Vec<(u64, u32, Health, u64)> = endpoints
                .iter()
                .map(|it| (it.id().0, it.weight().0, it.health(), it.in_flight()))
                .collect();
            let expected: Vec<(u64, u32, Health, u64)> = model
                .entries
                .iter()
                .map(|(&id, entry)| (id, entry.weight, entry.health, entry.in_flight))
                .collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
