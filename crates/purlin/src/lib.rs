#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use purlin_core::*;

macro_rules! re_exports {
    ($($feature:literal $package:ident as $module:ident;)*) => {$(
        #[cfg(feature = $feature)]
        #[cfg_attr(docsrs, doc(cfg(feature = $feature)))]
        #[doc(inline)]
        pub use $package as $module;
    )*};
}
re_exports! {
    "balancer" purlin_balancer as balancer;
    "hash-ring" purlin_hash_ring as hash_ring;
    "lru-cache" purlin_lru_cache as lru_cache;
    "postgres" purlin_postgres as postgres;
    "redb" purlin_redb as redb;
    "redis" purlin_redis as redis;
    "replica-router" purlin_replica_router as replica_router;
    "session-store" purlin_session_store as session_store;
    "shard-router" purlin_shard_router as shard_router;
    "timer-wheel" purlin_timer_wheel as timer_wheel;
    "work-queue" purlin_work_queue as work_queue;
}

/// Runs the program of the workspace's front page.
#[cfg(all(
    doctest,
    feature = "balancer",
    feature = "hash-ring",
    feature = "lru-cache"
))]
#[doc = include_str!("../../../README.md")]
struct FrontPage;
