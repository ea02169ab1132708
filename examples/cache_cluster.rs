//! A cache on three machines, one of which dies and comes back: its keys find another home meanwhile, and what was
//! removed while it was away does not come back with it.
//!
//! `cargo run --example cache_cluster`

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use purlin_core::{CacheStore, ManualClock, Node, NodeId};
use purlin_hash_ring::Ring;
use purlin_lru_cache::{Cache, CacheNode, Cluster};

/// Stands for a client of a cache server: `RedisCache` of `purlin-redis`, say, or one of memcached.
#[derive(Clone)]
struct Server {
    values: Arc<Cache<u64, String>>,
    is_up: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server is down")
    }
}

impl Error for Down {}

impl Server {
    fn new() -> Self {
        Server {
            values: Arc::new(Cache::new(10_000)),
            is_up: Arc::new(AtomicBool::new(true)),
        }
    }

    fn reach(&self) -> Result<&Cache<u64, String>, Down> {
        if self.is_up.load(Ordering::Relaxed) {
            Ok(&self.values)
        } else {
            Err(Down)
        }
    }
}

impl CacheStore<u64, String> for Server {
    type Error = Down;
    async fn get(&self, key: &u64) -> Result<Option<String>, Down> {
        Ok(self.reach()?.get(key))
    }
    async fn insert(&self, key: u64, value: String) -> Result<(), Down> {
        self.reach()?.insert(key, value);
        Ok(())
    }
    async fn remove(&self, key: &u64) -> Result<(), Down> {
        self.reach()?.remove(key);
        Ok(())
    }
}

impl CacheNode<u64, String> for Server {
    async fn clear(&self) -> Result<(), Down> {
        self.reach()?.clear();
        Ok(())
    }
}

const KEYS: u64 = 3_000;

/// Asks for every key once, and says how many had to be loaded.
async fn round<C: CacheStore<u64, String>>(cluster: &C) -> Result<u64, Box<dyn Error>>
where
    C::Error: Error + 'static,
{
    let loads = AtomicU64::new(0);
    for key in 0..KEYS {
        let load = |key: &u64| {
            let page = format!("page {key}");
            loads.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Down>(page) }
        };
        cluster.get_or_load(key, load).await?;
    }
    Ok(loads.into_inner())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let ring = Ring::from_nodes((1..=3).map(|id| Node::new(NodeId(id), format!("cache-{id}"))))?;
    let servers: Vec<Server> = (0..3).map(|_| Server::new()).collect();
    let nodes = servers.iter().cloned().zip(1..);
    // By hand, so that the example does not wait for the pause.
    let clock = ManualClock::new();
    let cluster = Cluster::new(ring, nodes.map(|(server, id)| (NodeId(id), server)))
        .pause(Duration::from_secs(5))
        .clock(clock.clone());

    println!(
        "cold:                 {} of {KEYS} loaded",
        round(&cluster).await?
    );
    println!("warm:                 {} loaded", round(&cluster).await?);

    servers[1].is_up.store(false, Ordering::Relaxed);
    let lost = round(&cluster).await?;
    println!("a server died:        {lost} loaded, onto the servers next in line");
    assert!((KEYS / 5..KEYS / 2).contains(&lost), "about a third");
    assert_eq!(round(&cluster).await?, 0);

    // Removed while its home is away, where it still is.
    let at_home = (0..KEYS)
        .find(|key| servers[1].values.contains(key))
        .ok_or(Down)?;
    cluster.remove(&at_home).await?;

    servers[1].is_up.store(true, Ordering::Relaxed);
    clock.advance(Duration::from_secs(5));
    assert_eq!(
        cluster.get(&at_home).await?,
        None,
        "it does not come back from the dead"
    );
    let refilled = round(&cluster).await?;
    println!("it is back, emptied:  {refilled} loaded");
    assert_eq!(cluster.away().count(), 0);
    assert_eq!(round(&cluster).await?, 0);
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
