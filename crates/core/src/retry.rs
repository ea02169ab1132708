use core::time::Duration;

/// What a caller may do about an error. Every public error of the workspace answers with one.
///
/// ```
/// use core::time::Duration;
/// use purlin_core::Retry;
///
/// let advice = Retry::if_idempotent_after(Duration::from_millis(20));
/// assert_eq!(advice.delay(true), Some(Duration::from_millis(20)));
/// assert_eq!(advice.delay(false), None); // The call may have had its effect already.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Whether the call may be repeated.
    pub safety: Safety,
    /// How long to wait first, at least.
    pub after: Duration,
}

/// Whether a failed call may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the call had its effect, had none, or nobody knows"
)]
pub enum Safety {
    /// Repeating cannot help, or would do harm.
    Never,
    /// The call had no effect, so repeating it is harmless.
    Safe,
    /// The call may or may not have had its effect: repeat it only if doing it twice is doing it once.
    IfIdempotent,
}

impl Retry {
    /// Do not try again.
    pub const NEVER: Retry = Retry {
        safety: Safety::Never,
        after: Duration::ZERO,
    };
    /// The call had no effect; try again at once.
    pub const NOW: Retry = Retry::safe_after(Duration::ZERO);

    /// The call had no effect; try again after a wait.
    pub const fn safe_after(after: Duration) -> Self {
        Retry {
            safety: Safety::Safe,
            after,
        }
    }

    /// Nobody knows whether the call had its effect; try again after a wait if doing it twice is doing it once.
    pub const fn if_idempotent_after(after: Duration) -> Self {
        Retry {
            safety: Safety::IfIdempotent,
            after,
        }
    }

    /// How long to wait before the next try, or `None` for no next try, given whether the caller's operation
    /// is idempotent.
    pub const fn delay(&self, idempotent: bool) -> Option<Duration> {
        match self.safety {
            Safety::Safe => Some(self.after),
            Safety::IfIdempotent if idempotent => Some(self.after),
            Safety::Never | Safety::IfIdempotent => None,
        }
    }
}
