//! What the functions of the migration answer.

use std::time::Duration;

use bytes::Bytes;
use purlin_session_store::{Entry, ErrorKind, Lifetime, SessionKey, StoreError, UserKey, Version};
use tokio_postgres::Row;

use super::failure::store_error;

/// What a function found, or did.
pub(super) enum Answer {
    Nothing,
    Live(Entry),
    /// Rotated away: the session as it was, with what is left of the grace, and the key it has now if it lives.
    Rotated {
        past: Entry,
        by: Option<SessionKey>,
    },
    /// The new key is.
    Taken,
    Done(Version),
    /// The user has as many sessions as they may.
    AtCap,
}

impl Answer {
    pub(super) fn parse(row: &Row) -> Result<Self, StoreError> {
        let state: i16 = row.try_get(0).map_err(store_error)?;
        match state {
            0 => Ok(Answer::Nothing),
            1 => entry(row).map(Answer::Live),
            2 => {
                let mut past = entry(row)?;
                // Its time is that of the grace.
                past.remaining.absolute = past.remaining.idle;
                let by =
                    bytes(row, 4)?.map(|bytes| SessionKey::from_bytes(bytes).ok_or_else(corrupt));
                Ok(Answer::Rotated {
                    past,
                    by: by.transpose()?,
                })
            }
            4 => Ok(Answer::Taken),
            5 => version(row).map(Answer::Done),
            6 => Ok(Answer::AtCap),
            _ => Err(corrupt()),
        }
    }

    /// As [`SessionStore::load`](purlin_session_store::SessionStore::load) has it.
    pub(super) fn loaded(self) -> Option<Entry> {
        match self {
            Answer::Live(entry) => Some(entry),
            Answer::Rotated { past, by: Some(by) } if past.remaining.idle > Duration::ZERO => {
                Some(past.with_successor(by))
            }
            Answer::Rotated { .. }
            | Answer::Nothing
            | Answer::Taken
            | Answer::Done(_)
            | Answer::AtCap => None,
        }
    }
}

/// An answer that no function of ours gives.
pub(super) fn corrupt() -> StoreError {
    StoreError::new(ErrorKind::Corrupt)
}

fn entry(row: &Row) -> Result<Entry, StoreError> {
    let payload = bytes(row, 5)?.ok_or_else(corrupt)?;
    let owner = bytes(row, 6)?.map(|bytes| UserKey::from_bytes(bytes).ok_or_else(corrupt));
    let remaining = Lifetime::new(left(row, 2)?, left(row, 3)?);
    let entry = Entry::new(version(row)?, Bytes::copy_from_slice(payload), remaining);
    Ok(entry.with_owner(owner.transpose()?))
}

fn version(row: &Row) -> Result<Version, StoreError> {
    let version: i64 = row.try_get(1).map_err(store_error)?;
    u64::try_from(version).map(Version).map_err(|_| corrupt())
}

/// Microseconds, or a negative number for ever.
fn left(row: &Row, column: usize) -> Result<Duration, StoreError> {
    let left: i64 = row.try_get(column).map_err(store_error)?;
    Ok(u64::try_from(left).map_or(Duration::MAX, Duration::from_micros))
}

fn bytes(row: &Row, column: usize) -> Result<Option<&[u8]>, StoreError> {
    row.try_get(column).map_err(store_error)
}
