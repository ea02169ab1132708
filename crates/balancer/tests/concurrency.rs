//! Many threads on one balancer: nothing is lost, nothing is seen half changed.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![cfg(not(any(purlin_loom, purlin_shuttle)))]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use purlin_balancer::{Balancer, Health, Node, NodeId, PickError, Policy, Weight};

const THREADS: usize = 4;
const PICKS: usize = if cfg!(miri) { 50 } else { 20_000 };

fn nodes(ids: std::ops::Range<u64>, weight: u32) -> impl Iterator<Item = Node> {
    ids.map(move |id| Node::new(NodeId(id), id.to_string()).with_weight(Weight(weight)))
}

#[test]
fn every_pick_is_counted_once_and_round_robin_stays_exact() {
    let balancer = Balancer::new(Policy::RoundRobin, nodes(0..5, 1)).unwrap();
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                (0..PICKS).for_each(|_| drop(balancer.pick().unwrap()));
            });
        }
    });
    let per_endpoint = (THREADS * PICKS / 5) as u64;
    for endpoint in balancer.endpoints().iter() {
        assert_eq!((endpoint.picks(), endpoint.in_flight()), (per_endpoint, 0));
    }
}

/// Membership flips between two disjoint fleets while others pick. Each pick is of one of them, a call that
/// starts after a flip never sees the fleet before it, and the counts end at zero.
#[test]
fn a_change_is_seen_whole_or_not_at_all() {
    for policy in [Policy::RoundRobin, Policy::PowerOfTwoChoices] {
        let balancer = Balancer::new(policy, nodes(0..3, 1)).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let seen = balancer.endpoints();
                        let (low, high): (Vec<u64>, Vec<u64>) = seen
                            .iter()
                            .map(|endpoint| endpoint.id().0)
                            .partition(|&id| id < 3);
                        assert!(
                            low.len() == 3 && high.is_empty() || low.is_empty() && high.len() == 4
                        );
                        assert!(balancer.pick().unwrap().endpoint().in_flight() >= 1);
                    }
                });
            }
            for _ in 0..PICKS / 100 {
                balancer.set_endpoints(nodes(100..104, 3)).unwrap();
                assert!(balancer.pick().unwrap().id().0 >= 100);
                balancer.set_endpoints(nodes(0..3, 1)).unwrap();
                assert!(balancer.pick().unwrap().id().0 < 3);
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(balancer.stats().in_flight, 0);
    }
}

/// Two writers, one of membership and one of health: neither undoes the other.
#[test]
fn no_change_is_lost_between_two_writers() {
    let balancer = Balancer::new(Policy::PowerOfTwoChoices, nodes(0..4, 1)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for weight in 1..=(PICKS / 20) as u32 {
                balancer.set_endpoints(nodes(0..4, weight)).unwrap();
            }
        });
        scope.spawn(|| {
            for _ in 0..PICKS / 20 {
                assert_eq!(
                    balancer.set_health(NodeId(2), Health::Down),
                    Some(Health::Up)
                );
                assert_eq!(
                    balancer.set_health(NodeId(2), Health::Up),
                    Some(Health::Down)
                );
            }
            balancer.set_health(NodeId(3), Health::Down);
        });
    });
    let endpoints = balancer.endpoints();
    let healths: Vec<Health> = endpoints.iter().map(|endpoint| endpoint.health()).collect();
    assert_eq!(healths, [Health::Up, Health::Up, Health::Up, Health::Down]);
    assert!(
        endpoints
            .iter()
            .all(|endpoint| endpoint.weight().0 == (PICKS / 20) as u32)
    );
}

/// A node that goes down gets no pick from any call that starts afterwards.
#[test]
fn down_means_down_for_every_later_pick() {
    let balancer = Balancer::new(Policy::PowerOfTwoChoices, nodes(0..2, 1)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                match balancer.pick() {
                    Ok(pick) => assert_eq!(pick.health(), Health::Up),
                    Err(error) => assert!(matches!(error, PickError::NoneUp { .. })),
                }
            }
        });
        for _ in 0..PICKS / 20 {
            balancer.set_health(NodeId(0), Health::Down);
            assert_eq!(balancer.pick().unwrap().id(), NodeId(1));
            balancer.set_health(NodeId(0), Health::Up);
        }
        done.store(true, Ordering::Relaxed);
    });
}
