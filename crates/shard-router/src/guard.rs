//! The shard's side.

mod judge;
mod refusal;
mod stats;

use std::fmt;
use std::sync::Arc;

use purlin_core::PlacementKey;
use purlin_core::sync::Mutex;

use self::judge::{judge_cleanup, judge_import, judge_request};
pub use self::refusal::Refusal;
pub use self::stats::GuardStats;
use crate::map::Keying;
use crate::{InstallError, Installed, MapVersion, Route, ShardId, ShardMap, Slot};

/// The shard's side: admits the requests that a shard may serve, and refuses the others before they do
/// anything.
///
/// A route is a claim made from some version of the map. The guard holds the claim against its own version:
/// it admits only where both agree on the slot's epoch and the slot is this shard's and not being moved. A
/// refusal says what the client needs to know.
///
/// Every admission is counted, by slot, until its [`Admit`] is dropped. A slot that was closed for a move is
/// *drained* once the requests admitted earlier have ended; only then may its data be copied. That, and the
/// order in which [`SlotMove`](crate::SlotMove) proceeds, is why no slot has two shards that write to it, and
/// no acknowledged write is left behind.
///
/// Two duties are the caller's. A guard that starts must start from the newest map in the store that decides
/// (not from a copy it kept), since a slot that was closed must stay closed over a restart. And each of its maps
/// must come from that store.
///
/// ```
/// use purlin_shard_router::{Guard, Refusal, Router, Shard, ShardId, ShardMap};
///
/// let map = ShardMap::even_split([1, 2].map(|n| Shard::new(ShardId(n), format!("db-{n}"))))?;
/// let router = Router::new(map.clone());
/// let guards = [1, 2].map(|n| Guard::new(ShardId(n), map.clone()));
///
/// let route = router.route("user:17");
/// for guard in &guards {
///     match guard.admit_key("user:17", route) {
///         Ok(_admit) => assert_eq!(route.shard(), guard.shard()), // Serve the request, then drop the admission.
///         Err(refusal) => assert!(matches!(refusal, Refusal::WrongShard { .. })),
///     }
/// }
/// # Ok::<(), purlin_shard_router::MapError>(())
/// ```
pub struct Guard {
    shard: ShardId,
    /// The same in all maps this guard will ever take.
    keying: Keying,
    /// The map in use, for whoever installs the next: held while the stripes are changed over, so that two
    /// installs cannot mix.
    current: Mutex<Arc<ShardMap>>,
    /// Slot `n` is in stripe `n % stripes`, at place `n / stripes`. Each stripe changes from one map to the
    /// next in one step, and everything promised is promised for single slots, so it does not matter that
    /// stripes change one after the other.
    stripes: Box<[Arc<Stripe>]>,
}

/// Its own cache line (two, for machines that fetch pairs), so that busy stripes do not slow each other.
#[repr(align(128))]
struct Stripe(Mutex<StripeState>);

/// The counter and the map are under one lock: a request is counted under the same map that admitted it, so
/// once the map has changed, every request it admitted is seen in `in_flight`.
struct StripeState {
    map: Arc<ShardMap>,
    /// Admissions that have not been dropped, one counter a slot. As `u64` they cannot run over.
    in_flight: Box<[u64]>,
    counters: stats::Counters,
}

/// Enough that 64 threads meet on a lock seldom; a stripe costs 128 bytes and a share of the counters.
const MAX_STRIPES: usize = 64;

/// Whether a guard lets requests into a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the shard has the slot and serves it, has it and does not, or does not have it"
)]
pub enum SlotState {
    /// The shard has the slot and serves it.
    Owned,
    /// The shard has the slot and serves nobody, because the slot is being moved away.
    Frozen,
    /// Another shard has the slot.
    NotOwned,
}

/// The right to do one thing in one slot: serve a request, import data, remove left-overs.
///
/// Hold it until the work has certainly ended: dropped when a database may still carry out the write, it ends
/// the wait of a move that then copies too early. Leaking it keeps its slot from being moved; nothing worse.
#[must_use = "the request is no longer protected once its admission is dropped"]
pub struct Admit {
    stripe: Arc<Stripe>,
    place: usize,
    slot: Slot,
    epoch: MapVersion,
}

impl Admit {
    /// The slot.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The epoch under which the work was admitted. A storage that remembers the highest epoch it has seen for
    /// a slot and refuses lower ones stops even a process that was paused in mid-request.
    pub fn epoch(&self) -> MapVersion {
        self.epoch
    }
}

impl Drop for Admit {
    fn drop(&mut self) {
        self.stripe.0.lock().in_flight[self.place] -= 1;
    }
}

impl Guard {
    /// The guard of a shard, which must start from the newest map that was published. A shard that the map
    /// does not list is refused everything until it does.
    pub fn new(shard: ShardId, map: impl Into<Arc<ShardMap>>) -> Self {
        let map = map.into();
        let slot_count = map.slot_count() as usize;
        let n_stripes = slot_count.min(MAX_STRIPES);
        let stripe = || {
            Arc::new(Stripe(Mutex::new(StripeState {
                map: Arc::clone(&map),
                in_flight: vec![0; slot_count / n_stripes].into_boxed_slice(),
                counters: stats::Counters::default(),
            })))
        };
        Guard {
            shard,
            keying: map.keying(),
            stripes: (0..n_stripes).map(|_| stripe()).collect(),
            current: Mutex::new(map),
        }
    }

    /// The shard this guards.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The map in use.
    pub fn map(&self) -> Arc<ShardMap> {
        Arc::clone(&self.current.lock())
    }

    /// The version of the map in use.
    pub fn version(&self) -> MapVersion {
        self.current.lock().version()
    }

    /// Admits a request for the slot of a route, read or write. O(1), one short lock that only slots of the
    /// same stripe share, no allocation.
    ///
    /// # Errors
    ///
    /// [`Refusal`], which says where to go or how long to wait. The request has had no effect.
    pub fn admit(&self, route: Route) -> Result<Admit, Refusal> {
        self.enter(route.slot(), route.epoch(), |map| {
            judge_request(map, self.shard, route)
        })
    }

    /// Like [`admit`](Guard::admit), and sees to it that the key lies in the route's slot, which costs one
    /// hash. It protects against clients that hash otherwise, and against those that say what they like.
    ///
    /// # Errors
    ///
    /// [`Refusal`], also for a key that is not of the route's slot.
    pub fn admit_key<K: PlacementKey + ?Sized>(
        &self,
        key: &K,
        route: Route,
    ) -> Result<Admit, Refusal> {
        // Outside the lock: the key's bytes come from the caller's code.
        let slot = self.keying.slot_of(key);
        self.enter(route.slot(), route.epoch(), |map| {
            if slot != route.slot() {
                let claimed = route.slot();
                return Err(Refusal::WrongSlot { slot, claimed });
            }
            judge_request(map, self.shard, route)
        })
    }

    /// Admits a step of copying a slot's data to this shard, to which the slot is being moved since `epoch`.
    /// Take one for each batch: a copier that was overtaken by another is refused from then on.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the slot is not on its way to this shard under this epoch.
    pub fn admit_import(&self, slot: Slot, epoch: MapVersion) -> Result<Admit, Refusal> {
        self.enter(slot, epoch, |map| {
            judge_import(map, self.shard, slot, epoch)
        })
    }

    /// Admits the removal of what this shard still has of a slot that went to another shard, or of what an
    /// aborted move has left here. `epoch` is that of the slot in the map by which the caller decided so: should
    /// the slot be on its way back, the removal is refused.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if this shard has the slot or is about to, or the slot has changed since `epoch`.
    pub fn admit_cleanup(&self, slot: Slot, epoch: MapVersion) -> Result<Admit, Refusal> {
        self.enter(slot, epoch, |map| {
            judge_cleanup(map, self.shard, slot, epoch)
        })
    }

    /// Puts a newer map in the place of the one in use. When this returns, every later request is judged by
    /// the new map. Requests admitted before may still be running: see [`is_drained`](Guard::is_drained).
    /// O(slots).
    ///
    /// # Errors
    ///
    /// [`InstallError`], with the map in it, if the map is older, or not a later version of the one in use.
    pub fn install(&self, map: impl Into<Arc<ShardMap>>) -> Result<Installed, InstallError> {
        let map = map.into();
        let mut current = self.current.lock();
        match current.succession(&map) {
            Ok(Installed::Replaced) => {}
            Ok(Installed::Unchanged) => return Ok(Installed::Unchanged),
            Err(kind) => return Err(InstallError::new(map, kind)),
        }
        for stripe in &self.stripes {
            stripe.0.lock().map = Arc::clone(&map);
        }
        *current = map;
        Ok(Installed::Replaced)
    }

    /// Whether the guard lets requests into a slot; `None` if the map has no slot of this number.
    pub fn state(&self, slot: Slot) -> Option<SlotState> {
        let (stripe, _) = self.find(slot)?;
        let assignment = stripe.0.lock().map.assignment(slot)?;
        Some(if assignment.owner != self.shard {
            SlotState::NotOwned
        } else if assignment.moving_to.is_some() {
            SlotState::Frozen
        } else {
            SlotState::Owned
        })
    }

    /// How much admitted work in a slot has not ended.
    pub fn in_flight(&self, slot: Slot) -> u64 {
        let found = self.find(slot);
        found.map_or(0, |(stripe, place)| stripe.0.lock().in_flight[place])
    }

    /// Whether everything ever admitted to these slots has ended. Asked after the map that closes the slots
    /// was installed, a yes is for good: until they are opened again, only imports are admitted.
    ///
    /// There is no call that waits. Whoever drives a move asks again after a millisecond or so.
    pub fn is_drained(&self, slots: &[Slot]) -> bool {
        slots.iter().all(|&slot| self.in_flight(slot) == 0)
    }

    /// The counters as they stand. O(slots), since it adds up what is in flight.
    pub fn stats(&self) -> GuardStats {
        let mut stats = GuardStats::new(self.version());
        for stripe in &self.stripes {
            let state = stripe.0.lock();
            stats.add(&state.counters, &state.in_flight);
        }
        stats
    }

    /// Where a slot is counted, if there is such a slot.
    fn find(&self, slot: Slot) -> Option<(&Arc<Stripe>, usize)> {
        let known = slot.0 < self.keying.slot_count();
        known.then(|| (self.stripe(slot), self.place(slot)))
    }

    /// The stripe that judges a slot; some stripe for a slot that does not exist.
    fn stripe(&self, slot: Slot) -> &Arc<Stripe> {
        &self.stripes[slot.index() % self.stripes.len()]
    }

    /// A slot's counter in its stripe.
    fn place(&self, slot: Slot) -> usize {
        slot.index() / self.stripes.len()
    }

    fn enter(
        &self,
        slot: Slot,
        epoch: MapVersion,
        judge: impl FnOnce(&ShardMap) -> Result<(), Refusal>,
    ) -> Result<Admit, Refusal> {
        let stripe = self.stripe(slot);
        let place = self.place(slot);
        let mut state = stripe.0.lock();
        let verdict = judge(&state.map);
        state.counters.count(&verdict);
        verdict?;
        state.in_flight[place] += 1; // A slot that the map does not have was refused.
        drop(state);
        Ok(Admit {
            stripe: Arc::clone(stripe),
            place,
            slot,
            epoch,
        })
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("shard", &self.shard)
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admit")
            .field("slot", &self.slot)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
