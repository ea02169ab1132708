use core::time::Duration;

use crate::Rng;

/// Waits between tries that double up to a cap, with jitter.
///
/// The wait before try `n` is drawn evenly from zero to `min(cap, base × 2ⁿ)`: the "full jitter" of Brooker,
/// "Exponential Backoff And Jitter" (2015), which spreads a crowd of clients that failed together over the
/// whole interval, so that they do not come back together.
///
/// ```
/// use core::time::Duration;
/// use purlin_core::{Backoff, Rng};
///
/// let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
/// let mut rng = Rng::from_seed(1);
/// assert!(backoff.delay(0, &mut rng) <= Duration::from_millis(10));
/// assert!(backoff.delay(3, &mut rng) <= Duration::from_millis(80));
/// assert_eq!(backoff.ceiling(60), Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    jitter: bool,
}

impl Backoff {
    /// Doubling waits from `base` up to `cap`, with full jitter. A cap below the base lowers the base.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Backoff {
            base,
            cap,
            jitter: true,
        }
    }

    /// The same waits without chance: each is its ceiling. For a lone client, or where something else
    /// already spreads the tries.
    #[must_use]
    pub const fn without_jitter(self) -> Self {
        Backoff {
            jitter: false,
            ..self
        }
    }

    /// The wait before try number `attempt`, counted from 0 for the first retry.
    pub fn delay(&self, attempt: u32, rng: &mut Rng) -> Duration {
        let ceiling = self.ceiling(attempt);
        if !self.jitter {
            return ceiling;
        }
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(rng.below(nanos.saturating_add(1)))
    }

    /// The longest wait before try number `attempt`: `min(cap, base × 2^attempt)`, without overflow.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let factor = 1u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }
}

impl Default for Backoff {
    /// From 50 ms to 30 s.
    fn default() -> Self {
        Backoff::new(Duration::from_millis(50), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_cap_for_every_attempt() {
        let backoff = Backoff::new(Duration::from_millis(3), Duration::from_secs(60));
        let mut before = Duration::ZERO;
        for attempt in 0..200 {
            let ceiling = backoff.ceiling(attempt);
            let doubled = if attempt == 0 {
                Duration::from_millis(3)
            } else {
                before * 2
            };
            assert_eq!(
                ceiling,
                doubled.min(Duration::from_secs(60)),
                "attempt {attempt}"
            );
            before = ceiling;
        }
    }

    #[test]
    fn jitter_covers_the_interval_and_stays_inside_it() {
        let backoff = Backoff::new(Duration::from_nanos(3), Duration::from_nanos(3));
        let mut rng = Rng::from_seed(9);
        let mut seen = [0; 4];
        for _ in 0..200 {
            seen[backoff.delay(0, &mut rng).as_nanos() as usize] += 1;
        }
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    }

    #[test]
    fn the_extremes_have_answers() {
        let mut rng = Rng::from_seed(9);
        assert_eq!(
            Backoff::new(Duration::ZERO, Duration::ZERO).delay(5, &mut rng),
            Duration::ZERO
        );
        let endless = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!(
            endless.without_jitter().delay(u32::MAX, &mut rng),
            Duration::MAX
        );
        endless.delay(u32::MAX, &mut rng);
    }
}
