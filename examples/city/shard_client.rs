//! Connections to one copy of a shard.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::wire::{Connection, Reply, Request};

/// Calls to one copy that one caller has under way at most. Further ones wait.
const MAX_CONNECTIONS: usize = 64;

/// How long a copy may take. Far longer than any healthy one does.
const PATIENCE: Duration = Duration::from_secs(5);

/// A pool of connections to a copy, each used by one call at a time.
#[derive(Debug)]
pub struct ShardClient {
    address: SocketAddr,
    idle: Mutex<Vec<Connection>>,
    free: Semaphore,
}

impl ShardClient {
    /// A pool without connections as yet.
    pub fn new(address: SocketAddr) -> Self {
        ShardClient {
            address,
            idle: Mutex::default(),
            free: Semaphore::new(MAX_CONNECTIONS),
        }
    }

    /// Asks the copy.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, hangs up or takes too long. Whether the request was carried out is not known
    /// then, and need not be: reads have no effect, and the ledger recognises a change that comes again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the request may or may not have been carried out; its
    /// connection is closed.
    pub async fn call(&self, request: &Request) -> io::Result<Reply> {
        let attempt = async {
            let _permit = self.free.acquire().await.map_err(io::Error::other)?;
            let mut connection = match self.take_idle() {
                Some(connection) => connection,
                None => Connection::new(TcpStream::connect(self.address).await?)?,
            };
            let reply = connection.call(request).await?;
            self.idle().push(connection);
            Ok(reply)
        };
        tokio::time::timeout(PATIENCE, attempt).await?
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle().pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // Pushing and popping leave the list whole whatever happens.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
