use core::time::Duration;
use std::time::{Instant, SystemTime};

use super::{Clock, Tick, WallTime};

/// The operating system's clocks. Its ticks count from the moment it was made, so two separately made
/// `SystemClock`s disagree on what a tick means; copies of one agree.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose first tick is now.
    pub fn new() -> Self {
        SystemClock {
            start: Instant::now(),
        }
    }

    /// The instant a tick of this clock stands for, or `None` where the platform cannot represent it.
    pub fn instant(&self, tick: Tick) -> Option<Instant> {
        self.start
            .checked_add(Duration::from_nanos(tick.as_nanos()))
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Tick {
        Tick::ZERO.after(self.start.elapsed())
    }

    fn wall(&self) -> WallTime {
        SystemTime::now().into()
    }
}
