//! The duty to load, and what the end of a load does to the cache and to those who wait.

use alloc::borrow::ToOwned;
use alloc::sync::Arc as StdArc;
use core::future::{Future, poll_fn};
use core::hash::{BuildHasher, Hash};
use core::ops::Deref;
use core::pin::Pin;
use core::time::Duration;

use purlin_core::Clock;
use purlin_core::sync::Arc;

use super::Cache;
use crate::engine::Fresh;
use crate::flight::{Arrival, Flight, Landing, SharedError};
use crate::tags::Moment;
use crate::terms::Terms;

/// The duty to load. Dropping it hands the duty on to those who wait.
pub(super) struct Lead<'a, K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    cache: Handle<'a, K, V, S, C>,
    hash: u64,
    flight: Arc<Flight<K, V>>,
    pilot: u32,
    /// Of the invalidations, before the load reads anything.
    moment: Moment,
    stage: Stage,
}

/// How a lead holds on to its cache.
pub(super) enum Handle<'a, K, V, S, C> {
    Borrowed(&'a Cache<K, V, S, C>),
    Shared(StdArc<Cache<K, V, S, C>>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Promised, and nobody waits for it.
    Announced,
    Begun,
    Over,
}

/// What the end of a load without a value counts as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    Failure,
    Nothing,
}

/// What a load gives.
pub(super) struct Loaded<V> {
    pub(super) value: V,
    pub(super) terms: Terms,
}

impl<V> Loaded<V> {
    /// A value that lives as long as the cache's do.
    pub(super) fn usual(value: V) -> Self {
        Loaded {
            value,
            terms: Terms::new(),
        }
    }

    pub(super) fn living((value, time_to_live): (V, Duration)) -> Self {
        Loaded {
            value,
            terms: Some(time_to_live).into(),
        }
    }

    /// A value on terms of its own.
    pub(super) fn on((value, terms): (V, Terms)) -> Self {
        Loaded { value, terms }
    }
}

impl<'a, K, V, S, C> Lead<'a, K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// The lead of a flight that begins now.
    pub(super) fn new(
        cache: &'a Cache<K, V, S, C>,
        hash: u64,
        flight: Arc<Flight<K, V>>,
        pilot: u32,
    ) -> Self {
        Lead {
            moment: cache.moment(),
            cache: Handle::Borrowed(cache),
            hash,
            flight,
            pilot,
            stage: Stage::Begun,
        }
    }

    /// The lead of a flight that may begin later.
    pub(super) fn announced(
        cache: Handle<'a, K, V, S, C>,
        hash: u64,
        flight: Arc<Flight<K, V>>,
        pilot: u32,
    ) -> Self {
        Lead {
            moment: cache.moment(),
            cache,
            hash,
            flight,
            pilot,
            stage: Stage::Announced,
        }
    }

    /// Begins a load that was announced. `None` if its key was written to since, or somebody else loads it.
    pub(super) fn begin(mut self) -> Option<Self> {
        self.moment = self.cache.moment();
        let now = self.cache.clock.coarse();
        let begins = {
            let contents = self.cache.shard(self.hash).lock();
            contents.flights.lists(self.hash, &self.flight) && self.flight.begin(self.pilot, now)
        };
        self.stage = if begins { Stage::Begun } else { Stage::Over };
        begins.then_some(self)
    }

    pub(super) fn key(&self) -> &K {
        self.flight.key()
    }

    /// Runs a piece of the load.
    pub(super) fn run<R>(&self, piece: impl FnOnce() -> R) -> R {
        let _running = self.running();
        piece()
    }

    /// Polls a load to its end, each time as a piece of it.
    pub(super) async fn run_async<L: Future>(&self, mut loading: Pin<&mut L>) -> L::Output {
        poll_fn(|cx| self.run(|| loading.as_mut().poll(cx))).await
    }

    /// Marks the load as running on this thread until the answer is dropped.
    pub(super) fn running(&self) -> impl Sized + '_ {
        self.flight
            .running(self.pilot, || self.cache.clock.coarse())
    }

    /// Ends the load: stores a value, unless its key was written to, and gives it to those who wait.
    pub(super) fn finish<Q, E, P>(mut self, key: &Q, loaded: Result<Loaded<V>, E>) -> Result<V, E>
    where
        Q: ToOwned<Owned = K> + ?Sized,
        V: Clone,
        P: ErrorPolicy<E>,
    {
        match loaded {
            Ok(loaded) => Ok(self.land(key.to_owned(), loaded)),
            Err(error) => {
                if let Some(shared) = P::share(&error) {
                    self.fail(Landing::Failed(shared));
                }
                Err(error)
            }
        }
    }

    /// Ends the load with a value, as [`finish`](Lead::finish) does.
    pub(super) fn land(mut self, key: K, loaded: Loaded<V>) -> V
    where
        V: Clone,
    {
        let Loaded { value, terms } = loaded;
        self.store(key, value.clone(), terms.read_at(self.moment));
        // Nobody boards any more, so there are only fewer who wait from here on.
        if self.flight.has_waiting() {
            self.flight.land(Landing::Loaded(value.clone()));
        }
        self.stage = Stage::Over;
        value
    }

    /// Ends the load with a value for those who wait, which is not stored because it tells of a failure.
    pub(super) fn give_unkept(mut self, value: V) {
        self.fail(Landing::Loaded(value));
    }

    /// Ends the load without a value, which is no failure.
    pub(super) fn give_none(mut self, landing: Landing<V>) {
        self.end(landing, Counts::Nothing);
    }

    fn store(&self, key: K, value: V, terms: Terms) {
        if terms.lasts().is_some() {
            // As in `insert_for`.
            self.cache.set_timed();
        }
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
                terms,
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

    /// Ends the load without a value to store.
    pub(super) fn fail(&mut self, landing: Landing<V>) {
        let counts = match self.stage {
            Stage::Begun => Counts::Failure,
            Stage::Announced | Stage::Over => Counts::Nothing,
        };
        self.end(landing, counts);
    }

    /// Ends the load, unless another pilot has followed, whose load it is now.
    fn end(&mut self, landing: Landing<V>, counts: Counts) {
        self.stage = Stage::Over;
        let mut contents = self.cache.shard(self.hash).lock();
        if counts == Counts::Failure {
            contents.engine.counts().load_failures += 1;
        }
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
        if self.stage != Stage::Over {
            self.fail(Landing::Abandoned);
        }
    }
}

impl<K, V, S, C> Deref for Handle<'_, K, V, S, C> {
    type Target = Cache<K, V, S, C>;

    fn deref(&self) -> &Cache<K, V, S, C> {
        match self {
            Handle::Borrowed(cache) => cache,
            Handle::Shared(cache) => cache,
        }
    }
}

/// What a wait comes to: an answer, or none and another look.
pub(super) fn settle<V, E, P: ErrorPolicy<E>>(arrival: Arrival<V>) -> Option<Result<V, E>> {
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
pub(super) enum Shared {}

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
