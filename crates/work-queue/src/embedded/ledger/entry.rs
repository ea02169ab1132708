use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use purlin_core::{MapHasher, Tick, WallTime};
use purlin_timer_wheel::TimerId;

use crate::embedded::{JobRecord, Moment, Phase, Until};
use crate::{DeadReason, Job, JobId, LeaseId};

/// A job in the ledger.
#[derive(Debug)]
pub(in crate::embedded) struct Entry<P> {
    pub(in crate::embedded) payload: P,
    pub(in crate::embedded) payload_bytes: usize,
    pub(in crate::embedded) key: Option<Bytes>,
    pub(in crate::embedded) attempts: u32,
    pub(in crate::embedded) max_attempts: u32,
    pub(in crate::embedded) error: Option<Arc<str>>,
    pub(in crate::embedded) state: State,
}

#[derive(Debug)]
pub(in crate::embedded) enum State {
    Ready,
    Delayed {
        due: Tick,
        /// Set if the job was enqueued for a date.
        date: Option<WallTime>,
        timer: TimerId,
    },
    Leased {
        fence: u64,
        worker: Arc<str>,
        until: Tick,
        timer: TimerId,
    },
    Dead(DeadReason),
}

impl State {
    /// Whether `lease` is valid. A lease is over at its end, not after it.
    pub(super) fn is_leased_as(&self, lease: LeaseId, now: Tick) -> bool {
        match self {
            State::Leased { fence, until, .. } => *fence == lease.fence() && now < *until,
            State::Ready | State::Delayed { .. } | State::Dead(_) => false,
        }
    }
}

impl<P> Entry<P> {
    /// A job that was accepted, and is in no queue yet.
    pub(super) fn new(payload: P, key: Option<Bytes>, job: &Job) -> Self {
        Entry {
            payload,
            payload_bytes: job.payload().len(),
            key,
            attempts: 0,
            max_attempts: job.max_attempts(),
            error: None,
            state: State::Ready,
        }
    }

    /// What it counts as towards the queue's bytes.
    pub(in crate::embedded) fn size(&self) -> usize {
        let key = self.key.as_ref().map_or(0, Bytes::len);
        self.payload_bytes.saturating_add(key)
    }

    /// The job to be handed out or shown.
    pub(super) fn job(&self, payload: Bytes) -> Job {
        let job = Job::new(payload).with_max_attempts(self.max_attempts);
        match &self.key {
            Some(key) => job.with_key(key.clone()),
            None => job,
        }
    }

    pub(super) fn record(&self, id: JobId, now: Moment) -> JobRecord<'_> {
        JobRecord {
            id,
            payload_bytes: self.payload_bytes,
            key: self.key.as_deref(),
            attempts: self.attempts,
            max_attempts: self.max_attempts,
            error: self.error.as_deref(),
            phase: match &self.state {
                State::Ready => Phase::Ready,
                State::Delayed { due, date, .. } => Phase::Delayed(match date {
                    Some(date) => Until::date(*date),
                    None => Until::tick(*due, now),
                }),
                State::Leased {
                    fence,
                    worker,
                    until,
                    ..
                } => Phase::Leased {
                    fence: *fence,
                    worker,
                    until: Until::tick(*until, now),
                },
                State::Dead(reason) => Phase::Dead(*reason),
            },
        }
    }
}

/// The entry of a job that one of the ledger's queues names.
pub(super) fn present<P>(
    jobs: &mut HashMap<JobId, Entry<P>, MapHasher>,
    id: JobId,
) -> &mut Entry<P> {
    jobs.get_mut(&id).expect(
        "`ready`, `wheel` and `dead` name only jobs that are there, and `remove` takes no other",
    )
}
