use core::fmt;
use core::time::Duration;
use std::error::Error;

/// Why a handler did not do its job, and what is to become of the job.
///
/// Any error turns into one with `?`, to be tried again with the worker's backoff:
///
/// ```
/// use std::time::Duration;
/// use purlin_work_queue::Failure;
///
/// fn handle(payload: &[u8]) -> Result<u64, Failure> {
///     // Nobody will ever be able to read this, so nobody need try.
///     let text = std::str::from_utf8(payload).map_err(Failure::never)?;
///     Ok(text.parse()?)
/// }
///
/// assert!(handle(b"17").is_ok());
/// assert_eq!(handle(b"x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
///
/// It is no `std::error::Error` itself, since otherwise `?` could not make it from one.
#[derive(Clone, Debug)]
pub struct Failure {
    text: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Backoff,
    RetryAfter(Duration),
    Never,
}

impl Failure {
    /// A failure to be tried again with the worker's backoff. From anything that can be shown; for an error, `?` also
    /// keeps what caused it.
    pub fn new(error: impl fmt::Display) -> Self {
        Failure {
            text: error.to_string(),
            verdict: Verdict::Backoff,
        }
    }

    /// A failure to be tried again after a wait of the handler's choice.
    pub fn retry_after(error: impl fmt::Display, delay: Duration) -> Self {
        Failure {
            text: error.to_string(),
            verdict: Verdict::RetryAfter(delay),
        }
    }

    /// A failure that no other attempt will mend: the job becomes a dead letter.
    pub fn never(error: impl fmt::Display) -> Self {
        Failure {
            text: error.to_string(),
            verdict: Verdict::Never,
        }
    }

    pub(super) fn into_parts(self) -> (String, Verdict) {
        (self.text, self.verdict)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<E: Error> From<E> for Failure {
    /// With the error's causes, each after a colon.
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        // A chain that bites its own tail must not hang a worker.
        for _ in 0..16 {
            let Some(error) = cause else { break };
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Failure::new(text)
    }
}
