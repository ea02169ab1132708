//! Loading anew what can still be given out.

use alloc::borrow::ToOwned;
use alloc::sync::Arc as StdArc;
use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::hash::{BuildHasher, Hash};
use core::pin::pin;
use core::time::Duration;

use equivalent::Equivalent;
use purlin_core::sync::Arc;
use purlin_core::{Clock, MapHasher, SystemClock};

use super::Cache;
use super::lead::{ErrorPolicy, Handle, Kept, Lead, Loaded, Shared};
use crate::expiry::Standing;
use crate::flight::{FIRST_PILOT, Flight};

/// When a value is to be loaded anew though it can still be given out; each call says so for itself.
///
/// ```
/// use std::time::Duration;
/// use purlin_lru_cache::Due;
///
/// // In the last ten seconds of its time to live, and for a minute after it.
/// let due = Due::ahead(Duration::from_secs(10)).or_stale(Duration::from_secs(60));
/// ```
///
/// The default is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[must_use = "it says when, and does nothing"]
pub struct Due {
    ahead: Duration,
    stale: Duration,
}

impl Due {
    /// Once no more than this is left of its time to live, so that who asks often enough never waits (*refresh-ahead*).
    /// A value that lives for ever is never due.
    pub const fn ahead(left: Duration) -> Self {
        Due {
            ahead: left,
            stale: Duration::ZERO,
        }
    }

    /// Once its time to live or to idle is over, for no longer than this (*stale-while-revalidate*). The cache must be one
    /// that [keeps](crate::Builder::keep_stale) its entries for as long.
    pub const fn stale(over: Duration) -> Self {
        Due::ahead(Duration::ZERO).or_stale(over)
    }

    /// Also when it is over, as with [`stale`](Due::stale).
    pub const fn or_stale(self, over: Duration) -> Self {
        Due {
            stale: over,
            ..self
        }
    }

    /// What may be done with a value in this part of its life.
    fn judge(self, standing: Standing) -> Verdict {
        match standing {
            Standing::Left(left) if left > self.ahead || left == Duration::MAX => Verdict::Fresh,
            Standing::Left(_) => Verdict::Due,
            Standing::Over(over) if over <= self.stale && !self.stale.is_zero() => Verdict::Stale,
            Standing::Over(_) => Verdict::TooOld,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fresh,
    Due,
    Stale,
    TooOld,
}

/// A value that was there, and perhaps the duty to load it anew.
#[derive(Debug)]
pub struct Served<'a, K, V, S = MapHasher, C = SystemClock>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// A clone of the value.
    pub value: V,
    /// Whether its time is over.
    pub is_stale: bool,
    /// There for one caller when the value is due.
    pub refresh: Option<Refresh<'a, K, V, S, C>>,
}

/// # Refreshing
///
/// A value that is due can be given out while it is loaded anew, and the cache has no thread or task to do that: it gives
/// the duty to one caller, as a [`Refresh`], and to no other until that is done or dropped.
impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// A clone of the value of a key, and a use of it, as [`get`](Cache::get) has it; also of one that is over, if `due`
    /// allows it. When the value is due, and nobody has the duty to load it anew, this caller gets it. Never waits.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use purlin_lru_cache::{Cache, Due};
    /// # fn render(path: &str) -> String { path.to_owned() }
    /// let pages: Cache<String, String> = Cache::builder()
    ///     .entry_limit(1_000)
    ///     .time_to_live(Duration::from_secs(60))
    ///     .keep_stale(Duration::from_secs(300))
    ///     .build();
    /// let due = Due::ahead(Duration::from_secs(10)).or_stale(Duration::from_secs(300));
    ///
    /// let page = match pages.get_refreshing("/", due) {
    ///     Some(served) => {
    ///         if let Some(refresh) = served.refresh {
    ///             // Here, or with `get_refreshing_owned` on another thread.
    ///             refresh.run(|path| render(path));
    ///         }
    ///         served.value
    ///     }
    ///     None => pages.get_or_load("/", render),
    /// };
    /// ```
    pub fn get_refreshing<Q>(&self, key: &Q, due: Due) -> Option<Served<'_, K, V, S, C>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.serve(key, due, || Handle::Borrowed(self))
    }

    /// [`get_refreshing`](Cache::get_refreshing) whose [`Refresh`] keeps the cache, so that it can be sent to a thread or
    /// spawned as a task.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use purlin_lru_cache::{Cache, Due};
    /// # async fn render(path: String) -> String { path }
    /// # fn spawn(_: impl Future<Output = Option<String>> + Send + 'static) {}
    /// async fn page(pages: &Arc<Cache<String, String>>, path: &str, due: Due) -> String {
    ///     let Some(served) = pages.get_refreshing_owned(path, due) else {
    ///         return pages.get_or_load_async(path, |path| render(path.to_owned())).await;
    ///     };
    ///     if let Some(refresh) = served.refresh {
    ///         spawn(refresh.run_async(render(path.to_owned())));
    ///     }
    ///     served.value
    /// }
    /// ```
    pub fn get_refreshing_owned<Q>(
        self: &StdArc<Self>,
        key: &Q,
        due: Due,
    ) -> Option<Served<'static, K, V, S, C>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.serve(key, due, || Handle::Shared(StdArc::clone(self)))
    }

    fn serve<'a, Q>(
        &self,
        key: &Q,
        due: Due,
        handle: impl FnOnce() -> Handle<'a, K, V, S, C>,
    ) -> Option<Served<'a, K, V, S, C>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let (value, verdict, is_taken) = self.look(hash, key, due)?;
        let refresh = if verdict == Verdict::Fresh || is_taken {
            None
        } else {
            self.announce(hash, key, due, handle)
        };
        Some(Served {
            value,
            is_stale: verdict == Verdict::Stale,
            refresh,
        })
    }

    /// A look-up, and whether somebody loads the key.
    fn look<Q>(&self, hash: u64, key: &Q, due: Due) -> Option<(V, Verdict, bool)>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let now = self.now();
        let flight_now = self.clock.coarse();
        let mut gone = self.gone();
        let mut contents = self.shard(hash).lock();
        contents.engine.observe(now, &mut gone);
        let found = contents.engine.find(hash, key);
        let verdict = contents
            .engine
            .inspect(found)
            .map_or(Verdict::TooOld, |(_, standing)| due.judge(standing));
        let value = if verdict == Verdict::Stale {
            contents.engine.lookup_stale(found).cloned()
        } else {
            contents.engine.lookup(found, &mut gone).cloned()
        };
        let is_taken = verdict != Verdict::Fresh
            && contents
                .flights
                .find(hash, key)
                .is_some_and(|flight| flight.is_taken(flight_now, self.patience));
        let tells = value.is_some() && contents.engine.has_evicted();
        drop(contents);
        if tells {
            self.adapt(hash, true);
        }
        value.map(|value| (value, verdict, is_taken))
    }

    /// Promises to load a key anew, unless somebody has by now, or has done so.
    fn announce<'a, Q>(
        &self,
        hash: u64,
        key: &Q,
        due: Due,
        handle: impl FnOnce() -> Handle<'a, K, V, S, C>,
    ) -> Option<Refresh<'a, K, V, S, C>>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let now = self.clock.coarse();
        // Made before the lock is taken, and dropped after it if it is not needed.
        let announced = Arc::new(Flight::announced(key.to_owned(), now));
        let handle = handle();
        let mut gone = self.gone();
        let mut contents = self.shard(hash).lock();
        contents.engine.observe(now, &mut gone);
        let found = contents.engine.find(hash, key);
        let (_, standing) = contents.engine.inspect(found)?;
        if due.judge(standing) == Verdict::Fresh {
            return None;
        }
        let (flight, pilot) = match contents.flights.find(hash, key).map(Arc::clone) {
            Some(flight) => {
                let pilot = flight.promise(now, self.patience);
                (flight, pilot)
            }
            None => {
                contents.flights.list(hash, Arc::clone(&announced));
                (announced, Some(FIRST_PILOT))
            }
        };
        drop(contents);
        let lead = Lead::announced(handle, hash, flight, pilot?);
        Some(Refresh { lead })
    }
}

/// The duty to load a value anew, which one caller has at a time.
///
/// - **Run it** where it is, on a thread or as a task. From its beginning on it is a load like any other: who asks for the
///   key when its value is over waits for it, and a value that was written meanwhile is not replaced.
/// - **Drop it**, begun or not, and the next caller who finds the value due gets the duty.
/// - **Until it begins nobody waits for it.** A caller who finds the value absent or over meanwhile loads it, and then this
///   does nothing. So it may wait for its turn in a queue of any length.
/// - **Kept and not begun** for the [patience](crate::Builder::load_patience) of the cache, it goes to the next caller.
///
/// All of its methods return `None`, and the load is not called or polled, if there is nothing to do any more: the key was
/// written to since, or somebody else loads it. A load that fails leaves the older value as it is, and the next caller who
/// finds it due gets the duty; so that a source that is down is asked by one caller at a time, and as often as its answers come.
/// As with any load, what is stored has no tags.
#[must_use = "the next caller gets the duty if this is dropped"]
pub struct Refresh<'a, K, V, S = MapHasher, C = SystemClock>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    lead: Lead<'a, K, V, S, C>,
}

impl<'a, K, V, S, C> Refresh<'a, K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// See [`Lead::begin`].
    pub(super) fn begin(self) -> Option<Lead<'a, K, V, S, C>> {
        self.lead.begin()
    }

    /// The key whose value is due.
    pub fn key(&self) -> &K {
        self.lead.key()
    }
}

impl<K, V, S, C> Refresh<'_, K, V, S, C>
where
    K: Hash + Eq + Clone,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// Loads the value, stores it, and returns a clone.
    ///
    /// # Panics
    ///
    /// If `load` does, or if it asks for the key it is loading while its value is over.
    pub fn run(self, load: impl FnOnce(&K) -> V) -> Option<V> {
        let usual = |value| Ok(Loaded::usual(value));
        let loaded: Result<Option<V>, Infallible> = self.fly::<_, _, Kept>(load, usual);
        let Ok(value) = loaded;
        value
    }

    /// [`run`](Refresh::run) for a load that can fail.
    ///
    /// # Errors
    ///
    /// What `load` returned. Who came to wait for it, because the older value was over, gets a clone.
    ///
    /// # Panics
    ///
    /// As [`run`](Refresh::run).
    pub fn try_run<E>(self, load: impl FnOnce(&K) -> Result<V, E>) -> Result<Option<V>, E>
    where
        E: Clone + Send + Sync + 'static,
    {
        self.fly::<_, _, Shared>(load, |loaded| loaded.map(Loaded::usual))
    }

    /// [`try_run`](Refresh::try_run) for a load that knows how long its value lives.
    ///
    /// # Errors
    ///
    /// As [`try_run`](Refresh::try_run).
    ///
    /// # Panics
    ///
    /// As [`run`](Refresh::run).
    pub fn try_run_for<E>(
        self,
        load: impl FnOnce(&K) -> Result<(V, Duration), E>,
    ) -> Result<Option<V>, E>
    where
        E: Clone + Send + Sync + 'static,
    {
        self.fly::<_, _, Shared>(load, |loaded| loaded.map(Loaded::living))
    }

    /// Polls the load to its end, stores the value, and returns a clone. It begins when it is polled for the first time.
    ///
    /// # Panics
    ///
    /// If the load does, or if it asks for the key it is loading while its value is over.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the load and leaves the older value as it is. The next caller who finds it due gets the
    /// duty; one who waits because it was over loads in its stead.
    pub async fn run_async(self, load: impl Future<Output = V>) -> Option<V> {
        let usual = |value| Ok(Loaded::usual(value));
        let loaded: Result<Option<V>, Infallible> = self.fly_async::<_, _, Kept>(load, usual).await;
        let Ok(value) = loaded;
        value
    }

    /// [`run_async`](Refresh::run_async) for a load that can fail.
    ///
    /// # Errors
    ///
    /// As [`try_run`](Refresh::try_run).
    ///
    /// # Panics
    ///
    /// As [`run_async`](Refresh::run_async).
    ///
    /// # Cancel safety
    ///
    /// As [`run_async`](Refresh::run_async).
    pub async fn try_run_async<E>(
        self,
        load: impl Future<Output = Result<V, E>>,
    ) -> Result<Option<V>, E>
    where
        E: Clone + Send + Sync + 'static,
    {
        self.fly_async::<_, _, Shared>(load, |loaded| loaded.map(Loaded::usual))
            .await
    }

    /// [`try_run_async`](Refresh::try_run_async) for a load that knows how long its value lives.
    ///
    /// # Errors
    ///
    /// As [`try_run`](Refresh::try_run).
    ///
    /// # Panics
    ///
    /// As [`run_async`](Refresh::run_async).
    ///
    /// # Cancel safety
    ///
    /// As [`run_async`](Refresh::run_async).
    pub async fn try_run_for_async<E>(
        self,
        load: impl Future<Output = Result<(V, Duration), E>>,
    ) -> Result<Option<V>, E>
    where
        E: Clone + Send + Sync + 'static,
    {
        self.fly_async::<_, _, Shared>(load, |loaded| loaded.map(Loaded::living))
            .await
    }

    /// Loads, if that is still to be done; `made` says what there is to store of what `load` gave.
    fn fly<T, E, P: ErrorPolicy<E>>(
        self,
        load: impl FnOnce(&K) -> T,
        made: impl FnOnce(T) -> Result<Loaded<V>, E>,
    ) -> Result<Option<V>, E> {
        let Some(lead) = self.begin() else {
            return Ok(None);
        };
        let loaded = lead.run(|| load(lead.key()));
        let key = lead.key().clone();
        lead.finish::<K, E, P>(&key, made(loaded)).map(Some)
    }

    /// [`fly`](Refresh::fly), waiting as futures do.
    async fn fly_async<L: Future, E, P: ErrorPolicy<E>>(
        self,
        load: L,
        made: impl FnOnce(L::Output) -> Result<Loaded<V>, E>,
    ) -> Result<Option<V>, E> {
        let loading = pin!(load);
        let Some(lead) = self.begin() else {
            return Ok(None);
        };
        let loaded = lead.run_async(loading).await;
        let key = lead.key().clone();
        lead.finish::<K, E, P>(&key, made(loaded)).map(Some)
    }
}

impl<K, V, S, C> fmt::Debug for Refresh<'_, K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh").finish_non_exhaustive()
    }
}
