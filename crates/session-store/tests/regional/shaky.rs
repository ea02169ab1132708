//! A store whose calls wait, so that others come in between, and fail as often as it is told, before their effect or after.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use purlin_core::sync::Mutex;
use purlin_core::{ManualClock, Rng};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, ErrorKind, MemoryStore, Record, RotateOutcome, SessionKey,
    SessionStore, Slide, StoreError, UserKey, Version,
};

#[derive(Debug)]
pub(crate) struct Shaky {
    inner: MemoryStore<ManualClock>,
    rng: Mutex<Rng>,
    /// How many calls of a hundred fail.
    pub(crate) trouble: AtomicU64,
}

impl Shaky {
    pub(crate) fn new(inner: MemoryStore<ManualClock>, seed: u64) -> Self {
        Shaky {
            inner,
            rng: Mutex::new(Rng::from_seed(seed)),
            trouble: AtomicU64::new(0),
        }
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        wait().await;
        let fails = self.rng.lock().below(200);
        match self.trouble.load(Ordering::Relaxed) {
            trouble if fails < trouble => Err(StoreError::new(ErrorKind::Unavailable)),
            trouble if fails < 2 * trouble => {
                let _ = call.await;
                Err(StoreError::new(ErrorKind::Interrupted))
            }
            _ => call.await,
        }
    }
}

/// Lets others go first.
pub(crate) async fn wait() {
    let mut has_waited = false;
    poll_fn(|_| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        Poll::Pending
    })
    .await;
}

impl SessionStore for Shaky {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.call(self.inner.create(key, record)).await
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
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

    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.call(self.inner.load_many(keys)).await
    }
}
