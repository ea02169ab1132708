//! A cache in this process over one that many share.

use alloc::sync::Arc;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::sync::atomic::Ordering;

use purlin_core::sync::atomic::AtomicUsize;
use purlin_core::{CacheStore, Clock, LoadError, MapHasher, SystemClock};

use crate::cache::Cache;

/// Two tiers: a [`Cache`] in this process over any other [`CacheStore`], such as one in Redis.
///
/// A value is looked for here, then there, and kept here when it was found there. Writes and removals go there first,
/// and then forget the value here, so that the next look-up fetches what is there now: to put the written value here at
/// once would leave the older one of two writes at the same moment, in one of the two orders. However many ask for a
/// key meanwhile, one of them asks the far tier, and one loads.
///
/// # What others change
///
/// A value that another process writes or removes is answered from here until it expires here, so the near cache needs
/// a [`time_to_live`](crate::Builder::time_to_live): that is the bound. With a source of [`Invalidations`] one can do
/// better: [`Tiered::followed`] answers from here only while [`follow`](Tiered::follow) is being polled, and forgets what
/// is reported. What is being fetched when its report comes is not kept.
///
/// # Failure
///
/// An error of the far tier is an error of the call, shared by all who waited for it, and so in an [`Arc`]. What is here
/// is answered without asking there.
///
/// ```
/// use std::time::Duration;
/// use purlin_core::CacheStore;
/// use purlin_lru_cache::{Cache, Tiered};
///
/// # async fn run() -> Result<(), std::sync::Arc<std::convert::Infallible>> {
/// let near = Cache::builder().entry_limit(1_000).time_to_live(Duration::from_secs(5)).build();
/// let far: Cache<String, u64> = Cache::new(100_000); // In its place: a tier in Redis.
/// let tiered = Tiered::new(near, far);
/// tiered.insert("answer".to_owned(), 42).await?;
/// assert_eq!(tiered.get(&"answer".to_owned()).await?, Some(42));
/// assert_eq!(tiered.near().peek("answer"), Some(42));
/// # Ok(())
/// # }
/// ```
pub struct Tiered<K, V, F, S = MapHasher, C = SystemClock> {
    near: Cache<K, V, S, C>,
    far: F,
    /// Whether the near tier is for answers only while it hears of changes.
    needs_reports: bool,
    /// How many calls of `follow` are under way.
    followers: AtomicUsize,
}

/// Reports of values that others changed in the far tier.
///
/// 1. The source hears of every change that is made from before it is handed to [`Tiered::follow`].
/// 2. It reports each key that was written, removed or expired, and may report more than that.
/// 3. When it may have missed a report, it fails, and is then over.
pub trait Invalidations<K>: Send {
    /// How the source fails.
    type Error: Send;

    /// The next report.
    ///
    /// # Errors
    ///
    /// If reports may have been missed. It is not asked again after that.
    ///
    /// # Cancel safety
    ///
    /// It is not asked again after its future was dropped, so it may lose a report then.
    fn next(&mut self) -> impl Future<Output = Result<Invalidation<K>, Self::Error>> + Send;
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: a key, or nobody knows which"
)]
pub enum Invalidation<K> {
    /// The value of this key.
    Key(K),
    /// Any.
    All,
}

/// Why a look-up found nothing.
#[derive(Debug)]
enum Miss<E> {
    Absent,
    Failed(Arc<E>),
}

impl<E> Clone for Miss<E> {
    fn clone(&self) -> Self {
        match self {
            Miss::Absent => Miss::Absent,
            Miss::Failed(error) => Miss::Failed(Arc::clone(error)),
        }
    }
}

impl<K, V, F, S, C> Tiered<K, V, F, S, C>
where
    K: Hash + Eq,
    S: BuildHasher,
    C: Clock,
{
    /// Two tiers, of which the near one is bounded by the time its entries live.
    pub fn new(near: Cache<K, V, S, C>, far: F) -> Self {
        Tiered {
            near,
            far,
            needs_reports: false,
            followers: AtomicUsize::new(0),
        }
    }

    /// Two tiers, of which the near one answers only while [`follow`](Tiered::follow) is being polled.
    pub fn followed(near: Cache<K, V, S, C>, far: F) -> Self {
        Tiered {
            needs_reports: true,
            ..Tiered::new(near, far)
        }
    }

    /// The tier in this process.
    pub fn near(&self) -> &Cache<K, V, S, C> {
        &self.near
    }

    /// The tier that others share.
    pub fn far(&self) -> &F {
        &self.far
    }

    /// Whether values may be answered from this process.
    pub fn is_near_used(&self) -> bool {
        // Acquire: pairs with the Release in `Following`, which has emptied the near tier by then.
        !self.needs_reports || self.followers.load(Ordering::Acquire) > 0
    }

    /// Forgets here what the source reports, for as long as it reports anything. Give it a task of its own, and begin
    /// anew with a new source when it ends. Empties the near tier when it begins and when it ends, since nobody knows
    /// what was missed.
    ///
    /// # Errors
    ///
    /// Returns what the source failed with.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the following, as an error does.
    pub async fn follow<I: Invalidations<K>>(&self, mut source: I) -> I::Error {
        let _following = Following::begin(self);
        loop {
            match source.next().await {
                Ok(Invalidation::Key(key)) => drop(self.near.remove(&key)),
                Ok(Invalidation::All) => self.near.clear(),
                Err(error) => return error,
            }
        }
    }
}

struct Following<'a, K, V, S, C> {
    near: &'a Cache<K, V, S, C>,
    followers: &'a AtomicUsize,
}

impl<'a, K: Hash + Eq, V, S: BuildHasher, C: Clock> Following<'a, K, V, S, C> {
    fn begin<F>(tiered: &'a Tiered<K, V, F, S, C>) -> Self {
        // What is being loaded at this moment is not kept either.
        tiered.near.clear();
        tiered.followers.fetch_add(1, Ordering::Release);
        Following {
            near: &tiered.near,
            followers: &tiered.followers,
        }
    }
}

impl<K, V, S, C> Drop for Following<'_, K, V, S, C> {
    fn drop(&mut self) {
        self.followers.fetch_sub(1, Ordering::Release);
        self.near.clear();
    }
}

/// Forgets a key in the near tier when dropped: after a write there, whether it is known to have happened or not.
struct Forgetting<'a, K: Hash + Eq, V, S: BuildHasher, C: Clock> {
    near: &'a Cache<K, V, S, C>,
    key: &'a K,
}

impl<K: Hash + Eq, V, S: BuildHasher, C: Clock> Drop for Forgetting<'_, K, V, S, C> {
    fn drop(&mut self) {
        drop(self.near.remove(self.key));
    }
}

impl<K, V, F, S, C> CacheStore<K, V> for Tiered<K, V, F, S, C>
where
    K: Hash + Eq + Clone + Send + Sync,
    V: Clone + Send + Sync,
    F: CacheStore<K, V>,
    F::Error: Sync + 'static,
    S: BuildHasher + Send + Sync,
    C: Clock + Send + Sync,
{
    type Error = Arc<F::Error>;

    async fn get(&self, key: &K) -> Result<Option<V>, Self::Error> {
        if !self.is_near_used() {
            return self.far.get(key).await.map_err(Arc::new);
        }
        let fetch = |key| async move {
            match self.far.get(key).await {
                Ok(Some(value)) => Ok(value),
                Ok(None) => Err(Miss::Absent),
                Err(error) => Err(Miss::Failed(Arc::new(error))),
            }
        };
        match self.near.try_get_or_load_async(key, fetch).await {
            Ok(value) => Ok(Some(value)),
            Err(Miss::Absent) => Ok(None),
            Err(Miss::Failed(error)) => Err(error),
        }
    }

    async fn insert(&self, key: K, value: V) -> Result<(), Self::Error> {
        let _forgetting = Forgetting {
            near: &self.near,
            key: &key,
        };
        self.far.insert(key.clone(), value).await.map_err(Arc::new)
    }

    async fn remove(&self, key: &K) -> Result<(), Self::Error> {
        let _forgetting = Forgetting {
            near: &self.near,
            key,
        };
        self.far.remove(key).await.map_err(Arc::new)
    }

    /// One caller of this process asks the far tier, and loads if it has nothing either; the others wait for it.
    async fn get_or_load<G, L, E>(&self, key: K, load: G) -> Result<V, LoadError<Self::Error, E>>
    where
        G: FnOnce(&K) -> L + Send,
        L: Future<Output = Result<V, E>> + Send,
        E: Send,
    {
        let told = |error| match error {
            LoadError::Store(error) => LoadError::Store(Arc::new(error)),
            LoadError::Load(error) => LoadError::Load(error),
        };
        if !self.is_near_used() {
            return self.far.get_or_load(key, load).await.map_err(told);
        }
        let from_far = |key: &K| {
            let key = key.clone();
            async move { self.far.get_or_load(key, load).await }
        };
        let loaded = CacheStore::get_or_load(&self.near, key, from_far).await;
        loaded.map_err(|error| told(error.into_load()))
    }
}

impl<K, V, F: fmt::Debug, S, C> fmt::Debug for Tiered<K, V, F, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiered")
            .field("near", &self.near)
            .field("far", &self.far)
            .finish_non_exhaustive()
    }
}
