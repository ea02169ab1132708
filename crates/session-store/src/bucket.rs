//! How fast something may go on happening.

use core::num::NonZeroU32;
use core::time::Duration;

use purlin_core::Tick;
use purlin_core::sync::atomic::{AtomicU64, Ordering};

/// A token bucket in one number (the generic cell rate algorithm): the tick at which it would be full again.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// What one token takes to come back.
    token_ns: u64,
    /// What all of them take.
    full_ns: u64,
    full_at: AtomicU64,
}

impl Bucket {
    pub(crate) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let token_ns = 1_000_000_000 / u64::from(per_second.get());
        Bucket {
            token_ns,
            full_ns: token_ns.saturating_mul(u64::from(burst.get())),
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes a token, or says in how long there is one.
    pub(crate) fn take(&self, now: Tick) -> Result<(), Duration> {
        let now = now.as_nanos();
        // However the clock steps back, the bucket is empty at worst.
        let last = now.saturating_add(self.full_ns);
        let next = |full_at: u64| {
            let next = full_at.clamp(now, last).saturating_add(self.token_ns);
            (next <= last).then_some(next)
        };
        // Relaxed: the number guards nothing but itself.
        match self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
        {
            Ok(_) => Ok(()),
            Err(full_at) => {
                let next = full_at.clamp(now, last).saturating_add(self.token_ns);
                Err(Duration::from_nanos(next - last))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let bucket = Bucket::new(number(10), number(3));
        let mut now = Tick::from_nanos(5);
        for _ in 0..3 {
            assert_eq!(bucket.take(now), Ok(()));
        }
        assert_eq!(bucket.take(now), Err(Duration::from_millis(100)));
        now = now.after(Duration::from_millis(60));
        assert_eq!(bucket.take(now), Err(Duration::from_millis(40)));
        now = now.after(Duration::from_millis(40));
        assert_eq!(bucket.take(now), Ok(()));
        assert!(bucket.take(now).is_err());
        now = now.after(Duration::from_secs(3600));
        assert_eq!((0..10).filter(|_| bucket.take(now).is_ok()).count(), 3);
    }

    #[test]
    fn a_clock_that_steps_back_costs_a_burst_at_most() {
        let bucket = Bucket::new(number(10), number(3));
        assert_eq!(bucket.take(Tick::from_nanos(u64::MAX / 2)), Ok(()));
        let back = Tick::ZERO;
        assert_eq!(bucket.take(back), Err(Duration::from_millis(100)));
        assert_eq!(
            bucket.take(back.after(Duration::from_millis(100))),
            Err(Duration::from_millis(100))
        );
    }

    #[test]
    fn it_takes_little_room_and_the_extremes_have_answers() {
        assert!(size_of::<Bucket>() <= 512);
        let bucket = Bucket::new(NonZeroU32::MAX, NonZeroU32::MAX);
        assert_eq!(bucket.take(Tick::MAX), Ok(()));
        let bucket = Bucket::new(number(1), number(1));
        assert_eq!(bucket.take(Tick::ZERO), Ok(()));
        assert_eq!(bucket.take(Tick::ZERO), Err(Duration::from_secs(1)));
    }
}
