use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use purlin_core::{Clock, Retry, SystemClock};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, ErrorKind, Record, RotateOutcome, SessionKey,
    SessionStore, Slide, StoreError, Swept, UserKey, Version,
};

use super::RedbSessionStore;

/// A [`RedbSessionStore`] for async callers: each call runs on one of tokio's blocking threads, so that no task waits
/// for another's disk. Clones are the same store.
///
/// Calls that wait at the same moment share a commit, as they do on threads of one's own. Each occupies a blocking
/// thread meanwhile, of which tokio has 512 unless told otherwise; more calls than that wait for a thread.
///
/// ```
/// use purlin_redb::{OffloadedSessionStore, RedbSessionStore};
/// use purlin_session_store::{Policy, Saved, Session, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("sessions.redb");
/// let store = OffloadedSessionStore::new(RedbSessionStore::open(&path)?);
/// let sessions = Sessions::new(store, Policy::default());
///
/// let mut session = Session::absent();
/// session.set_bytes("cart", "hammer")?;
/// assert_eq!(sessions.commit(&mut session).await?, Saved::Created);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// A call takes its thread when its future is first polled, and runs to its end from there: dropping the future loses
/// the answer and not the effect.
///
/// # Panics
///
/// The futures panic outside a tokio runtime.
pub struct OffloadedSessionStore<C = SystemClock> {
    store: Arc<RedbSessionStore<C>>,
}

impl<C> OffloadedSessionStore<C> {
    /// The store, for async callers.
    pub fn new(store: impl Into<Arc<RedbSessionStore<C>>>) -> Self {
        OffloadedSessionStore {
            store: store.into(),
        }
    }

    /// The store itself, whose methods block.
    pub fn blocking(&self) -> &Arc<RedbSessionStore<C>> {
        &self.store
    }
}

impl<C: Clock + Send + Sync + 'static> OffloadedSessionStore<C> {
    async fn run<R: Send + 'static>(
        &self,
        call: impl FnOnce(&RedbSessionStore<C>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let store = Arc::clone(&self.store);
        let joined = tokio::task::spawn_blocking(move || call(&store)).await;
        // The runtime is ending, or the engine has panicked. Nobody knows what was done.
        joined.map_err(|error| {
            StoreError::new(ErrorKind::Interrupted)
                .with_retry(Retry::NEVER)
                .with_source(error)
        })?
    }
}

impl<C: Clock + Send + Sync + 'static> SessionStore for OffloadedSessionStore<C> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        let key = *key;
        self.run(move |store| store.create(&key, record)).await
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        let key = *key;
        self.run(move |store| store.load(&key, slide)).await
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        let key = *key;
        self.run(move |store| store.commit(&key, expected, record))
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
        let (old, new) = (*old, *new);
        self.run(move |store| store.rotate(&old, &new, expected, record, grace))
            .await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let key = *key;
        self.run(move |store| store.delete(&key)).await
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        let user = *user;
        self.run(move |store| store.by_user(&user)).await
    }

    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        let (user, except) = (*user, except.copied());
        self.run(move |store| store.revoke_user(&user, except.as_ref()))
            .await
    }

    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        let keys = keys.to_vec();
        self.run(move |store| keys.iter().map(|key| store.load(key, Slide::No)).collect())
            .await
    }

    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        self.run(move |store| store.sweep(budget)).await
    }
}

impl<C> Clone for OffloadedSessionStore<C> {
    fn clone(&self) -> Self {
        OffloadedSessionStore {
            store: Arc::clone(&self.store),
        }
    }
}

impl<C> fmt::Debug for OffloadedSessionStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OffloadedSessionStore")
            .field("store", &self.store)
            .finish()
    }
}
