//! Crates of the workspace at work together, through the facade alone.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use purlin::hash_ring::Ring;
use purlin::lru_cache::Cache;
use purlin::replica_router::{self, Consistency, Observation};
use purlin::session_store::{MemoryStore, Policy, Saved, Session, Sessions};
use purlin::shard_router::{Guard, Router, Shard, ShardId, ShardMap};
use purlin::{CacheStore, Clock, GroupId, ManualClock, Node, NodeId, TokenSet};

fn node(id: u64) -> Node {
    Node::new(NodeId(id), format!("node-{id}"))
}

/// A write on one app server, its token in the session, and a read on another app server by a replica that
/// has not come that far: the primary answers, until the replica has.
#[tokio::test]
async fn a_session_carries_the_proof_of_a_write_to_another_server() {
    let clock = ManualClock::new();
    let replicas = || {
        let built = replica_router::Router::builder(GroupId(3)).clock(clock.clone());
        built.build(node(1), [node(2)]).unwrap()
    };
    // Two app servers share nothing but the session store.
    let (here, there) = (replicas(), replicas());
    let store = Arc::new(MemoryStore::builder().clock(clock.clone()).build());
    let sessions_here = Sessions::new(Arc::clone(&store), Policy::default());
    let sessions_there = Sessions::new(store, Policy::default());
    let seen = |router: &replica_router::Router<ManualClock>, node, position| {
        let at = clock.now();
        router
            .observe(
                NodeId(node),
                Observation::Position {
                    epoch: 1,
                    position,
                    at,
                },
            )
            .unwrap();
    };
    for router in [&here, &there] {
        seen(router, 1, 100);
        seen(router, 2, 100);
    }

    let mut tokens = TokenSet::new();
    tokens.record(here.route_write().unwrap().token(101));
    let mut session = Session::absent();
    session.set_bytes("tokens", tokens.to_string()).unwrap();
    assert_eq!(
        sessions_here.commit(&mut session).await.unwrap(),
        Saved::Created
    );

    let cookie = session.id().unwrap().clone();
    let session = sessions_there.open(cookie).await.unwrap();
    let text = String::from_utf8(session.get_bytes("tokens").unwrap().to_vec()).unwrap();
    let carried: TokenSet = text.parse().unwrap();
    let read = there
        .route_read(Consistency::ReadYourWrites(&carried))
        .unwrap();
    assert_eq!(read.id(), NodeId(1), "the replica is a write behind");

    clock.advance(Duration::from_millis(1));
    seen(&there, 1, 101);
    seen(&there, 2, 101);
    let read = there
        .route_read(Consistency::ReadYourWrites(&carried))
        .unwrap();
    assert_eq!(read.id(), NodeId(2), "the replica has the write");
}

/// A ring decides a shard map's slots, and the map's guards hold exactly the keys that its routes name.
#[test]
fn a_ring_fills_a_shard_map_and_every_guard_admits_its_own() {
    let ring = Ring::from_nodes([node(0), node(1), node(2)]).unwrap();
    let shards: Vec<Shard> = (0..3)
        .map(|id| Shard::new(ShardId(id), format!("shard-{id}")))
        .collect();
    let map = Arc::new(ShardMap::from_placement(shards, &ring).unwrap());
    let router = Router::new(Arc::clone(&map));
    let guards: Vec<Guard> = (0..3)
        .map(|id| Guard::new(ShardId(id), Arc::clone(&map)))
        .collect();
    for key in 0..3_000_u64 {
        let route = router.route(&key);
        for guard in &guards {
            assert_eq!(
                guard.admit_key(&key, route).is_ok(),
                guard.shard() == route.shard(),
                "key {key}"
            );
        }
    }
}

/// A cache in front of something slower, both seen as stores: the near one answers the second time.
#[tokio::test]
async fn a_near_cache_spares_the_far_one() {
    let far: Cache<u64, u64> = Cache::new(100);
    let near: Cache<u64, u64> = Cache::new(10);
    CacheStore::insert(&far, 1, 11).await.unwrap();
    for _ in 0..2 {
        let value = CacheStore::get_or_load(&near, 1, |key| {
            let (far, key) = (&far, *key);
            async move { CacheStore::get(far, &key).await.unwrap().ok_or("absent") }
        });
        assert_eq!(value.await.unwrap(), 11);
    }
    assert_eq!(far.stats().hits, 1);
    assert_eq!(near.stats().hits, 1);
}
