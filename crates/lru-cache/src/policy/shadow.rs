use alloc::boxed::Box;

use purlin_core::Rng;

use super::arm::Arm;
use super::set::{Rules, Set};
use super::spot;

/// A small cache of hashes alone, to see how an arm would fare.
#[derive(Debug)]
pub(super) struct Shadow {
    rules: Rules,
    /// Made by the first request.
    sets: Box<[Set<()>]>,
    capacity: usize,
    rng: Rng,
}

/// Entries of a set, about. With 32 the policies lose nothing that shows against one set for all entries.
const WAYS: usize = 32;

impl Shadow {
    pub(super) fn new(arm: Arm, capacity: usize, rng: Rng) -> Self {
        Shadow {
            rules: Rules::new(arm, WAYS as u32),
            sets: Box::default(),
            capacity,
            rng,
        }
    }

    /// Tells the processor that a hash will be asked for.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        let n_sets = self.sets.len();
        if let Some(set) = self.sets.get(spot(hash, n_sets as u32).set(0)) {
            set.prefetch();
        }
    }

    /// A request, and then an insertion if it misses. Returns whether it hit.
    pub(super) fn request(&mut self, hash: u64) -> bool {
        if self.capacity == 0 {
            return false;
        }
        let n_sets = self.capacity.div_ceil(WAYS);
        if self.sets.is_empty() {
            self.sets = (0..n_sets).map(|_| Set::new()).collect();
        }
        let spot = spot(hash, n_sets as u32);
        let (idx, print) = (spot.set(0), spot.print);
        let ways = self.capacity / n_sets + usize::from(idx < self.capacity % n_sets);
        let set = &mut self.sets[idx];
        if let Some(at) = set.find(print, |()| true) {
            set.hit(at, &self.rules);
            return true;
        }
        if set.len() < ways {
            set.add(print, (), &self.rules);
        } else {
            set.exchange(print, (), &self.rules, &mut self.rng);
        }
        false
    }
}
