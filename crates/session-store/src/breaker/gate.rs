//! Who is let through: the state machine, without a store and without waiting.

use core::time::Duration;

use purlin_core::Tick;
use purlin_core::sync::Mutex;
use purlin_core::sync::atomic::{AtomicU64, Ordering};

use super::BreakerStats;

pub(super) struct Gate {
    /// Twice the state's epoch, and one more if there is anything in the state that a call must look at; there is
    /// nothing while the store answers. Written under the lock.
    glance: AtomicU64,
    state: Mutex<State>,
    /// Failures in a row that open.
    limit: u32,
    first_pause: Duration,
    longest_pause: Duration,
}

struct State {
    phase: Phase,
    /// Grows with each change of phase. The outcome of a call from before a change says nothing about now.
    epoch: u64,
    opened: u64,
    refused: u64,
}

enum Phase {
    Closed {
        failures: u32,
    },
    Open {
        until: Tick,
        pause: Duration,
    },
    /// A probe is under way.
    HalfOpen {
        /// If it has not come back by then, another one goes: its future may never be polled again.
        until: Tick,
        pause: Duration,
    },
}

/// A call that was let through.
#[derive(Debug)]
pub(super) struct Pass {
    epoch: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Answered,
    Failed,
    /// The call was given up.
    Unknown,
}

impl Gate {
    pub(super) fn new() -> Self {
        Gate {
            glance: AtomicU64::new(0),
            state: Mutex::new(State {
                phase: Phase::Closed { failures: 0 },
                epoch: 0,
                opened: 0,
                refused: 0,
            }),
            limit: 5,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
        }
    }

    pub(super) fn set_limit(&mut self, failures: u32) {
        self.limit = failures;
    }

    pub(super) fn set_pauses(&mut self, first: Duration, longest: Duration) {
        self.first_pause = first;
        self.longest_pause = longest;
    }

    /// Lets a call through, or says how long to wait.
    pub(super) fn admit(&self, now: impl FnOnce() -> Tick) -> Result<Pass, Duration> {
        // Relaxed: a call that misses a change goes to the store, as one a moment earlier would have.
        let glance = self.glance.load(Ordering::Relaxed);
        if glance % 2 == 0 {
            return Ok(Pass { epoch: glance / 2 });
        }
        // Asked before the lock is taken: a clock may be anybody's code.
        let now = now();
        let mut state = self.state.lock();
        let epoch = state.epoch;
        let (until, pause) = match &mut state.phase {
            Phase::Closed { .. } => return Ok(Pass { epoch }),
            Phase::Open { until, pause } => {
                // A clock that steps back would prolong the pause by as much.
                *until = (*until).min(now.after(*pause));
                (*until, *pause)
            }
            Phase::HalfOpen { until, pause } => {
                *until = (*until).min(now.after(patience(*pause)));
                (*until, *pause)
            }
        };
        if now < until {
            state.refused += 1;
            return Err(until.since(now));
        }
        state.enter(Phase::HalfOpen {
            until: now.after(patience(pause)),
            pause,
        });
        let epoch = state.epoch;
        self.show(&state);
        Ok(Pass { epoch })
    }

    pub(super) fn settle(&self, pass: Pass, verdict: Verdict, now: impl FnOnce() -> Tick) {
        let calm = pass.epoch.wrapping_mul(2);
        if verdict != Verdict::Failed && self.glance.load(Ordering::Relaxed) == calm {
            return;
        }
        let now = now();
        let mut state = self.state.lock();
        if pass.epoch != state.epoch {
            return;
        }
        match (&mut state.phase, verdict) {
            (Phase::Closed { failures }, Verdict::Failed) => {
                *failures += 1;
                if *failures >= self.limit {
                    state.open(now, self.first_pause);
                }
            }
            (Phase::Closed { failures }, Verdict::Answered) => *failures = 0,
            (Phase::HalfOpen { .. }, Verdict::Answered) => {
                state.enter(Phase::Closed { failures: 0 });
            }
            (Phase::HalfOpen { pause, .. }, Verdict::Failed) => {
                let pause = pause.saturating_mul(2).min(self.longest_pause);
                state.open(now, pause);
            }
            (Phase::HalfOpen { pause, .. }, Verdict::Unknown) => {
                let pause = *pause;
                state.enter(Phase::Open { until: now, pause });
            }
            (Phase::Closed { .. }, Verdict::Unknown) | (Phase::Open { .. }, _) => {}
        }
        self.show(&state);
    }

    /// Makes the glance agree with the state.
    fn show(&self, state: &State) {
        let troubled = !matches!(state.phase, Phase::Closed { failures: 0 });
        let glance = state.epoch.wrapping_mul(2) + u64::from(troubled);
        self.glance.store(glance, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> BreakerStats {
        let state = self.state.lock();
        BreakerStats {
            is_open: !matches!(state.phase, Phase::Closed { .. }),
            opened: state.opened,
            refused: state.refused,
        }
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }

    fn open(&mut self, now: Tick, pause: Duration) {
        self.opened += 1;
        self.enter(Phase::Open {
            until: now.after(pause),
            pause,
        });
    }
}

/// How long a probe may take before another one goes.
fn patience(pause: Duration) -> Duration {
    pause.max(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> impl Fn() -> Tick + Copy {
        move || Tick::ZERO.after(Duration::from_secs(secs))
    }

    fn opened() -> Gate {
        let gate = Gate::new();
        for _ in 0..5 {
            let pass = gate.admit(at(0)).expect("closed");
            gate.settle(pass, Verdict::Failed, at(0));
        }
        gate
    }

    #[test]
    fn failures_must_be_in_a_row() {
        let gate = Gate::new();
        for verdict in [Verdict::Failed, Verdict::Answered, Verdict::Unknown].repeat(9) {
            let pass = gate.admit(at(0)).expect("never five in a row");
            gate.settle(pass, verdict, at(0));
        }
        assert_eq!(gate.stats().opened, 0);
    }

    /// Calls that the store fails long after they began must not open it anew, nor prolong a pause.
    #[test]
    fn late_outcomes_of_before_count_for_nothing() {
        let gate = Gate::new();
        let mut late: Vec<Pass> = (0..20).map(|_| gate.admit(at(0)).unwrap()).collect();
        for _ in 0..5 {
            gate.settle(late.pop().unwrap(), Verdict::Failed, at(0));
        }
        assert_eq!(gate.admit(at(0)).err(), Some(Duration::from_secs(1)));
        gate.settle(late.pop().unwrap(), Verdict::Answered, at(0));
        gate.settle(late.pop().unwrap(), Verdict::Failed, at(0));
        assert_eq!(gate.admit(at(0)).err(), Some(Duration::from_secs(1)));
        assert_eq!(gate.stats().opened, 1);
    }

    #[test]
    fn one_probe_at_a_time_and_another_if_it_does_not_come_back() {
        let gate = opened();
        let lost = gate.admit(at(1)).expect("a probe");
        assert_eq!(gate.admit(at(2)).err(), Some(Duration::from_secs(4)));
        let probe = gate.admit(at(6)).expect("the first one is overdue");
        gate.settle(lost, Verdict::Failed, at(6));
        assert!(gate.admit(at(6)).is_err());
        gate.settle(probe, Verdict::Answered, at(6));
        assert!(!gate.stats().is_open);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let gate = opened();
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(gate.admit(at(now)).err(), Some(Duration::from_secs(pause)));
            now += pause;
            let probe = gate.admit(at(now)).expect("a probe is due");
            gate.settle(probe, Verdict::Failed, at(now));
        }
    }

    #[test]
    fn a_clock_that_steps_back_prolongs_a_pause_by_no_more_than_the_pause() {
        let gate = Gate::new();
        for _ in 0..5 {
            let pass = gate.admit(at(1_000)).unwrap();
            gate.settle(pass, Verdict::Failed, at(1_000));
        }
        assert_eq!(gate.admit(at(10)).err(), Some(Duration::from_secs(1)));
        assert!(gate.admit(at(11)).is_ok());
    }

    #[test]
    fn endless_and_empty_pauses_have_answers() {
        let mut gate = opened();
        gate.set_pauses(Duration::MAX, Duration::MAX);
        let probe = gate.admit(at(1)).unwrap();
        gate.settle(probe, Verdict::Unknown, at(1));
        assert!(
            gate.admit(at(1)).is_ok(),
            "a probe given up is followed at once"
        );

        let mut gate = Gate::new();
        gate.set_limit(1);
        gate.set_pauses(Duration::ZERO, Duration::ZERO);
        let pass = gate.admit(at(0)).unwrap();
        gate.settle(pass, Verdict::Failed, at(0));
        assert!(gate.admit(at(0)).is_ok());
    }
}
