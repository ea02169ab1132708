//! How a store fails.

use core::fmt;
use core::time::Duration;
use std::error::Error;

use purlin_core::Retry;

use crate::store::Record;

/// A store could not do what it was asked.
///
/// Never means "there is no such session": a caller that takes an error for that logs its users out, or saves
/// an empty session over a good one.
pub struct StoreError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    record: Option<Record>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of failure a [`StoreError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store could not be asked. The call had no effect.
    Unavailable,
    /// The store was asked and did not answer. The call may or may not have had its effect.
    Interrupted,
    /// The store's limit of sessions or bytes is reached. What it holds is untouched.
    Full,
    /// The record is larger than the store takes, whatever else it holds.
    TooLarge,
    /// What the store holds under this key is not what a store wrote.
    Corrupt,
    /// Anything else; the source says what.
    Other,
}

impl StoreError {
    /// A failure of this kind, with the advice that fits it: `Unavailable` and `Full` may be retried after a
    /// while, `Interrupted` only what is harmless twice, the others never.
    pub fn new(kind: ErrorKind) -> Self {
        let retry = match kind {
            ErrorKind::Unavailable => Retry::safe_after(Duration::from_millis(100)),
            ErrorKind::Interrupted => Retry::if_idempotent_after(Duration::from_millis(100)),
            ErrorKind::Full => Retry::safe_after(Duration::from_secs(1)),
            ErrorKind::TooLarge | ErrorKind::Corrupt | ErrorKind::Other => Retry::NEVER,
        };
        StoreError(Box::new(Inner {
            kind,
            retry,
            record: None,
            source: None,
        }))
    }

    /// The same, with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same, with the record that was not stored.
    #[must_use]
    pub fn with_record(mut self, record: Record) -> Self {
        self.0.record = Some(record);
        self
    }

    /// The same, with other advice on trying again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the call may be repeated, and when.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The record that was not stored, if the call brought one and the store still has it.
    pub fn into_record(self) -> Option<Record> {
        self.0.record
    }
}

/// Shows no payload: what a session holds is nobody's business in a log.
impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.0.kind)
            .field("retry", &self.0.retry)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind {
            ErrorKind::Unavailable => "the session store could not be reached",
            ErrorKind::Interrupted => "the session store did not answer",
            ErrorKind::Full => "the session store is full",
            ErrorKind::TooLarge => "the session is too large for the store",
            ErrorKind::Corrupt => "the session store holds something else under this key",
            ErrorKind::Other => "the session store failed",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::Lifetime;

    #[test]
    fn an_error_gives_the_record_back_and_does_not_print_it() {
        let lifetime = Lifetime::new(Duration::ZERO, Duration::ZERO);
        let record = Record::new(Bytes::from_static(b"secret"), lifetime);
        let error = StoreError::new(ErrorKind::Full)
            .with_record(record.clone())
            .with_source("disk");
        assert!(!format!("{error:?} {error}").contains("secret"));
        assert_eq!(error.source().map(ToString::to_string), Some("disk".into()));
        assert_eq!(error.retry(), Retry::safe_after(Duration::from_secs(1)));
        assert_eq!(error.into_record(), Some(record));
    }
}
