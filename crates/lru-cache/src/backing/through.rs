//! Reads fill the cache; writes go past it.

use alloc::sync::Arc;
use core::fmt;
use core::hash::{BuildHasher, Hash};

use purlin_core::{Clock, MapHasher, SystemClock};

use super::Backing;
use crate::cache::Cache;

/// A cache in front of something slow, the usual way: a read that misses loads, and a write goes to what stands behind
/// and then forgets the value here (*cache-aside*).
///
/// That order is the point. Forgotten before the write, a reader in between would put the old value back. Put here by the
/// writer, of two writes at once the older might stay: what stands behind has them in one order, and the cache in the
/// other. And a load that began before the write is not kept, though it ends after it, because the removal overtakes it.
///
/// ```
/// # use purlin_lru_cache::{Backing, Cache, Through};
/// # async fn run<B: Backing<u64, String>>(table: B) -> Result<(), std::sync::Arc<B::Error>> {
/// let users = Through::new(Cache::new(10_000), table);
/// let name = users.get(&17).await?;
/// users.write(&17, Some(&"Aroha".to_owned())).await?;
/// # let _ = name;
/// # Ok(())
/// # }
/// ```
pub struct Through<K, V, B, S = MapHasher, C = SystemClock> {
    cache: Cache<K, V, S, C>,
    backing: B,
}

impl<K, V, B, S, C> Through<K, V, B, S, C>
where
    K: Hash + Eq + Clone,
    V: Clone,
    B: Backing<K, V>,
    S: BuildHasher,
    C: Clock,
{
    /// A cache in front of this.
    pub fn new(cache: Cache<K, V, S, C>, backing: B) -> Self {
        Through { cache, backing }
    }

    /// The cache.
    pub fn cache(&self) -> &Cache<K, V, S, C> {
        &self.cache
    }

    /// What stands behind.
    pub fn backing(&self) -> &B {
        &self.backing
    }

    /// The value of a key, from here or from behind. However many ask for a key meanwhile, one loads it, and an error is
    /// for all who waited. That there is none is not kept.
    ///
    /// # Errors
    ///
    /// What the load failed with.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it loads, another caller who waits loads in its stead.
    pub async fn get(&self, key: &K) -> Result<Option<V>, Arc<B::Error>> {
        let load = |key| async move {
            match self.backing.load(key).await {
                Ok(Some(value)) => Ok(value),
                Ok(None) => Err(None),
                Err(error) => Err(Some(Arc::new(error))),
            }
        };
        match self.cache.try_get_or_load_async(key, load).await {
            Ok(value) => Ok(Some(value)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// Replaces the value of a key, or removes it, for None. When it returns, no read that starts later gets what was
    /// there before.
    ///
    /// # Errors
    ///
    /// What the write failed with. The value is forgotten here in any case.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the value may or may not have been replaced, and is forgotten here.
    pub async fn write(&self, key: &K, value: Option<&V>) -> Result<(), Arc<B::Error>> {
        let _forgetting = Forgetting {
            cache: &self.cache,
            key,
        };
        self.backing.store(key, value).await.map_err(Arc::new)
    }
}

struct Forgetting<'a, K: Hash + Eq, V, S: BuildHasher, C: Clock> {
    cache: &'a Cache<K, V, S, C>,
    key: &'a K,
}

impl<K: Hash + Eq, V, S: BuildHasher, C: Clock> Drop for Forgetting<'_, K, V, S, C> {
    fn drop(&mut self) {
        drop(self.cache.remove(self.key));
    }
}

impl<K, V, B: fmt::Debug, S, C> fmt::Debug for Through<K, V, B, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Through")
            .field("cache", &self.cache)
            .field("backing", &self.backing)
            .finish()
    }
}
