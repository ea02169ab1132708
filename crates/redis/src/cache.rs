//! A cache on a server.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use purlin_core::{CacheStore, Retry};
use purlin_lru_cache::{CacheNode, Invalidation, Invalidations};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError};

use crate::tracking::{Report, Tracking};

/// A cache on a Redis or Valkey server, shared by any number of processes: the far tier of
/// [`Tiered`](purlin_lru_cache::Tiered), a node of a [`Cluster`](purlin_lru_cache::Cluster), or a cache by itself.
///
/// One round trip a call. Every value has a time to live, ten minutes unless told otherwise, so that whatever goes wrong
/// with an invalidation ends some day. Give the server `maxmemory` and an eviction policy; sessions do not belong on it.
///
/// Clones are the same cache, over the same connection.
///
/// # Cancel safety
///
/// A call whose future is dropped before its first poll has done nothing. After that the server may do what it was sent.
///
/// ```no_run
/// use std::time::Duration;
/// use purlin_core::CacheStore;
/// use purlin_lru_cache::{Cache, Tiered};
/// use purlin_redis::RedisCache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let far: RedisCache<String, String> = RedisCache::builder()
///     .prefix("shop:page:")
///     .time_to_live(Duration::from_secs(300))
///     .connect("redis://127.0.0.1/")?;
/// let reports = far.invalidations("redis://127.0.0.1/").await?;
/// let pages = Tiered::followed(Cache::new(10_000), far);
/// let about = "/about".to_owned();
/// tokio::select! {
///     error = pages.follow(reports) => eprintln!("{error}; asking the server for each page"),
///     page = pages.get(&about) => println!("{:?}", page?),
/// }
/// # Ok(())
/// # }
/// ```
pub struct RedisCache<K, V, C = ConnectionManager> {
    connection: C,
    settings: RedisCacheBuilder,
    of: PhantomData<fn(K) -> V>,
}

/// Sets a [`RedisCache`] up.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `connect` or `build`"]
pub struct RedisCacheBuilder {
    prefix: Vec<u8>,
    time_to_live: Duration,
    timeout: Duration,
}

/// What a [`RedisCache`] can keep, as a key or as a value: something with a form in bytes.
///
/// 1. `from_bytes` of what `to_bytes` gave is the same again.
/// 2. Two keys that differ have bytes that differ.
/// 3. `from_bytes` of anything else is None, and then taken for a value that is not there.
pub trait Stored: Sized {
    /// The bytes to keep.
    fn to_bytes(&self) -> Bytes;

    /// What these bytes are, if they are one.
    fn from_bytes(bytes: Bytes) -> Option<Self>;
}

impl Stored for Bytes {
    fn to_bytes(&self) -> Bytes {
        self.clone()
    }
    fn from_bytes(bytes: Bytes) -> Option<Self> {
        Some(bytes)
    }
}

impl Stored for Vec<u8> {
    fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
    fn from_bytes(bytes: Bytes) -> Option<Self> {
        Some(bytes.into())
    }
}

impl Stored for String {
    fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
    fn from_bytes(bytes: Bytes) -> Option<Self> {
        String::from_utf8(bytes.into()).ok()
    }
}

/// In decimal, for whoever looks at the server.
impl Stored for u64 {
    fn to_bytes(&self) -> Bytes {
        self.to_string().into()
    }
    fn from_bytes(bytes: Bytes) -> Option<Self> {
        let number = std::str::from_utf8(&bytes).ok()?.parse().ok()?;
        // "+7" and "07" are no number of ours.
        (Stored::to_bytes(&number) == bytes).then_some(number)
    }
}

/// A server could not be asked, or did not answer, or refused. What is cached is as it was, or as it was to become.
#[derive(Debug, thiserror::Error)]
#[error("the cache's server failed")]
pub struct CacheError(#[source] Failure);

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the server failed")]
    Client(#[source] RedisError),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("reports may have been missed")]
    Missed,
}

impl CacheError {
    /// A cache's calls are harmless twice.
    pub fn retry(&self) -> Retry {
        match &self.0 {
            Failure::Client(error) if error.kind() != ErrorKind::Io => Retry::NEVER,
            Failure::Client(_) | Failure::TimedOut(_) | Failure::Missed => {
                Retry::if_idempotent_after(Duration::from_millis(100))
            }
        }
    }
}

impl RedisCacheBuilder {
    /// What the names of all keys begin with: `purlin:cache:` unless told otherwise.
    pub fn prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a value lives from its insertion on: ten minutes unless told otherwise. Below a millisecond it is one.
    pub fn time_to_live(mut self, lasts: Duration) -> Self {
        self.time_to_live = lasts;
        self
    }

    /// How long a round trip may take: a quarter of a second unless told otherwise. What is behind a cache is slow, but
    /// not that slow.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The cache on a server. It does not wait: the connection is made by the first call, and made again whenever it
    /// breaks.
    ///
    /// # Errors
    ///
    /// [`CacheError`] if the address makes no sense. A server that is not there is an error of the calls.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn connect<K, V>(self, url: &str) -> Result<RedisCache<K, V>, CacheError> {
        let client = redis::Client::open(url).map_err(failed)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
            .set_number_of_retries(0);
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(failed)?;
        Ok(self.build(connection))
    }

    /// The cache over a connection of one's own. Clones of it are made for each call.
    pub fn build<K, V, C>(self, connection: C) -> RedisCache<K, V, C> {
        RedisCache {
            connection,
            settings: self,
            of: PhantomData,
        }
    }
}

impl RedisCache<(), ()> {
    /// For a cache on a server.
    pub fn builder() -> RedisCacheBuilder {
        RedisCacheBuilder {
            prefix: b"purlin:cache:".to_vec(),
            time_to_live: Duration::from_secs(600),
            timeout: Duration::from_millis(250),
        }
    }
}

impl<K: Stored, V, C: ConnectionLike + Clone> RedisCache<K, V, C> {
    fn name(&self, key: &K) -> Vec<u8> {
        [&self.settings.prefix[..], &key.to_bytes()].concat()
    }

    async fn call<T: FromRedisValue>(&self, command: Cmd) -> Result<T, CacheError> {
        let mut connection = self.connection.clone();
        let limit = self.settings.timeout;
        match tokio::time::timeout(limit, command.query_async(&mut connection)).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(CacheError(Failure::TimedOut(limit))),
        }
    }
}

impl<K, V, C> RedisCache<K, V, C> {
    /// Begins to listen for changes to this cache's keys, by whomever, on a connection of its own. When it returns, the
    /// server has confirmed that it reports.
    ///
    /// # Errors
    ///
    /// If there is no connection to be had, or the server does not know `CLIENT TRACKING` (Redis 6) or forbids it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn invalidations(&self, url: &str) -> Result<RedisCacheInvalidations<K>, CacheError> {
        let (prefix, timeout) = (&self.settings.prefix, self.settings.timeout);
        let tracking = Tracking::begin(url, prefix, timeout).await;
        Ok(RedisCacheInvalidations {
            tracking: tracking.map_err(failed)?,
            of: PhantomData,
        })
    }
}

impl<K, V, C> CacheStore<K, V> for RedisCache<K, V, C>
where
    K: Stored + Send + Sync,
    V: Stored + Send,
    C: ConnectionLike + Clone + Send + Sync,
{
    type Error = CacheError;

    async fn get(&self, key: &K) -> Result<Option<V>, CacheError> {
        let mut command = redis::cmd("GET");
        command.arg(self.name(key));
        let found: Option<Vec<u8>> = self.call(command).await?;
        Ok(found.and_then(|bytes| V::from_bytes(bytes.into())))
    }

    async fn insert(&self, key: K, value: V) -> Result<(), CacheError> {
        let ms = u64::try_from(self.settings.time_to_live.as_millis()).unwrap_or(u64::MAX);
        let mut command = redis::cmd("SET");
        command
            .arg(self.name(&key))
            .arg(&value.to_bytes()[..])
            .arg("PX")
            // More than the server can count is more than anybody waits for.
            .arg(ms.clamp(1, 1 << 52));
        self.call(command).await
    }

    async fn remove(&self, key: &K) -> Result<(), CacheError> {
        let mut command = redis::cmd("UNLINK");
        command.arg(self.name(key));
        let _: u64 = self.call(command).await?;
        Ok(())
    }
}

impl<K, V, C> CacheNode<K, V> for RedisCache<K, V, C>
where
    K: Stored + Send + Sync,
    V: Stored + Send,
    C: ConnectionLike + Clone + Send + Sync,
{
    /// Walks over the server's keys and removes those with the prefix: one round trip for every thousand keys that the
    /// server has, and one for those found.
    async fn clear(&self) -> Result<(), CacheError> {
        let mut pattern: Vec<u8> = Vec::new();
        for byte in &self.settings.prefix {
            if b"*?[]\\^-".contains(byte) {
                pattern.push(b'\\');
            }
            pattern.push(*byte);
        }
        pattern.push(b'*');
        let mut cursor: u64 = 0;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern[..]);
            scan.arg("COUNT").arg(1_000);
            let (next, names): (u64, Vec<Vec<u8>>) = self.call(scan).await?;
            if !names.is_empty() {
                let mut command = redis::cmd("UNLINK");
                command.arg(names);
                let _: u64 = self.call(command).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

/// The values of a [`RedisCache`] that change on its server; see [`RedisCache::invalidations`].
///
/// A connection that died in silence is noticed after half a second and the cache's
/// [`timeout`](RedisCacheBuilder::timeout).
pub struct RedisCacheInvalidations<K> {
    tracking: Tracking,
    of: PhantomData<fn() -> K>,
}

impl<K: Stored> Invalidations<K> for RedisCacheInvalidations<K> {
    type Error = CacheError;

    async fn next(&mut self) -> Result<Invalidation<K>, CacheError> {
        loop {
            match self.tracking.next().await {
                Ok(Report::All) => return Ok(Invalidation::All),
                Ok(Report::Key(name)) => {
                    if let Some(key) = K::from_bytes(name) {
                        return Ok(Invalidation::Key(key));
                    }
                }
                Err(Some(error)) => return Err(failed(error)),
                Err(None) => return Err(CacheError(Failure::Missed)),
            }
        }
    }
}

fn failed(error: RedisError) -> CacheError {
    CacheError(Failure::Client(error))
}

impl<K, V, C: Clone> Clone for RedisCache<K, V, C> {
    fn clone(&self) -> Self {
        RedisCache {
            connection: self.connection.clone(),
            settings: self.settings.clone(),
            of: PhantomData,
        }
    }
}

impl<K, V, C> fmt::Debug for RedisCache<K, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for RedisCacheInvalidations<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCacheInvalidations")
            .finish_non_exhaustive()
    }
}
