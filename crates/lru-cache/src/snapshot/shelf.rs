use alloc::vec::Vec;
use core::cmp::Reverse;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{Record, Saved};
use crate::policy::arm::Arm;

/// Where a cache is to have room for what is read.
#[derive(Debug)]
pub(crate) struct Room<F> {
    pub(crate) capacity: usize,
    /// The hash of a key, and the weight of its entry.
    pub(crate) measure: F,
}

/// The entries that were read so far: the best of them, where they are more than there is room for.
///
/// 1. `weight` is the sum of the entries' weights, and below twice the capacity whenever no method is running.
/// 2. No two have the same key, and `index` has the number of each under its hash.
#[derive(Debug)]
pub(crate) struct Shelf<K, V, F> {
    room: Room<F>,
    /// What the cache went by that was saved.
    pub(super) arm: Option<Arm>,
    entries: Vec<Saved<K, V>>,
    index: HashTable<u32>,
    weight: usize,
}

impl<K, V, F> Shelf<K, V, F> {
    pub(crate) fn new(room: Room<F>) -> Self {
        Shelf {
            room,
            arm: None,
            entries: Vec::new(),
            index: HashTable::new(),
            weight: 0,
        }
    }

    /// Those that fit, in the order in which they are to be stored: the pinned, so that they find room, and then from the oldest
    /// to the newest.
    pub(super) fn into_entries(mut self, arm: Option<Arm>) -> Vec<Saved<K, V>> {
        self.arm = arm;
        if self.weight > self.room.capacity {
            self.sort_out();
        }
        let order = |saved: &Saved<K, V>| (!saved.record.is_pinned, saved.record.rank);
        self.entries.sort_by_key(order);
        self.entries
    }

    /// Keeps the best that fit.
    fn sort_out(&mut self) {
        let worth = |saved: &Saved<K, V>| Reverse(saved.record.worth(self.arm));
        self.entries.sort_by_key(worth);
        let mut left = self.room.capacity;
        self.entries.retain(|saved| {
            let fits = saved.weight <= left;
            left -= if fits { saved.weight } else { 0 };
            fits
        });
        self.weight = self.room.capacity - left;
        self.index.clear();
        for (at, saved) in self.entries.iter().enumerate() {
            let hash_of = |&at: &u32| self.entries[at as usize].hash;
            self.index.insert_unique(saved.hash, at as u32, hash_of);
        }
    }
}

impl<K, V, F> Shelf<K, V, F>
where
    K: Eq,
    F: Fn(&K, &V) -> (u64, usize),
{
    /// Puts an entry there, in place of an earlier one of its key: in a cache that was in use, that is the older.
    pub(super) fn put(&mut self, key: K, value: V, record: Record) {
        let (hash, weight) = (self.room.measure)(&key, &value);
        if weight > self.room.capacity || self.entries.len() >= LEN_MAX {
            return;
        }
        let saved = Saved {
            hash,
            weight,
            key,
            value,
            record,
        };
        let entries = &self.entries;
        let found = self.index.entry(
            hash,
            |&at| entries[at as usize].hash == hash && entries[at as usize].key == saved.key,
            |&at| entries[at as usize].hash,
        );
        self.weight = self.weight.saturating_add(weight);
        match found {
            Entry::Occupied(place) => {
                let before = core::mem::replace(&mut self.entries[*place.get() as usize], saved);
                self.weight -= before.weight;
            }
            Entry::Vacant(place) => {
                // Below `LEN_MAX`.
                place.insert(self.entries.len() as u32);
                self.entries.push(saved);
            }
        }
        if self.weight >= self.room.capacity.saturating_mul(2).max(1) {
            self.sort_out();
        }
    }
}

/// The most entries that are read; only entries that weigh nothing can be so many.
const LEN_MAX: usize = u32::MAX as usize;
