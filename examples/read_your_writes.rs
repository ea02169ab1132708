//! Reads from replicas that lag, by a user who must find what he has just written: the token of his write travels
//! in his cookie, and a replica that is not so far is passed over.
//!
//! `cargo run --example read_your_writes`

use std::error::Error;

use purlin_core::{Clock, GroupId, Node, NodeId, SystemClock, TokenSet};
use purlin_replica_router::{Consistency, Observation, Reason, Router};

/// What a prober has just learned of a node. `at` is from before it asked.
fn probed(
    router: &Router,
    node: u64,
    position: u64,
    clock: &SystemClock,
) -> Result<(), Box<dyn Error>> {
    let at = clock.now();
    let position = Observation::Position {
        epoch: 1,
        position,
        at,
    };
    router.observe(NodeId(node), position)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let clock = SystemClock::new();
    let replicas = [
        Node::new(NodeId(2), "db-2:5432"),
        Node::new(NodeId(3), "db-3:5432"),
    ];
    let router = Router::builder(GroupId(0))
        .clock(clock)
        .build(Node::new(NodeId(1), "db-1:5432"), replicas)?;
    for node in [1, 2, 3] {
        probed(&router, node, 500, &clock)?;
    }

    // The user changes his address. The database says: at position 501.
    let write = router.route_write()?;
    let mut seen = TokenSet::new();
    seen.record(write.token(501));
    drop(write);
    // Seal it before it goes into a cookie: a client could write anything.
    let cookie = seen.to_string();

    // His next request comes to another server of ours, before the replicas have it.
    let seen: TokenSet = cookie.parse()?;
    let read = router.route_read(Consistency::ReadYourWrites(&seen))?;
    println!("at once: {} ({:?})", read.node().name, read.reason());
    assert_eq!(
        read.id(),
        NodeId(1),
        "the primary, since no replica has it yet"
    );

    // Somebody who has written nothing may read anywhere.
    let anybody = router.route_read(Consistency::Eventual)?;
    assert_eq!(anybody.reason(), Reason::Replica);

    // One replica has come far enough.
    probed(&router, 3, 502, &clock)?;
    let read = router.route_read(Consistency::ReadYourWrites(&seen))?;
    println!("a moment later: {} ({:?})", read.node().name, read.reason());
    assert_eq!((read.id(), read.reason()), (NodeId(3), Reason::Replica));
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
