//! Counting in the cache.

use alloc::borrow::ToOwned;
use core::hash::{BuildHasher, Hash};

use equivalent::Equivalent;
use purlin_core::Clock;

use super::Cache;
use crate::decision::{Computed, Decision};
use crate::engine::Fresh;
use crate::expiry::Standing;
use crate::integer::Integer;

/// # Counting
///
/// A key without a value counts from zero, for the cache's time to live; after that a count keeps what is left of it. So a
/// cache whose entries live for a minute counts what happened in the minute that began with the first.
///
/// A count that has come to the end of its type stays there. Who must know of that calls
/// [`compute`](Cache::compute) with an addition of his own.
impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    V: Integer,
    S: BuildHasher,
    C: Clock,
{
    /// Adds to the count of a key, and returns the new one. No update is lost, whoever else counts or writes.
    ///
    /// The count is returned also if it cannot be stored, as in a cache of capacity zero.
    ///
    /// ```
    /// use std::time::Duration;
    /// use purlin_lru_cache::Cache;
    ///
    /// let attempts = Cache::builder().entry_limit(100_000).time_to_live(Duration::from_secs(60)).build();
    /// let may_try = |user: &str| attempts.incr(user, 1u32) <= 3;
    /// assert!(may_try("eve") && may_try("eve") && may_try("eve") && may_try("adam"));
    /// assert!(!may_try("eve"));
    /// ```
    pub fn incr<Q>(&self, key: &Q, by: V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.count(key, |count| count.plus(by))
    }

    /// Takes from the count of a key, as [`incr`](Cache::incr) adds to it. Unsigned counts stay at zero.
    pub fn decr<Q>(&self, key: &Q, by: V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.count(key, |count| count.minus(by))
    }

    fn count<Q>(&self, key: &Q, change: impl Fn(V) -> V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        if self.weigher.is_some() {
            return self.count_weighed(key, change);
        }
        // Nothing here is user code, so unlike `compute` it can be done under one lock.
        let hash = self.hasher.hash_one(key);
        let now = self.now();
        let owned = key.to_owned();
        let mut gone = self.gone();
        let outcome;
        let mut contents = self.shard(hash).lock();
        contents.engine.observe(now, &mut gone);
        let mut found = contents.engine.find(hash, key);
        contents.overtake(hash, key);
        let left = match contents.engine.inspect(found) {
            Some((_, Standing::Left(left))) => Some(left),
            Some((_, Standing::Over(_))) | None => None,
        };
        let before = contents.engine.lookup(found, &mut gone).copied();
        if before.is_none() {
            // The look-up may have taken out what is over, or left it there.
            found = contents.engine.find(hash, key);
        }
        let count = change(before.unwrap_or(V::ZERO));
        let fresh = Fresh {
            hash,
            key: owned,
            value: count,
            weight: 1,
            terms: left.into(),
        };
        outcome = contents.engine.put(found, fresh, &mut gone);
        drop(contents);
        self.adapt(hash, found.is_some());
        drop(gone.tell(&outcome));
        count
    }

    /// A weigher must not run under a lock.
    #[cold]
    fn count_weighed<Q>(&self, key: &Q, change: impl Fn(V) -> V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let mut count = V::ZERO;
        let done: Computed<K, V> = self.compute(key, |before| {
            count = change(before.copied().unwrap_or(V::ZERO));
            Decision::Change(count)
        });
        drop(done);
        count
    }
}
