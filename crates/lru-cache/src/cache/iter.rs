use alloc::vec::{self, Vec};
use core::fmt;
use core::hash::{BuildHasher, Hash};

use purlin_core::Clock;

use super::Cache;
use super::shard::Watched;
use crate::engine::Kind;
use crate::insertion::{Cause, Eviction};

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
    /// `keep` runs without a lock, on clones; also of what is over and [kept](crate::Builder::keep_stale) for who asks for it. An entry is removed only if it is still the one that was judged; one
    /// that was inserted meanwhile may be judged or not. A load that was under way when the walk came to its shard
    /// gives its value to those who wait, and the value is not stored, for it was not judged.
    ///
    /// If `keep` panics, the entries it refused before may be gone or not, and the others are there.
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) {
        let mut position = Position::default();
        while let Some(mut seen) = self.batch(&mut position, Walk::Judging) {
            let judged = core::mem::take(&mut seen.entries);
            let refused: Vec<(usize, K)> = judged
                .into_iter()
                .enumerate()
                .filter(|(_, (key, value))| !keep(key, value))
                .map(|(n, (key, _))| (n, key))
                .collect();
            let hashes: Vec<u64> = refused
                .iter()
                .map(|(_, key)| self.hasher.hash_one(key))
                .collect();
            // Declared first, so dropped after the lock.
            let mut gone = self.gone();
            let mut contents = self.shards[seen.shard_idx].lock();
            let watch = seen
                .watched
                .as_mut()
                .and_then(|watched| watched.end(&mut contents));
            let is_same = |n: usize| watch.as_ref().is_some_and(|watch| watch.is_untouched(n));
            for ((n, key), hash) in refused.iter().zip(hashes) {
                if is_same(*n) {
                    let found = contents.engine.find(hash, key);
                    if let Some((key, value)) = contents.engine.take(found, &mut gone) {
                        let cause = Cause::Removed;
                        gone.push(Eviction { key, value, cause });
                    }
                }
            }
            drop(contents);
        }
    }

    /// Clones of the next few entries. `None` at the end.
    fn batch(&self, position: &mut Position, walk: Walk) -> Option<Seen<'_, K, V>> {
        let shard_idx = position.shard_idx;
        let shard = self.shards.get(shard_idx)?;
        let now = self.now();
        let mut entries = Vec::with_capacity(BATCH);
        let mut gone = self.gone();
        let mut contents = shard.lock();
        contents.engine.observe(now, &mut gone);
        if position.at == 0 && walk == Walk::Judging {
            contents.flights.overtake_all();
        }
        let kind = match walk {
            Walk::Reading => Kind::Living,
            Walk::Judging => Kind::Kept,
        };
        let next = contents
            .engine
            .walk(position.at, kind, now, BATCH, |key, value| {
                entries.push((key.clone(), value.clone()));
            });
        let watched = if walk == Walk::Judging {
            let keys = entries.iter().map(|(key, _)| key.clone()).collect();
            Some(shard.watch(contents, keys))
        } else {
            drop(contents);
            None
        };
        *position = match next {
            Some(at) => Position { shard_idx, at },
            None => Position {
                shard_idx: shard_idx + 1,
                at: 0,
            },
        };
        Some(Seen {
            shard_idx,
            entries,
            watched,
        })
    }
}

/// Clones of a few entries of a shard, and whether they are watched.
struct Seen<'a, K, V> {
    shard_idx: usize,
    entries: Vec<(K, V)>,
    watched: Option<Watched<'a, K, V>>,
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
            let mut seen = self.cache.batch(&mut self.position, Walk::Reading)?;
            self.batch = core::mem::take(&mut seen.entries).into_iter();
        }
    }
}

impl<K, V, S, C> fmt::Debug for Iter<'_, K, V, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}
