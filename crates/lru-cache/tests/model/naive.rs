//! What a cache should be: a list that is searched from end to end.

use std::collections::VecDeque;

use purlin_lru_cache::Cause;

use crate::ops::{Event, Settings, Value, ends, id_of, weight_of};

pub(crate) struct Entry {
    pub(crate) key: u8,
    pub(crate) value: Value,
    pub(crate) weight: usize,
    pub(crate) dies_at: u64,
    pub(crate) idle_at: u64,
    pub(crate) is_pinned: bool,
    pub(crate) tag: Option<u8>,
}

/// What the cache should be.
pub(crate) struct Naive {
    pub(crate) settings: Settings,
    /// Newest first.
    pub(crate) entries: VecDeque<Entry>,
    /// The latest time seen.
    now: u64,
    /// Whether time matters yet: it is not looked at before anything can have a deadline.
    timed: bool,
    pub(crate) counts: Counts,
    /// Where the last one was that was taken out.
    taken_at: usize,
    /// What a listener is to be told.
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) insertions: u64,
    pub(crate) rejections: u64,
    pub(crate) evictions: u64,
    pub(crate) expirations: u64,
    pub(crate) removals: u64,
}

/// What an insert did, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) is_stored: bool,
    pub(crate) previous: Option<u32>,
    pub(crate) evicted: Vec<(u8, u32)>,
}

impl Naive {
    pub(crate) fn new(settings: Settings) -> Self {
        Naive {
            timed: settings.time_to_live.is_some() || settings.time_to_idle.is_some(),
            settings,
            entries: VecDeque::new(),
            now: 0,
            counts: Counts::default(),
            taken_at: 0,
            events: Vec::new(),
        }
    }

    /// Takes out the entries of which `stays` is false.
    fn expel(&mut self, cause: Cause, stays: impl Fn(&Entry) -> bool) -> u64 {
        let (stay, go) = self.entries.drain(..).partition(|entry| stays(entry));
        self.entries = stay;
        let go: VecDeque<Entry> = go;
        let events = go
            .iter()
            .map(|entry| (entry.key, id_of(&entry.value), cause));
        self.events.extend(events);
        go.len() as u64
    }

    /// Time passes, never backwards, and takes what is over.
    pub(crate) fn observe(&mut self, now: u64) {
        if !self.timed {
            return;
        }
        self.now = self.now.max(now);
        let now = self.now;
        let is_over = |entry: &Entry| entry.dies_at.min(entry.idle_at) <= now;
        self.counts.expirations += self.expel(Cause::Expired, |entry| !is_over(entry));
    }

    pub(crate) fn insert_for(&mut self, key: u8, value: Value, steps: u64, now: u64) -> Done {
        self.timed = true;
        self.observe(now);
        self.insert(key, value, Some(steps), false)
    }

    pub(crate) fn weight(&self) -> usize {
        self.entries.iter().map(|entry| entry.weight).sum()
    }

    /// The weight of the pinned.
    pub(crate) fn held(&self) -> usize {
        let pinned = self.entries.iter().filter(|entry| entry.is_pinned);
        pinned.map(|entry| entry.weight).sum()
    }

    /// Evicts the oldest that are not pinned until so much is left.
    fn evict_down_to(&mut self, weight: usize) -> Vec<(u8, u32)> {
        let mut evicted = Vec::new();
        while self.weight() > weight {
            let oldest = self.entries.iter().rposition(|entry| !entry.is_pinned);
            let oldest = self.entries.remove(oldest.unwrap()).unwrap();
            evicted.push((oldest.key, id_of(&oldest.value)));
        }
        self.counts.evictions += evicted.len() as u64;
        let left = |&(key, id)| (key, id, Cause::Capacity);
        self.events.extend(evicted.iter().map(left));
        evicted
    }

    pub(crate) fn set_capacity(&mut self, capacity: usize) -> usize {
        let capacity = capacity.max(self.held());
        self.evict_down_to(capacity);
        self.settings.capacity = capacity;
        capacity
    }

    /// Pins an entry, or unpins one that is pinned.
    pub(crate) fn pin(&mut self, key: u8, is_pinned: bool) -> bool {
        let Some(mut entry) = self.take(key) else {
            return false;
        };
        let was_pinned = std::mem::replace(&mut entry.is_pinned, is_pinned);
        if was_pinned == is_pinned {
            // It keeps its place, which is not at the end.
            self.entries.insert(self.taken_at, entry);
        } else {
            self.entries.push_front(entry);
        }
        is_pinned || was_pinned
    }

    pub(crate) fn take(&mut self, key: u8) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        self.taken_at = at;
        self.entries.remove(at)
    }

    pub(crate) fn get(&mut self, key: u8) -> Option<u32> {
        let Some(mut entry) = self.take(key) else {
            self.counts.misses += 1;
            return None;
        };
        self.counts.hits += 1;
        entry.idle_at = ends(self.now, self.settings.time_to_idle);
        let id = id_of(&entry.value);
        self.entries.push_front(entry);
        Some(id)
    }

    pub(crate) fn peek(&self, key: u8) -> Option<u32> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(id_of(&entry.value))
    }

    pub(crate) fn insert(
        &mut self,
        key: u8,
        value: Value,
        own: Option<u64>,
        is_pinned: bool,
    ) -> Done {
        let before = self.take(key);
        let is_pinned = is_pinned || before.as_ref().is_some_and(|entry| entry.is_pinned);
        let previous = before.map(|entry| id_of(&entry.value));
        let weight = if self.settings.by_weight {
            weight_of(&value)
        } else {
            1
        };
        let dies_at = ends(self.now, own.or(self.settings.time_to_live));
        let idle_at = ends(self.now, self.settings.time_to_idle);
        let mut evicted = Vec::new();
        let capacity = self.settings.capacity;
        let room = capacity - self.held();
        let has_room = capacity > 0 && weight <= room && (room > 0 || is_pinned);
        let is_stored = has_room && dies_at.min(idle_at) > self.now;
        if is_stored {
            evicted = self.evict_down_to(capacity - weight);
            self.entries.push_front(Entry {
                key,
                value,
                weight,
                dies_at,
                idle_at,
                is_pinned,
                tag: None,
            });
            self.counts.insertions += 1;
        } else {
            self.counts.rejections += 1;
            self.counts.removals += u64::from(previous.is_some());
        }
        let cause = if is_stored {
            Cause::Replaced
        } else {
            Cause::Removed
        };
        self.events.extend(previous.map(|id| (key, id, cause)));
        Done {
            is_stored,
            previous,
            evicted,
        }
    }

    pub(crate) fn remove(&mut self, key: u8) -> Option<u32> {
        let entry = self.take(key)?;
        self.counts.removals += 1;
        self.events.push((key, id_of(&entry.value), Cause::Removed));
        Some(id_of(&entry.value))
    }

    pub(crate) fn retain(&mut self, remainder: u8) {
        self.counts.removals += self.expel(Cause::Removed, |entry| entry.key % 3 == remainder);
    }

    pub(crate) fn clear(&mut self) {
        self.counts.removals += self.expel(Cause::Cleared, |_| false);
    }

    pub(crate) fn contents(&self) -> Vec<(u8, u32)> {
        let pair = |entry: &Entry| (entry.key, id_of(&entry.value));
        let (pinned, others): (Vec<_>, Vec<_>) =
            self.entries.iter().partition(|entry| entry.is_pinned);
        others.into_iter().chain(pinned).map(pair).collect()
    }
}
