//! R10: every interleaving of requests that begin and end under a bound, under loom:
//! `RUSTFLAGS="--cfg purlin_loom" cargo test --release -p purlin-hash-ring --test loom`.
#![cfg(purlin_loom)]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;

use loom::thread;
use purlin_core::{Node, NodeId, Placement};
use purlin_hash_ring::BoundedLoad;

/// As many nodes as asked for, by the lowest bits of the hash. Loom explores what is done with the counters; a
/// table would only make that slower.
struct Remainder(u64);

impl Placement for Remainder {
    fn hash_key(&self, _: &[u8]) -> u64 {
        0
    }
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        Some(NodeId(hash % self.0))
    }
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        into[0] = NodeId(hash % self.0);
        1
    }
}

fn bounded(n: u64) -> Arc<BoundedLoad<Remainder>> {
    let nodes = (0..n).map(|id| Node::new(NodeId(id), ""));
    Arc::new(BoundedLoad::new(Remainder(n), nodes, 1.25).unwrap())
}

/// With three nodes and at most two requests a node may hold one, whatever each thread saw of the total:
/// ⌈1.25 × 2 / 3⌉. Two requests for one key are on two nodes.
#[test]
fn ring_r10_two_requests_of_one_key_never_share_a_node() {
    loom::model(|| {
        let bounded = bounded(3);
        let other = {
            let bounded = Arc::clone(&bounded);
            thread::spawn(move || {
                let held = bounded.acquire_hash(0).unwrap();
                assert_eq!(bounded.load(held.node()), Some(1));
            })
        };
        let held = bounded.acquire_hash(0).unwrap();
        assert_eq!(bounded.load(held.node()), Some(1), "above its capacity");
        drop(held);
        other.join().unwrap();
        assert_eq!(bounded.total(), 0);
        assert!((0..3).all(|id| bounded.load(NodeId(id)) == Some(0)));
    });
}

/// A reader never sees a total below zero or above what can be held, however its look at the stripes falls
/// between a beginning and an end; nor a load that is not there.
#[test]
fn ring_r10_a_reader_sees_no_more_than_is_held() {
    loom::model(|| {
        let bounded = bounded(2);
        let holders: Vec<_> = (0..2)
            .map(|key| {
                let bounded = Arc::clone(&bounded);
                thread::spawn(move || drop(bounded.acquire_hash(key).unwrap()))
            })
            .collect();
        assert!(bounded.total() <= 2);
        assert!(bounded.load(NodeId(0)).unwrap() <= 2);
        for holder in holders {
            holder.join().unwrap();
        }
        assert_eq!(bounded.total(), 0);
    });
}
