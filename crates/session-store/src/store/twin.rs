//! The store trait as an object.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use crate::error::StoreError;
use crate::id::SessionKey;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Record, RotateOutcome, SessionStore, Slide, Swept, Version,
};
use crate::user::UserKey;

/// A future behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`SessionStore`] with boxed futures, for `Arc<dyn DynSessionStore>`. Every `SessionStore` is one, the
/// methods mean what they mean there, and the object is a `SessionStore` again. Each call allocates its
/// future.
///
/// ```
/// use std::sync::Arc;
/// use purlin_session_store::{DynSessionStore, MemoryStore, Sessions, Policy};
///
/// let store: Arc<dyn DynSessionStore> = Arc::new(MemoryStore::new());
/// let sessions = Sessions::new(store, Policy::default());
/// # let _ = sessions;
/// ```
pub trait DynSessionStore: Send + Sync {
    /// See [`SessionStore::create`].
    fn create_dyn<'a>(
        &'a self,
        key: &'a SessionKey,
        record: Record,
    ) -> BoxFuture<'a, Result<CreateOutcome, StoreError>>;

    /// See [`SessionStore::load`].
    fn load_dyn<'a>(
        &'a self,
        key: &'a SessionKey,
        slide: Slide,
    ) -> BoxFuture<'a, Result<Option<Entry>, StoreError>>;

    /// See [`SessionStore::touch`].
    fn touch_dyn<'a>(
        &'a self,
        key: &'a SessionKey,
        slide: Slide,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// See [`SessionStore::commit`].
    fn commit_dyn<'a>(
        &'a self,
        key: &'a SessionKey,
        expected: Version,
        record: Record,
    ) -> BoxFuture<'a, Result<CommitOutcome, StoreError>>;

    /// See [`SessionStore::rotate`].
    fn rotate_dyn<'a>(
        &'a self,
        old: &'a SessionKey,
        new: &'a SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> BoxFuture<'a, Result<RotateOutcome, StoreError>>;

    /// See [`SessionStore::delete`].
    fn delete_dyn<'a>(&'a self, key: &'a SessionKey) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// See [`SessionStore::by_user`].
    fn by_user_dyn<'a>(
        &'a self,
        user: &'a UserKey,
    ) -> BoxFuture<'a, Result<Vec<SessionKey>, StoreError>>;

    /// See [`SessionStore::revoke_user`].
    fn revoke_user_dyn<'a>(
        &'a self,
        user: &'a UserKey,
        except: Option<&'a SessionKey>,
    ) -> BoxFuture<'a, Result<usize, StoreError>>;

    /// See [`SessionStore::load_many`].
    fn load_many_dyn<'a>(
        &'a self,
        keys: &'a [SessionKey],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, StoreError>>;

    /// See [`SessionStore::sweep`].
    fn sweep_dyn(&self, budget: usize) -> BoxFuture<'_, Result<Swept, StoreError>>;
}

impl<S: SessionStore> DynSessionStore for S {
    fn create_dyn<'a>(
        &'a self,
        key: &'a SessionKey,
        record: Record,
    ) -> BoxFuture<'a, Result<CreateOutcome, StoreError>> {
        Box::pin(self.create(key, record))
    }

    fn load_dyn<'a>(
        &'a self,
        key: &'a SessionKey,
        slide: Slide,
    ) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(self.load(key, slide))
    }

    fn touch_dyn<'a>(
        &'a self,
        key: &'a SessionKey,
        slide: Slide,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.touch(key, slide))
    }

    fn commit_dyn<'a>(
        &'a self,
        key: &'a SessionKey,
        expected: Version,
        record: Record,
    ) -> BoxFuture<'a, Result<CommitOutcome, StoreError>> {
        Box::pin(self.commit(key, expected, record))
    }

    fn rotate_dyn<'a>(
        &'a self,
        old: &'a SessionKey,
        new: &'a SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> BoxFuture<'a, Result<RotateOutcome, StoreError>> {
        Box::pin(self.rotate(old, new, expected, record, grace))
    }

    fn delete_dyn<'a>(&'a self, key: &'a SessionKey) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.delete(key))
    }

    fn by_user_dyn<'a>(
        &'a self,
        user: &'a UserKey,
    ) -> BoxFuture<'a, Result<Vec<SessionKey>, StoreError>> {
        Box::pin(self.by_user(user))
    }

    fn revoke_user_dyn<'a>(
        &'a self,
        user: &'a UserKey,
        except: Option<&'a SessionKey>,
    ) -> BoxFuture<'a, Result<usize, StoreError>> {
        Box::pin(self.revoke_user(user, except))
    }

    fn load_many_dyn<'a>(
        &'a self,
        keys: &'a [SessionKey],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, StoreError>> {
        Box::pin(self.load_many(keys))
    }

    fn sweep_dyn(&self, budget: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        Box::pin(self.sweep(budget))
    }
}

impl SessionStore for dyn DynSessionStore + '_ {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.create_dyn(key, record).await
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        self.load_dyn(key, slide).await
    }

    async fn touch(&self, key: &SessionKey, slide: Slide) -> Result<bool, StoreError> {
        self.touch_dyn(key, slide).await
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.commit_dyn(key, expected, record).await
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        self.rotate_dyn(old, new, expected, record, grace).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.delete_dyn(key).await
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.by_user_dyn(user).await
    }

    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        self.revoke_user_dyn(user, except).await
    }

    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.load_many_dyn(keys).await
    }

    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        self.sweep_dyn(budget).await
    }
}
