//! One copy of one shard: a redb file with rows, a ledger and the position in the log.

use std::path::Path;

use redb::{Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::row::{Change, Key, Outcome, Record, Row};

/// Key to (value, version).
const ROWS: TableDefinition<&[u8; Key::LEN], (u64, u64)> = TableDefinition::new("rows");
/// (Cause, key) to the (value, version) that the change made.
const LEDGER: TableDefinition<(u64, &[u8; Key::LEN]), (u64, u64)> = TableDefinition::new("ledger");
/// The position of the last change, under the unit key.
const POSITION: TableDefinition<(), u64> = TableDefinition::new("position");

/// A copy's file.
#[derive(Debug)]
pub struct Database {
    file: redb::Database,
}

/// When the disk must have a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete: now, or not yet")]
pub enum Sync {
    /// Before the call returns.
    Now,
    /// With the next commit that says `Now`. For replicas: what one loses in a crash, it asks for again.
    Later,
}

impl Database {
    /// Creates the file, or opens the one that is there.
    ///
    /// # Errors
    ///
    /// If redb cannot.
    pub fn open(path: &Path) -> Result<Self, redb::Error> {
        let file = redb::Database::create(path)?;
        let write = file.begin_write()?;
        write.open_table(ROWS)?;
        write.open_table(LEDGER)?;
        write.open_table(POSITION)?;
        write.commit()?;
        Ok(Database { file })
    }

    /// The row of a key. Costs a walk down a B-tree: microseconds.
    ///
    /// # Errors
    ///
    /// If redb cannot read.
    pub fn read(&self, key: Key) -> Result<Row, redb::Error> {
        let rows = self.file.begin_read()?.open_table(ROWS)?;
        Ok(row(rows.get(key.as_bytes())?.map(|found| found.value())))
    }

    /// The position of the last change.
    ///
    /// # Errors
    ///
    /// If redb cannot read.
    pub fn position(&self) -> Result<u64, redb::Error> {
        let position = self.file.begin_read()?.open_table(POSITION)?;
        Ok(position.get(())?.map_or(0, |found| found.value()))
    }

    /// Makes changes in one transaction, on disk when this returns: all of them or, with an error, none.
    /// The group commit of a primary.
    ///
    /// # Errors
    ///
    /// If redb cannot write.
    pub fn change(&self, changes: &[Change]) -> Result<Vec<Outcome>, redb::Error> {
        let write = self.file.begin_write()?;
        let mut outcomes = Vec::with_capacity(changes.len());
        {
            let mut rows = write.open_table(ROWS)?;
            let mut ledger = write.open_table(LEDGER)?;
            let mut positions = write.open_table(POSITION)?;
            let mut position = positions.get(())?.map_or(0, |found| found.value());
            for change in changes {
                let entry = (change.cause, change.key.as_bytes());
                let known = ledger.get(entry)?.map(|found| found.value());
                if change.once && known.is_some() {
                    outcomes.push(Outcome {
                        row: row(known),
                        repeated: true,
                    });
                    continue;
                }
                let before = row(rows.get(change.key.as_bytes())?.map(|found| found.value()));
                position += 1;
                let after = (before.value + 1, position);
                rows.insert(change.key.as_bytes(), after)?;
                ledger.insert(entry, after)?;
                outcomes.push(Outcome {
                    row: row(Some(after)),
                    repeated: false,
                });
            }
            positions.insert((), position)?;
        }
        write.commit()?;
        Ok(outcomes)
    }

    /// Follows a primary: writes its records, in its order, in one transaction.
    ///
    /// # Errors
    ///
    /// If redb cannot write.
    pub fn follow(&self, records: &[Record], sync: Sync) -> Result<(), redb::Error> {
        let mut write = self.file.begin_write()?;
        write
            .set_durability(match sync {
                Sync::Now => Durability::Immediate,
                Sync::Later => Durability::None,
            })
            .expect("no savepoint is made in this transaction, which is all that could object");
        {
            let mut rows = write.open_table(ROWS)?;
            let mut ledger = write.open_table(LEDGER)?;
            for record in records {
                let after = (record.row.value, record.row.version);
                rows.insert(record.change.key.as_bytes(), after)?;
                ledger.insert((record.change.cause, record.change.key.as_bytes()), after)?;
            }
            if let Some(last) = records.last() {
                write.open_table(POSITION)?.insert((), last.row.version)?;
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Every row, for an audit.
    ///
    /// # Errors
    ///
    /// If redb cannot read.
    pub fn rows(&self) -> Result<Vec<(Key, Row)>, redb::Error> {
        let rows = self.file.begin_read()?.open_table(ROWS)?;
        let mut all = Vec::new();
        for entry in rows.iter()? {
            let (key, content) = entry?;
            all.push((Key::from_bytes(*key.value()), row(Some(content.value()))));
        }
        Ok(all)
    }

    /// Every `(cause, key)` of the ledger, for an audit.
    ///
    /// # Errors
    ///
    /// If redb cannot read.
    pub fn ledger(&self) -> Result<Vec<(u64, Key)>, redb::Error> {
        let ledger = self.file.begin_read()?.open_table(LEDGER)?;
        let mut all = Vec::new();
        for entry in ledger.iter()? {
            let (key, _) = entry?;
            let (cause, key) = key.value();
            all.push((cause, Key::from_bytes(*key)));
        }
        Ok(all)
    }
}

fn row(stored: Option<(u64, u64)>) -> Row {
    stored.map_or(Row::default(), |(value, version)| Row { value, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: u32, cause: u64) -> Change {
        Change {
            key: Key::user(number),
            cause,
            once: true,
        }
    }

    fn open(folder: &tempfile::TempDir, name: &str) -> Database {
        Database::open(&folder.path().join(name)).unwrap()
    }

    #[test]
    fn the_same_change_counts_once_within_a_batch_and_across_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder, "a.redb");
        let outcomes = database
            .change(&[change(1, 7), change(1, 7), change(1, 8)])
            .unwrap();
        let seen: Vec<_> = outcomes.iter().map(|o| (o.row.value, o.repeated)).collect();
        assert_eq!(seen, [(1, false), (1, true), (2, false)]);
        drop(database);
        let database = open(&folder, "a.redb");
        assert!(database.change(&[change(1, 8)]).unwrap()[0].repeated);
        assert_eq!(database.read(Key::user(1)).unwrap().value, 2);
        assert_eq!(database.position().unwrap(), 2);
    }

    #[test]
    fn a_follower_ends_with_the_primarys_rows_and_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let (primary, replica) = (open(&folder, "p.redb"), open(&folder, "r.redb"));
        let changes: Vec<Change> = (0..50).map(|i| change(i % 7, i.into())).collect();
        let outcomes = primary.change(&changes).unwrap();
        let records: Vec<Record> = std::iter::zip(changes, outcomes)
            .map(|(change, outcome)| Record {
                tick: 0,
                change,
                row: outcome.row,
            })
            .collect();
        for part in records.chunks(20) {
            replica.follow(part, Sync::Later).unwrap();
        }
        replica.follow(&[], Sync::Now).unwrap();
        assert_eq!(replica.rows().unwrap(), primary.rows().unwrap());
        assert_eq!(replica.ledger().unwrap(), primary.ledger().unwrap());
        assert_eq!(replica.position().unwrap(), 50);
    }
}
