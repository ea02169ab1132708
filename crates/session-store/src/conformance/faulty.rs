//! A store that fails as it is told.

mod faults;
mod gate;

use core::future::Future;
use core::time::Duration;

use purlin_core::sync::Mutex;
use purlin_core::sync::atomic::{AtomicU64, Ordering};

use self::gate::Gate;
use super::at_once::others_first;
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Record, RotateOutcome, SessionStore, Slide, Swept, Version,
};
use crate::user::UserKey;

pub use faults::{Call, Fault, Faults};

/// A store whose calls fail, wait and are counted as a test tells it, in front of any other store.
///
/// What is told by [`inject`](Faulty::inject) goes for the calls that begin later, until it is told otherwise; a test that
/// needs its store in an [`Arc`](std::sync::Arc) tells it through that. A call that fails before its effect gives back the
/// record that it was brought.
///
/// ```
/// use purlin_session_store::conformance::{Call, Fault, Faults, Faulty};
/// use purlin_session_store::{ErrorKind, MemoryStore, OpenError, Policy, Saved, Session, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sessions = Sessions::new(Faulty::new(MemoryStore::new()), Policy::default());
/// let mut session = Session::absent();
/// session.set_bytes("cart", "hammer")?;
/// assert_eq!(sessions.commit(&mut session).await?, Saved::Created);
/// let id = session.id().expect("created").clone();
///
/// // The store is away: that is an error, and not "no session".
/// sessions.store().fail(ErrorKind::Unavailable);
/// assert!(matches!(sessions.open(id.clone()).await, Err(OpenError::Store(_))));
///
/// // The next commit is stored and its answer lost. To repeat it is safe.
/// sessions.store().inject(Faults::always(Fault::After).only(&[Call::Commit]).times(1));
/// session.set_bytes("cart", "hammer, nails")?;
/// assert!(sessions.commit(&mut session).await.is_err());
/// sessions.commit(&mut session).await?;
/// assert_eq!(sessions.store().calls_of(Call::Commit), 3, "the repeated one, and the one on top of it");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Faulty<S> {
    store: S,
    /// None as long as all goes well.
    faults: Mutex<Option<Faults>>,
    calls: [AtomicU64; Call::COUNT],
    failed: AtomicU64,
    gives_way: bool,
    /// Where calls wait before they are made, and before they answer.
    calling: Gate,
    answering: Gate,
}

impl<S> Faulty<S> {
    /// In front of this store. All goes well until it is told otherwise.
    pub fn new(store: S) -> Self {
        Faulty {
            store,
            faults: Mutex::new(None),
            calls: Default::default(),
            failed: AtomicU64::new(0),
            gives_way: false,
            calling: Gate::default(),
            answering: Gate::default(),
        }
    }

    /// The store behind it, whose calls go well and are not counted.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// From now on calls fail like this, instead of what was told before.
    pub fn inject(&self, faults: Faults) {
        *self.faults.lock() = Some(faults);
    }

    /// From now on every call fails before its effect: the same as to inject [`Faults::always`] of [`Fault::Before`].
    pub fn fail(&self, kind: ErrorKind) {
        self.inject(Faults::always(Fault::Before(kind)));
    }

    /// From now on all goes well. Gives back what was told before, as far as it has not happened, for whoever wants it to
    /// go on later.
    pub fn heal(&self) -> Option<Faults> {
        self.faults.lock().take()
    }

    /// From now on calls wait before they are made, until [`let_go`](Faulty::let_go): a store that hangs.
    pub fn hold_calls(&self) {
        self.calling.close();
    }

    /// From now on calls are made and wait before they answer, until [`let_go`](Faulty::let_go).
    pub fn hold_answers(&self) {
        self.answering.close();
    }

    /// Nothing waits any more, and what has waited goes on.
    pub fn let_go(&self) {
        self.calling.open();
        self.answering.open();
    }

    /// The same, each call of which lets others go first once before it is made and once before it answers, so that whoever
    /// polls decides on the order, and can drop a call at either point.
    #[must_use]
    pub fn giving_way(mut self) -> Self {
        self.gives_way = true;
        self
    }

    /// How many calls there were, those that failed or wait included.
    pub fn calls(&self) -> u64 {
        self.calls.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// How many calls of this kind there were.
    pub fn calls_of(&self, call: Call) -> u64 {
        self.calls[call as usize].load(Ordering::Relaxed)
    }

    /// How many calls failed because they were told to.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Before a call is made: how it fails.
    async fn begin(&self, call: Call) -> Option<Fault> {
        // Relaxed: a count, which tells nothing of anything else.
        self.calls[call as usize].fetch_add(1, Ordering::Relaxed);
        self.give_way().await;
        self.calling.pass().await;
        let fault = self.faults.lock().as_mut()?.next(call)?;
        self.failed.fetch_add(1, Ordering::Relaxed);
        Some(fault)
    }

    /// After a call was made: its answer, unless that gets lost.
    async fn answer<T>(
        &self,
        fault: Option<Fault>,
        answer: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.give_way().await;
        self.answering.pass().await;
        match fault {
            Some(_) => {
                Err(StoreError::new(ErrorKind::Interrupted).with_source("its answer is lost"))
            }
            None => answer,
        }
    }

    async fn give_way(&self) {
        if self.gives_way {
            others_first().await;
        }
    }

    async fn call<T>(
        &self,
        call: Call,
        made: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.begin(call).await {
            Some(Fault::Before(kind)) => Err(refusal(kind)),
            fault => self.answer(fault, made.await).await,
        }
    }
}

fn refusal(kind: ErrorKind) -> StoreError {
    StoreError::new(kind).with_source("it was told to fail")
}

impl<S: SessionStore> SessionStore for Faulty<S> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        match self.begin(Call::Create).await {
            Some(Fault::Before(kind)) => Err(refusal(kind).with_record(record)),
            fault => {
                let answer = self.store.create(key, record).await;
                self.answer(fault, answer).await
            }
        }
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        self.call(Call::Load, self.store.load(key, slide)).await
    }

    async fn touch(&self, key: &SessionKey, slide: Slide) -> Result<bool, StoreError> {
        self.call(Call::Touch, self.store.touch(key, slide)).await
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        match self.begin(Call::Commit).await {
            Some(Fault::Before(kind)) => Err(refusal(kind).with_record(record)),
            fault => {
                let answer = self.store.commit(key, expected, record).await;
                self.answer(fault, answer).await
            }
        }
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        match self.begin(Call::Rotate).await {
            Some(Fault::Before(kind)) => Err(refusal(kind).with_record(record)),
            fault => {
                let answer = self.store.rotate(old, new, expected, record, grace).await;
                self.answer(fault, answer).await
            }
        }
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.call(Call::Delete, self.store.delete(key)).await
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.call(Call::ByUser, self.store.by_user(user)).await
    }

    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        let made = self.store.revoke_user(user, except);
        self.call(Call::RevokeUser, made).await
    }

    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.call(Call::LoadMany, self.store.load_many(keys)).await
    }

    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        self.call(Call::Sweep, self.store.sweep(budget)).await
    }
}

#[cfg(test)]
mod tests;
