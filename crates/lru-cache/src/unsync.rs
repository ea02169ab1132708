//! The cache for one owner at a time: the same entries, bounds and expiry as the shared one, without its locks,
//! shards and loading. It needs no `std`.

use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::time::Duration;

use equivalent::Equivalent;
use purlin_core::{Clock, Tick, WallTime};
#[cfg(feature = "std")]
use purlin_core::{MapHasher, SystemClock};

use crate::builder::Weigher;
#[cfg(feature = "std")]
use crate::builder::{Builder, Unlimited};
use crate::insertion::{Evicted, Inserted};
use crate::lru::{Entry, Fresh, Lifetimes, Lru, Recency};
use crate::stats::Stats;

/// A cache with exact least-recently-used order and a hard bound by count or weight.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use purlin_lru_cache::unsync::Cache;
///
/// let mut cache = Cache::new(2);
/// cache.insert("a", 1);
/// cache.insert("b", 2);
/// assert_eq!(cache.get("a"), Some(&1)); // Now "b" is the oldest.
/// let inserted = cache.insert("c", 3);
/// assert_eq!(inserted.evicted.iter().next().map(|eviction| eviction.key), Some("b"));
/// assert_eq!(cache.iter().collect::<Vec<_>>(), [(&"c", &3), (&"a", &1)]);
/// # }
/// ```
///
/// Without `std` there is no clock to take by default:
///
/// ```
/// use purlin_lru_cache::Builder;
/// use purlin_lru_cache::unsync::StoppedClock;
///
/// let mut cache = Builder::with_clock(StoppedClock).entry_limit(2).build_unsync();
/// cache.insert(1, "one");
/// ```
pub struct Cache<
    K,
    V,
    #[cfg(feature = "std")] S = MapHasher,
    #[cfg(not(feature = "std"))] S,
    #[cfg(feature = "std")] C = SystemClock,
    #[cfg(not(feature = "std"))] C,
> {
    lru: Lru<K, V>,
    weigher: Option<Weigher<K, V>>,
    hasher: S,
    clock: C,
    /// Whether any entry can have a deadline; until then the clock is not read.
    timed: bool,
}

#[cfg(feature = "std")]
impl<K: Hash + Eq, V> Cache<K, V> {
    /// An empty cache of at most `entries` entries, whose memory grows with them.
    pub fn new(entries: usize) -> Self {
        Cache::builder().entry_limit(entries).build_unsync()
    }

    /// Settles more than the number of entries; end with [`build_unsync`](Builder::build_unsync).
    pub fn builder() -> Builder<K, V, Unlimited, MapHasher, SystemClock> {
        Builder::new()
    }
}

impl<K, V, S, C> Cache<K, V, S, C> {
    pub(crate) fn assemble(
        lru: Lru<K, V>,
        weigher: Option<Weigher<K, V>>,
        hasher: S,
        clock: C,
        lifetimes: Lifetimes,
    ) -> Self {
        Cache {
            lru,
            weigher,
            hasher,
            clock,
            timed: lifetimes.is_any(),
        }
    }

    /// How many entries there are, with those whose time has come but that no call has met yet.
    pub fn len(&self) -> usize {
        self.lru.len()
    }

    /// Whether [`len`](Cache::len) is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The weight of the entries; their number, if they are bounded by that.
    pub fn weight(&self) -> usize {
        self.lru.weight()
    }

    /// What the weight never exceeds.
    pub fn capacity(&self) -> usize {
        self.lru.limit()
    }

    /// What was counted until now.
    pub fn stats(&self) -> Stats {
        self.lru.stats()
    }

    /// Drops all entries, and gives their memory back.
    pub fn clear(&mut self) {
        drop(self.lru.clear());
    }
}

impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// The value of a key, which becomes the newest. O(1).
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let mut gone = Evicted::new();
        self.lru.observe(self.now(), &mut gone);
        let found = self.lru.find(self.hasher.hash_one(key), key);
        self.lru.lookup(found, &mut gone)
    }

    /// The value of a key, without counting as a use. It changes nothing at all: other than by `get`, a value that
    /// this found over may be seen again by one who looks after the clock has stepped back.
    pub fn peek<Q>(&self, key: &Q) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let found = self.lru.find(self.hasher.hash_one(key), key);
        self.lru.peek(found, self.now())
    }

    /// Whether a key has a value, without counting as a use.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.peek(key).is_some()
    }

    /// Stores a value as the newest, in place of any older one of its key. O(1) for each entry that leaves.
    ///
    /// See [`Outcome`](crate::Outcome) for when it is not stored.
    pub fn insert(&mut self, key: K, value: V) -> Inserted<K, V> {
        self.store(key, value, None)
    }

    /// [`insert`](Cache::insert), with a time to live in place of the cache's.
    pub fn insert_for(&mut self, key: K, value: V, time_to_live: Duration) -> Inserted<K, V> {
        self.timed = true;
        self.store(key, value, Some(time_to_live))
    }

    /// Takes a value out.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let (_, value) = self.remove_entry(key)?;
        Some(value)
    }

    /// Takes a value out with its key.
    pub fn remove_entry<Q>(&mut self, key: &Q) -> Option<(K, V)>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let mut gone = Evicted::new();
        self.lru.observe(self.now(), &mut gone);
        let found = self.lru.find(self.hasher.hash_one(key), key);
        self.lru.take(found, &mut gone)
    }

    /// Takes the least recently used entry out.
    pub fn pop_oldest(&mut self) -> Option<(K, V)> {
        let mut gone = Evicted::new();
        self.lru.observe(self.now(), &mut gone);
        self.lru.take_oldest(&mut gone)
    }

    /// Keeps the entries of which `keep` is true. O(n).
    ///
    /// If `keep` panics, the entries it refused before are gone and the others are there.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let now = self.now();
        for at in 0..self.lru.end() {
            let Some(entry) = self.lru.entry_at(at, now) else {
                continue;
            };
            if !keep(&entry.key, &entry.value) {
                let stamp = entry.stamp;
                drop(self.lru.take_stamped(at, stamp));
            }
        }
    }

    /// The entries, newest first, without counting as a use.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter {
            lru: &self.lru,
            entries: self.lru.iter(),
            now: self.now(),
        }
    }

    /// Drops entries whose time has come, with at most `budget` units of work: an entry dropped, or a timer moved.
    /// Returns whether it got done, up to the last millisecond or so.
    ///
    /// Each call does a little of this on the side. It is for a cache that may lie unused for long.
    pub fn sweep(&mut self, budget: usize) -> bool {
        let mut gone = Evicted::new();
        self.lru.observe(self.now(), &mut gone);
        self.lru.sweep(budget, &mut gone)
    }

    fn store(&mut self, key: K, value: V, time_to_live: Option<Duration>) -> Inserted<K, V> {
        let hash = self.hasher.hash_one(&key);
        let weight = self.weigher.as_ref().map_or(1, |weigh| weigh(&key, &value));
        let mut evicted = Evicted::new();
        self.lru.observe(self.now(), &mut evicted);
        let found = self.lru.find(hash, &key);
        let fresh = Fresh {
            hash,
            key,
            value,
            weight,
            time_to_live,
        };
        let outcome = self.lru.put(found, fresh, &mut evicted);
        Inserted { outcome, evicted }
    }

    fn now(&self) -> Tick {
        if self.timed {
            self.clock.coarse()
        } else {
            Tick::ZERO
        }
    }
}

impl<K, V, S, C> fmt::Debug for Cache<K, V, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("capacity", &self.capacity())
            .field("len", &self.len())
            .field("weight", &self.weight())
            .finish_non_exhaustive()
    }
}

/// The entries of a [`Cache`], newest first.
pub struct Iter<'a, K, V> {
    lru: &'a Lru<K, V>,
    entries: Recency<'a, Entry<K, V>>,
    now: Tick,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        let (lru, now) = (self.lru, self.now);
        let (_, entry) = self.entries.find(|(_, entry)| !lru.is_over(entry, now))?;
        Some((&entry.key, &entry.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.entries.size_hint().1)
    }
}

impl<K, V> fmt::Debug for Iter<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

/// A clock that stands still at its beginning, for a cache in which nothing expires on a machine without an
/// operating system to ask. With it, a time to live is forever, unless it is zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Tick {
        Tick::ZERO
    }

    fn wall(&self) -> WallTime {
        WallTime::UNIX_EPOCH
    }
}
