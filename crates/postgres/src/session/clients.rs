//! Where connections come from.

use std::error::Error;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use tokio_postgres::Client;

/// A source of connections: one client that all calls share, or a pool.
///
/// A client that is shared serves its calls in the order in which they came, each in a transaction of its own. A pool
/// hands a client to one call at a time, and gets it back when that is dropped.
pub trait Clients: Send + Sync {
    /// A client for the length of a call.
    type Client: Deref<Target = Client> + Send + Sync;

    /// Hands out a client.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from that. The call is then answered with an error of kind `Unavailable`.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the time of the call is over; no client may be lost by that.
    fn client(
        &self,
    ) -> impl Future<Output = Result<Self::Client, Box<dyn Error + Send + Sync>>> + Send;
}

/// One client for all calls. Once its connection is lost every call fails.
impl Clients for Arc<Client> {
    type Client = Arc<Client>;

    async fn client(&self) -> Result<Self::Client, Box<dyn Error + Send + Sync>> {
        Ok(Arc::clone(self))
    }
}
