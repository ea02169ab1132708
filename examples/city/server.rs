//! A listener, its connections, and an end to both.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Connections one server holds at most. Others wait in the operating system's queue.
const MAX_CONNECTIONS: usize = 4096;

/// How long a server waits when the operating system gives it no connection, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Listens on the loopback interface; port 0 is any free one.
///
/// # Errors
///
/// If the port is taken.
///
/// # Cancel safety
///
/// Cancel safe: it does not wait.
pub async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// A server at work. Dropping it stops it like [`stop`](Server::stop), without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves each connection by a task of its own, which `serve` makes.
    ///
    /// # Errors
    ///
    /// If the listener has no address.
    pub fn start<F, S>(listener: TcpListener, serve: F) -> io::Result<Self>
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, serve));
        Ok(Server { address, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it as a crash would: the listener closes, every connection's task is aborted where it stands,
    /// and its socket is closed under the client.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the server stops all the same, and only the waiting for it is lost.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // An aborted task ends in an error that says so.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Owns the connections' tasks, so that they end with it.
async fn accept<F, S>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> S,
    S: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(serve(stream));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_stopped_server_lets_go_of_its_port_and_its_clients() {
        let listener = listen(0).await.unwrap();
        let server = Server::start(listener, |stream| async move {
            let _held = stream;
            std::future::pending::<()>().await;
        })
        .unwrap();
        let address = server.address();
        let mut client = TcpStream::connect(address).await.unwrap();
        server.stop().await;
        // Closed or reset: either way the client is told.
        assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)));
        assert!(TcpStream::connect(address).await.is_err());
        listen(address.port()).await.unwrap();
    }
}
