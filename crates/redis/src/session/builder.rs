//! How a store is set up.

use std::time::Duration;

use purlin_core::Retry;
use redis::RedisError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use super::RedisSessionStore;

/// Sets a [`RedisSessionStore`] up.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `connect` or `build`"]
pub struct RedisSessionStoreBuilder {
    pub(super) prefix: Vec<u8>,
    pub(super) retention: Duration,
    pub(super) timeout: Duration,
    pub(super) max_payload: usize,
}

impl RedisSessionStoreBuilder {
    pub(super) fn new() -> Self {
        RedisSessionStoreBuilder {
            prefix: b"purlin:session:".to_vec(),
            retention: Duration::from_secs(5 * 60),
            timeout: Duration::from_secs(1),
            max_payload: 16 << 10,
        }
    }

    /// What the names of all keys begin with: `purlin:session:` unless told otherwise. Stores with different prefixes
    /// share nothing.
    pub fn prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a key is remembered after its session was deleted or rotated away, and thus the longest grace of a
    /// rotation. The default is 5 minutes, the least a minute: it must outlast every call that is under way.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention.max(Duration::from_secs(60));
        self
    }

    /// How long a round trip may take, waiting for a connection included: one second unless told otherwise. After that
    /// the call is answered with [`ErrorKind::Interrupted`](purlin_session_store::ErrorKind::Interrupted).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest payload of one session, in bytes. The default is 16 KiB. How many sessions there are is bounded by
    /// the server's `maxmemory`.
    pub fn max_payload(mut self, max_payload: usize) -> Self {
        self.max_payload = max_payload;
        self
    }

    /// The store on a server, as in `redis://127.0.0.1/`. It does not wait: the connection is made by the first call,
    /// and made again whenever it breaks.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the address makes no sense. A server that is not there is an error of the calls.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn connect(self, url: &str) -> Result<RedisSessionStore, ConnectError> {
        let client = redis::Client::open(url).map_err(ConnectError)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.timeout))
            // The store's own limit holds for each round trip; a second timer would only cost.
            .set_response_timeout(None)
            // A call does not wait out a row of attempts: it fails, and the next one finds a new attempt.
            .set_number_of_retries(0);
        let connection =
            ConnectionManager::new_lazy_with_config(client, config).map_err(ConnectError)?;
        // One server, so its keys are in one place.
        Ok(self.over(connection, true))
    }

    #[cfg(feature = "near")]
    pub(crate) fn key_prefix(&self) -> &[u8] {
        &self.prefix
    }

    #[cfg(feature = "near")]
    pub(crate) fn time_limit(&self) -> Duration {
        self.timeout
    }

    /// The store over a connection of one's own: a `MultiplexedConnection`, or that of a cluster. Clones of it are made
    /// for each call.
    pub fn build<C>(self, connection: C) -> RedisSessionStore<C> {
        self.over(connection, false)
    }

    fn over<C>(self, connection: C, shares_messages: bool) -> RedisSessionStore<C> {
        RedisSessionStore::new(connection, self, shares_messages)
    }
}

/// The address of a server makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up a connection to the server")]
pub struct ConnectError(#[source] RedisError);

impl ConnectError {
    /// Never: the same address fails in the same way.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}
