use core::cell::RefCell;
use core::fmt;
use core::hash::{BuildHasher, Hash};

use purlin_core::Clock;
use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde::{Deserialize, Deserializer};

use super::Cache;
use crate::builder::{Builder, Limit};
use crate::listener::Gone;
use crate::snapshot::{self, Head, Read, Record, Room, Scene, Shelf};

/// # Snapshots
impl<K, V, S, C> Cache<K, V, S, C> {
    /// What the cache holds and what its policy knows, to be serialised, and [restored](Builder::restore_unsync) by another
    /// process that then goes on with the same entries and the same hits; by a shared cache as well.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use purlin_lru_cache::unsync::Cache;
    ///
    /// let mut cache = Cache::new(1_000);
    /// cache.insert(1, "one".to_owned());
    /// let saved = serde_json::to_string(&cache.snapshot())?;
    ///
    /// let mut saved = serde_json::Deserializer::from_str(&saved);
    /// let mut cache: Cache<u32, String> = Cache::builder().entry_limit(1_000).restore_unsync(&mut saved)?;
    /// assert_eq!(cache.get(&1).map(String::as_str), Some("one"));
    /// # }
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn snapshot(&mut self) -> Snapshot<'_, K, V, S, C> {
        Snapshot {
            cache: RefCell::new(self),
        }
    }
}

/// A [`Cache`] as something that can be serialised. Made by [`snapshot`](Cache::snapshot).
///
/// In it is what is in that of a shared cache; nothing is cloned for it. It has the cache for itself so long.
pub struct Snapshot<'a, K, V, S, C> {
    /// Nothing is changed in it, but to read a column it takes the owner.
    cache: RefCell<&'a mut Cache<K, V, S, C>>,
}

impl<K, V, S, C> Serialize for Snapshot<'_, K, V, S, C>
where
    K: Hash + Eq + Serialize,
    V: Serialize,
    S: BuildHasher,
    C: Clock,
{
    /// # Panics
    ///
    /// If the `Serialize` of a key or a value serialises the same snapshot.
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let cache = self.cache.borrow();
        let learned = cache.selector.as_ref().map(|it| it.state());
        let mut head = Head::new(cache.clock.wall(), learned);
        head.note(&cache.engine);
        drop(cache);
        snapshot::write(serializer, &head, &[Entries(&self.cache)])
    }
}

impl<K, V, S, C> fmt::Debug for Snapshot<'_, K, V, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

struct Entries<'a, 'b, K, V, S, C>(&'a RefCell<&'b mut Cache<K, V, S, C>>);

impl<K, V, S, C> Serialize for Entries<'_, '_, K, V, S, C>
where
    K: Hash + Eq + Serialize,
    V: Serialize,
    S: BuildHasher,
    C: Clock,
{
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut cache = self.0.borrow_mut();
        let now = cache.now();
        let mut n_entries = 0;
        cache.engine.survey_all(now, |_, _, _| n_entries += 1);
        let mut entries = serializer.serialize_seq(Some(n_entries))?;
        let mut result = Ok(());
        cache.engine.survey_all(now, |key, value, trace| {
            if result.is_ok() {
                result = entries.serialize_element(&(key, value, Record::new(trace, now)));
            }
        });
        result?;
        entries.end()
    }
}

/// # Snapshots
impl<K, V, L, S, C> Builder<K, V, L, S, C>
where
    K: Hash + Eq,
    L: Limit<K, V>,
    S: BuildHasher,
    C: Clock,
{
    /// [`build_unsync`](Builder::build_unsync), and then the entries of a [snapshot](Cache::snapshot) in it; that of a shared
    /// cache will do.
    ///
    /// What does not fit is left out, those first that would leave first, and no more than about twice the capacity is held at any
    /// time. Policy, time, pins and tags are as with the `restore` of a shared cache.
    ///
    /// # Errors
    ///
    /// If the snapshot cannot be read to its end, or is of a format that this version does not know.
    pub fn restore_unsync<'de, D>(self, from: D) -> Result<Cache<K, V, S, C>, D::Error>
    where
        D: Deserializer<'de>,
        K: Deserialize<'de>,
        V: Deserialize<'de>,
    {
        let mut cache = self.build_unsync();
        let room = Room {
            capacity: cache.capacity(),
            measure: |key: &K, value: &V| {
                let weight = cache.weigher.as_ref().map_or(1, |weigh| weigh(key, value));
                (cache.hasher.hash_one(key), weight)
            },
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
    /// Stores what was read, in a cache that is empty.
    fn fill(&mut self, read: Read<K, V>) {
        self.timed |= read.is_timed();
        if let (Some(selector), Some(state)) = (&mut self.selector, &read.head.selector) {
            if self.weigher.is_some() {
                selector.resize(read.len());
            }
            selector.restore(state);
            self.engine.set_arm(selector.arm());
        }
        let (now, wall) = (self.now(), self.clock.wall());
        let mut scene = Scene::new(&read.head, now, wall, self.tags.latest());
        let mut gone = Gone::new(self.listener.as_ref());
        scene.prepare(&read.head, &mut self.engine, &mut gone);
        for (hash, stored, trace) in read.into_entries(scene) {
            let refused = self.engine.restore(hash, stored, &trace, &mut gone);
            if let (Some(selector), None) = (&mut self.selector, &refused) {
                selector.warm(hash, trace.repute.hits());
            }
        }
    }
}
