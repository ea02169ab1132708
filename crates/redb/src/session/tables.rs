//! What each call does to the tables.

mod users;

use bytes::Bytes;
use purlin_core::Tick;
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, Lifetime, Record, RotateOutcome, SessionKey, Slide, Swept,
    UserKey, Version,
};
use redb::{
    ReadableTable, ReadableTableMetadata, StorageError, Table, TableError, WriteTransaction,
};

use self::users::AtCap;
use super::layout::{DEADLINES, KeyBytes, Place, SESSIONS, USERS, UserBytes};
use super::look::{follow, get, is_to_be_ended, seen};
use super::row::{Row, State, second_of};
use super::{Limits, MAX_HOPS};

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

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Fault::Engine(error)
    }
}

/// The tables in a transaction.
pub(super) struct Tables<'txn> {
    sessions: Table<'txn, KeyBytes, &'static [u8]>,
    deadlines: Table<'txn, (u64, KeyBytes), ()>,
    users: Table<'txn, (UserBytes, KeyBytes), Place>,
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
