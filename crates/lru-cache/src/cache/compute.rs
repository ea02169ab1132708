//! A new value from the one that is there, without a lock while it is being made.

use alloc::borrow::ToOwned;
use core::future::Future;
use core::hash::{BuildHasher, Hash};

use equivalent::Equivalent;
use purlin_core::Clock;

use super::Cache;
use super::shard::Watched;
use crate::decision::{Computed, Decision};
use crate::engine::Fresh;
use crate::expiry::Standing;
use crate::insertion::Inserted;
use crate::tags::Moment;

/// # Changing what is there
///
/// These make a new value from the one that is there, and no update is lost: what is stored was made from the value that it
/// replaces. The closures run without a lock, on a clone, and may call the cache. If the key was written to meanwhile, or its
/// value has left, they are asked again; so they should have no effect but their answer. Somebody always gets done: a closure is
/// asked again only after another's write.
///
/// To the loads of its key a change is a write, as an insert is. And as with an insert the new entry has no tags, whatever the
/// older one had, but those that [`Decision::PutOn`] gives it.
///
/// There is no entry object, since a place in the cache that somebody holds would be a lock that he holds. What one does
/// with those elsewhere is here: insert what is absent, [`get_or_load`](Cache::get_or_load); modify what is there,
/// [`update`](Cache::update); anything else, [`compute`](Cache::compute).
impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// Does with a key what `decide` says of its value, or of there being none. Counts as a use.
    ///
    /// ```
    /// use purlin_lru_cache::{Cache, Decision};
    ///
    /// // Keeps the largest, and drops it at 100.
    /// let highest = Cache::new(1_000);
    /// let report = |sensor: &str, reading: u32| {
    ///     highest.compute(sensor, |seen| match seen {
    ///         _ if reading >= 100 => Decision::Remove,
    ///         Some(&seen) if seen >= reading => Decision::Keep,
    ///         _ => Decision::Put(reading),
    ///     })
    /// };
    /// report("north", 3);
    /// report("north", 2);
    /// assert_eq!(highest.get("north"), Some(3));
    /// assert_eq!(report("north", 100).into_previous(), Some(3));
    /// assert_eq!(highest.get("north"), None);
    /// ```
    ///
    /// # Panics
    ///
    /// If `decide` does; nothing has changed then.
    pub fn compute<Q>(
        &self,
        key: &Q,
        mut decide: impl FnMut(Option<&V>) -> Decision<V>,
    ) -> Computed<K, V>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let mut sight = self.sight(hash, key, Sighting::First);
        loop {
            let decision = decide(sight.value.as_ref());
            match self.apply(hash, key, sight, decision) {
                Ok(done) => return done,
                Err(Overtaken) => sight = self.sight(hash, key, Sighting::Again),
            }
        }
    }

    /// [`compute`](Cache::compute) with a decision that has to wait for something.
    ///
    /// Others may write to the key meanwhile, and then it is asked again; a decision that takes long, on a key that is
    /// written to often, may be asked many times.
    ///
    /// # Panics
    ///
    /// If `decide` or its future does; nothing has changed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn compute_async<Q, F, L>(&self, key: &Q, mut decide: F) -> Computed<K, V>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnMut(Option<V>) -> L,
        L: Future<Output = Decision<V>>,
    {
        let hash = self.hasher.hash_one(key);
        let mut sight = self.sight(hash, key, Sighting::First);
        loop {
            let decision = decide(sight.value.clone()).await;
            match self.apply(hash, key, sight, decision) {
                Ok(done) => return done,
                Err(Overtaken) => sight = self.sight(hash, key, Sighting::Again),
            }
        }
    }

    /// Replaces the value of a key by one made from it, for what is left of its time to live, and returns a clone of the new
    /// one. `None` if there is no value, or the new one is not stored; see [`Outcome`](crate::Outcome).
    ///
    /// ```
    /// # use purlin_lru_cache::Cache;
    /// let carts = Cache::new(1_000);
    /// carts.insert("cart".to_owned(), vec!["beam"]);
    /// let cart = carts.update("cart", |cart| [&cart[..], &["nails"]].concat());
    /// assert_eq!(cart, Some(vec!["beam", "nails"]));
    /// ```
    ///
    /// # Panics
    ///
    /// If `change` does; nothing has changed then.
    pub fn update<Q>(&self, key: &Q, mut change: impl FnMut(&V) -> V) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let mut updated = None;
        let done = self.compute(key, |seen| {
            let Some(value) = seen else {
                return Decision::Keep;
            };
            let value = change(value);
            updated = Some(value.clone());
            Decision::Change(value)
        });
        match done {
            Computed::Stored(inserted) if inserted.is_stored() => updated,
            _ => None,
        }
    }

    /// Looks at a value, and watches its key from there on.
    fn sight<Q>(&self, hash: u64, key: &Q, sighting: Sighting) -> Sight<'_, K, V>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let now = self.now();
        // Before the value is read.
        let moment = self.moment();
        let owned = key.to_owned();
        let shard = self.shard(hash);
        let mut gone = self.gone();
        let mut contents = shard.lock();
        contents.engine.observe(now, &mut gone);
        let found = contents.engine.find(hash, key);
        let value = match sighting {
            Sighting::First => contents.engine.lookup(found, &mut gone),
            Sighting::Again => contents.engine.lookup_again(found, &mut gone),
        };
        let value = value.cloned();
        Sight {
            value,
            moment,
            watched: shard.watch(contents, alloc::vec![owned]),
        }
    }

    /// Does what was decided, unless the key is no longer as it was seen.
    fn apply<Q>(
        &self,
        hash: u64,
        key: &Q,
        mut sight: Sight<'_, K, V>,
        decision: Decision<V>,
    ) -> Result<Computed<K, V>, Overtaken>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let Some((value, time)) = decision.into_parts() else {
            return Ok(Computed::Kept(sight.value));
        };
        if time.is_own() {
            // As in `insert_for`.
            self.set_timed();
        }
        let owned = key.to_owned();
        let weight = value.as_ref().map_or(0, |value| self.weigh(&owned, value));
        let now = self.now();
        let mut gone = self.gone();
        // What is dropped when this returns or unwinds stands before the lock, so that it is dropped after it.
        let (watch, removed, outcome);
        let entry = value.map(|value| (owned, value));
        let mut contents = self.shard(hash).lock();
        contents.engine.observe(now, &mut gone);
        watch = sight.watched.end(&mut contents);
        let found = contents.engine.find(hash, key);
        let left = match contents.engine.inspect(found) {
            Some((_, Standing::Left(left))) => Some(left),
            Some((_, Standing::Over(_))) | None => None,
        };
        let is_untouched = watch.as_ref().is_some_and(|watch| watch.is_untouched(0));
        if !is_untouched || left.is_some() != sight.value.is_some() {
            return Err(Overtaken);
        }
        contents.overtake(hash, key);
        let Some((key, value)) = entry else {
            removed = contents.engine.take(found, &mut gone);
            drop(contents);
            gone.tell_removed(removed.as_ref());
            return Ok(Computed::Removed(removed));
        };
        let fresh = Fresh {
            hash,
            key,
            value,
            weight,
            terms: time.terms(sight.moment, left),
        };
        outcome = contents.engine.put(found, fresh, &mut gone);
        drop(contents);
        self.adapt(hash, found.is_some());
        let evicted = gone.tell(&outcome);
        Ok(Computed::Stored(Inserted { outcome, evicted }))
    }
}

/// The value of a key at one moment, and the watch over it since.
struct Sight<'a, K, V> {
    value: Option<V>,
    moment: Moment,
    watched: Watched<'a, K, V>,
}

/// The first look counts as a look-up.
#[derive(Clone, Copy)]
enum Sighting {
    First,
    Again,
}

/// The key is no longer as it was seen.
struct Overtaken;
