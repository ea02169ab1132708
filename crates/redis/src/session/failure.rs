//! What the client's errors mean to a caller of the store.

use purlin_session_store::{ErrorKind, StoreError};
use redis::{RedisError, ServerErrorKind};

/// No answer within the time a round trip may take.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(super) struct TimedOut(pub(super) std::time::Duration);

pub(crate) fn store_error(error: RedisError) -> StoreError {
    StoreError::new(kind_of(&error)).with_source(error)
}

fn kind_of(error: &RedisError) -> ErrorKind {
    match error.code() {
        // `maxmemory` is reached and nothing may be evicted.
        Some("OOM") => return ErrorKind::Full,
        Some("CORRUPT" | "WRONGTYPE") => return ErrorKind::Corrupt,
        // Another script runs for too long; no disk to write to; too few replicas. Nothing was done.
        Some("BUSY" | "MISCONF" | "NOREPLICAS") => return ErrorKind::Unavailable,
        _ => {}
    }
    match error.kind() {
        redis::ErrorKind::Io if error.is_connection_refusal() => ErrorKind::Unavailable,
        redis::ErrorKind::Io => ErrorKind::Interrupted,
        redis::ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        )
        | redis::ErrorKind::MasterNameNotFoundBySentinel
        | redis::ErrorKind::NoValidReplicasFoundBySentinel
        | redis::ErrorKind::ClusterConnectionNotFound => ErrorKind::Unavailable,
        // The answer was cut short or garbled on its way.
        redis::ErrorKind::Parse => ErrorKind::Interrupted,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn no_failure_is_taken_for_an_answer() {
        let io = |kind: io::ErrorKind| RedisError::from(io::Error::from(kind));
        let server = |kind| RedisError::from((redis::ErrorKind::Server(kind), "said so"));
        for (error, kind) in [
            (io(io::ErrorKind::ConnectionRefused), ErrorKind::Unavailable),
            (io(io::ErrorKind::BrokenPipe), ErrorKind::Interrupted),
            (io(io::ErrorKind::TimedOut), ErrorKind::Interrupted),
            (server(ServerErrorKind::BusyLoading), ErrorKind::Unavailable),
            (server(ServerErrorKind::ReadOnly), ErrorKind::Unavailable),
            (server(ServerErrorKind::NoPerm), ErrorKind::Other),
        ] {
            assert_eq!(kind_of(&error), kind, "{error:?}");
        }
    }
}
