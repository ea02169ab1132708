//! Keep-alive HTTP/1.1 connections to one server, and what a failure on one of them means.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// The largest body that is read.
const MAX_BODY: usize = 64 << 10;

/// Connections to one server, each used by one request at a time.
#[derive(Debug)]
pub struct HttpPool {
    address: SocketAddr,
    idle: Mutex<VecDeque<Sender>>,
    /// One permit a connection.
    free: Semaphore,
}

type Sender = SendRequest<Full<Bytes>>;

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "complete: it left or it did not")]
pub enum SendError {
    /// It never left: sending it elsewhere is safe, whatever it does.
    #[error("not sent: {0}")]
    NotSent(io::Error),
    /// It may have arrived and had its effect: only an idempotent one may be sent again.
    #[error("the connection failed before the response was complete")]
    Lost,
}

impl HttpPool {
    /// A pool of at most so many connections, none of which is opened yet.
    pub fn new(address: SocketAddr, max_connections: usize) -> Self {
        HttpPool {
            address,
            idle: Mutex::default(),
            free: Semaphore::new(max_connections),
        }
    }

    /// Sends a request and reads the whole response. Waits for a connection where all are in use.
    ///
    /// # Errors
    ///
    /// [`SendError`], which says whether the request may have arrived.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the request may or may not have arrived; its connection is
    /// closed, not reused.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, SendError> {
        let _permit = self
            .free
            .acquire()
            .await
            .map_err(|closed| SendError::NotSent(io::Error::other(closed)))?;
        loop {
            // An idle connection may have been closed by the server in the meantime. hyper then hands the
            // request back untouched, and the next one is tried, and a new one in the end.
            let pooled = self.take_idle().await;
            let reused = pooled.is_some();
            let mut sender = match pooled {
                Some(sender) => sender,
                None => self.connect().await.map_err(SendError::NotSent)?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let response = read(response).await?;
                    self.put_back(sender);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    Some(untouched) if reused => request = untouched,
                    Some(_) => {
                        return Err(SendError::NotSent(io::Error::other(error.into_error())));
                    }
                    None => return Err(SendError::Lost),
                },
            }
        }
    }

    async fn connect(&self) -> io::Result<Sender> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // Ends when the sender is dropped or the server hangs up; the sender learns of any error.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    async fn take_idle(&self) -> Option<Sender> {
        loop {
            // The one that has rested longest: it has surely got over its last response.
            let mut sender = self.idle().pop_front()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    fn put_back(&self, sender: Sender) {
        if !sender.is_closed() {
            self.idle().push_back(sender);
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Sender>> {
        // Pushing and popping leave the queue whole whatever happens.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Response<Bytes>, SendError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY)
        .collect()
        .await
        .map_err(|_| SendError::Lost)?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
