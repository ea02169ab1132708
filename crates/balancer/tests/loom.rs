//! Every interleaving of picks, ends of picks and a reader, under loom:
//! `RUSTFLAGS="--cfg purlin_loom" cargo test --release -p purlin-balancer --test loom`.
#![cfg(purlin_loom)]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;

use loom::thread;
use purlin_balancer::{Balancer, Health, Node, NodeId, Policy};

fn balancer(n: u64) -> Arc<Balancer> {
    let nodes = (0..n).map(|id| Node::new(NodeId(id), id.to_string()));
    Arc::new(
        Balancer::builder()
            .policy(Policy::RoundRobin)
            .seed(0)
            .build(nodes)
            .unwrap(),
    )
}

/// A reader never counts an end without its start, nor more than are alive together.
#[test]
fn in_flight_is_never_below_zero_nor_above_the_alive() {
    loom::model(|| {
        let balancer = balancer(1);
        let pickers: Vec<_> = (0..2)
            .map(|_| {
                let balancer = Arc::clone(&balancer);
                thread::spawn(move || drop(balancer.pick().unwrap()))
            })
            .collect();
        let endpoints = balancer.endpoints();
        let endpoint = endpoints.get(NodeId(0)).unwrap();
        assert!(
            endpoint.in_flight() <= 2,
            "an end seen before its start wraps or saturates"
        );
        for picker in pickers {
            picker.join().unwrap();
        }
        assert_eq!((endpoint.picks(), endpoint.in_flight()), (2, 0));
    });
}

/// A change of health and a pick at once: the counts follow the node, whichever snapshot the pick saw.
#[test]
fn counts_survive_a_change_of_snapshot() {
    loom::model(|| {
        let balancer = balancer(2);
        let picker = {
            let balancer = Arc::clone(&balancer);
            thread::spawn(move || balancer.pick().unwrap())
        };
        balancer.set_health(NodeId(0), Health::Draining);
        let pick = picker.join().unwrap();
        assert_eq!(balancer.stats().in_flight, 1);
        drop(pick);
        assert_eq!(balancer.stats().in_flight, 0);
        assert_eq!(balancer.pick().unwrap().id(), NodeId(1));
    });
}
