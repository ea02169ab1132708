//! Where timers are kept: one growing array, with ids that are never reused.

use alloc::vec::Vec;
use core::num::NonZeroU32;

/// The name of one timer, in the wheel that gave it.
///
/// An id is good until its timer fires or is cancelled, and names nothing after that, however often the
/// memory is used again. An id of one wheel means nothing to another, which may take it for one of its own.
///
/// Eight bytes, also as an `Option<TimerId>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    idx: u32,
    generation: NonZeroU32,
}

impl TimerId {
    pub(crate) fn idx(self) -> u32 {
        self.idx
    }
}

/// No entry. Never a valid index, since the slab stops one short of it.
pub(crate) const NONE: u32 = u32::MAX;

/// An array of values under generation-checked ids.
#[derive(Debug, Clone)]
pub(crate) struct Slab<V> {
    entries: Vec<Entry<V>>,
    /// The first entry of the chain of free ones, or `NONE`.
    free: u32,
    len: usize,
}

#[derive(Debug, Clone)]
struct Entry<V> {
    /// How many values have lived here, with the present one. An entry whose count is at its end is never
    /// filled again: four billion values later it costs one place in the array, and ids stay unique.
    generation: NonZeroU32,
    content: Content<V>,
}

#[derive(Debug, Clone)]
enum Content<V> {
    Used(V),
    Free { next: u32 },
}

impl<V> Slab<V> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Slab {
            entries: Vec::with_capacity(capacity),
            free: NONE,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// One more than the highest index that may be in use.
    pub(crate) fn end(&self) -> u32 {
        // `insert` keeps the number of entries below `NONE`.
        self.entries.len() as u32
    }

    /// # Panics
    ///
    /// If all of the `u32::MAX` places are taken.
    pub(crate) fn insert(&mut self, value: V) -> TimerId {
        let id = if let Some(entry) = self.entries.get_mut(self.free as usize) {
            let idx = self.free;
            match entry.content {
                Content::Free { next } => self.free = next,
                Content::Used(_) => unreachable!("the free chain leads through free entries"),
            }
            entry.generation = entry.generation.saturating_add(1);
            entry.content = Content::Used(value);
            TimerId {
                idx,
                generation: entry.generation,
            }
        } else {
            assert!(
                self.entries.len() < NONE as usize,
                "a timer wheel holds at most {NONE} timers"
            );
            let id = TimerId {
                idx: self.end(),
                generation: NonZeroU32::MIN,
            };
            self.entries.push(Entry {
                generation: id.generation,
                content: Content::Used(value),
            });
            id
        };
        self.len += 1;
        id
    }

    pub(crate) fn id_of(&self, idx: u32) -> Option<TimerId> {
        let entry = self.entries.get(idx as usize)?;
        match entry.content {
            Content::Used(_) => Some(TimerId {
                idx,
                generation: entry.generation,
            }),
            Content::Free { .. } => None,
        }
    }

    pub(crate) fn get(&self, id: TimerId) -> Option<&V> {
        match self.entries.get(id.idx as usize) {
            Some(Entry {
                generation,
                content: Content::Used(value),
            }) if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, id: TimerId) -> Option<&mut V> {
        match self.entries.get_mut(id.idx as usize) {
            Some(Entry {
                generation,
                content: Content::Used(value),
            }) if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// The value at an index that is known to be in use, because a list leads to it.
    pub(crate) fn linked(&mut self, idx: u32) -> &mut V {
        match &mut self.entries[idx as usize].content {
            Content::Used(value) => value,
            Content::Free { .. } => unreachable!("lists lead only to entries in use"),
        }
    }

    pub(crate) fn remove(&mut self, idx: u32) -> Option<V> {
        let entry = self.entries.get_mut(idx as usize)?;
        if let Content::Free { .. } = entry.content {
            return None;
        }
        let worn_out = entry.generation == NonZeroU32::MAX;
        let next = if worn_out { NONE } else { self.free };
        let content = core::mem::replace(&mut entry.content, Content::Free { next });
        if !worn_out {
            self.free = idx;
        }
        self.len -= 1;
        match content {
            Content::Used(value) => Some(value),
            Content::Free { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_at_its_last_generation_is_not_used_again() {
        let mut slab = Slab::with_capacity(1);
        let first = slab.insert('a');
        slab.remove(first.idx);
        slab.entries[0].generation = NonZeroU32::new(u32::MAX - 1).unwrap();

        let last = slab.insert('b');
        assert_eq!(
            last,
            TimerId {
                idx: 0,
                generation: NonZeroU32::MAX
            }
        );
        assert_eq!(slab.remove(last.idx), Some('b'));
        assert_eq!(slab.remove(last.idx), None);

        let elsewhere = slab.insert('c');
        assert_eq!(elsewhere.idx, 1);
        assert_eq!(slab.get(last), None);
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn an_optional_id_is_eight_bytes() {
        assert_eq!(size_of::<Option<TimerId>>(), 8);
    }
}
