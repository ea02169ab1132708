use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::fmt;
use core::mem::{MaybeUninit, needs_drop};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use equivalent::Equivalent;
use purlin_core::Tick;

use super::super::lock::Lock;
use super::super::seq::Seq;
use super::super::{Print, Slots};
use super::Open;
use super::node::{FAR, Far, NEAR, NOTED, Node, free, load, make};
use super::plain::is_plain;

/// What the open blocks of one table share: where each of them is, for those who come without the lock, and the memory that
/// some have left to others.
///
/// 1. It is made for plain keys and values only.
/// 2. Nodes, chunks and rows that were ever given out here keep their memory until this is dropped, and then they are all here.
pub(crate) struct Home<K, V> {
    door: Door<K, V>,
    kept: Lock<Kept<K, V>>,
}

/// What is read at each look-up, and written when the table changes, the time goes on, or somebody decides otherwise.
#[repr(align(128))]
struct Door<K, V> {
    /// Changes while entries go from node to node.
    geometry: Seq,
    /// Sets of the smallest table.
    begins_with: AtomicU32,
    /// The row of all nodes in their order, and in its lowest bits how often the table has doubled. Null if there is no table.
    row: AtomicPtr<AtomicPtr<Node<(K, V)>>>,
    latest: AtomicU64,
    looks_at: AtomicU64,
    heeds_order: AtomicBool,
    has_evicted: AtomicBool,
    /// Only ever set.
    has_more: AtomicBool,
}

/// Memory that is not in use, though somebody may be reading it still.
struct Kept<K, V> {
    nodes: Vec<NonNull<Node<(K, V)>>>,
    chunks: Vec<NonNull<Far<(K, V)>>>,
    /// A row for each number of doublings that there was, with its length. One is used again when its number is, so all are
    /// twice the longest, and that is 8 bytes a set.
    rows: [Option<Row<(K, V)>>; DOUBLINGS_MAX + 1],
}

/// Where the nodes are, in their order, and how many.
type Row<E> = (NonNull<AtomicPtr<Node<E>>>, usize);

/// What somebody who reads without the lock has to know of those who hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signs {
    /// The latest time seen.
    pub(crate) latest: Tick,
    /// When the dead are to be looked for.
    pub(crate) looks_at: Tick,
    /// Whether the order of use matters.
    pub(crate) heeds_order: bool,
    /// Whether an entry ever had to make room.
    pub(crate) has_evicted: bool,
}

/// What came of a look without the lock.
pub(crate) enum Read<V> {
    /// The value, and whether an entry ever had to make room.
    Found(V, bool),
    Absent,
    /// Only who has the lock can tell.
    Ask,
}

/// What came of a look into one node.
enum Seen<V> {
    Found(V),
    Absent,
    /// It was changed meanwhile.
    Torn,
    Ask,
}

const DOUBLINGS_MAX: usize = 16;
/// Rows begin at multiples of this, so that the number of doublings is beside their address.
const ROW_ALIGN: usize = 64;
const _: () = assert!(DOUBLINGS_MAX < ROW_ALIGN);
/// Looks at a set that is being changed, after pauses that double. A change is a few stores, so who makes it is either done in a
/// moment or has lost his processor.
const LOOKS: u32 = 6;
/// Larger entries are not copied twice for a look.
const SIZE_MAX: usize = 64;

// SAFETY: keys and values are plain, and so may be sent and shared; everything else is atomics, or under a lock.
unsafe impl<K, V> Send for Home<K, V> {}
// SAFETY: as above.
unsafe impl<K, V> Sync for Home<K, V> {}

impl<K, V> Home<K, V> {
    /// Whether entries of these types can be read while they are written.
    pub(crate) fn is_for_these() -> bool {
        let is_plain = is_plain::<K>() && is_plain::<V>();
        debug_assert!(!is_plain || !needs_drop::<(K, V)>());
        is_plain && size_of::<(K, V)>() <= SIZE_MAX
    }

    /// One for a table of these types, if it [can be](Self::is_for_these).
    pub(crate) fn new() -> Option<Arc<Self>> {
        Self::is_for_these().then(|| {
            Arc::new(Home {
                door: Door {
                    geometry: Seq::new(),
                    begins_with: AtomicU32::new(1),
                    row: AtomicPtr::new(ptr::null_mut()),
                    latest: AtomicU64::new(0),
                    looks_at: AtomicU64::new(u64::MAX),
                    heeds_order: AtomicBool::new(false),
                    has_evicted: AtomicBool::new(false),
                    has_more: AtomicBool::new(false),
                },
                kept: Lock::new(Kept {
                    nodes: Vec::new(),
                    chunks: Vec::new(),
                    rows: [const { None }; DOUBLINGS_MAX + 1],
                }),
            })
        })
    }

    /// Whether a look-up had better take the lock, if it is free: the order of use matters, or the dead are to be looked for.
    #[inline]
    pub(crate) fn would_rather_be_asked(&self, now: Tick) -> bool {
        // Relaxed: whoever does not know yet is only a little late.
        self.door.heeds_order.load(Ordering::Relaxed)
            || now > Tick::ZERO && now.as_nanos() >= self.door.looks_at.load(Ordering::Relaxed)
    }

    /// Looks a key up without the lock. `spot` says from the number of sets of the smallest table and how often it has doubled
    /// in which set it would be, and its print.
    #[inline]
    pub(crate) fn read<Q>(
        &self,
        key: &Q,
        now: Tick,
        spot: impl Fn(u32, u8) -> (usize, Print),
    ) -> Read<V>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let door = &self.door;
        for look in 0..LOOKS {
            let Some(geometry) = door.geometry.begin() else {
                return Read::Ask;
            };
            // Acquire: pairs with the release in `arranged`, so that the row is written.
            let tagged = door.row.load(Ordering::Acquire);
            let doublings = tagged.addr() % ROW_ALIGN;
            let row = tagged.map_addr(|addr| addr - doublings);
            if row.is_null() {
                return Read::Ask;
            }
            let (set, print) = spot(door.begins_with.load(Ordering::Relaxed), doublings as u8);
            // SAFETY: a row for so many doublings has as many nodes as there are sets then, and rows and nodes keep their memory.
            // Acquire as above, for a row that is used again.
            let node = unsafe { &*(*row.add(set)).load(Ordering::Acquire) };
            match self.read_node(node, print.tag, key, now) {
                Seen::Found(value) => {
                    return Read::Found(value, door.has_evicted.load(Ordering::Relaxed));
                }
                // What was not found may have been on its way, from this node to another or out of the table. Whoever says so
                // says it before, so it is seen here if its going was.
                Seen::Absent if door.geometry.is_unchanged(geometry) => {
                    if door.has_more.load(Ordering::Relaxed) {
                        return Read::Ask;
                    }
                    return Read::Absent;
                }
                Seen::Ask => return Read::Ask,
                Seen::Absent | Seen::Torn => {
                    for _ in 0..1 << look {
                        core::hint::spin_loop();
                    }
                }
            }
        }
        Read::Ask
    }

    #[inline]
    fn read_node<Q>(&self, node: &Node<(K, V)>, tag: u8, key: &Q, now: Tick) -> Seen<V>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let Some(seen) = node.seq.begin() else {
            return Seen::Torn;
        };
        if node.has_ends.load(Ordering::Acquire) {
            // Time does not go back behind what others have seen.
            let now = now.as_nanos().max(self.door.latest.load(Ordering::Relaxed));
            if now >= node.over_from.load(Ordering::Acquire) {
                return Seen::Ask;
            }
        }
        let mut entry = MaybeUninit::<(K, V)>::uninit();
        let mut agree = node.agreeing(tag);
        while agree != 0 {
            let at = agree.trailing_zeros() as usize;
            copy_out(node.entry(at), &mut entry);
            if !node.is_unchanged(seen) {
                return Seen::Torn;
            }
            // SAFETY: the slot had a tag, so it had an entry, and nothing has changed since; so the copy is of that entry.
            let (its, _) = unsafe { entry.assume_init_ref() };
            if key.equivalent(its) {
                node.note_use(at);
                // SAFETY: as above; a copy of the bytes of a plain value is one of the value.
                let (_, value) = unsafe { entry.assume_init() };
                return Seen::Found(value);
            }
            agree &= agree - 1;
        }
        // Acquire: pairs with the release in `link`, and the same for the chunks behind.
        let mut next = node.far.load(Ordering::Acquire);
        let mut from = NEAR;
        // SAFETY: chunks keep their memory.
        while let Some(far) = unsafe { next.as_ref() } {
            let mut agree = far.agreeing(tag);
            while agree != 0 {
                let at = agree.trailing_zeros() as usize / 8;
                copy_out(far.entry(at), &mut entry);
                if !node.is_unchanged(seen) {
                    return Seen::Torn;
                }
                if from + at >= NOTED {
                    return Seen::Ask;
                }
                // SAFETY: as for the near ones: with nothing changed, this chunk was the node's, and the slot had an entry.
                let (its, _) = unsafe { entry.assume_init_ref() };
                if key.equivalent(its) {
                    node.note_use(from + at);
                    // SAFETY: as above.
                    let (_, value) = unsafe { entry.assume_init() };
                    return Seen::Found(value);
                }
                agree &= agree - 1;
            }
            next = far.next.load(Ordering::Acquire);
            from += FAR;
            // A chunk that has gone to another node could lead on and on.
            if !node.is_unchanged(seen) {
                return Seen::Torn;
            }
        }
        if node.is_unchanged(seen) {
            Seen::Absent
        } else {
            Seen::Torn
        }
    }

    /// Tells those who read without the lock that what they do not find may be elsewhere, until [`arranged`](Self::arranged).
    pub(super) fn rearrange(&self) {
        self.door.geometry.change();
    }

    /// Tells them where everything is. The caller holds the shard's lock.
    pub(super) fn arranged(
        &self,
        begins_with: u32,
        doublings: u8,
        nodes: impl ExactSizeIterator<Item = NonNull<Node<(K, V)>>>,
    ) {
        let row = if nodes.len() == 0 {
            ptr::null_mut()
        } else {
            let row = self.row(doublings.into(), nodes.len());
            for (n, node) in nodes.enumerate() {
                // SAFETY: the row has a place for each. Release: pairs with the acquire in `read`.
                unsafe { row.add(n).as_ref() }.store(node.as_ptr(), Ordering::Release);
            }
            row.as_ptr().map_addr(|addr| addr + usize::from(doublings))
        };
        self.door.begins_with.store(begins_with, Ordering::Relaxed);
        self.door.row.store(row, Ordering::Release);
        self.door.geometry.end();
    }

    fn row(&self, doublings: usize, len: usize) -> NonNull<AtomicPtr<Node<(K, V)>>> {
        let row = &mut self.kept.lock().rows[doublings];
        let (start, its) = *row.get_or_insert_with(|| (make_row(len), len));
        assert_eq!(
            its, len,
            "a table begins with as many sets as it always did"
        );
        start
    }

    pub(super) fn show(&self, signs: Signs) {
        let door = &self.door;
        // Looked at first, so that a line that all read stays with all for as long as nothing is new.
        let show = |place: &AtomicU64, tick: Tick| {
            if place.load(Ordering::Relaxed) != tick.as_nanos() {
                place.store(tick.as_nanos(), Ordering::Relaxed);
            }
        };
        show(&door.latest, signs.latest);
        show(&door.looks_at, signs.looks_at);
        let show = |place: &AtomicBool, is: bool| {
            if place.load(Ordering::Relaxed) != is {
                place.store(is, Ordering::Relaxed);
            }
        };
        show(&door.heeds_order, signs.heeds_order);
        show(&door.has_evicted, signs.has_evicted);
    }

    /// Before the first key goes elsewhere: who does not find it in its set, since it went, sees this too.
    pub(super) fn has_more(&self) {
        self.door.has_more.store(true, Ordering::Relaxed);
    }

    /// How many nodes and chunks are not in use.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.nodes.len(), kept.chunks.len())
    }

    /// Memory for a set, with nothing in it.
    pub(super) fn node(&self) -> NonNull<Node<(K, V)>> {
        let kept = self.kept.lock().nodes.pop();
        kept.unwrap_or_else(make)
    }

    pub(super) fn take_back(&self, node: NonNull<Node<(K, V)>>) {
        self.kept.lock().nodes.push(node);
    }

    /// Memory for some slots more, with nothing in it.
    pub(super) fn chunk(&self) -> NonNull<Far<(K, V)>> {
        let kept = self.kept.lock().chunks.pop();
        kept.unwrap_or_else(make)
    }

    pub(super) fn take_back_chunk(&self, chunk: NonNull<Far<(K, V)>>) {
        // SAFETY: chunks keep their memory.
        let far = unsafe { chunk.as_ref() };
        far.clear_tags();
        far.next.store(ptr::null_mut(), Ordering::Relaxed);
        self.kept.lock().chunks.push(chunk);
    }
}

/// What the blocks of a table are made with.
pub(crate) fn shared<K, V, S>(home: Arc<Home<K, V>>) -> <Open<K, V, S> as Slots<(K, V), S>>::Home {
    home
}

/// Copies an entry that may be written meanwhile, or that may not be one.
#[inline]
fn copy_out<K, V>(from: *const (K, V), entry: &mut MaybeUninit<(K, V)>) {
    let to = entry.as_mut_ptr();
    // SAFETY: it is a place for entries in a node or a chunk. All of its memory was initialised when that was made, and is
    // written by `store` only, since keys and values are plain.
    unsafe {
        load(&raw const (*from).0, &raw mut (*to).0);
        load(&raw const (*from).1, &raw mut (*to).1);
    }
}

fn row_layout<E>(len: usize) -> Layout {
    let plan = Layout::array::<AtomicPtr<Node<E>>>(len).and_then(|row| row.align_to(ROW_ALIGN));
    plan.expect("a table has a set for each of its places at most")
}

fn make_row<E>(len: usize) -> NonNull<AtomicPtr<Node<E>>> {
    assert!(len > 0);
    let plan = row_layout::<E>(len);
    // SAFETY: it is not of size zero.
    let row = unsafe { alloc_zeroed(plan) };
    let Some(row) = NonNull::new(row.cast()) else {
        handle_alloc_error(plan);
    };
    row
}

impl<K, V> Drop for Home<K, V> {
    fn drop(&mut self) {
        let mut kept = self.kept.lock();
        // SAFETY: all of them came from where they go to, and nobody has a block of this home any more, nor reads here. Entries
        // are plain, so there is nothing to drop.
        unsafe {
            for node in kept.nodes.drain(..) {
                free(node);
            }
            for chunk in kept.chunks.drain(..) {
                free(chunk);
            }
            for (row, len) in kept.rows.iter_mut().filter_map(Option::take) {
                dealloc(row.as_ptr().cast(), row_layout::<(K, V)>(len));
            }
        }
    }
}

impl<K, V> fmt::Debug for Home<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").finish_non_exhaustive()
    }
}
