use alloc::borrow::ToOwned;
use core::hash::{BuildHasher, Hash};

use equivalent::Equivalent;
use purlin_core::Clock;

use super::Cache;

/// # Removal
impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// Takes a value out.
    ///
    /// When this returns, no load of the key that began before stores its value, and no call that starts later
    /// gets one from such a load.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let (_, value) = self.remove_entry(key)?;
        Some(value)
    }

    /// Takes a value out with its key, as [`remove`](Cache::remove) does.
    pub fn remove_entry<Q>(&self, key: &Q) -> Option<(K, V)>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let now = self.now();
        let mut gone = self.gone();
        let mut contents = self.shard(hash).lock();
        contents.engine.observe(now, &mut gone);
        let found = contents.engine.find(hash, key);
        contents.overtake(hash, key);
        let taken = contents.engine.take(found, &mut gone);
        drop(contents);
        gone.tell_removed(taken.as_ref());
        taken
    }

    /// Takes a value out if `judge` says so of it. `None` if there is none, or `judge` says no, or another value was stored
    /// meanwhile: what is taken out is always what was judged. What is over and [kept](crate::Builder::keep_stale) for who asks for
    /// it is judged too, and leaves without being returned.
    ///
    /// `judge` runs without a lock, on a clone. Otherwise this is as [`remove`](Cache::remove), and a load that was under
    /// way before gives its value to those who wait only.
    ///
    /// ```
    /// use purlin_lru_cache::Cache;
    ///
    /// let versions = Cache::new(100);
    /// versions.insert("beam".to_owned(), 4);
    /// // A late message says that 3 is out of date. So it is, and 4 stays.
    /// assert_eq!(versions.remove_if("beam", |&version| version <= 3), None);
    /// assert_eq!(versions.remove_if("beam", |&version| version <= 4), Some(4));
    /// ```
    pub fn remove_if<Q>(&self, key: &Q, judge: impl FnOnce(&V) -> bool) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        V: Clone,
    {
        let hash = self.hasher.hash_one(key);
        let now = self.now();
        let owned = key.to_owned();
        let shard = self.shard(hash);
        let mut gone = self.gone();
        let (value, mut watched) = {
            let mut contents = shard.lock();
            contents.engine.observe(now, &mut gone);
            let found = contents.engine.find(hash, key);
            let (value, _) = contents.engine.inspect(found)?;
            let value = value.clone();
            (value, shard.watch(contents, alloc::vec![owned]))
        };
        if !judge(&value) {
            return None;
        }
        let mut contents = shard.lock();
        let watch = watched.end(&mut contents);
        let is_same = watch.as_ref().is_some_and(|watch| watch.is_untouched(0));
        let found = contents.engine.find(hash, key).filter(|_| is_same);
        contents.overtake(hash, key);
        let taken = contents.engine.take(found, &mut gone);
        // Before the watch and what is gone, whose keys' `Drop` is user code.
        drop(contents);
        gone.tell_removed(taken.as_ref());
        taken.map(|(_, value)| value)
    }

    /// Drops entries whose time has come, shard by shard, with at most `budget` units of work under each lock: an
    /// entry dropped, or a few of those looked at that could be over. Returns whether it got done, up to the last millisecond or so.
    ///
    /// Each call does a little of this on the side. It is for a cache that may lie unused for long.
    pub fn sweep(&self, budget: usize) -> bool {
        let now = self.now();
        let mut done = true;
        for shard in &self.shards {
            let mut gone = self.gone();
            let mut contents = shard.lock();
            contents.engine.observe(now, &mut gone);
            done &= contents.engine.sweep(budget, &mut gone);
        }
        done
    }
}
