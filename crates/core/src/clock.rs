//! Where time comes from.
//!
//! Every structure that knows time takes a [`Clock`] as its last type parameter, so a test can turn time by
//! hand and a simulation can own it. This module is the only place that asks the operating system.

#[cfg(feature = "std")]
mod manual;
#[cfg(feature = "std")]
mod system;
#[cfg(feature = "std")]
mod timer;

use core::fmt;
use core::time::Duration;

#[cfg(feature = "std")]
pub use manual::{ManualClock, ManualSleep};
#[cfg(feature = "std")]
pub use system::SystemClock;
#[cfg(feature = "std")]
pub use timer::Timer;

/// A source of time: a monotonic tick for durations, and wall time for dates.
///
/// 1. `now` does not go back between two calls on one thread, as far as the implementor can help it.
/// 2. Ticks of two different clocks are not comparable; clones of one clock are the same clock.
/// 3. `wall` may jump either way, at any time. Nothing that must not go wrong depends on it alone.
///
/// Structures of this workspace survive a clock that breaks the first promise: a tick that steps back makes
/// things last longer, it never brings anything back to life and never panics.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use core::time::Duration;
/// use purlin_core::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let start = clock.now();
/// clock.advance(Duration::from_secs(3));
/// assert_eq!(clock.now().since(start), Duration::from_secs(3));
/// # }
/// ```
pub trait Clock {
    /// The present tick. The cost is that of the operating system's monotonic clock: tens of nanoseconds.
    fn now(&self) -> Tick;

    /// The present wall time.
    fn wall(&self) -> WallTime;

    /// A tick that may lag behind [`now`](Clock::now) by the clock's own granularity, for paths on which
    /// reading the exact time would cost more than the work itself. It is never ahead of `now`.
    fn coarse(&self) -> Tick {
        self.now()
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Tick {
        (**self).now()
    }
    fn wall(&self) -> WallTime {
        (**self).wall()
    }
    fn coarse(&self) -> Tick {
        (**self).coarse()
    }
}

impl<C: Clock + ?Sized> Clock for alloc::sync::Arc<C> {
    fn now(&self) -> Tick {
        (**self).now()
    }
    fn wall(&self) -> WallTime {
        (**self).wall()
    }
    fn coarse(&self) -> Tick {
        (**self).coarse()
    }
}

/// A point in a clock's monotonic time, in nanoseconds since the clock's own beginning.
///
/// Arithmetic saturates: [`Tick::MAX`] is "never", and adding anything to it is never too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Tick(u64);

impl Tick {
    /// The clock's beginning.
    pub const ZERO: Tick = Tick(0);
    /// Never.
    pub const MAX: Tick = Tick(u64::MAX);

    /// The tick `nanos` nanoseconds after the clock's beginning.
    pub const fn from_nanos(nanos: u64) -> Self {
        Tick(nanos)
    }

    /// Nanoseconds since the clock's beginning.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The tick `duration` later, or [`Tick::MAX`] where that would not fit.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        Tick(self.0.saturating_add(saturating_nanos(duration)))
    }

    /// The tick `duration` earlier, or [`Tick::ZERO`] where that would lie before the clock's beginning.
    #[must_use]
    pub const fn before(self, duration: Duration) -> Self {
        Tick(self.0.saturating_sub(saturating_nanos(duration)))
    }

    /// How long ago `earlier` was, seen from `self`; zero if it is still to come.
    pub const fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Nanoseconds of a duration, or `u64::MAX` (584 years) for anything longer.
const fn saturating_nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 {
        u64::MAX
    } else {
        nanos as u64
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// A date and time of day, in milliseconds since the Unix epoch. Times before 1970 do not exist here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct WallTime(u64);

impl WallTime {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: WallTime = WallTime(0);
    /// A time that never comes.
    pub const MAX: WallTime = WallTime(u64::MAX);

    /// The time `millis` milliseconds after the Unix epoch.
    pub const fn from_unix_millis(millis: u64) -> Self {
        WallTime(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_unix_millis(self) -> u64 {
        self.0
    }

    /// The time `duration` later (cut to whole milliseconds), or [`WallTime::MAX`] where that would not fit.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        let millis = duration.as_millis();
        let millis = if millis > u64::MAX as u128 {
            u64::MAX
        } else {
            millis as u64
        };
        WallTime(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was, seen from `self`; zero if it is still to come.
    pub const fn since(self, earlier: WallTime) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(feature = "std")]
impl From<std::time::SystemTime> for WallTime {
    /// Times before the epoch become the epoch.
    fn from(time: std::time::SystemTime) -> Self {
        let since = time
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        WallTime::UNIX_EPOCH.after(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_saturate_at_both_ends() {
        assert_eq!(Tick::ZERO.after(Duration::MAX), Tick::MAX);
        assert_eq!(Tick::MAX.after(Duration::from_nanos(1)), Tick::MAX);
        assert_eq!(
            Tick::from_nanos(5).before(Duration::from_nanos(6)),
            Tick::ZERO
        );
        assert_eq!(Tick::ZERO.since(Tick::MAX), Duration::ZERO);
        assert_eq!(
            Tick::from_nanos(7).since(Tick::from_nanos(3)),
            Duration::from_nanos(4)
        );
    }

    #[test]
    fn wall_times_saturate_at_both_ends() {
        assert_eq!(WallTime::UNIX_EPOCH.after(Duration::MAX), WallTime::MAX);
        assert_eq!(WallTime::UNIX_EPOCH.since(WallTime::MAX), Duration::ZERO);
    }

    #[cfg(feature = "std")]
    #[test]
    fn a_system_time_before_the_epoch_becomes_the_epoch() {
        let past = std::time::UNIX_EPOCH - Duration::from_secs(10);
        assert_eq!(WallTime::from(past), WallTime::UNIX_EPOCH);
    }
}
