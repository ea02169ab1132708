//! The ledger in memory, the file under it, and the commit that keeps them alike.

use std::error::Error as StdError;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use purlin_work_queue::embedded::{Ledger, Moment, Signal};
use purlin_work_queue::{Clock, Error, ErrorKind, Limits, Retry, Stats};
use redb::ReadableDatabase;

use super::tables::{self, Tables};
use super::task::{Pending, Slot, Task};
use crate::OpenError;
use crate::file::{self, OpenFile};
use crate::group_commit::GroupCommit;
use crate::shared_error::SharedError;

pub(super) struct Engine<C> {
    path: PathBuf,
    file: OpenFile,
    /// Held by the leader for the length of a commit, and by nobody else.
    ledger: Mutex<Ledger<()>>,
    commits: GroupCommit<Box<dyn Pending>>,
    /// The first failure. From then on memory may be ahead of the file, so nothing is done any more.
    failed: OnceLock<Failure>,
    stats: Mutex<Stats>,
    signal: Signal,
    clock: C,
}

impl<C: Clock> Engine<C> {
    pub(super) fn open(
        path: &Path,
        limits: Limits,
        cache_bytes: usize,
        clock: C,
    ) -> Result<Self, OpenError> {
        let file = file::open(path, cache_bytes, tables::make)?;
        Engine::on(path, file, limits, clock)
    }

    /// The queue in an open database.
    pub(super) fn on(
        path: &Path,
        file: OpenFile,
        limits: Limits,
        clock: C,
    ) -> Result<Self, OpenError> {
        let now = Moment::of(&clock);
        let read = file
            .database
            .begin_read()
            .map_err(|error| tables::unreadable(path, error))?;
        let ledger = tables::load(path, &read, limits, now)?;
        drop(read);
        Ok(Engine {
            path: path.to_owned(),
            file,
            stats: Mutex::new(ledger.stats()),
            ledger: Mutex::new(ledger),
            commits: GroupCommit::new(),
            failed: OnceLock::new(),
            signal: Signal::new(),
            clock,
        })
    }

    /// Does `work` in a transaction, and returns when that is on the disk.
    pub(super) fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Ledger<()>, Moment, &mut Tables<'_>) -> R + Send + 'static,
    ) -> Result<R, Error> {
        if let Some(failure) = self.failed.get() {
            return Err(failure.closed());
        }
        let slot = Slot::new();
        let task = Box::new(Task::new(work, Arc::clone(&slot)));
        let submitted = self
            .commits
            .submit(task, |gathered| self.commit(gathered.take()));
        match (submitted, slot.take()) {
            (Ok(()), Some(Ok(result))) => Ok(result),
            (_, Some(Err(failure))) => Err(failure.into_error()),
            // The leader panicked, before or after the transaction.
            (Err(_), Some(Ok(_)) | None) | (Ok(()), None) => {
                Err(Error::new(ErrorKind::Closed, Retry::NEVER))
            }
        }
    }

    pub(super) fn stats(&self) -> Stats {
        *lock(&self.stats)
    }

    pub(super) fn changed(&self) -> impl Future<Output = ()> + Send {
        self.signal.changed()
    }

    /// Commits a batch, and tells everyone.
    fn commit(&self, mut batch: Vec<Box<dyn Pending>>) {
        // A batch that gathered while another failed must not touch a ledger that is ahead of the file.
        let outcome = match self.failed.get() {
            Some(failure) => Err(failure.clone()),
            None => self.transact(&mut batch),
        };
        match outcome {
            Ok(news) => {
                batch.into_iter().for_each(|task| task.settle(Ok(())));
                if news {
                    self.signal.ring();
                }
            }
            Err(failure) => {
                let failure = self.failed.get_or_init(|| failure);
                batch.into_iter().for_each(|task| task.settle(Err(failure)));
            }
        }
    }

    /// One transaction for a batch. Returns whether workers have reason to look again.
    fn transact(&self, batch: &mut [Box<dyn Pending>]) -> Result<bool, Failure> {
        // Before the lock, since a clock may be the caller's own.
        let now = Moment::of(&self.clock);
        let mut ledger = lock(&self.ledger);
        let transaction = self.file.database.begin_write()?;
        let changed = {
            let mut tables = Tables::open(&transaction)?;
            let before = ledger.counters();
            for task in batch {
                task.apply(&mut ledger, now, &mut tables);
            }
            tables.finish(before, ledger.counters())?
        };
        if changed {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        *lock(&self.stats) = ledger.stats();
        Ok(ledger.take_news())
    }
}

impl<C> Engine<C> {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A lock whose holder panicked has left the engine broken in ways of its own; see `GroupCommit`.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a transaction failed, for everyone who was in it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: ErrorKind,
    source: SharedError,
}

impl Failure {
    /// What the file holds cannot be.
    pub(super) fn corrupt(source: impl StdError + Send + Sync + 'static) -> Self {
        Failure {
            kind: ErrorKind::Corrupt,
            source: SharedError::new(source),
        }
    }

    /// For those who were in the transaction.
    fn into_error(self) -> Error {
        // This handle is of no more use. Whether the transaction is on the disk shows when the file is opened again.
        Error::new(self.kind, Retry::NEVER).with_source(self.source)
    }

    /// For those who come later: nothing was done for them.
    fn closed(&self) -> Error {
        Error::new(ErrorKind::Closed, Retry::NEVER).with_source(self.source.clone())
    }
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Failure {
            kind: match error {
                redb::Error::Corrupted(_) => ErrorKind::Corrupt,
                _ => ErrorKind::Storage,
            },
            source: SharedError::new(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use purlin_work_queue::{Job, LeaseRequest, ManualClock};
    use redb::TableDefinition;

    use super::*;

    const PAYLOADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("purlin.queue.payloads");

    fn open(path: &Path) -> Engine<ManualClock> {
        Engine::open(path, Limits::default(), 1 << 20, ManualClock::new()).unwrap()
    }

    /// The engine refuses to go on after an error of its own. This one is ours to notice.
    #[test]
    fn a_payload_that_is_missing_ends_the_handle_for_those_who_gathered_meanwhile_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.redb");
        let queue = open(&path);
        let jobs = [Job::new("x")];
        queue
            .run(move |ledger, now, tables| ledger.enqueue(now, &jobs, tables).is_ok())
            .unwrap();
        let transaction = queue.file.database.begin_write().unwrap();
        transaction.open_table(PAYLOADS).unwrap().remove(1).unwrap();
        transaction.commit().unwrap();

        let request = LeaseRequest::new("w", Duration::from_secs(1));
        let leased = queue.run(move |ledger, now, tables| ledger.lease(now, &request, tables));
        let error = leased.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let source = error.source().unwrap().to_string();
        assert!(source.contains("job 1"), "{source}");

        let late = queue.run(|_, _, _| unreachable!("the handle is dead"));
        assert_eq!(late.map(drop).unwrap_err().kind(), ErrorKind::Closed);
        let slot = Slot::<()>::new();
        let gathered = Task::new(
            |_: &mut Ledger<()>, _, _: &mut Tables<'_>| unreachable!("the handle is dead"),
            Arc::clone(&slot),
        );
        queue.commit(vec![Box::new(gathered)]);
        assert!(matches!(slot.take(), Some(Err(_))));

        // Nothing of the failed transaction is in the file: the two tables do not match, and it says so.
        drop(queue);
        let reopened = Engine::open(&path, Limits::default(), 1 << 20, ManualClock::new());
        assert!(matches!(reopened.err(), Some(OpenError::Damaged { .. })));
    }
}
