use core::time::Duration;

use purlin_core::Tick;

/// When to extend a lease, and when it is lost: the decisions, without the waiting.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// The lease is valid at least until here, if the store's clock runs no faster than ours: we count from before the
    /// store was asked.
    ends: Tick,
    next: Tick,
    /// How long to leave a store alone that failed to extend.
    pause: Duration,
}

/// Extending a lease that is shorter than this would be all that a worker does, so it is not extended and ends.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

impl Heartbeat {
    /// For a lease that was asked for at `asked` and lasts for `granted`.
    pub(super) fn new(asked: Tick, granted: Duration) -> Self {
        let third = (granted / 3).max(LEAST_PAUSE);
        Heartbeat {
            ends: asked.after(granted),
            // Two more tries fit in if the first fails.
            next: asked.after(third),
            pause: (third / 4).max(LEAST_PAUSE),
        }
    }

    /// When there is something to do next.
    pub(super) fn next(&self) -> Tick {
        self.next.min(self.ends)
    }

    /// When the lease ends unless it is extended.
    pub(super) fn ends(&self) -> Tick {
        self.ends
    }

    pub(super) fn is_over(&self, now: Tick) -> bool {
        now >= self.ends
    }

    /// The store, asked at `asked`, lets the lease last for `left`.
    pub(super) fn extended(&mut self, asked: Tick, left: Duration) {
        *self = Heartbeat::new(asked, left);
    }

    /// The store failed to say.
    pub(super) fn failed(&mut self, now: Tick) {
        self.next = now.after(self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Tick {
        Tick::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn a_lease_is_extended_when_a_third_of_it_has_passed() {
        let mut beat = Heartbeat::new(at(100), Duration::from_secs(30));
        assert_eq!((beat.next(), beat.ends()), (at(110), at(130)));
        beat.extended(at(110), Duration::from_secs(60));
        assert_eq!((beat.next(), beat.ends()), (at(130), at(170)));
    }

    #[test]
    fn a_store_that_fails_is_asked_again_until_the_lease_ends() {
        let mut beat = Heartbeat::new(at(0), Duration::from_secs(12));
        beat.failed(at(4));
        assert_eq!(beat.next(), at(5));
        beat.failed(at(11));
        assert_eq!(beat.next(), at(12));
        beat.failed(at(12));
        assert_eq!(beat.next(), at(12), "never past the end");
        assert!(beat.is_over(at(12)) && !beat.is_over(at(11)));
    }

    #[test]
    fn very_short_and_endless_leases_are_no_trouble() {
        let beat = Heartbeat::new(at(1), Duration::from_nanos(1));
        assert_eq!(
            beat.next(),
            beat.ends(),
            "it ends before it could be extended"
        );
        let beat = Heartbeat::new(at(1), Duration::MAX);
        assert_eq!(beat.ends(), Tick::MAX);
        assert!(!beat.is_over(at(u32::MAX.into())));
    }
}
