use alloc::vec::Vec;

use purlin_core::Tick;
use purlin_timer_wheel::{TimerId, Wheel};

use crate::expiry::{Expiry, Life, TICK_BITS};

/// A timer for each entry that has a deadline, so that the dead are found without looking at the others.
///
/// The wheel is coarser than the deadlines, and may come late: an entry's own deadline decides whether it is over.
#[derive(Debug)]
pub(super) struct Timers {
    /// Slots by deadline. None until the first entry that has one.
    wheel: Option<Wheel<u32>>,
    /// Slots whose timers fired in the sweep under way; empty between calls, and kept for its memory.
    due: Vec<u32>,
}

impl Timers {
    pub(super) const fn new() -> Self {
        Timers {
            wheel: None,
            due: Vec::new(),
        }
    }

    /// Sees to it that the wheel names a slot once its entry's life is spent. A timer that it already has is moved.
    pub(super) fn arm(
        &mut self,
        slot: u32,
        life: Life,
        timer: &mut Option<TimerId>,
        expiry: &mut Expiry,
    ) {
        let deadline = life.deadline();
        if deadline == Tick::MAX {
            self.disarm(timer);
            return;
        }
        let latest = expiry.latest();
        let wheel = self
            .wheel
            .get_or_insert_with(|| Wheel::new(wheel_tick(latest)));
        // The tick after, so that what fires is spent.
        let fires_at = wheel_tick(expiry.leaves_at(deadline)) + 1;
        // No sooner than that, and no later than the next tick: timers move down the wheel's levels before they fire.
        expiry.expect(next_wheel_tick(latest));
        match *timer {
            Some(timer) if wheel.reschedule(timer, fires_at) => {}
            Some(_) | None => *timer = Some(wheel.insert(fires_at, slot)),
        }
    }

    /// Forgets the timer of an entry that leaves otherwise.
    pub(super) fn disarm(&mut self, timer: &mut Option<TimerId>) {
        if let (Some(timer), Some(wheel)) = (timer.take(), &mut self.wheel) {
            wheel.cancel(timer);
        }
    }

    /// Lets the wheel do `budget` units of work and returns the slots that it names, and whether it is done; give the
    /// vector back to [`swept`](Self::swept). Their timers are gone.
    pub(super) fn sweep(&mut self, budget: usize, expiry: &mut Expiry) -> (Vec<u32>, bool) {
        let mut due = core::mem::take(&mut self.due);
        let Some(wheel) = &mut self.wheel else {
            return (due, true);
        };
        let latest = expiry.latest();
        let done = wheel
            .advance(wheel_tick(latest), budget, |slot| due.push(slot))
            .caught_up;
        expiry.clear();
        expiry.expect(match (done, wheel.is_empty()) {
            (true, true) => Tick::MAX,
            (true, false) => next_wheel_tick(latest),
            (false, _) => Tick::ZERO,
        });
        (due, done)
    }

    /// Ends a sweep.
    pub(super) fn swept(&mut self, mut due: Vec<u32>) {
        due.clear();
        self.due = due;
    }

    /// Forgets all timers.
    pub(super) fn clear(&mut self) {
        self.wheel = None;
    }

    /// Checks that an entry has a timer exactly if it has a deadline, and that the timer finds it in time.
    #[cfg(test)]
    pub(super) fn check(&self, slot: u32, life: Life, timer: Option<TimerId>, expiry: &Expiry) {
        match (timer, &self.wheel) {
            (None, _) => assert_eq!(life.deadline(), Tick::MAX),
            (Some(timer), Some(wheel)) => {
                assert_ne!(life.deadline(), Tick::MAX);
                assert_eq!(wheel.get(timer), Some(&slot));
                assert!(
                    wheel.deadline(timer)
                        <= Some(wheel_tick(expiry.leaves_at(life.deadline())) + 1)
                );
            }
            (Some(_), None) => panic!("a timer without a wheel"),
        }
    }
}

fn wheel_tick(tick: Tick) -> u64 {
    tick.as_nanos() >> TICK_BITS
}

fn next_wheel_tick(tick: Tick) -> Tick {
    let next = wheel_tick(tick) + 1;
    Tick::from_nanos(next.checked_shl(TICK_BITS).unwrap_or(u64::MAX))
}
