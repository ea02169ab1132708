//! The replica router: a read's route by what it asks for, and what an observation costs.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use purlin_core::{Clock, GroupId, ManualClock, Node, NodeId, Token, TokenSet};
use purlin_replica_router::{Consistency, Observation, Router};

fn router() -> (Router<ManualClock>, ManualClock) {
    let clock = ManualClock::new();
    let node = |id: u64| Node::new(NodeId(id), format!("node-{id}"));
    let router = Router::builder(GroupId(0))
        .clock(clock.clone())
        .build(node(0), (1..=4).map(node))
        .expect("five distinct nodes");
    observe(&router, &clock, 1_000);
    (router, clock)
}

fn observe(router: &Router<ManualClock>, clock: &ManualClock, position: u64) {
    for id in 0..=4 {
        let seen = Observation::Position {
            epoch: 1,
            position,
            at: clock.now(),
        };
        router
            .observe(NodeId(id), seen)
            .expect("a member's observation");
    }
}

fn reads(c: &mut Criterion) {
    let (router, _clock) = router();
    let mut tokens = TokenSet::new();
    tokens.record(Token::new(GroupId(0), 1, 999));
    let mut group = c.benchmark_group("replica_router");
    for (name, consistency) in [
        ("read your writes", Consistency::ReadYourWrites(&tokens)),
        (
            "bounded staleness",
            Consistency::BoundedStaleness(Duration::from_secs(1)),
        ),
        ("any replica", Consistency::Eventual),
        ("primary", Consistency::Primary),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                router
                    .route_read(black_box(consistency))
                    .expect("all are fresh")
                    .id()
            });
        });
    }
    group.bench_function("write", |b| {
        b.iter(|| router.route_write().expect("a primary").id())
    });
    group.finish();
}

fn observations(c: &mut Criterion) {
    let (router, clock) = router();
    let mut position = 1_000;
    c.bench_function("replica_router/observe a group of five", |b| {
        b.iter(|| {
            clock.advance(Duration::from_millis(1));
            position += 1;
            observe(&router, &clock, position);
        });
    });
}

criterion_group!(benches, reads, observations);
criterion_main!(benches);
