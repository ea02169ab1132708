//! What a balancer promises about who is picked, and what is counted.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![cfg(not(any(purlin_loom, purlin_shuttle)))]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use purlin_balancer::{
    Balancer, Endpoints, EndpointsError, Health, Node, NodeId, NoneUp, Pick, PickError, Policy,
    Weight,
};
use purlin_core::{Meter, Safety};

static_assertions::assert_impl_all!(Balancer: Send, Sync);
static_assertions::assert_impl_all!(Pick: Send, Sync);
static_assertions::assert_eq_size!(Pick, usize);

const POLICIES: [Policy; 2] = [Policy::RoundRobin, Policy::PowerOfTwoChoices];

fn nodes(n: u64) -> Vec<Node> {
    (1..=n)
        .map(|id| Node::new(NodeId(id), format!("node-{id}")))
        .collect()
}

fn balancer(policy: Policy, n: u64) -> Balancer {
    Balancer::builder()
        .policy(policy)
        .seed(0)
        .build(nodes(n))
        .unwrap()
}

fn in_flight(balancer: &Balancer) -> Vec<u64> {
    balancer
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.in_flight())
        .collect()
}

/// How often each node is picked in `turns` picks that end at once.
fn counts(balancer: &Balancer, turns: usize) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..turns {
        *counts.entry(balancer.pick().unwrap().id().0).or_default() += 1;
    }
    counts
}

#[test]
fn round_robin_gives_the_smooth_weighted_order() {
    let weights = [(1, 5), (2, 1), (3, 1)];
    let nodes = weights.map(|(id, weight)| Node::new(NodeId(id), "").with_weight(Weight(weight)));
    let balancer = Balancer::builder()
        .policy(Policy::RoundRobin)
        .seed(0)
        .build(nodes)
        .unwrap();
    let order: Vec<u64> = (0..14).map(|_| balancer.pick().unwrap().id().0).collect();
    assert_eq!(order, [1, 1, 2, 1, 3, 1, 1, 1, 1, 2, 1, 3, 1, 1]);
}

#[test]
fn the_order_of_the_list_does_not_matter_and_the_seed_repeats_a_run() {
    for policy in POLICIES {
        let build = |nodes| {
            Balancer::builder()
                .policy(policy)
                .seed(42)
                .build(nodes)
                .unwrap()
        };
        let reversed: Vec<Node> = nodes(7).into_iter().rev().collect();
        let (one, other) = (build(nodes(7)), build(reversed));
        for _ in 0..100 {
            assert_eq!(one.pick().unwrap().id(), other.pick().unwrap().id());
        }
    }
}

#[test]
fn round_robin_passes_over_what_is_ruled_out_and_keeps_its_order() {
    let balancer = balancer(Policy::RoundRobin, 4);
    let order: Vec<u64> = (0..6)
        .map(|_| balancer.pick_excluding(&[NodeId(2)]).unwrap().id().0)
        .collect();
    assert_eq!(order, [1, 3, 4, 1, 3, 4]);
}

#[test]
fn two_choices_prefer_the_endpoint_with_less_in_flight() {
    let balancer = balancer(Policy::PowerOfTwoChoices, 2);
    // With two endpoints both are always drawn, so picks that stay alive alternate.
    let held: Vec<Pick> = (0..100).map(|_| balancer.pick().unwrap()).collect();
    assert_eq!(in_flight(&balancer), [50, 50]);
    drop(held);
    assert_eq!(in_flight(&balancer), [0, 0]);
}

#[test]
fn two_choices_hold_requests_in_proportion_to_weight() {
    let nodes =
        [1u32, 2, 5].map(|weight| Node::new(NodeId(weight.into()), "").with_weight(Weight(weight)));
    let balancer = Balancer::builder().seed(3).build(nodes).unwrap();
    let held: Vec<Pick> = (0..8_000).map(|_| balancer.pick().unwrap()).collect();
    let held_by: Vec<u64> = in_flight(&balancer);
    for (count, due) in held_by.iter().zip([1_000u64, 2_000, 5_000]) {
        assert!(count.abs_diff(due) <= 10, "{held_by:?}");
    }
    drop(held);
}

/// Regression list B3: every state of five endpoints, each up, draining, down or without weight, under every
/// policy and both answers to nobody being up.
#[test]
fn regress_b3_every_state_of_five_endpoints_has_a_defined_answer() {
    const STATES: usize = 4;
    let describe = |state: usize| match state {
        0 => (Health::Up, Weight::ONE),
        1 => (Health::Draining, Weight::ONE),
        2 => (Health::Down, Weight::ONE),
        _ => (Health::Up, Weight::ZERO),
    };
    for (policy, none_up) in POLICIES
        .into_iter()
        .flat_map(|p| [(p, NoneUp::Refuse), (p, NoneUp::Spread)])
    {
        for combination in 0..STATES.pow(5) {
            let states: Vec<(Health, Weight)> = (0..5)
                .map(|i| describe(combination / STATES.pow(i) % STATES))
                .collect();
            let nodes = nodes(5)
                .into_iter()
                .zip(&states)
                .map(|(node, state)| node.with_weight(state.1));
            let balancer = Balancer::builder()
                .policy(policy)
                .none_up(none_up)
                .seed(9)
                .build(nodes)
                .unwrap();
            for (id, state) in (1..).zip(&states) {
                assert_eq!(balancer.set_health(NodeId(id), state.0), Some(Health::Up));
            }
            let having = |health| {
                let have = move |state: &(Health, Weight)| state.0 == health && !state.1.is_zero();
                (1..)
                    .zip(states.clone())
                    .filter(|(_, state)| have(state))
                    .map(|(id, _)| id)
                    .collect::<Vec<u64>>()
            };
            let (up, draining, down) = (
                having(Health::Up),
                having(Health::Draining),
                having(Health::Down),
            );
            let expected = match none_up {
                NoneUp::Refuse => vec![up],
                NoneUp::Spread => vec![up, draining.clone(), down.clone()],
            };
            let expected = expected
                .into_iter()
                .find(|level| !level.is_empty())
                .unwrap_or_default();
            if expected.is_empty() {
                let weightless = 5 - draining.len() - down.len();
                let (draining, down) = (draining.len(), down.len());
                let error = PickError::NoneUp {
                    draining,
                    down,
                    weightless,
                };
                assert_eq!(
                    balancer.pick().unwrap_err(),
                    error,
                    "{policy:?} {none_up:?} {states:?}"
                );
                continue;
            }
            // Forty picks of at most five candidates reach each of them: by turn certainly, and by chance
            // under the fixed seed, since those that stay alive make way for the others.
            let held: Vec<Pick> = (0..40).map(|_| balancer.pick().unwrap()).collect();
            let mut picked: Vec<u64> = held.iter().map(|pick| pick.id().0).collect();
            picked.sort_unstable();
            picked.dedup();
            assert_eq!(picked, expected, "{policy:?} {none_up:?} {states:?}");
        }
    }
}

#[test]
fn an_empty_balancer_says_so() {
    for policy in POLICIES {
        let empty = balancer(policy, 0);
        assert_eq!(empty.pick().unwrap_err(), PickError::NoEndpoints);
        assert_eq!(
            empty.pick_sticky(Some(NodeId(1))).unwrap_err(),
            PickError::NoEndpoints
        );
        assert_eq!(empty.stats().refused, 2);
        empty.set_endpoints(nodes(1)).unwrap();
        assert_eq!(empty.pick().unwrap().id(), NodeId(1));
    }
}

#[test]
fn what_was_tried_is_not_picked_again() {
    for policy in POLICIES {
        for n in 1..=6 {
            let balancer = balancer(policy, n);
            let mut tried = Vec::new();
            for _ in 0..n {
                let pick = balancer.pick_excluding(&tried).unwrap();
                assert!(!tried.contains(&pick.id()));
                tried.push(pick.id());
            }
            let error = balancer.pick_excluding(&tried).unwrap_err();
            assert_eq!(
                error,
                PickError::AllExcluded {
                    candidates: n as usize
                }
            );
            assert_eq!(error.retry().safety, Safety::Never);
            assert_eq!(
                in_flight(&balancer),
                vec![0; n as usize],
                "a refusal counts nothing"
            );
        }
    }
}

/// A heavy endpoint fills whole stretches of the round, and ruling it out must not hide the others.
#[test]
fn ruling_out_the_heaviest_leaves_the_others_balanced() {
    for policy in POLICIES {
        let weights = [(1, 10_000), (2, 1), (3, 1), (4, 1)];
        let nodes =
            weights.map(|(id, weight)| Node::new(NodeId(id), "").with_weight(Weight(weight)));
        let balancer = Balancer::builder()
            .policy(policy)
            .seed(1)
            .build(nodes)
            .unwrap();
        let held: Vec<Pick> = (0..300)
            .map(|_| balancer.pick_excluding(&[NodeId(1)]).unwrap())
            .collect();
        assert_eq!(in_flight(&balancer), [0, 100, 100, 100], "{policy:?}");
        drop(held);
    }
}

#[test]
fn a_predicate_may_call_the_balancer_and_may_panic() {
    for policy in POLICIES {
        let balancer = balancer(policy, 3);
        let pick = balancer.pick_where(|endpoint| {
            balancer.set_health(NodeId(3), Health::Down);
            balancer.pick().unwrap().id() != endpoint.id() || endpoint.id() == NodeId(1)
        });
        drop(pick);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            balancer.pick_where(|_| panic!("on purpose"))
        }));
        assert!(panicked.is_err());
        assert_eq!(in_flight(&balancer), [0, 0, 0]);
        assert!(balancer.pick().is_ok());
    }
}

/// Regression list B1: a pick stops counting however its holder ends.
#[test]
fn regress_b1_panic_and_cancel_release_the_count() {
    let balancer = balancer(Policy::RoundRobin, 2);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _pick = balancer.pick().unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(in_flight(&balancer), [0, 0]);

    let waits = async {
        let _pick = balancer.pick().unwrap();
        std::future::pending::<()>().await;
    };
    let mut request = Box::pin(waits);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(request.as_mut().poll(&mut context).is_pending());
    assert_eq!(balancer.stats().in_flight, 1);
    drop(request);
    assert_eq!(balancer.stats().in_flight, 0);
}

#[test]
fn one_node_can_be_asked_for_by_name() {
    let balancer = balancer(Policy::RoundRobin, 2);
    balancer
        .set_endpoints(
            nodes(2)
                .into_iter()
                .map(|node| node.with_weight(Weight::ZERO)),
        )
        .unwrap();
    assert_eq!(
        balancer.pick_node(NodeId(2)).unwrap().id(),
        NodeId(2),
        "weight is for sharing out"
    );
    balancer.set_health(NodeId(2), Health::Draining);
    assert!(balancer.pick_node(NodeId(2)).is_ok());
    balancer.set_health(NodeId(2), Health::Down);
    assert_eq!(
        balancer.pick_node(NodeId(2)).unwrap_err(),
        PickError::NodeDown { node: NodeId(2) }
    );
    assert_eq!(
        balancer.pick_node(NodeId(7)).unwrap_err(),
        PickError::UnknownNode { node: NodeId(7) }
    );
    let stats = balancer.stats();
    assert_eq!((stats.refused, stats.picks, stats.in_flight), (2, 2, 0));
}

#[test]
fn counters_survive_a_change_of_membership_and_guards_survive_removal() {
    let balancer = balancer(Policy::RoundRobin, 3);
    let held: Vec<Pick> = (0..6).map(|_| balancer.pick().unwrap()).collect();
    balancer.set_health(NodeId(2), Health::Draining);
    // Node 1 stays as it was, 2 changes weight and name, 3 goes, 4 comes.
    balancer
        .set_endpoints([
            Node::new(NodeId(1), "node-1"),
            Node::new(NodeId(2), "renamed").with_weight(Weight(7)),
            Node::new(NodeId(4), "node-4"),
        ])
        .unwrap();
    assert_eq!(in_flight(&balancer), [2, 2, 0]);
    let endpoints = balancer.endpoints();
    assert_eq!(
        endpoints.get(NodeId(2)).unwrap().health(),
        Health::Draining,
        "health is kept"
    );
    assert_eq!(endpoints.get(NodeId(2)).unwrap().node().name, "renamed");
    assert!(endpoints.get(NodeId(3)).is_none());
    let (gone, kept): (Vec<Pick>, Vec<Pick>) =
        held.into_iter().partition(|pick| pick.id() == NodeId(3));
    assert_eq!(gone[0].node().name, "node-3");
    drop(gone);
    assert_eq!(
        kept.iter()
            .filter(|pick| pick.node().name == "node-2")
            .count(),
        2,
        "the name of its time"
    );
    drop(kept);
    assert_eq!(in_flight(&balancer), [0, 0, 0]);
    assert_eq!(
        balancer.stats().picks,
        6,
        "the picks of the node that went are not forgotten"
    );
    for _ in 0..10 {
        assert!([NodeId(1), NodeId(4)].contains(&balancer.pick().unwrap().id()));
    }
    balancer.set_endpoints(nodes(3)).unwrap();
    assert_eq!(
        balancer.endpoints().get(NodeId(3)).unwrap().picks(),
        0,
        "back is new"
    );
}

#[test]
fn a_bad_list_changes_nothing() {
    let balancer = balancer(Policy::RoundRobin, 2);
    let twice = [nodes(3), nodes(1)].concat();
    assert_eq!(
        balancer.set_endpoints(twice).unwrap_err(),
        EndpointsError::DuplicateNode(NodeId(1))
    );
    let many = nodes(Endpoints::MAX as u64 + 1);
    let error = balancer.set_endpoints(many).unwrap_err();
    assert_eq!(error, EndpointsError::TooMany(Endpoints::MAX + 1));
    assert_eq!(
        error.to_string(),
        "65537 endpoints are more than a balancer holds (65536)"
    );
    assert_eq!(error.retry().safety, Safety::Never);
    assert_eq!(balancer.endpoints().len(), 2);
    assert!(Balancer::new(Policy::RoundRobin, [nodes(1), nodes(1)].concat()).is_err());
}

#[test]
fn the_health_of_an_unknown_node_is_refused() {
    let balancer = balancer(Policy::RoundRobin, 1);
    assert_eq!(balancer.set_health(NodeId(9), Health::Down), None);
    assert_eq!(
        balancer.set_health(NodeId(1), Health::Down),
        Some(Health::Up)
    );
    assert_eq!(
        balancer.set_health(NodeId(1), Health::Up),
        Some(Health::Down)
    );
}

#[test]
fn extreme_weights_are_no_trouble() {
    for policy in POLICIES {
        let nodes = [(1, u32::MAX), (2, u32::MAX), (3, 1), (4, 0)]
            .map(|(id, weight)| Node::new(NodeId(id), "").with_weight(Weight(weight)));
        let balancer = Balancer::builder()
            .policy(policy)
            .seed(0)
            .build(nodes)
            .unwrap();
        let counts = counts(&balancer, 40_000);
        assert!(!counts.contains_key(&4));
        assert!(counts[&1] > 18_000 && counts[&2] > 18_000, "{counts:?}");
    }
}

#[test]
fn the_largest_fleet_is_served() {
    for policy in POLICIES {
        let balancer = balancer(policy, Endpoints::MAX as u64);
        let mut seen: Vec<u64> = (0..1_000)
            .map(|_| balancer.pick().unwrap().id().0)
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 900, "{policy:?} spreads: {}", seen.len());
    }
}

#[test]
fn counters_can_be_pulled() {
    let balancer = balancer(Policy::RoundRobin, 2);
    let _held = balancer.pick().unwrap();
    let mut lines = Vec::new();
    balancer
        .stats()
        .read(&mut |reading| lines.push(format!("{} {}", reading.name, reading.value)));
    assert_eq!(
        lines,
        [
            "purlin_balancer_picks_total 1",
            "purlin_balancer_kept_total 0",
            "purlin_balancer_moved_total 0",
            "purlin_balancer_refused_total 0",
            "purlin_balancer_in_flight_requests 1",
            "purlin_balancer_endpoints 2",
            "purlin_balancer_candidates 2",
        ]
    );
    let total = Cell::new(0);
    for endpoint in balancer.endpoints().iter() {
        endpoint.read(&mut |_| total.set(total.get() + 1));
    }
    assert_eq!(total.get(), 8);
    assert!(format!("{balancer:?}").contains("RoundRobin"));
}

#[test]
fn a_refusal_that_time_may_heal_says_when_to_ask_again() {
    for error in [
        PickError::NoEndpoints,
        PickError::NoneUp {
            draining: 0,
            down: 1,
            weightless: 0,
        },
        PickError::NodeDown { node: NodeId(1) },
    ] {
        assert!(error.retry().delay(false) > Some(Duration::ZERO), "{error}");
    }
}
