//! R10: bounded load.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Barrier;

use common::{hashes, node, nodes};
use proptest::prelude::*;
use purlin_core::{NodeId, Placement, Rng};
use purlin_hash_ring::{BoundError, BoundedLoad, BuildError, Ring, SlotTable};

fn bounded(fleet: Vec<purlin_core::Node>, bound: f64) -> BoundedLoad<SlotTable> {
    let table = SlotTable::builder()
        .slot_bits(10)
        .nodes(fleet.clone())
        .build()
        .unwrap();
    BoundedLoad::new(table, fleet, bound).unwrap()
}

#[test]
fn ring_r10_an_idle_fleet_places_as_its_placement_does() {
    let bounded = bounded(nodes(9), 1.25);
    for hash in hashes(500) {
        let held = bounded.acquire_hash(hash).unwrap();
        assert_eq!(Some(held.node()), bounded.placement().owner_of_hash(hash));
    }
    assert_eq!(bounded.total(), 0);
}

proptest! {
    #![proptest_config(common::cases(60, 3))]

    /// However requests come and go and however hot a key is, at the moment of each choice the chosen node
    /// is within `⌈c · total · w / W⌉`, and counts are what the guards say.
    #[test]
    fn ring_r10_capacity_is_never_exceeded(
        weights in prop::collection::vec(0..5u32, 1..8),
        bound in 1.01..3.0f64,
        steps in prop::collection::vec((any::<bool>(), 0..4u64), 1..200),
    ) {
        let fleet: Vec<_> = (0..).zip(&weights).map(|(id, &weight)| node(id, weight)).collect();
        let total_weight: u32 = weights.iter().sum();
        let bounded = bounded(fleet, bound);
        let mut held = Vec::new();
        let mut counts = vec![0usize; weights.len()];
        for (arrives, key) in steps {
            if arrives || held.is_empty() {
                let Some(guard) = bounded.acquire(&key) else {
                    prop_assert_eq!(total_weight, 0);
                    continue;
                };
                let index = guard.node().0 as usize;
                counts[index] += 1;
                held.push(guard);
                let share = f64::from(weights[index]) / f64::from(total_weight);
                let capacity = (bound * held.len() as f64 * share).ceil();
                prop_assert!(counts[index] as f64 <= capacity, "{} of {} at a node", counts[index], held.len());
            } else {
                let guard = held.swap_remove(key as usize % held.len());
                counts[guard.node().0 as usize] -= 1;
            }
            prop_assert_eq!(bounded.total(), held.len());
            for (id, &count) in (0..).zip(&counts) {
                prop_assert_eq!(bounded.load(NodeId(id)), Some(count));
            }
        }
    }
}

/// What a full node cannot take goes to all others alike: no neighbour takes it all.
#[test]
fn ring_r10_overflow_spreads_and_does_not_cascade() {
    let fleet = nodes(11);
    let bounded = bounded(fleet, 1.5);
    // Fills the fleet evenly, and then the owner of one hot key.
    let background: Vec<_> = hashes(4_000)
        .map(|hash| bounded.acquire_hash(hash).unwrap())
        .collect();
    let hot = bounded.placement().owner("hot").unwrap();
    let mut overflow = vec![0u32; 12];
    let mut held = Vec::new();
    for i in 0..1_000u64 {
        // Keys of the hot node only: the first that its placement gives to it.
        let hash = hashes(100_000)
            .filter(|&hash| bounded.placement().owner_of_hash(hash) == Some(hot))
            .nth(i as usize % 300);
        let guard = bounded.acquire_hash(hash.unwrap()).unwrap();
        if guard.node() != hot {
            overflow[guard.node().0 as usize] += 1;
        }
        held.push(guard);
    }
    let sum: u32 = overflow.iter().sum();
    assert!(sum > 300, "{overflow:?}");
    let most = overflow.iter().max().copied().unwrap_or(0);
    assert!(
        f64::from(most) < f64::from(sum) / 10.0 * 2.0,
        "{overflow:?}"
    );
    drop((background, held));
    assert_eq!(bounded.total(), 0);
}

/// The expected number of places tried does not grow with the number of nodes.
#[test]
fn ring_r10_probes_stay_few() {
    for n in [10u64, 300] {
        let table = SlotTable::builder()
            .slot_bits(12)
            .nodes(nodes(n))
            .build()
            .unwrap();
        let counting = Counting {
            inner: table,
            lookups: std::cell::Cell::new(0),
        };
        let bounded = BoundedLoad::new(counting, nodes(n), 1.25).unwrap();
        let held: Vec<_> = hashes(20 * n)
            .map(|hash| bounded.acquire_hash(hash).unwrap())
            .collect();
        let probes = bounded.placement().lookups.get() as f64 / held.len() as f64;
        assert!(probes < 4.0, "{n} nodes: {probes} places a key");
    }
}

struct Counting {
    inner: SlotTable,
    lookups: std::cell::Cell<usize>,
}

impl Placement for Counting {
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.inner.hash_key(key)
    }
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        self.lookups.set(self.lookups.get() + 1);
        self.inner.owner_of_hash(hash)
    }
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        self.inner.replicas_of_hash(hash, into)
    }
}

/// Threads that come and go at once: the total is right at the end, and no node was above what the bound
/// allows for the most that were held at any time, with one more for each thread.
#[test]
fn ring_r10_threads_keep_the_bound() {
    let (n_threads, rounds) = if cfg!(miri) { (2, 20) } else { (4, 3_000) };
    let bounded = bounded(nodes(4), 1.25);
    let most_held = 8 * n_threads;
    let limit = (1.25 * most_held as f64 / 4.0).ceil() as usize + n_threads;
    let start = Barrier::new(n_threads);
    std::thread::scope(|scope| {
        for thread in 0..n_threads as u64 {
            let (bounded, start) = (&bounded, &start);
            scope.spawn(move || {
                let mut rng = Rng::from_seed(thread);
                let mut held = std::collections::VecDeque::new();
                start.wait();
                for _ in 0..rounds {
                    let guard = bounded.acquire(&rng.below(2)).unwrap();
                    let load = bounded.load(guard.node()).unwrap();
                    assert!(load <= limit, "{load} of at most {limit}");
                    held.push_back(guard);
                    if held.len() == 8 {
                        held.pop_front();
                    }
                }
            });
        }
    });
    assert_eq!(bounded.total(), 0);
    assert!((1..=4).all(|id| bounded.load(NodeId(id)) == Some(0)));
}

#[test]
fn a_new_version_keeps_counting() {
    let old = bounded(nodes(3), 1.25);
    let guards: Vec<_> = hashes(30)
        .map(|hash| old.acquire_hash(hash).unwrap())
        .collect();
    let fleet = [node(2, 1), node(3, 1), node(4, 1)];
    let ring = Ring::from_nodes(fleet.clone()).unwrap();
    let new = old.with_placement(ring, fleet).unwrap();
    assert_eq!(new.total(), 30);
    assert_eq!(new.load(NodeId(2)), old.load(NodeId(2)));
    assert_eq!(new.load(NodeId(4)), Some(0));
    assert_eq!(new.load(NodeId(1)), None);
    drop(guards);
    assert_eq!(new.total(), 0);
    assert_eq!(new.load(NodeId(2)), Some(0));
}

#[test]
fn the_edges_have_answers() {
    let table = || SlotTable::from_nodes(nodes(1)).unwrap();
    for wrong in [1.0, 0.0, -1.0, f64::NAN, f64::INFINITY, 70_000.0] {
        assert!(
            matches!(
                BoundedLoad::new(table(), nodes(1), wrong),
                Err(BoundError::Bound(_))
            ),
            "{wrong}"
        );
    }
    let twice = BoundedLoad::new(table(), [node(1, 1), node(1, 1)], 2.0).unwrap_err();
    assert!(matches!(
        twice,
        BoundError::Build(BuildError::DuplicateNode(_))
    ));
    assert!(std::error::Error::source(&twice).is_some());
    assert!(bounded(vec![], 1.5).acquire("key").is_none());
    assert!(bounded(vec![node(1, 0)], 1.5).acquire("key").is_none());
    // The least bound still lets every request in.
    let tight = bounded(nodes(3), 1.0 + f64::EPSILON);
    let held: Vec<_> = (0..100).map(|_| tight.acquire("key").unwrap()).collect();
    assert!(
        (1..=3).all(|id| tight.load(NodeId(id)).unwrap() <= 34),
        "{tight:?}"
    );
    drop(held);
    let heavy = bounded(vec![node(1, u32::MAX), node(2, u32::MAX)], 65_536.0);
    assert!(heavy.capacity(NodeId(1)).unwrap() >= 1);
    assert_eq!(heavy.capacity(NodeId(3)), None);
    // A placement that names strangers does not stop requests.
    let strangers = BoundedLoad::new(table(), nodes(3).into_iter().skip(1), 2.0).unwrap();
    assert_ne!(strangers.acquire("key").unwrap().node(), NodeId(1));
}

/// What a bound buys and costs on a ring of 100 nodes with 10 000 requests in flight, alone and when every tenth is for
/// one key: `-- --nocapture` prints the figures that docs/hash-ring.md has.
#[test]
fn ring_r10_the_fullest_node_is_at_its_bound_and_few_requests_leave_home() {
    let (n, in_flight) = if cfg!(miri) { (5, 50) } else { (100, 10_000) };
    let share = in_flight as f64 / n as f64;
    for (hot, bound, most_away) in [
        (0.0, 1.05, 0.20),
        (0.0, 1.1, 0.10),
        (0.0, 1.25, 0.01),
        (0.1, 1.25, 0.18),
    ] {
        let ring = Ring::from_nodes(nodes(n)).unwrap();
        let bounded = BoundedLoad::new(ring, nodes(n), bound).unwrap();
        let mut rng = Rng::from_seed(5);
        let mut held = VecDeque::with_capacity(in_flight);
        let mut homes: BTreeMap<NodeId, u32> = BTreeMap::new();
        let mut away = 0;
        let turnover = 2 * in_flight;
        for i in 0..in_flight + turnover {
            if held.len() == in_flight {
                held.pop_front();
            }
            let hash = if rng.unit() < hot { 1 } else { rng.next_u64() };
            let home = bounded.placement().owner_of_hash(hash).unwrap();
            held.push_back(bounded.acquire_hash(hash).unwrap());
            if i >= in_flight {
                away += usize::from(held[in_flight - 1].node() != home);
                *homes.entry(home).or_default() += 1;
            }
        }
        let most = (1..=n)
            .map(|id| bounded.load(NodeId(id)).unwrap())
            .max()
            .unwrap();
        let (peak, away) = (most as f64 / share, away as f64 / turnover as f64);
        let at_home = f64::from(*homes.values().max().unwrap()) / (2.0 * share);
        println!(
            "{hot} of one key, bound {bound}: {peak:.3} instead of {at_home:.3}, {:.1} % away",
            100.0 * away
        );
        assert!(most as f64 <= (bound * (share + 1.0)).ceil(), "{most}");
        assert!(cfg!(miri) || away < most_away, "{away}");
    }
}
