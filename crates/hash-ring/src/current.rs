//! The version that is in use now.

use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;

use purlin_core::sync::atomic::{AtomicU64, Ordering};
use purlin_core::{NodeId, Placement};

use self::pointer::ArcSwap;
use crate::{Change, PublishError, PublishErrorKind, Published, Versioned};

/// Holds the version of a placement that is in use, and exchanges it as a whole while any number of threads
/// look keys up.
///
/// - **Readers never wait.** A lookup sees one version or the next, never half a change, and nobody who
///   publishes can hold it up, whatever becomes of him.
/// - **Versions only go up.** A version that arrives late, twice or from another history is refused, so
///   snapshots may come by any way and in any order.
/// - **A change is known.** Publishing gives the two versions as a [`Change`], and a [`Reader`] says what
///   changed since it last looked: what [`Change::diff`] and [`Change::plan`] begin with.
///
/// All versions hash keys alike, so a hash that was taken before an exchange still means the same key after
/// it, and the whole is a [`Placement`] itself. Two lookups may be answered by two versions; what belongs
/// together is asked of one, which [`get`](Current::get) gives.
///
/// # Cost
///
/// | | cost |
/// |---|---|
/// | [`Reader::get`] | one load and a comparison |
/// | a lookup through `Current` itself | about 5 ns more than in the placement |
/// | [`get`](Current::get) | about 10 ns, and a counter that threads share |
/// | [`publish`](Current::publish) | comparing two placements, if their versions are equal; nothing is copied |
///
/// Nothing allocates, but that a thread which looks for the first time may take a record of some hundred
/// bytes, which the next thread uses again when it ends. Publishing waits for nobody either: it begins again
/// when somebody else was faster.
///
/// # Who makes versions
///
/// One writer: the leader of the fleet, or whoever stores the snapshot by compare and swap; every process
/// publishes what it is sent. Where several threads of one process change a placement, each publishes
/// [`get`](Current::get) and one change: the slower one is refused ([`PublishErrorKind::Conflict`]) and makes
/// its change again.
///
/// ```
/// use purlin_core::{Node, NodeId};
/// use purlin_hash_ring::{Current, Published, SlotTable, evenly};
///
/// let table = SlotTable::from_nodes((1..=4).map(|i| Node::new(NodeId(i), format!("db-{i}"))))?;
/// let current = Current::new(table.clone());
///
/// // Each thread that looks keys up has a reader, which sees a new version at the next look.
/// let mut reader = current.reader();
/// let home = reader.get().owner("user:17");
///
/// // Elsewhere the next version arrives.
/// let Published::Replaced(change) = current.publish(table.without(NodeId(4)))? else {
///     panic!("the version is newer");
/// };
/// let plan = change.plan(2, evenly(10 << 30));
/// assert!(plan.steps().iter().all(|step| step.change.from.contains(&NodeId(4))));
/// assert!(home == Some(NodeId(4)) || reader.get().owner("user:17") == home);
///
/// // The old version again, from a slow network: refused, and given back.
/// let refused = current.publish(table).expect_err("older");
/// assert_eq!(refused.into_version().nodes().len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Current<P> {
    held: ArcSwap<P>,
    /// The version of what is held, or for a moment of what was: it is raised after the exchange, so who sees
    /// it raised finds that version or a later one. Never lowered.
    version: AtomicU64,
}

impl<P: Versioned> Current<P> {
    /// Begins with this version, whichever it is. What is shared already is taken by `from`.
    pub fn new(first: P) -> Self {
        Current::from(Arc::new(first))
    }

    /// The version in use. It stays as it is, whatever is published meanwhile: take it once for what belongs
    /// together, and for as long as that takes.
    pub fn get(&self) -> Arc<P> {
        self.held.load_full()
    }

    /// The number of the version in use.
    pub fn version(&self) -> u64 {
        self.held.load().version()
    }

    /// A look at the version in use that costs next to nothing: for each thread, or whatever else looks keys up
    /// one after the other, one of its own. See [`Reader::new`] for one that owns what it reads.
    pub fn reader(&self) -> Reader<P, &Self> {
        Reader::new(self)
    }

    /// Puts a newer version in the place of the one in use. What is in use already, once more, changes nothing.
    ///
    /// # Errors
    ///
    /// [`PublishError`], with the version in it, if it is older than the one in use, differs from it under the
    /// same number, or does not [continue](Versioned::continues) it.
    pub fn publish(&self, next: impl Into<Arc<P>>) -> Result<Published<P>, PublishError<P>> {
        let next = next.into();
        let version = next.version();
        loop {
            let held = self.get();
            // What the caller's type has to say is asked before the exchange, under no lock; the exchange then
            // insists that nothing has changed since. Each time round somebody else has published.
            match judge(&*held, &*next) {
                Ok(true) => {}
                Ok(false) => return Ok(Published::Unchanged),
                Err(kind) => return Err(PublishError::new(next, kind)),
            }
            if self.held.replace(&held, &next) {
                // Release: pairs with the load in `Reader::get`, which must find the exchange made above. The
                // highest wins, as another exchange may have been made and counted since.
                self.version.fetch_max(version, Ordering::Release);
                return Ok(Published::Replaced(Change::new(held, next)));
            }
        }
    }
}

impl<P: Versioned> From<Arc<P>> for Current<P> {
    fn from(first: Arc<P>) -> Self {
        Current {
            version: AtomicU64::new(first.version()),
            held: ArcSwap::new(first),
        }
    }
}

/// Whether `next` takes the place of `held`, or is the same.
fn judge<P: Versioned>(held: &P, next: &P) -> Result<bool, PublishErrorKind> {
    let (current, offered) = (held.version(), next.version());
    if !next.continues(held) {
        return Err(PublishErrorKind::Unrelated);
    }
    if offered < current {
        return Err(PublishErrorKind::Older { current, offered });
    }
    if offered > current {
        return Ok(true);
    }
    if next == held {
        Ok(false)
    } else {
        Err(PublishErrorKind::Conflict { version: current })
    }
}

/// Each call by the version in use at that moment.
impl<P: Placement> Placement for Current<P> {
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.held.load().hash_key(key)
    }

    #[inline]
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        self.held.load().owner_of_hash(hash)
    }

    #[inline]
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        self.held.load().replicas_of_hash(hash, into)
    }

    fn owner(&self, key: &[u8]) -> Option<NodeId> {
        self.held.load().owner(key)
    }

    fn replicas(&self, key: &[u8], into: &mut [NodeId]) -> usize {
        self.held.load().replicas(key, into)
    }
}

impl<P: fmt::Debug> fmt::Debug for Current<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Current").field(&*self.held.load()).finish()
    }
}

/// One thread's look at a [`Current`]: keeps the version it saw last, and looks whether there is a newer one.
///
/// What it keeps stays in memory until its next look, so a reader that is not used for long is better dropped.
///
/// ```
/// use std::sync::Arc;
/// use purlin_core::{Node, NodeId};
/// use purlin_hash_ring::{Current, Reader, Ring};
///
/// let ring = Ring::from_nodes((1..=3).map(|i| Node::new(NodeId(i), format!("cache-{i}"))))?;
/// let current = Arc::new(Current::new(ring.clone()));
/// // Owns what it reads, so that it can go to a thread or into a struct.
/// let mut reader = Reader::new(Arc::clone(&current));
/// assert!(reader.changed().is_none());
/// current.publish(ring.with(Node::new(NodeId(4), "cache-4"))?)?;
/// let change = reader.changed().expect("a version was published");
/// assert!(change.diff(1).all(|moved| moved.to == [NodeId(4)]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader<P, C = Arc<Current<P>>> {
    current: C,
    seen: Arc<P>,
    /// That of `seen`.
    version: u64,
}

impl<P: Versioned, C: Deref<Target = Current<P>>> Reader<P, C> {
    /// A reader through a reference or an [`Arc`].
    pub fn new(current: C) -> Self {
        let seen = current.get();
        let version = seen.version();
        Reader {
            current,
            seen,
            version,
        }
    }

    /// The version in use. Never an older one than the last.
    #[inline]
    pub fn get(&mut self) -> &P {
        if self.is_behind() {
            self.look();
        }
        &self.seen
    }

    /// What has changed since the last look, if anything has; several versions at once if that many were
    /// published meanwhile.
    pub fn changed(&mut self) -> Option<Change<P>> {
        self.is_behind()
            .then(|| Change::new(self.look(), Arc::clone(&self.seen)))
    }

    /// What it reads.
    pub fn current(&self) -> &Current<P> {
        &self.current
    }

    #[inline]
    fn is_behind(&self) -> bool {
        // Acquire: pairs with the raising in `Current::publish`. What was seen may be ahead of the number for a
        // moment, and is never behind a number that was seen before.
        self.current.version.load(Ordering::Acquire) > self.version
    }

    /// Takes the version in use, and gives the one seen before.
    #[cold]
    fn look(&mut self) -> Arc<P> {
        let before = core::mem::replace(&mut self.seen, self.current.get());
        self.version = self.seen.version();
        before
    }
}

impl<P, C: Clone> Clone for Reader<P, C> {
    fn clone(&self) -> Self {
        Reader {
            current: self.current.clone(),
            seen: Arc::clone(&self.seen),
            version: self.version,
        }
    }
}

impl<P, C> fmt::Debug for Reader<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A shared pointer that is exchanged as a whole.
#[cfg(not(purlin_loom))]
mod pointer {
    use alloc::sync::Arc;

    pub(super) struct ArcSwap<P>(arc_swap::ArcSwap<P>);

    impl<P> ArcSwap<P> {
        pub(super) fn new(value: Arc<P>) -> Self {
            ArcSwap(arc_swap::ArcSwap::new(value))
        }

        #[inline]
        pub(super) fn load(&self) -> arc_swap::Guard<Arc<P>> {
            self.0.load()
        }

        pub(super) fn load_full(&self) -> Arc<P> {
            self.0.load_full()
        }

        /// Puts `next` in the place of `held`, if that is still there.
        pub(super) fn replace(&self, held: &Arc<P>, next: &Arc<P>) -> bool {
            let found = self.0.compare_and_swap(held, Arc::clone(next));
            Arc::ptr_eq(&found, held)
        }
    }
}

/// The same by a lock that the model checker knows: it explores what is done with the pointer, not the pointer.
#[cfg(purlin_loom)]
mod pointer {
    use alloc::sync::Arc;

    use purlin_core::sync::Mutex;

    pub(super) struct ArcSwap<P>(Mutex<Arc<P>>);

    impl<P> ArcSwap<P> {
        pub(super) fn new(value: Arc<P>) -> Self {
            ArcSwap(Mutex::new(value))
        }

        pub(super) fn load(&self) -> Arc<P> {
            self.load_full()
        }

        pub(super) fn load_full(&self) -> Arc<P> {
            Arc::clone(&self.0.lock())
        }

        pub(super) fn replace(&self, held: &Arc<P>, next: &Arc<P>) -> bool {
            let mut place = self.0.lock();
            let is_there = Arc::ptr_eq(&place, held);
            if is_there {
                *place = Arc::clone(next);
            }
            is_there
        }
    }
}
