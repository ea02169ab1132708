use alloc::boxed::Box;
use alloc::sync::Arc;
use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::pin::Pin;

/// A cache as a layer sees it: asynchronous, fallible, and shared.
///
/// The in-process cache of `purlin-lru-cache` implements it without ever failing or waiting; a tier in Redis
/// does both. Near caches and tiers are written against this trait.
///
/// 1. `get` returns a value that was inserted for an equal key and neither removed, replaced nor expired.
///    It may always return `None`: a cache forgets.
/// 2. After `remove` has returned, no `get` that starts later returns what was there before.
/// 3. A store that fails says so by its error. It never reports a failure as `None`.
///
/// Use [`DynCacheStore`] for a store that is chosen at run time.
pub trait CacheStore<K, V>: Send + Sync {
    /// How the store fails. [`Infallible`] for one inside the process.
    type Error: Send;

    /// The value of a key, if it is cached.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect but that the answer is lost.
    fn get(&self, key: &K) -> impl Future<Output = Result<Option<V>, Self::Error>> + Send;

    /// Caches a value, in place of any older one.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the value may or may not have been stored; no mixture of old and new ever is.
    fn insert(&self, key: K, value: V) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Forgets a key.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the key may or may not have been forgotten.
    fn remove(&self, key: &K) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The value of a key, loaded and cached if it is absent. A store that can, lets one caller load for all
    /// who ask for the key meanwhile; this default does not.
    ///
    /// # Errors
    ///
    /// [`LoadError::Load`] if `load` failed: nothing was cached. [`LoadError::Store`] if the store did.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, so is the load it was running.
    fn get_or_load<F, L, E>(
        &self,
        key: K,
        load: F,
    ) -> impl Future<Output = Result<V, LoadError<Self::Error, E>>> + Send
    where
        F: FnOnce(&K) -> L + Send,
        L: Future<Output = Result<V, E>> + Send,
        E: Send,
        K: Clone + Send + Sync,
        V: Clone + Send + Sync,
    {
        async move {
            if let Some(value) = self.get(&key).await.map_err(LoadError::Store)? {
                return Ok(value);
            }
            let value = load(&key).await.map_err(LoadError::Load)?;
            self.insert(key, value.clone())
                .await
                .map_err(LoadError::Store)?;
            Ok(value)
        }
    }
}

/// Why a value could be neither found nor loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: one of the two parties failed"
)]
pub enum LoadError<S, E> {
    /// The store failed.
    Store(S),
    /// The caller's load failed.
    Load(E),
}

impl<E> LoadError<Infallible, E> {
    /// The load's error, where the store cannot fail.
    pub fn into_load(self) -> E {
        match self {
            LoadError::Load(error) => error,
            LoadError::Store(never) => match never {},
        }
    }
}

impl<S, E> fmt::Display for LoadError<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoadError::Store(_) => "the cache's store failed",
            LoadError::Load(_) => "loading the value failed",
        })
    }
}

impl<S, E> core::error::Error for LoadError<S, E>
where
    S: core::error::Error + 'static,
    E: core::error::Error + 'static,
{
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            LoadError::Store(error) => Some(error),
            LoadError::Load(error) => Some(error),
        }
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`CacheStore`] with boxed futures, for `Arc<dyn DynCacheStore<K, V, E>>`. Every `CacheStore` is one, and
/// the methods mean what they mean there. Each call allocates its future.
///
/// Loading is left out because its closure would make the trait unusable as an object; a caller composes it
/// from `get_dyn` and `insert_dyn`.
///
/// ```
/// use std::sync::Arc;
/// use purlin_core::DynCacheStore;
///
/// async fn warm<E>(cache: Arc<dyn DynCacheStore<u64, String, E>>) -> Result<(), E> {
///     cache.insert_dyn(1, "one".to_owned()).await
/// }
/// ```
pub trait DynCacheStore<K, V, E>: Send + Sync {
    /// See [`CacheStore::get`].
    fn get_dyn<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<V>, E>>
    where
        V: 'a;
    /// See [`CacheStore::insert`].
    fn insert_dyn<'a>(&'a self, key: K, value: V) -> BoxFuture<'a, Result<(), E>>
    where
        K: 'a,
        V: 'a;
    /// See [`CacheStore::remove`].
    fn remove_dyn<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<(), E>>
    where
        V: 'a;
}

impl<K, V, S: CacheStore<K, V>> DynCacheStore<K, V, S::Error> for S {
    fn get_dyn<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<Option<V>, S::Error>>
    where
        V: 'a,
    {
        Box::pin(self.get(key))
    }

    fn insert_dyn<'a>(&'a self, key: K, value: V) -> BoxFuture<'a, Result<(), S::Error>>
    where
        K: 'a,
        V: 'a,
    {
        Box::pin(self.insert(key, value))
    }

    fn remove_dyn<'a>(&'a self, key: &'a K) -> BoxFuture<'a, Result<(), S::Error>>
    where
        V: 'a,
    {
        Box::pin(self.remove(key))
    }
}

macro_rules! forwarded_store {
    ($($pointer:ty),*) => {$(
        impl<K: Sync, V: Send, S: CacheStore<K, V>> CacheStore<K, V> for $pointer
        where
            K: Send,
        {
            type Error = S::Error;

            fn get(&self, key: &K) -> impl Future<Output = Result<Option<V>, S::Error>> + Send {
                (**self).get(key)
            }

            fn insert(&self, key: K, value: V) -> impl Future<Output = Result<(), S::Error>> + Send {
                (**self).insert(key, value)
            }

            fn remove(&self, key: &K) -> impl Future<Output = Result<(), S::Error>> + Send {
                (**self).remove(key)
            }

            fn get_or_load<F, L, E>(
                &self,
                key: K,
                load: F,
            ) -> impl Future<Output = Result<V, LoadError<S::Error, E>>> + Send
            where
                F: FnOnce(&K) -> L + Send,
                L: Future<Output = Result<V, E>> + Send,
                E: Send,
                K: Clone + Send + Sync,
                V: Clone + Send + Sync,
            {
                (**self).get_or_load(key, load)
            }
        }
    )*};
}
forwarded_store!(&S, Arc<S>);
