//! How entries come in, and who makes room for them.

#[cfg(feature = "std")]
use purlin_core::Tick;

#[cfg(feature = "std")]
use super::Exchange;
use super::extras::{Extra, Extras};
use super::{GROUP_MAX, LOOK_AT, Sets};
use crate::engine::{Fresh, Place};
use crate::expiry::Life;
use crate::insertion::{Evicted, Outcome, Refusal};
use crate::raw::Slots;

impl<K, V, B: Slots<(K, V), Extras>> Sets<K, V, B> {
    /// Stores an entry that weighs one and lives for ever, as [`put`](Self::put) does and in one go, where nothing is in
    /// the way; otherwise it is given back, and nothing has changed. Only the keys' `Eq` can panic, and before anything
    /// has changed.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn put_at_once(&mut self, hash: u64, key: K, value: V) -> Exchange<K, V>
    where
        K: Eq,
    {
        let spot = self.spot(hash);
        let set = spot.set(self.doublings);
        let (len, n_groups) = (self.len as usize, self.groups.len());
        let Some(group) = self.groups.get_mut(set) else {
            return Exchange::None(key, value);
        };
        group.prefetch();
        if let Some(at) = group.find_to_change(spot.print, &key) {
            if !group.is_plain() {
                return Exchange::None(key, value);
            }
            self.insertions += 1;
            group.hit(at, &self.rules, &self.expiry);
            let before = group.renew(at, (key, value), Extra::PLAIN, Tick::ZERO);
            return Exchange::Replaced(before.key, before.value);
        }
        let own = group.len();
        if !group.is_plain() || own >= GROUP_MAX {
            return Exchange::None(key, value);
        }
        if self.limit > self.weight {
            if self.len >= self.grows_at {
                return Exchange::None(key, value);
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
            return Exchange::Added;
        }
        let pool = self.rest.pool.as_ref();
        // The second as in `can_spare`.
        if pool.is_some_and(|pool| !pool.is_empty()) || own < 2 || 2 * own * n_groups <= len {
            return Exchange::None(key, value);
        }
        group.prefetch_leaving();
        self.insertions += 1;
        self.evictions += 1;
        self.has_evicted = true;
        let rng = &mut self.rest.rng;
        let (key, value) = group.exchange_plain(spot.print, (key, value), &self.rules, rng);
        Exchange::InPlaceOf(key, value)
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

    #[inline]
    pub(super) fn add(&mut self, fresh: Fresh<K, V>, life: Life, gone: &mut Evicted<K, V>) {
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

    pub(super) fn replace(
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
    pub(super) fn make_room(
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
    pub(super) fn make_some_room(
        &mut self,
        set: usize,
        kept: usize,
        gone: &mut Evicted<K, V>,
    ) -> usize {
        let is_own = self.can_spare(set);
        let donor = if is_own { set } else { self.donor(set) };
        let group = &mut self.groups[donor];
        let last = group.len() - 1;
        let keep = (donor == set && kept <= last).then_some(kept);
        let (victim, left) = group.expel(keep, &self.rules, &mut self.rest.rng);
        self.report(left, gone);
        if keep == Some(last) { victim } else { kept }
    }

    /// Whether so much more weight fits, if need be after a look into the pool.
    #[inline]
    pub(super) fn has_room(&mut self, weight: usize) -> bool {
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
    pub(super) fn finds_room(&mut self) -> bool {
        #[cfg(feature = "std")]
        if let Some(pool) = &self.rest.pool {
            self.limit += pool.take(1);
        }
        self.limit > 0
    }

    /// Gives back to the pool what is not needed for now.
    pub(super) fn give_back(&mut self) {
        #[cfg(feature = "std")]
        if let Some(pool) = &self.rest.pool {
            self.limit -= pool.put(self.limit - self.weight, self.limit);
        }
    }

    /// Whether a set has a fair part of all entries, so that it is the one to give up one for another of its own.
    #[inline]
    pub(super) fn can_spare(&self, set: usize) -> bool {
        let own = self.groups[set].len();
        own > 1 && 2 * own * self.groups.len() > self.len as usize
    }

    /// The set that gives up an entry for one that comes to this set, which has none to spare.
    #[cold]
    pub(super) fn donor(&mut self, set: usize) -> usize {
        self.fullest_near_hand(set).unwrap_or(set)
    }

    /// The fullest of the next few sets but one, from the first that has an entry on.
    pub(super) fn fullest_near_hand(&mut self, but: usize) -> Option<usize> {
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
}
