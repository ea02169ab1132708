//! How long sessions live, and how much is tried.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::store::{Lifetime, Slide};

/// The rules that [`Sessions`](crate::Sessions) keeps.
///
/// The default ends a session after 30 minutes without use, and after 12 hours in any case: the limits of
/// NIST SP 800-63B for its second assurance level.
///
/// ```
/// use std::time::Duration;
/// use purlin_session_store::Policy;
///
/// let policy = Policy::default()
///     .idle(Duration::from_secs(15 * 60))
///     .absolute(Duration::from_secs(8 * 60 * 60));
/// # let _ = policy;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Policy {
    idle: Duration,
    absolute: Duration,
    grace: Duration,
    schema: u8,
    max_len: usize,
    attempts: NonZeroU32,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(12 * 60 * 60),
            grace: Duration::from_secs(10),
            schema: 0,
            max_len: 16 << 10,
            attempts: NonZeroU32::new(16).expect("sixteen is not zero"),
        }
    }
}

impl Policy {
    /// How long a session lives without use. Using it writes to the store only where that gains a twentieth
    /// of this time, so it may end by as much sooner. [`Duration::MAX`] is no limit.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long a session lives however much it is used, through all rotations. [`Duration::MAX`] is no
    /// limit.
    pub fn absolute(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// How long an old id goes on reading the session after a rotation. The default is 10 seconds; zero makes
    /// requests that were on their way find no session.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// A number of the application's own that is stored with every session, for the day on which the meaning
    /// of its fields changes; read it with [`Session::schema`](crate::Session::schema). A session that has a
    /// higher one keeps it. The default is 0.
    pub fn schema(mut self, schema: u8) -> Self {
        self.schema = schema;
        self
    }

    /// The most bytes of a session's stored fields. The default is 16 KiB.
    pub fn max_len(mut self, max_len: usize) -> Self {
        self.max_len = max_len;
        self
    }

    /// How often a commit is tried when others commit to the same session at the same moment. The default is
    /// 16. Each failed attempt means that another one got through.
    pub fn attempts(mut self, attempts: NonZeroU32) -> Self {
        self.attempts = attempts;
        self
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        Lifetime::new(self.idle, self.absolute)
    }

    /// The lifetime that writing a session gives it: the idle time anew, the absolute deadline as it is.
    pub(crate) fn renewal(&self) -> Lifetime {
        Lifetime::new(self.idle, Duration::MAX)
    }

    pub(crate) fn slide(&self) -> Slide {
        Slide::to(self.idle)
    }

    pub(crate) fn grace_time(&self) -> Duration {
        self.grace
    }

    /// The schema number to write over one that is there.
    pub(crate) fn schema_over(&self, present: u8) -> u8 {
        self.schema.max(present)
    }

    pub(crate) fn limit(&self) -> usize {
        self.max_len
    }

    pub(crate) fn max_attempts(&self) -> NonZeroU32 {
        self.attempts
    }
}
