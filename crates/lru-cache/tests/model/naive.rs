//! What a cache should be: a list that is searched from end to end.

use std::collections::VecDeque;

use purlin_lru_cache::Cause;

use crate::ops::{
    Decide, Event, Load, On, STEP, Settings, Value, ends, id_of, overtaking, weight_of,
};

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
    /// The latest time seen. A clock that is behind it stands still.
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

    /// Takes note of the time, if any of these is to be loaded.
    pub(crate) fn observe_to_load(&mut self, keys: &[u8], now: u64) {
        if keys.iter().any(|&key| self.peek(key).is_none()) {
            self.now = self.now.max(now);
        }
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

    /// An insertion at a time that matters from here on, if the terms say how long.
    pub(crate) fn insert(&mut self, key: u8, value: Value, on: On, now: u64) -> Done {
        if on.steps.is_some() {
            self.timed = true;
            self.observe(now);
        }
        let dies_at = ends(self.now, on.steps.or(self.settings.time_to_live));
        self.put(key, value, dies_at, on)
    }

    fn put(&mut self, key: u8, value: Value, dies_at: u64, on: On) -> Done {
        let On { is_pinned, tag, .. } = on;
        let before = self.take(key);
        let is_pinned = is_pinned || before.as_ref().is_some_and(|entry| entry.is_pinned);
        let previous = before.map(|entry| id_of(&entry.value));
        let weight = if self.settings.by_weight {
            weight_of(&value)
        } else {
            1
        };
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
                tag,
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

    /// Takes out the oldest that is not pinned.
    pub(crate) fn pop_oldest(&mut self) -> Option<(u8, u32)> {
        let oldest = self.entries.iter().rfind(|entry| !entry.is_pinned)?;
        let key = oldest.key;
        Some((key, self.remove(key)?))
    }

    /// The value that was seen.
    pub(crate) fn compute(
        &mut self,
        key: u8,
        value: Value,
        decide: Decide,
        now: u64,
    ) -> Option<u32> {
        let seen = self.get(key);
        match decide {
            Decide::Keep => {}
            Decide::Put => drop(self.insert(key, value, On::default(), now)),
            Decide::PutFor(steps) => drop(self.insert(key, value, On::lasting(steps), now)),
            Decide::PutOn(tag) => drop(self.insert(key, value, On::tagged(tag), now)),
            Decide::Change => match self.dies_at(key) {
                Some(dies_at) => drop(self.put(key, value, dies_at, On::default())),
                None => drop(self.insert(key, value, On::default(), now)),
            },
            Decide::Remove => drop(self.remove(key)),
        }
        seen
    }

    /// The new value.
    pub(crate) fn update(&mut self, key: u8, value: Value) -> Option<u32> {
        self.get(key)?;
        let dies_at = self.dies_at(key)?;
        let done = self.put(key, value, dies_at, On::default());
        done.is_stored.then_some(id_of(&value))
    }

    /// What the caller gets.
    pub(crate) fn load(&mut self, key: u8, value: Value, load: Load, now: u64) -> Option<u32> {
        if let Some(found) = self.get(key) {
            return Some(found);
        }
        let (stored, on) = match load {
            Load::Fails | Load::IsGivenUp => return None,
            Load::Lands => (value, On::default()),
            Load::LandsFor(steps) => (value, On::lasting(steps)),
            Load::LandsOn(tag) => (value, On::tagged(tag)),
            Load::IsOvertaken => (overtaking(&value), On::default()),
        };
        self.insert(key, stored, on, now);
        Some(id_of(&value))
    }

    pub(crate) fn load_many(
        &mut self,
        keys: [u8; 3],
        left_out: u8,
        value: Value,
    ) -> Vec<Option<u32>> {
        let mut answers: Vec<(u8, Option<u32>)> = Vec::new();
        for key in keys {
            if !answers.iter().any(|&(known, _)| known == key) {
                answers.push((key, self.get(key)));
            }
        }
        for (key, answer) in &mut answers {
            if answer.is_none() && *key != left_out {
                self.insert(*key, value, On::default(), self.now);
                *answer = Some(id_of(&value));
            }
        }
        let answer = |key| answers.iter().find(|&&(known, _)| known == key);
        keys.iter()
            .map(|&key| answer(key).and_then(|&(_, answer)| answer))
            .collect()
    }

    /// What is given out, and whether it was due.
    pub(crate) fn refresh(
        &mut self,
        key: u8,
        ahead: u64,
        value: Option<Value>,
    ) -> Option<(u32, bool)> {
        let found = self.get(key)?;
        let dies_at = self.dies_at(key)?;
        let is_due = dies_at != u64::MAX && dies_at - self.now <= ahead * STEP;
        if let Some(value) = value.filter(|_| is_due) {
            self.insert(key, value, On::default(), self.now);
        }
        Some((found, is_due))
    }

    fn dies_at(&self, key: u8) -> Option<u64> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(entry.dies_at)
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
