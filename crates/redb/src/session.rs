mod builder;
mod engine;
mod layout;
mod look;
#[cfg(feature = "tokio")]
mod offload;
#[cfg(test)]
mod power_cut;
mod row;
mod tables;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use purlin_core::{Clock, SystemClock};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, ErrorKind, Record, RotateOutcome, SessionKey,
    SessionStore, Slide, StoreError, Swept, UserKey, Version,
};

pub use self::builder::RedbSessionStoreBuilder;
use self::engine::Engine;
#[cfg(feature = "tokio")]
pub use self::offload::OffloadedSessionStore;
use crate::OpenError;

/// Sessions in one file, which survive a crash.
///
/// Its own methods block: each that changes something waits for the disk, and callers on several threads share the
/// wait. A load that moves no deadline reads a snapshot and waits for nobody.
///
/// As a [`SessionStore`] its futures do all of their work in their first poll and block the thread that polls them.
/// Among tasks of tokio use `OffloadedSessionStore` (feature `tokio`).
///
/// The file belongs to one process at a time, and to sessions alone: the engine has one writer, so a queue in the same
/// file would only wait for the sessions, and the sessions for the queue.
///
/// ```
/// use std::time::Duration;
/// use purlin_redb::RedbSessionStore;
/// use purlin_session_store::{CreateOutcome, Lifetime, Record, SessionId, Slide, Version};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("sessions.redb");
/// let key = SessionId::random()?.key();
/// let lifetime = Lifetime::new(Duration::from_secs(30 * 60), Duration::from_secs(12 * 60 * 60));
///
/// let store = RedbSessionStore::open(&path)?;
/// let created = store.create(&key, Record::new("cart: hammer", lifetime))?;
/// assert_eq!(created, CreateOutcome::Created(Version::FIRST));
/// drop(store); // Or the power goes out.
///
/// let store = RedbSessionStore::open(&path)?;
/// let entry = store.load(&key, Slide::No)?.expect("it was acknowledged");
/// assert_eq!(entry.payload, "cart: hammer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Time
///
/// While the file is open, deadlines are measured by a monotonic clock from what the wall clock said at the opening;
/// setting the wall clock changes nothing. Over a restart only the wall clock can tell how much time went by: set
/// forward, sessions end early; set back, they last longer. A session that anybody was told has ended stays so
/// whatever the clock says, since that is written down before it is told.
///
/// # Errors
///
/// After the disk has failed, every later call is answered with [`ErrorKind::Unavailable`] and the advice not to try
/// again: not on this handle. Open the file anew.
pub struct RedbSessionStore<C = SystemClock> {
    engine: Engine<C>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    max_entries: u64,
    max_payload: usize,
    retention: Duration,
}

/// How many rotations after its own an old key still finds its session. More within the time that keys are remembered
/// end its grace early, so that no call walks far.
const MAX_HOPS: usize = 16;

impl RedbSessionStore {
    /// Opens the store in the file at `path`, or makes it, with the usual settings.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        RedbSessionStore::builder().open(path)
    }

    /// For other than the usual settings.
    pub fn builder() -> RedbSessionStoreBuilder {
        RedbSessionStoreBuilder::new()
    }
}

impl<C: Clock> RedbSessionStore<C> {
    /// See [`SessionStore::create`]. Blocks for a commit.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] of kind `Full` or `TooLarge`, which has the record, or of the file.
    pub fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        let key = *key;
        self.write(record, move |tables, now, record| {
            tables.create(now, &key, record)
        })
    }

    /// See [`SessionStore::load`]. Blocks for a commit if a deadline moves, or somebody is told for the first time that
    /// the session has ended.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the file failed.
    pub fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        let look = |read: &_, now| look::load(read, now, key, slide);
        if let Some(answer) = self.engine.look(look)? {
            return Ok(answer);
        }
        let key = *key;
        self.engine
            .run(move |tables, now| tables.load(now, &key, slide))
    }

    /// See [`SessionStore::commit`]. Blocks for a commit.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] of kind `TooLarge`, which has the record, or of the file.
    pub fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        let key = *key;
        self.write(record, move |tables, now, record| {
            tables.commit(now, &key, expected, record)
        })
    }

    /// See [`SessionStore::rotate`]. Blocks for a commit, one for both keys.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] of kind `Full` or `TooLarge`, which has the record, or of the file.
    pub fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let (old, new) = (*old, *new);
        self.write(record, move |tables, now, record| {
            tables.rotate(now, (&old, &new), expected, record, grace)
        })
    }

    /// See [`SessionStore::delete`]. Blocks for a commit if there was a session.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the file failed.
    pub fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let key = *key;
        self.engine.run(move |tables, now| tables.delete(now, &key))
    }

    /// See [`SessionStore::by_user`]. Reads a snapshot; blocks for a commit if some of the user's sessions have ended and
    /// were not freed.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the file failed.
    pub fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        let look = |read: &_, now| look::by_user(read, now, user);
        if let Some(listed) = self.engine.look(look)? {
            return Ok(listed);
        }
        let user = *user;
        self.engine
            .run(move |tables, now| tables.by_user(now, &user))
    }

    /// See [`SessionStore::revoke_user`]. Blocks for one commit, in which all of them end.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the file failed.
    pub fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        let (user, except) = (*user, except.copied());
        self.engine
            .run(move |tables, now| tables.revoke_user(now, &user, except.as_ref()))
    }

    /// See [`SessionStore::sweep`]. Blocks for a commit for every 256 rows looked at, between which others get their
    /// turn. Each writing call sweeps a few rows too, so a store that is written to needs this only to give back what
    /// expired while it was not.
    ///
    /// # Errors
    ///
    /// A [`StoreError`] if the file failed.
    pub fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        let mut total = Swept {
            removed: 0,
            caught_up: false,
        };
        let mut left = budget;
        loop {
            let share = left.min(SWEPT_PER_COMMIT);
            let swept = self
                .engine
                .run(move |tables, now| tables.sweep(now, share))?;
            total.removed += swept.removed;
            total.caught_up = swept.caught_up;
            left -= share;
            if swept.caught_up || left == 0 {
                return Ok(total);
            }
        }
    }

    fn write<R: Send + 'static>(
        &self,
        record: Record,
        write: impl FnOnce(
            &mut tables::Tables<'_>,
            purlin_core::Tick,
            &Record,
        ) -> Result<R, tables::Fault>
        + Send
        + 'static,
    ) -> Result<R, StoreError> {
        if record.payload.len() > self.engine.limits().max_payload {
            return Err(StoreError::new(ErrorKind::TooLarge).with_record(record));
        }
        let kept = record.clone();
        self.engine
            .run(move |tables, now| write(tables, now, &record))
            .map_err(|error| match error.kind() {
                ErrorKind::Full => error.with_record(kept),
                _ => error,
            })
    }
}

/// How many rows are swept in one transaction. Others wait for it, so it is short.
const SWEPT_PER_COMMIT: usize = 256;

/// Each future does its work in its first poll, and blocks the thread that polls it; one that is dropped before has no
/// effect.
impl<C: Clock + Send + Sync> SessionStore for RedbSessionStore<C> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.create(key, record)
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        self.load(key, slide)
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.commit(key, expected, record)
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        self.rotate(old, new, expected, record, grace)
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.delete(key)
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.by_user(user)
    }

    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        self.revoke_user(user, except)
    }

    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        self.sweep(budget)
    }
}

impl<C> fmt::Debug for RedbSessionStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbSessionStore")
            .field("engine", &self.engine)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use purlin_core::ManualClock;
    use purlin_session_store::conformance::{Subject, check, walk};
    use purlin_session_store::{Lifetime, Owner, SessionId};
    use redb::Database;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::file::OpenFile;

    fn in_memory() -> OpenFile {
        let database = Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .unwrap();
        layout::make(&database).unwrap();
        OpenFile {
            database,
            _lock: None,
        }
    }

    /// A file of the format without users: its sessions are nobody's, and can become somebody's.
    #[test]
    fn a_file_of_format_1_is_read_and_brought_up_to_date() {
        let file = in_memory();
        let [old, new] = [7, 8].map(|byte| SessionId::from_secret_bytes([byte; 32]).key());
        layout::make_older(&file.database, &old, b"cart").unwrap();
        let store = on(file, ManualClock::new());
        let entry = store.load(&old, Slide::No).unwrap().unwrap();
        assert_eq!((&entry.payload[..], entry.owner), (&b"cart"[..], None));

        let user = UserKey::of("17");
        let lifetime = Lifetime::new(Duration::MAX, Duration::MAX);
        let record = Record::new("cart", lifetime).with_owner(Owner::User { user, cap: None });
        let outcome = store.rotate(&old, &new, entry.version, record, Duration::ZERO);
        assert!(matches!(outcome.unwrap(), RotateOutcome::Rotated(_)));
        assert_eq!(store.by_user(&user).unwrap(), [new]);
    }

    fn on(file: OpenFile, clock: ManualClock) -> RedbSessionStore<ManualClock> {
        let limits = RedbSessionStore::builder().limits;
        let engine = Engine::on(Path::new("memory"), file, limits, clock).unwrap();
        RedbSessionStore { engine }
    }

    /// A list of sessions that all live is read beside a transaction that writes.
    #[test]
    fn a_list_of_living_sessions_waits_for_nobody() {
        let (clock, user) = (ManualClock::new(), UserKey::of("17"));
        let store = on(in_memory(), clock.clone());
        let id = |byte| SessionId::from_secret_bytes([byte; 32]).key();
        let minute = Duration::from_secs(60);
        for (byte, idle) in [(1, minute), (2, minute * 5)] {
            let owner = Owner::User { user, cap: None };
            let record = Record::new("x", Lifetime::new(idle, minute * 60)).with_owner(owner);
            let _ = store.create(&id(byte), record).unwrap();
        }
        let busy = store.engine.begin_write();
        let (tell, told) = mpsc::channel();
        let listed = thread::scope(|scope| {
            scope.spawn(|| tell.send(store.by_user(&user).unwrap()).unwrap());
            let listed = told.recv_timeout(Duration::from_secs(20));
            // So that the thread ends in any case.
            drop(busy);
            listed
        });
        assert_eq!(listed.expect("it waits for a writer"), [id(1), id(2)]);

        clock.advance(minute);
        assert_eq!(store.by_user(&user).unwrap(), [id(2)]);
        assert_eq!(store.load(&id(1), Slide::No).unwrap(), None);
    }

    struct Under {
        store: RedbSessionStore<ManualClock>,
        clock: ManualClock,
    }

    impl Subject for Under {
        type Store = RedbSessionStore<ManualClock>;
        fn store(&self) -> &Self::Store {
            &self.store
        }
        fn retention(&self) -> Duration {
            Duration::from_secs(300)
        }
        fn unit(&self) -> Duration {
            Duration::from_millis(1)
        }
        async fn pass(&self, time: Duration) {
            self.clock.advance(time);
        }
    }

    #[tokio::test]
    async fn the_redb_store_walks_with_the_model() {
        for seed in 0..12 {
            let clock = ManualClock::new();
            let store = on(in_memory(), clock.clone());
            let verdict = walk(&Under { store, clock }, seed, 60).await;
            assert!(verdict.is_ok(), "seed {seed}: {verdict:?}");
        }
    }

    /// On a disk in memory, since the suite commits some 40 000 times.
    #[tokio::test]
    async fn the_redb_store_keeps_the_contract() {
        let clock = ManualClock::new();
        let store = on(in_memory(), clock.clone());
        let report = check(&Under { store, clock }).await.unwrap();
        assert_eq!(report.interleavings, 2 * 16 * 16 * 10);
        assert_eq!(report.promises, 26);
    }
}
