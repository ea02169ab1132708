//! Sessions in this process's memory.

mod builder;
mod shard;
mod slot;
mod stats;
mod table;
mod usage;
mod users;

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use purlin_core::sync::atomic::{AtomicUsize, Ordering};
use purlin_core::sync::{Mutex, MutexGuard};
use purlin_core::{Clock, SystemClock, Tick};

use self::shard::{Counts, Shard};
use self::slot::State;
use self::usage::{NoRoom, Usage};
use self::users::{Full, Users};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Record, RotateOutcome, SessionStore, Slide, Swept, Version,
};
use crate::user::{Cap, Owner, UserKey, WhenFull};

pub use builder::Builder;
pub use stats::Stats;

/// Sessions in memory: the reference for every other store, and a store for one process.
///
/// # Limits
///
/// It holds at most so many entries and bytes. At the limit, what has expired is freed; then a session that is
/// somebody's takes the room of those that are nobody's; and then `create` (or a commit that grows the
/// session) is refused with [`ErrorKind::Full`]. A session that is somebody's is never dropped to make room,
/// and one that is nobody's takes nobody's room: whoever makes a million of them keeps new visitors out, and
/// ends no session that is there. An entry counts its payload and [`ENTRY_BYTES`](MemoryStore::ENTRY_BYTES). Keys that
/// are remembered after their session ended count too.
///
/// # Time
///
/// Deadlines are ticks of the clock, so setting the wall clock neither ends nor prolongs a session. An
/// expired session is gone at once; its memory is freed a few entries at a time by the calls that write, and
/// by [`sweep`](SessionStore::sweep) for whoever wants it back sooner. The work of a sweep follows what
/// expires, not what lives: deadlines are in a [timer wheel](purlin_timer_wheel), and a session that is used
/// goes on to a new deadline without touching it.
///
/// # Cost
///
/// A call takes the lock of one shard for well under a microsecond, `rotate` those of two. Payloads are
/// copied in, so that a small slice does not keep a large buffer alive, and shared on the way out. No future
/// of this store ever waits.
///
/// ```
/// use std::time::Duration;
/// use purlin_session_store::{
///     CommitOutcome, CreateOutcome, Lifetime, MemoryStore, Record, SessionId, SessionStore, Slide,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let key = SessionId::random()?.key();
/// let lifetime = Lifetime::new(Duration::from_secs(30 * 60), Duration::from_secs(12 * 60 * 60));
///
/// let CreateOutcome::Created(first) = store.create(&key, Record::new("cart: 1", lifetime)).await? else { panic!("taken") };
/// let CommitOutcome::Committed(_) = store.commit(&key, first, Record::new("cart: 2", lifetime)).await? else { panic!() };
///
/// // A second writer that started from the first version is told so, and given what is there.
/// let CommitOutcome::Conflict(now) = store.commit(&key, first, Record::new("cart: 9", lifetime)).await? else { panic!() };
/// assert_eq!(now.payload, "cart: 2");
///
/// // And a writer that is late for the logout cannot undo it.
/// assert!(store.delete(&key).await?);
/// assert_eq!(store.commit(&key, now.version, Record::new("back?", lifetime)).await?, CommitOutcome::Gone);
/// assert_eq!(store.load(&key, Slide::No).await?, None);
/// # Ok(())
/// # }
/// ```
pub struct MemoryStore<C = SystemClock> {
    /// A power of two of them.
    shards: Box<[Mutex<Shard>]>,
    books: Books,
    max_payload: usize,
    retention: Duration,
    /// The shard at which the next sweep begins, so that small budgets reach them all.
    next_swept: AtomicUsize,
    clock: C,
}

/// What goes beside the shards, and is changed under the lock of the shard that it is about.
struct Books {
    usage: Usage,
    users: Users,
}

impl MemoryStore {
    /// A store with the default limits, on the system's clock; see [`Builder`].
    pub fn new() -> Self {
        MemoryStore::builder().build()
    }

    /// A store with limits of one's own.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

/// How many entries a writing call frees beside its own work. A call adds at most two timers, each of which
/// costs a few units until it has fired, so the sweep keeps up with any mix of calls.
const SWEPT_PER_WRITE: usize = 8;

/// How many entries are freed before a call is refused for want of room.
const SWEPT_WHEN_FULL: usize = 256;

/// How many sessions that are nobody's end before a call for one that is somebody's is refused.
const EVICTED_WHEN_FULL: usize = 64;

/// How often room is made among a user's sessions for one more. Each time that it was in vain, another call
/// for the same user took it.
const WAYS_MADE: usize = 256;

/// How many rotations after its own an old key still finds its session. More within the time that keys are
/// remembered end its grace early, so that no call walks far.
pub(crate) const MAX_HOPS: usize = 16;

impl<C> MemoryStore<C> {
    /// What an entry counts against [`max_bytes`](Builder::max_bytes) beside its payload: its place in the
    /// table, and its timer.
    pub const ENTRY_BYTES: usize = usage::ENTRY_BYTES;
}

impl<C: Clock> MemoryStore<C> {
    /// How full the store is, and what happened in it so far. Locks each shard in turn.
    pub fn stats(&self) -> Stats {
        let mut counts = Counts::default();
        for shard in &self.shards {
            counts.add(&shard.lock().counts);
        }
        let (entries, bytes) = self.books.usage.present();
        let Counts {
            created,
            committed,
            conflicts,
            rotated,
            deleted,
            expired,
            evicted,
        } = counts;
        let refused = self.books.usage.refused();
        Stats {
            entries,
            bytes,
            created,
            committed,
            conflicts,
            rotated,
            deleted,
            expired,
            evicted,
            refused,
        }
    }

    fn lock(&self, key: &SessionKey) -> (MutexGuard<'_, Shard>, Tick) {
        // Asked before the lock is taken: a clock may be anybody's code.
        let now = self.clock.now();
        let mut shard = self.shards[self.shard_idx(key)].lock();
        let now = shard.observe(now);
        (shard, now)
    }

    fn shard_idx(&self, key: &SessionKey) -> usize {
        // The byte after the version and the next one are as random as the rest of the digest.
        let [_, low, high, ..] = *key.as_bytes();
        usize::from(u16::from_le_bytes([low, high])) & (self.shards.len() - 1)
    }

    fn create_now(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        let owner = record.owner;
        let entitled = || owner.after(None).is_some();
        self.with_way(key, owner, entitled, record, |payload, lifetime| {
            let (mut shard, now) = self.lock(key);
            if shard.find(key, now).is_some() {
                return Ok(Ok(CreateOutcome::Collision));
            }
            shard.free_expired(key, now, &self.books);
            let absolute = now.after(lifetime.absolute);
            let until = now.after(lifetime.idle).min(absolute);
            let user = owner.after(None);
            let live = State::Live {
                payload: payload.clone(),
                version: Version::FIRST,
                absolute,
                owner: user.map(Box::new),
            };
            self.books.usage.reserve(1, live.cost())?;
            if let Some(user) = user {
                let added = self
                    .books
                    .users
                    .add(user, *key, absolute, owner.cap_for(None));
                if let Err(full) = added {
                    self.books.usage.release(1, live.cost());
                    return Ok(Err(full));
                }
            }
            shard.insert(*key, live, until, &self.books);
            shard.counts.created += 1;
            shard.expire(now, SWEPT_PER_WRITE, &self.books);
            Ok(Ok(CreateOutcome::Created(Version::FIRST)))
        })
        .map(|outcome| outcome.unwrap_or(CreateOutcome::AtCap))
    }

    fn load_now(&self, key: &SessionKey, slide: Slide) -> Option<Entry> {
        let (mut shard, now) = self.lock(key);
        let slot = shard.find(key, now)?;
        slot.slide(now, slide);
        match &slot.state {
            State::Live { .. } => slot.live_entry(now),
            State::Superseded(old) if now < old.grace_until => {
                let entry = old.entry(now);
                let next = old.by;
                drop(shard);
                Some(entry.with_successor(self.follow(next)?))
            }
            State::Superseded(_) | State::Tombstone => None,
        }
    }

    fn commit_now(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        let entitled = || self.owner(key).is_some();
        self.with_room(key, entitled, record, |new_payload, lifetime| {
            let (mut shard, now) = self.lock(key);
            let Some(slot) = shard.find(key, now) else {
                return Ok(CommitOutcome::Gone);
            };
            let next = match &mut slot.state {
                State::Live {
                    payload,
                    version,
                    absolute,
                    ..
                } if *version == expected => {
                    self.books.usage.resize(payload.len(), new_payload.len())?;
                    *payload = new_payload.clone();
                    *version = version.next();
                    *absolute = now.after(lifetime.absolute).min(*absolute);
                    slot.until = now.after(lifetime.idle).max(slot.until).min(*absolute);
                    let version = *version;
                    shard.rearm(key);
                    shard.counts.committed += 1;
                    shard.expire(now, SWEPT_PER_WRITE, &self.books);
                    return Ok(CommitOutcome::Committed(version));
                }
                State::Live { .. } => {
                    let present = slot.live_entry(now);
                    shard.counts.conflicts += 1;
                    return Ok(present.map_or(CommitOutcome::Gone, CommitOutcome::Conflict));
                }
                State::Superseded(old) => old.by,
                State::Tombstone => return Ok(CommitOutcome::Gone),
            };
            drop(shard);
            Ok(self
                .follow(next)
                .map_or(CommitOutcome::Gone, CommitOutcome::Superseded))
        })
    }

    fn rotate_now(
        &self,
        old_key: &SessionKey,
        new_key: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let owner = record.owner;
        let entitled = || owner.after(self.owner(old_key)).is_some();
        self.with_way(old_key, owner, entitled, record, |new_payload, lifetime| {
            let mut pair = self.lock_pair(old_key, new_key);
            let now = pair.now;
            let Some(slot) = pair.shard(old_key).find(old_key, now) else {
                return Ok(Ok(RotateOutcome::Gone));
            };
            let (version, absolute, was) = match &slot.state {
                State::Live {
                    version,
                    absolute,
                    owner,
                    ..
                } if *version == expected => (version.next(), *absolute, owner.as_deref().copied()),
                State::Live { .. } => {
                    let present = slot.live_entry(now);
                    pair.shard(old_key).counts.conflicts += 1;
                    return Ok(Ok(
                        present.map_or(RotateOutcome::Gone, RotateOutcome::Conflict)
                    ));
                }
                State::Superseded(old) => {
                    let next = old.by;
                    drop(pair);
                    return Ok(Ok(self
                        .follow(next)
                        .map_or(RotateOutcome::Gone, RotateOutcome::Superseded)));
                }
                State::Tombstone => return Ok(Ok(RotateOutcome::Gone)),
            };
            if pair.shard(new_key).find(new_key, now).is_some() {
                return Ok(Ok(RotateOutcome::Collision));
            }
            pair.shard(new_key).free_expired(new_key, now, &self.books);
            let absolute = now.after(lifetime.absolute).min(absolute);
            let until = now.after(lifetime.idle).min(absolute);
            let user = owner.after(was);
            let live = State::Live {
                payload: new_payload.clone(),
                version,
                absolute,
                owner: user.map(Box::new),
            };
            let cost = live.cost() + State::SUPERSEDED_BYTES;
            self.books.usage.reserve(1, cost)?;
            match (was, user) {
                (Some(was), Some(user)) if was == user => {
                    self.books.users.replace(&user, old_key, *new_key);
                }
                (was, user) => {
                    if let Some(user) = user {
                        let cap = owner.cap_for(was);
                        let added = self.books.users.add(user, *new_key, absolute, cap);
                        if let Err(full) = added {
                            self.books.usage.release(1, cost);
                            return Ok(Err(full));
                        }
                    }
                    if let Some(was) = was {
                        self.books.users.remove(&was, old_key);
                    }
                }
            }
            pair.shard(new_key)
                .insert(*new_key, live, until, &self.books);

            let old_shard = pair.shard(old_key);
            old_shard.supersede(old_key, *new_key, now, grace, self.retention);
            old_shard.counts.rotated += 1;
            old_shard.expire(now, SWEPT_PER_WRITE, &self.books);
            Ok(Ok(RotateOutcome::Rotated(version)))
        })
        .map(|outcome| outcome.unwrap_or(RotateOutcome::AtCap))
    }

    fn by_user_now(&self, user: &UserKey) -> Vec<SessionKey> {
        let mut keys = self.books.users.oldest_first(user);
        keys.retain(|key| {
            let (mut shard, now) = self.lock(key);
            let belongs = shard
                .find(key, now)
                .and_then(|slot| slot.live_entry(now))
                .is_some_and(|entry| entry.owner == Some(*user));
            if !belongs {
                shard.free_expired(key, now, &self.books);
            }
            belongs
        });
        keys
    }

    fn delete_now(&self, key: &SessionKey) -> bool {
        let mut key = *key;
        for hop in 0..=MAX_HOPS {
            let (mut shard, now) = self.lock(&key);
            let Some(slot) = shard.find(&key, now) else {
                return false;
            };
            match &slot.state {
                State::Live { .. } => {
                    slot.bury(&key, now.after(self.retention), &self.books);
                    shard.forget_stranger(&key);
                    shard.rearm(&key);
                    shard.counts.deleted += 1;
                    shard.expire(now, SWEPT_PER_WRITE, &self.books);
                    return true;
                }
                State::Superseded(old) if hop > 0 || now < old.grace_until => key = old.by,
                State::Superseded(_) | State::Tombstone => return false,
            }
        }
        false
    }

    /// The key under which a session lives that was last known to have moved to `key`, if it still lives.
    /// Between two looks it may move or end; as a session never revives, the answer was true at some moment
    /// within the call.
    fn follow(&self, mut key: SessionKey) -> Option<SessionKey> {
        for _ in 0..MAX_HOPS {
            let (mut shard, now) = self.lock(&key);
            match &shard.find(&key, now)?.state {
                State::Live { .. } => return Some(key),
                State::Superseded(old) => key = old.by,
                State::Tombstone => return None,
            }
        }
        None
    }

    fn sweep_now(&self, budget: usize) -> Swept {
        let n_shards = self.shards.len();
        let start = self.next_swept.fetch_add(1, Ordering::Relaxed);
        let mut total = Swept {
            removed: 0,
            caught_up: true,
        };
        let mut left = budget;
        for i in 0..n_shards {
            let now = self.clock.now();
            let mut shard = self.shards[start.wrapping_add(i) % n_shards].lock();
            let now = shard.observe(now);
            let (swept, used) = shard.expire(now, left, &self.books);
            left -= used;
            total.removed += swept.removed;
            total.caught_up &= swept.caught_up;
        }
        total
    }

    /// Runs a write that may make a session its owner's. If they have as many as they may, frees what has
    /// expired of these or ends the oldest, as the cap says, and runs it again. No lock is held in between, so
    /// others may take the room that was made; who comes last too often is refused.
    fn with_way<T>(
        &self,
        key: &SessionKey,
        owner: Owner,
        entitled: impl Fn() -> bool,
        record: Record,
        write: impl Fn(&Bytes, crate::store::Lifetime) -> Result<Result<T, Full>, NoRoom>,
    ) -> Result<Option<T>, StoreError> {
        for _ in 0..WAYS_MADE {
            match self.with_room(key, &entitled, record.clone(), &write)? {
                Ok(outcome) => return Ok(Some(outcome)),
                Err(Full) => {
                    let Owner::User {
                        user,
                        cap: Some(cap),
                    } = owner
                    else {
                        return Ok(None);
                    };
                    if !self.make_way(&user, cap) {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether a user has fewer sessions than they may, or has now.
    fn make_way(&self, user: &UserKey, cap: Cap) -> bool {
        let live = self.by_user_now(user);
        let Some(over) = live.len().checked_sub(cap.limit() - 1) else {
            return true;
        };
        match cap.when_full {
            WhenFull::Reject => over == 0,
            WhenFull::EvictOldest => {
                for key in live.iter().take(over) {
                    self.delete_now(key);
                }
                true
            }
        }
    }

    /// Whose a session is.
    fn owner(&self, key: &SessionKey) -> Option<UserKey> {
        let (mut shard, now) = self.lock(key);
        shard.find(key, now)?.live_entry(now)?.owner
    }

    /// Ends a session that is nobody's, and is not this one. Whether there was one.
    fn evict_stranger(&self, spared: &SessionKey) -> bool {
        let n_shards = self.shards.len();
        let start = self.next_swept.fetch_add(1, Ordering::Relaxed);
        (0..n_shards).any(|i| {
            let mut shard = self.shards[start.wrapping_add(i) % n_shards].lock();
            shard.evict_stranger(spared, &self.books)
        })
    }

    /// Runs a write to the session of a key. If there is no room for it, frees what has expired and runs it
    /// again; if there is none then and the session is entitled to that of others, takes it from those that
    /// are nobody's; if there is none even then, refuses the record.
    fn with_room<T>(
        &self,
        key: &SessionKey,
        entitled: impl Fn() -> bool,
        record: Record,
        write: impl Fn(&Bytes, crate::store::Lifetime) -> Result<T, NoRoom>,
    ) -> Result<T, StoreError> {
        if record.payload.len() > self.max_payload {
            return Err(StoreError::new(ErrorKind::TooLarge).with_record(record));
        }
        // Copied before the lock is taken. What the caller gave is dropped after it is released.
        let payload = Bytes::copy_from_slice(&record.payload);
        if let Ok(outcome) = write(&payload, record.lifetime) {
            return Ok(outcome);
        }
        self.sweep_now(SWEPT_WHEN_FULL);
        let mut outcome = write(&payload, record.lifetime);
        for _ in 0..EVICTED_WHEN_FULL {
            if outcome.is_ok() || !entitled() || !self.evict_stranger(key) {
                break;
            }
            outcome = write(&payload, record.lifetime);
        }
        outcome.map_err(|NoRoom| {
            self.books.usage.refuse();
            StoreError::new(ErrorKind::Full).with_record(record)
        })
    }

    /// Locks the shards of two keys, which may be one shard, in the order of their index, so that two
    /// rotations never wait for each other.
    fn lock_pair(&self, a: &SessionKey, b: &SessionKey) -> Pair<'_, C> {
        let (a, b) = (self.shard_idx(a), self.shard_idx(b));
        let (low, high) = (a.min(b), a.max(b));
        let now = self.clock.now();
        let mut first = self.shards[low].lock();
        let mut second = (low != high).then(|| self.shards[high].lock());
        let mut now = first.observe(now);
        if let Some(second) = &mut second {
            now = second.observe(now);
            first.observe(now);
        }
        Pair {
            store: self,
            first_idx: low,
            first,
            second,
            now,
        }
    }
}

/// Two shards under lock, or one that both keys live in.
struct Pair<'a, C> {
    store: &'a MemoryStore<C>,
    first_idx: usize,
    first: MutexGuard<'a, Shard>,
    second: Option<MutexGuard<'a, Shard>>,
    now: Tick,
}

impl<C: Clock> Pair<'_, C> {
    fn shard(&mut self, key: &SessionKey) -> &mut Shard {
        match &mut self.second {
            Some(second) if self.store.shard_idx(key) != self.first_idx => second,
            _ => &mut self.first,
        }
    }
}

impl<C: Clock + Send + Sync> SessionStore for MemoryStore<C> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.create_now(key, record)
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        Ok(self.load_now(key, slide))
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.commit_now(key, expected, record)
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        self.rotate_now(old, new, expected, record, grace)
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        Ok(self.delete_now(key))
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        Ok(self.by_user_now(user))
    }

    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        Ok(self.sweep_now(budget))
    }
}

impl<C: Clock> fmt::Debug for MemoryStore<C> {
    /// How full the store is. What it holds is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, bytes) = self.books.usage.present();
        f.debug_struct("MemoryStore")
            .field("entries", &entries)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}
