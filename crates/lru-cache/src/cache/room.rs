use core::hash::{BuildHasher, Hash};

use equivalent::Equivalent;
use purlin_core::Clock;
use purlin_core::sync::atomic::Ordering;

use super::Cache;
use crate::insertion::Inserted;
use crate::tags::{self, Moment};
use crate::terms::Terms;

#[cfg(purlin_tuning)]
impl<K, V, S: BuildHasher, C> Cache<K, V, S, C> {
    /// Has the adaptive policy of a cache that was not used yet go by other choices.
    pub fn tune(&self, tuning: crate::Tuning) {
        if let Some(adaptation) = &self.adaptation {
            let arm = adaptation.tune(self.capacity(), self.hasher.hash_one(1u64), tuning);
            self.shards
                .iter()
                .for_each(|shard| shard.lock().engine.set_arm(arm));
        }
    }
}

/// # Room
impl<K, V, S, C> Cache<K, V, S, C> {
    /// Changes the capacity, and evicts what does not fit any more. Returns the capacity that it has then: more than asked if
    /// pinned entries take more, for these stay. When this returns, the bound holds at every instant, as it did before with the larger
    /// of the two.
    ///
    /// O(1) a shard for a larger capacity, and for a smaller one O(1) an entry that leaves, with a few hundred of them under one lock, so
    /// that others wait no longer than that. Where the table of a shard becomes smaller, its entries that stay are moved
    /// under its lock.
    ///
    /// The number of shards stays. A cache that was made small has few, and more threads then meet at their locks than in one that was
    /// made large; one that was made large and has fewer entries to hold than shards refuses some keys. If two threads
    /// change the capacity at once, each moves it by what it saw it differ.
    pub fn set_capacity(&self, capacity: usize) -> usize {
        let before = self.capacity.swap(capacity, Ordering::SeqCst);
        if capacity >= before {
            self.raise(before, capacity);
        } else {
            let short = self.lower(before, capacity);
            self.capacity.fetch_add(short, Ordering::SeqCst);
        }
        let capacity = self.capacity();
        if let Some(pool) = &self.pool {
            pool.plan(capacity, self.shards.len());
        }
        for (idx, shard) in self.shards.iter().enumerate() {
            shard.lock().engine.plan(self.part(capacity, idx));
        }
        if let Some(adaptation) = self.adaptation.as_ref().filter(|_| self.weigher.is_none()) {
            adaptation.resize(capacity);
        }
        capacity
    }

    /// Invalidates all entries that were stored with a tag: none of them is returned any more. O(1), however many there are.
    ///
    /// They leave when somebody meets them, or as others do, and until then they take their room and are in `len`. Tags are told apart
    /// by 12 bits of a hash, which bounds the memory for them: an invalidation takes one in 4096 other tags with it.
    /// A value that was read before and is stored after is refused if its terms say [as of](crate::Terms::as_of) when it was read, as those
    /// of loads and decisions do by themselves.
    ///
    /// ```
    /// use purlin_lru_cache::{Cache, Terms};
    ///
    /// let cache = Cache::new(100);
    /// let moment = cache.moment();
    /// // Read from the database, and then:
    /// cache.insert_on("page 1", "beams", Terms::new().tag("beams").tag("prices").as_of(moment));
    /// cache.insert_on("page 2", "bolts", Terms::new().tag("bolts"));
    ///
    /// cache.invalidate_tag("beams");
    /// assert_eq!((cache.get("page 1"), cache.get("page 2")), (None, Some("bolts")));
    /// ```
    pub fn invalidate_tag(&self, tag: &(impl Hash + ?Sized)) {
        self.tags.invalidate(tags::slot_of(tag));
    }

    /// The present moment in the order of invalidations, for [`Terms::as_of`].
    pub fn moment(&self) -> Moment {
        self.tags.latest()
    }

    /// The part of the weight that is pinned.
    pub fn pinned(&self) -> usize {
        let pinned = self.shards.iter().map(|shard| shard.lock().engine.pinned());
        pinned.sum()
    }

    /// Gives so much more room to the shards, or to the pool that they take it from.
    fn raise(&self, before: usize, capacity: usize) {
        let mut left = capacity - before;
        if let Some(pool) = &self.pool {
            pool.add(left);
            return;
        }
        for (idx, shard) in self.shards.iter().enumerate() {
            let mut contents = shard.lock();
            let wanted = self.part(capacity, idx);
            let more = wanted.saturating_sub(contents.engine.limit()).min(left);
            contents.engine.raise(more);
            left -= more;
        }
        // There is no more than they want, but for two threads that change it at once.
        if let Some(first) = self.shards.first().filter(|_| left > 0) {
            first.lock().engine.raise(left);
        }
    }

    /// Takes room from the shards. Returns what is missing in the end, for it is pinned.
    fn lower(&self, before: usize, capacity: usize) -> usize {
        let mut left = before - capacity;
        let from_pool = |most: usize| self.pool.as_ref().map_or(0, |pool| pool.take_up_to(most));
        // First down to what each is to have, and then, where others cannot, below that.
        for is_fair in [true, false] {
            left -= from_pool(left);
            for idx in 0..self.shards.len() {
                let floor = if is_fair { self.part(capacity, idx) } else { 0 };
                left -= self.take_room(idx, left, floor);
            }
        }
        left - from_pool(left)
    }

    /// Takes up to so much room from a shard that has more than `floor`, a step under each lock. Returns how much it was.
    fn take_room(&self, idx: usize, most: usize, floor: usize) -> usize {
        let mut taken = 0;
        loop {
            let mut gone = self.gone();
            let mut contents = self.shards[idx].lock();
            let engine = &mut contents.engine;
            let step = (most - taken)
                .min(engine.step())
                .min(engine.limit().saturating_sub(floor))
                .min(engine.unpinned());
            if step == 0 || !engine.cede(step, &mut gone) {
                return taken;
            }
            taken += step;
            drop(contents);
        }
    }

    /// What a shard has of a capacity, or will have once it has taken from the pool what is its share.
    fn part(&self, capacity: usize, idx: usize) -> usize {
        let n_shards = self.shards.len();
        capacity / n_shards + usize::from(idx < capacity % n_shards)
    }
}

impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// [`insert`](Cache::insert), on terms of its own.
    pub fn insert_on(&self, key: K, value: V, terms: Terms) -> Inserted<K, V> {
        if terms.lasts().is_some() {
            // Relaxed, as in `insert_for`.
            self.set_timed();
        }
        self.store(key, value, terms)
    }

    /// Pins the entry of a key: it is not evicted any more, however long it is not asked for, and does not make evictions
    /// slower. It keeps its room and its time to live. Returns whether there is one.
    ///
    /// ```
    /// use purlin_lru_cache::{Cache, Outcome, Refusal};
    ///
    /// let cache = Cache::new(1);
    /// cache.insert("rates", 42);
    /// assert!(cache.pin("rates"));
    /// // All of the room is pinned.
    /// let refused = cache.insert("page", 1).outcome;
    /// assert!(matches!(refused, Outcome::Rejected { why: Refusal::Pinned, .. }));
    /// assert!(cache.unpin("rates"));
    /// assert!(cache.insert("page", 1).is_stored());
    /// ```
    pub fn pin<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let now = self.now();
        let mut gone = self.gone();
        let mut contents = self.shard(hash).lock();
        contents.engine.observe(now, &mut gone);
        let found = contents.engine.find(hash, key);
        contents.engine.pin(hash, found, &mut gone)
    }

    /// Makes a pinned entry one like others, as if it had just been stored. Returns whether there was one that was pinned.
    pub fn unpin<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let now = self.now();
        let mut gone = self.gone();
        let mut contents = self.shard(hash).lock();
        contents.engine.observe(now, &mut gone);
        let found = contents.engine.find(hash, key);
        contents.engine.unpin(hash, found, &mut gone)
    }
}
