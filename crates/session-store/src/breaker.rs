//! What to do about a store that fails: not to wait for it again and again.

mod gate;

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use purlin_core::{Clock, Retry, SystemClock};

use self::gate::{Gate, Pass, Verdict};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Record, RotateOutcome, SessionStore, Slide, Swept, Version,
};
use crate::user::UserKey;

/// A store that is not asked while it does not answer.
///
/// After some failures in a row (five, unless told otherwise) the breaker *opens*: for a pause every call fails at
/// once, without reaching the store, so that requests do not each wait out a time limit, and a server that struggles
/// is not asked by everybody at once. After the pause one call is let through as a probe. If it is answered the
/// breaker closes; if not, the next pause is twice as long, up to a limit.
///
/// What counts as a failure is [`ErrorKind::Unavailable`] and [`ErrorKind::Interrupted`]: the store could not be
/// asked, or did not answer. Any other error is an answer.
///
/// An open breaker answers with an error of kind `Unavailable`, whose source is [`BreakerOpen`], whose
/// [`retry`](StoreError::retry) says when a probe is due, and which gives the record back. It is never "there is no
/// such session": answer the request with 503, `Retry-After` and the cookie untouched. To go on reading while the
/// store is away is not this type's business, and must be asked for: `Near`, of feature `near`, can serve sessions
/// without privileges for a while.
///
/// # Cost
///
/// While all is well, one atomic load a call. A call that is refused takes one short lock and one look at the clock.
///
/// # Cancel safety
///
/// As that of the store. A call that is dropped counts neither as a failure nor as an answer, and if it was the
/// probe, the next call is one.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::Duration;
/// use purlin_session_store::{Breaker, MemoryStore, Policy, Sessions};
///
/// let store = Breaker::new(MemoryStore::new())
///     .failures(NonZeroU32::new(3).expect("not zero"))
///     .pauses(Duration::from_millis(500), Duration::from_secs(10));
/// let sessions = Sessions::new(store, Policy::default());
/// # let _ = sessions;
/// ```
pub struct Breaker<S, C = SystemClock> {
    store: S,
    gate: Gate,
    clock: C,
}

impl<S> Breaker<S> {
    /// A breaker that opens after five failures in a row, and pauses for one second at first and for thirty at most.
    pub fn new(store: S) -> Self {
        Breaker {
            store,
            gate: Gate::new(),
            clock: SystemClock::default(),
        }
    }
}

impl<S, C> Breaker<S, C> {
    /// How many failures in a row open the breaker.
    #[must_use]
    pub fn failures(mut self, failures: NonZeroU32) -> Self {
        self.gate.set_limit(failures.get());
        self
    }

    /// The first pause, and the longest that repeated failure leads to. A longest that is shorter than the first is
    /// taken for the first.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.gate.set_pauses(first, longest.max(first));
        self
    }

    /// The clock that pauses are measured by, in place of the operating system's.
    #[must_use]
    pub fn clock<C2>(self, clock: C2) -> Breaker<S, C2> {
        Breaker {
            store: self.store,
            gate: self.gate,
            clock,
        }
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What has happened so far.
    pub fn stats(&self) -> BreakerStats {
        self.gate.stats()
    }
}

impl<S, C: Clock> Breaker<S, C> {
    /// Asks the store, if the gate lets anybody through.
    async fn guarded<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let permit = self.permit()?;
        let answer = call.await;
        permit.settle(&answer);
        answer
    }

    /// The same for a call that brings a record, which is given back if the call is refused.
    async fn guarded_write<T, F>(
        &self,
        record: Record,
        call: impl FnOnce(Record) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let permit = match self.permit() {
            Ok(permit) => permit,
            Err(refusal) => return Err(refusal.with_record(record)),
        };
        let answer = call(record).await;
        permit.settle(&answer);
        answer
    }

    fn permit(&self) -> Result<Permit<'_, C>, StoreError> {
        match self.gate.admit(|| self.clock.now()) {
            Ok(pass) => Ok(Permit {
                gate: &self.gate,
                clock: &self.clock,
                pass: Some(pass),
            }),
            Err(after) => Err(StoreError::new(ErrorKind::Unavailable)
                .with_retry(Retry::safe_after(after))
                .with_source(BreakerOpen { probe_in: after })),
        }
    }
}

/// A call under way.
struct Permit<'a, C: Clock> {
    gate: &'a Gate,
    clock: &'a C,
    pass: Option<Pass>,
}

impl<C: Clock> Permit<'_, C> {
    fn settle<T>(mut self, answer: &Result<T, StoreError>) {
        let verdict = match answer {
            Err(error) => match error.kind() {
                ErrorKind::Unavailable | ErrorKind::Interrupted => Verdict::Failed,
                ErrorKind::Full | ErrorKind::TooLarge | ErrorKind::Corrupt | ErrorKind::Other => {
                    Verdict::Answered
                }
            },
            Ok(_) => Verdict::Answered,
        };
        if let Some(pass) = self.pass.take() {
            self.gate.settle(pass, verdict, || self.clock.now());
        }
    }
}

impl<C: Clock> Drop for Permit<'_, C> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.gate
                .settle(pass, Verdict::Unknown, || self.clock.now());
        }
    }
}

/// The store was not asked, because it has not answered for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store has not answered for a while, and is asked again in {probe_in:?}")]
#[non_exhaustive]
pub struct BreakerOpen {
    /// When the next call is let through.
    pub probe_in: Duration,
}

/// What a [`Breaker`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerStats {
    /// Whether calls are refused at present, or a probe is under way.
    pub is_open: bool,
    /// How often it opened, again after a probe that failed included.
    pub opened: u64,
    /// How many calls were refused.
    pub refused: u64,
}

impl<S: SessionStore, C: Clock + Send + Sync> SessionStore for Breaker<S, C> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.guarded_write(record, |record| self.store.create(key, record))
            .await
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        self.guarded(self.store.load(key, slide)).await
    }

    async fn touch(&self, key: &SessionKey, slide: Slide) -> Result<bool, StoreError> {
        self.guarded(self.store.touch(key, slide)).await
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.guarded_write(record, |record| self.store.commit(key, expected, record))
            .await
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        self.guarded_write(record, |record| {
            self.store.rotate(old, new, expected, record, grace)
        })
        .await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.guarded(self.store.delete(key)).await
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.guarded(self.store.by_user(user)).await
    }

    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        self.guarded(self.store.revoke_user(user, except)).await
    }

    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.guarded(self.store.load_many(keys)).await
    }

    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        self.guarded(self.store.sweep(budget)).await
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Breaker<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("store", &self.store)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
