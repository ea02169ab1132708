//! Sessions in a store, under a policy.

use purlin_core::Retry;
#[cfg(feature = "test-util")]
use purlin_core::{Rng, sync::Mutex};

use crate::error::StoreError;
use crate::fields::{Fields, PayloadError};
use crate::id::{EntropyError, SessionId};
use crate::policy::Policy;
use crate::session::{Session, State, Wish};
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Record, RotateOutcome, SessionStore, Slide, Version,
};

/// The sessions of a service: a store, and the [`Policy`] they live under.
///
/// ```
/// use purlin_session_store::{MemoryStore, Policy, Saved, Session, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sessions = Sessions::new(MemoryStore::new(), Policy::default());
///
/// // A first request, without a cookie.
/// let mut session = Session::absent();
/// session.set_bytes("cart", "hammer")?;
/// assert_eq!(sessions.commit(&mut session).await?, Saved::Created);
/// let cookie = session.id().expect("created").clone();
///
/// // Two requests at once. Neither loses what the other did.
/// let mut one = sessions.open(cookie.clone()).await?;
/// let mut two = sessions.open(cookie.clone()).await?;
/// one.set_bytes("theme", "dark")?;
/// two.set_bytes("lang", "mi")?;
/// sessions.commit(&mut one).await?;
/// sessions.commit(&mut two).await?;
///
/// // A login: new privileges, new id.
/// let mut session = sessions.open(cookie.clone()).await?;
/// assert_eq!(session.get_bytes("theme").as_deref(), Some(&b"dark"[..]));
/// session.set_bytes("user", "17")?;
/// session.rotate();
/// assert_eq!(sessions.commit(&mut session).await?, Saved::Rotated);
/// assert_eq!(sessions.open(cookie).await?.get_bytes("user"), None, "nothing for the old id");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sessions<S> {
    store: S,
    policy: Policy,
    ids: Ids,
}

/// Where ids come from.
#[derive(Debug)]
enum Ids {
    System,
    #[cfg(feature = "test-util")]
    Seeded(Mutex<Rng>),
}

/// What a commit did, and what the client's cookie must become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: what can become of a session and its cookie"
)]
#[must_use]
pub enum Saved {
    /// Nothing was to be written. The cookie stays.
    Unchanged,
    /// The changes are stored. The cookie stays.
    Written,
    /// There is a session now. Set the cookie to its id.
    Created,
    /// The session has a new id. Set the cookie to it.
    Rotated,
    /// There is no session any more. Remove the cookie.
    Destroyed,
}

impl<S: SessionStore> Sessions<S> {
    /// The sessions of a store.
    pub fn new(store: S, policy: Policy) -> Self {
        Sessions {
            store,
            policy,
            ids: Ids::System,
        }
    }

    /// The same with ids from a seed, so that a test can be repeated. Whoever knows the seed knows every id.
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    #[must_use]
    pub fn with_seeded_ids(mut self, seed: u64) -> Self {
        self.ids = Ids::Seeded(Mutex::new(Rng::from_seed(seed)));
        self
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The session of an id, and one more use of it. An id that no live session has gives
    /// [`Session::absent`], whether it was never issued, or its session ended: a session created from there
    /// gets an id of its own, so nobody can plant one.
    ///
    /// Without an id there is nothing to ask the store: take [`Session::absent`].
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the store failed or holds something unreadable. That is not "no session": answer the
    /// request with a failure and leave the cookie alone.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the use may or may not have been counted.
    pub async fn open(&self, id: SessionId) -> Result<Session, OpenError> {
        match self.store.load(&id.key(), self.policy.slide()).await? {
            Some(entry) => Ok(Session::opened(id, entry)?),
            None => Ok(Session::absent()),
        }
    }

    /// Makes the store agree with the session: creates, writes, moves or deletes it, or does nothing. A
    /// session that was committed can be used and committed again.
    ///
    /// If somebody else committed first, this session's changes are put on top of theirs, and it shows what
    /// came of it.
    ///
    /// # Errors
    ///
    /// See [`CommitError`]. The session keeps its changes.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the commit has taken effect as a whole or not at all, and the session still
    /// has its changes. To commit it again is harmless: it finishes what was begun. Only a session that was
    /// to be created may then exist twice; the first, whose id nobody knows, ends unused.
    pub async fn commit(&self, session: &mut Session) -> Result<Saved, CommitError> {
        let attempts = self.policy.max_attempts();
        for _ in 0..attempts.get() {
            if let Step::Done(saved) = self.step(session).await? {
                return Ok(saved);
            }
        }
        Err(CommitError::Contended {
            attempts: attempts.get(),
        })
    }

    /// Changes the session by a closure that may depend on what is there, and commits. If somebody else
    /// commits in between, the closure runs again on what they left; so a counter that a thousand requests
    /// count up at once is exact.
    ///
    /// The closure's result is that of its last run. Changes made before the call are kept in every run.
    ///
    /// # Errors
    ///
    /// See [`CommitError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the change has taken effect as a whole or not at all. Calling again may make
    /// it twice, as the closure cannot know.
    pub async fn update<R: Send>(
        &self,
        session: &mut Session,
        mut change: impl FnMut(&mut Session) -> R + Send,
    ) -> Result<(R, Saved), CommitError> {
        let before = (session.changes.clone(), session.wish);
        let attempts = self.policy.max_attempts();
        for _ in 0..attempts.get() {
            (session.changes, session.wish) = before.clone();
            let result = change(session);
            if let Step::Done(saved) = self.step(session).await? {
                return Ok((result, saved));
            }
        }
        Err(CommitError::Contended {
            attempts: attempts.get(),
        })
    }

    /// One attempt at a commit.
    async fn step(&self, session: &mut Session) -> Result<Step, CommitError> {
        match (session.state(), session.version) {
            (State::Absent | State::Clean, _) => Ok(Step::Done(session.saved(Saved::Unchanged))),
            (State::Dirty | State::Rotated, None) => self.create(session).await,
            (State::Dirty, Some(version)) => self.write(session, version).await,
            (State::Rotated, Some(version)) => self.rotate(session, version).await,
            (State::Destroyed, _) => self.delete(session).await,
        }
    }

    async fn create(&self, session: &mut Session) -> Result<Step, CommitError> {
        let fields = self.encode(session)?;
        let id = self.new_id()?;
        let record = Record::new(fields.payload().clone(), self.policy.lifetime());
        match self.store.create(&id.key(), record).await? {
            CreateOutcome::Created(version) => {
                session.id = Some(id);
                session.remaining = Some(self.policy.lifetime());
                session.settle(version, fields);
                Ok(Step::Done(Saved::Created))
            }
            CreateOutcome::Collision => Ok(Step::Again),
            CreateOutcome::AtCap => Err(CommitError::AtCap),
        }
    }

    async fn write(&self, session: &mut Session, version: Version) -> Result<Step, CommitError> {
        let Some(id) = &session.id else {
            return Err(CommitError::Gone);
        };
        let key = id.key();
        let fields = self.encode(session)?;
        let record = Record::new(fields.payload().clone(), self.policy.renewal());
        match self.store.commit(&key, version, record).await? {
            CommitOutcome::Committed(version) => {
                session.renew(self.policy.renewal().idle);
                session.settle(version, fields);
                Ok(Step::Done(session.saved(Saved::Written)))
            }
            CommitOutcome::Conflict(entry) => session.retry_on(entry),
            CommitOutcome::Superseded(_) => Err(CommitError::Superseded),
            CommitOutcome::Gone => Err(session.gone()),
        }
    }

    async fn rotate(&self, session: &mut Session, version: Version) -> Result<Step, CommitError> {
        let Some(old) = session.id.clone() else {
            return Err(CommitError::Gone);
        };
        let fields = self.encode(session)?;
        let new = match session.next_id.clone() {
            Some(begun) => begun,
            None => session.next_id.insert(self.new_id()?).clone(),
        };
        let record = Record::new(fields.payload().clone(), self.policy.renewal());
        let grace = self.policy.grace_time();
        match self
            .store
            .rotate(&old.key(), &new.key(), version, record, grace)
            .await?
        {
            RotateOutcome::Rotated(version) => {
                session.take_next_id(new);
                session.renew(self.policy.renewal().idle);
                session.settle(version, fields);
                Ok(Step::Done(session.saved(Saved::Rotated)))
            }
            RotateOutcome::Conflict(entry) => session.retry_on(entry),
            // An earlier attempt of ours got through, and its answer did not. What changed since is written
            // on top.
            RotateOutcome::Superseded(by) if by == new.key() => {
                let Some(entry) = self.store.load(&by, Slide::No).await? else {
                    return Err(session.gone());
                };
                session.take_next_id(new);
                session.retry_on(entry)
            }
            RotateOutcome::Superseded(_) => Err(CommitError::Superseded),
            RotateOutcome::Gone => Err(session.gone()),
            RotateOutcome::Collision => {
                session.next_id = None;
                Ok(Step::Again)
            }
            RotateOutcome::AtCap => Err(CommitError::AtCap),
        }
    }

    async fn delete(&self, session: &mut Session) -> Result<Step, CommitError> {
        if session.wish != Wish::Ended {
            if let Some(id) = &session.id {
                self.store.delete(&id.key()).await?;
            }
            session.end();
        }
        Ok(Step::Done(Saved::Destroyed))
    }

    fn encode(&self, session: &Session) -> Result<Fields, CommitError> {
        let limit = self.policy.limit();
        let schema = self.policy.schema_over(session.fields.schema());
        session
            .fields
            .with_changes(&session.changes, schema, limit)
            .map_err(|len| CommitError::TooLarge { len, limit })
    }

    fn new_id(&self) -> Result<SessionId, EntropyError> {
        match &self.ids {
            Ids::System => SessionId::random(),
            #[cfg(feature = "test-util")]
            Ids::Seeded(rng) => {
                let mut rng = rng.lock();
                let mut bytes = [0; SessionId::LEN];
                bytes
                    .chunks_exact_mut(8)
                    .for_each(|chunk| chunk.copy_from_slice(&rng.next_u64().to_le_bytes()));
                Ok(SessionId::from_secret_bytes(bytes))
            }
        }
    }
}

enum Step {
    Done(Saved),
    /// The session was brought up to date with the store; try once more.
    Again,
}

impl Session {
    /// After the store took the session as it is.
    fn settle(&mut self, version: Version, fields: Fields) {
        self.version = Some(version);
        self.fields = fields;
        self.changes = Default::default();
        self.wish = Wish::Keep;
    }

    fn take_next_id(&mut self, id: SessionId) {
        self.id = Some(id);
        self.next_id = None;
        self.id_is_news = true;
        self.wish = Wish::Keep;
    }

    /// After the store moved the idle deadline: no further than the absolute one.
    fn renew(&mut self, idle: core::time::Duration) {
        if let Some(remaining) = &mut self.remaining {
            remaining.idle = idle.min(remaining.absolute);
        }
    }

    fn retry_on(&mut self, entry: Entry) -> Result<Step, CommitError> {
        self.rebase(entry)?;
        Ok(Step::Again)
    }

    /// What to tell the caller, who has not heard of a new id yet.
    fn saved(&mut self, saved: Saved) -> Saved {
        if core::mem::take(&mut self.id_is_news) {
            Saved::Rotated
        } else {
            saved
        }
    }

    /// The session has ended elsewhere. Its changes stay readable, and will never be stored.
    fn gone(&mut self) -> CommitError {
        self.wish = Wish::Ended;
        self.id = None;
        self.version = None;
        self.remaining = None;
        CommitError::Gone
    }

    fn end(&mut self) {
        self.wish = Wish::Ended;
        self.id = None;
        self.version = None;
        self.remaining = None;
        self.changes = Default::default();
        self.fields = Fields::default();
    }
}

/// Why a session could not be opened. None of these means that there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store failed.
    #[error("the session could not be loaded")]
    Store(#[from] StoreError),
    /// The store holds something unreadable.
    #[error("the session could not be read")]
    Payload(#[from] PayloadError),
}

impl OpenError {
    /// Whether to try again, and when.
    pub fn retry(&self) -> Retry {
        match self {
            OpenError::Store(error) => error.retry(),
            OpenError::Payload(error) => error.retry(),
        }
    }
}

/// Why a session could not be committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The session has ended since it was opened: by a logout, a revocation or its age. Nothing was written,
    /// and the id stays dead. Remove the cookie.
    #[error("the session has ended")]
    Gone,
    /// The session has got a new id since it was opened, by another request of the same client. Nothing was
    /// written. Leave the cookie alone: the client has the new one, or it is on its way.
    #[error("the session has got another id meanwhile")]
    Superseded,
    /// So many others commit to this session that every attempt came second.
    #[error("the session is being changed too fast: {attempts} attempts came second")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The user has as many sessions as they may, and an older one does not give way. Nothing was written.
    #[error("the user has as many sessions as they may")]
    AtCap,
    /// The fields together are larger than the policy allows.
    #[error("the session would take {len} bytes, more than {limit}")]
    TooLarge {
        /// What it would take.
        len: usize,
        /// What it may.
        limit: usize,
    },
    /// What somebody else committed first cannot be read. It is left as it is.
    #[error("the session could not be read")]
    Payload(#[from] PayloadError),
    /// There was no new id to give.
    #[error("the session could not be given an id")]
    Entropy(#[from] EntropyError),
    /// The store failed.
    #[error("the session could not be stored")]
    Store(#[from] StoreError),
}

impl CommitError {
    /// Whether to commit the session again, and when. Committing is idempotent, [`Sessions::update`] is not.
    pub fn retry(&self) -> Retry {
        match self {
            CommitError::Gone
            | CommitError::Superseded
            | CommitError::AtCap
            | CommitError::TooLarge { .. } => Retry::NEVER,
            CommitError::Contended { .. } => {
                Retry::safe_after(core::time::Duration::from_millis(10))
            }
            CommitError::Payload(error) => error.retry(),
            CommitError::Entropy(error) => error.retry(),
            CommitError::Store(error) => error.retry(),
        }
    }
}
