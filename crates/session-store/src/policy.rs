//! How long sessions live, and how much is tried.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::bucket::Bucket;
use crate::clash::{OnClash, Rules};
use crate::store::{Lifetime, Slide};
use crate::user::Cap;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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
    max_fields: usize,
    attempts: NonZeroU32,
    anonymous: Option<Lifetime>,
    cap: Option<Cap>,
    epoch: u32,
    newcomers: Option<(NonZeroU32, NonZeroU32)>,
    rules: Rules,
    when_corrupt: WhenCorrupt,
}

/// What becomes of a session that is [`Corrupt`](crate::PayloadError::Corrupt); see [`Policy::when_corrupt`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: a session stays or it does not"
)]
pub enum WhenCorrupt {
    /// It stays, and each request with its id fails, until somebody has looked into it.
    #[default]
    Fail,
    /// It is deleted when its id is next seen, and the client begins anew without a session: logged out.
    End,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(12 * 60 * 60),
            grace: Duration::from_secs(10),
            schema: 0,
            max_len: 16 << 10,
            max_fields: 1024,
            attempts: NonZeroU32::new(16).expect("sixteen is not zero"),
            anonymous: None,
            cap: Some(Cap::evict_oldest(100)),
            epoch: 0,
            newcomers: None,
            rules: Rules::default(),
            when_corrupt: WhenCorrupt::Fail,
        }
    }
}

/// What the levels of OWASP's ASVS ask for, for services that use [`Session::login`](crate::Session::login).
/// The times are those of ASVS 4.0.3, 3.3.2, which follow NIST SP 800-63B; ASVS 5.0 leaves them to the
/// service, and asks for a limit of sessions a user (7.1.2) without a number. A session that nobody is logged
/// in to lasts 30 days, since these limits are about logins.
impl Policy {
    /// Level 1: a login ends after 30 days, or a week without use. A user has 100 sessions at most.
    pub fn asvs_l1() -> Self {
        Policy::default()
            .idle(7 * DAY)
            .absolute(30 * DAY)
            .anonymous(7 * DAY, 30 * DAY)
    }

    /// Level 2: a login ends after 12 hours, or 30 minutes without use. A user has 16 sessions at most.
    pub fn asvs_l2() -> Self {
        Policy::default()
            .idle(Duration::from_secs(30 * 60))
            .absolute(Duration::from_secs(12 * 60 * 60))
            .anonymous(DAY, 30 * DAY)
            .sessions_per_user(Cap::evict_oldest(16))
    }

    /// Level 3: a login ends after 12 hours, or 15 minutes without use. A user has 4 sessions at most, and an
    /// old id reads nothing once there is a new one.
    pub fn asvs_l3() -> Self {
        Policy::default()
            .idle(Duration::from_secs(15 * 60))
            .absolute(Duration::from_secs(12 * 60 * 60))
            .anonymous(DAY, 30 * DAY)
            .sessions_per_user(Cap::evict_oldest(4))
            .grace(Duration::ZERO)
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

    /// The most fields of a session. The default is 1024.
    pub fn max_fields(mut self, max_fields: usize) -> Self {
        self.max_fields = max_fields;
        self
    }

    /// Other limits for sessions that nobody is logged in to: without use, and in all. The login then begins
    /// with the limits of [`idle`](Policy::idle) and [`absolute`](Policy::absolute), as far as the session
    /// would have lasted so long. By default the limits are the same for all, so the absolute limit of a
    /// login counts from before it.
    pub fn anonymous(mut self, idle: Duration, absolute: Duration) -> Self {
        self.anonymous = Some(Lifetime::new(idle, absolute));
        self
    }

    /// How many sessions a user may have at once, counted at each login. By default the hundred and first
    /// ends the oldest.
    pub fn sessions_per_user(mut self, cap: Cap) -> Self {
        self.cap = Some(cap);
        self
    }

    /// As many sessions as a user likes. Their list is as long, and so is each look at it.
    pub fn unlimited_sessions_per_user(mut self) -> Self {
        self.cap = None;
        self
    }

    /// The epoch that sessions are created and logged in under. Sessions of an earlier one have ended: to end
    /// everybody's at once, raise it on all servers, here or with
    /// [`Sessions::raise_epoch`](crate::Sessions::raise_epoch). The default is 0.
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = epoch;
        self
    }

    /// How many sessions without a login may be created, in this process: so many a second on average, and so
    /// many at once. More are refused by [`CommitError::TooManyNew`](crate::CommitError::TooManyNew), so that
    /// whoever makes sessions by the million cannot fill the store for everybody. By default there is no
    /// limit.
    pub fn anonymous_rate(mut self, per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        self.newcomers = Some((per_second, burst));
        self
    }

    /// What becomes of this field when two requests changed it. The default is [`OnClash::LastWriter`].
    pub fn on_clash(mut self, name: impl Into<Box<str>>, rule: OnClash) -> Self {
        self.rules.set(name.into(), rule);
        self
    }

    /// What becomes of the fields that have no rule of their own.
    pub fn on_any_clash(mut self, rule: OnClash) -> Self {
        self.rules.set_others(rule);
        self
    }

    /// What becomes of a session that cannot be read because it was damaged, or something else than this crate wrote it. By
    /// default it stays and its requests fail, since a mistake that damages sessions should be seen before they are gone.
    /// One that a newer version wrote is never ended by this: that version can read it.
    pub fn when_corrupt(mut self, when_corrupt: WhenCorrupt) -> Self {
        self.when_corrupt = when_corrupt;
        self
    }

    /// How often a commit is tried when others commit to the same session at the same moment. The default is
    /// 16. Each failed attempt means that another one got through.
    pub fn attempts(mut self, attempts: NonZeroU32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The limits of a new session, which somebody is logged in to or not.
    pub(crate) fn lifetime(&self, logged_in: bool) -> Lifetime {
        match self.anonymous {
            Some(anonymous) if !logged_in => anonymous,
            Some(_) | None => Lifetime::new(self.idle, self.absolute),
        }
    }

    /// How a load slides. It does not know yet whether somebody is logged in, so it gives the shorter time.
    pub(crate) fn slide(&self) -> Slide {
        let anonymous = self.lifetime(false);
        Slide::to(self.idle.min(anonymous.idle))
    }

    /// Whether what a load may slide is less than what the session may get.
    pub(crate) fn slides_further(&self, logged_in: bool) -> Option<Slide> {
        let idle = self.lifetime(logged_in).idle;
        let Slide::To { idle: given, .. } = self.slide() else {
            return None;
        };
        (idle > given).then(|| Slide::to(idle))
    }

    pub(crate) fn user_cap(&self) -> Option<Cap> {
        self.cap
    }

    pub(crate) fn first_epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn newcomers(&self) -> Option<Bucket> {
        self.newcomers
            .map(|(per_second, burst)| Bucket::new(per_second, burst))
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn ends_corrupt(&self) -> bool {
        self.when_corrupt == WhenCorrupt::End
    }

    pub(crate) fn field_limit(&self) -> usize {
        self.max_fields
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
