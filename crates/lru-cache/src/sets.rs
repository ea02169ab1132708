//! Entries in sets, each under a policy of its own: who is found, who stays, how many fit, and how long they live.

mod group;

use alloc::vec::Vec;

use equivalent::Equivalent;
use purlin_core::{Rng, Tick};

use self::group::{Group, Left};
use crate::engine::{Fresh, Name, Place, SWEEP_BUDGET};
use crate::expiry::{Expiry, Life, Lifetimes};
use crate::insertion::{Cause, Evicted, Eviction, Outcome};
use crate::policy::arm::Arm;
use crate::policy::short_hash;
use crate::stats::Stats;

/// A table of sets with a hard bound on the weight of all.
///
/// The highest bits of a hash choose its set, so that the sets stand in the order of their hashes, and a table that
/// doubles cuts each set in two. The bound is on all sets together. A set has what its keys brought, a few more or
/// fewer than the average, and once the table is full, who comes takes the place of one of its own set: so the last
/// entry of the capacity is used, though no set is sized for it.
///
/// 1. `weight` is the sum of the entries' weights and at most `limit`, whenever no method is running.
/// 2. `len` is the number of entries in all groups, and there is a power of two of groups.
/// 3. An entry has a timer in `expiry` exactly if it has a deadline, and the timer names the entry.
#[derive(Debug)]
pub(crate) struct Sets<K, V> {
    groups: Vec<Group<K, V>>,
    len: usize,
    weight: usize,
    limit: usize,
    /// Whether entries weigh other than one each.
    is_weighed: bool,
    arm: Arm,
    expiry: Expiry<Name>,
    /// The stamp of the next insertion. It comes round after 2³² of them: then an entry could be taken for one that
    /// was judged so long ago, in a walk that lasted for all of that time.
    next_stamp: u32,
    /// Where to look next for an entry to evict when the set at hand has none to spare.
    hand: usize,
    rng: Rng,
    /// `entries` and `weight` are filled in by the engine.
    pub(crate) counts: Stats,
}

/// Up to so many entries a cache is one set.
const ONE_SET: usize = 1024;
/// Entries of a set on the average, when the cache is full: above half of this and up to it.
const WAYS: usize = 48;
/// The average where nobody knows how many entries make the cache full.
const WAYS_BY_WEIGHT: usize = 32;
/// The most sets; beyond what they hold on the average, sets get larger.
const GROUPS_MAX: usize = 1 << 24;
/// The most entries of one set: it is then full whatever the bound. Only a hasher that has few hashes for many
/// keys gets there.
const GROUP_MAX: usize = 4096;
/// How many sets are looked at for the fullest, when one is to give up an entry for another.
const LOOK_AT: usize = 8;

impl<K, V> Sets<K, V> {
    pub(crate) fn new(
        limit: usize,
        is_weighed: bool,
        lifetimes: Lifetimes,
        arm: Arm,
        seed: u64,
    ) -> Self {
        Sets {
            groups: Vec::new(),
            len: 0,
            weight: 0,
            limit,
            is_weighed,
            arm,
            expiry: Expiry::new(lifetimes.to_live, lifetimes.to_idle),
            next_stamp: 0,
            hand: 0,
            rng: Rng::from_seed(seed),
            counts: Stats::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn set_arm(&mut self, arm: Arm) {
        self.arm = arm;
    }

    #[inline]
    pub(crate) fn observe(&mut self, now: Tick, gone: &mut Evicted<K, V>) {
        self.expiry.observe(now);
        if self.expiry.is_behind() {
            self.sweep(SWEEP_BUDGET, gone);
        }
    }

    pub(crate) fn sweep(&mut self, budget: usize, gone: &mut Evicted<K, V>) -> bool {
        let due = self.expiry.sweep(budget);
        for &name in &due {
            let place = self
                .named(name)
                .expect("timers name entries that are there");
            let life = self.groups[place.set as usize].life_mut(place.at);
            life.fired();
            if self.expiry.is_over(life) {
                self.evict(place, gone);
            } else {
                // It was used since its timer was set.
                self.expiry.arm(name, life);
            }
        }
        self.expiry.swept(due);
        self.expiry.is_caught_up()
    }

    #[inline]
    pub(crate) fn find<Q>(&self, hash: u64, key: &Q) -> Option<Place>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let hash = short_hash(hash);
        let set = self.set_of(hash);
        let at = self.groups.get(set)?.find(hash, key)?;
        Some(place(set, at))
    }

    #[inline]
    pub(crate) fn lookup(&mut self, found: Option<Place>, gone: &mut Evicted<K, V>) -> Option<&V> {
        let Some(place) = self.living(found, gone) else {
            self.counts.misses += 1;
            return None;
        };
        self.counts.hits += 1;
        Some(self.refresh(place))
    }

    #[cfg(feature = "std")]
    pub(crate) fn lookup_again(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<&V> {
        let place = self.living(found, gone)?;
        Some(self.refresh(place))
    }

    pub(crate) fn peek(&self, found: Option<Place>, now: Tick) -> Option<&V> {
        let place = found?;
        let (_, value) =
            self.groups[place.set as usize].living(place.at as usize, &self.expiry, now)?;
        Some(value)
    }

    pub(crate) fn put(
        &mut self,
        found: Option<Place>,
        fresh: Fresh<K, V>,
        gone: &mut Evicted<K, V>,
    ) -> Outcome<K, V> {
        let found = self.living(found, gone);
        let life = self.expiry.begin(fresh.time_to_live);
        if self.limit == 0 || fresh.weight > self.limit || self.expiry.is_over(&life) {
            self.counts.rejections += 1;
            return Outcome::Rejected {
                key: fresh.key,
                value: fresh.value,
                previous: found.map(|place| self.remove(place)),
            };
        }

        self.counts.insertions += 1;
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

    #[cfg(feature = "std")]
    pub(crate) fn take_named(&mut self, name: Name) -> Option<(K, V)> {
        let place = self.named(name)?;
        Some(self.remove(place))
    }

    pub(crate) fn take_oldest(&mut self, gone: &mut Evicted<K, V>) -> Option<(K, V)> {
        while self.len > 0 {
            let set = self.fullest_near_hand(usize::MAX)?;
            let at = self.groups[set].policy.worst(&self.arm);
            if let Some(pair) = self.take(Some(place(set, at)), gone) {
                return Some(pair);
            }
        }
        None
    }

    pub(crate) fn retain(&mut self, now: Tick, mut keep: impl FnMut(&K, &V) -> bool) {
        for set in 0..self.groups.len() {
            // From the end, for where one leaves, the last takes its place, and that has been judged.
            for at in (0..self.groups[set].len()).rev() {
                let entry = self.groups[set].living(at, &self.expiry, now);
                if entry.is_some_and(|(key, value)| !keep(key, value)) {
                    drop(self.remove(place(set, at)));
                }
            }
        }
    }

    #[must_use = "entries are dropped where the caller chooses"]
    pub(crate) fn clear(&mut self) -> impl Sized + use<K, V> {
        self.counts.removals += self.len as u64;
        self.weight = 0;
        self.len = 0;
        self.hand = 0;
        self.expiry.clear();
        core::mem::take(&mut self.groups)
    }

    /// A walk is in the order of hashes, which stays when the table doubles meanwhile; so it meets each entry that
    /// stays exactly once.
    #[cfg(feature = "std")]
    pub(crate) fn walk(
        &self,
        from: u64,
        now: Tick,
        most: usize,
        mut each: impl FnMut(Name, &K, &V),
    ) -> Option<u64> {
        let mut met = 0;
        let (mut from, mut looked_at) = (from, 0);
        while !self.groups.is_empty() && from < 1 << 32 {
            let set = self.set_of(from as u32);
            let group = &self.groups[set];
            let mut ahead: Vec<(u32, usize)> = (0..group.len())
                .map(|at| (group.policy.hash(at), at))
                .filter(|&(hash, _)| u64::from(hash) >= from)
                .collect();
            ahead.sort_unstable();
            let mut before = None;
            for (hash, at) in ahead {
                // Equal hashes go together, for a walk cannot go on between them.
                if met >= most && before != Some(hash) {
                    return Some(hash.into());
                }
                before = Some(hash);
                if let Some((key, value)) = group.living(at, &self.expiry, now) {
                    each(group.name(at), key, value);
                    met += 1;
                }
            }
            from = (set as u64 + 1) << (32 - self.groups.len().ilog2());
            looked_at += 1;
            if met >= most || looked_at >= most {
                break;
            }
        }
        (!self.groups.is_empty() && from < 1 << 32).then_some(from)
    }

    pub(crate) fn iter(&self, now: Tick) -> Iter<'_, K, V> {
        Iter {
            sets: self,
            now,
            set: 0,
            at: 0,
            left: self.len,
        }
    }

    /// The set of a hash; 0 while there is none.
    #[inline]
    fn set_of(&self, hash: u32) -> usize {
        let bits = self.groups.len().max(1).trailing_zeros();
        // Shifted by all 32 bits where there is one set.
        (u64::from(hash) >> (32 - bits)) as usize
    }

    fn named(&self, name: Name) -> Option<Place> {
        let set = self.set_of(name.near);
        let group = self.groups.get(set)?;
        let is_it = |at| u64::from(group.policy.stamp(at)) == name.stamp;
        Some(place(set, group.policy.find(name.near, is_it)?))
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

    #[inline]
    fn refresh(&mut self, place: Place) -> &V {
        let group = &mut self.groups[place.set as usize];
        group.policy.hit(place.at as usize, &self.arm);
        group.prolong(place.at as usize, &self.expiry);
        group.value(place.at as usize)
    }

    fn add(&mut self, fresh: Fresh<K, V>, life: Life, gone: &mut Evicted<K, V>) {
        self.grow();
        let hash = short_hash(fresh.hash);
        let set = self.set_of(hash);
        let stamp = self.next_stamp;
        self.next_stamp = stamp.wrapping_add(1);
        let group = &mut self.groups[set];
        let at = group.policy.admit(hash, stamp, &self.arm);
        group.push(fresh.key, fresh.value, fresh.weight, life, self.is_weighed);
        self.len += 1;
        let evictions = self.counts.evictions;
        let place = self.make_room(place(set, at), fresh.weight, gone);
        if self.counts.evictions == evictions {
            self.groups[set].policy.settle(&self.arm);
        }
        self.weight += fresh.weight;
        self.set_timer(place);
    }

    fn replace(
        &mut self,
        place: Place,
        fresh: Fresh<K, V>,
        life: Life,
        gone: &mut Evicted<K, V>,
    ) -> (K, V) {
        let stamp = self.next_stamp;
        self.next_stamp = stamp.wrapping_add(1);
        let weight = fresh.weight;
        let group = &mut self.groups[place.set as usize];
        group.policy.hit(place.at as usize, &self.arm);
        group.policy.set_stamp(place.at as usize, stamp);
        let mut before = group.swap(
            place.at as usize,
            fresh.key,
            fresh.value,
            weight,
            life,
            self.is_weighed,
        );
        // Its timer names the insertion before.
        self.expiry.disarm(&mut before.life);
        // Counted in only once there is room.
        self.weight -= before.weight;
        let place = self.make_room(place, weight, gone);
        self.weight += weight;
        self.set_timer(place);
        (before.key, before.value)
    }

    fn set_timer(&mut self, place: Place) {
        let group = &mut self.groups[place.set as usize];
        let name = group.name(place.at as usize);
        if let Some(life) = group.mortal_life(place.at as usize) {
            self.expiry.arm(name, life);
        }
    }

    /// Evicts others than the entry in `kept`, which is not counted yet, until so much weight fits, which the caller
    /// has made sure it can. Returns where that entry is then.
    fn make_room(&mut self, mut kept: Place, weight: usize, gone: &mut Evicted<K, V>) -> Place {
        let full = |sets: &Self| {
            weight > sets.limit - sets.weight
                || sets.groups[kept.set as usize].len() > GROUP_MAX
                || sets.len > u32::MAX as usize
        };
        if !full(self) {
            return kept;
        }
        loop {
            let set = self.donor(kept.set as usize);
            let group = &mut self.groups[set];
            let last = group.len() - 1;
            let is_own = set == kept.set as usize;
            let keep = if is_own { kept.at as usize } else { usize::MAX };
            let at = group.policy.evict(keep, &self.arm, &mut self.rng);
            let left = group.swap_remove(at);
            if is_own && kept.at as usize == last {
                kept.at = at as u32;
            }
            self.report(left, gone);
            let is_full = weight > self.limit - self.weight
                || self.groups[kept.set as usize].len() > GROUP_MAX
                || self.len > u32::MAX as usize;
            if !is_full {
                return kept;
            }
        }
    }

    /// The set that gives up an entry for one that comes to this set: this, if it has a fair part of all.
    fn donor(&mut self, set: usize) -> usize {
        let own = self.groups[set].len();
        let average = self.len / self.groups.len();
        if own > 1 && own > average / 2 {
            return set;
        }
        match self.fullest_near_hand(set) {
            Some(other) => other,
            None => set,
        }
    }

    /// The fullest of the next few sets but one, from the first that has an entry on.
    fn fullest_near_hand(&mut self, but: usize) -> Option<usize> {
        let n_groups = self.groups.len();
        let start = self.hand;
        let around = |n: usize| (start + n) % n_groups;
        let has_some = |&set: &usize| set != but && self.groups[set].len() > 0;
        let first = (0..n_groups).find(|&n| has_some(&around(n)))?;
        self.hand = around(first + 1);
        (first..first + LOOK_AT.min(n_groups))
            .map(around)
            .filter(has_some)
            .max_by_key(|&set| self.groups[set].len())
    }

    /// Takes an entry out because it is over, or else for the room.
    fn evict(&mut self, place: Place, gone: &mut Evicted<K, V>) {
        let group = &mut self.groups[place.set as usize];
        group.policy.free(place.at as usize);
        let left = group.swap_remove(place.at as usize);
        self.report(left, gone);
    }

    fn report(&mut self, left: Left<K, V>, gone: &mut Evicted<K, V>) {
        let cause = if self.expiry.is_over(&left.life) {
            self.counts.expirations += 1;
            Cause::Expired
        } else {
            self.counts.evictions += 1;
            Cause::Capacity
        };
        let (key, value) = self.count_out(left);
        gone.push(Eviction { key, value, cause });
    }

    /// Takes an entry out because somebody asked for it.
    fn remove(&mut self, place: Place) -> (K, V) {
        self.counts.removals += 1;
        let group = &mut self.groups[place.set as usize];
        group.policy.free(place.at as usize);
        let left = group.swap_remove(place.at as usize);
        self.count_out(left)
    }

    fn count_out(&mut self, mut left: Left<K, V>) -> (K, V) {
        self.len -= 1;
        self.weight -= left.weight;
        self.expiry.disarm(&mut left.life);
        (left.key, left.value)
    }

    /// Sees to it that there are sets enough for one entry more.
    fn grow(&mut self) {
        if self.groups.is_empty() {
            self.groups
                .push(Group::new(self.rng.next_u64() as u8, self.ways()));
            return;
        }
        let n_groups = self.groups.len();
        if n_groups >= self.most_groups() || self.len < n_groups * self.ways() {
            return;
        }
        let bit = 31 - n_groups.ilog2();
        let mut groups = Vec::with_capacity(2 * n_groups);
        for mut lower in core::mem::take(&mut self.groups) {
            let upper = lower.split(self.rng.next_u64() as u8, |hash| hash >> bit & 1 == 1);
            groups.push(lower);
            groups.push(upper);
        }
        self.groups = groups;
        self.hand = 0;
    }

    /// How many sets a full cache has.
    fn most_groups(&self) -> usize {
        if self.is_weighed {
            GROUPS_MAX
        } else if self.limit <= ONE_SET {
            1
        } else {
            let needed = self.limit.div_ceil(WAYS);
            needed.min(GROUPS_MAX).next_power_of_two()
        }
    }

    /// The average entries of a set when the cache is full.
    fn ways(&self) -> usize {
        if self.is_weighed {
            WAYS_BY_WEIGHT
        } else {
            (self.limit / self.most_groups()).clamp(1, ONE_SET)
        }
    }
}

fn place(set: usize, at: usize) -> Place {
    Place {
        set: set as u32,
        at: at as u32,
    }
}

/// The entries of [`Sets`] that are not over, set by set.
pub(crate) struct Iter<'a, K, V> {
    sets: &'a Sets<K, V>,
    now: Tick,
    set: usize,
    at: usize,
    left: usize,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        loop {
            let group = self.sets.groups.get(self.set)?;
            if self.at == group.len() {
                (self.set, self.at) = (self.set + 1, 0);
                continue;
            }
            let entry = group.living(self.at, &self.sets.expiry, self.now);
            self.at += 1;
            self.left -= 1;
            if entry.is_some() {
                return entry;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

#[cfg(test)]
mod tests;
