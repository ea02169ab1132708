//! The cache on a real server: by itself, below another, and as nodes of which one is killed.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use purlin_core::{CacheStore, NodeId, Placement, Safety};
use purlin_lru_cache::{Cache, CacheNode, Cluster, Tiered};
use purlin_redis::{CacheError, RedisCache, RedisCacheInvalidations, Stored};
use purlin_testkit::Redis;
use static_assertions::assert_impl_all;

assert_impl_all!(RedisCache<String, Bytes>: Send, Sync, Clone, std::fmt::Debug);
assert_impl_all!(RedisCacheInvalidations<String>: Send, std::fmt::Debug);

type Pages = RedisCache<String, String>;

fn pages(redis: &Redis) -> Pages {
    RedisCache::builder()
        .prefix("page[1]:")
        .connect(&redis.url())
        .unwrap()
}

fn text(text: &str) -> String {
    text.to_owned()
}

async fn ask(redis: &Redis, words: &[&str]) -> redis::Value {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.unwrap()
}

#[tokio::test]
async fn values_come_back_expire_and_are_forgotten() {
    let redis = Redis::start().unwrap();
    let (one, two) = (pages(&redis), pages(&redis));
    one.insert(text("/a"), text("A")).await.unwrap();
    assert_eq!(two.get(&text("/a")).await.unwrap(), Some(text("A")));
    let left = ask(&redis, &["PTTL", "page[1]:/a"]).await;
    let redis::Value::Int(left) = left else {
        panic!("{left:?}")
    };
    assert!((590_000..=600_000).contains(&left), "{left}");
    two.remove(&text("/a")).await.unwrap();
    assert_eq!(one.get(&text("/a")).await.unwrap(), None);

    // Something else under a key is a value that is not there.
    let numbers: RedisCache<String, u64> = RedisCache::builder()
        .prefix("page[1]:")
        .time_to_live(Duration::MAX)
        .connect(&redis.url())
        .unwrap();
    one.insert(text("/n"), text("seven")).await.unwrap();
    assert_eq!(numbers.get(&text("/n")).await.unwrap(), None);
    numbers.insert(text("/n"), 7).await.unwrap();
    assert_eq!(numbers.get(&text("/n")).await.unwrap(), Some(7));
}

#[tokio::test]
async fn clearing_removes_all_of_the_prefix_and_nothing_else() {
    let redis = Redis::start().unwrap();
    let pages = pages(&redis);
    for number in 0..3_000 {
        pages.insert(number.to_string(), text("x")).await.unwrap();
    }
    // What the prefix would match if its brackets were a pattern.
    ask(&redis, &["SET", "page1:/a", "mine"]).await;
    pages.clear().await.unwrap();
    assert_eq!(ask(&redis, &["DBSIZE"]).await, redis::Value::Int(1));
}

async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) -> Duration {
    let began = Instant::now();
    while !condition().await {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "it does not happen"
        );
        tokio::task::yield_now().await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_with_a_near_tier_each_hear_of_each_other() {
    let redis = Redis::start().unwrap();
    let process = async || {
        let far = pages(&redis);
        let reports = far.invalidations(&redis.url()).await.unwrap();
        // No time to live: only reports bring a change to effect.
        let tiered = Arc::new(Tiered::followed(Cache::new(1_000), far));
        let following = Arc::clone(&tiered);
        let task = tokio::spawn(async move { following.follow(reports).await });
        until(async || tiered.is_near_used()).await;
        (tiered, task)
    };
    let ((one, _first), (two, task)) = (process().await, process().await);
    for round in 0..100 {
        let page = round.to_string();
        one.insert(text("/a"), page.clone()).await.unwrap();
        until(async || two.get(&text("/a")).await.unwrap().as_ref() == Some(&page)).await;
        // A report that comes late forgets what was just fetched, so only asking again is sure to keep it.
        until(async || {
            two.get(&text("/a")).await.unwrap();
            two.near().peek("/a").is_some()
        })
        .await;
    }
    one.remove(&text("/a")).await.unwrap();
    until(async || two.get(&text("/a")).await.unwrap().is_none()).await;

    one.insert(text("/b"), text("B")).await.unwrap();
    until(async || {
        two.get(&text("/b")).await.unwrap();
        two.near().peek("/b").is_some()
    })
    .await;
    // The line is cut: what one changes is seen by two at once, for it asks the server.
    ask(
        &redis,
        &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
    )
    .await;
    let _: CacheError = task.await.unwrap();
    assert!(!two.is_near_used());
    let third = pages(&redis);
    third.insert(text("/b"), text("C")).await.unwrap();
    // Its connection for calls was cut, too, and comes back with a call.
    until(async || matches!(two.get(&text("/b")).await, Ok(Some(page)) if page == "C")).await;
}

/// Three nodes in a line that begins where the key says.
#[derive(Debug)]
struct Line;

impl Placement for Line {
    fn hash_key(&self, key: &[u8]) -> u64 {
        key.iter().map(|byte| u64::from(*byte)).sum()
    }
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        Some(NodeId(hash % 3))
    }
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let nodes = (0..3).map(|step| NodeId((hash + step) % 3));
        into.iter_mut()
            .zip(nodes)
            .map(|(place, node)| *place = node)
            .count()
    }
}

#[tokio::test]
async fn a_cluster_goes_on_without_the_node_that_is_killed() {
    let mut servers: Vec<Redis> = (0..3).map(|_| Redis::start().unwrap()).collect();
    let nodes = servers
        .iter()
        .zip(0..)
        .map(|(server, id)| (NodeId(id), pages(server)));
    let cluster = Cluster::new(Line, nodes)
        .copies(2)
        .pause(Duration::from_millis(100));
    let keys: Vec<String> = (0..60).map(|number| format!("/{number}")).collect();
    for key in &keys {
        cluster.insert(key.clone(), key.clone()).await.unwrap();
    }
    servers[1].kill().unwrap();
    for key in &keys {
        assert_eq!(cluster.get(key).await.unwrap().as_ref(), Some(key));
    }
    cluster.remove(&keys[0]).await.unwrap();
    servers[1].restart().unwrap();
    until(async || {
        let _ = cluster.get(&keys[1]).await;
        let _ = cluster.get(&keys[2]).await;
        let _ = cluster.get(&keys[3]).await;
        cluster.away().count() == 0
    })
    .await;
    assert_eq!(cluster.get(&keys[0]).await.unwrap(), None);
    for key in &keys[1..] {
        assert_eq!(cluster.get(key).await.unwrap().as_ref(), Some(key));
    }
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_is_an_error_soon() {
    let mut redis = Redis::start().unwrap();
    let pages = pages(&redis);
    pages.insert(text("/a"), text("A")).await.unwrap();
    redis.pause().unwrap();
    let page = text("/a");
    let answer = tokio::time::timeout(Duration::from_secs(20), pages.get(&page));
    let error = answer.await.expect("it answers in time").unwrap_err();
    assert_eq!(error.retry().safety, Safety::IfIdempotent);
    redis.resume().unwrap();
    redis.kill().unwrap();
    assert!(pages.get(&text("/a")).await.is_err());
    assert!(pages.invalidations(&redis.url()).await.is_err());
    assert!(
        RedisCache::builder()
            .connect::<u64, u64>("nonsense")
            .is_err()
    );
}

#[test]
fn stored_forms_come_back_and_nothing_else_does() {
    assert_eq!(u64::from_bytes(Stored::to_bytes(&17u64)), Some(17));
    for not_ours in ["", "+7", "07", "x", "18446744073709551616"] {
        assert_eq!(u64::from_bytes(Bytes::from(not_ours)), None, "{not_ours}");
    }
    assert_eq!(String::from_bytes(Bytes::from_static(b"\xff")), None);
    let raw = vec![0u8, 255, 7];
    assert_eq!(Vec::<u8>::from_bytes(Stored::to_bytes(&raw)), Some(raw));
}
