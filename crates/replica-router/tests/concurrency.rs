//! Routes while the world changes: every route is of one view, and a change that has returned is seen by all.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use purlin_core::{Clock, ManualClock};
use purlin_replica_router::{
    Consistency, GroupId, Node, NodeId, Observation, Reason, Router, Token,
};

const ROUNDS: u64 = 500;

/// Epoch `e` has its primary on node `e % 4`. A route that begins after a promotion returned is of that epoch or
/// a later one, and never of one epoch and another's primary.
#[test]
fn a_promotion_that_has_returned_is_seen_whole_by_every_later_route() {
    let node = |id: u64| Node::new(NodeId(id), id.to_string());
    let router = Router::builder(GroupId(0))
        .epoch(4)
        .build(node(0), (1..4).map(node))
        .unwrap();
    let told = AtomicU64::new(4);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let before = told.load(Ordering::SeqCst);
                    let route = router.route_write().unwrap();
                    assert!(route.epoch() >= before);
                    assert_eq!(route.id(), NodeId(route.epoch() % 4));
                    let route = router.route_read(Consistency::Primary).unwrap();
                    assert_eq!(route.id(), NodeId(route.epoch() % 4));
                    if before == 4 + ROUNDS {
                        return;
                    }
                }
            });
        }
        for epoch in 5..=4 + ROUNDS {
            router
                .promote(NodeId(epoch % 4), epoch, epoch * 10)
                .unwrap();
            told.store(epoch, Ordering::SeqCst);
        }
    });
    assert_eq!(router.stats().in_flight, 0);
}

/// Replicas that advance while they are read: a token is served by a replica that had been seen to have it.
#[test]
fn observations_and_reads_at_once() {
    let clock = ManualClock::new();
    let node = |id: u64| Node::new(NodeId(id), id.to_string());
    let router = Router::builder(GroupId(0))
        .clock(clock.clone())
        .build(node(0), (1..3).map(node))
        .unwrap();
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    std::thread::scope(|scope| {
        for replica in 0..2u64 {
            let (router, clock, seen) = (&router, &clock, &seen);
            scope.spawn(move || {
                for position in 1..=ROUNDS {
                    // Before the router hears of it, so the reader below may rely on it.
                    seen[replica as usize].store(position, Ordering::SeqCst);
                    let observation = Observation::Position {
                        epoch: 1,
                        position,
                        at: clock.now(),
                    };
                    router.observe(NodeId(replica + 1), observation).unwrap();
                    clock.advance(Duration::from_nanos(1));
                }
            });
        }
        scope.spawn(|| {
            for position in 1..=ROUNDS {
                let token = Token::new(GroupId(0), 1, position);
                let route = router.route_read(Consistency::AtLeast(token)).unwrap();
                if route.reason() == Reason::Replica {
                    assert!(seen[route.id().0 as usize - 1].load(Ordering::SeqCst) >= position);
                }
            }
        });
    });
    let last = Token::new(GroupId(0), 1, ROUNDS);
    assert_eq!(
        router
            .route_read(Consistency::AtLeast(last))
            .unwrap()
            .reason(),
        Reason::Replica
    );
}
