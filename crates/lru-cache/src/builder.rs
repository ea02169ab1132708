use alloc::boxed::Box;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::time::Duration;

#[cfg(feature = "std")]
use purlin_core::SystemClock;
use purlin_core::{Clock, MapHasher};

use crate::engine::Engine;
use crate::expiry::Lifetimes;
use crate::insertion::Cause;
use crate::listener::Listener;
use crate::policy::Policy;
use crate::policy::selector::Selector;
use crate::unsync;

/// Settles what a cache is like before there is one. The bound comes first: either a number of entries, or a
/// total weight and a way to weigh. The types allow one of the two, once.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use std::time::Duration;
/// use purlin_lru_cache::Cache;
///
/// let by_count = Cache::builder()
///     .entry_limit(10_000)
///     .time_to_live(Duration::from_secs(60))
///     .build();
/// by_count.insert("key", 1);
///
/// // At most 64 MiB of pages.
/// let by_weight = Cache::builder()
///     .weight_limit(64 << 20, |_key, page: &Vec<u8>| page.len())
///     .build();
/// by_weight.insert(7, vec![0; 4096]);
/// assert_eq!(by_weight.weight(), 4096);
/// # }
/// ```
#[must_use = "a builder does nothing until it builds"]
pub struct Builder<K, V, L, S, C> {
    limit: L,
    settings: Settings,
    hasher: S,
    clock: C,
    listener: Option<Listener<K, V>>,
}

/// What is settled without changing a type.
struct Settings {
    policy: Policy,
    lifetimes: Lifetimes,
    /// `None`: as many as pay.
    #[cfg(feature = "std")]
    n_shards: Option<usize>,
    #[cfg(feature = "std")]
    patience: Duration,
    #[cfg(feature = "std")]
    reads_without_lock: bool,
}

/// A [`Builder`] that has no bound yet.
#[derive(Debug)]
pub struct Unlimited(());

/// A [`Builder`] bounded by the number of entries.
#[derive(Debug)]
pub struct ByEntries(usize);

/// A [`Builder`] bounded by the weight of the entries.
pub struct ByWeight<K, V> {
    max: usize,
    weigher: Weigher<K, V>,
}

/// What a caller's closure says an entry weighs.
pub(crate) type Weigher<K, V> = Box<dyn Fn(&K, &V) -> usize + Send + Sync>;

/// How long a caller waits for somebody else's load that gives no sign of life. Longer than the time-outs of
/// databases and HTTP clients, so that it is they who end a slow load; short enough that a load whose future was
/// put aside and forgotten does not take its key with it for good.
#[cfg(feature = "std")]
const LOAD_PATIENCE: Duration = Duration::from_secs(60);

#[cfg(feature = "std")]
impl<K, V> Builder<K, V, Unlimited, MapHasher, SystemClock> {
    /// A builder with the operating system's clock.
    #[expect(
        clippy::new_without_default,
        reason = "nothing is built without a bound, so a default would be no shorter"
    )]
    pub fn new() -> Self {
        Builder::with_clock(SystemClock::new())
    }
}

impl<K, V, C> Builder<K, V, Unlimited, MapHasher, C> {
    /// A builder with a clock of the caller's. The only way where there is no `std`; a cache in which nothing
    /// expires takes an [`unsync::StoppedClock`] there.
    pub fn with_clock(clock: C) -> Self {
        Builder {
            limit: Unlimited(()),
            settings: Settings {
                policy: Policy::default(),
                lifetimes: Lifetimes::default(),
                #[cfg(feature = "std")]
                n_shards: None,
                #[cfg(feature = "std")]
                patience: LOAD_PATIENCE,
                #[cfg(feature = "std")]
                reads_without_lock: false,
            },
            hasher: MapHasher::new(),
            clock,
            listener: None,
        }
    }
}

impl<K, V, S, C> Builder<K, V, Unlimited, S, C> {
    /// Bounds the number of entries. Zero stores nothing.
    ///
    /// The memory is not set aside but grows with the entries. More than 2³² − 1 entries a shard are never held.
    pub fn entry_limit(self, entries: usize) -> Builder<K, V, ByEntries, S, C> {
        self.limited(ByEntries(entries))
    }

    /// Bounds the sum of what `weigher` says of the entries. Zero stores nothing.
    ///
    /// `weigher` is called once an insert, without a lock, and its answer kept. An entry of weight 0 is free: it
    /// takes nothing from the limit, and still leaves when its turn comes.
    pub fn weight_limit(
        self,
        weight: usize,
        weigher: impl Fn(&K, &V) -> usize + Send + Sync + 'static,
    ) -> Builder<K, V, ByWeight<K, V>, S, C> {
        self.limited(ByWeight {
            max: weight,
            weigher: Box::new(weigher),
        })
    }

    fn limited<L>(self, limit: L) -> Builder<K, V, L, S, C> {
        Builder {
            limit,
            settings: self.settings,
            hasher: self.hasher,
            clock: self.clock,
            listener: self.listener,
        }
    }
}

impl<K, V, L, S, C> Builder<K, V, L, S, C> {
    /// How the cache chooses what to keep: [`Policy::Adaptive`] without this call.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// How long an entry lives from its insertion on, unless it is inserted with a time of its own. Forever, if
    /// this is not called. Zero stores nothing; a time that ends after the clock does is forever.
    ///
    /// Nobody lives longer, and under any policy but [`Policy::Lru`] an entry may be over earlier by a part in 100 000 of its time, or
    /// in a cache that has grown beyond some 600 entries a shard by a part in 8000, half a second of an hour: its deadline takes three bytes.
    pub fn time_to_live(mut self, lasts: Duration) -> Self {
        self.settings.lifetimes.to_live = Some(lasts);
        self
    }

    /// Ends the time to live of each entry earlier, by chance, by up to this share of it: from 0, which is so without this
    /// call, to 1. Numbers beyond count as the nearer of these, and what is not a number as 0.
    ///
    /// Entries that were stored together then do not all have to be loaded again at one moment. It concerns the
    /// cache's time to live; one that an entry is inserted with is as it says.
    pub fn jitter(mut self, share: f64) -> Self {
        self.settings.lifetimes.jitter = if share > 0.0 { share.min(1.0) } else { 0.0 };
        self
    }

    /// How long an entry lives from its last use on. Inserting and getting are uses; `peek`, `contains` and walks
    /// are not. With a time to live as well, the entry goes by whichever ends first.
    pub fn time_to_idle(mut self, lasts: Duration) -> Self {
        self.settings.lifetimes.to_idle = Some(lasts);
        self
    }

    /// How long an entry is kept after its time, for the calls of the shared cache that ask for what is over,
    /// [`get_refreshing`](crate::Cache::get_refreshing); not at all, without this call. Until then it takes its part of the
    /// limit, as the others do, and may have to make room. To any other call it is not there.
    #[cfg(feature = "std")]
    pub fn keep_stale(mut self, lasts: Duration) -> Self {
        self.settings.lifetimes.stale = lasts;
        self
    }

    /// The hasher of keys, in place of a randomly seeded [`MapHasher`]: `MapHasher::with_seed(n)` for runs that
    /// repeat, or another. One that an attacker can predict lets him put all keys in one bucket, and
    /// of thousands of keys with one hash only the latest stay.
    pub fn hasher<S2>(self, hasher: S2) -> Builder<K, V, L, S2, C> {
        Builder {
            limit: self.limit,
            settings: self.settings,
            hasher,
            clock: self.clock,
            listener: self.listener,
        }
    }

    /// The clock that entries live by, in place of the operating system's.
    pub fn clock<C2>(self, clock: C2) -> Builder<K, V, L, S, C2> {
        Builder {
            limit: self.limit,
            settings: self.settings,
            hasher: self.hasher,
            clock,
            listener: self.listener,
        }
    }

    /// Tells `listener` of each entry that leaves, and why. None is left out: neither if the call in which it leaves
    /// panics, nor if `listener` does, whose panic goes on when the others have been told of. An entry that is refused
    /// was never there, and those that are there when the cache itself is dropped are not told of.
    ///
    /// It is called by the thread whose call made the entry leave, before that call returns, and without a lock. So it may
    /// call the cache, and is called once more, before it returns, if that makes an entry leave: one that
    /// stores something for each entry that leaves a full cache never ends. Two threads may be told of two entries
    /// of one key in either order.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use std::sync::Arc;
    /// use purlin_lru_cache::{Cache, Cause};
    ///
    /// let expired = Arc::new(AtomicUsize::new(0));
    /// let count = Arc::clone(&expired);
    /// let cache = Cache::builder()
    ///     .entry_limit(100)
    ///     .listener(move |_key: &u32, _value: &u32, cause| {
    ///         if cause == Cause::Expired {
    ///             count.fetch_add(1, Ordering::Relaxed);
    ///         }
    ///     })
    ///     .build();
    /// cache.insert(1, 1);
    /// cache.remove(&1);
    /// assert_eq!(expired.load(Ordering::Relaxed), 0);
    /// # }
    /// ```
    pub fn listener(mut self, listener: impl Fn(&K, &V, Cause) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// How many shards the shared cache has, each with a lock, an order of its own and an equal part of the limit.
    /// Rounded down to a power of two, and to no more than the limit; at least 1, and at most 512.
    ///
    /// More shards let more threads work at once, and each shard evicts when its own part is full, however empty the
    /// others are. With one and [`Policy::Lru`] the order is exact. Without this call a small cache has one and a
    /// large one as many as pay on this machine.
    #[cfg(feature = "std")]
    pub fn shards(mut self, n_shards: usize) -> Self {
        self.settings.n_shards = Some(n_shards);
        self
    }

    /// Has [`get`](crate::Cache::get) of the shared cache look values up without the lock of their shard, where keys and values
    /// are numbers, `bool`, `char` or short arrays of those, up to 64 bytes for the two. With other types, under [`Policy::Lru`], and in
    /// a cache for up to 1024 entries it changes nothing.
    ///
    /// For caches where the slowest look-ups matter: a thread that loses its processor in the middle of an insertion then keeps
    /// nobody waiting. The mean is not better for it: look-ups of few threads take up to half as long again, insertions
    /// twice as long, an entry takes two to three bytes more, and memory that entries had is kept for others until the cache is dropped. Of an entry with a time to idle, tags or a cost,
    /// and of one that stands beside it, the lock is taken as before, and so it is of what is over.
    ///
    /// ```
    /// use purlin_lru_cache::Cache;
    ///
    /// let prices: Cache<u64, f64> = Cache::builder()
    ///     .entry_limit(100_000)
    ///     .reads_without_lock()
    ///     .build();
    /// prices.insert(17, 9.5);
    /// assert_eq!(prices.get(&17), Some(9.5));
    /// ```
    #[cfg(feature = "std")]
    pub fn reads_without_lock(mut self) -> Self {
        self.settings.reads_without_lock = true;
        self
    }

    /// How long a load may give no sign of life before the next caller who asks for its key loads in its stead;
    /// 60 seconds without this call, `Duration::MAX` for never.
    ///
    /// A load that is running or being polled at the moment is alive, however long it takes, and so is one that was
    /// within this time. What this is for is the future of a load that somebody keeps and does not poll. A load that
    /// waits for longer than this for one answer from outside may be started a second time.
    #[cfg(feature = "std")]
    pub fn load_patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }
}

impl<K, V, L, S, C> Builder<K, V, L, S, C>
where
    K: Hash + Eq,
    L: Limit<K, V>,
    S: BuildHasher,
    C: Clock,
{
    /// A cache that threads and tasks can share.
    #[cfg(feature = "std")]
    pub fn build(self) -> crate::Cache<K, V, S, C> {
        let n_shards = crate::cache::shard_count(
            self.settings.n_shards,
            self.settings.policy,
            self.limit.max(),
            L::MIN_SHARD_LIMIT,
            L::MAX_DEFAULT_SHARDS,
        );
        // Seeded by the hasher, so that a hasher with a seed makes the whole run repeat.
        let seed = self.hasher.hash_one(0u64);
        crate::Cache::assemble(crate::cache::Parts {
            seed,
            capacity: self.limit.max(),
            weigher: self.limit.into_weigher(),
            policy: self.settings.policy,
            lifetimes: self.settings.lifetimes,
            n_shards,
            patience: self.settings.patience,
            reads_without_lock: self.settings.reads_without_lock,
            listener: self.listener,
            hasher: self.hasher,
            clock: self.clock,
        })
    }

    /// A cache for one owner at a time, without locks or shards. Settings that only concern sharing are ignored.
    pub fn build_unsync(self) -> unsync::Cache<K, V, S, C> {
        // Seeded by the hasher, so that a hasher with a seed makes the whole run repeat.
        let seed = self.hasher.hash_one(0u64);
        let policy = self.settings.policy;
        let lifetimes = Lifetimes {
            stale: Duration::ZERO,
            ..self.settings.lifetimes
        };
        let limit = self.limit.max();
        let weigher = self.limit.into_weigher();
        unsync::Cache::assemble(
            Engine::new(
                policy,
                limit,
                weigher.is_some(),
                lifetimes.clone(),
                seed,
                None,
            ),
            Selector::for_policy(policy, limit, weigher.is_some(), seed),
            weigher,
            self.listener,
            self.hasher,
            self.clock,
            lifetimes,
        )
    }
}

/// The two kinds of bound. Nobody else's type is one.
pub trait Limit<K, V>: sealed::Sealed {
    /// What a shard gets at least, where the number of shards is ours to choose.
    #[doc(hidden)]
    const MIN_SHARD_LIMIT: usize;
    /// The most shards we choose ourselves.
    #[doc(hidden)]
    const MAX_DEFAULT_SHARDS: usize;
    #[doc(hidden)]
    fn max(&self) -> usize;
    #[doc(hidden)]
    fn into_weigher(self) -> Option<Weigher<K, V>>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ByEntries {}
    impl<K, V> Sealed for super::ByWeight<K, V> {}
}

impl<K, V> Limit<K, V> for ByEntries {
    /// What shards lend each other is a quarter of this: eight times the square root of it, by which the keys that hash
    /// to a shard vary. Under exact order, where they lend nothing, one evicts at about 97 % of the cache's capacity.
    const MIN_SHARD_LIMIT: usize = 1024;
    const MAX_DEFAULT_SHARDS: usize = 512;

    fn max(&self) -> usize {
        self.0
    }

    fn into_weigher(self) -> Option<Weigher<K, V>> {
        None
    }
}

impl<K, V> Limit<K, V> for ByWeight<K, V> {
    /// Weights are bytes more often than not, and entries are then a few hundred of them.
    const MIN_SHARD_LIMIT: usize = 64 << 10;
    /// An entry cannot be heavier than a shard's part. With eight, an eighth of the limit always fits, on a
    /// machine with many cores as on one with few.
    const MAX_DEFAULT_SHARDS: usize = 8;

    fn max(&self) -> usize {
        self.max
    }

    fn into_weigher(self) -> Option<Weigher<K, V>> {
        Some(self.weigher)
    }
}

impl<K, V> fmt::Debug for ByWeight<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByWeight").field(&self.max).finish()
    }
}

impl<K, V, L: fmt::Debug, S, C> fmt::Debug for Builder<K, V, L, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("limit", &self.limit)
            .field("lifetimes", &self.settings.lifetimes)
            .finish_non_exhaustive()
    }
}
