//! The tables of a file of sessions.
//!
//! Format 2:
//!
//! | table | key | value |
//! |---|---|---|
//! | `purlin.session.meta` | `format` | u64 |
//! | `purlin.session.sessions` | session key | the bytes of a `Row` |
//! | `purlin.session.deadlines` | second, session key | nothing |
//! | `purlin.session.users` | user, session key | absolute deadline and number, as the session became the user's |
//!
//! Each row is in the index of deadlines once, under the second that the row names; and a live row that is somebody's is
//! in the index of users. Format 1 had no users, so its files need no more than that empty table.

use std::path::Path;

use purlin_session_store::{SessionKey, UserKey};
use redb::{Database, ReadTransaction, TableDefinition, TableError};

use crate::OpenError;

/// The format that this version writes, and the highest that it reads.
const FORMAT: u64 = 2;
const FORMAT_WITHOUT_USERS: u64 = 1;
const META_FORMAT: &str = "format";

pub(super) type KeyBytes = &'static [u8; SessionKey::LEN];

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("purlin.session.meta");
pub(super) const SESSIONS: TableDefinition<'_, KeyBytes, &[u8]> =
    TableDefinition::new("purlin.session.sessions");
pub(super) const DEADLINES: TableDefinition<'_, (u64, KeyBytes), ()> =
    TableDefinition::new("purlin.session.deadlines");

pub(super) type UserBytes = &'static [u8; UserKey::LEN];
/// Where a session stands among those of its user: its absolute deadline, and a number that tells the order of those that
/// have the same.
pub(super) type Place = (u64, u64);
pub(super) const USERS: TableDefinition<'_, (UserBytes, KeyBytes), Place> =
    TableDefinition::new("purlin.session.users");

/// Writes the tables of an empty store.
pub(super) fn make(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
        transaction.open_table(SESSIONS)?;
        transaction.open_table(DEADLINES)?;
        transaction.open_table(USERS)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Brings a file of an older format to this one.
pub(super) fn upgrade(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
        transaction.open_table(USERS)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Makes sure that the file is one of sessions, in a format known here. Whether it is an older one.
pub(super) fn check(path: &Path, read: &ReadTransaction) -> Result<bool, OpenError> {
    let path = || path.to_owned();
    let unreadable = |error: redb::Error| match error {
        redb::Error::Io(source) => OpenError::Io {
            path: path(),
            source,
        },
        other => OpenError::Damaged {
            path: path(),
            source: other.into(),
        },
    };
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            return Err(OpenError::NotSessions { path: path() });
        }
        Err(error) => return Err(unreadable(error.into())),
    };
    let found = meta
        .get(META_FORMAT)
        .map_err(|error| unreadable(error.into()))?
        .map(|found| found.value());
    match found {
        Some(FORMAT) => Ok(false),
        Some(FORMAT_WITHOUT_USERS) => Ok(true),
        Some(found) if found > FORMAT => Err(OpenError::Newer {
            path: path(),
            found,
            known: FORMAT,
        }),
        Some(_) | None => Err(OpenError::Damaged {
            path: path(),
            source: "the number of the format is missing".into(),
        }),
    }
}

/// Turns an empty store into one of format 1, with a session that never ends.
#[cfg(test)]
pub(super) fn make_older(
    database: &Database,
    key: &SessionKey,
    payload: &'static [u8],
) -> Result<(), redb::Error> {
    let mut row = vec![1];
    for number in [1, u64::MAX, u64::MAX, u64::MAX] {
        row.extend(u64::to_le_bytes(number));
    }
    row.extend(payload);
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT_WITHOUT_USERS)?;
        transaction
            .open_table(SESSIONS)?
            .insert(key.as_bytes(), &row[..])?;
        transaction
            .open_table(DEADLINES)?
            .insert((u64::MAX, key.as_bytes()), ())?;
    }
    transaction.delete_table(USERS)?;
    transaction.commit()?;
    Ok(())
}
