use alloc::borrow::ToOwned;
use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::hash::{BuildHasher, Hash};
use core::pin::pin;
use core::time::Duration;

use equivalent::Equivalent;
use purlin_core::Clock;
use purlin_core::sync::Arc;

use super::Cache;
use super::lead::{ErrorPolicy, Kept, Lead, Loaded, Shared, settle};
use crate::flight::{Arrival, Boarding, FIRST_PILOT, Flight, Ticket};
use crate::terms::Terms;

/// # Loading
///
/// These look a key up and load its value if it is absent. However many callers ask for a key meanwhile, threads
/// and tasks alike, one of them loads, without a lock, and the others wait for it and get clones.
///
/// - **If the load panics, or its future is dropped**, the waiting look again, and one of them loads.
/// - **If the key is written to meanwhile** (`insert`, `remove`, `retain`, `clear`), the value that is being loaded
///   may be older than the write. It goes to those who asked before the write, and is not stored; who asks after
///   the write finds what was written, or starts a load of its own.
/// - **If a future is kept but not polled**, it may never finish. After a
///   [patience](crate::Builder::load_patience) the next caller, or a waiting one that is polled, loads in its
///   stead, and the first value to arrive is for all.
/// - **A load may load other keys.** A load that asks for its own key panics. Two loads on two threads that ask
///   for each other's keys wait for ever: the cache cannot tell.
///
/// A thread must not wait by a synchronous form for a load whose future it is itself to poll.
///
/// The key is passed by reference and made owned only on a miss. The value is loaded even if it cannot be stored,
/// as in a cache of capacity zero.
impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// The value of a key, loaded if it is absent. Blocks while another caller loads it.
    ///
    /// ```
    /// let cache = purlin_lru_cache::Cache::new(100);
    /// let length = cache.get_or_load("purlin", |name: &str| name.len());
    /// assert_eq!((length, cache.get("purlin")), (6, Some(6)));
    /// ```
    ///
    /// # Panics
    ///
    /// If `load` does, or if it asks for the key it is loading.
    pub fn get_or_load<Q, F>(&self, key: &Q, load: F) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&Q) -> V,
    {
        let usual = |value| Ok(Loaded::usual(value));
        let loaded: Result<V, Infallible> = self.load::<_, _, _, _, Kept>(key, load, usual);
        let Ok(value) = loaded;
        value
    }

    /// [`get_or_load`](Cache::get_or_load) for a load that can fail.
    ///
    /// # Errors
    ///
    /// What `load` returned, and nothing was stored; or a clone of what the load returned that this caller waited
    /// for, if its error has the same type. If it has another, this caller loads for itself. An error that is not
    /// `Clone` can go in an `Arc`.
    ///
    /// # Panics
    ///
    /// If `load` does, or if it asks for the key it is loading.
    pub fn try_get_or_load<Q, F, E>(&self, key: &Q, load: F) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&Q) -> Result<V, E>,
        E: Clone + Send + Sync + 'static,
    {
        self.load::<_, _, _, _, Shared>(key, load, |loaded| loaded.map(Loaded::usual))
    }

    /// [`try_get_or_load`](Cache::try_get_or_load) for a load that knows how long its value lives, as a token or the
    /// answer of an HTTP server does. Zero gives the value to those who wait, and stores nothing.
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use std::time::Duration;
    /// # let tokens = purlin_lru_cache::Cache::new(100);
    /// // A minute less than it is good for.
    /// let fetch = |_: &str| Ok::<_, Infallible>(("s3cr3t".to_owned(), Duration::from_secs(3_600 - 60)));
    /// assert_eq!(tokens.try_get_or_load_for("api", fetch)?, "s3cr3t");
    /// # Ok::<_, Infallible>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As with [`try_get_or_load`](Cache::try_get_or_load).
    ///
    /// # Panics
    ///
    /// If `load` does, or if it asks for the key it is loading.
    pub fn try_get_or_load_for<Q, F, E>(&self, key: &Q, load: F) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&Q) -> Result<(V, Duration), E>,
        E: Clone + Send + Sync + 'static,
    {
        self.load::<_, _, _, _, Shared>(key, load, |loaded| loaded.map(Loaded::living))
    }

    /// The value of a key, loaded if it is absent. Waits while another caller loads it. Needs no particular runtime.
    ///
    /// ```
    /// # use purlin_lru_cache::Cache;
    /// async fn page(cache: &Cache<String, String>, path: &str) -> String {
    ///     cache.get_or_load_async(path, |path| async move { format!("<h1>{path}</h1>") }).await
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// If the load does, or if it asks for the key it is loading.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while it waits has no effect on the load. Dropping it while it loads drops the load, and
    /// another caller who waits loads in its stead; nothing was stored.
    pub async fn get_or_load_async<'k, Q, F, L>(&self, key: &'k Q, load: F) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&'k Q) -> L,
        L: Future<Output = V>,
    {
        let usual = |value| Ok(Loaded::usual(value));
        let loaded: Result<V, Infallible> =
            self.load_async::<_, _, _, _, Kept>(key, load, usual).await;
        let Ok(value) = loaded;
        value
    }

    /// [`get_or_load_async`](Cache::get_or_load_async) for a load that can fail.
    ///
    /// # Errors
    ///
    /// As with [`try_get_or_load`](Cache::try_get_or_load).
    ///
    /// # Panics
    ///
    /// If the load does, or if it asks for the key it is loading.
    ///
    /// # Cancel safety
    ///
    /// As with [`get_or_load_async`](Cache::get_or_load_async).
    pub async fn try_get_or_load_async<'k, Q, F, L, E>(&self, key: &'k Q, load: F) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&'k Q) -> L,
        L: Future<Output = Result<V, E>>,
        E: Clone + Send + Sync + 'static,
    {
        self.load_async::<_, _, _, _, Shared>(key, load, |loaded| loaded.map(Loaded::usual))
            .await
    }

    /// [`try_get_or_load_for`](Cache::try_get_or_load_for), waiting as futures do.
    ///
    /// # Errors
    ///
    /// As with [`try_get_or_load`](Cache::try_get_or_load).
    ///
    /// # Panics
    ///
    /// If the load does, or if it asks for the key it is loading.
    ///
    /// # Cancel safety
    ///
    /// As with [`get_or_load_async`](Cache::get_or_load_async).
    pub async fn try_get_or_load_for_async<'k, Q, F, L, E>(
        &self,
        key: &'k Q,
        load: F,
    ) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&'k Q) -> L,
        L: Future<Output = Result<(V, Duration), E>>,
        E: Clone + Send + Sync + 'static,
    {
        self.load_async::<_, _, _, _, Shared>(key, load, |loaded| loaded.map(Loaded::living))
            .await
    }

    /// [`try_get_or_load`](Cache::try_get_or_load) for a load that gives terms with its value: tags, a time to live, what it cost, a pin.
    ///
    /// Tags hold from before the load began, unless the terms say [as of](Terms::as_of) when else: if one of them is invalidated
    /// while it loads, the value goes to those who wait, and is not stored.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use purlin_lru_cache::{Cache, Terms};
    ///
    /// let pages = Cache::new(100);
    /// let render = |path: &str| Ok::<_, Infallible>((format!("<h1>{path}</h1>"), Terms::new().tag("layout")));
    /// pages.try_get_or_load_on("/beams", render)?;
    /// pages.invalidate_tag("layout");
    /// assert_eq!(pages.get("/beams"), None);
    /// # Ok::<_, Infallible>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As with [`try_get_or_load`](Cache::try_get_or_load).
    ///
    /// # Panics
    ///
    /// If `load` does, or if it asks for the key it is loading.
    pub fn try_get_or_load_on<Q, F, E>(&self, key: &Q, load: F) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&Q) -> Result<(V, Terms), E>,
        E: Clone + Send + Sync + 'static,
    {
        self.load::<_, _, _, _, Shared>(key, load, |loaded| loaded.map(Loaded::on))
    }

    /// [`try_get_or_load_on`](Cache::try_get_or_load_on), waiting as futures do.
    ///
    /// # Errors
    ///
    /// As with [`try_get_or_load`](Cache::try_get_or_load).
    ///
    /// # Panics
    ///
    /// If the load does, or if it asks for the key it is loading.
    ///
    /// # Cancel safety
    ///
    /// As with [`get_or_load_async`](Cache::get_or_load_async).
    pub async fn try_get_or_load_on_async<'k, Q, F, L, E>(
        &self,
        key: &'k Q,
        load: F,
    ) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&'k Q) -> L,
        L: Future<Output = Result<(V, Terms), E>>,
        E: Clone + Send + Sync + 'static,
    {
        self.load_async::<_, _, _, _, Shared>(key, load, |loaded| loaded.map(Loaded::on))
            .await
    }

    /// Looks a key up, and loads it if it is absent and nobody else does; `made` says what there is to store of what `load` gave.
    pub(super) fn load<Q, F, T, E, P>(
        &self,
        key: &Q,
        load: F,
        made: impl FnOnce(T) -> Result<Loaded<V>, E>,
    ) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&Q) -> T,
        P: ErrorPolicy<E>,
    {
        let hash = self.hasher.hash_one(key);
        if let Some(value) = self.get_hashed(hash, key) {
            return Ok(value);
        }
        loop {
            match self.depart(hash, key) {
                Departure::Found(value) => return Ok(value),
                Departure::Pilot(lead) => {
                    let loaded = lead.run(|| load(key));
                    return lead.finish::<Q, E, P>(key, made(loaded));
                }
                Departure::Passenger(ticket) => {
                    if let Some(answer) = settle::<V, E, P>(self.arrival(&ticket)) {
                        return answer;
                    }
                }
            }
        }
    }

    /// [`load`](Cache::load), waiting as futures do.
    pub(super) async fn load_async<'k, Q, F, L, E, P>(
        &self,
        key: &'k Q,
        load: F,
        made: impl FnOnce(L::Output) -> Result<Loaded<V>, E>,
    ) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&'k Q) -> L,
        L: Future,
        P: ErrorPolicy<E>,
    {
        let hash = self.hasher.hash_one(key);
        if let Some(value) = self.get_hashed(hash, key) {
            return Ok(value);
        }
        loop {
            match self.depart(hash, key) {
                Departure::Found(value) => return Ok(value),
                Departure::Pilot(lead) => {
                    let loading = pin!(lead.run(|| load(key)));
                    let loaded = lead.run_async(loading).await;
                    return lead.finish::<Q, E, P>(key, made(loaded));
                }
                Departure::Passenger(ticket) => {
                    let arrival = self.arrival_async(&ticket).await;
                    if let Some(answer) = settle::<V, E, P>(arrival) {
                        return answer;
                    }
                }
            }
        }
    }

    /// Blocks until a load that somebody else does has come to something.
    pub(super) fn arrival(&self, ticket: &Ticket<K, V>) -> Arrival<V> {
        ticket.wait(|| self.clock.coarse(), self.patience)
    }

    /// [`arrival`](Cache::arrival), waiting as futures do.
    pub(super) async fn arrival_async(&self, ticket: &Ticket<K, V>) -> Arrival<V> {
        poll_fn(|cx| ticket.poll(cx, self.clock.coarse(), self.patience)).await
    }

    /// After a miss: decides, in one moment, what this caller is.
    pub(super) fn depart<Q>(&self, hash: u64, key: &Q) -> Departure<'_, K, V, S, C>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let now = self.clock.coarse();
        // Made before the lock is taken, and dropped after it if somebody else is flying already.
        let started = Arc::new(Flight::new(key.to_owned(), now));
        let mut gone = self.gone();
        let mut contents = self.shard(hash).lock();
        contents.engine.observe(now, &mut gone);
        let found = contents.engine.find(hash, key);
        if let Some(value) = contents.engine.lookup_again(found, &mut gone) {
            return Departure::Found(value.clone());
        }
        let Some(flight) = contents.flights.find(hash, key).map(Arc::clone) else {
            contents.flights.list(hash, Arc::clone(&started));
            drop(contents);
            return Departure::Pilot(Lead::new(self, hash, started, FIRST_PILOT));
        };
        match Flight::board(&flight, now, self.patience) {
            Boarding::Passenger(ticket) => {
                contents.engine.counts().load_waits += 1;
                Departure::Passenger(ticket)
            }
            Boarding::Pilot(pilot) => {
                drop(contents);
                Departure::Pilot(Lead::new(self, hash, flight, pilot))
            }
            Boarding::Itself => {
                drop(contents);
                panic!("the load of a key asked the cache to load the same key");
            }
        }
    }
}

/// What a caller finds after a miss.
pub(super) enum Departure<'a, K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// The value after all: another load has just landed.
    Found(V),
    /// Nobody flies; the caller does.
    Pilot(Lead<'a, K, V, S, C>),
    /// Somebody else does.
    Passenger(Ticket<K, V>),
}
