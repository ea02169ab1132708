use std::sync::Arc;

use bytes::Bytes;
use purlin_core::Tick;

use super::ledger::{Entry, State};
use super::{Counters, JobRecord, Ledger, Moment, Phase, Until};
use crate::{JobId, Limits};

/// Makes a [`Ledger`] again from what a [`Medium`](super::Medium) was told.
///
/// Waits and leases go on where they stood, as far as the wall clock can tell; see [`Until`]. A lease whose end has
/// passed ends with the ledger's first operation, and counts as an attempt. A queue that is over its limits, because
/// they were higher before, keeps what it has and takes no more.
#[derive(Debug)]
pub struct Restore<P> {
    ledger: Ledger<P>,
    now: Moment,
    keys: Vec<(Tick, Bytes, JobId)>,
}

/// Why records do not make a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There are two records of one job.
    #[error("{job} is there twice")]
    JobTwice {
        /// The job.
        job: JobId,
    },
    /// Two jobs have one key.
    #[error("the idempotency key of {job} is that of another job too")]
    KeyTwice {
        /// The second job.
        job: JobId,
    },
    /// A job's id, or its lease's fencing number, would be given out again.
    #[error("the counters are behind {job}")]
    CountersBehind {
        /// The job.
        job: JobId,
    },
    /// The counters stand where no queue gets in this universe's time, and would soon overflow.
    #[error("the counters are beyond belief")]
    CountersSpent,
}

impl<P> Restore<P> {
    /// A queue without jobs that goes on counting where it stood.
    pub fn new(limits: Limits, counters: Counters, now: Moment) -> Self {
        let mut ledger = Ledger::new(limits, now);
        ledger.counters = counters;
        Restore {
            ledger,
            now,
            keys: Vec::new(),
        }
    }

    /// Puts a job back. The order of the calls does not matter.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if the record contradicts an earlier one or the counters.
    pub fn job(&mut self, record: &JobRecord<'_>, payload: P) -> Result<(), RestoreError> {
        let job = record.id;
        let counters = self.ledger.counters;
        let fence = match record.phase {
            Phase::Leased { fence, .. } => fence,
            Phase::Ready | Phase::Delayed(_) | Phase::Dead(_) => 0,
        };
        if job.as_u64() >= counters.next_job || fence >= counters.next_fence {
            return Err(RestoreError::CountersBehind { job });
        }
        if self.ledger.jobs.contains_key(&job) {
            return Err(RestoreError::JobTwice { job });
        }
        let key = record.key.map(Bytes::copy_from_slice);
        if let Some(key) = &key {
            if self.ledger.keys.job(key).is_some() {
                return Err(RestoreError::KeyTwice { job });
            }
            self.ledger.keys.enter(key.clone(), job);
        }
        let entry = Entry {
            payload,
            payload_bytes: record.payload_bytes,
            key,
            attempts: record.attempts,
            max_attempts: record.max_attempts.max(1),
            error: record.error.map(Arc::from),
            state: self.state(job, record.phase),
        };
        self.ledger.stats.bytes = self.ledger.stats.bytes.saturating_add(entry.size());
        self.ledger.jobs.insert(job, entry);
        Ok(())
    }

    /// Remembers the key of a job that has left. The order of the calls does not matter.
    pub fn key(&mut self, key: Bytes, job: JobId, until: Until) {
        self.keys.push((until.to_tick(self.now), key, job));
    }

    /// The queue.
    ///
    /// # Errors
    ///
    /// [`RestoreError::KeyTwice`] if a key of a job that has left is that of a job too, and
    /// [`RestoreError::CountersSpent`].
    pub fn finish(self) -> Result<Ledger<P>, RestoreError> {
        let Restore {
            mut ledger,
            now: _,
            mut keys,
        } = self;
        if ledger.counters.next_job.max(ledger.counters.next_fence) > u64::MAX / 2 {
            return Err(RestoreError::CountersSpent);
        }
        // Ids rise in the order in which the jobs came.
        ledger.ready.make_contiguous().sort_unstable();
        keys.sort_unstable();
        for (until, key, job) in keys {
            if ledger.keys.job(&key).is_some() {
                return Err(RestoreError::KeyTwice { job });
            }
            ledger.keys.remember(key, job, until);
        }
        Ok(ledger)
    }

    /// Files a job under its phase.
    fn state(&mut self, id: JobId, phase: Phase<'_>) -> State {
        let ledger = &mut self.ledger;
        match phase {
            Phase::Ready => {
                ledger.ready.push_back(id);
                State::Ready
            }
            Phase::Delayed(until) => {
                let due = until.to_tick(self.now);
                State::Delayed {
                    due,
                    date: (until.at_most == core::time::Duration::MAX).then_some(until.date),
                    timer: ledger.wheel.insert(due.as_nanos(), id),
                }
            }
            Phase::Leased {
                fence,
                worker,
                until,
            } => {
                let until = until.to_tick(self.now);
                ledger.stats.leased += 1;
                State::Leased {
                    fence,
                    worker: worker.into(),
                    until,
                    timer: ledger.wheel.insert(until.as_nanos(), id),
                }
            }
            Phase::Dead(reason) => {
                ledger.dead.insert(id);
                State::Dead(reason)
            }
        }
    }
}
