//! A store that fails, waits and counts as it is told.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use purlin_core::sync::Mutex;
use purlin_session_store::conformance::Subject;
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, ErrorKind, Lifetime, Record, RotateOutcome, SessionId,
    SessionKey, SessionStore, Slide, StoreError, Swept, UserKey, Version,
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn key() -> SessionKey {
    SessionId::random().unwrap().key()
}

pub(crate) fn record(payload: &'static str) -> Record {
    Record::new(payload, Lifetime::new(HOUR, HOUR * 12))
}

/// A store under a test's control.
#[derive(Debug, Default)]
pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    pub(crate) calls: AtomicU64,
    pub(crate) loads: AtomicU64,
    failure: Mutex<Option<ErrorKind>>,
    /// How many calls go well before the failure begins.
    patience: AtomicU64,
    /// Whether a call that fails has its effect all the same.
    pub(crate) fails_after: AtomicBool,
    /// Whether calls wait after they were done, and before they answer.
    pub(crate) holds_answers: AtomicBool,
}

impl<S> Faulty<S> {
    pub(crate) fn new(inner: S) -> Self {
        Faulty {
            inner,
            calls: AtomicU64::new(0),
            loads: AtomicU64::new(0),
            failure: Mutex::new(None),
            patience: AtomicU64::new(0),
            fails_after: AtomicBool::new(false),
            holds_answers: AtomicBool::new(false),
        }
    }

    pub(crate) fn fail(&self, kind: impl Into<Option<ErrorKind>>) {
        self.patience.store(0, Ordering::Relaxed);
        *self.failure.lock() = kind.into();
    }

    /// Fails after so many calls that go well.
    pub(crate) fn fail_after(&self, calls: u64, kind: ErrorKind) {
        self.fail(kind);
        self.patience.store(calls, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let left = self.patience.load(Ordering::Relaxed);
        self.patience
            .store(left.saturating_sub(1), Ordering::Relaxed);
        let failure = self.failure.lock().filter(|_| left == 0);
        match failure {
            Some(kind) if !self.fails_after.load(Ordering::Relaxed) => {
                return Err(StoreError::new(kind));
            }
            Some(_) | None => {}
        }
        let answer = call.await;
        poll_fn(|cx| {
            if !self.holds_answers.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        match failure {
            Some(kind) => Err(StoreError::new(kind)),
            None => answer,
        }
    }
}

impl<S: SessionStore> SessionStore for Faulty<S> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.call(self.inner.create(key, record)).await
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.call(self.inner.load(key, slide)).await
    }

    async fn touch(&self, key: &SessionKey, slide: Slide) -> Result<bool, StoreError> {
        self.call(self.inner.touch(key, slide)).await
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.call(self.inner.commit(key, expected, record)).await
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        self.call(self.inner.rotate(old, new, expected, record, grace))
            .await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.call(self.inner.delete(key)).await
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.call(self.inner.by_user(user)).await
    }

    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        self.call(self.inner.sweep(budget)).await
    }
}

/// A store beside the manual clock that it lives by.
pub(crate) struct Under<S> {
    pub(crate) store: S,
    pub(crate) clock: purlin_core::ManualClock,
}

impl<S: SessionStore> Subject for Under<S> {
    type Store = S;
    fn store(&self) -> &S {
        &self.store
    }
    fn retention(&self) -> Duration {
        Duration::from_secs(300)
    }
    fn unit(&self) -> Duration {
        Duration::from_millis(1)
    }
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}
