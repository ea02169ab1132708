//! The tables of a queue's file, and the ledger's changes written to them.
//!
//! Format 1:
//!
//! | table | key | value |
//! |---|---|---|
//! | `purlin.queue.meta` | `format`, `next_job`, `next_fence` | u64 |
//! | `purlin.queue.jobs` | job id | the bytes of a `JobRecord` |
//! | `purlin.queue.payloads` | job id | the payload |
//! | `purlin.queue.keys` | the key of a job that has left | job id, date in Unix milliseconds, nanoseconds left |
//!
//! A job's record and payload stand apart, so that a lease rewrites some dozens of bytes and not a megabyte.

use std::error::Error as StdError;
use std::path::Path;

use purlin_work_queue::embedded::{Counters, JobRecord, Ledger, Medium, Moment, Restore, Until};
use purlin_work_queue::{Bytes, Job, JobId, Limits, WallTime};
use redb::{
    Database, ReadTransaction, ReadableTable, ReadableTableMetadata, StorageError, Table,
    TableDefinition, TableError, WriteTransaction,
};

use super::engine::Failure;
use crate::OpenError;

/// The format that this version writes, and the highest that it reads.
const FORMAT: u64 = 1;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("purlin.queue.meta");
const JOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("purlin.queue.jobs");
const PAYLOADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("purlin.queue.payloads");
const KEYS: TableDefinition<'_, &[u8], (u64, u64, u64)> = TableDefinition::new("purlin.queue.keys");

const META_FORMAT: &str = "format";
const META_NEXT_JOB: &str = "next_job";
const META_NEXT_FENCE: &str = "next_fence";

/// Writes the tables of an empty queue.
pub(super) fn make(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let counters = Counters::default();
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        meta.insert(META_NEXT_JOB, counters.next_job)?;
        meta.insert(META_NEXT_FENCE, counters.next_fence)?;
        transaction.open_table(JOBS)?;
        transaction.open_table(PAYLOADS)?;
        transaction.open_table(KEYS)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Reads the whole index.
pub(super) fn load(
    path: &Path,
    read: &ReadTransaction,
    limits: Limits,
    now: Moment,
) -> Result<Ledger<()>, OpenError> {
    let unreadable = |error: redb::Error| unreadable(path, error);
    let damaged = |source: Box<dyn StdError + Send + Sync>| OpenError::Damaged {
        path: path.to_owned(),
        source,
    };
    let meta = match read.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            return Err(OpenError::NotAQueue {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(unreadable(error.into())),
    };
    let number = |name: &'static str| match meta.get(name) {
        Ok(Some(value)) => Ok(value.value()),
        Ok(None) => Err(damaged(format!("the number `{name}` is missing").into())),
        Err(error) => Err(unreadable(error.into())),
    };
    let found = number(META_FORMAT)?;
    if found > FORMAT {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        });
    }
    let counters = Counters {
        next_job: number(META_NEXT_JOB)?,
        next_fence: number(META_NEXT_FENCE)?,
    };
    let mut restore = Restore::new(limits, counters, now);
    let mut read_all = || -> Result<(), ReadError> {
        let jobs = read.open_table(JOBS)?;
        if jobs.len()? != read.open_table(PAYLOADS)?.len()? {
            return Err(ReadError::Damaged(
                "jobs and payloads are not equally many".into(),
            ));
        }
        for row in jobs.iter()? {
            let (id, record) = row?;
            let id = JobId::from_u64(id.value());
            restore.job(&JobRecord::decode(id, record.value())?, ())?;
        }
        for row in read.open_table(KEYS)?.iter()? {
            let (key, value) = row?;
            let (job, date, left) = value.value();
            let until = Until::from_parts(WallTime::from_unix_millis(date), left);
            let key = Bytes::copy_from_slice(key.value());
            restore.key(key, JobId::from_u64(job), until);
        }
        Ok(())
    };
    match read_all() {
        Ok(()) => restore.finish().map_err(|error| damaged(error.into())),
        Err(ReadError::Engine(error)) => Err(unreadable(error)),
        Err(ReadError::Damaged(source)) => Err(damaged(source)),
    }
}

/// Why the index could not be read.
enum ReadError {
    Engine(redb::Error),
    Damaged(Box<dyn StdError + Send + Sync>),
}

impl From<TableError> for ReadError {
    fn from(error: TableError) -> Self {
        ReadError::Engine(error.into())
    }
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        ReadError::Engine(error.into())
    }
}

impl From<purlin_work_queue::embedded::RecordError> for ReadError {
    fn from(error: purlin_work_queue::embedded::RecordError) -> Self {
        ReadError::Damaged(error.into())
    }
}

impl From<purlin_work_queue::embedded::RestoreError> for ReadError {
    fn from(error: purlin_work_queue::embedded::RestoreError) -> Self {
        ReadError::Damaged(error.into())
    }
}

/// The engine could not read the file it has just opened.
pub(super) fn unreadable(path: &Path, error: impl Into<redb::Error>) -> OpenError {
    match error.into() {
        redb::Error::Io(source) => OpenError::Io {
            path: path.to_owned(),
            source,
        },
        other => OpenError::Damaged {
            path: path.to_owned(),
            source: other.into(),
        },
    }
}

/// The tables in a transaction, as the ledger's medium.
pub(super) struct Tables<'txn> {
    meta: Table<'txn, &'static str, u64>,
    jobs: Table<'txn, u64, &'static [u8]>,
    payloads: Table<'txn, u64, &'static [u8]>,
    keys: Table<'txn, &'static [u8], (u64, u64, u64)>,
    /// Whether anything was written.
    changed: bool,
    /// The first failure. What is written after it does not matter, since the transaction goes.
    failure: Option<Failure>,
    /// The bytes of a record, kept for the next one.
    buffer: Vec<u8>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, TableError> {
        Ok(Tables {
            meta: transaction.open_table(META)?,
            jobs: transaction.open_table(JOBS)?,
            payloads: transaction.open_table(PAYLOADS)?,
            keys: transaction.open_table(KEYS)?,
            changed: false,
            failure: None,
            buffer: Vec::new(),
        })
    }

    /// Writes the counters if they have moved. Returns whether there is anything to commit.
    pub(super) fn finish(mut self, before: Counters, after: Counters) -> Result<bool, Failure> {
        if after.next_job != before.next_job {
            self.write(|tables| tables.meta.insert(META_NEXT_JOB, after.next_job).map(drop));
        }
        if after.next_fence != before.next_fence {
            self.write(|tables| {
                tables
                    .meta
                    .insert(META_NEXT_FENCE, after.next_fence)
                    .map(drop)
            });
        }
        match self.failure {
            None => Ok(self.changed),
            Some(failure) => Err(failure),
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut Self) -> Result<(), StorageError>) {
        if self.failure.is_some() {
            return;
        }
        self.changed = true;
        if let Err(error) = write(self) {
            self.failure = Some(error.into());
        }
    }
}

impl Medium for Tables<'_> {
    type Payload = ();

    fn keep(&mut self, id: JobId, job: &Job) {
        let payload = job.payload();
        self.write(|tables| tables.payloads.insert(id.as_u64(), &payload[..]).map(drop));
    }

    fn payload(&mut self, id: JobId, (): &()) -> Bytes {
        let failure = match self.payloads.get(id.as_u64()) {
            Ok(Some(payload)) => return Bytes::copy_from_slice(payload.value()),
            Ok(None) => Failure::corrupt(PayloadMissing(id)),
            Err(error) => error.into(),
        };
        self.failure.get_or_insert(failure);
        Bytes::new()
    }

    fn put(&mut self, record: &JobRecord<'_>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        record.encode(&mut buffer);
        self.write(|tables| {
            tables
                .jobs
                .insert(record.id.as_u64(), &buffer[..])
                .map(drop)
        });
        self.buffer = buffer;
    }

    fn forget(&mut self, id: JobId, (): ()) {
        self.write(|tables| tables.jobs.remove(id.as_u64()).map(drop));
        self.write(|tables| tables.payloads.remove(id.as_u64()).map(drop));
    }

    fn put_key(&mut self, key: &Bytes, job: JobId, until: Until) {
        let value = (
            job.as_u64(),
            until.date.as_unix_millis(),
            until.at_most_nanos(),
        );
        self.write(|tables| tables.keys.insert(&key[..], value).map(drop));
    }

    fn forget_key(&mut self, key: &Bytes) {
        self.write(|tables| tables.keys.remove(&key[..]).map(drop));
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the payload of {0} is missing")]
struct PayloadMissing(JobId);
