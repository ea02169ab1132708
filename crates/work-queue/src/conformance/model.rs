use core::time::Duration;

use crate::{DeadReason, JobId, JobState, LeaseId, Limits};

/// The queue, written for the reader: a list that is searched from end to end for everything.
pub(super) struct Model {
    pub(super) limits: Limits,
    pub(super) now: Duration,
    pub(super) jobs: Vec<Job>,
    /// Keys of jobs that have left, and until when they are known.
    left: Vec<(String, JobId, Duration)>,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) key: Option<String>,
    pub(super) payload: Vec<u8>,
    pub(super) attempts: u32,
    pub(super) max_attempts: u32,
    pub(super) error: Option<String>,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Ready {
        /// Whether it has never waited, so that its place is known.
        fresh: bool,
    },
    Delayed(Duration),
    Leased(LeaseId, Duration),
    Dead(DeadReason),
}

impl Model {
    pub(super) fn new(limits: Limits) -> Self {
        Model {
            limits,
            now: Duration::ZERO,
            jobs: Vec::new(),
            left: Vec::new(),
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        for job in &mut self.jobs {
            match job.state {
                State::Delayed(due) if due <= now => job.state = State::Ready { fresh: false },
                State::Leased(_, until) if until <= now => {
                    job.state = if job.attempts >= job.max_attempts {
                        State::Dead(DeadReason::Lost)
                    } else {
                        State::Ready { fresh: false }
                    };
                }
                _ => {}
            }
        }
        self.left.retain(|(_, _, until)| *until > now);
    }

    pub(super) fn job(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.id == id)
    }

    pub(super) fn leased(&mut self, lease: LeaseId) -> Option<&mut Job> {
        self.jobs
            .iter_mut()
            .find(|job| matches!(job.state, State::Leased(other, _) if other == lease))
    }

    /// The job that stands for a key.
    pub(super) fn known(&self, key: &str) -> Option<JobId> {
        let here = self.jobs.iter().map(|job| (job.key.as_deref(), job.id));
        let left = self.left.iter().map(|(key, id, _)| (Some(&**key), *id));
        here.chain(left)
            .find(|(other, _)| *other == Some(key))
            .map(|(_, id)| id)
    }

    pub(super) fn remove(&mut self, id: JobId) {
        let at = self.jobs.iter().position(|job| job.id == id);
        let job = self.jobs.remove(at.expect("the model has the job"));
        if let Some(key) = job.key {
            self.left
                .push((key, id, self.now + self.limits.key_window()));
            while self.left.len() > self.limits.max_keys() {
                self.left.remove(0);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let key = |job: &Job| job.key.as_ref().map_or(0, String::len);
        self.jobs
            .iter()
            .map(|job| job.payload.len() + key(job))
            .sum()
    }

    /// When something happens by itself; zero if a job is ready.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let due = |job: &Job| match job.state {
            State::Ready { .. } => Some(self.now),
            State::Delayed(due) => Some(due),
            State::Leased(_, until) => Some(until),
            State::Dead(_) => None,
        };
        let next = self.jobs.iter().filter_map(due).min()?;
        Some(next - self.now)
    }
}

impl State {
    /// Whether the store says the same.
    pub(super) fn agrees(self, state: &JobState, now: Duration) -> bool {
        match (self, state) {
            (State::Ready { .. }, JobState::Ready) => true,
            (State::Delayed(due), JobState::Delayed { due_in }) => due - now == *due_in,
            (State::Leased(_, until), JobState::Leased { ends_in, .. }) => until - now == *ends_in,
            (State::Dead(reason), JobState::Dead { reason: other }) => reason == *other,
            _ => false,
        }
    }
}
