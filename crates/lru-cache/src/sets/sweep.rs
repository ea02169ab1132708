//! When entries are over, and how they are found then.

use purlin_core::Tick;

use super::extras::Extras;
use super::{DUES_A_UNIT, Sets, place};
use crate::engine::SWEEP_BUDGET;
use crate::expiry::Life;
use crate::insertion::Evicted;
use crate::raw::Slots;

impl<K, V, B: Slots<(K, V), Extras>> Sets<K, V, B> {
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
    pub(super) fn sweep_set(
        &mut self,
        set: usize,
        left: &mut usize,
        gone: &mut Evicted<K, V>,
    ) -> bool {
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
        self.rest.dues[set] = self.expiry.leaves_at(self.groups[set].reckon_ends());
        true
    }

    /// Takes note of the life of an entry that came to a set.
    #[inline]
    pub(super) fn expect_end(&mut self, set: usize, at: usize, life: Life) {
        if life.is_mortal() {
            // As it was written down, which may be earlier.
            let deadline = self.groups[set].extra(at).life.deadline();
            self.expect_leave(set, self.expiry.leaves_at(deadline));
        }
    }

    pub(super) fn expect_leave(&mut self, set: usize, deadline: Tick) {
        if self.rest.dues.is_empty() {
            self.rest.dues = self.groups.iter().map(|_| Tick::MAX).collect();
        }
        let due = &mut self.rest.dues[set];
        *due = deadline.min(*due);
        self.rest.least_due = self.rest.least_due.min(deadline);
        self.expiry.expect(deadline);
    }
}
