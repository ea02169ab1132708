//! The cache that threads and tasks share.

mod adaptation;
mod answer;
mod compute;
mod count;
mod iter;
mod lead;
mod load;
mod many;
mod open;
mod refresh;
mod remove;
mod room;
mod shard;
mod shard_count;
#[cfg(feature = "serde")]
mod snapshot;
mod store;
mod turns;
mod watch;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::time::Duration;

use equivalent::Equivalent;
use purlin_core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use purlin_core::{Clock, MapHasher, SystemClock, Tick};

use self::adaptation::Adaptation;
pub use self::answer::{Answer, Negative};
pub use self::iter::Iter;
use self::open::Bypass;
pub use self::refresh::{Due, Refresh, Served};
use self::shard::{Locked, Look, Shard};
pub(crate) use self::shard_count::shard_count;
#[cfg(feature = "serde")]
pub use self::snapshot::Snapshot;
use self::turns::Turns;
use crate::builder::{Builder, Unlimited, Weigher};
use crate::engine::{Engine, Fresh};
use crate::expiry::Lifetimes;
use crate::insertion::{Cause, Evicted, Inserted, Outcome};
use crate::listener::{Gone, Listener, Told};
use crate::policy::selector::Selector;
use crate::policy::{Policy, mixed};
use crate::raw::open::Read;
use crate::sets::{Exchange, Glimpse, ONE_SET, Pool, Trail};
use crate::stats::Stats;
use crate::tags::Tags;
use crate::terms::Terms;

/// A cache that threads and tasks share by reference, or in an `Arc`.
///
/// ```
/// use purlin_lru_cache::Cache;
///
/// let cache = Cache::new(1_000);
/// cache.insert("answer".to_owned(), 42);
/// assert_eq!(cache.get("answer"), Some(42)); // No `String` is made to look one up.
/// assert_eq!(cache.get_or_load("question", |key| key.len()), 8);
/// assert_eq!(cache.remove("answer"), Some(42));
/// ```
///
/// # Bound
///
/// The weight (the number of entries, where that is the bound) is at most the capacity at every instant. The limit
/// is split between the shards, to the last unit, and each evicts of its own entries to keep its part. Shards of a cache
/// bounded by entries lend each other room, so that it is full to a thousandth before the first entry leaves; under
/// [`Policy::Lru`], and where the bound is a weight, each has its part for good. A small cache is one shard.
///
/// # Values
///
/// `get` clones the value while its shard is locked, so a value that is costly to clone belongs in an `Arc`.
///
/// # Calling back
///
/// Loaders, weighers, listeners, predicates, clocks, the `Hash` of keys, and the `Drop` of keys and values run without a lock,
/// and may call the cache. The `Eq` of keys and the `Clone` of values run under one. From there a call to any
/// shared cache panics, because waiting could be forever; afterwards the cache is as if the panicking call had not
/// been made. The `Clone` of keys runs under one only in [`iter`](Cache::iter) and [`retain`](Cache::retain).
pub struct Cache<K, V, S = MapHasher, C = SystemClock> {
    /// A power of two of them.
    shards: Box<[Shard<K, V>]>,
    /// There if entries can be read without a lock.
    bypass: Option<Bypass<K, V>>,
    /// The sum of the shards' limits and of what is in the pool, or what that will be once a change is done.
    capacity: AtomicUsize,
    /// Room that the shards lend each other.
    pool: Option<Pool>,
    /// There if the policy is adaptive.
    adaptation: Option<Adaptation>,
    weigher: Option<Weigher<K, V>>,
    listener: Option<Listener<K, V>>,
    tags: Tags,
    hasher: S,
    clock: C,
    /// Whether any entry can have a deadline; until then a look-up does not read the clock. Only ever set.
    timed: AtomicBool,
    /// Whether a look-up is more than a look under the lock of a shard: because of that, or because there is a bypass.
    detours: AtomicBool,
    /// See [`Builder::load_patience`].
    patience: Duration,
}

/// What a builder has settled.
pub(crate) struct Parts<K, V, S, C> {
    pub(crate) capacity: usize,
    pub(crate) weigher: Option<Weigher<K, V>>,
    pub(crate) policy: Policy,
    /// The chance in the policy.
    pub(crate) seed: u64,
    pub(crate) lifetimes: Lifetimes,
    /// A power of two.
    pub(crate) n_shards: usize,
    pub(crate) patience: Duration,
    pub(crate) reads_without_lock: bool,
    pub(crate) listener: Option<Listener<K, V>>,
    pub(crate) hasher: S,
    pub(crate) clock: C,
}

impl<K: Hash + Eq, V> Cache<K, V> {
    /// An empty cache of at most `entries` entries, whose memory grows with them.
    pub fn new(entries: usize) -> Self {
        Cache::builder().entry_limit(entries).build()
    }

    /// Settles more than the number of entries.
    pub fn builder() -> Builder<K, V, Unlimited, MapHasher, SystemClock> {
        Builder::new()
    }
}

impl<K, V, S, C> Cache<K, V, S, C> {
    pub(crate) fn assemble(parts: Parts<K, V, S, C>) -> Self {
        let share = parts.capacity / parts.n_shards;
        let left_over = parts.capacity % parts.n_shards;
        let is_weighed = parts.weigher.is_some();
        // By weight each has its part for good, so that what may be stored does not depend on the others.
        // In exact order, too: what leaves should not depend on them either.
        let shares = parts.n_shards > 1 && !is_weighed && parts.policy != Policy::Lru;
        let pool = shares.then(|| Pool::new(parts.capacity, parts.n_shards));
        // A cache of one set has nothing to gain by it: a set is short of places that are quick to reach.
        let is_one_set = parts.n_shards == 1 && !is_weighed && parts.capacity <= ONE_SET;
        let has_sets = parts.policy != Policy::Lru && !is_one_set;
        let is_open = parts.reads_without_lock && has_sets;
        let bypass = is_open.then(|| Bypass::new(parts.n_shards)).flatten();
        let turns = Arc::new(Turns::new());
        let shard = |idx: usize| {
            let limit = share + usize::from(idx < left_over);
            let seed = parts.seed.wrapping_add(idx as u64);
            let mut engine = Engine::new(
                parts.policy,
                limit,
                is_weighed,
                parts.lifetimes.clone(),
                seed,
                bypass.as_ref().map(|bypass| bypass.home(idx)),
            );
            if let Some(pool) = &pool {
                engine.join(pool);
            }
            Shard::new(engine, Arc::clone(&turns))
        };
        let selector = Selector::for_policy(parts.policy, parts.capacity, is_weighed, parts.seed);
        let is_open = bypass.is_some();
        Cache {
            shards: (0..parts.n_shards).map(shard).collect(),
            bypass,
            capacity: AtomicUsize::new(parts.capacity),
            pool,
            adaptation: selector.map(Adaptation::new),
            weigher: parts.weigher,
            listener: parts.listener,
            hasher: parts.hasher,
            clock: parts.clock,
            timed: AtomicBool::new(parts.lifetimes.is_any()),
            detours: AtomicBool::new(parts.lifetimes.is_any() || is_open),
            tags: parts.lifetimes.tags,
            patience: parts.patience,
        }
    }

    /// How many entries there are, with those whose time has come but that no call has met yet. The shards are
    /// asked one after the other.
    pub fn len(&self) -> usize {
        self.stats().entries
    }

    /// Whether [`len`](Cache::len) is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The weight of the entries; their number, if they are bounded by that.
    pub fn weight(&self) -> usize {
        self.stats().weight
    }

    /// What the weight never exceeds. [`set_capacity`](Cache::set_capacity) changes it.
    pub fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// The weight up to which an entry is always stored: a shard's part of the capacity. A heavier one is given
    /// back. Fewer [`shards`](Builder::shards) raise it.
    pub fn max_entry_weight(&self) -> usize {
        self.capacity() / self.shards.len()
    }

    /// How many parts the cache has.
    pub fn n_shards(&self) -> usize {
        self.shards.len()
    }

    /// What was counted until now.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for shard in &self.shards {
            sum += shard.lock().engine.stats();
        }
        if let Some(bypass) = &self.bypass {
            sum += bypass.stats();
        }
        // A shard may have given its room to another between the looks at the two, and what was in it then counts twice.
        sum.weight = sum.weight.min(self.capacity());
        if self.weigher.is_none() {
            sum.entries = sum.entries.min(self.capacity());
        }
        sum
    }

    /// Removes all entries, and gives their memory back. The shards are emptied one after the other.
    ///
    /// A load that is under way when its shard is emptied still gives its value to those who wait for it, and the
    /// value is not stored.
    pub fn clear(&self) {
        for shard in &self.shards {
            let cleared = {
                let mut contents = shard.lock();
                contents.overtake_all();
                contents.engine.clear()
            };
            let mut told = Told::new(self.listener.as_ref());
            if told.is_wanted() {
                cleared.for_each(|key, value| told.one(key, value, Cause::Cleared));
                told.end();
            }
        }
    }

    /// Lets the policy learn from a request. To be called without a lock.
    #[inline]
    fn adapt(&self, hash: u64, hit: bool) {
        if let Some(adaptation) = &self.adaptation {
            if adaptation.samples(hash) {
                self.adapt_by_sample(adaptation, hash, hit);
            }
        }
    }

    #[cold]
    fn adapt_by_sample(&self, adaptation: &Adaptation, hash: u64, hit: bool) {
        let Some(arm) = adaptation.note(hash, hit) else {
            return;
        };
        // Two threads may come here with two arms and leave the shards at odds. The next period sets that right.
        for shard in &self.shards {
            shard.lock().engine.set_arm(arm);
        }
        if self.weigher.is_some() {
            adaptation.resize(self.len());
        }
    }

    /// For what leaves in a call; to be declared before the lock is taken.
    #[inline]
    fn gone(&self) -> Gone<'_, K, V> {
        Gone::new(self.listener.as_ref())
    }

    /// The shard that a key with this hash lives in.
    #[inline]
    fn shard(&self, hash: u64) -> &Shard<K, V> {
        &self.shards[self.shard_idx(hash)]
    }

    #[inline]
    fn shard_idx(&self, hash: u64) -> usize {
        // From the middle, since the tables in the shard go by the lowest and the highest bits.
        (mixed(hash) >> 16) as usize & (self.shards.len() - 1)
    }
}

impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// A clone of the value of a key, and a use of it. O(1): one hash, one lock, and seldom a second one for the
    /// adaptive policy. [`Builder::reads_without_lock`] does without the first.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        V: Clone,
    {
        self.get_hashed(self.hasher.hash_one(key), key)
    }

    /// A clone of the value of a key, without counting as a use.
    pub fn peek<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        V: Clone,
    {
        self.peek_with(key, V::clone)
    }

    /// Whether a key has a value, without counting as a use.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.peek_with(key, |_| ()).is_some()
    }

    /// Stores a value, in place of any older one of its key. O(1) for each entry that leaves.
    ///
    /// When this returns, no load of the key that began before stores its value over this one. See
    /// [`Outcome`](crate::Outcome) for when the value is not stored.
    pub fn insert(&self, key: K, value: V) -> Inserted<K, V> {
        if self.is_plain() {
            return self.store_plain(key, value);
        }
        self.store(key, value, Terms::new())
    }

    /// [`insert`](Cache::insert), with a time to live in place of the cache's.
    pub fn insert_for(&self, key: K, value: V, time_to_live: Duration) -> Inserted<K, V> {
        self.set_timed();
        self.store(key, value, Some(time_to_live).into())
    }

    #[inline]
    fn get_hashed<Q>(&self, hash: u64, key: &Q) -> Option<V>
    where
        Q: Equivalent<K> + ?Sized,
        V: Clone,
    {
        if self.detours.load(Ordering::Relaxed) {
            return self.get_by_detour(hash, key);
        }
        // Each way out of here is a jump, so that the usual look-up has nothing to keep for later.
        let Some(mut contents) = self.shard(hash).look() else {
            return self.get_by_detour(hash, key);
        };
        let Some(table) = contents.engine.table() else {
            return self.get_in_full(contents, hash, key);
        };
        match table.get_hot(hash, key) {
            Ok((value, tells)) => {
                let value = value.clone();
                drop(contents);
                if tells {
                    return self.get_and_adapt(hash, value);
                }
                Some(value)
            }
            Err(trail) => self.get_on(contents, trail, hash, key),
        }
    }

    #[inline(never)]
    fn get_on<Q>(&self, mut contents: Look<'_, K, V>, trail: Trail, hash: u64, key: &Q) -> Option<V>
    where
        Q: Equivalent<K> + ?Sized,
        V: Clone,
    {
        let Some(table) = contents.engine.table() else {
            return self.get_in_full(contents, hash, key);
        };
        let is_absent = match table.get_on(trail, hash, key) {
            Glimpse::Value(value, tells) => {
                let value = value.clone();
                drop(contents);
                if tells {
                    self.adapt(hash, true);
                }
                return Some(value);
            }
            Glimpse::Absent => true,
            Glimpse::Over => false,
        };
        if is_absent && !contents.engine.has_more_to_look_at() {
            return None;
        }
        self.get_in_full(contents, hash, key)
    }

    #[inline]
    fn get_and_adapt(&self, hash: u64, value: V) -> Option<V> {
        self.adapt(hash, true);
        Some(value)
    }

    #[inline(never)]
    fn get_by_detour<Q>(&self, hash: u64, key: &Q) -> Option<V>
    where
        Q: Equivalent<K> + ?Sized,
        V: Clone,
    {
        self.get_at(hash, key, self.now())
    }

    #[inline(never)]
    fn get_in_full<Q>(&self, contents: Look<'_, K, V>, hash: u64, key: &Q) -> Option<V>
    where
        Q: Equivalent<K> + ?Sized,
        V: Clone,
    {
        self.get_under_lock(contents.into(), hash, key, Tick::ZERO)
    }

    #[inline]
    fn get_at<Q>(&self, hash: u64, key: &Q, now: Tick) -> Option<V>
    where
        Q: Equivalent<K> + ?Sized,
        V: Clone,
    {
        match &self.bypass {
            None => self.get_under_lock(self.shard(hash).lock(), hash, key, now),
            Some(bypass) => self.get_around(bypass, hash, key, now),
        }
    }

    /// A look-up without the lock, if that can tell. Apart from the other kind, which is one straight line.
    #[inline(never)]
    fn get_around<Q>(&self, bypass: &Bypass<K, V>, hash: u64, key: &Q, now: Tick) -> Option<V>
    where
        Q: Equivalent<K> + ?Sized,
        V: Clone,
    {
        let idx = self.shard_idx(hash);
        let shard = &self.shards[idx];
        let asked = bypass.would_rather_be_asked(idx, now);
        let contents = match if asked { shard.try_lock() } else { None } {
            Some(contents) => contents,
            None => match bypass.read(idx, hash, key, now) {
                Read::Found(value, tells) => {
                    if tells {
                        self.adapt(hash, true);
                    }
                    return Some(value);
                }
                Read::Absent => return None,
                Read::Ask => shard.lock(),
            },
        };
        self.get_under_lock(contents, hash, key, now)
    }

    // Without the word, the compiler calls it, which is a quarter of a hit.
    #[inline(always)]
    fn get_under_lock<Q>(
        &self,
        mut contents: Locked<'_, K, V>,
        hash: u64,
        key: &Q,
        now: Tick,
    ) -> Option<V>
    where
        Q: Equivalent<K> + ?Sized,
        V: Clone,
    {
        let Some(found) = contents.engine.get_at_once(hash, key, now) else {
            return self.get_and_tidy(contents, hash, key, now);
        };
        let (value, tells) = (found.value.cloned(), found.tells);
        if value.is_none() && contents.engine.has_more_to_look_at() {
            return self.get_and_tidy(contents, hash, key, now);
        }
        drop(contents);
        if tells {
            self.adapt(hash, true);
        }
        value
    }

    /// A look-up that also works on what has expired.
    #[cold]
    #[inline(never)]
    fn get_and_tidy<Q>(
        &self,
        contents: Locked<'_, K, V>,
        hash: u64,
        key: &Q,
        now: Tick,
    ) -> Option<V>
    where
        Q: Equivalent<K> + ?Sized,
        V: Clone,
    {
        let mut gone = self.gone();
        // Bound anew, so that it is dropped before what is gone also if the key or the value panics.
        let mut contents = contents;
        contents.engine.observe(now, &mut gone);
        let found = contents.engine.find(hash, key);
        let value = contents.engine.lookup(found, &mut gone).cloned();
        let counts = value.is_some() && contents.engine.has_evicted();
        // Before what is gone is dropped, which is user code.
        drop(contents);
        if counts {
            self.adapt(hash, true);
        }
        value
    }

    fn peek_with<Q, R>(&self, key: &Q, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let now = self.now();
        let mut gone = self.gone();
        let mut contents = self.shard(hash).lock();
        contents.engine.observe(now, &mut gone);
        let found = contents.engine.find(hash, key);
        contents.engine.peek(found, now).map(read)
    }

    /// Stores a plain entry in one go, where nothing is in the way.
    #[inline]
    fn store_plain(&self, key: K, value: V) -> Inserted<K, V> {
        let hash = self.hasher.hash_one(&key);
        let mut contents = self.shard(hash).lock_to_store();
        if !contents.is_quiet() {
            drop(contents);
            return self.store_by_steps(hash, key, value, Terms::new());
        }
        let exchange = contents.engine.put_at_once(hash, key, value);
        drop(contents);
        let (outcome, evicted) = match exchange {
            Exchange::Added => (Outcome::New, Evicted::none()),
            Exchange::InPlaceOf(key, value) => {
                (Outcome::New, Evicted::one(key, value, Cause::Capacity))
            }
            Exchange::Replaced(key, value) => {
                self.adapt(hash, true);
                let outcome = Outcome::Replaced { key, value };
                let evicted = Evicted::none();
                return Inserted { outcome, evicted };
            }
            Exchange::None(key, value) => {
                return self.store_by_steps(hash, key, value, Terms::new());
            }
        };
        self.adapt(hash, false);
        Inserted { outcome, evicted }
    }

    fn store(&self, key: K, value: V, terms: Terms) -> Inserted<K, V> {
        if self.listener.is_some() {
            return self.store_and_tell(key, value, terms);
        }
        let hash = self.hasher.hash_one(&key);
        self.store_by_steps(hash, key, value, terms)
    }

    #[inline(never)]
    fn store_by_steps(&self, hash: u64, key: K, value: V, terms: Terms) -> Inserted<K, V> {
        let mut evicted = Evicted::none();
        let outcome = self.store_hashed(hash, key, value, terms, &mut evicted);
        Inserted { outcome, evicted }
    }

    #[cold]
    #[inline(never)]
    fn store_and_tell(&self, key: K, value: V, terms: Terms) -> Inserted<K, V> {
        let mut gone = self.gone();
        let hash = self.hasher.hash_one(&key);
        let outcome = self.store_hashed(hash, key, value, terms, &mut gone);
        let evicted = gone.tell(&outcome);
        Inserted { outcome, evicted }
    }

    /// Whether what is stored without terms weighs one and lives for ever, and nobody is told of what leaves for it.
    #[inline]
    fn is_plain(&self) -> bool {
        let timed = self.timed.load(Ordering::Relaxed);
        !timed && self.weigher.is_none() && self.listener.is_none()
    }

    fn store_hashed(
        &self,
        hash: u64,
        key: K,
        value: V,
        terms: Terms,
        gone: &mut Evicted<K, V>,
    ) -> Outcome<K, V> {
        let weight = self.weigh(&key, &value);
        let now = self.now();
        let mut contents = self.shard(hash).lock_to_store();
        contents.engine.observe(now, gone);
        let found = contents.engine.find(hash, &key);
        contents.overtake(hash, &key);
        let fresh = Fresh {
            hash,
            key,
            value,
            weight,
            terms,
        };
        let outcome = contents.engine.put(found, fresh, gone);
        drop(contents);
        self.adapt(hash, found.is_some());
        outcome
    }

    fn weigh(&self, key: &K, value: &V) -> usize {
        self.weigher.as_ref().map_or(1, |weigh| weigh(key, value))
    }

    /// The time as far as it matters. To be asked before a lock is taken, for a clock is user code.
    #[inline]
    fn now(&self) -> Tick {
        if self.timed.load(Ordering::Relaxed) {
            self.clock_time()
        } else {
            Tick::ZERO
        }
    }

    /// Has look-ups read the clock from here on.
    fn set_timed(&self) {
        // Relaxed: who learns of the entry from this thread learns of this as well. Somebody else who looks it up
        // without having read the clock sees it as of the latest time its shard has seen, no earlier than now.
        self.timed.store(true, Ordering::Relaxed);
        self.detours.store(true, Ordering::Relaxed);
    }

    #[inline(never)]
    fn clock_time(&self) -> Tick {
        self.clock.coarse()
    }
}

impl<K, V, S, C> fmt::Debug for Cache<K, V, S, C> {
    /// Takes no lock, so that it can be printed from anywhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("capacity", &self.capacity())
            .field("shards", &self.shards.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
