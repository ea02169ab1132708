//! A shard's primary: it orders the changes, commits them in groups, and keeps the log its replicas follow.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use purlin_core::{Clock, SystemClock};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::database::Database;
use crate::oracle::Oracle;
use crate::row::{Change, Outcome, Record};
use crate::wire::{MAX_RECORDS, Progress};

/// Changes that wait for the next commit at most; further ones wait at the door.
const QUEUE: usize = 1024;

/// Changes in one commit at most. One commit costs two writes that reach the disk, whatever is in it.
const GROUP: usize = 256;

/// Records the log holds, the oldest going first. A replica may fall as far behind as this; at five thousand
/// changes a second that is more than three minutes, and the longest lag one can set is one.
const LOG: usize = 1 << 20;

/// A primary at work. Dropping it stops it.
pub struct Primary {
    database: Arc<Database>,
    clock: SystemClock,
    log: Arc<Mutex<Log>>,
    changes: mpsc::Sender<Waiting>,
    committing: JoinHandle<()>,
}

/// A change on its way, and who waits for it.
type Waiting = (Change, oneshot::Sender<Outcome>);

#[derive(Debug)]
struct Log {
    records: VecDeque<Record>,
    /// The position before the first record.
    start: u64,
}

impl Primary {
    /// A primary over a database that nothing else writes to, telling the oracle what it commits.
    pub fn start(
        database: Arc<Database>,
        shard: u32,
        clock: SystemClock,
        oracle: Arc<Oracle>,
    ) -> Result<Self, redb::Error> {
        let (changes, waiting) = mpsc::channel(QUEUE);
        let log = Arc::new(Mutex::new(Log {
            records: VecDeque::new(),
            start: database.position()?,
        }));
        let commits = Commits {
            database: Arc::clone(&database),
            shard,
            clock,
            log: Arc::clone(&log),
            oracle,
        };
        Ok(Primary {
            database,
            clock,
            log,
            changes,
            committing: tokio::spawn(commits.run(waiting)),
        })
    }

    /// The database, for reading.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// How far along it is, which is always: all that was committed so far is in it.
    pub fn progress(&self) -> Progress {
        let log = lock(&self.log);
        Progress {
            position: log.end(),
            fresh_at: self.clock.now().as_nanos(),
        }
    }

    /// Makes a change. `None` if it could not be made, or nobody knows.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the change may or may not be made. Making it again is
    /// harmless: the ledger knows it.
    pub async fn change(&self, change: Change) -> Option<Outcome> {
        let (done, outcome) = oneshot::channel();
        self.changes.send((change, done)).await.ok()?;
        outcome.await.ok()
    }

    /// The records after a position, and how far along a replica is that has them all. `None` for a replica that
    /// has fallen off the log, or has come out of nowhere.
    pub fn records_after(&self, after: u64) -> Option<(Vec<Record>, Progress)> {
        let log = lock(&self.log);
        // Read under the lock under which commits are stamped: every commit of this tick or before is in the log.
        let now = self.clock.now().as_nanos();
        let skip = usize::try_from(after.checked_sub(log.start)?).ok()?;
        let available = log.records.len().checked_sub(skip)?;
        let records: Vec<Record> = log
            .records
            .iter()
            .skip(skip)
            .take(MAX_RECORDS)
            .copied()
            .collect();
        let progress = match records.last() {
            // Others of the last record's tick may follow it.
            Some(last) if records.len() < available => Progress {
                position: last.row.version,
                fresh_at: last.tick.saturating_sub(1),
            },
            Some(_) | None => Progress {
                position: log.end(),
                fresh_at: now,
            },
        };
        Some((records, progress))
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        self.committing.abort();
    }
}

impl fmt::Debug for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primary").finish_non_exhaustive()
    }
}

/// The committing half.
struct Commits {
    database: Arc<Database>,
    shard: u32,
    clock: SystemClock,
    log: Arc<Mutex<Log>>,
    oracle: Arc<Oracle>,
}

impl Commits {
    /// Commits whatever waits, again and again: while one group is on its way to the disk, the next gathers.
    async fn run(self, mut waiting: mpsc::Receiver<Waiting>) {
        let this = Arc::new(self);
        let mut group = Vec::with_capacity(GROUP);
        while waiting.recv_many(&mut group, GROUP).await > 0 {
            let (changes, askers): (Vec<_>, Vec<_>) = group.drain(..).unzip();
            let committer = Arc::clone(&this);
            let commit = tokio::task::spawn_blocking(move || committer.commit(&changes));
            // Askers of a commit that failed are dropped, which tells them that nobody knows.
            if let Ok(Ok(outcomes)) = commit.await {
                for (asker, outcome) in askers.into_iter().zip(outcomes) {
                    // An asker who has gone needs no answer.
                    let _ = asker.send(outcome);
                }
            }
        }
    }

    fn commit(&self, changes: &[Change]) -> Result<Vec<Outcome>, redb::Error> {
        let outcomes = self.database.change(changes)?;
        let mut log = lock(&self.log);
        let tick = self.clock.now().as_nanos();
        for (change, outcome) in changes.iter().zip(&outcomes) {
            if outcome.repeated {
                continue;
            }
            let record = Record {
                tick,
                change: *change,
                row: outcome.row,
            };
            self.oracle.committed(self.shard, &record);
            log.push(record);
        }
        Ok(outcomes)
    }
}

impl Log {
    fn push(&mut self, record: Record) {
        if self.records.len() == LOG {
            self.records.pop_front();
            self.start += 1;
        }
        self.records.push_back(record);
    }

    fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    // Nothing under the lock can leave a record half pushed.
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
