//! Going through the entries.

use purlin_core::Tick;

use super::slots::Recency;
use super::{Entry, Lru};
#[cfg(feature = "std")]
use crate::engine::Kind;

impl<K, V> Lru<K, V> {
    /// Keeps the entries of which `keep` is true.
    pub(crate) fn retain(
        &mut self,
        now: Tick,
        mut keep: impl FnMut(&K, &V) -> bool,
        mut leave: impl FnMut(K, V),
    ) {
        for at in 0..self.slots.end() {
            let entry = self.entry_at(at, now);
            if entry.is_some_and(|entry| !keep(&entry.key, &entry.value)) {
                let (key, value) = self.remove(at);
                leave(key, value);
            }
        }
    }

    /// Shows `each` the entries in the next slots, up to `most` of them, among so many slots as a cache may have
    /// that was once fuller than it is.
    #[cfg(feature = "std")]
    pub(crate) fn walk(
        &self,
        from: u64,
        kind: Kind,
        now: Tick,
        most: usize,
        mut each: impl FnMut(&K, &V),
    ) -> Option<u64> {
        let mut met = 0;
        let last = from.saturating_add(WALK_SLOTS).min(self.slots.end().into());
        for at in from..last {
            if met == most {
                return Some(at);
            }
            // Slots are numbered by 32 bits, and this is one of them.
            let near = at as u32;
            let is_kept = |entry: &&Entry<K, V>| !self.expiry.is_spent_at(entry.life, now);
            let entry = match kind {
                Kind::Living => self.entry_at(near, now),
                Kind::Kept => self.slots.get(near).filter(is_kept),
            };
            if let Some(entry) = entry {
                each(&entry.key, &entry.value);
                met += 1;
            }
        }
        (last < self.slots.end().into()).then_some(last)
    }

    /// All entries that are not over, newest first.
    pub(crate) fn iter_living(&self, now: Tick) -> Iter<'_, K, V> {
        Iter {
            lru: self,
            entries: self.slots.iter(),
            now,
        }
    }

    /// The entry in a slot, if there is one that is not over at `now`.
    pub(super) fn entry_at(&self, at: u32, now: Tick) -> Option<&Entry<K, V>> {
        let entry = self.slots.get(at)?;
        (!self.expiry.is_over_at(entry.life, now)).then_some(entry)
    }
}

/// How many slots a step of a walk looks at, at most.
#[cfg(feature = "std")]
const WALK_SLOTS: u64 = 1024;

/// The entries of an [`Lru`], newest first.
pub(crate) struct Iter<'a, K, V> {
    lru: &'a Lru<K, V>,
    entries: Recency<'a, Entry<K, V>>,
    now: Tick,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        let (expiry, now) = (&self.lru.expiry, self.now);
        let is_there = |(_, entry): &(u32, &Entry<K, V>)| !expiry.is_over_at(entry.life, now);
        let (_, entry) = self.entries.find(is_there)?;
        Some((&entry.key, &entry.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.entries.size_hint().1)
    }
}
