//! The cache for one owner at a time: the same entries, bounds and expiry as the shared one, without its locks,
//! shards and loading. It needs no `std`.

mod change;
#[cfg(feature = "serde")]
mod snapshot;

use alloc::boxed::Box;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::time::Duration;

use equivalent::Equivalent;
use purlin_core::{Clock, Tick, WallTime};
#[cfg(feature = "std")]
use purlin_core::{MapHasher, SystemClock};

#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
pub use self::snapshot::Snapshot;
use crate::builder::Weigher;
#[cfg(feature = "std")]
use crate::builder::{Builder, Unlimited};
use crate::engine::{self, Engine, Fresh};
use crate::expiry::Lifetimes;
use crate::insertion::{Cause, Inserted};
use crate::listener::{Gone, Listener, Told};
use crate::policy::selector::Selector;
use crate::stats::Stats;
use crate::tags::{self, Moment, Tags};
use crate::terms::Terms;

/// A cache with a hard bound by count or weight.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use purlin_lru_cache::Policy;
/// use purlin_lru_cache::unsync::Cache;
///
/// let mut cache = Cache::builder().entry_limit(2).policy(Policy::Lru).build_unsync();
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
    engine: Engine<K, V>,
    /// There if the policy is adaptive.
    selector: Option<Box<Selector>>,
    weigher: Option<Weigher<K, V>>,
    listener: Option<Listener<K, V>>,
    tags: Tags,
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
        engine: Engine<K, V>,
        selector: Option<Selector>,
        weigher: Option<Weigher<K, V>>,
        listener: Option<Listener<K, V>>,
        hasher: S,
        clock: C,
        lifetimes: Lifetimes,
    ) -> Self {
        Cache {
            engine,
            selector: selector.map(Box::new),
            weigher,
            listener,
            hasher,
            clock,
            timed: lifetimes.is_any(),
            tags: lifetimes.tags,
        }
    }

    /// How many entries there are, with those whose time has come but that no call has met yet.
    pub fn len(&self) -> usize {
        self.engine.len()
    }

    /// Whether [`len`](Cache::len) is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The weight of the entries; their number, if they are bounded by that.
    pub fn weight(&self) -> usize {
        self.engine.weight()
    }

    /// What the weight never exceeds.
    pub fn capacity(&self) -> usize {
        self.engine.limit()
    }

    /// Invalidates all entries that were stored with a tag: none of them is returned any more. O(1), however many there are.
    ///
    /// They leave when somebody meets them, or as others do, and until then they take their room and are in `len`. Tags are told apart
    /// by 12 bits of a hash, which bounds the memory for them: an invalidation takes one in 4096 other tags with it.
    /// A value that was read before and is stored after is refused if its terms say [as of](crate::Terms::as_of) when it was read, as those
    /// of loads and decisions do by themselves.
    pub fn invalidate_tag(&mut self, tag: &(impl Hash + ?Sized)) {
        self.tags.invalidate(tags::slot_of(tag));
    }

    /// The present moment in the order of invalidations, for [`Terms::as_of`].
    pub fn moment(&self) -> Moment {
        self.tags.latest()
    }

    /// The part of the weight that is pinned.
    pub fn pinned(&self) -> usize {
        self.engine.pinned()
    }

    /// What was counted until now.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Drops all entries, and gives their memory back.
    pub fn clear(&mut self) {
        let cleared = self.engine.clear();
        let mut told = Told::new(self.listener.as_ref());
        if told.is_wanted() {
            cleared.for_each(|key, value| told.one(key, value, Cause::Cleared));
            told.end();
        }
    }
}

impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// The value of a key, and a use of it. O(1).
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let mut gone = Gone::new(self.listener.as_ref());
        self.engine.observe(self.now(), &mut gone);
        let hash = self.hasher.hash_one(key);
        let found = self.engine.find(hash, key);
        if found.is_some() && self.engine.has_evicted() {
            adapt(
                &mut self.selector,
                &mut self.engine,
                self.weigher.is_some(),
                (hash, true),
            );
        }
        self.engine.lookup(found, &mut gone)
    }

    /// The value of a key, without counting as a use. It changes nothing at all: other than by `get`, a value that
    /// this found over may be seen again by one who looks after the clock has stepped back.
    pub fn peek<Q>(&self, key: &Q) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let found = self.engine.find(self.hasher.hash_one(key), key);
        self.engine.peek(found, self.now())
    }

    /// Whether a key has a value, without counting as a use.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.peek(key).is_some()
    }

    /// Stores a value, in place of any older one of its key. O(1) for each entry that leaves.
    ///
    /// See [`Outcome`](crate::Outcome) for when it is not stored.
    pub fn insert(&mut self, key: K, value: V) -> Inserted<K, V> {
        self.store(key, value, Terms::new())
    }

    /// [`insert`](Cache::insert), with a time to live in place of the cache's.
    pub fn insert_for(&mut self, key: K, value: V, time_to_live: Duration) -> Inserted<K, V> {
        self.timed = true;
        self.store(key, value, Some(time_to_live).into())
    }

    /// [`insert`](Cache::insert), on terms of its own.
    pub fn insert_on(&mut self, key: K, value: V, terms: Terms) -> Inserted<K, V> {
        self.timed |= terms.lasts().is_some();
        self.store(key, value, terms)
    }

    /// Changes the capacity, and evicts what does not fit any more. Returns the capacity that it has then: more than asked if
    /// pinned entries take more, for these stay.
    ///
    /// O(1) for a larger capacity, and for a smaller one O(1) an entry that leaves and, where the table becomes smaller, an entry
    /// that stays.
    pub fn set_capacity(&mut self, capacity: usize) -> usize {
        let mut gone = Gone::new(self.listener.as_ref());
        self.engine.observe(self.now(), &mut gone);
        let before = self.capacity();
        self.engine.raise(capacity.saturating_sub(before));
        let less = before.saturating_sub(capacity).min(self.engine.unpinned());
        let ceded = self.engine.cede(less, &mut gone);
        debug_assert!(ceded, "it has that much that is not pinned");
        let capacity = self.capacity();
        self.engine.plan(capacity);
        if let Some(selector) = &mut self.selector {
            if self.weigher.is_none() {
                selector.resize(capacity);
            }
        }
        capacity
    }

    /// Pins the entry of a key: it is not evicted any more, however long it is not asked for, and does not make evictions
    /// slower. It keeps its room and its time to live. Returns whether there is one.
    pub fn pin<Q>(&mut self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let mut gone = Gone::new(self.listener.as_ref());
        self.engine.observe(self.now(), &mut gone);
        let hash = self.hasher.hash_one(key);
        let found = self.engine.find(hash, key);
        self.engine.pin(hash, found, &mut gone)
    }

    /// Makes a pinned entry one like others, as if it had just been stored. Returns whether there was one that was pinned.
    pub fn unpin<Q>(&mut self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let mut gone = Gone::new(self.listener.as_ref());
        self.engine.observe(self.now(), &mut gone);
        let hash = self.hasher.hash_one(key);
        let found = self.engine.find(hash, key);
        self.engine.unpin(hash, found, &mut gone)
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
        let mut gone = Gone::new(self.listener.as_ref());
        self.engine.observe(self.now(), &mut gone);
        let found = self.engine.find(self.hasher.hash_one(key), key);
        let taken = self.engine.take(found, &mut gone);
        gone.tell_removed(taken.as_ref());
        taken
    }

    /// Takes out the entry that is next to leave: the least recently used with [`Policy::Lru`](crate::Policy::Lru),
    /// otherwise the one that a set, of those that have more than others, can best do without.
    pub fn pop_oldest(&mut self) -> Option<(K, V)> {
        let mut gone = Gone::new(self.listener.as_ref());
        self.engine.observe(self.now(), &mut gone);
        let taken = self.engine.take_oldest(&mut gone);
        gone.tell_removed(taken.as_ref());
        taken
    }

    /// Keeps the entries of which `keep` is true. O(n).
    ///
    /// If `keep` panics, the entries it refused before are gone and the others are there.
    pub fn retain(&mut self, keep: impl FnMut(&K, &V) -> bool) {
        let now = self.now();
        let mut told = Told::new(self.listener.as_ref());
        self.engine.retain(now, keep, |key, value| {
            told.one(&key, &value, Cause::Removed);
        });
        told.end();
    }

    /// The entries, without counting as a use: newest first with [`Policy::Lru`](crate::Policy::Lru), in no
    /// particular order otherwise.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter(self.engine.iter(self.now()))
    }

    /// Drops entries whose time has come, with at most `budget` units of work: an entry dropped, or a few
    /// of those looked at that could be over.
    /// Returns whether it got done, up to the last millisecond or so.
    ///
    /// Each call does a little of this on the side. It is for a cache that may lie unused for long.
    pub fn sweep(&mut self, budget: usize) -> bool {
        let mut gone = Gone::new(self.listener.as_ref());
        self.engine.observe(self.now(), &mut gone);
        self.engine.sweep(budget, &mut gone)
    }

    fn store(&mut self, key: K, value: V, terms: Terms) -> Inserted<K, V> {
        let hash = self.hasher.hash_one(&key);
        let weight = self.weigher.as_ref().map_or(1, |weigh| weigh(&key, &value));
        let mut gone = Gone::new(self.listener.as_ref());
        self.engine.observe(self.now(), &mut gone);
        let found = self.engine.find(hash, &key);
        let fresh = Fresh {
            hash,
            key,
            value,
            weight,
            terms,
        };
        let outcome = self.engine.put(found, fresh, &mut gone);
        adapt(
            &mut self.selector,
            &mut self.engine,
            self.weigher.is_some(),
            (hash, found.is_some()),
        );
        let evicted = gone.tell(&outcome);
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

/// Lets the policy learn from a request: its key's hash, and whether it hit.
fn adapt<K, V>(
    selector: &mut Option<Box<Selector>>,
    engine: &mut Engine<K, V>,
    is_weighed: bool,
    (hash, hit): (u64, bool),
) {
    let Some(selector) = selector else {
        return;
    };
    if selector.samples(hash) && selector.note(hash, hit) {
        engine.set_arm(selector.arm());
        if is_weighed {
            selector.resize(engine.len());
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

/// The entries of a [`Cache`].
pub struct Iter<'a, K, V>(engine::Iter<'a, K, V>);

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
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
