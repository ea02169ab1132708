//! What time does to the queue.

use purlin_core::Tick;

use super::Ledger;
use super::entry::{self, State};
use crate::embedded::{Medium, Moment};
use crate::{DeadReason, JobId};

/// Timers that one call fires or moves, and keys that it forgets, at most. It bounds what a call pays for a burst
/// that others caused, to some tens of microseconds; and as an operation sets few timers, of which each moves seven
/// times at worst for an hour in nanoseconds, the backlog of a burst shrinks with every call.
const BUDGET: usize = 1024;

impl<P> Ledger<P> {
    /// Lets the time pass up to `now`, which it returns, or the latest seen before if that is later.
    pub(super) fn pass<M: Medium<Payload = P>>(&mut self, now: Moment, medium: &mut M) -> Moment {
        self.now = self.now.max(now.tick);
        let now = Moment {
            tick: self.now,
            ..now
        };
        let mut due = Vec::new();
        self.wheel
            .advance(now.tick.as_nanos(), BUDGET, |id| due.push(id));
        for id in due {
            self.time_is_up(id, now, medium);
        }
        self.keys.forget_due(now.tick, BUDGET, medium);
        now
    }

    /// Lets the time pass for one job, out of turn.
    pub(super) fn pass_one<M: Medium<Payload = P>>(
        &mut self,
        id: JobId,
        now: Moment,
        medium: &mut M,
    ) {
        let Some(entry) = self.jobs.get(&id) else {
            return;
        };
        let (deadline, timer) = match entry.state {
            State::Delayed { due, timer, .. } => (due, timer),
            State::Leased { until, timer, .. } => (until, timer),
            State::Ready | State::Dead(_) => return,
        };
        if deadline <= now.tick && deadline != Tick::MAX {
            self.wheel.cancel(timer);
            self.time_is_up(id, now, medium);
        }
    }

    /// The wait of a job is over, or its lease has ended. Its timer is gone.
    fn time_is_up<M: Medium<Payload = P>>(&mut self, id: JobId, now: Moment, medium: &mut M) {
        let entry = entry::present(&mut self.jobs, id);
        if let State::Leased { .. } = entry.state {
            let exhausted = entry.attempts >= entry.max_attempts;
            self.stats.leased -= 1;
            self.stats.ended += 1;
            if exhausted {
                self.bury(id, DeadReason::Lost);
            } else {
                self.make_ready(id);
            }
        } else {
            self.make_ready(id);
        }
        medium.put(&entry::present(&mut self.jobs, id).record(id, now));
    }
}
