//! Requests that would rather go to one node: sticky clients, and keys with owners.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![cfg(not(any(purlin_loom, purlin_shuttle)))]

use purlin_balancer::{
    Balancer, Health, Node, NodeId, NoneUp, Policy, Stickiness, StickyPick, Weight,
};
use purlin_core::{Placement, PlacementHash};

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

#[test]
fn a_sticky_client_stays_while_its_node_takes_bound_requests() {
    for policy in POLICIES {
        let balancer = balancer(policy, 4);
        let first = balancer.pick_sticky(None).unwrap();
        assert_eq!(first.outcome, Stickiness::New);
        assert!(first.is_new_binding() && !first.moved());
        let home = first.pick.id();
        for health in [Health::Up, Health::Draining] {
            balancer.set_health(home, health);
            let again = balancer.pick_sticky(Some(home)).unwrap();
            assert_eq!((again.pick.id(), again.outcome), (home, Stickiness::Kept));
        }
        balancer.set_health(home, Health::Down);
        let moved = balancer.pick_sticky(Some(home)).unwrap();
        assert_ne!(moved.pick.id(), home);
        assert_eq!(moved.outcome, Stickiness::Moved { from: home });
        let stats = balancer.stats();
        assert_eq!((stats.picks, stats.kept, stats.moved), (4, 2, 1));
        let endpoints = balancer.endpoints();
        assert_eq!(
            (
                endpoints.get(home).unwrap().kept(),
                endpoints.get(home).unwrap().left()
            ),
            (2, 1)
        );
    }
}

#[test]
fn new_clients_avoid_a_draining_node() {
    for policy in POLICIES {
        let balancer = balancer(policy, 2);
        balancer.set_health(NodeId(2), Health::Draining);
        for _ in 0..20 {
            assert_eq!(balancer.pick_sticky(None).unwrap().pick.id(), NodeId(1));
        }
    }
}

#[test]
fn a_sticky_client_of_an_unknown_weightless_or_tried_node_moves() {
    let balancer = balancer(Policy::PowerOfTwoChoices, 3);
    let weightless = nodes(3).into_iter().map(|node| match node.id {
        NodeId(2) => node.with_weight(Weight::ZERO),
        _ => node,
    });
    balancer.set_endpoints(weightless).unwrap();
    for (bound, tried) in [
        (NodeId(99), vec![]),
        (NodeId(2), vec![]),
        (NodeId(1), vec![NodeId(1)]),
    ] {
        let sticky = balancer.pick_sticky_excluding(Some(bound), &tried).unwrap();
        assert_eq!(sticky.outcome, Stickiness::Moved { from: bound });
        assert_ne!(sticky.pick.id(), bound);
    }
}

/// Spreading over nodes that are down may come back to the client's own, which is not a move.
#[test]
fn a_client_that_falls_back_to_its_own_node_has_not_moved() {
    let balancer = Balancer::builder()
        .none_up(NoneUp::Spread)
        .build(nodes(1))
        .unwrap();
    balancer.set_health(NodeId(1), Health::Down);
    let sticky = balancer.pick_sticky(Some(NodeId(1))).unwrap();
    assert_eq!(sticky.outcome, Stickiness::Kept);
    assert_eq!(sticky.pick.health(), Health::Down);
}

/// Owner by the lowest bits of the hash, then the next nodes.
struct Cyclic {
    hash: PlacementHash,
    n: u64,
}

impl Placement for Cyclic {
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.hash.of_bytes(key)
    }
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        (self.n > 0).then(|| NodeId(1 + hash % self.n))
    }
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let n = into.len().min(self.n as usize);
        for (step, node) in (0..).zip(&mut into[..n]) {
            *node = NodeId(1 + (hash % self.n + step) % self.n);
        }
        n
    }
}

#[test]
fn a_key_goes_to_its_owner_and_in_trouble_to_the_next() {
    let balancer = balancer(Policy::PowerOfTwoChoices, 6);
    let placement = Cyclic {
        hash: PlacementHash::default(),
        n: 6,
    };
    for key in 0..100u32 {
        let key = key.to_le_bytes();
        let mut owners = [NodeId(0); Balancer::KEY_OWNERS];
        placement.replicas(&key, &mut owners);
        let at_home = balancer.pick_for_key(&placement, &key).unwrap();
        assert_eq!((at_home.pick.id(), at_home.moved()), (owners[0], false));
        for (n_gone, next) in (1..).zip(&owners[1..]) {
            balancer.set_health(
                owners[n_gone - 1],
                [Health::Down, Health::Draining][n_gone % 2],
            );
            let fallen = balancer.pick_for_key(&placement, &key).unwrap();
            assert_eq!(fallen.pick.id(), *next);
            assert_eq!(fallen.outcome, Stickiness::Moved { from: owners[0] });
        }
        balancer.set_health(owners[3], Health::Down);
        let anybody: StickyPick = balancer.pick_for_key(&placement, &key).unwrap();
        assert!(!owners.contains(&anybody.pick.id()));
        for owner in owners {
            balancer.set_health(owner, Health::Up);
        }
    }
    let nobody = Cyclic { n: 0, ..placement };
    assert_eq!(
        balancer.pick_for_key(&nobody, b"k").unwrap().outcome,
        Stickiness::New
    );
    let _object: &dyn Placement = &nobody;
    assert!(
        balancer.pick_for_key(_object, b"k").is_ok(),
        "a placement chosen at run time will do"
    );
}
