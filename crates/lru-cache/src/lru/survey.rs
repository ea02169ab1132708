use alloc::vec;
use alloc::vec::Vec;

use purlin_core::Tick;

use super::Lru;
use crate::engine::Trace;
use crate::policy::repute::{Repute, rank};

impl<K, V> Lru<K, V> {
    /// The [`rank`] of the entry in each slot. O(n).
    pub(crate) fn ranks(&self) -> Vec<u32> {
        let len = self.len();
        let mut ranks = vec![0; self.slots.end() as usize];
        for (place, (at, _)) in self.slots.iter().enumerate() {
            ranks[at as usize] = rank(len - 1 - place, len);
        }
        ranks
    }

    /// Shows `each` the entries in the next slots, `most` of them, that are not over, with the ranks that they had when these were
    /// asked for. `from` is zero at first and then what this returned; `None` is the end.
    pub(crate) fn survey(
        &self,
        from: u64,
        ranks: &[u32],
        now: Tick,
        most: usize,
        mut each: impl FnMut(&K, &V, Trace),
    ) -> Option<u64> {
        let end = u64::from(self.slots.end());
        let last = from.saturating_add(most as u64).min(end);
        for at in from..last {
            // Slots are numbered by 32 bits, and this is one of them.
            if let Some(entry) = self.entry_at(at as u32, now) {
                let trace = Trace {
                    // A slot that was not there then has a new entry.
                    rank: ranks.get(at as usize).copied().unwrap_or(u32::MAX),
                    repute: Repute::default(),
                    life: entry.life,
                    cost: 1,
                    is_pinned: false,
                };
                each(&entry.key, &entry.value, trace);
            }
        }
        (last < end).then_some(last)
    }
}
