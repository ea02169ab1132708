use alloc::vec::{self, Vec};
use core::fmt;
use core::hash::{BuildHasher, Hash};

use purlin_core::Clock;

use super::Cache;
use crate::engine::Name;
use crate::insertion::Evicted;

/// # Walks
impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq + Clone,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// Clones of the entries, in no particular order, without counting as uses.
    ///
    /// The entries are cloned a few at a time, each few under the lock of their shard. An entry that is there
    /// throughout the walk, unchanged, is met exactly once; one that comes or goes meanwhile may be met or not.
    pub fn iter(&self) -> Iter<'_, K, V, S, C> {
        Iter {
            cache: self,
            position: Position::default(),
            batch: Vec::new().into_iter(),
        }
    }

    /// Keeps the entries of which `keep` is true.
    ///
    /// `keep` runs without a lock, on clones. An entry is removed only if it is still the one that was judged; one
    /// that was inserted meanwhile may be judged or not. A load that was under way when the walk came to its shard
    /// gives its value to those who wait, and the value is not stored, for it was not judged.
    ///
    /// If `keep` panics, the entries it refused before may be gone or not, and the others are there.
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) {
        let mut position = Position::default();
        loop {
            let mut refused = Vec::new();
            let batch = self.batch(&mut position, Walk::Judging, |name, key, value| {
                (name, key.clone(), value.clone())
            });
            let Some((shard_idx, batch)) = batch else {
                return;
            };
            for (name, key, value) in batch {
                if !keep(&key, &value) {
                    refused.push(name);
                }
            }
            // Declared first, so dropped after the lock.
            let mut removed = Vec::with_capacity(refused.len());
            let mut contents = self.shards[shard_idx].lock();
            for name in refused {
                removed.extend(contents.engine.take_named(name));
            }
        }
    }

    /// The next few entries, each as `copy` makes it, and their shard. `None` at the end.
    fn batch<T>(
        &self,
        position: &mut Position,
        walk: Walk,
        copy: impl Fn(Name, &K, &V) -> T,
    ) -> Option<(usize, Vec<T>)> {
        let shard_idx = position.shard_idx;
        let shard = self.shards.get(shard_idx)?;
        let now = self.now();
        let mut batch = Vec::with_capacity(BATCH);
        let mut gone = Evicted::new();
        let mut contents = shard.lock();
        contents.engine.observe(now, &mut gone);
        if position.at == 0 && walk == Walk::Judging {
            contents.flights.overtake_all();
        }
        let next = contents
            .engine
            .walk(position.at, now, BATCH, |name, key, value| {
                batch.push(copy(name, key, value));
            });
        *position = match next {
            Some(at) => Position { shard_idx, at },
            None => Position {
                shard_idx: shard_idx + 1,
                at: 0,
            },
        };
        Some((shard_idx, batch))
    }
}

/// How many entries are cloned under one lock, or some more if their hashes are equal.
const BATCH: usize = 64;

/// What a walk is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    Reading,
    /// Loads under way must not slip past it.
    Judging,
}

/// Where a walk goes on.
#[derive(Debug, Default)]
struct Position {
    shard_idx: usize,
    /// In the engine's own terms; zero is the start.
    at: u64,
}

/// Clones of the entries of a [`Cache`].
pub struct Iter<'a, K, V, S, C> {
    cache: &'a Cache<K, V, S, C>,
    position: Position,
    batch: vec::IntoIter<(K, V)>,
}

impl<K, V, S, C> Iterator for Iter<'_, K, V, S, C>
where
    K: Hash + Eq + Clone,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        loop {
            if let Some(entry) = self.batch.next() {
                return Some(entry);
            }
            let copy = |_, key: &K, value: &V| (key.clone(), value.clone());
            let (_, batch) = self.cache.batch(&mut self.position, Walk::Reading, copy)?;
            self.batch = batch.into_iter();
        }
    }
}

impl<K, V, S, C> fmt::Debug for Iter<'_, K, V, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}
