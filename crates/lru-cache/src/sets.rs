//! Entries in sets, each under a policy of its own: who is found, who stays, how many fit, and how long they live.

mod extras;
mod group;
#[cfg(feature = "std")]
mod pool;
mod resize;
mod store;
#[cfg(feature = "serde")]
mod survey;
mod sweep;
mod walk;

use alloc::boxed::Box;
use alloc::vec::Vec;

use equivalent::Equivalent;
use purlin_core::{Rng, Tick};

pub(crate) use self::extras::Extras;
#[cfg(feature = "std")]
use self::group::Got;
use self::group::{Group, Left};
#[cfg(feature = "std")]
pub(crate) use self::pool::Pool;
pub(crate) use self::walk::{Cleared, Iter};
#[cfg(feature = "std")]
use crate::engine::Glance;
use crate::engine::Place;
use crate::expiry::{Expiry, Lifetimes, Standing};
use crate::insertion::{Cause, Evicted, Eviction};
use crate::policy::arm::Arm;
use crate::policy::set::Rules;
use crate::policy::{SETS_MAX, Spot, spot};
use crate::raw::open::Open;
#[cfg(feature = "std")]
use crate::raw::open::Signs;
use crate::raw::{Block, Print, SLOTS_MAX, Slots};
use crate::stats::Stats;

/// A table of sets with a hard bound on the weight of all.
///
/// The highest bits of a hash choose its set, so that the sets stand in the order of their hashes, and a table that
/// doubles cuts each set in two. The bound is on all sets together. A set has what its keys brought, a few more or
/// fewer than the average, and once the table is full, who comes takes the place of one of its own set: so the last
/// entry of the capacity is used, though no set is sized for it.
///
/// 1. `weight` is the sum of the entries' weights and at most `limit`, whenever no method is running.
/// 2. `len` is the number of entries in all groups. There are none, or `begins_with` times two to the power of
///    `doublings`.
/// 3. No entry of a set is to leave, for it is over, before the set's number in `dues`, and none of all before `expiry` has it looked for.
///    There are as many dues as groups, or none if no entry had a deadline yet.
///
/// The fields stand in this order so that a look-up needs one line of memory of them, which the lock of a shard is on
/// as well, and an insertion two more.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Sets<K, V, B: Slots<(K, V), Extras> = Block<(K, V), Extras>> {
    groups: Box<[Group<K, V, B>]>,
    /// Groups of the smallest table.
    begins_with: u32,
    doublings: u8,
    most_doublings: u8,
    /// Whether an entry ever had to make room.
    has_evicted: bool,
    rules: Rules,
    len: u32,
    hits: u64,
    expiry: Expiry,
    misses: u64,
    insertions: u64,
    evictions: u64,
    weight: usize,
    limit: usize,
    /// The table doubles before it has more entries.
    grows_at: u32,
    /// Whether the bound is a weight.
    is_weighed: bool,
    /// Where to look next for an entry to evict when the set at hand has none to spare.
    hand: u32,
    rest: Box<Rest>,
    /// What the blocks share. After them, for they leave their memory there.
    home: B::Home,
}

/// Sets whose entries may be read without the lock.
pub(crate) type OpenSets<K, V> = Sets<K, V, Open<K, V, Extras>>;

/// What most calls do without.
#[derive(Debug)]
struct Rest {
    rng: Rng,
    /// Where more of the limit may be had, once all of it is used.
    #[cfg(feature = "std")]
    pool: Option<Pool>,
    dues: Vec<Tick>,
    /// The set where the look for the dead goes on, and the least of the dues since it came by the first.
    looks_at: usize,
    least_due: Tick,
    /// What is not counted in fields of its own.
    counts: Stats,
}

/// Where a look-up goes on: in this set, and in it first in these slots, a bit each.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trail {
    set: usize,
    near: u64,
}

/// What a look-up of a table saw in which nothing was timed when it began.
#[cfg(feature = "std")]
pub(crate) enum Glimpse<'a, V> {
    /// A value, and whether a policy learns something from that, as in [`Glance`].
    Value(&'a V, bool),
    Absent,
    /// Its time is over.
    Over,
}

/// What became of an entry that was to be stored in one go.
#[cfg(feature = "std")]
pub(crate) enum Exchange<K, V> {
    /// There was room.
    Added,
    /// It is in place of this entry of the same key.
    Replaced(K, V),
    /// This one had to leave for it.
    InPlaceOf(K, V),
    /// It is given back, and nothing has changed.
    None(K, V),
}

/// Up to so many entries a cache is one set.
pub(crate) const ONE_SET: usize = 1024;
/// Entries of a set on the average, when the cache is full.
const WAYS: usize = 40;
/// The average where nobody knows how many entries make the cache full.
const WAYS_BY_WEIGHT: u32 = 32;
/// The most sets of a table that was not yet doubled.
const BEGINS_WITH_MAX: usize = 16;
/// How often a table can double: its groups then share no bit of the positions.
const DOUBLINGS_MAX: u8 = 16;
/// The most entries of one set: it is then full whatever the bound. Only a hasher that has few hashes for many
/// keys gets there.
const GROUP_MAX: usize = 4096;
/// How many sets' dues are looked at for one unit of work in the look for the dead; to look at a set is one as well, and
/// to take an entry out.
const DUES_A_UNIT: usize = 16;
/// How many sets are looked at for the fullest, when one is to give up an entry for another.
const LOOK_AT: usize = 8;

const _: () = assert!(GROUP_MAX < SLOTS_MAX && BEGINS_WITH_MAX <= SETS_MAX);

#[cfg(feature = "std")]
impl<K, V> Sets<K, V> {
    /// The first part of a look-up where nothing has a deadline: it ends here if the entry is hot, and so most do. With the
    /// value comes whether a policy learns something from that, as in [`Glance`].
    #[inline]
    pub(crate) fn get_hot<Q>(&mut self, hash: u64, key: &Q) -> Result<(&V, bool), Trail>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let spot = self.spot(hash);
        let set = spot.set(self.doublings);
        let mut trail = Trail { set, near: 0 };
        let Some(group) = self.groups.get(set) else {
            return Err(trail);
        };
        trail.near = group.near(spot.print);
        if self.rules.heeds_order() {
            return Err(trail);
        }
        let value = group.hot(trail.near, key).ok_or(trail)?;
        self.hits += 1;
        Ok((value, self.has_evicted))
    }

    /// The second.
    #[inline]
    pub(crate) fn get_on<Q>(&mut self, trail: Trail, hash: u64, key: &Q) -> Glimpse<'_, V>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let print = self.spot(hash).print;
        let got = self
            .groups
            .get_mut(trail.set)
            .and_then(|group| group.get_among(trail.near, print, key, &self.rules, &self.expiry));
        match got {
            Some(Got::Value(value)) => {
                self.hits += 1;
                Glimpse::Value(value, self.has_evicted)
            }
            Some(Got::Over) => Glimpse::Over,
            None => {
                self.misses += 1;
                Glimpse::Absent
            }
        }
    }
}

impl<K, V, B: Slots<(K, V), Extras>> Sets<K, V, B> {
    pub(crate) fn new(
        limit: usize,
        is_weighed: bool,
        lifetimes: Lifetimes,
        arm: Arm,
        seed: u64,
        home: B::Home,
    ) -> Self {
        let (begins_with, most_doublings) = if is_weighed {
            (1, DOUBLINGS_MAX)
        } else if limit <= ONE_SET {
            (1, 0)
        } else {
            sets_for(limit)
        };
        let ways = if is_weighed {
            WAYS_BY_WEIGHT
        } else {
            ways_of(limit, begins_with, most_doublings)
        };
        Sets {
            groups: Box::default(),
            begins_with,
            doublings: 0,
            most_doublings,
            has_evicted: false,
            rules: Rules::new(arm, ways),
            len: 0,
            hits: 0,
            expiry: Expiry::new(lifetimes, seed),
            misses: 0,
            insertions: 0,
            evictions: 0,
            weight: 0,
            limit,
            grows_at: 0,
            is_weighed,
            hand: 0,
            rest: Box::new(Rest {
                rng: Rng::from_seed(seed),
                #[cfg(feature = "std")]
                pool: None,
                dues: Vec::new(),
                looks_at: 0,
                least_due: Tick::MAX,
                counts: Stats::default(),
            }),
            home,
        }
    }

    /// Has no more than its own part of the limit for good, from here on.
    #[cfg(feature = "std")]
    pub(crate) fn join(&mut self, pool: Pool) {
        debug_assert_eq!(self.weight, 0);
        // As a part of a larger cache it is not one set, however small.
        (self.begins_with, self.most_doublings) = sets_for(self.limit);
        self.rules.ways = ways_of(self.limit, self.begins_with, self.most_doublings);
        self.limit = pool.own();
        self.rest.pool = Some(pool);
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            hits: self.hits,
            misses: self.misses,
            insertions: self.insertions,
            evictions: self.evictions,
            entries: self.len(),
            weight: self.weight,
            ..self.rest.counts
        }
    }

    /// What the callers count.
    pub(crate) fn counts(&mut self) -> &mut Stats {
        &mut self.rest.counts
    }

    #[inline]
    pub(crate) fn has_evicted(&self) -> bool {
        self.has_evicted
    }

    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn set_arm(&mut self, arm: Arm) {
        self.rules = Rules::new(arm, self.rules.ways);
    }

    #[inline]
    pub(crate) fn find<Q>(&self, hash: u64, key: &Q) -> Option<Place>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let spot = self.spot(hash);
        let set = spot.set(self.doublings);
        let at = self.groups.get(set)?.find(spot.print, key)?;
        Some(place(set, at))
    }

    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn get_at_once<Q>(&mut self, hash: u64, key: &Q, now: Tick) -> Option<Glance<'_, V>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        // Zero where nothing has a deadline.
        if now > Tick::ZERO {
            self.expiry.observe(now);
            if self.expiry.is_behind() {
                return None;
            }
        }
        let spot = self.spot(hash);
        let group = self.groups.get_mut(spot.set(self.doublings));
        let found = group.and_then(|group| group.get(spot.print, key, &self.rules, &self.expiry));
        match found {
            Some(Got::Value(value)) => {
                self.hits += 1;
                Some(Glance {
                    value: Some(value),
                    tells: self.has_evicted,
                })
            }
            Some(Got::Over) => None,
            None => {
                self.misses += 1;
                Some(Glance {
                    value: None,
                    tells: false,
                })
            }
        }
    }

    #[inline]
    pub(crate) fn lookup(&mut self, found: Option<Place>, gone: &mut Evicted<K, V>) -> Option<&V> {
        let Some(place) = self.usable(found, gone) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        Some(self.refresh(place))
    }

    #[cfg(feature = "std")]
    pub(crate) fn lookup_again(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<&V> {
        let place = self.usable(found, gone)?;
        Some(self.refresh(place))
    }

    #[cfg(feature = "std")]
    pub(crate) fn lookup_stale(&mut self, found: Option<Place>) -> Option<&V> {
        let place = found?;
        self.hits += 1;
        Some(self.groups[place.set as usize].value(place.at as usize))
    }

    pub(crate) fn inspect(&self, found: Option<Place>) -> Option<(&V, Standing)> {
        let place = found?;
        let group = &self.groups[place.set as usize];
        let at = place.at as usize;
        Some((group.value(at), group.standing(at, &self.expiry)?))
    }

    pub(crate) fn peek(&self, found: Option<Place>, now: Tick) -> Option<&V> {
        let place = found?;
        let (_, value) =
            self.groups[place.set as usize].living(place.at as usize, &self.expiry, now)?;
        Some(value)
    }

    pub(crate) fn take(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<(K, V)> {
        let place = self.living(found, gone)?;
        Some(self.remove(place))
    }

    pub(crate) fn take_oldest(&mut self, gone: &mut Evicted<K, V>) -> Option<(K, V)> {
        while self.len > 0 {
            let set = self.fullest_near_hand(usize::MAX)?;
            let at = self.groups[set].worst(&self.rules);
            if let Some(pair) = self.take(Some(place(set, at)), gone) {
                return Some(pair);
            }
        }
        None
    }

    pub(crate) fn retain(
        &mut self,
        now: Tick,
        mut keep: impl FnMut(&K, &V) -> bool,
        mut leave: impl FnMut(K, V),
    ) {
        for set in 0..self.groups.len() {
            // From the end, for where one leaves, the last takes its place, and that has been judged.
            for at in (0..self.groups[set].len()).rev() {
                let entry = self.groups[set].living(at, &self.expiry, now);
                if entry.is_some_and(|(key, value)| !keep(key, value)) {
                    let (key, value) = self.remove(place(set, at));
                    leave(key, value);
                }
            }
        }
    }

    #[must_use = "entries are dropped where the caller chooses"]
    pub(crate) fn clear(&mut self) -> Cleared<K, V, B> {
        self.rest.counts.removals += u64::from(self.len);
        self.weight = 0;
        self.len = 0;
        self.hand = 0;
        self.doublings = 0;
        self.grows_at = 0;
        self.expiry.clear();
        self.rest.dues = Vec::new();
        (self.rest.looks_at, self.rest.least_due) = (0, Tick::MAX);
        self.give_back();
        B::rearrange(&self.home);
        let cleared = Cleared(core::mem::take(&mut self.groups));
        self.arranged();
        cleared
    }

    /// Tells those who read without the lock what they have to know, at the end of what was done under it.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn show(&self) {
        let signs = Signs {
            latest: self.expiry.latest(),
            looks_at: self.expiry.looks_at(),
            heeds_order: self.rules.heeds_order(),
            has_evicted: self.has_evicted,
        };
        B::show(&self.home, signs);
    }

    /// Tells them that a key may be elsewhere than here, before the first is.
    pub(crate) fn has_more(&self) {
        B::has_more(&self.home);
    }

    fn arranged(&self) {
        let blocks = self.groups.iter().map(Group::block);
        B::arranged(&self.home, self.begins_with, self.doublings, blocks);
    }

    #[inline]
    fn spot(&self, hash: u64) -> Spot {
        spot(hash, self.begins_with)
    }

    #[cfg(any(feature = "std", test))]
    fn position(&self, set: usize, at: usize) -> u32 {
        let begun = (set >> self.doublings) as u32;
        begun << 16 | u32::from(self.groups[set].mark(at))
    }

    /// The place, unless its entry is over; then that leaves.
    #[inline]
    fn living(&mut self, found: Option<Place>, gone: &mut Evicted<K, V>) -> Option<Place> {
        let place = found?;
        if self.groups[place.set as usize].is_over(place.at as usize, &self.expiry) {
            self.evict(place, gone);
            return None;
        }
        Some(place)
    }

    /// The place, unless its entry is over; then that stays for as long as somebody may ask for it still.
    #[inline]
    fn usable(&mut self, found: Option<Place>, gone: &mut Evicted<K, V>) -> Option<Place> {
        let place = found?;
        let (group, at) = (&self.groups[place.set as usize], place.at as usize);
        if group.is_over(at, &self.expiry) {
            if group.is_spent(at, &self.expiry) {
                self.evict(place, gone);
            }
            return None;
        }
        Some(place)
    }

    #[inline]
    fn refresh(&mut self, place: Place) -> &V {
        let group = &mut self.groups[place.set as usize];
        group.hit(place.at as usize, &self.rules, &self.expiry);
        group.value(place.at as usize)
    }

    /// Takes an entry out because it is over, or else for the room.
    fn evict(&mut self, place: Place, gone: &mut Evicted<K, V>) {
        let left = self.groups[place.set as usize].take(place.at as usize);
        self.report(left, gone);
        self.give_back();
    }

    #[inline]
    fn report(&mut self, left: Left<K, V>, gone: &mut Evicted<K, V>) {
        let cause = if self.expiry.is_invalid(left.extra.life) {
            self.rest.counts.removals += 1;
            Cause::Invalidated
        } else if self.expiry.is_over(left.extra.life) {
            self.rest.counts.expirations += 1;
            Cause::Expired
        } else {
            self.evictions += 1;
            self.has_evicted = true;
            Cause::Capacity
        };
        let (key, value) = self.count_out(left);
        gone.push(Eviction { key, value, cause });
    }

    /// Takes an entry out because somebody asked for it.
    fn remove(&mut self, place: Place) -> (K, V) {
        self.rest.counts.removals += 1;
        let left = self.groups[place.set as usize].take(place.at as usize);
        let pair = self.count_out(left);
        self.give_back();
        pair
    }

    #[inline]
    fn count_out(&mut self, left: Left<K, V>) -> (K, V) {
        self.len -= 1;
        self.weight -= left.extra.weight;
        (left.key, left.value)
    }

    /// Sees to it that there are sets enough for one entry more.
    #[inline]
    fn grow(&mut self) {
        if self.len >= self.grows_at {
            self.double();
        }
    }

    #[cold]
    fn double(&mut self) {
        B::rearrange(&self.home);
        if self.groups.is_empty() {
            let groups = (0..self.begins_with).map(|_| Group::new(&self.home));
            self.groups = groups.collect();
            self.grows_at = self.when_to_grow();
            self.arranged();
            return;
        }
        self.doublings += 1;
        let bit = 16 - self.doublings;
        let mut groups = Vec::with_capacity(2 * self.groups.len());
        for mut lower in core::mem::take(&mut self.groups).into_vec() {
            let goes = |print: Print| print.mark >> bit & 1 == 1;
            let upper = lower.split(goes, self.expiry.latest());
            groups.push(lower);
            groups.push(upper);
        }
        self.groups = groups.into_boxed_slice();
        self.arranged();
        self.hand = 0;
        // Some deadlines are earlier by being written shorter, and the look for the dead begins anew.
        if !self.rest.dues.is_empty() {
            let ends = self.groups.iter_mut().map(Group::reckon_ends);
            self.rest.dues = ends.map(|end| self.expiry.leaves_at(end)).collect();
        }
        (self.rest.looks_at, self.rest.least_due) = (0, Tick::MAX);
        self.grows_at = self.when_to_grow();
    }

    fn when_to_grow(&self) -> u32 {
        if self.doublings == self.most_doublings {
            return u32::MAX;
        }
        let full = self.groups.len() * self.rules.ways as usize;
        full.try_into().unwrap_or(u32::MAX)
    }
}

/// How many sets a table for so many entries begins with, and how often it doubles.
fn sets_for(limit: usize) -> (u32, u8) {
    let needed = (limit / WAYS).max(1);
    let doublings = (needed / BEGINS_WITH_MAX)
        .checked_ilog2()
        .map_or(0, |log| log + 1);
    let doublings = doublings.min(DOUBLINGS_MAX.into());
    (
        (needed >> doublings).min(BEGINS_WITH_MAX) as u32,
        doublings as u8,
    )
}

/// The entries of a set on the average, when the cache is full.
fn ways_of(limit: usize, begins_with: u32, most_doublings: u8) -> u32 {
    (limit / ((begins_with as usize) << most_doublings)).clamp(1, ONE_SET) as u32
}

fn place(set: usize, at: usize) -> Place {
    Place {
        set: set as u32,
        at: at as u32,
    }
}

#[cfg(test)]
mod tests;
