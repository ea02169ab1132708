//! Sessions in a store, under a policy.

mod devices;

use core::time::Duration;

use purlin_core::sync::atomic::{AtomicU32, Ordering};
use purlin_core::{Clock, Retry, SystemClock};
#[cfg(feature = "test-util")]
use purlin_core::{Rng, sync::Mutex};

use crate::auth::{Auth, Login, SessionHandle};
use crate::bucket::Bucket;
use crate::error::StoreError;
use crate::fields::{AUTH, Changes, EPOCH, Fields, PayloadError};
use crate::id::{EntropyError, SessionId};
use crate::policy::Policy;
use crate::session::{AuthChange, Session, State, Wish};
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Lifetime, Record, RotateOutcome, SessionStore, Slide,
    Version,
};
use crate::user::{Owner, UserKey};

pub use devices::{Device, RevokeError};

/// The sessions of a service: a store, and the [`Policy`] they live under.
///
/// ```
/// use purlin_session_store::{Login, MemoryStore, Policy, Saved, Session, Sessions};
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
/// session.login(Login::new("17"));
/// assert_eq!(sessions.commit(&mut session).await?, Saved::Rotated);
/// assert_eq!(sessions.open(cookie).await?.user(), None, "nothing for the old id");
///
/// // Out, on every device.
/// let cookie = session.id().expect("rotated").clone();
/// assert_eq!(sessions.logout_everywhere(&mut session).await?, 1);
/// assert_eq!(sessions.open(cookie).await?.user(), None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sessions<S, C = SystemClock> {
    store: S,
    policy: Policy,
    ids: Ids,
    /// Sessions of earlier epochs have ended.
    epoch: AtomicU32,
    /// How fast sessions without a login may be made.
    newcomers: Option<Bucket>,
    clock: C,
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
            ids: Ids::System,
            epoch: AtomicU32::new(policy.first_epoch()),
            newcomers: policy.newcomers(),
            policy,
            clock: SystemClock::new(),
        }
    }
}

impl<S: SessionStore, C: Clock + Send + Sync> Sessions<S, C> {
    /// The same on another clock. It says when users logged in, by its wall time, and how fast sessions are
    /// made; when sessions end is for the store's clock to say.
    #[must_use]
    pub fn with_clock<D>(self, clock: D) -> Sessions<S, D> {
        Sessions {
            store: self.store,
            policy: self.policy,
            ids: self.ids,
            epoch: self.epoch,
            newcomers: self.newcomers,
            clock,
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

    /// Ends all sessions of earlier epochs at once, those of everybody: none of them is opened any more, and
    /// each is deleted when its id is next seen. Other processes need to be told too; and so does the
    /// [`Policy::epoch`] of the next start. A lower epoch than there is changes nothing.
    pub fn raise_epoch(&self, epoch: u32) {
        // Relaxed: it guards nothing but itself, and a request under way may have been opened before.
        self.epoch.fetch_max(epoch, Ordering::Relaxed);
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
        let key = id.key();
        let Some(entry) = self.store.load(&key, self.policy.slide()).await? else {
            return Ok(Session::absent());
        };
        let session = Session::opened(id, entry, self.clock.wall())?;
        if session.stored_epoch() < self.epoch.load(Ordering::Relaxed) {
            self.store.delete(&key).await?;
            return Ok(Session::absent());
        }
        self.slide_further(session).await
    }

    /// Gives a session the rest of its idle time, where those that somebody is logged in to get less or more
    /// than others: what the load gave was right for both.
    async fn slide_further(&self, mut session: Session) -> Result<Session, OpenError> {
        let (Some(slide), Some(left), Some(id)) = (
            self.policy.slides_further(session.user().is_some()),
            session.remaining,
            &session.id,
        ) else {
            return Ok(session);
        };
        let Slide::To { idle, min_gain } = slide else {
            return Ok(session);
        };
        let target = idle.min(left.absolute);
        if target > left.idle && target - left.idle >= min_gain && !session.is_superseded() {
            self.store.touch(&id.key(), slide).await?;
            session.renew(idle);
        }
        Ok(session)
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
            match self.step(session).await? {
                Step::Done(saved) => return Ok(saved),
                Step::Again => {}
                Step::Conflict(entry) => self.rebase(session, entry)?,
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
        let infallible =
            |session: &mut Session| Ok::<R, core::convert::Infallible>(change(session));
        match self.try_update(session, infallible).await {
            Ok(updated) => Ok(updated),
            Err(UpdateError::Commit(error)) => Err(error),
            Err(UpdateError::Refused(never)) => match never {},
        }
    }

    /// [`update`](Sessions::update) by a closure that may refuse. Then nothing is stored, and the session has
    /// the changes that it had before the call.
    ///
    /// ```
    /// use purlin_session_store::{MemoryStore, Policy, Session, Sessions, UpdateError};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sessions = Sessions::new(MemoryStore::new(), Policy::default());
    /// let mut session = Session::absent();
    /// let spend = |session: &mut Session| match session.get_bytes("coins") {
    ///     Some(_) => Ok(session.remove("coins")),
    ///     None => Err("no coins"),
    /// };
    /// let outcome = sessions.try_update(&mut session, spend).await;
    /// assert!(matches!(outcome, Err(UpdateError::Refused("no coins"))));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`UpdateError`]: what the closure said, or why the commit failed.
    ///
    /// # Cancel safety
    ///
    /// That of [`update`](Sessions::update).
    pub async fn try_update<R: Send, E: Send>(
        &self,
        session: &mut Session,
        mut change: impl FnMut(&mut Session) -> Result<R, E> + Send,
    ) -> Result<(R, Saved), UpdateError<E>> {
        let mut before = session.pending();
        let attempts = self.policy.max_attempts();
        for _ in 0..attempts.get() {
            session.set_pending(before.clone());
            let result = match change(session) {
                Ok(result) => result,
                Err(refusal) => {
                    session.set_pending(before);
                    return Err(UpdateError::Refused(refusal));
                }
            };
            match self.step(session).await? {
                Step::Done(saved) => return Ok((result, saved)),
                Step::Again => {}
                Step::Conflict(entry) => {
                    // Of what clashes, the closure's part is made anew. What was there before is not.
                    session.set_pending(before);
                    self.rebase(session, entry)?;
                    before = session.pending();
                }
            }
        }
        Err(UpdateError::Commit(CommitError::Contended {
            attempts: attempts.get(),
        }))
    }

    /// Puts the session's changes on top of what somebody else committed.
    fn rebase(&self, session: &mut Session, entry: Entry) -> Result<(), CommitError> {
        let theirs = Fields::decode(entry.payload.clone())?;
        self.policy
            .rules()
            .settle(&mut session.changes, &session.fields, &theirs)
            .map_err(|field| CommitError::Clash { field })?;
        session.rebase(entry, theirs)?;
        Ok(())
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
        if session.auth_change.is_none() {
            if let Some(bucket) = &self.newcomers {
                let taken = bucket.take(self.clock.now());
                taken.map_err(|after| CommitError::TooManyNew { after })?;
            }
        }
        let id = self.new_id()?;
        let mut lifetime = self.policy.lifetime(session.auth_change.is_some());
        lifetime.absolute = lifetime
            .absolute
            .min(session.ends_within.unwrap_or(Duration::MAX));
        lifetime.idle = lifetime.idle.min(lifetime.absolute);
        let record =
            Record::new(fields.payload().clone(), lifetime).with_owner(self.owner(session));
        match self.store.create(&id.key(), record).await? {
            CreateOutcome::Created(version) => {
                session.id = Some(id);
                session.opened_at = self.clock.wall();
                session.remaining = Some(lifetime);
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
        let lifetime = self.renewal(session);
        let record = Record::new(fields.payload().clone(), lifetime);
        match self.store.commit(&key, version, record).await? {
            CommitOutcome::Committed(version) => {
                session.renew_for(lifetime);
                session.settle(version, fields);
                Ok(Step::Done(session.saved(Saved::Written)))
            }
            CommitOutcome::Conflict(entry) => Ok(Step::Conflict(entry)),
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
        let lifetime = self.renewal(session);
        let record =
            Record::new(fields.payload().clone(), lifetime).with_owner(self.owner(session));
        let grace = self.policy.grace_time();
        match self
            .store
            .rotate(&old.key(), &new.key(), version, record, grace)
            .await?
        {
            RotateOutcome::Rotated(version) => {
                session.take_next_id(new);
                session.renew_for(lifetime);
                session.settle(version, fields);
                Ok(Step::Done(session.saved(Saved::Rotated)))
            }
            RotateOutcome::Conflict(entry) => Ok(Step::Conflict(entry)),
            // An earlier attempt of ours got through, and its answer did not. What changed since is written
            // on top.
            RotateOutcome::Superseded(by) if by == new.key() => {
                let Some(entry) = self.store.load(&by, Slide::No).await? else {
                    return Err(session.gone());
                };
                session.take_next_id(new);
                if session.auth_change.is_some() {
                    // Whether that attempt was for the login that is asked for now, nobody knows.
                    session.rotate();
                }
                Ok(Step::Conflict(entry))
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

    /// Whose a session becomes that is created or rotated.
    fn owner(&self, session: &Session) -> Owner {
        match &session.auth_change {
            Some(AuthChange::Login(login)) => Owner::User {
                user: UserKey::of(login.user()),
                cap: self.policy.user_cap(),
            },
            Some(AuthChange::StepUp(_)) | None => Owner::Unchanged,
        }
    }

    /// The lifetime that writing a session gives it: the idle time anew, and the absolute deadline as it is,
    /// unless a login begins or the session is to end sooner.
    fn renewal(&self, session: &Session) -> Lifetime {
        let policy = self.policy.lifetime(session.user().is_some());
        let absolute = match &session.auth_change {
            Some(AuthChange::Login(_)) => policy.absolute,
            Some(AuthChange::StepUp(_)) | None => Duration::MAX,
        };
        let sooner = session.ends_within.unwrap_or(Duration::MAX);
        Lifetime::new(policy.idle, absolute.min(sooner))
    }

    fn encode(&self, session: &Session) -> Result<Fields, CommitError> {
        let limit = self.policy.limit();
        let schema = self.policy.schema_over(session.fields.schema());
        let own;
        let changes = match self.own_fields(session)? {
            Some(with_own) => {
                own = with_own;
                &own
            }
            None => &session.changes,
        };
        let fields = session
            .fields
            .with_changes(changes, schema, limit)
            .map_err(|len| CommitError::TooLarge { len, limit })?;
        let (count, limit) = (fields.count(), self.policy.field_limit());
        if count > limit {
            return Err(CommitError::TooManyFields { count, limit });
        }
        Ok(fields)
    }

    /// The changes with those to the fields of this crate's own, if there are any.
    fn own_fields(&self, session: &Session) -> Result<Option<Changes>, CommitError> {
        let begins = session.version.is_none();
        let epoch = self.epoch.load(Ordering::Relaxed);
        let Some(change) = &session.auth_change else {
            if !begins || epoch == 0 {
                return Ok(None);
            }
            let mut changes = session.changes.clone();
            changes.set(EPOCH, Some(epoch.to_le_bytes().to_vec().into()));
            return Ok(Some(changes));
        };
        let mut changes = session.changes.clone();
        let now = self.clock.wall();
        match change {
            AuthChange::Login(login) => {
                let len = login.user().len();
                if len > Login::MAX_USER_LEN {
                    let limit = Login::MAX_USER_LEN;
                    return Err(CommitError::TooLarge { len, limit });
                }
                let handle = SessionHandle::from_random(self.new_id()?.secret_bytes());
                changes.set(AUTH, Some(login.settled(now, handle).encode()));
                // Whoever proves who they are now has a session of this epoch.
                let epoch = (epoch > 0).then(|| epoch.to_le_bytes().to_vec().into());
                changes.set(EPOCH, epoch);
            }
            AuthChange::StepUp(assurance) => {
                if let Some(stored) = session.stored_auth() {
                    let proven = Auth {
                        assurance: *assurance,
                        proven: now,
                        ..stored
                    };
                    changes.set(AUTH, Some(proven.encode()));
                }
            }
        }
        Ok(Some(changes))
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
    /// Try once more.
    Again,
    /// Somebody else wrote this first.
    Conflict(Entry),
}

impl Session {
    /// After the store took the session as it is.
    fn settle(&mut self, version: Version, fields: Fields) {
        self.version = Some(version);
        self.fields = fields;
        self.changes = Default::default();
        self.auth_change = None;
        self.ends_within = None;
        self.wish = Wish::Keep;
    }

    fn take_next_id(&mut self, id: SessionId) {
        self.id = Some(id);
        self.next_id = None;
        self.id_is_news = true;
        self.wish = Wish::Keep;
    }

    /// After the store moved the idle deadline: no further than the absolute one.
    fn renew(&mut self, idle: Duration) {
        if let Some(remaining) = &mut self.remaining {
            remaining.idle = idle.min(remaining.absolute);
        }
    }

    fn renew_for(&mut self, lifetime: Lifetime) {
        if let Some(remaining) = &mut self.remaining {
            remaining.absolute = remaining.absolute.min(lifetime.absolute);
        }
        self.renew(lifetime.idle);
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
        self.auth_change = None;
        self.ends_within = None;
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
    /// The session would have more fields than the policy allows.
    #[error("the session would have {count} fields, more than {limit}")]
    TooManyFields {
        /// How many it would have.
        count: usize,
        /// How many it may.
        limit: usize,
    },
    /// Somebody else changed a field first that may not be changed by two; see
    /// [`OnClash::Fail`](crate::OnClash::Fail). Nothing was written. Open the session again to see theirs.
    #[error("field `{field}` was changed by somebody else meanwhile")]
    Clash {
        /// The field.
        field: Box<str>,
    },
    /// More sessions without a login are being made than the policy allows.
    #[error("too many new sessions")]
    TooManyNew {
        /// When the next may be made.
        after: Duration,
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
            | CommitError::Clash { .. }
            | CommitError::TooManyFields { .. }
            | CommitError::TooLarge { .. } => Retry::NEVER,
            CommitError::TooManyNew { after } => Retry::safe_after(*after),
            CommitError::Contended { .. } => Retry::safe_after(Duration::from_millis(10)),
            CommitError::Payload(error) => error.retry(),
            CommitError::Entropy(error) => error.retry(),
            CommitError::Store(error) => error.retry(),
        }
    }
}

/// Why [`Sessions::try_update`] changed nothing.
#[derive(Debug, thiserror::Error)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the closure refused or the commit failed"
)]
pub enum UpdateError<E> {
    /// The closure refused, with this.
    #[error("the change was refused")]
    Refused(E),
    /// The commit failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl<E> UpdateError<E> {
    /// Whether to call again, and when. What the closure refused it will refuse again.
    pub fn retry(&self) -> Retry {
        match self {
            UpdateError::Refused(_) => Retry::NEVER,
            UpdateError::Commit(error) => error.retry(),
        }
    }
}
