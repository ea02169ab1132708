use alloc::vec::{self, Vec};
use core::fmt;
use core::hash::{BuildHasher, Hash};

use purlin_core::Clock;

use super::Cache;
use crate::insertion::Evicted;
use crate::lru::Entry;

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
            let batch = self.batch(&mut position, Walk::Judging, |slot, entry| {
                (slot, entry.stamp, entry.key.clone(), entry.value.clone())
            });
            let Some((shard_idx, batch)) = batch else {
                return;
            };
            for (slot, stamp, key, value) in batch {
                if !keep(&key, &value) {
                    refused.push((slot, stamp));
                }
            }
            // Declared first, so dropped after the lock.
            let mut removed = Vec::with_capacity(refused.len());
            let mut contents = self.shards[shard_idx].lock();
            for (slot, stamp) in refused {
                removed.extend(contents.lru.take_stamped(slot, stamp));
            }
        }
    }

    /// The next few entries, each as `copy` makes it, and their shard. `None` at the end.
    fn batch<T>(
        &self,
        position: &mut Position,
        walk: Walk,
        copy: impl Fn(u32, &Entry<K, V>) -> T,
    ) -> Option<(usize, Vec<T>)> {
        let shard_idx = position.shard_idx;
        let shard = self.shards.get(shard_idx)?;
        let now = self.now();
        let mut batch = Vec::with_capacity(BATCH);
        let mut gone = Evicted::new();
        let mut contents = shard.lock();
        contents.lru.observe(now, &mut gone);
        if position.slot == 0 && walk == Walk::Judging {
            contents.flights.overtake_all();
        }
        let end = contents
            .lru
            .end()
            .min(position.slot.saturating_add(BATCH_SLOTS));
        for slot in position.slot..end {
            position.slot = slot + 1;
            if let Some(entry) = contents.lru.entry_at(slot, now) {
                batch.push(copy(slot, entry));
                if batch.len() == BATCH {
                    break;
                }
            }
        }
        if position.slot >= contents.lru.end() {
            *position = Position {
                shard_idx: shard_idx + 1,
                slot: 0,
            };
        }
        Some((shard_idx, batch))
    }
}

/// How many entries are cloned under one lock, at most.
const BATCH: usize = 64;

/// How many slots are looked at under one lock, at most, in a cache that was once fuller than it is.
const BATCH_SLOTS: u32 = 1024;

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
    slot: u32,
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
            let copy = |_, entry: &Entry<K, V>| (entry.key.clone(), entry.value.clone());
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
