//! Sessions in a store, under a policy.

mod attempt;
mod devices;
mod failure;

use purlin_core::sync::atomic::{AtomicU32, Ordering};
use purlin_core::{Clock, SystemClock};
#[cfg(feature = "test-util")]
use purlin_core::{Rng, sync::Mutex};

use self::attempt::Step;
use crate::bucket::Bucket;
use crate::fields::{Fields, PayloadError};
use crate::id::SessionId;
use crate::policy::Policy;
use crate::session::Session;
use crate::store::{Entry, SessionStore, Slide};

pub use devices::{Device, RevokeError};
pub use failure::{CommitError, OpenError, UpdateError};

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
        let mut session = match Session::opened(id, entry, &self.clock) {
            Err(PayloadError::Corrupt) if self.policy.ends_corrupt() => {
                self.store.delete(&key).await?;
                return Ok(Session::absent());
            }
            opened => opened?,
        };
        if session.stored_epoch() < self.epoch.load(Ordering::Relaxed) {
            self.store.delete(&key).await?;
            return Ok(Session::absent());
        }
        // Where those that somebody is logged in to get less or more time than others, the load gave what is right
        // for both, and the rest is still to be given.
        let further = self.policy.slides_further(session.user().is_some());
        if let (Some(slide @ Slide::To { idle, .. }), Some(left)) = (further, session.remaining) {
            if slide.would_move(left) && !session.is_superseded() {
                self.store.touch(&key, slide).await?;
                session.renew(idle);
            }
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
        session.note_opening(&self.clock);
        Ok(())
    }
}
