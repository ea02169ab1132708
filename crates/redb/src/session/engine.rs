//! The file under the store, its time, and the commit that several callers share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use purlin_core::{Clock, Retry, Tick};
use purlin_session_store::{ErrorKind, StoreError};
use redb::{ReadTransaction, ReadableDatabase};

use super::look::{Look, LookError};
use super::tables::{Fault, Tables};
use super::{Limits, layout};
use crate::OpenError;
use crate::file::{self, OpenFile};
use crate::group_commit::{Gathered, GroupCommit};
use crate::shared_error::SharedError;

pub(super) struct Engine<C> {
    path: PathBuf,
    file: OpenFile,
    limits: Limits,
    commits: GroupCommit<Work>,
    /// How many calls shared the last transaction. Written by whoever leads.
    last_group: AtomicUsize,
    /// The first failure. From then on nothing is written any more.
    failed: OnceLock<Failure>,
    time: StoreTime<C>,
}

type Apply = Box<dyn FnOnce(&mut Tables<'_>, Tick) -> Result<(), Failure> + Send>;

/// One caller's operation, on its way through a commit.
struct Work {
    /// Does it, and leaves its answer where the caller looks.
    apply: Apply,
    /// What became of the transaction.
    outcome: Arc<Outcome>,
}

type Outcome = OnceLock<Result<(), Failure>>;

impl<C: Clock> Engine<C> {
    pub(super) fn open(
        path: &Path,
        limits: Limits,
        cache_bytes: usize,
        clock: C,
    ) -> Result<Self, OpenError> {
        let file = file::open(path, cache_bytes, layout::make)?;
        Engine::on(path, file, limits, clock)
    }

    /// The store in an open database.
    pub(super) fn on(
        path: &Path,
        file: OpenFile,
        limits: Limits,
        clock: C,
    ) -> Result<Self, OpenError> {
        let read = file
            .database
            .begin_read()
            .map_err(|error| OpenError::Damaged {
                path: path.to_owned(),
                source: error.into(),
            })?;
        let older = layout::check(path, &read)?;
        drop(read);
        if older {
            layout::upgrade(&file.database).map_err(|error| OpenError::Damaged {
                path: path.to_owned(),
                source: error.into(),
            })?;
        }
        Ok(Engine {
            path: path.to_owned(),
            file,
            limits,
            commits: GroupCommit::new(),
            last_group: AtomicUsize::new(0),
            failed: OnceLock::new(),
            time: StoreTime::starting(clock),
        })
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// A transaction that keeps every other writer waiting.
    #[cfg(test)]
    pub(super) fn begin_write(&self) -> redb::WriteTransaction {
        self.file.database.begin_write().expect("a file that works")
    }

    /// A call as far as that goes without a commit: none if it needs one. Waits for nobody who commits.
    pub(super) fn look<T>(
        &self,
        look: impl FnOnce(&ReadTransaction, Tick) -> Result<Look<T>, LookError>,
    ) -> Result<Option<T>, StoreError> {
        if let Some(failure) = self.failed.get() {
            return Err(failure.to_latecomer());
        }
        let now = self.time.now();
        let unreadable =
            |error: redb::Error| StoreError::new(ErrorKind::Unavailable).with_source(error);
        let read = self
            .file
            .database
            .begin_read()
            .map_err(|error| unreadable(error.into()))?;
        match look(&read, now) {
            Ok(Look::Answer(answer)) => Ok(Some(answer)),
            Ok(Look::NeedsWrite) => Ok(None),
            Err(LookError::Table(error)) => Err(unreadable(error.into())),
            Err(LookError::Fault(Fault::Engine(error))) => Err(unreadable(error.into())),
            Err(LookError::Fault(Fault::Corrupt)) => Err(StoreError::new(ErrorKind::Corrupt)),
            Err(LookError::Fault(Fault::Full)) => Err(StoreError::new(ErrorKind::Full)),
        }
    }

    /// Does `work` in a transaction, and returns when that is on the disk.
    pub(super) fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>, Tick) -> Result<R, Fault> + Send + 'static,
    ) -> Result<R, StoreError> {
        if let Some(failure) = self.failed.get() {
            return Err(failure.to_latecomer());
        }
        let answer = Arc::new(Mutex::new(None));
        let outcome = Arc::new(OnceLock::new());
        let left = Arc::clone(&answer);
        let work = Work {
            apply: Box::new(move |tables, now| {
                let result = match work(tables, now) {
                    Ok(result) => Ok(result),
                    Err(Fault::Engine(error)) => return Err(error.into()),
                    Err(Fault::Corrupt) => Err(StoreError::new(ErrorKind::Corrupt)),
                    Err(Fault::Full) => Err(StoreError::new(ErrorKind::Full)),
                };
                *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                Ok(())
            }),
            outcome: Arc::clone(&outcome),
        };
        // A leader that panicked leaves no outcome, and is told by that.
        let _ = self.commits.submit(work, |gathered| self.commit(gathered));
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (outcome.get(), answer) {
            (Some(Ok(())), Some(result)) => result,
            (Some(Err(failure)), _) => Err(failure.to_participant()),
            (Some(Ok(())), None) | (None, _) => {
                Err(StoreError::new(ErrorKind::Interrupted).with_retry(Retry::NEVER))
            }
        }
    }

    /// Commits what has gathered, and tells everyone.
    fn commit(&self, gathered: &mut Gathered<'_, Work>) {
        let mut waiting = Vec::new();
        let outcome = match self.failed.get() {
            Some(failure) => {
                waiting.extend(gathered.take().into_iter().map(|work| work.outcome));
                Err(failure.clone())
            }
            None => self.transact(gathered, &mut waiting),
        };
        if let Err(failure) = &outcome {
            self.failed.get_or_init(|| failure.clone());
        }
        for waiting in waiting {
            // Set once, here.
            let _ = waiting.set(outcome.clone());
        }
    }

    /// One transaction for all who have gathered by the time that it has nothing left to do. They are added to
    /// `waiting`.
    fn transact(
        &self,
        gathered: &mut Gathered<'_, Work>,
        waiting: &mut Vec<Arc<Outcome>>,
    ) -> Result<(), Failure> {
        // First of all, so that whoever waits is told of any failure.
        let mut batch = taken(gathered, waiting);
        let mut now = self.time.now();
        let transaction = self.file.database.begin_write()?;
        let changed = {
            let mut tables = Tables::open(&transaction, self.limits)?;
            while !batch.is_empty() {
                for apply in batch {
                    apply(&mut tables, now)?;
                }
                batch = self.company(gathered, waiting);
                now = self.time.now();
            }
            self.last_group.store(waiting.len(), Ordering::Relaxed);
            if tables.put > 0 {
                let budget = tables.put.saturating_mul(SWEPT_PER_PUT);
                if let Err(Fault::Engine(error)) = tables.sweep(now, budget) {
                    return Err(error.into());
                }
            }
            tables.changed
        };
        if changed {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(())
    }

    /// Who has come while the others' work was done. Those of the last transaction were all released at once, and mostly
    /// come back: the first of them would commit alone, and the others one after the other behind it. So it lets them
    /// run, as often as that brings one; but only where there were others, so that a lone caller waits for nobody.
    fn company(
        &self,
        gathered: &mut Gathered<'_, Work>,
        waiting: &mut Vec<Arc<Outcome>>,
    ) -> Vec<Apply> {
        let mut batch = taken(gathered, waiting);
        let last_group = self.last_group.load(Ordering::Relaxed);
        for _ in 0..YIELDS {
            if !batch.is_empty() || waiting.len() >= last_group {
                break;
            }
            thread::yield_now();
            batch = taken(gathered, waiting);
        }
        batch
    }
}

/// What has gathered, with those who wait for it noted.
fn taken(gathered: &mut Gathered<'_, Work>, waiting: &mut Vec<Arc<Outcome>>) -> Vec<Apply> {
    let (applies, outcomes): (Vec<_>, Vec<_>) = gathered
        .take()
        .into_iter()
        .map(|work| (work.apply, work.outcome))
        .unzip();
    waiting.extend(outcomes);
    applies
}

/// How often others are let run before it is believed that nobody comes.
const YIELDS: usize = 4;

/// How many rows are looked at for each that is written. A row is looked at a few times until it is freed, so the sweep
/// keeps up with any mix of calls.
const SWEPT_PER_PUT: usize = 4;

/// The store's time: what the wall clock said when the file was opened, and the ticks since.
///
/// While the file is open nothing happens to a session when the wall clock is set. Over a restart only the wall clock
/// can tell how much time went by.
struct StoreTime<C> {
    opened: Tick,
    opened_at: Tick,
    clock: C,
    /// The latest time given. A clock that steps back is held here, so that nothing expired is seen alive again.
    latest: Mutex<Tick>,
}

impl<C: Clock> StoreTime<C> {
    fn starting(clock: C) -> Self {
        let opened_at = Tick::ZERO.after(Duration::from_millis(clock.wall().as_unix_millis()));
        StoreTime {
            opened: clock.now(),
            opened_at,
            clock,
            latest: Mutex::new(opened_at),
        }
    }

    /// Nanoseconds since the Unix epoch, as a tick.
    fn now(&self) -> Tick {
        // Before the lock, since a clock may be the caller's own.
        let elapsed = self.clock.now().since(self.opened);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = self.opened_at.after(elapsed).max(*latest);
        *latest
    }
}

/// Why a transaction failed, for everyone who was in it.
#[derive(Clone, Debug)]
struct Failure {
    kind: ErrorKind,
    source: SharedError,
}

impl Failure {
    /// For those who were in the transaction. Whether it is on the disk shows when the file is opened again.
    fn to_participant(&self) -> StoreError {
        StoreError::new(self.kind)
            .with_retry(Retry::NEVER)
            .with_source(self.source.clone())
    }

    /// For those who come later: nothing was done for them, and nothing will be on this handle.
    fn to_latecomer(&self) -> StoreError {
        StoreError::new(ErrorKind::Unavailable)
            .with_retry(Retry::NEVER)
            .with_source(self.source.clone())
    }
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Failure {
            kind: match error {
                redb::Error::Corrupted(_) => ErrorKind::Corrupt,
                _ => ErrorKind::Interrupted,
            },
            source: SharedError::new(error),
        }
    }
}

impl<C> fmt::Debug for Engine<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
