use alloc::vec::Vec;
use core::fmt;
use core::hash::{BuildHasher, Hash};

use purlin_core::Clock;
use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde::{Deserialize, Deserializer};

use super::Cache;
use crate::builder::{Builder, Limit};
use crate::engine::Survey;
use crate::snapshot::{self, Head, Read, Record, Room, Scene, Shelf};

/// # Snapshots
impl<K, V, S, C> Cache<K, V, S, C> {
    /// What the cache holds and what its policy knows, to be serialised, and [restored](Builder::restore) by another process
    /// that then goes on with the same entries and the same hits.
    ///
    /// It is read while it is written, from a cache that is in use. See [`Snapshot`] for what is in it.
    ///
    /// ```
    /// use purlin_lru_cache::Cache;
    ///
    /// let cache = Cache::new(1_000);
    /// cache.insert(1, "one".to_owned());
    /// let saved = serde_json::to_string(&cache.snapshot())?;
    ///
    /// let mut saved = serde_json::Deserializer::from_str(&saved);
    /// let cache: Cache<u32, String> = Cache::builder().entry_limit(1_000).restore(&mut saved)?;
    /// assert_eq!(cache.get(&1).as_deref(), Some("one"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn snapshot(&self) -> Snapshot<'_, K, V, S, C> {
        Snapshot { cache: self }
    }
}

/// A [`Cache`] as something that can be serialised. Made by [`snapshot`](Cache::snapshot).
///
/// In it are, for each entry that is not over: the key, the value, what is left of its time to live and to idle, its cost, whether it
/// is pinned, and its standing with the policy; and what the adaptive policy has learned of how to choose. Not in it are weights,
/// which the cache that restores it asks its own weigher for, what is [kept](Builder::keep_stale) after its time, what was counted, loads
/// under way, and what the policy remembers of keys that are not there.
///
/// It begins with the number of its format, and another version of this crate that does not know that refuses it.
///
/// # Locks
///
/// Entries are cloned a set of them at a time, or a few dozen if that is more, under the lock of their shard, and serialised without one.
/// The clones of one shard are held at a time. An entry that is there throughout, unchanged, and neither pinned nor
/// unpinned, is in it; one that comes, goes or changes meanwhile may be or not, with its older value or its newer.
/// Under [`Policy::Lru`](crate::Policy::Lru) the order of a shard's entries is read under one lock, some nanoseconds for each.
pub struct Snapshot<'a, K, V, S, C> {
    cache: &'a Cache<K, V, S, C>,
}

impl<K, V, S, C> Serialize for Snapshot<'_, K, V, S, C>
where
    K: Hash + Eq + Clone + Serialize,
    V: Clone + Serialize,
    S: BuildHasher,
    C: Clock,
{
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let cache = self.cache;
        let learned = cache.adaptation.as_ref().map(|it| it.state());
        let mut head = Head::new(cache.clock.wall(), learned);
        for shard in &cache.shards {
            head.note(&shard.lock().engine);
        }
        snapshot::write(serializer, &head, &Shards(cache))
    }
}

impl<K, V, S, C> fmt::Debug for Snapshot<'_, K, V, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(self.cache).finish()
    }
}

struct Shards<'a, K, V, S, C>(&'a Cache<K, V, S, C>);

impl<K, V, S, C> Serialize for Shards<'_, K, V, S, C>
where
    K: Hash + Eq + Clone + Serialize,
    V: Clone + Serialize,
    S: BuildHasher,
    C: Clock,
{
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let n_shards = self.0.shards.len();
        let mut shards = serializer.serialize_seq(Some(n_shards))?;
        for idx in 0..n_shards {
            shards.serialize_element(self.0.clones(idx).as_slice())?;
        }
        shards.end()
    }
}

impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq + Clone,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// The entries of a shard with what is known of them.
    fn clones(&self, shard_idx: usize) -> Vec<(K, V, Record)> {
        let mut clones = Vec::new();
        let mut survey = Survey::default();
        loop {
            // Their memory is set aside before the lock is taken, as far as it can be told.
            clones.reserve(BATCH);
            let now = self.now();
            // Declared first, so dropped after the lock.
            let mut gone = self.gone();
            let mut contents = self.shards[shard_idx].lock();
            let engine = &mut contents.engine;
            engine.observe(now, &mut gone);
            let now = engine.latest();
            let has_more = engine.survey(&mut survey, now, BATCH, |key, value, trace| {
                clones.push((key.clone(), value.clone(), Record::new(trace, now)));
            });
            drop(contents);
            if !has_more {
                return clones;
            }
        }
    }
}

/// How many entries are cloned under one lock, or a set of them if that is more.
const BATCH: usize = 64;

/// # Snapshots
impl<K, V, L, S, C> Builder<K, V, L, S, C>
where
    K: Hash + Eq,
    L: Limit<K, V>,
    S: BuildHasher,
    C: Clock,
{
    /// [`build`](Builder::build), and then the entries of a [snapshot](Cache::snapshot) in it.
    ///
    /// The cache is new, so no other thread can have written what these entries would be older than. What may have
    /// been written elsewhere since they were saved, the caller knows.
    ///
    /// - **Bound.** What does not fit is left out, those first that would leave first. No more than about twice the capacity is
    ///   held at any time, however long the snapshot is.
    /// - **Policy.** Under the same one, each entry keeps its standing, and the adaptive policy what it has learned, if the capacity is not more
    ///   than doubled or halved, and otherwise its choice. Under another, entries keep their order of use.
    /// - **Time.** An entry has left what it had left when it was saved, less the time between, by the clock on the wall; if that
    ///   was set back, no time has gone by. One that had no end has the cache's time to live anew, if this has one.
    /// - **Pins.** What was pinned is, as far as there is room.
    /// - **Tags** are hashes, which another build of the program may make otherwise. So an entry that had any leaves with
    ///   whichever tag is invalidated next.
    ///
    /// The entries count as neither insertions nor rejections, and a listener is told only of those that leave because
    /// a shard of the cache had no room for them. O(n log n).
    ///
    /// # Errors
    ///
    /// If the snapshot cannot be read to its end, or is of a format that this version does not know. There is no cache then, for what was read may be
    /// half of what was meant; the caller begins with an empty one.
    pub fn restore<'de, D>(self, from: D) -> Result<Cache<K, V, S, C>, D::Error>
    where
        D: Deserializer<'de>,
        K: Deserialize<'de>,
        V: Deserialize<'de>,
    {
        let cache = self.build();
        let room = Room {
            capacity: cache.capacity(),
            measure: |key: &K, value: &V| (cache.hasher.hash_one(key), cache.weigh(key, value)),
        };
        let read = snapshot::read(from, Shelf::new(room))?;
        cache.fill(read);
        Ok(cache)
    }
}

impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// Stores what was read, in a cache that is empty and that nobody else has.
    fn fill(&self, read: Read<K, V>) {
        if read.is_timed() {
            self.set_timed();
        }
        if let (Some(adaptation), Some(state)) = (&self.adaptation, &read.head.selector) {
            if self.weigher.is_some() {
                adaptation.resize(read.len());
            }
            let arm = adaptation.restore(state);
            self.shards
                .iter()
                .for_each(|shard| shard.lock().engine.set_arm(arm));
        }
        let (now, wall) = (self.now(), self.clock.wall());
        let mut scene = Scene::new(&read.head, now, wall, self.tags.latest());
        for shard in &self.shards {
            let mut gone = self.gone();
            scene.prepare(&read.head, &mut shard.lock().engine, &mut gone);
        }
        for (hash, stored, trace) in read.into_entries(scene) {
            // Declared first, so dropped after the lock.
            let mut gone = self.gone();
            let mut contents = self.shard(hash).lock();
            let refused = contents.engine.restore(hash, stored, &trace, &mut gone);
            drop(contents);
            if let (Some(adaptation), None) = (&self.adaptation, &refused) {
                adaptation.warm(hash, trace.repute.hits());
            }
        }
    }
}
