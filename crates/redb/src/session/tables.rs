//! The tables of a file of sessions, and what each call does to them.
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

use bytes::Bytes;
use purlin_core::Tick;
use purlin_session_store::{
    Cap, CommitOutcome, CreateOutcome, Entry, Lifetime, Owner, Record, RotateOutcome, SessionKey,
    Slide, Swept, UserKey, Version, WhenFull,
};
use redb::{
    Database, ReadTransaction, ReadableTable, ReadableTableMetadata, StorageError, Table,
    TableDefinition, TableError, WriteTransaction,
};

use super::row::{Row, State, second_of};
use super::{Limits, MAX_HOPS};
use crate::OpenError;

/// The format that this version writes, and the highest that it reads.
const FORMAT: u64 = 2;
const FORMAT_WITHOUT_USERS: u64 = 1;
const META_FORMAT: &str = "format";

type KeyBytes = &'static [u8; SessionKey::LEN];

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("purlin.session.meta");
const SESSIONS: TableDefinition<'_, KeyBytes, &[u8]> =
    TableDefinition::new("purlin.session.sessions");
const DEADLINES: TableDefinition<'_, (u64, KeyBytes), ()> =
    TableDefinition::new("purlin.session.deadlines");

type UserBytes = &'static [u8; UserKey::LEN];
/// The second half of the value tells the order of sessions that have the same deadline.
const USERS: TableDefinition<'_, (UserBytes, KeyBytes), (u64, u64)> =
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

/// Why a call was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The engine failed, and with it the whole transaction.
    Engine(StorageError),
    /// What stands under the key is no row. Nothing was written.
    Corrupt,
    /// There are as many rows as there may be. Nothing was written.
    Full,
}

/// A user has as many sessions as they may.
struct AtCap;

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Fault::Engine(error)
    }
}

/// What a look without writing can tell.
pub(super) enum Look<T> {
    /// This is the answer.
    Answer(T),
    /// The answer changes something: a deadline is to be moved, or an end to be made final.
    NeedsWrite,
}

/// [`Tables::load`], as far as that goes without writing.
pub(super) fn look(
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

/// [`Tables::by_user`], as far as that goes without writing. A session that has ended and is still there is to be removed
/// first: who is told of a list without it is told that it has ended.
pub(super) fn look_at_list(
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

/// The oldest first.
fn in_order(mut live: Vec<(Place, SessionKey)>) -> Vec<SessionKey> {
    live.sort_unstable();
    live.into_iter().map(|(_, key)| key).collect()
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

/// The tables in a transaction.
pub(super) struct Tables<'txn> {
    sessions: Table<'txn, KeyBytes, &'static [u8]>,
    deadlines: Table<'txn, (u64, KeyBytes), ()>,
    users: Table<'txn, (UserBytes, KeyBytes), (u64, u64)>,
    limits: Limits,
    /// Whether anything was written.
    pub(super) changed: bool,
    /// How many rows were written, other than by a sweep.
    pub(super) put: usize,
    /// The bytes of a row, kept for the next one.
    buffer: Vec<u8>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(
        transaction: &'txn WriteTransaction,
        limits: Limits,
    ) -> Result<Self, TableError> {
        Ok(Tables {
            sessions: transaction.open_table(SESSIONS)?,
            deadlines: transaction.open_table(DEADLINES)?,
            users: transaction.open_table(USERS)?,
            limits,
            changed: false,
            put: 0,
            buffer: Vec::new(),
        })
    }

    pub(super) fn create(
        &mut self,
        now: Tick,
        key: &SessionKey,
        record: &Record,
    ) -> Result<CreateOutcome, Fault> {
        if self.find(now, key)?.is_some() {
            return Ok(CreateOutcome::Collision);
        }
        self.make_room(now)?;
        if let Err(AtCap) = self.make_way(now, record.owner, None)? {
            return Ok(CreateOutcome::AtCap);
        }
        let absolute = now.after(record.lifetime.absolute);
        let owner = record.owner.after(None);
        let row = live(Version::FIRST, record, owner, now, absolute);
        self.put(key, None, row)?;
        if let Some(user) = owner {
            self.list(&user, key, absolute)?;
        }
        Ok(CreateOutcome::Created(Version::FIRST))
    }

    pub(super) fn load(
        &mut self,
        now: Tick,
        key: &SessionKey,
        slide: Slide,
    ) -> Result<Option<Entry>, Fault> {
        let Some(mut row) = get(&self.sessions, key)? else {
            return Ok(None);
        };
        if now >= row.until {
            // Whoever asks is told that the session has ended. That becomes final before they are: a wall clock that is
            // set back over a restart must not bring it back.
            self.remove(key, &row)?;
            return Ok(None);
        }
        if let Some(until) = row.slid(now, slide) {
            row.until = until;
            self.put(key, Some(row.filed), row.clone())?;
        } else if is_to_be_ended(&row, now) {
            self.end_grace(key, &mut row)?;
        }
        seen(&self.sessions, now, &row)
    }

    pub(super) fn commit(
        &mut self,
        now: Tick,
        key: &SessionKey,
        expected: Version,
        record: &Record,
    ) -> Result<CommitOutcome, Fault> {
        let Some(row) = self.find(now, key)? else {
            return Ok(CommitOutcome::Gone);
        };
        let absolute = match row.state {
            State::Live { absolute } if row.version == expected => absolute,
            State::Live { .. } => {
                let present = row.live_entry(now);
                return Ok(present.map_or(CommitOutcome::Gone, CommitOutcome::Conflict));
            }
            State::Rotated { by, .. } => {
                let live = follow(&self.sessions, now, by)?;
                return Ok(live.map_or(CommitOutcome::Gone, CommitOutcome::Superseded));
            }
            State::Deleted => return Ok(CommitOutcome::Gone),
        };
        let absolute = now.after(record.lifetime.absolute).min(absolute);
        let mut written = live(row.version.next(), record, row.owner, now, absolute);
        written.until = written.until.max(row.until).min(absolute);
        let version = written.version;
        self.put(key, Some(row.filed), written)?;
        Ok(CommitOutcome::Committed(version))
    }

    pub(super) fn rotate(
        &mut self,
        now: Tick,
        keys: (&SessionKey, &SessionKey),
        expected: Version,
        record: &Record,
        grace: std::time::Duration,
    ) -> Result<RotateOutcome, Fault> {
        let (old, new) = keys;
        let Some(row) = self.find(now, old)? else {
            return Ok(RotateOutcome::Gone);
        };
        let absolute = match row.state {
            State::Live { absolute } if row.version == expected => absolute,
            State::Live { .. } => {
                let present = row.live_entry(now);
                return Ok(present.map_or(RotateOutcome::Gone, RotateOutcome::Conflict));
            }
            State::Rotated { by, .. } => {
                let live = follow(&self.sessions, now, by)?;
                return Ok(live.map_or(RotateOutcome::Gone, RotateOutcome::Superseded));
            }
            State::Deleted => return Ok(RotateOutcome::Gone),
        };
        if self.find(now, new)?.is_some() {
            return Ok(RotateOutcome::Collision);
        }
        self.make_room(now)?;
        if let Err(AtCap) = self.make_way(now, record.owner, row.owner)? {
            return Ok(RotateOutcome::AtCap);
        }
        let absolute = now.after(record.lifetime.absolute).min(absolute);
        let version = row.version.next();
        let owner = record.owner.after(row.owner);
        let moved = live(version, record, owner, now, absolute);
        self.put(new, None, moved)?;
        let place = match &row.owner {
            Some(user) => self.unlist(user, old)?,
            None => None,
        };
        match (&owner, place) {
            (Some(user), Some(place)) if row.owner == owner => {
                self.users
                    .insert((user.as_bytes(), new.as_bytes()), place)?;
            }
            (Some(user), _) => self.list(user, new, absolute)?,
            (None, _) => {}
        }

        // As a key is remembered for the same time after each rotation, the rows between this one and the session's
        // present one outlast it.
        let retention = self.limits.retention;
        let grace_until = now.after(grace.min(retention)).min(row.until);
        let left = Row {
            state: State::Rotated {
                grace_until,
                by: *new,
            },
            until: now.after(retention),
            ..row
        };
        self.put(old, Some(left.filed), left)?;
        Ok(RotateOutcome::Rotated(version))
    }

    pub(super) fn delete(&mut self, now: Tick, key: &SessionKey) -> Result<bool, Fault> {
        let mut key = *key;
        for hop in 0..=MAX_HOPS {
            let Some(mut row) = self.find(now, &key)? else {
                return Ok(false);
            };
            match row.state {
                State::Live { .. } => {
                    if let Some(user) = row.owner.take() {
                        self.unlist(&user, &key)?;
                    }
                    row.state = State::Deleted;
                    row.until = now.after(self.limits.retention);
                    row.payload = Bytes::new();
                    self.put(&key, Some(row.filed), row)?;
                    return Ok(true);
                }
                State::Rotated { by, grace_until } if hop > 0 || now < grace_until => key = by,
                State::Rotated { .. } => {
                    if is_to_be_ended(&row, now) {
                        self.end_grace(&key, &mut row)?;
                    }
                    return Ok(false);
                }
                State::Deleted => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Frees what has expired, looking at no more than `budget` rows.
    pub(super) fn sweep(&mut self, now: Tick, budget: usize) -> Result<Swept, Fault> {
        // One more than the budget, to know whether there is more.
        let end = second_of(now).saturating_add(1);
        let mut due = Vec::new();
        for entry in self
            .deadlines
            .range((0, &[0; SessionKey::LEN])..(end, &[0; SessionKey::LEN]))?
            .take(budget.saturating_add(1))
        {
            let (entry, ()) = entry.map(|(entry, value)| (entry, value.value()))?;
            let (second, key) = entry.value();
            due.push((second, *key));
        }
        let caught_up = due.len() <= budget;
        due.truncate(budget);
        let mut removed = 0;
        for (second, bytes) in due {
            let found = match SessionKey::from_bytes(&bytes) {
                Some(key) => get(&self.sessions, &key).map(|row| row.map(|row| (key, row))),
                None => Err(Fault::Corrupt),
            };
            match found {
                Ok(Some((key, row))) if now >= row.until => {
                    self.remove(&key, &row)?;
                    removed += 1;
                }
                Ok(Some((key, mut row))) => {
                    if is_to_be_ended(&row, now) {
                        row.payload = Bytes::new();
                    }
                    self.refile(&key, row)?;
                }
                // What is no row stays for whoever asks for it, and is not looked at again.
                Ok(None) | Err(Fault::Corrupt | Fault::Full) => {
                    self.deadlines.remove((second, &bytes))?;
                    self.changed = true;
                }
                Err(Fault::Engine(error)) => return Err(error.into()),
            }
        }
        Ok(Swept { removed, caught_up })
    }

    /// The row of a key, unless it is as good as absent; in which case it is removed, so that what the caller is told
    /// of it stays true.
    fn find(&mut self, now: Tick, key: &SessionKey) -> Result<Option<Row>, Fault> {
        match get(&self.sessions, key)? {
            Some(row) if now >= row.until => {
                self.remove(key, &row)?;
                Ok(None)
            }
            found => Ok(found),
        }
    }

    /// A user's sessions that live, the oldest first. Those that have ended are removed.
    pub(super) fn by_user(&mut self, now: Tick, user: &UserKey) -> Result<Vec<SessionKey>, Fault> {
        let mut live = Vec::new();
        for (place, bytes) in listed(&self.users, user)? {
            let Some(key) = SessionKey::from_bytes(&bytes) else {
                return Err(Fault::Corrupt);
            };
            match self.find(now, &key)? {
                Some(row) if row.listed_for() == Some(*user) => live.push((place, key)),
                Some(_) | None => {
                    self.unlist(user, &key)?;
                }
            }
        }
        Ok(in_order(live))
    }

    /// Ends all sessions of a user but one.
    pub(super) fn revoke_user(
        &mut self,
        now: Tick,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, Fault> {
        let spared = match except {
            Some(key) => self
                .load(now, key, Slide::No)?
                .map(|entry| entry.superseded_by.unwrap_or(*key)),
            None => None,
        };
        let mut ended = 0;
        for key in self.by_user(now, user)? {
            if Some(key) != spared {
                ended += usize::from(self.delete(now, &key)?);
            }
        }
        Ok(ended)
    }

    /// Makes sure that an owner may have one more session, which was this user's before.
    fn make_way(
        &mut self,
        now: Tick,
        owner: Owner,
        was: Option<UserKey>,
    ) -> Result<Result<(), AtCap>, Fault> {
        let (Owner::User { user, .. }, Some(cap)) = (owner, owner.cap_for(was)) else {
            return Ok(Ok(()));
        };
        let Cap { when_full, .. } = cap;
        let live = self.by_user(now, &user)?;
        let over = (live.len() + 1).saturating_sub(cap.limit());
        if over > 0 && when_full == WhenFull::Reject {
            return Ok(Err(AtCap));
        }
        for key in &live[..over] {
            self.delete(now, key)?;
        }
        Ok(Ok(()))
    }

    fn list(&mut self, user: &UserKey, key: &SessionKey, absolute: Tick) -> Result<(), Fault> {
        self.changed = true;
        // One more than the highest of the user's, so that sessions with the same deadline keep their order.
        let places = listed(&self.users, user)?;
        let number = places.iter().map(|((_, number), _)| *number).max();
        let place = (absolute.as_nanos(), number.map_or(0, |number| number + 1));
        self.users
            .insert((user.as_bytes(), key.as_bytes()), place)?;
        Ok(())
    }

    fn unlist(&mut self, user: &UserKey, key: &SessionKey) -> Result<Option<Place>, Fault> {
        self.changed = true;
        let place = self.users.remove((user.as_bytes(), key.as_bytes()))?;
        Ok(place.map(|place| place.value()))
    }

    /// Makes sure of room for one more row.
    fn make_room(&mut self, now: Tick) -> Result<(), Fault> {
        if self.sessions.len()? >= self.limits.max_entries {
            self.sweep(now, SWEPT_WHEN_FULL)?;
            if self.sessions.len()? >= self.limits.max_entries {
                return Err(Fault::Full);
            }
        }
        Ok(())
    }

    fn end_grace(&mut self, key: &SessionKey, row: &mut Row) -> Result<(), Fault> {
        if let State::Rotated { grace_until, .. } = &mut row.state {
            *grace_until = Tick::ZERO;
        }
        row.payload = Bytes::new();
        self.refile(key, row.clone())
    }

    /// Writes a row, and moves it in the index if it must be looked at earlier than it would be.
    fn put(&mut self, key: &SessionKey, filed: Option<u64>, mut row: Row) -> Result<(), Fault> {
        let next = row.next_change();
        row.filed = filed.map_or(next, |filed| filed.min(next));
        self.put += 1;
        self.write(key, filed, &row)
    }

    /// Writes a row, and files it under its next change.
    fn refile(&mut self, key: &SessionKey, mut row: Row) -> Result<(), Fault> {
        let filed = Some(row.filed);
        row.filed = row.next_change();
        self.write(key, filed, &row)
    }

    fn write(&mut self, key: &SessionKey, filed: Option<u64>, row: &Row) -> Result<(), Fault> {
        self.changed = true;
        if filed != Some(row.filed) {
            if let Some(filed) = filed {
                self.deadlines.remove((filed, key.as_bytes()))?;
            }
            self.deadlines.insert((row.filed, key.as_bytes()), ())?;
        }
        self.buffer.clear();
        row.encode(&mut self.buffer);
        self.sessions.insert(key.as_bytes(), &self.buffer[..])?;
        Ok(())
    }

    fn remove(&mut self, key: &SessionKey, row: &Row) -> Result<(), Fault> {
        self.changed = true;
        if let Some(user) = row.listed_for() {
            self.unlist(&user, key)?;
        }
        self.deadlines.remove((row.filed, key.as_bytes()))?;
        self.sessions.remove(key.as_bytes())?;
        Ok(())
    }
}

/// How many rows are freed before a call is refused for want of room.
const SWEPT_WHEN_FULL: usize = 256;

/// Where a session stands among those of its user.
type Place = (u64, u64);

/// What is listed for a user, ended or not.
fn listed(
    users: &impl ReadableTable<(UserBytes, KeyBytes), (u64, u64)>,
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

fn live(
    version: Version,
    record: &Record,
    owner: Option<UserKey>,
    now: Tick,
    absolute: Tick,
) -> Row {
    let Lifetime { idle, .. } = record.lifetime;
    Row {
        state: State::Live { absolute },
        version,
        until: now.after(idle).min(absolute),
        filed: 0, // Set where the row is written.
        owner,
        payload: record.payload.clone(),
    }
}

/// Whether telling somebody of the row's state must be written first: that it is as good as absent, or that its grace
/// is over.
fn is_to_be_ended(row: &Row, now: Tick) -> bool {
    let grace_is_over = match row.state {
        State::Rotated { grace_until, .. } => grace_until <= now && grace_until > Tick::ZERO,
        State::Live { .. } | State::Deleted => false,
    };
    now >= row.until || grace_is_over
}

type Readable<'a> = &'a dyn SessionRows;

/// What the table is to a reader, in a transaction that writes and in one that does not.
trait SessionRows {
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

fn get(sessions: Readable<'_>, key: &SessionKey) -> Result<Option<Row>, Fault> {
    sessions.row(key)
}

/// What the bearer of a row's key sees.
fn seen(sessions: Readable<'_>, now: Tick, row: &Row) -> Result<Option<Entry>, Fault> {
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
fn follow(
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
