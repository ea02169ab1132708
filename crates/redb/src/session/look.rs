//! What can be told of the tables without writing to them.

use purlin_core::Tick;
use purlin_session_store::{Entry, SessionKey, Slide, UserKey};
use redb::{ReadTransaction, ReadableTable, TableError};

use super::MAX_HOPS;
use super::layout::{KeyBytes, Place, SESSIONS, USERS, UserBytes};
use super::row::{Row, State};
use super::tables::Fault;

/// What a look without writing can tell.
pub(super) enum Look<T> {
    /// This is the answer.
    Answer(T),
    /// The answer changes something: a deadline is to be moved, or an end to be made final.
    NeedsWrite,
}

/// [`Tables::load`](super::tables::Tables::load), as far as that goes without writing.
pub(super) fn load(
    read: &ReadTransaction,
    now: Tick,
    key: &SessionKey,
    slide: Slide,
) -> Result<Look<Option<Entry>>, LookError> {
    let sessions = read.open_table(SESSIONS)?;
    let Some(row) = get(&sessions, key)? else {
        return Ok(Look::Answer(None));
    };
    if row.slid(now, slide).is_some() || is_to_be_ended(&row, now) {
        return Ok(Look::NeedsWrite);
    }
    Ok(Look::Answer(seen(&sessions, now, &row)?))
}

/// [`Tables::by_user`](super::tables::Tables::by_user), as far as that goes without writing. A session that has ended and is
/// still there is to be removed first: who is told of a list without it is told that it has ended.
pub(super) fn by_user(
    read: &ReadTransaction,
    now: Tick,
    user: &UserKey,
) -> Result<Look<Vec<SessionKey>>, LookError> {
    let (sessions, users) = (read.open_table(SESSIONS)?, read.open_table(USERS)?);
    let mut live = Vec::new();
    for (place, bytes) in listed(&users, user)? {
        let key = SessionKey::from_bytes(&bytes).ok_or(Fault::Corrupt)?;
        match get(&sessions, &key)? {
            Some(row) if now < row.until && row.listed_for() == Some(*user) => {
                live.push((place, key));
            }
            Some(_) | None => return Ok(Look::NeedsWrite),
        }
    }
    Ok(Look::Answer(in_order(live)))
}

/// Why a look failed.
pub(super) enum LookError {
    Table(TableError),
    Fault(Fault),
}

impl From<TableError> for LookError {
    fn from(error: TableError) -> Self {
        LookError::Table(error)
    }
}

impl From<Fault> for LookError {
    fn from(fault: Fault) -> Self {
        LookError::Fault(fault)
    }
}

/// What is listed for a user, ended or not.
pub(super) fn listed(
    users: &impl ReadableTable<(UserBytes, KeyBytes), Place>,
    user: &UserKey,
) -> Result<Vec<(Place, [u8; SessionKey::LEN])>, Fault> {
    let (first, last) = ([0; SessionKey::LEN], [u8::MAX; SessionKey::LEN]);
    let mut found = Vec::new();
    for entry in users.range((user.as_bytes(), &first)..=(user.as_bytes(), &last))? {
        let (key, place) = entry?;
        found.push((place.value(), *key.value().1));
    }
    Ok(found)
}

/// The oldest first.
pub(super) fn in_order(mut live: Vec<(Place, SessionKey)>) -> Vec<SessionKey> {
    live.sort_unstable();
    live.into_iter().map(|(_, key)| key).collect()
}

/// Whether telling somebody of the row's state must be written first: that it is as good as absent, or that its grace
/// is over.
pub(super) fn is_to_be_ended(row: &Row, now: Tick) -> bool {
    let grace_is_over = match row.state {
        State::Rotated { grace_until, .. } => grace_until <= now && grace_until > Tick::ZERO,
        State::Live { .. } | State::Deleted => false,
    };
    now >= row.until || grace_is_over
}

pub(super) type Readable<'a> = &'a dyn SessionRows;

/// What the table is to a reader, in a transaction that writes and in one that does not.
pub(super) trait SessionRows {
    fn row(&self, key: &SessionKey) -> Result<Option<Row>, Fault>;
}

impl<T: ReadableTable<KeyBytes, &'static [u8]>> SessionRows for T {
    fn row(&self, key: &SessionKey) -> Result<Option<Row>, Fault> {
        match self.get(key.as_bytes())? {
            Some(bytes) => Row::decode(bytes.value()).map(Some).ok_or(Fault::Corrupt),
            None => Ok(None),
        }
    }
}

pub(super) fn get(sessions: Readable<'_>, key: &SessionKey) -> Result<Option<Row>, Fault> {
    sessions.row(key)
}

/// What the bearer of a row's key sees.
pub(super) fn seen(sessions: Readable<'_>, now: Tick, row: &Row) -> Result<Option<Entry>, Fault> {
    match row.state {
        State::Live { .. } => Ok(row.live_entry(now)),
        State::Rotated { by, .. } => {
            let Some(entry) = row.past_entry(now) else {
                return Ok(None);
            };
            let live = follow(sessions, now, by)?;
            Ok(live.map(|live| entry.with_successor(live)))
        }
        State::Deleted => Ok(None),
    }
}

/// The key under which a session lives that was last known to have moved to `key`, if it still lives.
pub(super) fn follow(
    sessions: Readable<'_>,
    now: Tick,
    mut key: SessionKey,
) -> Result<Option<SessionKey>, Fault> {
    for _ in 0..MAX_HOPS {
        match get(sessions, &key)?.filter(|row| now < row.until) {
            Some(row) => match row.state {
                State::Live { .. } => return Ok(Some(key)),
                State::Rotated { by, .. } => key = by,
                State::Deleted => return Ok(None),
            },
            None => return Ok(None),
        }
    }
    Ok(None)
}
