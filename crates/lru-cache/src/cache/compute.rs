//! A new value from the one that is there, without a lock while it is being made.

use alloc::borrow::ToOwned;
use core::future::Future;
use core::hash::{BuildHasher, Hash};
use core::time::Duration;

use equivalent::Equivalent;
use purlin_core::Clock;
use purlin_core::sync::atomic::Ordering;

use super::Cache;
use super::shard::Watched;
use crate::engine::Fresh;
use crate::expiry::Standing;
use crate::insertion::Inserted;
use crate::terms::Terms;

/// What is to become of a key, by one who has seen its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision<V> {
    /// Leaves the value as it is, or the key without one.
    Keep,
    /// Stores this one, whose time begins now.
    Put(V),
    /// Stores this one for so long, as [`insert_for`](Cache::insert_for) does.
    PutFor(V, Duration),
    /// Stores this one for what is left of the older one's time to live; as `Put`, if there was none.
    Change(V),
    /// Takes it out.
    Remove,
}

/// What a decision has done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Computed<K, V> {
    /// Nothing. The value that was seen.
    Kept(Option<V>),
    /// Stored the value, or gave it back.
    Stored(Inserted<K, V>),
    /// Taken this out.
    Removed(Option<(K, V)>),
}

impl<K, V> Computed<K, V> {
    /// The value on which the decision was made.
    pub fn into_previous(self) -> Option<V> {
        match self {
            Computed::Kept(value) => value,
            Computed::Stored(inserted) => inserted.into_previous(),
            Computed::Removed(entry) => entry.map(|(_, value)| value),
        }
    }
}

/// # Changing what is there
///
/// These make a new value from the one that is there, and no update is lost: what is stored was made from the value that it
/// replaces. The closures run without a lock, on a clone, and may call the cache. If the key was written to meanwhile, or its
/// value has left, they are asked again; so they should have no effect but their answer. Somebody always gets done: a closure is
/// asked again only after another's write.
///
/// To the loads of its key a change is a write, as an insert is. And as with an insert the new entry has no tags, whatever the
/// older one had: entries with tags are changed by [`insert_on`](Cache::insert_on).
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
        let (value, time) = match decision {
            Decision::Keep => return Ok(Computed::Kept(sight.value)),
            Decision::Remove => (None, Time::Usual),
            Decision::Put(value) => (Some(value), Time::Usual),
            Decision::PutFor(value, lasts) => (Some(value), Time::Own(lasts)),
            Decision::Change(value) => (Some(value), Time::Left),
        };
        if let Time::Own(_) = time {
            // As in `insert_for`.
            self.timed.store(true, Ordering::Relaxed);
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
            terms: Terms::from(match time {
                Time::Usual => None,
                Time::Own(lasts) => Some(lasts),
                Time::Left => left,
            }),
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
    watched: Watched<'a, K, V>,
}

/// The first look counts as a look-up.
#[derive(Clone, Copy)]
enum Sighting {
    First,
    Again,
}

/// How long a value is to live.
enum Time {
    Usual,
    Own(Duration),
    /// As long as the one before it.
    Left,
}

/// The key is no longer as it was seen.
struct Overtaken;
