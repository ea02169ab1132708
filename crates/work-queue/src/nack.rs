use core::time::Duration;
use std::sync::Arc;

use purlin_core::{Backoff, Rng};

use crate::text::cut;

/// What a worker says about an attempt that did not work out: when to try again, if at all, and what went wrong.
///
/// ```
/// use std::time::Duration;
/// use purlin_work_queue::{Backoff, Nack, Rng};
///
/// let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// let mut rng = Rng::from_seed(1);
///
/// // After the third attempt the wait is drawn from zero to four seconds.
/// let nack = Nack::backoff(&backoff, 3, &mut rng).with_error("the mail server is down");
/// assert_eq!(nack.error(), Some("the mail server is down"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a nack does nothing until it is given to a store"]
pub struct Nack {
    next: Next,
    error: Option<Arc<str>>,
}

/// What is to become of a job that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the attempt counts and another follows, or none, or it does not count; stores match on it"
)]
pub enum Next {
    /// Another attempt after a wait, if the job has one left; otherwise it becomes a dead letter.
    RetryAfter(Duration),
    /// No other attempt: it becomes a dead letter now.
    DeadLetter,
    /// Another attempt at once, and this one is not counted.
    Release,
}

impl Nack {
    /// Try again after a wait. Zero is at once, `Duration::MAX` is never.
    pub fn retry_after(delay: Duration) -> Self {
        Nack::new(Next::RetryAfter(delay))
    }

    /// Try again after the wait that `backoff` gives for attempt number `attempt`, counted from 1 as
    /// [`Leased::attempt`](crate::Leased::attempt) counts.
    pub fn backoff(backoff: &Backoff, attempt: u32, rng: &mut Rng) -> Self {
        Nack::retry_after(backoff.delay(attempt.saturating_sub(1), rng))
    }

    /// The job can never be done: make it a dead letter, whatever attempts it has left.
    pub fn dead_letter() -> Self {
        Nack::new(Next::DeadLetter)
    }

    /// The job was not touched: hand it to somebody else, and do not count this attempt. For a worker that
    /// stops before it has begun.
    pub fn release() -> Self {
        Nack::new(Next::Release)
    }

    fn new(next: Next) -> Self {
        Nack { next, error: None }
    }

    /// Adds what went wrong, for the dead letter. Cut to [`MAX_ERROR_BYTES`](crate::MAX_ERROR_BYTES).
    pub fn with_error(self, error: impl AsRef<str>) -> Self {
        Nack {
            error: Some(cut(error.as_ref(), crate::MAX_ERROR_BYTES).into()),
            ..self
        }
    }

    /// What is to become of the job.
    pub fn next(&self) -> Next {
        self.next
    }

    /// What went wrong.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(crate) fn into_parts(self) -> (Next, Option<Arc<str>>) {
        (self.next, self.error)
    }
}

/// What became of a job that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Nacked {
    /// It waits for another attempt.
    Again,
    /// It was the last attempt, or the worker wanted no other: the job is a dead letter.
    Dead,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_counts_attempts_from_one() {
        let backoff =
            Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).without_jitter();
        let mut rng = Rng::from_seed(0);
        let wait = |attempt, rng: &mut Rng| Nack::backoff(&backoff, attempt, rng).next();
        assert_eq!(wait(1, &mut rng), Next::RetryAfter(Duration::from_secs(1)));
        assert_eq!(wait(3, &mut rng), Next::RetryAfter(Duration::from_secs(4)));
        assert_eq!(
            wait(u32::MAX, &mut rng),
            Next::RetryAfter(Duration::from_secs(60))
        );
        // An attempt of 0 does not exist, and is no reason to panic.
        assert_eq!(wait(0, &mut rng), Next::RetryAfter(Duration::from_secs(1)));
    }

    #[test]
    fn a_long_error_is_cut() {
        let nack = Nack::dead_letter().with_error("x".repeat(10_000));
        assert_eq!(nack.error().map(str::len), Some(crate::MAX_ERROR_BYTES));
    }
}
