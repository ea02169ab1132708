use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use super::{Clock, Tick, Timer, WallTime};

// The standard library's lock even under a model checker: the clock is part of the test, not of what is
// tested.
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A clock that moves only when told to. Clones share one time.
///
/// ```
/// use core::time::Duration;
/// use purlin_core::{Clock, ManualClock, Tick};
///
/// let clock = ManualClock::new();
/// let same = clock.clone();
/// clock.advance(Duration::from_millis(5));
/// assert_eq!(same.now(), Tick::from_nanos(5_000_000));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    now: Tick,
    wall: WallTime,
    next_sleeper: u64,
    /// Unordered: a test has a handful of sleepers, and a scan is easier to trust than a heap with removal.
    sleepers: Vec<Sleeper>,
}

#[derive(Debug)]
struct Sleeper {
    id: u64,
    deadline: Tick,
    waker: Waker,
}

impl ManualClock {
    /// A clock at tick zero and at the Unix epoch.
    pub fn new() -> Self {
        ManualClock::default()
    }

    /// A clock at tick zero whose wall time is `wall`.
    pub fn at_wall(wall: WallTime) -> Self {
        let clock = ManualClock::new();
        clock.set_wall(wall);
        clock
    }

    /// Moves tick and wall time forward and wakes whoever slept until a tick now reached.
    pub fn advance(&self, by: Duration) {
        let target = {
            let mut state = self.state();
            state.wall = state.wall.after(by);
            state.now.after(by)
        };
        self.jump_to(target);
    }

    /// Sets the tick, backwards too, for tests of what happens when a clock breaks its promise. Wall time
    /// stays. Wakes whoever slept until a tick now reached.
    pub fn jump_to(&self, tick: Tick) {
        let due: Vec<Waker> = {
            let mut state = self.state();
            state.now = tick;
            state.sleepers.extract_if_due(tick)
        };
        // Outside the lock: a waker may run its task at once, and the task may ask for the time.
        due.into_iter().for_each(Waker::wake);
    }

    /// Moves to the earliest tick somebody sleeps until. Returns false, and does nothing, if nobody sleeps.
    pub fn advance_to_next_sleeper(&self) -> bool {
        let Some(next) = self.next_deadline() else {
            return false;
        };
        let now = self.now();
        self.advance(next.since(now));
        true
    }

    /// Sets the wall time and leaves the tick alone.
    pub fn set_wall(&self, wall: WallTime) {
        self.state().wall = wall;
    }

    /// How many sleeps are waiting. A test waits for this in place of sleeping itself.
    pub fn sleepers(&self) -> usize {
        self.state().sleepers.len()
    }

    /// The earliest tick somebody sleeps until.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.state()
            .sleepers
            .iter()
            .map(|sleeper| sleeper.deadline)
            .min()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing of the user's runs under this lock, so a poisoned state is still whole.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

trait ExtractDue {
    fn extract_if_due(&mut self, now: Tick) -> Vec<Waker>;
}

impl ExtractDue for Vec<Sleeper> {
    fn extract_if_due(&mut self, now: Tick) -> Vec<Waker> {
        let (due, waiting) = core::mem::take(self)
            .into_iter()
            .partition(|sleeper| sleeper.deadline <= now);
        *self = waiting;
        let due: Vec<Sleeper> = due;
        due.into_iter().map(|sleeper| sleeper.waker).collect()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Tick {
        self.state().now
    }

    fn wall(&self) -> WallTime {
        self.state().wall
    }
}

impl Timer for ManualClock {
    type Sleep = ManualSleep;

    fn sleep_until(&self, deadline: Tick) -> ManualSleep {
        ManualSleep {
            clock: self.clone(),
            deadline,
            id: None,
        }
    }
}

/// A sleep on a [`ManualClock`].
#[derive(Debug)]
#[must_use = "a sleep does nothing unless awaited"]
pub struct ManualSleep {
    clock: ManualClock,
    deadline: Tick,
    /// Our entry in the clock's list, once polled.
    id: Option<u64>,
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = this.clock.state();
        if let Some(id) = this.id.take() {
            state.sleepers.retain(|sleeper| sleeper.id != id);
        }
        if state.now >= this.deadline && this.deadline != Tick::MAX {
            return Poll::Ready(());
        }
        let id = state.next_sleeper;
        state.next_sleeper += 1;
        state.sleepers.push(Sleeper {
            id,
            deadline: this.deadline,
            waker: cx.waker().clone(),
        });
        this.id = Some(id);
        Poll::Pending
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.clock
                .state()
                .sleepers
                .retain(|sleeper| sleeper.id != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;

    use super::*;

    fn poll(sleep: Pin<&mut ManualSleep>) -> Poll<()> {
        sleep.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_sleep_completes_when_its_tick_is_reached_and_not_before() {
        let clock = ManualClock::new();
        let mut sleep = pin!(clock.sleep_until(Tick::from_nanos(10)));
        assert_eq!(poll(sleep.as_mut()), Poll::Pending);
        assert_eq!(clock.next_deadline(), Some(Tick::from_nanos(10)));
        clock.advance(Duration::from_nanos(9));
        assert_eq!(poll(sleep.as_mut()), Poll::Pending);
        assert_eq!(
            clock.sleepers(),
            1,
            "a second poll replaces the first one's entry"
        );
        clock.advance(Duration::from_nanos(1));
        assert_eq!(clock.sleepers(), 0);
        assert_eq!(poll(sleep.as_mut()), Poll::Ready(()));
    }

    #[test]
    fn a_dropped_sleep_leaves_nothing_behind() {
        let clock = ManualClock::new();
        {
            let mut sleep = pin!(clock.sleep_until(Tick::from_nanos(10)));
            assert_eq!(poll(sleep.as_mut()), Poll::Pending);
        }
        assert_eq!(clock.sleepers(), 0);
        assert!(!clock.advance_to_next_sleeper());
    }

    #[test]
    fn never_is_never() {
        let clock = ManualClock::new();
        let mut sleep = pin!(clock.sleep_until(Tick::MAX));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Tick::MAX);
        assert_eq!(poll(sleep.as_mut()), Poll::Pending);
    }

    #[test]
    fn the_tick_can_be_made_to_step_back_and_wall_time_stays() {
        let clock = ManualClock::at_wall(WallTime::from_unix_millis(1_000));
        clock.advance(Duration::from_secs(1));
        clock.jump_to(Tick::ZERO);
        assert_eq!(clock.now(), Tick::ZERO);
        assert_eq!(clock.wall(), WallTime::from_unix_millis(2_000));
    }
}
