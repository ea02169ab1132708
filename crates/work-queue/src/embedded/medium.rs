use core::time::Duration;

use bytes::Bytes;
use purlin_core::{Tick, WallTime};

use super::Moment;
use crate::{DeadReason, Job, JobId};

/// Where a [`Ledger`](super::Ledger) keeps payloads, and what it tells of every change.
///
/// The calls of one operation are one step: a durable medium writes them in one transaction. None of them returns an
/// error. A medium that fails keeps its first error and answers with anything; its store then throws the
/// transaction, the ledger and the answers away, and is opened again.
///
/// The calls are made under the store's lock, so nothing of the user's may run in them, the drop of a payload
/// included: hence `forget` is given the payload rather than dropping it.
pub trait Medium {
    /// What the ledger holds in place of a payload: the payload itself, or nothing, if it can be found by the id.
    type Payload;

    /// Takes in the payload of a job that was accepted as `id`.
    fn keep(&mut self, id: JobId, job: &Job) -> Self::Payload;

    /// The payload of a job that is to be handed out or shown.
    fn payload(&mut self, id: JobId, payload: &Self::Payload) -> Bytes;

    /// A job is new, or has changed to this.
    fn put(&mut self, record: &JobRecord<'_>);

    /// A job has left the queue.
    fn forget(&mut self, id: JobId, payload: Self::Payload);

    /// The key of a job that has left is to be remembered until a time.
    fn put_key(&mut self, key: &Bytes, job: JobId, until: Until);

    /// The key of a job that has left is to be forgotten.
    fn forget_key(&mut self, key: &Bytes);
}

/// All there is to know of a job but its payload: what a durable medium writes, and reads when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRecord<'a> {
    /// The job.
    pub id: JobId,
    /// Bytes of the payload.
    pub payload_bytes: usize,
    /// Its idempotency key.
    pub key: Option<&'a [u8]>,
    /// How often it was handed out.
    pub attempts: u32,
    /// How often it may be.
    pub max_attempts: u32,
    /// What went wrong last.
    pub error: Option<&'a str>,
    /// Where it is.
    pub phase: Phase<'a>,
}

/// Where a job is, in a [`JobRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete by the rules of the queue; a medium must write each of them"
)]
pub enum Phase<'a> {
    /// The next worker that asks may have it.
    Ready,
    /// It waits.
    Delayed(Until),
    /// A worker has it.
    Leased {
        /// The lease's fencing number.
        fence: u64,
        /// The worker's name.
        worker: &'a str,
        /// The lease's end.
        until: Until,
    },
    /// It is a dead letter.
    Dead(DeadReason),
}

/// A time to come, in a form that outlives the process.
///
/// Inside a process time is measured by a clock that does not step. The next process has only the wall clock to
/// tell how much of a wait is over, and that may have been set meanwhile. So the wait is kept with the date: set
/// forward, the wait ends early; set back, it starts over, but it never becomes longer than it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    /// The date, rounded up to the millisecond.
    pub date: WallTime,
    /// What was left when this was written. `Duration::MAX` for a job that was enqueued for a date: there the date
    /// is what counts, however long that takes.
    pub at_most: Duration,
}

impl Until {
    /// `tick`, seen from `now`.
    pub(crate) fn tick(tick: Tick, now: Moment) -> Self {
        if tick == Tick::MAX {
            return Until {
                date: WallTime::MAX,
                at_most: Duration::MAX,
            };
        }
        let left = tick.since(now.tick);
        let round_up = Duration::from_nanos(999_999);
        Until {
            date: now.wall.after(left.saturating_add(round_up)),
            at_most: left,
        }
    }

    /// A date that is waited for however long it takes.
    pub(crate) fn date(date: WallTime) -> Self {
        Until {
            date,
            at_most: Duration::MAX,
        }
    }

    /// The tick it stands for in a process that begins `now`.
    pub(crate) fn to_tick(self, now: Moment) -> Tick {
        if self.date == WallTime::MAX {
            return Tick::MAX;
        }
        now.tick.after(self.date.since(now.wall).min(self.at_most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tick_ms: u64, wall_ms: u64) -> Moment {
        Moment {
            tick: Tick::from_nanos(tick_ms * 1_000_000),
            wall: WallTime::from_unix_millis(wall_ms),
        }
    }

    #[test]
    fn a_wait_goes_on_in_the_next_process_where_it_stood() {
        let until = Until::tick(Tick::from_nanos(90_000_000), at(50, 1_000));
        assert_eq!(
            until.to_tick(at(0, 1_015)),
            Tick::from_nanos(25_999_999).min(at(25, 0).tick)
        );
    }

    #[test]
    fn a_wall_clock_set_back_makes_no_wait_longer_than_it_was() {
        let until = Until::tick(at(90, 0).tick, at(50, 1_000));
        assert_eq!(until.to_tick(at(0, 0)), at(40, 0).tick);
    }

    #[test]
    fn a_wall_clock_set_forward_ends_a_wait() {
        let until = Until::tick(at(90, 0).tick, at(50, 1_000));
        assert_eq!(until.to_tick(at(7, 999_999)), at(7, 0).tick);
    }

    #[test]
    fn a_date_is_waited_for_however_far_the_clock_is_set_back() {
        let until = Until::date(WallTime::from_unix_millis(5_000));
        assert_eq!(until.to_tick(at(0, 0)), at(5_000, 0).tick);
    }

    #[test]
    fn never_stays_never() {
        let until = Until::tick(Tick::MAX, at(50, 1_000));
        assert_eq!(until.to_tick(at(0, 0)), Tick::MAX);
        assert_eq!(Until::date(WallTime::MAX).to_tick(at(0, 0)), Tick::MAX);
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_rounded_up_so_that_nothing_starts_early() {
        let now = at(0, 1_000);
        let until = Until::tick(Tick::from_nanos(1), now);
        assert_eq!(until.date, WallTime::from_unix_millis(1_001));
        assert_eq!(until.to_tick(now), Tick::from_nanos(1));
    }
}
