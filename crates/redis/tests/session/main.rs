//! The Redis session store keeps the contract on a real server, and answers with typed errors when there is none.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use purlin_core::{Retry, Safety};
use purlin_redis::RedisSessionStore;
use purlin_session_store::conformance::{Subject, check, walk};
use purlin_session_store::{
    Cap, CommitOutcome, CreateOutcome, ErrorKind, Lifetime, Owner, Policy, Record, RotateOutcome,
    Session, SessionId, SessionKey, SessionStore, Sessions, Slide, StoreError, UserKey, Version,
};
use purlin_testkit::Redis;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, RedisFuture, Value};
use static_assertions::assert_impl_all;

mod breaks;
mod contract;
mod failures;
mod round_trips;
mod rows;
mod spared;
mod together;

assert_impl_all!(RedisSessionStore: Send, Sync, Clone, SessionStore, std::fmt::Debug);

const HOUR: Duration = Duration::from_secs(60 * 60);

fn key() -> SessionKey {
    SessionId::random().unwrap().key()
}

fn record(payload: &'static str) -> Record {
    Record::new(payload, Lifetime::new(HOUR, HOUR))
}

fn store(redis: &Redis) -> RedisSessionStore {
    RedisSessionStore::builder().connect(&redis.url()).unwrap()
}

async fn raw(redis: &Redis) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    // Without a limit on the answer: some of the commands wait on purpose.
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap()
}

/// How often the server has run a command.
async fn calls_of(redis: &Redis, command: &str) -> usize {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut raw(redis).await)
        .await
        .unwrap();
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}
