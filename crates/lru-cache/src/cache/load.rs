use alloc::borrow::ToOwned;
use alloc::sync::Arc as StdArc;
use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::hash::{BuildHasher, Hash};
use core::pin::pin;

use equivalent::Equivalent;
use purlin_core::Clock;
use purlin_core::sync::Arc;

use super::Cache;
use crate::engine::Fresh;
use crate::flight::{Arrival, Boarding, FIRST_PILOT, Flight, Landing, SharedError, Ticket};

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
        let loaded: Result<V, Infallible> = self.load::<_, _, _, Kept>(key, |key| Ok(load(key)));
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
        self.load::<_, _, _, Shared>(key, load)
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
        let load = |key| {
            let loading = load(key);
            async { Ok(loading.await) }
        };
        let loaded: Result<V, Infallible> = self.load_async::<_, _, _, _, Kept>(key, load).await;
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
        self.load_async::<_, _, _, _, Shared>(key, load).await
    }

    fn load<Q, F, E, P>(&self, key: &Q, load: F) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&Q) -> Result<V, E>,
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
                    return lead.finish::<Q, E, P>(key, loaded);
                }
                Departure::Passenger(ticket) => {
                    let arrival = ticket.wait(|| self.clock.coarse(), self.patience);
                    if let Some(answer) = settle::<V, E, P>(arrival) {
                        return answer;
                    }
                }
            }
        }
    }

    /// [`load`](Cache::load), waiting as futures do.
    pub(super) async fn load_async<'k, Q, F, L, E, P>(&self, key: &'k Q, load: F) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&'k Q) -> L,
        L: Future<Output = Result<V, E>>,
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
                    let mut loading = pin!(lead.run(|| load(key)));
                    let loaded = poll_fn(|cx| lead.run(|| loading.as_mut().poll(cx))).await;
                    return lead.finish::<Q, E, P>(key, loaded);
                }
                Departure::Passenger(ticket) => {
                    let arrival =
                        poll_fn(|cx| ticket.poll(cx, self.clock.coarse(), self.patience)).await;
                    if let Some(answer) = settle::<V, E, P>(arrival) {
                        return answer;
                    }
                }
            }
        }
    }

    /// After a miss: decides, in one moment, what this caller is.
    fn depart<Q>(&self, hash: u64, key: &Q) -> Departure<'_, K, V, S, C>
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
enum Departure<'a, K, V, S, C>
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

/// The duty to load. Dropping it hands the duty on to those who wait.
struct Lead<'a, K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    cache: &'a Cache<K, V, S, C>,
    hash: u64,
    flight: Arc<Flight<K, V>>,
    pilot: u32,
    is_over: bool,
}

impl<'a, K, V, S, C> Lead<'a, K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    fn new(cache: &'a Cache<K, V, S, C>, hash: u64, flight: Arc<Flight<K, V>>, pilot: u32) -> Self {
        Lead {
            cache,
            hash,
            flight,
            pilot,
            is_over: false,
        }
    }

    /// Runs a piece of the load.
    fn run<R>(&self, piece: impl FnOnce() -> R) -> R {
        self.flight
            .run(self.pilot, || self.cache.clock.coarse(), piece)
    }

    /// Ends the load: stores a value, unless its key was written to, and gives it to those who wait.
    fn finish<Q, E, P>(mut self, key: &Q, loaded: Result<V, E>) -> Result<V, E>
    where
        Q: ToOwned<Owned = K> + ?Sized,
        V: Clone,
        P: ErrorPolicy<E>,
    {
        match loaded {
            Ok(value) => {
                self.store(key.to_owned(), value.clone());
                // Nobody boards any more, so there are only fewer who wait from here on.
                if self.flight.has_waiting() {
                    self.flight.land(Landing::Loaded(value.clone()));
                }
                self.is_over = true;
                Ok(value)
            }
            Err(error) => {
                if let Some(shared) = P::share(&error) {
                    self.fail(Landing::Failed(shared));
                }
                Err(error)
            }
        }
    }

    fn store(&self, key: K, value: V) {
        let weight = self.cache.weigh(&key, &value);
        let now = self.cache.now();
        let mut gone = self.cache.gone();
        let mut outcome = None;
        let mut contents = self.cache.shard(self.hash).lock();
        contents.engine.counts().loads += 1;
        contents.engine.observe(now, &mut gone);
        let found = contents.engine.find(self.hash, &key);
        if contents.flights.unlist(self.hash, &self.flight) {
            let fresh = Fresh {
                hash: self.hash,
                key,
                value,
                weight,
                time_to_live: None,
            };
            contents.watches.written(&fresh.key);
            outcome = Some(contents.engine.put(found, fresh, &mut gone));
        }
        drop(contents);
        self.cache.adapt(self.hash, found.is_some());
        if let Some(outcome) = outcome {
            gone.tell(&outcome);
        }
    }

    /// Ends the load without a value, unless another pilot has followed, whose load it is now.
    fn fail(&mut self, landing: Landing<V>) {
        self.is_over = true;
        let mut contents = self.cache.shard(self.hash).lock();
        contents.engine.counts().load_failures += 1;
        let is_ours = self.flight.is_flown_by(self.pilot);
        if is_ours {
            contents.flights.unlist(self.hash, &self.flight);
        }
        drop(contents);
        if is_ours {
            self.flight.land(landing);
        }
    }
}

impl<K, V, S, C> Drop for Lead<'_, K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    fn drop(&mut self) {
        if !self.is_over {
            self.fail(Landing::Abandoned);
        }
    }
}

/// What a wait comes to: an answer, or none and another look.
fn settle<V, E, P: ErrorPolicy<E>>(arrival: Arrival<V>) -> Option<Result<V, E>> {
    match arrival {
        Arrival::Loaded(value) => Some(Ok(value)),
        Arrival::Failed(error) => P::adopt(&error).map(Err),
        Arrival::LookAgain => None,
    }
}

/// Whether the error of a load is for those who wait as well.
pub(super) trait ErrorPolicy<E> {
    fn share(error: &E) -> Option<SharedError>;
    fn adopt(error: &SharedError) -> Option<E>;
}

/// It is: they get a clone.
enum Shared {}

impl<E: Clone + Send + Sync + 'static> ErrorPolicy<E> for Shared {
    fn share(error: &E) -> Option<SharedError> {
        Some(StdArc::new(error.clone()))
    }

    fn adopt(error: &SharedError) -> Option<E> {
        error.downcast_ref::<E>().cloned()
    }
}

/// It is not, since nobody can say how to copy it: each who waits loads for himself in turn.
pub(super) enum Kept {}

impl<E> ErrorPolicy<E> for Kept {
    fn share(_: &E) -> Option<SharedError> {
        None
    }

    fn adopt(_: &SharedError) -> Option<E> {
        None
    }
}
