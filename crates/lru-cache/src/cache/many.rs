//! Many keys in one call.

use alloc::borrow::ToOwned;
use alloc::sync::Arc as StdArc;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::future::{Future, poll_fn};
use core::hash::{BuildHasher, Hash};
use core::pin::pin;

use equivalent::Equivalent;
use hashbrown::HashTable;
use purlin_core::Clock;

use super::Cache;
use super::lead::{ErrorPolicy, Kept, Lead, Loaded, Shared};
use super::load::Departure;
use crate::flight::{Arrival, Landing, SharedError, Ticket};

/// # Many keys
///
/// Answers come in the order of the keys; a key may be given more than once, and is looked up and loaded once.
///
/// Of the keys that are absent, those that nobody else is loading are loaded by one call of `load`, which is given all of
/// them. It may answer in any order, and fewer: `None` is the answer for a key that it leaves out, also for those
/// who waited for it in a call of this kind; who waited in another loads for himself. What it answers without having been asked
/// is dropped, since nobody has watched over the writes to that key.
///
/// The other keys are waited for, after that; so two calls that share keys never wait for each other in a circle. If a load that
/// was waited for comes to nothing, `load` is called again with its keys. That is the only reason for a second call.
///
/// For the rest they are as the loads of one key.
impl<K, V, S, C> Cache<K, V, S, C>
where
    K: Hash + Eq,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// [`get`](Cache::get) for each of these, at one reading of the clock. They are looked up one after the other, so they need not
    /// have been there together.
    ///
    /// ```
    /// # let cache = purlin_lru_cache::Cache::new(100);
    /// cache.insert("beam".to_owned(), 1);
    /// assert_eq!(cache.get_many(["beam", "nail", "beam"]), [Some(1), None, Some(1)]);
    /// ```
    pub fn get_many<'k, Q>(&self, keys: impl IntoIterator<Item = &'k Q>) -> Vec<Option<V>>
    where
        Q: Hash + Equivalent<K> + ?Sized + 'k,
    {
        let now = self.now();
        let get = |key| self.get_at(self.hasher.hash_one(key), key, now);
        keys.into_iter().map(get).collect()
    }

    /// The values of many keys, of which those that are absent are loaded together. Blocks while others load some of them.
    ///
    /// ```
    /// # let cache = purlin_lru_cache::Cache::new(100);
    /// cache.insert("beam".to_owned(), 1);
    /// let rows = |keys: &[&str]| {
    ///     assert_eq!(keys, ["nail", "moon"]);
    ///     [("nail".to_owned(), 2)]
    /// };
    /// let found = cache.get_or_load_many(["beam", "nail", "moon"], rows);
    /// assert_eq!(found, [Some(1), Some(2), None]);
    /// ```
    ///
    /// # Panics
    ///
    /// If `load` does, or if it asks for a key it is loading.
    pub fn get_or_load_many<'k, Q, I>(
        &self,
        keys: impl IntoIterator<Item = &'k Q>,
        mut load: impl FnMut(&[&'k Q]) -> I,
    ) -> Vec<Option<V>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized + 'k,
        I: IntoIterator<Item = (K, V)>,
    {
        let load = |keys: &[&'k Q]| Ok(load(keys));
        let loaded: Result<_, Infallible> = self.load_many::<_, _, _, Kept>(keys, load);
        let Ok(values) = loaded;
        values
    }

    /// [`get_or_load_many`](Cache::get_or_load_many) for a load that can fail.
    ///
    /// # Errors
    ///
    /// What `load` returned, or a clone of what a load returned that this waited for, if its error has the same type. What was
    /// loaded before that is stored.
    ///
    /// # Panics
    ///
    /// If `load` does, or if it asks for a key it is loading.
    pub fn try_get_or_load_many<'k, Q, I, E>(
        &self,
        keys: impl IntoIterator<Item = &'k Q>,
        load: impl FnMut(&[&'k Q]) -> Result<I, E>,
    ) -> Result<Vec<Option<V>>, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized + 'k,
        I: IntoIterator<Item = (K, V)>,
        E: Clone + Send + Sync + 'static,
    {
        self.load_many::<_, _, _, Shared>(keys, load)
    }

    /// [`get_or_load_many`](Cache::get_or_load_many), waiting as futures do.
    ///
    /// # Panics
    ///
    /// If the load does, or if it asks for a key it is loading.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while it waits has no effect on the loads of others. Dropping it while it loads drops the load, and
    /// others who wait for its keys load in its stead. What was stored stays.
    pub async fn get_or_load_many_async<'k, Q, F, L, I>(
        &self,
        keys: impl IntoIterator<Item = &'k Q>,
        mut load: F,
    ) -> Vec<Option<V>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized + 'k,
        F: FnMut(Vec<&'k Q>) -> L,
        L: Future<Output = I>,
        I: IntoIterator<Item = (K, V)>,
    {
        let batch = Batch::new(self, keys);
        let load = |keys| {
            let loading = load(keys);
            async { Ok(loading.await) }
        };
        let loaded: Result<_, Infallible> = batch.run_async::<_, _, _, _, Kept>(load).await;
        let Ok(values) = loaded;
        values
    }

    /// [`get_or_load_many_async`](Cache::get_or_load_many_async) for a load that can fail.
    ///
    /// # Errors
    ///
    /// As with [`try_get_or_load_many`](Cache::try_get_or_load_many).
    ///
    /// # Panics
    ///
    /// If the load does, or if it asks for a key it is loading.
    ///
    /// # Cancel safety
    ///
    /// As with [`get_or_load_many_async`](Cache::get_or_load_many_async).
    pub async fn try_get_or_load_many_async<'k, Q, F, L, I, E>(
        &self,
        keys: impl IntoIterator<Item = &'k Q>,
        load: F,
    ) -> Result<Vec<Option<V>>, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized + 'k,
        F: FnMut(Vec<&'k Q>) -> L,
        L: Future<Output = Result<I, E>>,
        I: IntoIterator<Item = (K, V)>,
        E: Clone + Send + Sync + 'static,
    {
        let batch = Batch::new(self, keys);
        batch.run_async::<_, _, _, _, Shared>(load).await
    }

    fn load_many<'k, Q, I, E, P>(
        &self,
        keys: impl IntoIterator<Item = &'k Q>,
        mut load: impl FnMut(&[&'k Q]) -> Result<I, E>,
    ) -> Result<Vec<Option<V>>, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized + 'k,
        I: IntoIterator<Item = (K, V)>,
        P: ErrorPolicy<E>,
    {
        let mut batch = Batch::new(self, keys);
        while let Some(mut round) = batch.depart() {
            if !round.leads.is_empty() {
                let asked = batch.keys_of(&round.leads);
                let loaded = running(&round.leads, || {
                    load(&asked).map(|pairs| pairs.into_iter().collect())
                });
                batch.land::<E, P>(core::mem::take(&mut round.leads), loaded)?;
            }
            for (n, ticket) in round.tickets {
                batch.arrive::<E, P>(n, self.arrival(&ticket))?;
            }
        }
        Ok(batch.into_values())
    }
}

/// Many keys on their way to their values.
struct Batch<'a, 'k, Q: ?Sized, K, V, S, C> {
    cache: &'a Cache<K, V, S, C>,
    /// Each key once.
    asked: Vec<Asked<'k, Q, V>>,
    /// Their numbers, by hash.
    by_hash: HashTable<usize>,
    /// The number of the key at each place of the call.
    places: Vec<usize>,
}

struct Asked<'k, Q: ?Sized, V> {
    key: &'k Q,
    hash: u64,
    answer: Answered<V>,
}

enum Answered<V> {
    /// Not known yet.
    Open,
    Value(V),
    /// The load has left it out.
    Nothing,
}

/// What is to be done for the keys that are open: each is loaded here or by somebody else.
struct Round<'a, K, V, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    leads: Leads<'a, K, V, S, C>,
    tickets: Vec<(usize, Ticket<K, V>)>,
}

type Leads<'a, K, V, S, C> = Vec<(usize, Lead<'a, K, V, S, C>)>;

/// What the load of many keys leaves for those who wait for one that it has not answered.
struct Unanswered;

impl<'a, 'k, Q, K, V, S, C> Batch<'a, 'k, Q, K, V, S, C>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    K: Hash + Eq,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// Looks all of them up.
    fn new(cache: &'a Cache<K, V, S, C>, keys: impl IntoIterator<Item = &'k Q>) -> Self {
        let now = cache.now();
        let mut batch = Batch {
            cache,
            asked: Vec::new(),
            by_hash: HashTable::new(),
            places: Vec::new(),
        };
        for key in keys {
            let hash = cache.hasher.hash_one(key);
            let n = batch.number(hash, key).unwrap_or_else(|| {
                let found = cache.get_at(hash, key, now);
                batch.add(hash, key, found)
            });
            batch.places.push(n);
        }
        batch
    }

    /// The number of a key that was asked for before. Borrowed keys have no order or equality among themselves that is known
    /// here, only with owned ones; so one of the two is made owned.
    fn number(&self, hash: u64, key: &Q) -> Option<usize> {
        let mut owned = None;
        let is_it = |&n: &usize| {
            let other = &self.asked[n];
            other.hash == hash
                && other
                    .key
                    .equivalent(owned.get_or_insert_with(|| key.to_owned()))
        };
        self.by_hash.find(hash, is_it).copied()
    }

    fn add(&mut self, hash: u64, key: &'k Q, found: Option<V>) -> usize {
        let n = self.asked.len();
        let answer = found.map_or(Answered::Open, Answered::Value);
        self.asked.push(Asked { key, hash, answer });
        let asked = &self.asked;
        self.by_hash.insert_unique(hash, n, |&n| asked[n].hash);
        n
    }

    /// Finds who loads the keys that are open. `None` if there are none.
    fn depart(&mut self) -> Option<Round<'a, K, V, S, C>> {
        let (mut leads, mut tickets) = (Vec::new(), Vec::new());
        for (n, asked) in self.asked.iter_mut().enumerate() {
            if let Answered::Open = asked.answer {
                match self.cache.depart(asked.hash, asked.key) {
                    Departure::Found(value) => asked.answer = Answered::Value(value),
                    Departure::Pilot(lead) => leads.push((n, lead)),
                    Departure::Passenger(ticket) => tickets.push((n, ticket)),
                }
            }
        }
        let is_over = leads.is_empty() && tickets.is_empty();
        (!is_over).then_some(Round { leads, tickets })
    }

    fn keys_of(&self, leads: &Leads<'a, K, V, S, C>) -> Vec<&'k Q> {
        leads.iter().map(|&(n, _)| self.asked[n].key).collect()
    }

    /// Ends the loads of this call.
    fn land<E, P: ErrorPolicy<E>>(
        &mut self,
        leads: Leads<'a, K, V, S, C>,
        loaded: Result<Vec<(K, V)>, E>,
    ) -> Result<(), E> {
        let pairs = match loaded {
            Ok(pairs) => pairs,
            Err(error) => {
                for (_, mut lead) in leads {
                    if let Some(shared) = P::share(&error) {
                        lead.fail(Landing::Failed(shared));
                    }
                }
                return Err(error);
            }
        };
        let mut leads: Vec<_> = leads.into_iter().map(|(n, lead)| (n, Some(lead))).collect();
        for (key, value) in pairs {
            let hash = self.cache.hasher.hash_one(&key);
            let asked = &self.asked;
            let is_it = |&n: &usize| asked[n].hash == hash && asked[n].key.equivalent(&key);
            let Some(&n) = self.by_hash.find(hash, is_it) else {
                continue;
            };
            // They are in the order of their numbers.
            let at = leads.binary_search_by_key(&n, |&(n, _)| n);
            if let Some(lead) = at.ok().and_then(|at| leads[at].1.take()) {
                let value = lead.land(key, Loaded::usual(value));
                self.asked[n].answer = Answered::Value(value);
            }
        }
        for (n, lead) in leads {
            if let Some(lead) = lead {
                lead.give_none(Landing::Failed(StdArc::new(Unanswered)));
                self.asked[n].answer = Answered::Nothing;
            }
        }
        Ok(())
    }

    /// Takes what somebody else's load has come to.
    fn arrive<E, P: ErrorPolicy<E>>(&mut self, n: usize, arrival: Arrival<V>) -> Result<(), E> {
        let answer = match arrival {
            Arrival::Loaded(value) => Answered::Value(value),
            Arrival::Failed(error) if is_unanswered(&error) => Answered::Nothing,
            Arrival::Failed(error) => match P::adopt(&error) {
                Some(error) => return Err(error),
                None => Answered::Open,
            },
            Arrival::LookAgain => Answered::Open,
        };
        self.asked[n].answer = answer;
        Ok(())
    }

    /// The whole of it, waiting as futures do.
    async fn run_async<F, L, I, E, P>(mut self, mut load: F) -> Result<Vec<Option<V>>, E>
    where
        F: FnMut(Vec<&'k Q>) -> L,
        L: Future<Output = Result<I, E>>,
        I: IntoIterator<Item = (K, V)>,
        P: ErrorPolicy<E>,
    {
        while let Some(mut round) = self.depart() {
            if !round.leads.is_empty() {
                let asked = self.keys_of(&round.leads);
                let loaded = {
                    let mut loading = pin!(running(&round.leads, || load(asked)));
                    poll_fn(|cx| {
                        running(&round.leads, || {
                            let polled = loading.as_mut().poll(cx);
                            polled.map_ok(|pairs| pairs.into_iter().collect())
                        })
                    })
                    .await
                };
                self.land::<E, P>(core::mem::take(&mut round.leads), loaded)?;
            }
            for (n, ticket) in round.tickets {
                let arrival = self.cache.arrival_async(&ticket).await;
                self.arrive::<E, P>(n, arrival)?;
            }
        }
        Ok(self.into_values())
    }

    fn into_values(self) -> Vec<Option<V>> {
        let value = |&n: &usize| match &self.asked[n].answer {
            Answered::Value(value) => Some(value.clone()),
            Answered::Nothing | Answered::Open => None,
        };
        self.places.iter().map(value).collect()
    }
}

/// Runs a piece of a load that is for the keys of all of these.
fn running<K, V, S, C, R>(leads: &Leads<'_, K, V, S, C>, piece: impl FnOnce() -> R) -> R
where
    K: Hash + Eq,
    V: Clone,
    S: BuildHasher,
    C: Clock,
{
    let _running: Vec<_> = leads.iter().map(|(_, lead)| lead.running()).collect();
    piece()
}

fn is_unanswered(error: &SharedError) -> bool {
    error.is::<Unanswered>()
}
