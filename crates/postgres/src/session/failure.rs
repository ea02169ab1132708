//! What the client's errors mean to a caller of the store.

use std::time::Duration;

use purlin_core::Retry;
use purlin_session_store::{ErrorKind, StoreError};
use tokio_postgres::Error;

/// No answer within the time a call may take.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(super) struct TimedOut(pub(super) Duration);

pub(super) fn store_error(error: Error) -> StoreError {
    let kind = match error.code() {
        Some(code) => kind_of(code.code()),
        // The connection is gone. What was sent on it may have been done.
        None if error.is_closed() || is_io(&error) => ErrorKind::Interrupted,
        // An answer that no function of ours gives.
        None => ErrorKind::Corrupt,
    };
    // A deadlock or a conflict of transactions is over as soon as it is told.
    let at_once = matches!(
        error.code().map(|code| code.code()),
        Some("40P01" | "40001")
    );
    let made = StoreError::new(kind).with_source(error);
    if at_once {
        made.with_retry(Retry::NOW)
    } else {
        made
    }
}

/// By the five characters of SQLSTATE. What the server reports as an error it has rolled back.
fn kind_of(code: &str) -> ErrorKind {
    match code {
        // Disk full, out of memory.
        "53100" | "53200" => ErrorKind::Full,
        // The server went down in the midst; whether before or after the commit is not said.
        "57P01" | "57P02" | "08006" | "08007" => ErrorKind::Interrupted,
        // Rolled back: transactions in conflict, too many connections, starting up, cancelled, read-only standby.
        _ if code.starts_with("40") || code.starts_with("53") || code.starts_with("57") => {
            ErrorKind::Unavailable
        }
        "55P03" | "25006" => ErrorKind::Unavailable,
        _ if code.starts_with("08") => ErrorKind::Unavailable,
        _ if code.starts_with("XX") => ErrorKind::Corrupt,
        _ => ErrorKind::Other,
    }
}

fn is_io(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_of_the_server_have_their_kinds() {
        for (code, kind) in [
            ("53100", ErrorKind::Full),
            ("57P01", ErrorKind::Interrupted),
            ("57P03", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("40P01", ErrorKind::Unavailable),
            ("25006", ErrorKind::Unavailable),
            ("XX001", ErrorKind::Corrupt),
            ("42883", ErrorKind::Other),
        ] {
            assert_eq!(kind_of(code), kind, "{code}");
        }
    }
}
