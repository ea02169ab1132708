//! Client-side caching of RESP3, in the mode that broadcasts every key with a prefix, on a connection of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError,
    Value,
};
use tokio::sync::mpsc;

/// Reports of a server, for as long as none is missed.
pub(crate) struct Tracking {
    connection: MultiplexedConnection,
    reports: mpsc::Receiver<Option<Report>>,
    /// Set when a report had no room.
    missed_one: Arc<AtomicBool>,
    timeout: Duration,
}

#[derive(Debug)]
pub(crate) enum Report {
    /// The key of this name, without the prefix.
    Key(Bytes),
    All,
}

/// How many reports may wait. One takes as much as a key and 40 bytes.
const MAX_WAITING: usize = 1 << 16;

/// After how much silence a sign of life is asked for.
const SILENCE: Duration = Duration::from_millis(500);

impl Tracking {
    /// Connects, and returns when the server has confirmed that it reports.
    pub(crate) async fn begin(
        url: &str,
        prefix: &[u8],
        timeout: Duration,
    ) -> Result<Self, RedisError> {
        let info = url.into_connection_info()?;
        let speaks = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3);
        let client = redis::Client::open(info.set_redis_settings(speaks))?;

        let (sender, reports) = mpsc::channel(MAX_WAITING);
        let missed_one = Arc::new(AtomicBool::new(false));
        let misses = Arc::clone(&missed_one);
        let skipped = prefix.to_vec();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_push_sender(move |message: PushInfo| -> Result<(), Infallible> {
                each_report(&message, &skipped, |report| {
                    let is_missed = sender.try_send(report).is_err();
                    // Release: pairs with the Acquire in `next`, which looks before it gives a report out.
                    misses.fetch_or(is_missed, Ordering::Release);
                });
                Ok(())
            });
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let () = redis::cmd("CLIENT")
            .arg("TRACKING")
            .arg("ON")
            .arg("BCAST")
            .arg("PREFIX")
            .arg(prefix)
            .query_async(&mut connection)
            .await?;
        Ok(Tracking {
            connection,
            reports,
            missed_one,
            timeout,
        })
    }

    /// The next report. An error if any may have been missed; without a cause if that is all that is known.
    pub(crate) async fn next(&mut self) -> Result<Report, Option<RedisError>> {
        loop {
            if self.missed_one.load(Ordering::Acquire) {
                return Err(None);
            }
            match tokio::time::timeout(SILENCE, self.reports.recv()).await {
                Ok(Some(Some(report))) => return Ok(report),
                // Disconnected.
                Ok(Some(None) | None) => return Err(None),
                Err(_) => self.ask_for_a_sign_of_life().await?,
            }
        }
    }

    async fn ask_for_a_sign_of_life(&mut self) -> Result<(), Option<RedisError>> {
        let ping = redis::cmd("PING");
        let answer = ping.query_async::<Value>(&mut self.connection);
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Some(error)),
            Err(_) => Err(None),
        }
    }
}

/// What a message of the server says; None for the end of the connection.
fn each_report(message: &PushInfo, prefix: &[u8], mut each: impl FnMut(Option<Report>)) {
    match message.kind {
        PushKind::Invalidate => {}
        PushKind::Disconnection => return each(None),
        _ => return,
    }
    for value in &message.data {
        match value {
            Value::Array(names) => names
                .iter()
                .filter_map(|name| match name {
                    Value::BulkString(name) => name.strip_prefix(prefix),
                    _ => None,
                })
                .for_each(|name| each(Some(Report::Key(Bytes::copy_from_slice(name))))),
            // `FLUSHALL`, or a form that is not known here.
            _ => each(Some(Report::All)),
        }
    }
}
