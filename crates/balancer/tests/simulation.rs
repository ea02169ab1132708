//! What the policies are for, in virtual time: a fleet of queues under open load, several balancers that see
//! only their own requests, and the latencies that come out.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![cfg(not(any(purlin_loom, purlin_shuttle)))]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use purlin_balancer::{Balancer, Node, NodeId, Pick, Policy, Weight};
use purlin_core::Rng;

/// Requests each server works on at once; more wait in its queue.
const SLOTS: usize = 4;
const REQUESTS: usize = 60_000;
/// Mean service time of a server of speed 1, in microseconds of virtual time.
const SERVICE_US: f64 = 10_000.0;

struct Fleet<'a> {
    /// Relative speeds of the servers, which are also their weights where `weights_known`.
    speeds: &'a [u32],
    weights_known: bool,
    balancers: usize,
    /// Offered load as a share of what the whole fleet can serve.
    load: f64,
}

struct Outcome {
    p99_ms: f64,
    /// Share of the requests each server got.
    shares: Vec<f64>,
}

/// A request at a server, with the guard that counts it at its balancer.
struct Request {
    arrived_us: f64,
    _pick: Pick,
}

#[derive(Default)]
struct Server {
    running: usize,
    queue: VecDeque<Request>,
}

fn simulate(policy: Policy, fleet: &Fleet<'_>) -> Outcome {
    let mut rng = Rng::from_seed(7);
    let nodes: Vec<Node> = (0..)
        .zip(fleet.speeds)
        .map(|(id, &speed)| {
            let weight = if fleet.weights_known {
                Weight(speed)
            } else {
                Weight::ONE
            };
            Node::new(NodeId(id), format!("server-{id}")).with_weight(weight)
        })
        .collect();
    let balancers: Vec<Balancer> = (0..fleet.balancers as u64)
        .map(|seed| {
            Balancer::builder()
                .policy(policy)
                .seed(seed << 40)
                .build(nodes.clone())
                .unwrap()
        })
        .collect();
    let top_speed = f64::from(*fleet.speeds.iter().max().unwrap());
    let capacity: f64 = fleet
        .speeds
        .iter()
        .map(|&speed| f64::from(speed) / top_speed)
        .sum::<f64>()
        * SLOTS as f64;
    let gap_us = SERVICE_US / (capacity * fleet.load);

    let mut servers: Vec<Server> = fleet.speeds.iter().map(|_| Server::default()).collect();
    let mut running: Vec<Option<Request>> = Vec::new();
    let mut ends: BinaryHeap<Reverse<(u64, usize, usize)>> = BinaryHeap::new();
    let mut latencies_us: Vec<f64> = Vec::with_capacity(REQUESTS);
    let mut counts = vec![0u32; servers.len()];
    let mut now_us = 0.0;
    for turn in 0..REQUESTS {
        now_us += exponential(&mut rng, gap_us);
        while let Some(&Reverse((end_us, server, request))) = ends.peek() {
            if end_us as f64 > now_us {
                break;
            }
            ends.pop();
            let done = running[request].take().unwrap();
            latencies_us.push(end_us as f64 - done.arrived_us);
            match servers[server].queue.pop_front() {
                Some(next) => {
                    let speed = f64::from(fleet.speeds[server]) / top_speed;
                    let end = end_us as f64 + exponential(&mut rng, SERVICE_US / speed);
                    ends.push(Reverse((end as u64, server, running.len())));
                    running.push(Some(next));
                }
                None => servers[server].running -= 1,
            }
        }
        let pick = balancers[turn % balancers.len()].pick().unwrap();
        let server = pick.id().0 as usize;
        counts[server] += 1;
        let request = Request {
            arrived_us: now_us,
            _pick: pick,
        };
        if servers[server].running < SLOTS {
            servers[server].running += 1;
            let speed = f64::from(fleet.speeds[server]) / top_speed;
            let end = now_us + exponential(&mut rng, SERVICE_US / speed);
            ends.push(Reverse((end as u64, server, running.len())));
            running.push(Some(request));
        } else {
            servers[server].queue.push_back(request);
        }
    }
    latencies_us.sort_by(f64::total_cmp);
    Outcome {
        p99_ms: latencies_us[latencies_us.len() * 99 / 100] / 1_000.0,
        shares: counts
            .iter()
            .map(|&count| f64::from(count) / REQUESTS as f64)
            .collect(),
    }
}

fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -mean * (1.0 - rng.unit()).ln()
}

/// One of ten servers is ten times slower and nobody was told. Round robin drowns it; two choices find it out
/// by what piles up there.
#[test]
fn two_choices_find_out_a_slow_server() {
    let fleet = Fleet {
        speeds: &[1, 10, 10, 10, 10, 10, 10, 10, 10, 10],
        weights_known: false,
        balancers: 8,
        load: 0.7,
    };
    let blind = simulate(Policy::RoundRobin, &fleet);
    let seeing = simulate(Policy::PowerOfTwoChoices, &fleet);
    assert!(blind.shares[0] > 0.09, "{:?}", blind.shares);
    assert!(seeing.shares[0] < 0.03, "{:?}", seeing.shares);
    assert!(
        seeing.p99_ms * 10.0 < blind.p99_ms,
        "{} and {}",
        seeing.p99_ms,
        blind.p99_ms
    );
}

/// Weights that are told are worth something to both, and more to two choices.
#[test]
fn two_choices_are_no_worse_than_round_robin_under_known_weights() {
    let fleets: [&[u32]; 3] = [
        &[1, 10, 10, 10, 10, 10, 10, 10, 10, 10],
        &[1, 1, 1, 2, 2, 2, 4, 4, 4],
        &[1, 4, 4],
    ];
    for speeds in fleets {
        let fleet = Fleet {
            speeds,
            weights_known: true,
            balancers: 8,
            load: 0.7,
        };
        let turns = simulate(Policy::RoundRobin, &fleet);
        let choices = simulate(Policy::PowerOfTwoChoices, &fleet);
        assert!(
            choices.p99_ms < turns.p99_ms,
            "{speeds:?}: {} and {}",
            choices.p99_ms,
            turns.p99_ms
        );
    }
}

/// A server with half of the fleet's weight gets at least half of an idle fleet's traffic. Drawing both
/// choices evenly would leave it the fifth of the requests in which it is drawn.
#[test]
fn a_heavy_server_is_not_capped_by_the_number_of_servers() {
    let speeds = &[9, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    let fleet = Fleet {
        speeds,
        weights_known: true,
        balancers: 1,
        load: 0.1,
    };
    assert!(simulate(Policy::PowerOfTwoChoices, &fleet).shares[0] > 0.49);
}

/// Among equals the two policies are equally good.
#[test]
fn equal_servers_get_equal_shares() {
    let fleet = Fleet {
        speeds: &[1; 10],
        weights_known: false,
        balancers: 8,
        load: 0.7,
    };
    for policy in [Policy::RoundRobin, Policy::PowerOfTwoChoices] {
        let outcome = simulate(policy, &fleet);
        assert!(
            outcome
                .shares
                .iter()
                .all(|share| (share - 0.1).abs() < 0.01),
            "{:?}",
            outcome.shares
        );
    }
}
