//! Sessions in front of one region's store, which the other regions hear of.

mod calls;
mod exchange;
mod family;
mod message;
mod outbox;
mod payload;
mod receive;
mod row;

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use purlin_core::sync::Mutex;
use purlin_core::sync::atomic::AtomicUsize;
use purlin_core::{Clock, Rng, SystemClock};

use self::exchange::Told;
use self::outbox::{Recent, done};
use self::row::{Row, Subject};
use super::time::RegionId;
use crate::error::{ErrorKind, StoreError};
use crate::id::{SessionId, SessionKey};
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Record, RotateOutcome, SessionStore, Slide, Swept, Version,
};
use crate::user::UserKey;

pub use exchange::{ExchangeError, Exchanged, RegionLink};
pub use receive::{ReceiveError, Received};

/// One region's sessions, which are told to the other regions and merged with theirs.
///
/// In front of any [`SessionStore`] that this region's processes share: in memory, in a file, on Redis or PostgreSQL, or
/// [`Mirrored`](crate::Mirrored) over several. Requests are answered by that store alone, at its speed and whether the
/// other regions can be reached or not. What changes is noted in it; [`exchange`](Regional::exchange) tells the others, and
/// [`receive`](Regional::receive) hears of what they tell. Both are called by the service, and nothing happens by itself.
///
/// # What is promised
///
/// Within a region, the contract of [`SessionStore`]. Between regions, however messages are lost, repeated, late or out of
/// order, and however long a region is cut off:
///
/// 1. **They agree in the end.** Regions that have told each other everything have the same sessions with the same content.
/// 2. **An end wins.** A session that was ended in any region ends in all of them as soon as they hear of it, also where it
///    was written, used or given another id meanwhile; and it does not come back. Ends are remembered until the session
///    would have been over everywhere, by its absolute deadline and the [`skew`](Regional::skew) of clocks.
/// 3. **Logout everywhere means everywhere.** [`revoke_user`](SessionStore::revoke_user) ends also the sessions of the user
///    that this region has never heard of: whichever was not made with that revocation in sight, by no clock, but by what
///    its region knew.
/// 4. **No deadline moves out.** The absolute deadline is the earliest that any region set; the idle one follows the latest
///    use anywhere, and never passes the absolute one.
/// 5. **An old id is old everywhere.** A rotation is followed by the other regions, where the old id reads what is left of
///    its grace; and what a rotation granted, the old id has nowhere.
/// 6. **Nothing is untold.** A change is noted before it is made, in the store, so it does not depend on the process that
///    made it. Notes last as long as any session can; what has changed since a region was last heard takes one each.
///
/// # What is not
///
/// - **A region that dies takes along** what it had not told. Until an exchange, the others do not know a new session, and
///   serve one that was ended here.
/// - **Of two writes of one field that crossed, one is lost**, without an error: the earlier by
///   [hybrid time](crate::regions). Fields that were written apart stay apart only in this crate's own payloads; any
///   other payload is one field. What must not be lost belongs in a store of one truth.
/// - **A write that crossed a rotation is lost** with the old id that it was made under.
/// - Two rotations of one session that crossed leave it with two ids, that live apart from then on, and end together.
/// - A session that idled out here before it was told goes on where it was used last, without what was written here since.
/// - A commit that moves the absolute deadline in, and is overtaken by another process or interrupted, may have moved it in.
/// - A login that crossed a revocation of all the user's sessions is ended by it.
/// - A [`Cap`](crate::Cap) counts the sessions that this region knows. Those that others told of may exceed it.
/// - A process that is held up for more than ten seconds between noting a change and making it, and then dies, may leave it
///   untold until the session changes again.
/// - A session lives until its deadlines by each region's own clock, so by how much those differ, it ends earlier here
///   than there.
///
/// Clients should stay in one region: send each to the nearest, and elsewhere when that fails.
///
/// # Settings
///
/// All regions need the same [`longest`](Regional::longest) and [`skew`](Regional::skew), and each must have all others as
/// peers. The store must be used through this type alone, from the beginning: what others put there is
/// [`Corrupt`](ErrorKind::Corrupt).
///
/// # Cost
///
/// A load is one call of the store. One whose slide is due is three: the load, a note, the move. A commit is three as
/// well, a login seven and a rotation eight, a deletion six; with no peers there are no notes, and each is one less. A
/// session has about 150 bytes beside its payload, 25 more a field; one that has been rotated or ended leaves a record of
/// 50 bytes and 34 for each id it had, until its absolute deadline. A note is 43 bytes and goes ten seconds after it was
/// made, if the peer has been told.
///
/// # Cancel safety
///
/// As [`SessionStore`] says.
///
/// ```
/// use std::time::Duration;
/// use purlin_session_store::regions::{RegionId, Regional};
/// use purlin_session_store::{MemoryStore, Policy, Session, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let [europe, asia] = [RegionId(1), RegionId(2)];
/// let here = Regional::new(europe, [asia], MemoryStore::new());
/// let there = Regional::new(asia, [europe], MemoryStore::new());
/// let [in_europe, in_asia] = [&here, &there].map(|store| Sessions::new(store, Policy::default()));
///
/// // A visitor of Europe fills a cart. Once a second each region tells the other what is new.
/// let mut session = Session::absent();
/// session.set_bytes("cart", "hammer")?;
/// in_europe.commit(&mut session).await?;
/// let id = session.id().expect("it was stored").clone();
/// here.exchange(asia, &there).await?;
///
/// // Europe is down for them, so they shop on in Asia, and log out there.
/// let mut session = in_asia.open(id.clone()).await?;
/// assert_eq!(session.get_bytes("cart").as_deref(), Some(&b"hammer"[..]));
/// session.logout();
/// in_asia.commit(&mut session).await?;
///
/// // Europe is back, and learns of it.
/// there.exchange(europe, &here).await?;
/// assert!(in_europe.open(id).await?.id().is_none());
/// # Ok(())
/// # }
/// ```
pub struct Regional<S, C = SystemClock> {
    region: RegionId,
    peers: Vec<RegionId>,
    store: S,
    clock: C,
    longest: Duration,
    skew: Duration,
    rng: Mutex<Rng>,
    recent: Recent,
    told: Told,
    next_list: AtomicUsize,
}

impl<S> Regional<S> {
    /// The sessions of a region in its store, to be told to these other regions. Its own id among them is left out.
    ///
    /// Without peers it keeps the contract of the store alone, and can be given peers later: what has changed before
    /// that, they are not told of until it changes again.
    pub fn new(region: RegionId, peers: impl IntoIterator<Item = RegionId>, store: S) -> Self {
        let mut peers: Vec<RegionId> = peers.into_iter().filter(|peer| *peer != region).collect();
        peers.sort_unstable();
        peers.dedup();
        Regional {
            region,
            peers,
            store,
            clock: SystemClock::default(),
            longest: DAY * 30,
            skew: Duration::from_secs(60 * 60),
            rng: Mutex::new(Rng::from_entropy()),
            recent: Recent::default(),
            told: Told::default(),
            next_list: AtomicUsize::new(0),
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl<S, C> Regional<S, C> {
    /// The longest that any session lives, 30 days unless told otherwise and ten years at most: an absolute deadline
    /// further away is moved in to it. It is also for how long a revocation of a user's sessions is remembered, and what
    /// a region that is cut off has not heard of.
    #[must_use]
    pub fn longest(mut self, longest: Duration) -> Self {
        self.longest = longest.min(DAY * 3_650);
        self
    }

    /// By how much the clocks of the regions may differ: one hour unless told otherwise, ten years at most. Ends are
    /// remembered for so much longer than the sessions could have lived.
    #[must_use]
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = skew.min(DAY * 3_650);
        self
    }

    /// The chance in it by a seed, so that a run can be repeated. Two processes must not have the same.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = Mutex::new(Rng::from_seed(seed));
        self
    }

    /// The clock by which deadlines become times that other regions understand, in place of the operating system's.
    #[must_use]
    pub fn clock<C2>(self, clock: C2) -> Regional<S, C2> {
        Regional {
            region: self.region,
            peers: self.peers,
            store: self.store,
            clock,
            longest: self.longest,
            skew: self.skew,
            rng: self.rng,
            recent: self.recent,
            told: self.told,
            next_list: self.next_list,
        }
    }

    /// Which region this is.
    pub fn region(&self) -> RegionId {
        self.region
    }

    /// The regions that are told of what happens here.
    pub fn peers(&self) -> &[RegionId] {
        &self.peers
    }

    /// The region's own store. What is in it is this type's business.
    pub fn store(&self) -> &S {
        &self.store
    }

    fn random_key(&self) -> SessionKey {
        let mut rng = self.rng.lock();
        let mut secret = [0; SessionId::LEN];
        for part in secret.chunks_mut(8) {
            part.copy_from_slice(&rng.next_u64().to_le_bytes()[..part.len()]);
        }
        drop(rng);
        SessionId::from_secret_bytes(secret).key()
    }
}

/// For several regions in one process, as in tests: the message is received at once.
impl<S: SessionStore, C: Clock + Send + Sync> RegionLink for Regional<S, C> {
    type Error = ReceiveError;

    async fn deliver(&self, message: Bytes) -> Result<(), ReceiveError> {
        self.receive(message).await.map(drop)
    }
}

/// The error of a call that brought a record, which is given back if the kind is one that does, and not the one that was
/// made of it.
fn with_record(error: StoreError, record: Record) -> StoreError {
    let outward = StoreError::new(error.kind()).with_retry(error.retry());
    let outward = outward.with_source(error);
    match outward.kind() {
        ErrorKind::Full | ErrorKind::TooLarge | ErrorKind::Unavailable => {
            outward.with_record(record)
        }
        _ => outward,
    }
}

fn outward(entry: Option<Entry>) -> Result<Option<Entry>, StoreError> {
    let Some(entry) = entry else { return Ok(None) };
    Ok(Some(Row::of(&entry)?.entry(&entry)))
}

impl<S: SessionStore, C: Clock + Send + Sync> SessionStore for Regional<S, C> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        let created = self.create_record(key, &record).await;
        created.map_err(|error| with_record(error, record))
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        let Some(mut stored) = self.store.load(key, Slide::No).await? else {
            return Ok(None);
        };
        let row = Row::of(&stored)?;
        if let (true, None, Slide::To { idle, .. }) = (
            slide.would_move(stored.remaining),
            stored.superseded_by,
            slide,
        ) {
            let marked = self.mark(Subject::Family(row.root)).await?;
            if self.store.touch(key, slide).await? {
                stored.remaining.idle = idle.min(stored.remaining.absolute);
            }
            self.settle(marked).await?;
        }
        Ok(Some(row.entry(&stored)))
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        let committed = self.commit_record(key, expected, &record).await;
        committed.map_err(|error| with_record(error, record))
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let rotated = self.rotate_record(old, new, expected, &record, grace).await;
        rotated.map_err(|error| with_record(error, record))
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.end(key).await
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.store.by_user(user).await
    }

    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        let spared = match except {
            Some(key) => self.store.load(key, Slide::No).await?,
            None => None,
        };
        let spared = spared.map(|entry| Row::of(&entry)).transpose()?;
        let marked = self.mark(Subject::User(*user)).await?;
        self.revoke(user, spared.as_ref()).await?;
        let ended = self.end_revoked(user).await.map_err(done)?;
        self.settle(marked).await?;
        Ok(ended)
    }

    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        let stored = self.store.load_many(keys).await?;
        stored.into_iter().map(outward).collect()
    }

    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        self.store.sweep(budget).await
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Regional<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Regional")
            .field("region", &self.region)
            .field("peers", &self.peers)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
