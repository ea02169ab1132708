//! One attempt at a commit: what is asked of the store, and what its answer makes of the session.

use core::time::Duration;

use purlin_core::Clock;
use purlin_core::sync::atomic::Ordering;

use super::{CommitError, Ids, Saved, Sessions};
use crate::auth::{Auth, Login, SessionHandle};
use crate::fields::{AUTH, Changes, EPOCH, Fields};
use crate::id::{EntropyError, SessionId};
use crate::session::{AuthChange, Session, State, Wish};
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Lifetime, Record, RotateOutcome, SessionStore, Slide,
    Version,
};
use crate::user::{Owner, UserKey};

impl<S: SessionStore, C: Clock + Send + Sync> Sessions<S, C> {
    /// One attempt at a commit.
    pub(super) async fn step(&self, session: &mut Session) -> Result<Step, CommitError> {
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
                session.note_opening(&self.clock);
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

/// What came of an attempt at a commit.
pub(super) enum Step {
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
    pub(super) fn renew(&mut self, idle: Duration) {
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

    pub(super) fn end(&mut self) {
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
