//! Entries with all that is known of them, on their way to another cache, and from one.

use purlin_core::Tick;

use super::extras::{Extra, Extras};
use super::group::Group;
use super::{GROUP_MAX, Sets};
use crate::engine::{Moving, Trace};
use crate::expiry::Expiry;
use crate::insertion::Evicted;
use crate::policy::arm::Arm;
use crate::policy::repute::Repute;
use crate::policy::set::Rules;
use crate::raw::{Print, Slots};

impl<K, V, B: Slots<(K, V), Extras>> Sets<K, V, B> {
    pub(crate) fn arm(&self) -> Arm {
        self.rules.arm
    }

    /// Takes note that the cache was full once.
    pub(crate) fn was_full(&mut self) {
        self.has_evicted = true;
    }

    /// Shows `each` the entries of the next sets that are not over: of as many as have about `most` of them, and of at most so
    /// many sets. `from` is zero at first and then what this returned; `None` is the end. A set begins where it began
    /// before, however often it was cut in two or folded meanwhile.
    pub(crate) fn survey(
        &mut self,
        from: u64,
        now: Tick,
        most: usize,
        mut each: impl FnMut(&K, &V, Trace),
    ) -> Option<u64> {
        let bits = 16 - self.doublings;
        let first = (from >> bits) as usize;
        let mut met = 0;
        for (set, group) in self.groups.iter_mut().enumerate().skip(first) {
            if met >= most || set - first >= most {
                return Some((set as u64) << bits);
            }
            group.set.catch_up(&self.rules);
            met += group.survey(&self.expiry, now, &mut each);
        }
        None
    }

    /// Stores an entry as the newest of its set, with the repute that it had elsewhere, and without counting it. It is given back
    /// if it is too heavy.
    pub(crate) fn restore(
        &mut self,
        hash: u64,
        stored: Moving<K, V>,
        cost: u32,
        repute: Repute,
        gone: &mut Evicted<K, V>,
    ) -> Option<Moving<K, V>> {
        let (weight, life) = (stored.weight, stored.life);
        if self.limit == 0 && !self.finds_room() || weight > self.limit {
            return Some(stored);
        }
        self.grow();
        let spot = self.spot(hash);
        let set = spot.set(self.doublings);
        if self.groups[set].len() >= GROUP_MAX {
            self.make_some_room(set, usize::MAX, gone);
        }
        self.make_room(weight, set, usize::MAX, gone);
        let extra = Extra { weight, life, cost };
        let entry = (stored.key, stored.value);
        let now = self.expiry.latest();
        let at = self.groups[set].restore(spot.print, entry, extra, repute, &self.rules, now);
        self.len += 1;
        self.weight += weight;
        self.expect_end(set, at, life);
        None
    }
}

impl<K, V, B: Slots<(K, V), Extras>> Group<K, V, B> {
    /// Shows each entry that is not over. Returns how many these are.
    fn survey(&mut self, expiry: &Expiry, now: Tick, mut each: impl FnMut(&K, &V, Trace)) -> usize {
        let ranks = self.set.ranks();
        let mut met = 0;
        for (at, rank) in ranks.into_iter().enumerate() {
            let repute = self.set.repute(at);
            let Extra { life, cost, .. } = self.extra(at);
            if let Some((key, value)) = self.living(at, expiry, now) {
                let trace = Trace {
                    rank,
                    repute,
                    life,
                    cost,
                    is_pinned: false,
                };
                each(key, value, trace);
                met += 1;
            }
        }
        met
    }

    fn restore(
        &mut self,
        print: Print,
        entry: (K, V),
        extra: Extra,
        repute: Repute,
        rules: &Rules,
        now: Tick,
    ) -> usize {
        self.announce(extra);
        let at = self.set.restore(print, entry, repute, rules);
        let len = self.len();
        if let Some(extras) = self.extras_for(extra, now) {
            extras.push(len, extra, now);
        }
        self.announce_as_written(at, extra);
        at
    }
}
