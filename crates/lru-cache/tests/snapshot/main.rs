//! A cache that is saved and restored: the same entries, the same hits, and never more than there is room for.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod any;
mod hits;
mod terms;
mod whole;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use purlin_core::{Clock, MapHasher, Rng};
use purlin_lru_cache::{Cache, Policy};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const POLICIES: [Policy; 5] = [
    Policy::Adaptive,
    Policy::Lru,
    Policy::S3Fifo,
    Policy::Fifo,
    Policy::Lfu,
];

/// A cache with a seed, so that a test that fails does so again.
pub(crate) fn cache<V: Clone>(capacity: usize, policy: Policy, seed: u64) -> Cache<u64, V> {
    Cache::builder()
        .entry_limit(capacity)
        .policy(policy)
        .hasher(MapHasher::with_seed(seed))
        .build()
}

pub(crate) fn saved<K, V, S, C>(cache: &Cache<K, V, S, C>) -> String
where
    K: Hash + Eq + Clone + Serialize,
    V: Clone + Serialize,
    S: BuildHasher,
    C: Clock,
{
    serde_json::to_string(&cache.snapshot()).unwrap()
}

pub(crate) fn restored<V: Clone + DeserializeOwned>(
    saved: &str,
    capacity: usize,
    policy: Policy,
    seed: u64,
) -> Cache<u64, V> {
    let builder = Cache::builder()
        .entry_limit(capacity)
        .policy(policy)
        .hasher(MapHasher::with_seed(seed));
    builder
        .restore(&mut serde_json::Deserializer::from_str(saved))
        .unwrap()
}

pub(crate) fn entries<K: Hash + Eq + Clone + Ord, V: Clone, S: BuildHasher, C: Clock>(
    cache: &Cache<K, V, S, C>,
) -> BTreeMap<K, V> {
    cache.iter().collect()
}

/// The hits of so many requests.
pub(crate) fn hits(cache: &Cache<u64, u64>, requests: &[u64]) -> usize {
    let mut hits = 0;
    for &key in requests {
        match cache.get(&key) {
            Some(_) => hits += 1,
            None => drop(cache.insert(key, !key)),
        }
    }
    hits
}

/// Keys that are asked for again.
pub(crate) const KEYS: u64 = 1_000;

/// Requests of which a part is for few keys, and the others are scans that never return.
pub(crate) fn requests_with_scans(n: usize, seed: u64) -> Vec<u64> {
    let mut rng = Rng::from_seed(seed);
    let mut next = 1 << 32;
    let request = |_| {
        if rng.below(3) == 0 {
            next += 1;
            return next;
        }
        // The product of two is nearer to zero than either.
        rng.below(KEYS) * rng.below(KEYS) / KEYS
    };
    (0..n).map(request).collect()
}
