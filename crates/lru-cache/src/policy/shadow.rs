use alloc::boxed::Box;

use purlin_core::Rng;

use super::arm::Arm;
use super::set::Set;

/// A small cache of hashes alone, to see how an arm would fare.
#[derive(Debug)]
pub(super) struct Shadow {
    arm: Arm,
    /// Made by the first request.
    sets: Box<[Set]>,
    capacity: usize,
    rng: Rng,
}

/// Entries of a set, about. With 32 the policies lose nothing that shows against one set for all entries.
const WAYS: usize = 32;

impl Shadow {
    pub(super) fn new(arm: Arm, capacity: usize, rng: Rng) -> Self {
        Shadow {
            arm,
            sets: Box::default(),
            capacity,
            rng,
        }
    }

    /// A request, and then an insertion if it misses. Returns whether it hit.
    pub(super) fn request(&mut self, hash: u32) -> bool {
        if self.capacity == 0 {
            return false;
        }
        let n_sets = self.capacity.div_ceil(WAYS);
        if self.sets.is_empty() {
            self.sets = (0..n_sets)
                .map(|_| Set::new(self.rng.next_u64() as u8, WAYS as u16))
                .collect();
        }
        let idx = (u64::from(hash) * n_sets as u64) >> 32;
        let ways = self.capacity / n_sets + usize::from((idx as usize) < self.capacity % n_sets);
        let set = &mut self.sets[idx as usize];
        if let Some(at) = set.find(hash, |_| true) {
            set.hit(at, &self.arm);
            return true;
        }
        let at = set.admit(hash, 0, &self.arm);
        if set.len() > ways {
            set.evict(at, &self.arm, &mut self.rng);
        } else {
            set.settle(&self.arm);
        }
        false
    }
}
