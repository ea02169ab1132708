//! The rules of the queue.

mod entry;
mod passing;

use core::time::Duration;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use purlin_core::{MapHasher, Tick, WallTime};
use purlin_timer_wheel::{TimerId, Wheel};

pub(super) use self::entry::{Entry, State};
use super::keys::Keys;
use super::{Medium, Moment, Until};
use crate::limits::size;
use crate::{
    DeadLetter, DeadReason, Enqueued, Job, JobId, JobState, JobStatus, LeaseError, LeaseId,
    LeaseRequest, Leased, Limits, MAX_BATCH, Nack, Nacked, Next, Refusal, Start, Stats,
};

/// A queue as a state machine: every rule, and no clock, lock, thread or file.
///
/// Each operation first lets the time pass up to `now`: leases end, waits are over, keys are forgotten. That work is
/// bounded in one call and goes on in the next; what has ended and is not yet worked off is never taken for valid
/// meanwhile. A `now` before an earlier one counts as the earlier one.
///
/// `P` is what is held in place of a payload, chosen by the [`Medium`].
///
/// Cost: each operation is O(1) beside its batch and the bounded work for the time that passed, but for
/// [`dead_letters`](Ledger::dead_letters), [`redrive`](Ledger::redrive) and [`discard`](Ledger::discard), which are
/// O(log dead letters).
#[derive(Debug)]
pub struct Ledger<P> {
    limits: Limits,
    pub(super) jobs: HashMap<JobId, Entry<P>, MapHasher>,
    /// Exactly the jobs whose state is `Ready`, in the order in which they became so.
    pub(super) ready: VecDeque<JobId>,
    /// A timer for each job whose state is `Delayed` or `Leased`, and no other.
    pub(super) wheel: Wheel<JobId>,
    /// Exactly the jobs whose state is `Dead`.
    pub(super) dead: BTreeSet<JobId>,
    pub(super) keys: Keys,
    pub(super) counters: Counters,
    /// The highest tick seen.
    now: Tick,
    /// Whether a worker that looked before has reason to look again.
    news: bool,
    /// The counts of what has happened. Its gauges are filled in by `stats`, but for `leased` and `bytes`.
    pub(super) stats: Stats,
}

/// The numbers a durable store must never give out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a medium writes each of them")]
pub struct Counters {
    /// The id of the next job.
    pub next_job: u64,
    /// The fencing number of the next lease.
    pub next_fence: u64,
}

impl Default for Counters {
    /// Both begin at 1, so that a 0 in a guarded resource means that no lease has been there.
    fn default() -> Self {
        Counters {
            next_job: 1,
            next_fence: 1,
        }
    }
}

impl<P> Ledger<P> {
    /// An empty queue. [`Restore`](super::Restore) makes one that has jobs.
    pub fn new(limits: Limits, now: Moment) -> Self {
        Ledger {
            limits,
            jobs: HashMap::default(),
            ready: VecDeque::new(),
            wheel: Wheel::new(now.tick.as_nanos()),
            dead: BTreeSet::new(),
            keys: Keys::new(),
            counters: Counters::default(),
            now: now.tick,
            news: false,
            stats: Stats::default(),
        }
    }

    /// Adds jobs, all or none; see [`QueueStore::enqueue_all`](crate::QueueStore::enqueue_all). The jobs stay the
    /// caller's, so that a refusal can hand them back.
    ///
    /// # Errors
    ///
    /// [`Refusal`], and nothing has changed.
    pub fn enqueue<M: Medium<Payload = P>>(
        &mut self,
        now: Moment,
        jobs: &[Job],
        medium: &mut M,
    ) -> Result<Vec<Enqueued>, Refusal> {
        let now = self.pass(now, medium);
        if let Err(refusal) = self.admit(jobs, now, medium) {
            self.stats.refused += 1;
            return Err(refusal);
        }
        Ok(jobs
            .iter()
            .map(|job| self.accept(job, now, medium))
            .collect())
    }

    /// Hands out jobs; see [`QueueStore::lease`](crate::QueueStore::lease).
    pub fn lease<M: Medium<Payload = P>>(
        &mut self,
        now: Moment,
        request: &LeaseRequest,
        medium: &mut M,
    ) -> Vec<Leased> {
        let now = self.pass(now, medium);
        let granted = request.duration().min(self.limits.max_lease());
        let until = now.tick.after(granted);
        let count = request.max().min(MAX_BATCH).min(self.ready.len());
        let mut leased = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            let entry = entry::present(&mut self.jobs, id);
            let lease = LeaseId::new(id, self.counters.next_fence);
            self.counters.next_fence += 1;
            entry.attempts = entry.attempts.saturating_add(1);
            entry.state = State::Leased {
                fence: lease.fence(),
                worker: Arc::clone(request.worker()),
                until,
                timer: set(&mut self.wheel, &mut self.news, until, id),
            };
            self.stats.leased += 1;
            self.stats.leases += 1;
            medium.put(&entry.record(id, now));
            let job = entry.job(medium.payload(id, &entry.payload));
            leased.push(Leased::new(job, lease, entry.attempts, granted));
        }
        leased
    }

    /// Ends a job; see [`QueueStore::ack`](crate::QueueStore::ack).
    ///
    /// # Errors
    ///
    /// [`LeaseError::LeaseLost`].
    pub fn ack<M: Medium<Payload = P>>(
        &mut self,
        now: Moment,
        lease: LeaseId,
        medium: &mut M,
    ) -> Result<(), LeaseError> {
        let now = self.pass(now, medium);
        self.end_lease(lease)?;
        self.stats.acked += 1;
        self.remove(lease.job(), now, medium);
        Ok(())
    }

    /// Ends an attempt; see [`QueueStore::nack`](crate::QueueStore::nack).
    ///
    /// # Errors
    ///
    /// [`LeaseError::LeaseLost`].
    pub fn nack<M: Medium<Payload = P>>(
        &mut self,
        now: Moment,
        lease: LeaseId,
        nack: Nack,
        medium: &mut M,
    ) -> Result<Nacked, LeaseError> {
        let now = self.pass(now, medium);
        self.end_lease(lease)?;
        let id = lease.job();
        let (next, error) = nack.into_parts();
        let entry = entry::present(&mut self.jobs, id);
        if error.is_some() {
            entry.error = error;
        }
        let exhausted = entry.attempts >= entry.max_attempts;
        match next {
            Next::Release => {
                entry.attempts = entry.attempts.saturating_sub(1);
                self.stats.released += 1;
                self.make_ready(id);
            }
            Next::RetryAfter(delay) if !exhausted => {
                self.stats.nacked += 1;
                self.wait(id, now.tick.after(delay), None, now);
            }
            Next::RetryAfter(_) => {
                self.stats.nacked += 1;
                self.bury(id, DeadReason::Failed);
            }
            Next::DeadLetter => {
                self.stats.nacked += 1;
                self.bury(id, DeadReason::Rejected);
            }
        }
        let entry = entry::present(&mut self.jobs, id);
        medium.put(&entry.record(id, now));
        Ok(match entry.state {
            State::Dead(_) => Nacked::Dead,
            State::Ready | State::Delayed { .. } | State::Leased { .. } => Nacked::Again,
        })
    }

    /// Makes a lease longer; see [`QueueStore::extend`](crate::QueueStore::extend).
    ///
    /// # Errors
    ///
    /// [`LeaseError::LeaseLost`].
    pub fn extend<M: Medium<Payload = P>>(
        &mut self,
        now: Moment,
        lease: LeaseId,
        duration: Duration,
        medium: &mut M,
    ) -> Result<Duration, LeaseError> {
        let now = self.pass(now, medium);
        let wanted = now.tick.after(duration.min(self.limits.max_lease()));
        let entry = match self.jobs.get_mut(&lease.job()) {
            Some(entry) if entry.state.is_leased_as(lease, now.tick) => entry,
            _ => return Err(self.lost(lease)),
        };
        let State::Leased { until, timer, .. } = &mut entry.state else {
            unreachable!("it was leased a line ago");
        };
        if wanted > *until {
            *until = wanted;
            self.wheel.reschedule(*timer, wanted.as_nanos());
        }
        let left = until.since(now.tick);
        self.stats.extended += 1;
        medium.put(&entry.record(lease.job(), now));
        Ok(left)
    }

    /// How a job stands; see [`QueueStore::status`](crate::QueueStore::status).
    pub fn status<M: Medium<Payload = P>>(
        &mut self,
        now: Moment,
        id: JobId,
        medium: &mut M,
    ) -> Option<JobStatus> {
        let now = self.pass(now, medium);
        // One job's time is worked off out of turn: the answer must be as of now, however much is left over.
        self.pass_one(id, now, medium);
        let entry = self.jobs.get(&id)?;
        let state = match &entry.state {
            State::Ready => JobState::Ready,
            State::Delayed { due, .. } => JobState::Delayed {
                due_in: due.since(now.tick),
            },
            State::Leased { worker, until, .. } => JobState::Leased {
                worker: Arc::clone(worker),
                ends_in: until.since(now.tick),
            },
            State::Dead(reason) => JobState::Dead { reason: *reason },
        };
        Some(JobStatus::new(state, entry.attempts))
    }

    /// Lists dead letters; see [`QueueStore::dead_letters`](crate::QueueStore::dead_letters).
    pub fn dead_letters<M: Medium<Payload = P>>(
        &mut self,
        now: Moment,
        after: Option<JobId>,
        max: usize,
        medium: &mut M,
    ) -> Vec<DeadLetter> {
        self.pass(now, medium);
        let from = after.map_or(0, |id| id.as_u64().saturating_add(1));
        let range = self.dead.range(JobId::from_u64(from)..);
        range
            .filter(|id| Some(**id) != after)
            .take(max.min(MAX_BATCH))
            .map(|id| {
                let entry = entry::present(&mut self.jobs, *id);
                let job = entry.job(medium.payload(*id, &entry.payload));
                let State::Dead(reason) = entry.state else {
                    unreachable!("`dead` holds the dead");
                };
                DeadLetter::new(*id, job, entry.attempts, reason, entry.error.clone())
            })
            .collect()
    }

    /// Puts a dead letter back to work; see [`QueueStore::redrive`](crate::QueueStore::redrive).
    pub fn redrive<M: Medium<Payload = P>>(
        &mut self,
        now: Moment,
        id: JobId,
        medium: &mut M,
    ) -> bool {
        let now = self.pass(now, medium);
        if !self.dead.remove(&id) {
            return false;
        }
        self.stats.redriven += 1;
        self.make_ready(id);
        let entry = entry::present(&mut self.jobs, id);
        entry.attempts = 0;
        medium.put(&entry.record(id, now));
        true
    }

    /// Throws a dead letter away; see [`QueueStore::discard`](crate::QueueStore::discard).
    pub fn discard<M: Medium<Payload = P>>(
        &mut self,
        now: Moment,
        id: JobId,
        medium: &mut M,
    ) -> bool {
        let now = self.pass(now, medium);
        if !self.dead.remove(&id) {
            return false;
        }
        self.stats.discarded += 1;
        self.remove(id, now, medium);
        true
    }

    /// When to look again; see [`QueueStore::next_due`](crate::QueueStore::next_due).
    pub fn next_due<M: Medium<Payload = P>>(
        &mut self,
        now: Moment,
        medium: &mut M,
    ) -> Option<Duration> {
        let now = self.pass(now, medium);
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        // While work is left over, this is a tick that has passed, and so the answer is zero too.
        let next = self.wheel.next_deadline()?;
        Some(Tick::from_nanos(next).since(now.tick))
    }

    /// Whether a worker that looked before the last call of this has reason to look again. Ring a
    /// [`Signal`](super::Signal) if so, after the lock is released and the change is durable.
    pub fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.news)
    }

    /// The numbers to go on from after a restart.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How full the queue is, and what has happened. As of the last operation: no time passes here.
    pub fn stats(&self) -> Stats {
        Stats {
            ready: self.ready.len(),
            delayed: self.wheel.len() - self.stats.leased,
            dead: self.dead.len(),
            remembered_keys: self.keys.remembered(),
            ..self.stats
        }
    }

    /// Checks that the whole batch is welcome, so that accepting it cannot fail half way.
    fn admit<M: Medium<Payload = P>>(
        &mut self,
        jobs: &[Job],
        now: Moment,
        medium: &mut M,
    ) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        let (mut count, mut bytes) = (0_usize, 0_usize);
        for job in jobs {
            self.limits.check_size(job)?;
            if let Some(key) = job.key() {
                self.keys.forget_if_due(key, now.tick, medium);
                if self.keys.job(key).is_some() || !seen.insert(key) {
                    continue;
                }
            }
            count += 1;
            bytes = bytes.saturating_add(size(job));
        }
        let fits = |used: usize, more: usize, limit: usize| {
            more == 0 || used.checked_add(more).is_some_and(|sum| sum <= limit)
        };
        if fits(self.jobs.len(), count, self.limits.max_jobs())
            && fits(self.stats.bytes, bytes, self.limits.max_bytes())
        {
            return Ok(());
        }
        Err(Refusal::Full {
            jobs: self.jobs.len(),
            bytes: self.stats.bytes,
        })
    }

    /// Adds a job that was admitted.
    fn accept<M: Medium<Payload = P>>(
        &mut self,
        job: &Job,
        now: Moment,
        medium: &mut M,
    ) -> Enqueued {
        if let Some(id) = job.key().and_then(|key| self.keys.job(key)) {
            self.stats.duplicates += 1;
            return Enqueued::Duplicate(id);
        }
        let id = JobId::from_u64(self.counters.next_job);
        self.counters.next_job += 1;
        // A copy, since the key outlives the job and may be a slice of something large.
        let key = job.key().map(|key| Bytes::copy_from_slice(key));
        if let Some(key) = &key {
            self.keys.enter(key.clone(), id);
        }
        self.stats.enqueued += 1;
        self.stats.bytes += size(job);
        let payload = medium.keep(id, job);
        self.jobs.insert(id, Entry::new(payload, key, job));
        match job.start() {
            Start::Now => self.make_ready(id),
            Start::After(delay) => self.wait(id, now.tick.after(delay), None, now),
            Start::At(date) => {
                let due = Until::date(date).to_tick(now);
                self.wait(id, due, Some(date), now);
            }
        }
        let entry = entry::present(&mut self.jobs, id);
        medium.put(&entry.record(id, now));
        Enqueued::New(id)
    }

    /// Takes a valid lease from its job, which is in no state until the caller gives it one.
    fn end_lease(&mut self, lease: LeaseId) -> Result<(), LeaseError> {
        let valid = |entry: &&mut Entry<P>| entry.state.is_leased_as(lease, self.now);
        let Some(entry) = self.jobs.get_mut(&lease.job()).filter(valid) else {
            return Err(self.lost(lease));
        };
        if let State::Leased { timer, .. } = entry.state {
            self.wheel.cancel(timer);
            self.stats.leased -= 1;
        }
        Ok(())
    }

    fn lost(&mut self, lease: LeaseId) -> LeaseError {
        self.stats.lost += 1;
        LeaseError::LeaseLost { lease }
    }

    /// Takes a job out that is in none of `ready`, `wheel` and `dead`.
    fn remove<M: Medium<Payload = P>>(&mut self, id: JobId, now: Moment, medium: &mut M) {
        let Some(entry) = self.jobs.remove(&id) else {
            return;
        };
        self.stats.bytes -= entry.size();
        if let Some(key) = entry.key {
            self.keys.leave(key, id, &self.limits, now, medium);
        }
        medium.forget(id, entry.payload);
    }

    fn make_ready(&mut self, id: JobId) {
        entry::present(&mut self.jobs, id).state = State::Ready;
        self.ready.push_back(id);
        self.news = true;
    }

    /// Lets a job wait, or makes it ready if there is nothing to wait for.
    fn wait(&mut self, id: JobId, due: Tick, date: Option<WallTime>, now: Moment) {
        if due <= now.tick {
            return self.make_ready(id);
        }
        let timer = set(&mut self.wheel, &mut self.news, due, id);
        entry::present(&mut self.jobs, id).state = State::Delayed { due, date, timer };
    }

    fn bury(&mut self, id: JobId, reason: DeadReason) {
        entry::present(&mut self.jobs, id).state = State::Dead(reason);
        self.dead.insert(id);
        self.stats.buried += 1;
    }
}

/// Sets a timer, and notes it as news if it is the next: whoever waits for the one before would come late.
fn set(wheel: &mut Wheel<JobId>, news: &mut bool, deadline: Tick, id: JobId) -> TimerId {
    let deadline = deadline.as_nanos();
    *news |= wheel.next_deadline().is_none_or(|next| deadline < next);
    wheel.insert(deadline, id)
}
