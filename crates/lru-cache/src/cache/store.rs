use core::convert::Infallible;
use core::future::{Future, ready};
use core::hash::{BuildHasher, Hash};

use purlin_core::{CacheStore, Clock, LoadError};

use super::Cache;
use super::lead::{Kept, Loaded};

/// For code that is written against the trait; where both are in scope, a plain call finds the cache's own,
/// synchronous methods of the same names.
///
/// Never fails, and waits only in `get_or_load`, for another caller's load.
///
/// There, errors need not be `Clone`, so they are not shared: if a load fails, its caller gets the error, and the
/// waiting load for themselves, one after the other. Where many may wait for what may be down, call
/// [`try_get_or_load_async`](Cache::try_get_or_load_async) on the cache itself.
impl<K, V, S, C> CacheStore<K, V> for Cache<K, V, S, C>
where
    K: Hash + Eq + Send + Sync,
    V: Clone + Send,
    S: BuildHasher + Send + Sync,
    C: Clock + Send + Sync,
{
    type Error = Infallible;

    fn get(&self, key: &K) -> impl Future<Output = Result<Option<V>, Infallible>> + Send {
        ready(Ok(Cache::get(self, key)))
    }

    fn insert(&self, key: K, value: V) -> impl Future<Output = Result<(), Infallible>> + Send {
        drop(Cache::insert(self, key, value));
        ready(Ok(()))
    }

    fn remove(&self, key: &K) -> impl Future<Output = Result<(), Infallible>> + Send {
        drop(Cache::remove(self, key));
        ready(Ok(()))
    }

    async fn get_or_load<F, L, E>(&self, key: K, load: F) -> Result<V, LoadError<Infallible, E>>
    where
        F: FnOnce(&K) -> L + Send,
        L: Future<Output = Result<V, E>> + Send,
        E: Send,
        K: Clone + Send + Sync,
        V: Clone + Send + Sync,
    {
        let usual = |loaded: Result<V, E>| loaded.map(Loaded::usual);
        self.load_async::<_, _, _, _, Kept>(&key, load, usual)
            .await
            .map_err(LoadError::Load)
    }
}
