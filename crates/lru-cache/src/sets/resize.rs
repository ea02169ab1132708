use alloc::vec::Vec;

use purlin_core::Tick;

use super::extras::Extras;
use super::group::Left;
use super::{DOUBLINGS_MAX, ONE_SET, Sets, ways_of};
use crate::engine::{Fresh, Moving, Place};
use crate::expiry::Lifetimes;
use crate::insertion::Evicted;
use crate::raw::Slots;
use crate::terms::Terms;

/// Entries of a set on the average, at least, after a change of room.
const WAYS_MIN: usize = 32;

/// # Room that changes
impl<K, V, B: Slots<(K, V), Extras>> Sets<K, V, B> {
    pub(crate) fn latest(&self) -> Tick {
        self.expiry.latest()
    }

    pub(crate) fn lifetimes(&self) -> Lifetimes {
        self.expiry.lifetimes()
    }

    /// Has so much more room.
    pub(crate) fn raise(&mut self, by: usize) {
        self.limit = self.limit.saturating_add(by);
        self.give_back();
    }

    /// Has so much less room, and evicts for it; or returns false, and has not that much.
    pub(crate) fn cede(&mut self, by: usize, gone: &mut Evicted<K, V>) -> bool {
        #[cfg(feature = "std")]
        if let Some(pool) = &self.rest.pool {
            let wanted = by.saturating_sub(self.limit - self.weight);
            if wanted > 0 {
                self.limit += pool.take(wanted);
            }
        }
        if by > self.limit {
            return false;
        }
        while by > self.limit - self.weight {
            let heaviest = self.fullest_near_hand(usize::MAX);
            let set = heaviest.expect("what weighs is in a set");
            self.make_some_room(set, usize::MAX, gone);
        }
        self.limit -= by;
        true
    }

    /// Prepares for a limit of so many entries. Tables double as entries come; one that has become too large is folded
    /// here, in time proportional to the entries that are left.
    pub(crate) fn plan(&mut self, limit: usize) {
        if self.is_weighed {
            while self.doublings > 0 && self.is_sparse() {
                self.halve();
            }
        } else {
            self.most_doublings = match limit {
                0..=ONE_SET if self.begins_with == 1 => 0,
                _ => {
                    // The most of which each still has enough; fewer larger ones choose no worse.
                    let most = limit / WAYS_MIN / self.begins_with as usize;
                    (most.checked_ilog2().unwrap_or(0) as u8).min(DOUBLINGS_MAX)
                }
            };
            self.rules.ways = ways_of(limit, self.begins_with, self.most_doublings);
            while self.doublings > self.most_doublings {
                self.halve();
            }
        }
        self.grows_at = if self.groups.is_empty() {
            0
        } else {
            self.when_to_grow()
        };
    }

    /// Takes out the entry in the place that was found, without counting it, unless it is over.
    pub(crate) fn extract(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<Moving<K, V>> {
        let Place { set, at } = self.living(found, gone)?;
        let left = self.groups[set as usize].take(at as usize);
        let Left { extra, .. } = &left;
        let (weight, life) = (extra.weight, extra.life);
        let (key, value) = self.count_out(left);
        Some(Moving {
            key,
            value,
            weight,
            life,
        })
    }

    /// Stores what was taken out elsewhere, as new, and without counting it.
    pub(crate) fn adopt(&mut self, hash: u64, stored: Moving<K, V>, gone: &mut Evicted<K, V>) {
        let Moving {
            key,
            value,
            weight,
            life,
        } = stored;
        let fresh = Fresh {
            hash,
            key,
            value,
            weight,
            terms: Terms::new(),
        };
        self.add(fresh, life, gone);
    }

    /// Takes a look-up back that was counted as a miss.
    #[cfg(feature = "std")]
    pub(crate) fn uncount_miss(&mut self) {
        self.misses -= 1;
    }

    /// Whether half the sets would do by far.
    fn is_sparse(&self) -> bool {
        4 * self.len() < self.groups.len() * self.rules.ways as usize
    }

    /// Folds each two sets that were cut from one.
    fn halve(&mut self) {
        B::rearrange(&self.home);
        self.doublings -= 1;
        let now = self.expiry.latest();
        let mut groups = Vec::with_capacity(self.groups.len() / 2);
        let mut halves = core::mem::take(&mut self.groups).into_vec().into_iter();
        while let (Some(mut lower), Some(upper)) = (halves.next(), halves.next()) {
            lower.absorb(upper, now);
            groups.push(lower);
        }
        self.groups = groups.into_boxed_slice();
        self.arranged();
        self.hand = 0;
        let dues: Vec<Tick> = self
            .rest
            .dues
            .chunks(2)
            .map(|two| two[0].min(two[1]))
            .collect();
        self.rest.dues = dues;
        (self.rest.looks_at, self.rest.least_due) = (0, Tick::MAX);
    }
}
