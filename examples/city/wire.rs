//! The shards' protocol: frames over TCP, a request and its reply in turn.
//!
//! A frame is its length in bytes as a little-endian `u32`, then that many bytes, the first of which says what
//! the frame is. All numbers are little-endian.

mod codec;

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use purlin_shard_router::Route;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::row::{Change, Key, Outcome, Record, Row};

/// The longest frame. A reply with as many records as [`MAX_RECORDS`] is far shorter.
const MAX_FRAME: usize = 1 << 20;

/// Records in one reply at most.
pub const MAX_RECORDS: usize = 4096;

/// What is asked of a shard's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the protocol: both ends know all of it"
)]
pub enum Request {
    /// The row of a key.
    Read {
        /// Where the asker's map has the key, for the shard's guard to judge.
        route: Route,
        /// The row.
        key: Key,
        /// How far along the copy must be.
        need: Need,
    },
    /// A change, for a primary.
    Change {
        /// Where the asker's map has the key, for the shard's guard to judge.
        route: Route,
        /// The change.
        change: Change,
    },
    /// The records after a position, for a replica of this primary.
    Pull {
        /// The last position that the replica has.
        after: u64,
    },
    /// How far along the copy is.
    Status,
}

/// How far along a copy must be to answer a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the protocol: both ends know all of it"
)]
pub enum Need {
    /// Wherever it is.
    Nothing,
    /// It has applied this position: the asker has seen a write of it.
    Position(u64),
    /// It holds all that was committed by this tick: the answer may be so old and no older.
    FreshAt(u64),
}

/// What a copy replies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the protocol: both ends know all of it"
)]
pub enum Reply {
    /// A row.
    Row {
        /// It.
        row: Row,
        /// The copy's own name.
        from: Stamp,
        /// How far along the copy was when it read the row.
        progress: Progress,
    },
    /// The change is made, and on disk.
    Changed {
        /// What became of it.
        outcome: Outcome,
        /// The copy's own name.
        from: Stamp,
    },
    /// The copy is not as far along as the read needs.
    Behind(Progress),
    /// The guard does not admit the request: by the shard's map the key is not here, or not by this route.
    WrongRoute,
    /// Records of the log, in order.
    Records {
        /// They.
        records: Vec<Record>,
        /// The primary held all that was committed by `tick`, which is up to `position`.
        progress: Progress,
    },
    /// How far along the copy is.
    Status(Progress),
    /// The copy could not do it; whether it was done is not known.
    Failed,
}

/// Who answered, by his own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The shard whose file the answer was read from.
    pub shard: u32,
    /// The copy: 0 is the primary.
    pub copy: u32,
}

/// How far along a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last position it has applied.
    pub position: u64,
    /// It holds all that was committed by this tick.
    pub fresh_at: u64,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Connection {
    /// Speaks the protocol over a stream.
    ///
    /// # Errors
    ///
    /// If the socket refuses to send small frames at once.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            incoming: BytesMut::with_capacity(1024),
            outgoing: BytesMut::with_capacity(1024),
        })
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    ///
    /// If the connection fails or the reply makes no sense. The connection is of no use then, and whether the
    /// request was carried out is not known.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a connection whose call was dropped must be dropped too, for its next reply would
    /// answer the question before.
    pub async fn call(&mut self, request: &Request) -> io::Result<Reply> {
        self.send(|out| codec::encode_request(request, out)).await?;
        let mut frame = self.receive().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        codec::decode_reply(&mut frame).ok_or_else(nonsense)
    }

    /// The next request, or `None` when the asker has hung up.
    ///
    /// # Errors
    ///
    /// If the connection fails or the request makes no sense.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has arrived so far is kept.
    pub async fn next_request(&mut self) -> io::Result<Option<Request>> {
        match self.receive().await? {
            Some(mut frame) => codec::decode_request(&mut frame)
                .map(Some)
                .ok_or_else(nonsense),
            None => Ok(None),
        }
    }

    /// Replies to the last request.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: part of the reply may have left.
    pub async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        self.send(|out| codec::encode_reply(reply, out)).await
    }

    async fn send(&mut self, encode: impl FnOnce(&mut BytesMut)) -> io::Result<()> {
        self.outgoing.clear();
        self.outgoing.put_u32_le(0);
        encode(&mut self.outgoing);
        let len = (self.outgoing.len() - 4) as u32;
        self.outgoing[..4].copy_from_slice(&len.to_le_bytes());
        self.stream.write_all(&self.outgoing).await
    }

    async fn receive(&mut self) -> io::Result<Option<BytesMut>> {
        loop {
            if let Some(len) = self.incoming.first_chunk::<4>() {
                let len = u32::from_le_bytes(*len) as usize;
                if len > MAX_FRAME {
                    return Err(nonsense());
                }
                if self.incoming.len() >= 4 + len {
                    self.incoming.advance(4);
                    return Ok(Some(self.incoming.split_to(len)));
                }
            }
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                return match self.incoming.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame that makes no sense")
}
