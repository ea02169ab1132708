//! Sessions kept close, for as long as one may trust them.

mod hits;
mod invalidation;
mod kept;
mod stamps;

use core::fmt;
use core::time::Duration;

use purlin_core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use purlin_core::{Clock, MapHasher, SystemClock};
use purlin_lru_cache::Cache;

use self::hits::Hits;
use self::kept::Kept;
use self::stamps::Stamps;
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Record, RotateOutcome, SessionStore, Slide, Swept, Version,
};
use crate::user::{Owner, UserKey, WhenFull};

pub use invalidation::{Invalidation, Invalidations};

/// A store with the sessions that were just read kept in this process.
///
/// A session that another process changed or ended may be answered from here for a while. How long that can be is
/// the whole point of this type:
///
/// 1. While [`follow`](Near::follow) is being polled, what its [`Invalidations`] report is not answered any more from
///    the moment it is reported.
/// 2. While it is not, because the connection broke or was never made, nothing is answered from here: every call goes
///    to the store.
/// 3. Whatever happens to the connection, also if it is cut without anybody noticing, nothing is answered that was
///    asked of the store more than [`max_stale`](NearBuilder::max_stale) ago.
/// 4. What this process itself has written, moved or ended is not answered from here in its old form once the call
///    has returned, or its future was dropped.
///
/// Only loads are answered from here. Writes compare versions in the store, so what was stale in a request is found
/// out when it commits: no update is lost because of this type. A session's idle deadline moves in the store as often
/// as without it, since a load whose [`Slide`] has something to gain goes there.
///
/// Sessions that may do much can be left out by [`privileged`](NearBuilder::privileged). What a rotation left under
/// its old key is never kept.
///
/// # Reading while the store is away
///
/// Not unless asked for: see [`stale_read_only`](NearBuilder::stale_read_only).
///
/// # Cost
///
/// A hit is one look-up in a [`Cache`], one look at the clock, and two atomic loads. A deletion asks the store twice:
/// once to learn which session an old key would end.
///
/// ```
/// use purlin_session_store::{Invalidation, Invalidations, MemoryStore, Near, StoreError};
///
/// /// Nobody else writes to a store in this process's memory, so there is nothing to report.
/// struct Nothing;
///
/// impl Invalidations for Nothing {
///     async fn next(&mut self) -> Result<Invalidation, StoreError> {
///         std::future::pending().await
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let near = Near::builder().build(MemoryStore::new());
/// tokio::select! {
///     error = near.follow(Nothing) => eprintln!("{error}; asking the store until there is a new connection"),
///     () = async { /* the service */ } => {}
/// }
/// # }
/// ```
pub struct Near<S, C = SystemClock> {
    store: S,
    cache: Cache<SessionKey, Kept, MapHasher, C>,
    stamps: Stamps,
    /// How many calls of `follow` are under way.
    followers: AtomicUsize,
    rules: Rules,
    counts: Counts,
    clock: C,
}

/// Sets a [`Near`] up.
#[must_use = "a builder does nothing until `build`"]
pub struct NearBuilder<C = SystemClock> {
    max_bytes: usize,
    rules: Rules,
    clock: C,
}

struct Rules {
    max_stale: Duration,
    privileged: Option<Privileged>,
    /// How old a session may be that is answered while the store is away.
    max_age: Option<Duration>,
}

type Privileged = Box<dyn Fn(&Entry) -> bool + Send + Sync>;

#[derive(Default)]
struct Counts {
    hits: Hits,
    misses: AtomicU64,
    bypassed: AtomicU64,
    invalidated: AtomicU64,
    served_stale: AtomicU64,
}

/// What a [`Near`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearStats {
    /// Loads answered from this process.
    pub hits: u64,
    /// Loads for which the store was asked, because the session was not here, too old, or had to slide.
    pub misses: u64,
    /// Loads for which the store was asked because no invalidations were being followed.
    pub bypassed: u64,
    /// Invalidations of a session, by others and by this process.
    pub invalidated: u64,
    /// Loads answered from this process because the store failed.
    pub served_stale: u64,
}

impl Near<()> {
    /// For a store with sessions kept close.
    pub fn builder() -> NearBuilder {
        NearBuilder {
            max_bytes: 64 << 20,
            rules: Rules {
                max_stale: Duration::from_secs(5),
                privileged: None,
                max_age: None,
            },
            clock: SystemClock::default(),
        }
    }
}

impl<C> NearBuilder<C> {
    /// How much memory the kept sessions may take, in bytes of payload and a fixed sum for each. The default is 64 MiB.
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The longest time for which a session may be answered after the store was asked for it: 5 seconds unless told
    /// otherwise. It is what bounds a revocation whose report never comes. Zero keeps nothing.
    pub fn max_stale(mut self, max_stale: Duration) -> Self {
        self.rules.max_stale = max_stale;
        self
    }

    /// Which sessions are not to be kept here, but asked of the store at each load: those that may do what a revoked
    /// session must not do for even a moment. All sessions of users are `|entry| entry.owner.is_some()`. Runs without a
    /// lock, at each load that reached the store.
    pub fn privileged(
        mut self,
        is_privileged: impl Fn(&Entry) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.rules.privileged = Some(Box::new(is_privileged));
        self
    }

    /// While the store fails ([`ErrorKind::Unavailable`] or [`ErrorKind::Interrupted`]), answers loads by what was
    /// asked of it less than `max_age` ago. Nothing can be written meanwhile: commits fail as the store does.
    ///
    /// Without this call they fail, too, which is the right answer for most services. Privileged sessions, those for
    /// which the closure returns true, fail in any case: they are not kept, as with
    /// [`privileged`](NearBuilder::privileged), which this call implies. A session whose revocation was reported is
    /// not answered either; but while nobody reports, one that was revoked elsewhere may be answered for `max_age`.
    pub fn stale_read_only(
        self,
        max_age: Duration,
        is_privileged: impl Fn(&Entry) -> bool + Send + Sync + 'static,
    ) -> Self {
        let mut this = self.privileged(is_privileged);
        this.rules.max_age = Some(max_age);
        this
    }

    /// The clock that ages are measured by, in place of the operating system's.
    pub fn clock<C2>(self, clock: C2) -> NearBuilder<C2> {
        NearBuilder {
            max_bytes: self.max_bytes,
            rules: self.rules,
            clock,
        }
    }
}

impl<C: Clock + Clone> NearBuilder<C> {
    /// Keeps sessions of this store close.
    pub fn build<S>(self, store: S) -> Near<S, C> {
        let cache = Cache::builder()
            .weight_limit(self.max_bytes, |_: &SessionKey, kept: &Kept| {
                kept.payload_len() + KEPT_BYTES
            })
            // What may be answered is decided at each load. A time to live would be a second look at the clock there.
            .clock(self.clock.clone())
            .build();
        Near {
            store,
            cache,
            stamps: Stamps::new(),
            followers: AtomicUsize::new(0),
            rules: self.rules,
            counts: Counts::default(),
            clock: self.clock,
        }
    }
}

/// What a kept session counts beside its payload: its place in the cache.
const KEPT_BYTES: usize = 256;

impl<S, C: Clock> Near<S, C> {
    /// Takes reports of what others changed, for as long as the source gives any. Loads are answered from this process
    /// only while this is being polled: give it a task of its own, and begin anew with a new source when it ends.
    ///
    /// What was kept before it began is not answered, as nobody knows what was missed. Reports of several servers go
    /// into one source, which fails when any of them does.
    ///
    /// # Errors
    ///
    /// Returns what the source failed with. From then on every load goes to the store.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the following, as an error does.
    pub async fn follow(&self, mut source: impl Invalidations) -> StoreError {
        let _following = Following::begin(self);
        loop {
            match source.next().await {
                Ok(Invalidation::Key(key)) => self.forget(&key),
                Ok(Invalidation::All) => self.forget_all(),
                Err(error) => return error,
            }
        }
    }

    /// Whether invalidations are being followed, and loads may be answered from this process.
    pub fn is_following(&self) -> bool {
        // Acquire: pairs with the Release in `Following::begin`, whose new era must be seen by then.
        self.followers.load(Ordering::Acquire) > 0
    }

    /// Forgets a session, as if somebody had reported that it changed.
    pub fn forget(&self, key: &SessionKey) {
        self.stamps.change(key);
        self.cache.remove(key);
        self.counts.invalidated.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets every session.
    pub fn forget_all(&self) {
        self.stamps.change_all();
        self.cache.clear();
    }

    /// The store itself, for a request that must not be answered by anything else.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What was counted until now.
    pub fn stats(&self) -> NearStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        NearStats {
            hits: self.counts.hits.sum(),
            misses: read(&self.counts.misses),
            bypassed: read(&self.counts.bypassed),
            invalidated: read(&self.counts.invalidated),
            served_stale: read(&self.counts.served_stale),
        }
    }

    /// Forgets sessions when dropped: after a write, whether it is known to have happened or not.
    fn forgetting<'a, const N: usize>(
        &'a self,
        keys: [&'a SessionKey; N],
    ) -> Forgetting<'a, S, C, N> {
        Forgetting { near: self, keys }
    }

    fn count(&self, count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a session may be kept here at all.
    fn may_keep(&self, entry: &Entry) -> bool {
        let is_privileged = self.rules.privileged.as_ref();
        entry.superseded_by.is_none() && !is_privileged.is_some_and(|test| test(entry))
    }
}

impl<S: SessionStore, C: Clock + Send + Sync> Near<S, C> {
    /// Asks the store, and keeps what it answers.
    async fn fetch(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        let (asked_at, stamp) = (self.clock.now(), self.stamps.of(key));
        let found = self.store.load(key, slide).await?;
        match &found {
            Some(entry) if self.may_keep(entry) => {
                self.cache.insert(*key, Kept::new(entry, asked_at, stamp));
            }
            Some(_) | None => {
                self.cache.remove(key);
            }
        }
        Ok(found)
    }

    /// Forgets all sessions of a user when dropped.
    async fn forgetting_user(
        &self,
        user: &UserKey,
    ) -> Result<ForgettingMany<'_, S, C>, StoreError> {
        let keys = self.store.by_user(user).await?;
        Ok(ForgettingMany { near: self, keys })
    }

    /// Forgets all sessions of a user, when dropped, if one more may end others.
    async fn forgetting_evicted(
        &self,
        owner: Owner,
    ) -> Result<Option<ForgettingMany<'_, S, C>>, StoreError> {
        match owner {
            Owner::User {
                user,
                cap: Some(cap),
            } if cap.when_full == WhenFull::EvictOldest => {
                Ok(Some(self.forgetting_user(&user).await?))
            }
            Owner::User { .. } | Owner::Unchanged | Owner::Nobody => Ok(None),
        }
    }

    /// The session as it was read a while ago, if the service asked for that in place of this error.
    fn instead_of(&self, error: StoreError, key: &SessionKey) -> Result<Option<Entry>, StoreError> {
        let (ErrorKind::Unavailable | ErrorKind::Interrupted, Some(max_age)) =
            (error.kind(), self.rules.max_age)
        else {
            return Err(error);
        };
        let now = self.clock.now();
        let kept = self.cache.peek(key).filter(|kept| {
            // Neither was its change reported, nor was everything forgotten.
            kept.stamp.is_unchanged_in(&self.stamps, key) && now.since(kept.asked_at) < max_age
        });
        match kept.and_then(|kept| kept.aged(now)) {
            Some(entry) => {
                self.count(&self.counts.served_stale);
                Ok(Some(entry))
            }
            None => Err(error),
        }
    }
}

impl<S: SessionStore, C: Clock + Send + Sync> SessionStore for Near<S, C> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        let _forgetting = self.forgetting([key]);
        let _evicting = self.forgetting_evicted(record.owner).await?;
        self.store.create(key, record).await
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        if self.is_following() {
            let now = self.clock.now();
            let kept = self.cache.get(key).filter(|kept| {
                now.since(kept.asked_at) < self.rules.max_stale
                    && kept.stamp.is_current_in(&self.stamps, key)
            });
            if let Some(entry) = kept.and_then(|kept| kept.aged(now)) {
                if !slide.would_move(entry.remaining) {
                    self.counts.hits.count(key);
                    return Ok(Some(entry));
                }
            }
            self.count(&self.counts.misses);
        } else {
            self.count(&self.counts.bypassed);
        }
        let fetched = if self.is_following() || self.rules.max_age.is_some() {
            self.fetch(key, slide).await
        } else {
            self.store.load(key, slide).await
        };
        fetched.or_else(|error| self.instead_of(error, key))
    }

    async fn touch(&self, key: &SessionKey, slide: Slide) -> Result<bool, StoreError> {
        self.store.touch(key, slide).await
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        let _forgetting = self.forgetting([key]);
        self.store.commit(key, expected, record).await
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let _forgetting = self.forgetting([old, new]);
        let _evicting = self.forgetting_evicted(record.owner).await?;
        self.store.rotate(old, new, expected, record, grace).await
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        // An old key within its grace ends a session that is known here by another.
        let found = self.store.load(key, Slide::No).await?;
        let present = found.and_then(|entry| entry.superseded_by).unwrap_or(*key);
        let _forgetting = self.forgetting([key, &present]);
        self.store.delete(key).await
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.store.by_user(user).await
    }

    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        let _forgetting = self.forgetting_user(user).await?;
        self.store.revoke_user(user, except).await
    }

    /// Asks the store: a list of sessions is looked at to see what is there now.
    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.store.load_many(keys).await
    }

    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        self.cache.sweep(budget);
        self.store.sweep(budget).await
    }
}

/// See [`Near::follow`].
struct Following<'a, S, C: Clock>(&'a Near<S, C>);

impl<'a, S, C: Clock> Following<'a, S, C> {
    fn begin(near: &'a Near<S, C>) -> Self {
        near.stamps.begin_era();
        // Release: whoever sees that somebody follows sees the era that began with it.
        near.followers.fetch_add(1, Ordering::Release);
        Following(near)
    }
}

impl<S, C: Clock> Drop for Following<'_, S, C> {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::Release);
        self.0.stamps.begin_era();
        if self.0.rules.max_age.is_none() {
            self.0.cache.clear();
        }
    }
}

/// See [`Near::forgetting`].
struct Forgetting<'a, S, C: Clock, const N: usize> {
    near: &'a Near<S, C>,
    keys: [&'a SessionKey; N],
}

impl<S, C: Clock, const N: usize> Drop for Forgetting<'_, S, C, N> {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.near.forget(key));
    }
}

/// See [`Near::forgetting_user`].
struct ForgettingMany<'a, S, C: Clock> {
    near: &'a Near<S, C>,
    keys: Vec<SessionKey>,
}

impl<S, C: Clock> Drop for ForgettingMany<'_, S, C> {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.near.forget(key));
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Near<S, C> {
    /// Nothing of what is kept is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Near")
            .field("store", &self.store)
            .field("max_stale", &self.rules.max_stale)
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for NearBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearBuilder")
            .field("max_bytes", &self.max_bytes)
            .field("max_stale", &self.rules.max_stale)
            .finish_non_exhaustive()
    }
}
