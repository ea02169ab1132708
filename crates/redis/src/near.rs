//! What changed on the server.

use std::fmt;

use purlin_session_store::{ErrorKind, Invalidation, Invalidations, SessionKey, StoreError};

use crate::session::RedisSessionStoreBuilder;
use crate::session::failure::store_error;
use crate::tracking::{Report, Tracking};

/// The sessions that change on a server, by whomever, as the server itself reports them: client-side caching of
/// RESP3, in the mode that broadcasts every key with the store's prefix.
///
/// It has a connection of its own, on which nothing else is asked, so that the loss of this connection is the loss of
/// reports and nothing else. The server remembers nothing for it but the prefix. When nothing was reported for half a
/// second it asks for a sign of life, so that a connection that died in silence is noticed after another
/// [`timeout`](RedisSessionStoreBuilder::timeout); and a reader that falls behind by 65 536 reports has missed one,
/// which ends the source like a cut connection does.
///
/// ```no_run
/// use std::time::Duration;
/// use purlin_redis::RedisSessionStore;
/// use purlin_session_store::Near;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "redis://127.0.0.1/";
/// let redis = RedisSessionStore::builder().prefix("shop:session:");
/// let near = Near::builder().build(redis.clone().connect(url)?);
/// let mut pause = tokio::time::interval(Duration::from_millis(500));
/// let keep_following = async move {
///     loop {
///         let error = match redis.invalidations(url).await {
///             Ok(reports) => near.follow(reports).await,
///             Err(error) => error,
///         };
///         eprintln!("{error}; asking the server for each session until it is back");
///         pause.tick().await;
///     }
/// };
/// # drop(keep_following);
/// # Ok(())
/// # }
/// ```
pub struct RedisInvalidations {
    tracking: Tracking,
}

impl RedisSessionStoreBuilder {
    /// Begins to listen for changes to the sessions of this store's prefix. When it returns, the server has confirmed
    /// that it reports.
    ///
    /// # Errors
    ///
    /// If there is no connection to be had, or the server does not know `CLIENT TRACKING` (Redis 6) or forbids it.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn invalidations(&self, url: &str) -> Result<RedisInvalidations, StoreError> {
        let tracking = Tracking::begin(url, self.key_prefix(), self.time_limit()).await;
        Ok(RedisInvalidations {
            tracking: tracking.map_err(store_error)?,
        })
    }
}

impl Invalidations for RedisInvalidations {
    async fn next(&mut self) -> Result<Invalidation, StoreError> {
        loop {
            match self.tracking.next().await {
                Ok(Report::All) => return Ok(Invalidation::All),
                Ok(Report::Key(name)) => {
                    // Not every key that begins like ours is a session: the lists of users begin so too.
                    if let Some(key) = SessionKey::from_bytes(&name) {
                        return Ok(Invalidation::Key(key));
                    }
                }
                Err(Some(error)) => return Err(store_error(error)),
                Err(None) => return Err(StoreError::new(ErrorKind::Interrupted)),
            }
        }
    }
}

impl fmt::Debug for RedisInvalidations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisInvalidations").finish_non_exhaustive()
    }
}
