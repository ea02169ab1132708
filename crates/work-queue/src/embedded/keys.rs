use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use purlin_core::{MapHasher, Tick};

use super::{Medium, Moment, Until};
use crate::{JobId, Limits};

/// The idempotency keys: those of jobs in the queue, and for a while those of jobs that have left.
#[derive(Debug)]
pub(super) struct Keys {
    entries: HashMap<Bytes, Entry, MapHasher>,
    /// The keys of jobs that have left, by the time of their leaving and so by that of their forgetting. One whose
    /// entry does not say the same tick was forgotten out of turn, and means nothing any more.
    leaving: VecDeque<(Tick, Bytes)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    job: JobId,
    /// Until when it is remembered, if the job has left. Then its key is in `leaving` with this tick.
    until: Option<Tick>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Keys {
            entries: HashMap::default(),
            leaving: VecDeque::new(),
        }
    }

    /// How many keys of jobs that have left are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.leaving.len()
    }

    /// The job that stands for a key.
    pub(super) fn job(&self, key: &[u8]) -> Option<JobId> {
        self.entries.get(key).map(|entry| entry.job)
    }

    /// A job of this key has come.
    pub(super) fn enter(&mut self, key: Bytes, job: JobId) {
        self.entries.insert(key, Entry { job, until: None });
    }

    /// The job of this key has left.
    pub(super) fn leave<M: Medium>(
        &mut self,
        key: Bytes,
        job: JobId,
        limits: &Limits,
        now: Moment,
        medium: &mut M,
    ) {
        let until = now.tick.after(limits.key_window());
        if until == now.tick || limits.max_keys() == 0 {
            // The medium knew the key by the job's record only.
            self.entries.remove(&key);
            return;
        }
        medium.put_key(&key, job, Until::tick(until, now));
        self.remember(key, job, until);
        // One goes for one that comes, and a second one, so that a file that was filled under a larger limit shrinks.
        for _ in 0..2 {
            if self.leaving.len() > limits.max_keys() {
                self.forget_oldest(medium);
            }
        }
    }

    /// Restores a key of a job that has left. Keys must come in the order of their times.
    pub(super) fn remember(&mut self, key: Bytes, job: JobId, until: Tick) {
        let entry = Entry {
            job,
            until: Some(until),
        };
        self.entries.insert(key.clone(), entry);
        self.leaving.push_back((until, key));
    }

    /// Forgets keys whose time is over, at most `budget` of them. Returns whether none is left over.
    pub(super) fn forget_due<M: Medium>(
        &mut self,
        now: Tick,
        budget: usize,
        medium: &mut M,
    ) -> bool {
        for _ in 0..budget {
            match self.leaving.front() {
                Some((until, _)) if *until <= now => self.forget_oldest(medium),
                _ => return true,
            }
        }
        self.leaving.front().is_none_or(|(until, _)| *until > now)
    }

    /// Forgets one key if its time is over, out of turn, so that a backlog of others does not delay what is asked now.
    pub(super) fn forget_if_due<M: Medium>(&mut self, key: &[u8], now: Tick, medium: &mut M) {
        let due = |entry: &Entry| entry.until.is_some_and(|until| until <= now);
        if !self.entries.get(key).is_some_and(due) {
            return;
        }
        if let Some((key, _)) = self.entries.remove_entry(key) {
            medium.forget_key(&key);
        }
    }

    fn forget_oldest<M: Medium>(&mut self, medium: &mut M) {
        let Some((until, key)) = self.leaving.pop_front() else {
            return;
        };
        let stands = |entry: &Entry| entry.until == Some(until);
        if self.entries.get(&key).is_some_and(stands) {
            self.entries.remove(&key);
            medium.forget_key(&key);
        }
    }
}
