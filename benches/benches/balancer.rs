//! The balancer: a pick and its return, by policy and number of servers, alone and from two threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use purlin_balancer::{Balancer, Node, NodeId, Policy};

fn balancer(policy: Policy, nodes: u64) -> Balancer {
    Balancer::new(
        policy,
        (0..nodes).map(|node| Node::new(NodeId(node), format!("node-{node}"))),
    )
    .expect("distinct nodes make a balancer")
}

fn pick(c: &mut Criterion) {
    let mut group = c.benchmark_group("balancer");
    for nodes in [4, 100] {
        for (name, policy) in [
            ("round robin", Policy::RoundRobin),
            ("two choices", Policy::PowerOfTwoChoices),
        ] {
            let balancer = balancer(policy, nodes);
            group.bench_function(BenchmarkId::new(name, nodes), |b| {
                b.iter(|| balancer.pick().expect("all are up").id());
            });
        }
        let balancer = balancer(Policy::PowerOfTwoChoices, nodes);
        group.bench_function(BenchmarkId::new("sticky, kept", nodes), |b| {
            b.iter(|| {
                assert!(
                    !balancer
                        .pick_sticky(Some(NodeId(1)))
                        .expect("all are up")
                        .moved()
                )
            });
        });
    }
    group.finish();
}

/// The same pick while another thread picks as fast as it can.
fn contended(c: &mut Criterion) {
    let balancer = balancer(Policy::PowerOfTwoChoices, 4);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(balancer.pick());
            }
        });
        c.bench_function(
            "balancer/two choices, 4 nodes, beside another thread",
            |b| {
                b.iter(|| balancer.pick().expect("all are up").id());
            },
        );
        stop.store(true, Ordering::Relaxed);
    });
}

criterion_group!(benches, pick, contended);
criterion_main!(benches);
