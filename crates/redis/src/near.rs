//! What changed on the server.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use purlin_session_store::{ErrorKind, Invalidation, Invalidations, SessionKey, StoreError};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, Value,
};
use tokio::sync::mpsc;

use crate::session::RedisSessionStoreBuilder;
use crate::session::failure::{TimedOut, store_error};

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
    connection: MultiplexedConnection,
    reports: mpsc::Receiver<Report>,
    /// Set when a report had no room.
    missed_one: Arc<AtomicBool>,
    timeout: Duration,
}

enum Report {
    Changed(Invalidation),
    Disconnected,
}

/// How many reports may wait. One takes 34 bytes.
const MAX_WAITING: usize = 1 << 16;

/// After how much silence a sign of life is asked for.
const SILENCE: Duration = Duration::from_millis(500);

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
        let limit = self.time_limit();
        let info = url.into_connection_info().map_err(store_error)?;
        let speaks = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3);
        let client = redis::Client::open(info.set_redis_settings(speaks)).map_err(store_error)?;

        let (sender, reports) = mpsc::channel(MAX_WAITING);
        let missed_one = Arc::new(AtomicBool::new(false));
        let misses = Arc::clone(&missed_one);
        let prefix = self.key_prefix().to_vec();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit))
            .set_push_sender(move |message: PushInfo| -> Result<(), Infallible> {
                each_report(&message, &prefix, |report| {
                    let is_missed = sender.try_send(report).is_err();
                    // Release: pairs with the Acquire in `next`, which looks before it gives a report out.
                    misses.fetch_or(is_missed, Ordering::Release);
                });
                Ok(())
            });
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(store_error)?;
        let () = redis::cmd("CLIENT")
            .arg("TRACKING")
            .arg("ON")
            .arg("BCAST")
            .arg("PREFIX")
            .arg(self.key_prefix())
            .query_async(&mut connection)
            .await
            .map_err(store_error)?;
        Ok(RedisInvalidations {
            connection,
            reports,
            missed_one,
            timeout: limit,
        })
    }
}

impl Invalidations for RedisInvalidations {
    async fn next(&mut self) -> Result<Invalidation, StoreError> {
        loop {
            if self.missed_one.load(Ordering::Acquire) {
                return Err(StoreError::new(ErrorKind::Interrupted).with_source(FellBehind));
            }
            match tokio::time::timeout(SILENCE, self.reports.recv()).await {
                Ok(Some(Report::Changed(invalidation))) => return Ok(invalidation),
                Ok(Some(Report::Disconnected) | None) => {
                    return Err(StoreError::new(ErrorKind::Interrupted));
                }
                Err(_) => self.ask_for_a_sign_of_life().await?,
            }
        }
    }
}

impl RedisInvalidations {
    async fn ask_for_a_sign_of_life(&mut self) -> Result<(), StoreError> {
        let ping = redis::cmd("PING");
        let answer = ping.query_async::<Value>(&mut self.connection);
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(store_error(error)),
            Err(_) => {
                Err(StoreError::new(ErrorKind::Interrupted).with_source(TimedOut(self.timeout)))
            }
        }
    }
}

/// What a message of the server says.
fn each_report(message: &PushInfo, prefix: &[u8], mut each: impl FnMut(Report)) {
    match message.kind {
        PushKind::Invalidate => {}
        PushKind::Disconnection => return each(Report::Disconnected),
        _ => return,
    }
    for value in &message.data {
        match value {
            Value::Array(names) => names
                .iter()
                .filter_map(|name| session_of(name, prefix))
                .for_each(|key| each(Report::Changed(Invalidation::Key(key)))),
            // `FLUSHALL`, or a form that is not known here.
            _ => each(Report::Changed(Invalidation::All)),
        }
    }
}

/// The session of a key in the server; none for a key that is not one of ours and only begins like them.
fn session_of(name: &Value, prefix: &[u8]) -> Option<SessionKey> {
    match name {
        Value::BulkString(name) => SessionKey::from_bytes(name.strip_prefix(prefix)?),
        _ => None,
    }
}

/// Reports came faster than they were taken.
#[derive(Debug, thiserror::Error)]
#[error("fell behind the server's reports")]
struct FellBehind;

impl fmt::Debug for RedisInvalidations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisInvalidations")
            .field("waiting", &self.reports.len())
            .finish_non_exhaustive()
    }
}
