//! A new value from the one that is there.

use alloc::borrow::ToOwned;
use core::hash::{BuildHasher, Hash};

use equivalent::Equivalent;
use purlin_core::Clock;

use super::{Cache, adapt};
use crate::decision::{Computed, Decision};
use crate::engine::Fresh;
use crate::expiry::Standing;
use crate::insertion::Inserted;
use crate::integer::Integer;
use crate::listener::Gone;

/// # Changing what is there
impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// Does with a key what `decide` says of its value, or of there being none. Counts as a use.
    ///
    /// The new entry has no tags, whatever the older one had, but those that [`Decision::PutOn`] gives it.
    ///
    /// ```
    /// use purlin_lru_cache::{Builder, Decision, unsync::StoppedClock};
    ///
    /// let mut highest = Builder::with_clock(StoppedClock).entry_limit(1_000).build_unsync();
    /// let mut report = |sensor: &str, reading: u32| {
    ///     let done = highest.compute(sensor, |seen| match seen {
    ///         Some(&seen) if seen >= reading => Decision::Keep,
    ///         _ => Decision::Put(reading),
    ///     });
    ///     done.into_previous()
    /// };
    /// assert_eq!((report("north", 3), report("north", 2)), (None, Some(3)));
    /// assert_eq!(highest.get("north"), Some(&3));
    /// ```
    ///
    /// # Panics
    ///
    /// If `decide` does; the key was used then, and nothing else has changed.
    pub fn compute<Q>(
        &mut self,
        key: &Q,
        decide: impl FnOnce(Option<&V>) -> Decision<V>,
    ) -> Computed<K, V>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let mut gone = Gone::new(self.listener.as_ref());
        let now = self.now();
        self.engine.observe(now, &mut gone);
        let found = self.engine.find(hash, key);
        let moment = self.tags.latest();
        let seen = self.engine.lookup(found, &mut gone);
        // What is over has left in the look-up.
        let found = found.filter(|_| seen.is_some());
        let Some((value, time)) = decide(seen).into_parts() else {
            return Computed::Kept(seen.cloned());
        };
        let left = match self.engine.inspect(found) {
            Some((_, Standing::Left(left))) => Some(left),
            Some((_, Standing::Over(_))) | None => None,
        };
        let Some(value) = value else {
            let removed = self.engine.take(found, &mut gone);
            gone.tell_removed(removed.as_ref());
            return Computed::Removed(removed);
        };
        if time.is_own() && !self.timed {
            self.timed = true;
            self.engine.observe(self.clock.coarse(), &mut gone);
        }
        let key = key.to_owned();
        let weight = self.weigher.as_ref().map_or(1, |weigh| weigh(&key, &value));
        let fresh = Fresh {
            hash,
            key,
            value,
            weight,
            terms: time.terms(moment, left),
        };
        let outcome = self.engine.put(found, fresh, &mut gone);
        adapt(
            &mut self.selector,
            &mut self.engine,
            self.weigher.is_some(),
            (hash, found.is_some()),
        );
        let evicted = gone.tell(&outcome);
        Computed::Stored(Inserted { outcome, evicted })
    }

    /// Replaces the value of a key by one made from it, for what is left of its time to live, and returns a reference to the new
    /// one. `None` if there is no value, or the new one is not stored; see [`Outcome`](crate::Outcome).
    ///
    /// # Panics
    ///
    /// If `change` does; the key was used then, and nothing else has changed.
    pub fn update<Q>(&mut self, key: &Q, change: impl FnOnce(&V) -> V) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let decide =
            |seen: Option<&V>| seen.map_or(Decision::Keep, |seen| Decision::Change(change(seen)));
        match self.compute(key, decide) {
            Computed::Stored(inserted) if inserted.is_stored() => self.peek(key),
            _ => None,
        }
    }
}

/// # Counting
///
/// A key without a value counts from zero, for the cache's time to live; after that a count keeps what is left of it. One that has
/// come to the end of its type stays there.
impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    V: Integer,
    S: BuildHasher,
    C: Clock,
{
    /// Adds to the count of a key, and returns the new one, also if it cannot be stored.
    ///
    /// ```
    /// use purlin_lru_cache::{Builder, unsync::StoppedClock};
    ///
    /// let mut seen = Builder::with_clock(StoppedClock).entry_limit(1_000).build_unsync();
    /// assert_eq!((seen.incr("beam", 2u8), seen.incr("beam", 254), seen.decr("beam", 1)), (2, 255, 254));
    /// ```
    pub fn incr<Q>(&mut self, key: &Q, by: V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.count(key, |count| count.plus(by))
    }

    /// Takes from the count of a key, as [`incr`](Cache::incr) adds to it. Unsigned counts stay at zero.
    pub fn decr<Q>(&mut self, key: &Q, by: V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.count(key, |count| count.minus(by))
    }

    fn count<Q>(&mut self, key: &Q, change: impl FnOnce(V) -> V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let mut count = V::ZERO;
        let done = self.compute(key, |before| {
            count = change(before.copied().unwrap_or(V::ZERO));
            Decision::Change(count)
        });
        drop(done);
        count
    }
}
