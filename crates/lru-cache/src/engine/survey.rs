use alloc::vec::Vec;

use purlin_core::Tick;

use super::machine::Machine;
use super::{Engine, Moving};
use crate::expiry::{Life, Lifetimes};
use crate::insertion::Evicted;
use crate::policy::arm::Arm;
use crate::policy::repute::Repute;

/// What is known of an entry beside its key and value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace {
    /// How far up it is in the order of use, from zero, of all numbers.
    pub(crate) rank: u32,
    pub(crate) repute: Repute,
    pub(crate) life: Life,
    pub(crate) cost: u32,
    pub(crate) is_pinned: bool,
}

/// How far a walk has come that shows all that is known of each entry.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    from: u64,
    /// Those of a list's entries.
    ranks: Vec<u32>,
    is_at_pins: bool,
}

impl<K, V> Engine<K, V> {
    /// The arm in use. A list has none.
    pub(crate) fn arm(&self) -> Option<Arm> {
        match &self.machine {
            Machine::Exact(_) => None,
            Machine::Sets(sets) => Some(sets.arm()),
            Machine::Open(sets) => Some(sets.arm()),
        }
    }

    /// Takes note that the cache was full once.
    pub(crate) fn was_full(&mut self) {
        match &mut self.machine {
            Machine::Exact(_) => {}
            Machine::Sets(sets) => sets.was_full(),
            Machine::Open(sets) => sets.was_full(),
        }
    }

    #[cfg(feature = "std")]
    pub(crate) fn latest(&self) -> Tick {
        self.machine.latest()
    }

    pub(crate) fn lifetimes(&self) -> Lifetimes {
        self.machine.lifetimes()
    }

    /// Shows `each` all entries that are not over.
    pub(crate) fn survey_all(&mut self, now: Tick, mut each: impl FnMut(&K, &V, Trace)) {
        let mut survey = Survey::default();
        while self.survey(&mut survey, now, usize::MAX, &mut each) {}
    }

    /// Shows `each` about `most` of the next entries that are not over, or a whole set of them if that is more. Returns whether
    /// there are more. One that is there throughout, and neither pinned nor unpinned, is met, and once unless the table becomes
    /// smaller meanwhile.
    pub(crate) fn survey(
        &mut self,
        survey: &mut Survey,
        now: Tick,
        most: usize,
        mut each: impl FnMut(&K, &V, Trace),
    ) -> bool {
        let Survey {
            from,
            ranks,
            is_at_pins,
        } = survey;
        let next = match (&mut self.machine, &mut self.pins) {
            (Machine::Exact(lru), _) if !*is_at_pins => {
                if *from == 0 {
                    *ranks = lru.ranks();
                }
                lru.survey(*from, ranks, now, most, each)
            }
            (Machine::Sets(sets), _) if !*is_at_pins => sets.survey(*from, now, most, each),
            (Machine::Open(sets), _) if !*is_at_pins => sets.survey(*from, now, most, each),
            (_, Some(pins)) => {
                if *from == 0 {
                    *ranks = pins.entries.ranks();
                }
                let pinned = |key: &K, value: &V, trace| {
                    let is_pinned = true;
                    each(key, value, Trace { is_pinned, ..trace });
                };
                pins.entries.survey(*from, ranks, now, most, pinned)
            }
            (_, None) => None,
        };
        if let Some(next) = next {
            *from = next;
            return true;
        }
        let is_over = *is_at_pins;
        *survey = Survey {
            is_at_pins: true,
            ..Survey::default()
        };
        !is_over && self.pins.is_some()
    }

    /// Stores an entry from elsewhere as the newest of those that are alike to it, without counting it. It is given back
    /// if there is no room for it.
    pub(crate) fn restore(
        &mut self,
        hash: u64,
        stored: Moving<K, V>,
        trace: &Trace,
        gone: &mut Evicted<K, V>,
    ) -> Option<Moving<K, V>> {
        let weight = stored.weight;
        if trace.is_pinned {
            if self.limit() == 0 || !self.machine.cede(weight, gone) {
                return Some(stored);
            }
            self.machine.has_more();
            let pins = self.pins();
            pins.held += weight;
            pins.entries.adopt(hash, stored, gone);
            return None;
        }
        match &mut self.machine {
            Machine::Exact(lru) if lru.limit() == 0 || weight > lru.limit() => Some(stored),
            Machine::Exact(lru) => {
                lru.adopt(hash, stored, gone);
                None
            }
            Machine::Sets(sets) => sets.restore(hash, stored, trace.cost, trace.repute, gone),
            Machine::Open(sets) => sets.restore(hash, stored, trace.cost, trace.repute, gone),
        }
    }
}
