//! Entries in sets, each under a policy of its own: who is found, who stays, how many fit, and how long they live.

mod extras;
mod group;
#[cfg(feature = "std")]
mod pool;
mod resize;
mod walk;

use alloc::boxed::Box;
use alloc::vec::Vec;

use equivalent::Equivalent;
use purlin_core::{Rng, Tick};

use self::extras::Extra;
#[cfg(feature = "std")]
use self::group::Got;
use self::group::{Group, Left};
#[cfg(feature = "std")]
pub(crate) use self::pool::Pool;
pub(crate) use self::walk::{Cleared, Iter};
#[cfg(feature = "std")]
use crate::engine::Glance;
use crate::engine::{Fresh, Place, SWEEP_BUDGET};
#[cfg(feature = "std")]
use crate::expiry::Standing;
use crate::expiry::{Expiry, Life, Lifetimes};
use crate::insertion::{Cause, Evicted, Eviction, Outcome, Refusal};
use crate::policy::arm::Arm;
use crate::policy::set::Rules;
use crate::policy::{SETS_MAX, Spot, spot};
use crate::raw::{Print, SLOTS_MAX};
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
pub(crate) struct Sets<K, V> {
    groups: Box<[Group<K, V>]>,
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
}

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

/// What became of an entry that was stored.
#[cfg(feature = "std")]
pub(crate) enum Exchange<K, V> {
    /// There was room.
    Added,
    /// It is in place of this entry of the same key.
    Replaced(K, V),
    /// This one had to leave for it.
    InPlaceOf(K, V),
}

/// Up to so many entries a cache is one set.
const ONE_SET: usize = 1024;
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

impl<K, V> Sets<K, V> {
    pub(crate) fn new(
        limit: usize,
        is_weighed: bool,
        lifetimes: Lifetimes,
        arm: Arm,
        seed: u64,
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
            rules: Rules { arm, ways },
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
        self.rules.arm = arm;
    }

    #[inline]
    pub(crate) fn observe(&mut self, now: Tick, gone: &mut Evicted<K, V>) {
        self.expiry.observe(now);
        if self.expiry.is_behind() {
            self.sweep(SWEEP_BUDGET, gone);
        }
    }

    pub(crate) fn sweep(&mut self, budget: usize, gone: &mut Evicted<K, V>) -> bool {
        let n_sets = self.rest.dues.len();
        let mut left = budget.saturating_mul(DUES_A_UNIT);
        for _ in 0..n_sets {
            let set = self.rest.looks_at;
            let is_due = self.rest.dues[set] <= self.expiry.latest();
            let costs = if is_due { DUES_A_UNIT } else { 1 };
            if left < costs {
                return false;
            }
            left -= costs;
            if is_due && !self.sweep_set(set, &mut left, gone) {
                return false;
            }
            self.rest.least_due = self.rest.least_due.min(self.rest.dues[set]);
            self.rest.looks_at += 1;
            if self.rest.looks_at == n_sets {
                self.rest.looks_at = 0;
                let least = core::mem::replace(&mut self.rest.least_due, Tick::MAX);
                self.expiry.looked(least);
            }
        }
        true
    }

    /// Takes out what is spent in a set, as far as the budget goes. Returns whether it went far enough.
    fn sweep_set(&mut self, set: usize, left: &mut usize, gone: &mut Evicted<K, V>) -> bool {
        // From the end, for where one leaves, the last takes its place.
        for at in (0..self.groups[set].len()).rev() {
            if self.groups[set].is_spent(at, &self.expiry) {
                if *left < DUES_A_UNIT {
                    return false;
                }
                *left -= DUES_A_UNIT;
                self.evict(place(set, at), gone);
            }
        }
        self.rest.dues[set] = self.expiry.leaves_at(self.groups[set].earliest());
        true
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

    #[cfg(feature = "std")]
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

    /// Stores an entry that weighs one and lives for ever, as [`put`](Self::put) does and in one go, where nothing is in
    /// the way; otherwise it is given back, and nothing has changed. Only the keys' `Eq` can panic, and before anything
    /// has changed.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn put_at_once(
        &mut self,
        hash: u64,
        key: K,
        value: V,
    ) -> Result<Exchange<K, V>, (K, V)>
    where
        K: Eq,
    {
        let spot = self.spot(hash);
        let set = spot.set(self.doublings);
        let (len, n_groups) = (self.len as usize, self.groups.len());
        let Some(group) = self.groups.get_mut(set) else {
            return Err((key, value));
        };
        group.prefetch();
        if let Some(at) = group.find(spot.print, &key) {
            if !group.is_plain() {
                return Err((key, value));
            }
            self.insertions += 1;
            group.hit(at, &self.rules, &self.expiry);
            let before = group.renew(at, (key, value), Extra::PLAIN, Tick::ZERO);
            return Ok(Exchange::Replaced(before.key, before.value));
        }
        let own = group.len();
        if !group.is_plain() || own >= GROUP_MAX {
            return Err((key, value));
        }
        if self.limit > self.weight {
            if self.len >= self.grows_at {
                return Err((key, value));
            }
            group.add(
                spot.print,
                (key, value),
                Extra::PLAIN,
                &self.rules,
                Tick::ZERO,
            );
            self.insertions += 1;
            self.len += 1;
            self.weight += 1;
            return Ok(Exchange::Added);
        }
        let pool = self.rest.pool.as_ref();
        // The second as in `can_spare`.
        if pool.is_some_and(|pool| !pool.is_empty()) || own < 2 || 2 * own * n_groups <= len {
            return Err((key, value));
        }
        self.insertions += 1;
        self.evictions += 1;
        self.has_evicted = true;
        let rng = &mut self.rest.rng;
        let (key, value) = group.exchange_plain(spot.print, (key, value), &self.rules, rng);
        Ok(Exchange::InPlaceOf(key, value))
    }

    #[inline]
    pub(crate) fn put(
        &mut self,
        found: Option<Place>,
        fresh: Fresh<K, V>,
        gone: &mut Evicted<K, V>,
    ) -> Outcome<K, V> {
        let found = self.living(found, gone);
        let life = self.expiry.begin(fresh.terms);
        if self.limit == 0 && !self.finds_room()
            || fresh.weight > self.limit
            || self.expiry.is_over(life)
        {
            self.rest.counts.rejections += 1;
            return Outcome::Rejected {
                key: fresh.key,
                value: fresh.value,
                previous: found.map(|place| self.remove(place)),
                why: if self.expiry.is_invalid(life) {
                    Refusal::Invalidated
                } else if self.expiry.is_over(life) {
                    Refusal::NoTime
                } else {
                    Refusal::TooHeavy
                },
            };
        }

        self.insertions += 1;
        match found {
            Some(place) => {
                let (key, value) = self.replace(place, fresh, life, gone);
                Outcome::Replaced { key, value }
            }
            None => {
                self.add(fresh, life, gone);
                Outcome::New
            }
        }
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
    pub(crate) fn clear(&mut self) -> Cleared<K, V> {
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
        Cleared(core::mem::take(&mut self.groups))
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

    #[inline]
    fn add(&mut self, fresh: Fresh<K, V>, life: Life, gone: &mut Evicted<K, V>) {
        self.grow();
        let spot = self.spot(fresh.hash);
        let set = spot.set(self.doublings);
        let group = &mut self.groups[set];
        group.prefetch();
        let weight = fresh.weight;
        let entry = (fresh.key, fresh.value);
        let cost = fresh.terms.cost_or_one();
        let extra = Extra { weight, life, cost };
        let now = self.expiry.latest();
        let at = if self.has_room(weight) && self.groups[set].len() < GROUP_MAX {
            self.groups[set].add(spot.print, entry, extra, &self.rules, now)
        } else if (self.can_spare(set) || self.groups[set].len() >= GROUP_MAX)
            && !self.groups[set].is_uneven()
        {
            let group = &mut self.groups[set];
            let rng = &mut self.rest.rng;
            let (at, left) = group.exchange(spot.print, entry, extra, &self.rules, rng, now);
            self.report(left, gone);
            self.make_room(weight, set, at, gone)
        } else {
            self.make_room(weight, set, usize::MAX, gone);
            self.groups[set].add(spot.print, entry, extra, &self.rules, now)
        };
        self.len += 1;
        self.weight += weight;
        self.expect_end(set, at, life);
    }

    fn replace(
        &mut self,
        place: Place,
        fresh: Fresh<K, V>,
        life: Life,
        gone: &mut Evicted<K, V>,
    ) -> (K, V) {
        let weight = fresh.weight;
        let cost = fresh.terms.cost_or_one();
        let extra = Extra { weight, life, cost };
        let (set, at) = (place.set as usize, place.at as usize);
        let group = &mut self.groups[set];
        group.hit(at, &self.rules, &self.expiry);
        let before = group.renew(at, (fresh.key, fresh.value), extra, self.expiry.latest());
        // Counted in only once there is room.
        self.weight -= before.extra.weight;
        let at = self.make_room(weight, set, at, gone);
        self.weight += weight;
        self.expect_end(set, at, life);
        (before.key, before.value)
    }

    /// Evicts others than the entry of a set in `kept`, which is not counted yet, until so much weight fits, which the
    /// caller has made sure it can. Returns where that entry is then.
    #[inline]
    fn make_room(
        &mut self,
        weight: usize,
        set: usize,
        mut kept: usize,
        gone: &mut Evicted<K, V>,
    ) -> usize {
        while !self.has_room(weight) {
            kept = self.make_some_room(set, kept, gone);
        }
        kept
    }

    #[inline(never)]
    fn make_some_room(&mut self, set: usize, kept: usize, gone: &mut Evicted<K, V>) -> usize {
        let is_own = self.can_spare(set);
        let donor = if is_own { set } else { self.donor(set) };
        let group = &mut self.groups[donor];
        let last = group.len() - 1;
        let keep = (donor == set && kept <= last).then_some(kept);
        let (victim, left) = group.expel(keep, &self.rules, &mut self.rest.rng);
        self.report(left, gone);
        if keep == Some(last) { victim } else { kept }
    }

    /// Takes note of the life of an entry that came to a set.
    #[inline]
    fn expect_end(&mut self, set: usize, at: usize, life: Life) {
        if life.is_mortal() {
            // As it was written down, which may be earlier.
            let deadline = self.groups[set].extra(at).life.deadline();
            self.expect_leave(set, self.expiry.leaves_at(deadline));
        }
    }

    fn expect_leave(&mut self, set: usize, deadline: Tick) {
        if self.rest.dues.is_empty() {
            self.rest.dues = self.groups.iter().map(|_| Tick::MAX).collect();
        }
        let due = &mut self.rest.dues[set];
        *due = deadline.min(*due);
        self.rest.least_due = self.rest.least_due.min(deadline);
        self.expiry.expect(deadline);
    }

    /// Whether so much more weight fits, if need be after a look into the pool.
    #[inline]
    fn has_room(&mut self, weight: usize) -> bool {
        if weight > self.limit - self.weight {
            #[cfg(feature = "std")]
            if let Some(pool) = &self.rest.pool {
                self.limit += pool.take(weight);
                return weight <= self.limit - self.weight;
            }
            return false;
        }
        self.len < u32::MAX
    }

    /// Looks for room where there is none at all, as there may not be after a cache was as small as it can be.
    #[cold]
    fn finds_room(&mut self) -> bool {
        #[cfg(feature = "std")]
        if let Some(pool) = &self.rest.pool {
            self.limit += pool.take(1);
        }
        self.limit > 0
    }

    /// Gives back to the pool what is not needed for now.
    fn give_back(&mut self) {
        #[cfg(feature = "std")]
        if let Some(pool) = &self.rest.pool {
            self.limit -= pool.put(self.limit - self.weight, self.limit);
        }
    }

    /// Whether a set has a fair part of all entries, so that it is the one to give up one for another of its own.
    #[inline]
    fn can_spare(&self, set: usize) -> bool {
        let own = self.groups[set].len();
        own > 1 && 2 * own * self.groups.len() > self.len as usize
    }

    /// The set that gives up an entry for one that comes to this set, which has none to spare.
    #[cold]
    fn donor(&mut self, set: usize) -> usize {
        self.fullest_near_hand(set).unwrap_or(set)
    }

    /// The fullest of the next few sets but one, from the first that has an entry on.
    fn fullest_near_hand(&mut self, but: usize) -> Option<usize> {
        let n_groups = self.groups.len();
        let start = self.hand as usize;
        let around = |n: usize| (start + n) % n_groups;
        let has_some = |&set: &usize| set != but && self.groups[set].len() > 0;
        let first = (0..n_groups).find(|&n| has_some(&around(n)))?;
        self.hand = around(first + 1) as u32;
        (first..first + LOOK_AT.min(n_groups))
            .map(around)
            .filter(has_some)
            .max_by_key(|&set| self.groups[set].len())
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
        if self.groups.is_empty() {
            self.groups = (0..self.begins_with).map(|_| Group::new()).collect();
            self.grows_at = self.when_to_grow();
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
        self.hand = 0;
        // Each half may have what the whole had, and the look for the dead begins anew.
        let dues = self.rest.dues.iter().flat_map(|&due| [due, due]).collect();
        self.rest.dues = dues;
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
