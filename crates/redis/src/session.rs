mod at_once;
mod batch;
mod builder;
pub(crate) mod failure;
mod flight;
mod glance;
mod heads;
mod hot;
mod owned;
mod rotation;
mod rows;
mod scripts;
mod swap;
mod users;
mod words;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, ErrorKind, Record, RotateOutcome, SessionKey,
    SessionStore, Slide, StoreError, UserKey, Version,
};
use redis::aio::{ConnectionLike, ConnectionManager};
use redis::{RedisError, Script};

use self::at_once::at_once;
use self::batch::Batches;
pub use self::builder::{ConnectError, RedisSessionStoreBuilder};
use self::failure::{TimedOut, store_error};
use self::glance::ServerTime;
use self::heads::Heads;
use self::hot::Glance;
use self::rows::Rows;
use self::scripts::{Reply, Scripts, decimal, millis};
use self::swap::Swaps;

/// Sessions on a Redis or Valkey server, shared by any number of processes.
///
/// A call on a session that is nobody's is one round trip, but for a [`rotate`](SessionStore::rotate), which is four, and
/// a [`commit`](SessionStore::commit) that somebody was faster than and a [`load`](SessionStore::load) of what is not there, which may be two; the first call after one that was
/// interrupted is three. A call under a key that was rotated away takes one more for each
/// rotation since. One that makes a session somebody's, moves or ends it takes one more for their list, and so does the
/// load that writes the idle deadline of such a session; at a cap it takes two more and one for each that gives way.
///
/// The server's clock decides when a session ends, and the server frees what has ended by itself, so
/// [`sweep`](SessionStore::sweep) has nothing to do.
///
/// Clones are the same store, over the same connection.
///
/// # Names in the server
///
/// A session is one string under the prefix and the 33 raw bytes of its [`SessionKey`]. The list of a user is one sorted
/// set under the prefix, `user:`, and the 32 raw bytes of their [`UserKey`]. No script that has to run touches two keys, so
/// in a cluster they may be anywhere.
///
/// Commits made at the same moment over a connection that the store made itself go together: for less than a round trip
/// there is a string for each under the prefix, `new:`, and 20 bytes, which then takes its session's place. A connection
/// that breaks just then leaves up to sixteen of each message, which end when their sessions would have. To know what a row must look
/// like the store remembers the heads of the last 4096 that it has read or written, 88 bytes each. Where a server forbids
/// any of it (`RENAME`, or keys that may live on several servers), each commit goes by itself.
///
/// # Cancel safety
///
/// A call whose future is dropped before its first poll has done nothing. After that the server may do what it was
/// sent; each script has its effect as a whole or not at all. A rotation that was interrupted has happened or has not,
/// and either the old key or the new one has the session: the new one takes it over at its next use, for which it has
/// the [retention](RedisSessionStoreBuilder::retention), or repeat the rotation.
pub struct RedisSessionStore<C = ConnectionManager> {
    connection: C,
    shared: Arc<Shared>,
}

struct Shared {
    /// None if a message of many commands may not be sent over the connection, or nobody knows.
    batches: Option<Batches>,
    /// For commits of such a message.
    heads: Option<Heads>,
    scripts: Arc<Scripts>,
    rows: Arc<Rows>,
    server_time: ServerTime,
    /// Whether it was found to be one from before Redis 7.
    is_old_server: AtomicBool,
    settings: RedisSessionStoreBuilder,
}

impl<C> RedisSessionStore<C> {
    fn new(connection: C, settings: RedisSessionStoreBuilder, shares_messages: bool) -> Self {
        let scripts = Arc::new(Scripts::new());
        let rows = Arc::new(Rows::new(&settings.prefix));
        let batches = || {
            let swaps = Swaps::new(Arc::clone(&scripts), &settings.prefix);
            Batches::new(Arc::clone(&rows), swaps)
        };
        RedisSessionStore {
            connection,
            shared: Arc::new(Shared {
                batches: shares_messages.then(batches),
                heads: shares_messages.then(Heads::new),
                scripts,
                rows,
                server_time: ServerTime::new(),
                is_old_server: AtomicBool::new(false),
                settings,
            }),
        }
    }
}

impl RedisSessionStore {
    /// For a store on a server.
    pub fn builder() -> RedisSessionStoreBuilder {
        RedisSessionStoreBuilder::new()
    }
}

/// How many rotations after its own an old key still finds its session. More within the time that keys are remembered
/// end its grace early, so that no call walks far.
const MAX_HOPS: usize = 16;

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisSessionStore<C> {
    fn scripts(&self) -> &Scripts {
        &self.shared.scripts
    }

    fn rows(&self) -> &Rows {
        &self.shared.rows
    }

    fn server_time(&self) -> &ServerTime {
        &self.shared.server_time
    }

    fn batches(&self) -> Option<&Batches> {
        self.shared.batches.as_ref()
    }

    fn heads(&self) -> Option<&Heads> {
        self.shared.heads.as_ref()
    }

    fn is_old_server(&self) -> &AtomicBool {
        &self.shared.is_old_server
    }

    fn connection(&self) -> &C {
        &self.connection
    }

    fn settings(&self) -> &RedisSessionStoreBuilder {
        &self.shared.settings
    }

    /// One round trip: a script on one key.
    async fn run(
        &self,
        script: &Script,
        key: &SessionKey,
        args: &[&[u8]],
    ) -> Result<Reply, StoreError> {
        Reply::parse(self.invoke(script, &self.name_of(key), args).await?)
    }

    /// [`run`](Self::run), and once more if the row was left unfinished by a rotation that has happened.
    async fn run_settled(
        &self,
        script: &Script,
        key: &SessionKey,
        args: &[&[u8]],
    ) -> Result<Reply, StoreError> {
        let reply = self.run(script, key, args).await?;
        let Reply::Prepared(from) = reply else {
            return Ok(reply);
        };
        if !self.settle(key, &from).await? {
            return Ok(Reply::Nothing);
        }
        match self.run(script, key, args).await? {
            // Not for this key's rotation, whatever it is.
            Reply::Prepared(_) => Ok(Reply::Nothing),
            reply => Ok(reply),
        }
    }

    fn name_of(&self, key: &SessionKey) -> Vec<u8> {
        [&self.settings().prefix[..], key.as_bytes()].concat()
    }

    /// An answer of the server, within the time that a round trip may take.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, StoreError> {
        let limit = self.settings().timeout;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(store_error(error)),
            Err(_) => Err(StoreError::new(ErrorKind::Interrupted).with_source(TimedOut(limit))),
        }
    }

    async fn loaded(
        &self,
        key: &SessionKey,
        slide: Slide,
        without_payload: bool,
    ) -> Result<Option<Entry>, StoreError> {
        let (idle, min_gain) = match slide {
            Slide::No => (String::new(), 0),
            Slide::To { idle, min_gain } => (millis(idle).to_string(), millis(min_gain)),
        };
        let without_payload: &[u8] = if without_payload { b"1" } else { b"" };
        let moves_the_key: &[u8] = if self.moves_the_key(slide) { b"1" } else { b"" };
        let args = [
            idle.as_bytes(),
            &decimal(min_gain),
            without_payload,
            moves_the_key,
        ];
        let asked = self.server_time().asked();
        match self.run_settled(&self.scripts().load, key, &args).await? {
            Reply::Live {
                entry,
                owned,
                slid,
                now,
            } => {
                self.server_time().learn(asked, now);
                if let (Some(owned), true) = (owned, slid) {
                    // The load has happened. A list that cannot be mended now is at the next slide.
                    let _ = self.relist(&owned, key, entry.remaining.absolute).await;
                }
                Ok(Some(entry))
            }
            Reply::Rotated { past, by, .. } if past.remaining.idle > Duration::ZERO => {
                let live = self.follow(key, by).await?;
                Ok(live.map(|live| past.with_successor(live)))
            }
            Reply::Rotated { .. }
            | Reply::Nothing
            | Reply::Deleted
            | Reply::Prepared(_)
            | Reply::Done { .. }
            | Reply::Committed(_)
            | Reply::Stale => Ok(None),
        }
    }

    async fn created(
        &self,
        key: &SessionKey,
        record: &Record,
    ) -> Result<CreateOutcome, StoreError> {
        let lifetime = record.lifetime;
        let owner = match record.owner.after(None) {
            None => None,
            Some(user) => {
                let absolute = (lifetime.absolute != Duration::MAX).then_some(lifetime.absolute);
                let cap = record.owner.cap_for(None);
                match self.enlist(user, key, absolute, cap, None).await? {
                    Some(owned) => Some(owned),
                    None => return Ok(CreateOutcome::AtCap),
                }
            }
        };
        let args = [
            &decimal(millis(lifetime.idle))[..],
            &decimal(millis(lifetime.absolute)),
            &record.payload,
            &owner.map(|owned| owned.bytes()).unwrap_or_default(),
        ];
        let asked = self.server_time().asked();
        let reply = self.run(&self.scripts().create, key, &args).await?;
        if let Reply::Done { version, now, .. } = reply {
            now.inspect(|now| self.server_time().learn(asked, *now));
            return Ok(CreateOutcome::Created(version));
        }
        if let Some(owned) = owner {
            self.withdraw(&owned, key).await;
        }
        match reply {
            Reply::Stale => Err(stale()),
            _ => Ok(CreateOutcome::Collision),
        }
    }

    /// The key under which a session lives that the caller knows by this one.
    async fn present_key(
        &self,
        key: Option<&SessionKey>,
    ) -> Result<Option<SessionKey>, StoreError> {
        let Some(key) = key else { return Ok(None) };
        let entry = self.loaded(key, Slide::No, true).await?;
        Ok(entry.map(|entry| entry.superseded_by.unwrap_or(*key)))
    }

    fn admit(&self, record: &Record) -> Result<(), StoreError> {
        if record.payload.len() > self.settings().max_payload {
            return Err(StoreError::new(ErrorKind::TooLarge).with_record(record.clone()));
        }
        Ok(())
    }
}

/// The error, with the record if the kind is one that gives it back.
fn with_record(error: StoreError, record: &Record) -> StoreError {
    match error.kind() {
        ErrorKind::Full => error.with_record(record.clone()),
        _ => error,
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> SessionStore for RedisSessionStore<C> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.admit(&record)?;
        self.created(key, &record)
            .await
            .map_err(|error| with_record(error, &record))
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        match self.glance(key, slide).await? {
            Glance::Answer(answer) => Ok(answer),
            Glance::AskTheScript => self.loaded(key, slide, false).await,
        }
    }

    async fn touch(&self, key: &SessionKey, slide: Slide) -> Result<bool, StoreError> {
        Ok(self.loaded(key, slide, true).await?.is_some())
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.admit(&record)?;
        let asked = self.server_time().asked();
        let reply = self.run_commit(key, expected, &record).await;
        match reply.map_err(|error| with_record(error, &record))? {
            Reply::Done { now, .. } => {
                now.inspect(|now| self.server_time().learn(asked, *now));
                Ok(CommitOutcome::Committed(expected.next()))
            }
            Reply::Committed(_) => Ok(CommitOutcome::Committed(expected.next())),
            Reply::Live { entry, .. } => Ok(CommitOutcome::Conflict(entry)),
            Reply::Rotated { by, .. } => {
                let live = self.follow(key, by).await?;
                Ok(live.map_or(CommitOutcome::Gone, CommitOutcome::Superseded))
            }
            Reply::Nothing | Reply::Deleted | Reply::Prepared(_) | Reply::Stale => {
                Ok(CommitOutcome::Gone)
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
        self.admit(&record)?;
        self.rotated(old, new, expected, &record, grace)
            .await
            .map_err(|error| with_record(error, &record))
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let retention = decimal(millis(self.settings().retention));
        let script = &self.scripts().delete;
        let mut reply = self
            .run_settled(script, key, &[&retention, b"", b""])
            .await?;
        let mut at = *key;
        for hop in 0..=MAX_HOPS {
            match reply {
                Reply::Done { owned, .. } => {
                    if let Some(owned) = owned {
                        self.unlist(&owned, &at).await;
                    }
                    return Ok(true);
                }
                Reply::Rotated { past, by, .. }
                    if hop > 0 || past.remaining.idle > Duration::ZERO =>
                {
                    let args: [&[u8]; 3] = [&retention, at.as_bytes(), b""];
                    reply = self.run(script, &by, &args).await?;
                    at = by;
                }
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.living(user).await
    }

    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        let mut ended = 0;
        for _ in 0..REVOKE_ROUNDS {
            // Asked before and after: a session never comes back to a key that it has left, so where the spared one is the
            // same, it was all the while, and what lived elsewhere meanwhile is another and stays so.
            let spared = self.present_key(except).await?;
            let listed = self.listed(user).await?;
            let (doomed, is_all) = match &spared {
                None => (listed, true),
                Some(spared) => self.all_but(user, listed, spared).await?,
            };
            if self.present_key(except).await? != spared {
                continue;
            }
            if doomed.is_empty() && is_all {
                return Ok(ended);
            }
            ended += self.end_all(user, &doomed).await?;
        }
        Err(StoreError::new(ErrorKind::Unavailable).with_source(TooMany))
    }

    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        at_once(
            keys.iter()
                .map(|key| self.loaded(key, Slide::No, false))
                .collect(),
        )
        .await
    }
}

/// How often a revocation looks at the list. The second time finds what was moved during the first.
const REVOKE_ROUNDS: usize = 16;

/// A user gets sessions faster than they are ended.
#[derive(Debug, thiserror::Error)]
#[error("sessions come faster than they end")]
struct TooMany;

/// A session took too long from its listing to its making, and was not made.
#[derive(Debug, thiserror::Error)]
#[error("the session was listed too long ago")]
struct ListedTooLongAgo;

fn stale() -> StoreError {
    StoreError::new(ErrorKind::Unavailable).with_source(ListedTooLongAgo)
}

impl<C: Clone> Clone for RedisSessionStore<C> {
    fn clone(&self) -> Self {
        RedisSessionStore {
            connection: self.connection.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

/// Shows no address, which may have a password in it.
impl<C> fmt::Debug for RedisSessionStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSessionStore")
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}
