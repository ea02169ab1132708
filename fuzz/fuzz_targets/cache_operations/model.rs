//! What must be in the cache, and what each call must answer.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use purlin_lru_cache::{Cause, Decision, Due, Inserted, Moment, Outcome, Terms};

use super::{Decide, Key, Lasts, Meanwhile, On, Op, Setup, Shared, Subject, Tag, Told, Value};

/// One entry, as it must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    value: Value,
    dies_at: u64,
    idle_at: u64,
    is_pinned: bool,
    tag: Option<Tag>,
    /// Its tag was invalidated since.
    is_invalid: bool,
}

impl Entry {
    fn ends_at(&self) -> u64 {
        self.dies_at.min(self.idle_at)
    }

    fn is_over(&self, now: u64) -> bool {
        self.ends_at() <= now || self.is_invalid
    }
}

pub(crate) struct Model {
    pub(crate) setup: Setup,
    pub(crate) capacity: usize,
    pub(crate) now: u64,
    /// Before the first operation.
    pub(crate) start: Moment,
    /// Since then.
    pub(crate) invalidated: BTreeSet<Tag>,
    pub(crate) entries: BTreeMap<Key, Entry>,
    pub(crate) told: Told,
}

impl Model {
    pub(crate) fn step(&mut self, subject: &mut Subject, op: Op, id: u32) {
        match (op, subject) {
            (Op::Get(key), Subject::Shared(cache)) => self.got(key, cache.get(&key)),
            (Op::Get(key), Subject::Single(cache)) => self.got(key, cache.get(&key).copied()),
            (Op::Peek(key), Subject::Shared(cache)) => self.seen(key, cache.peek(&key)),
            (Op::Peek(key), Subject::Single(cache)) => self.seen(key, cache.peek(&key).copied()),
            (Op::Contains(key), Subject::Shared(cache)) => {
                assert_eq!(cache.contains(&key), self.living(key).is_some());
            }
            (Op::Contains(key), Subject::Single(cache)) => {
                assert_eq!(cache.contains(&key), self.living(key).is_some());
            }
            (Op::Insert(key, weight), subject) => {
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                let inserted = match subject {
                    Subject::Shared(cache) => cache.insert(key, value),
                    Subject::Single(cache) => cache.insert(key, value),
                };
                self.inserted(key, value, None, inserted);
            }
            (Op::InsertFor(key, weight, lasts), subject) => {
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                let inserted = match subject {
                    Subject::Shared(cache) => cache.insert_for(key, value, lasts.get()),
                    Subject::Single(cache) => cache.insert_for(key, value, lasts.get()),
                };
                self.inserted(key, value, Some(lasts.get()), inserted);
            }
            (Op::Remove(key), subject) => {
                let expected = self.living(key);
                let removed = match subject {
                    Subject::Shared(cache) => cache.remove(&key),
                    Subject::Single(cache) => cache.remove(&key),
                };
                assert_eq!(removed, expected);
                self.hear(Some(Cause::Removed));
            }
            (Op::RemoveEntry(key), subject) => {
                let expected = self.living(key).map(|value| (key, value));
                let removed = match subject {
                    Subject::Shared(cache) => cache.remove_entry(&key),
                    Subject::Single(cache) => cache.remove_entry(&key),
                };
                assert_eq!(removed, expected);
                self.hear(Some(Cause::Removed));
            }
            (Op::Retain(below), subject) => {
                match subject {
                    Subject::Shared(cache) => cache.retain(|key, _| key % 5 < below % 6),
                    Subject::Single(cache) => cache.retain(|key, _| key % 5 < below % 6),
                }
                self.hear(Some(Cause::Removed));
                let mut living = self.entries.iter().filter(|(_, e)| !e.is_over(self.now));
                assert!(living.all(|(key, _)| key % 5 < below % 6));
            }
            (Op::Clear, subject) => {
                match subject {
                    Subject::Shared(cache) => cache.clear(),
                    Subject::Single(cache) => cache.clear(),
                }
                self.hear(Some(Cause::Cleared));
                assert!(self.entries.is_empty());
            }
            (Op::Sweep(budget), subject) => {
                match subject {
                    Subject::Shared(cache) => cache.sweep(budget.into()),
                    Subject::Single(cache) => cache.sweep(budget.into()),
                };
                self.hear(None);
            }
            (Op::PopOldest, Subject::Single(cache)) => {
                let popped = cache.pop_oldest();
                match popped {
                    Some((key, value)) => assert_eq!(self.living(key), Some(value)),
                    None => {
                        let is_not_for_it = |(&key, entry): (&Key, &Entry)| {
                            self.living(key).is_none() || entry.is_pinned
                        };
                        assert!(self.entries.iter().all(is_not_for_it));
                    }
                }
                self.hear(Some(Cause::Removed));
            }
            (Op::Walk, subject) => {
                let mut walked: Vec<(Key, Value)> = match subject {
                    Subject::Shared(cache) => cache.iter().collect(),
                    Subject::Single(cache) => cache.iter().map(|(&k, &v)| (k, v)).collect(),
                };
                walked.sort_unstable_by_key(|&(key, _)| key);
                let keys = self.entries.keys();
                let expected = keys.filter_map(|&key| Some((key, self.living(key)?)));
                assert_eq!(walked, expected.collect::<Vec<_>>());
            }
            (Op::InsertOn(key, weight, on), subject) => {
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                let terms = self.terms(on);
                let inserted = match subject {
                    Subject::Shared(cache) => cache.insert_on(key, value, terms),
                    Subject::Single(cache) => cache.insert_on(key, value, terms),
                };
                self.inserted_on(key, value, on.lasts.map(Lasts::get), on, inserted);
            }
            (Op::Invalidate(tag), subject) => {
                match subject {
                    Subject::Shared(cache) => cache.invalidate_tag(&(tag as u8)),
                    Subject::Single(cache) => cache.invalidate_tag(&(tag as u8)),
                }
                self.invalidated.insert(tag);
                let tagged = self.entries.values_mut();
                tagged
                    .filter(|entry| entry.tag == Some(tag))
                    .for_each(|entry| entry.is_invalid = true);
                self.hear(None);
            }
            (Op::Compute(key, decide, weight), subject) => {
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                self.compute(subject, key, value, decide);
            }
            (Op::Update(key, weight), subject) => {
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                let had = self.living(key);
                let left = had.and_then(|_| self.left(key));
                let updated = match subject {
                    Subject::Shared(cache) => cache.update(&key, |_| value),
                    Subject::Single(cache) => cache.update(&key, |_| value).copied(),
                };
                assert!(updated.is_none_or(|updated| had.is_some() && updated == value));
                match had {
                    Some(_) => self.loaded(key, value, left, false),
                    None => self.loaded_nothing(key, false),
                }
            }
            (Op::Pin(key), subject) => {
                let is_there = self.living(key).is_some();
                let pinned = match subject {
                    Subject::Shared(cache) => cache.pin(&key),
                    Subject::Single(cache) => cache.pin(&key),
                };
                assert_eq!(pinned, is_there);
                self.hear(None);
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.is_pinned |= is_there;
                }
            }
            (Op::Unpin(key), subject) => {
                let was_pinned = self.living(key).is_some() && self.entries[&key].is_pinned;
                let unpinned = match subject {
                    Subject::Shared(cache) => cache.unpin(&key),
                    Subject::Single(cache) => cache.unpin(&key),
                };
                assert_eq!(unpinned, was_pinned);
                self.hear(None);
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.is_pinned &= !was_pinned;
                }
            }
            (Op::SetCapacity(capacity), subject) => {
                let capacity = capacity.get();
                self.capacity = match subject {
                    Subject::Shared(cache) => cache.set_capacity(capacity),
                    Subject::Single(cache) => cache.set_capacity(capacity),
                };
                self.hear(Some(Cause::Capacity));
                assert_eq!(self.capacity, capacity.max(self.pinned()));
            }
            (op, Subject::Shared(cache)) => self.step_of_shared(cache, op, id),
            (_, Subject::Single(_)) => {}
        }
    }

    fn step_of_shared(&mut self, cache: &Shared, op: Op, id: u32) {
        match op {
            Op::RemoveIf(key, goes) => {
                let expected = self.living(key).filter(|_| goes);
                assert_eq!(cache.remove_if(&key, |_| goes), expected);
                self.hear(Some(Cause::Removed));
            }
            Op::Load(key, weight) => {
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                let had = self.living(key);
                assert_eq!(cache.get_or_load(&key, |_| value), had.unwrap_or(value));
                self.loaded(key, value, None, had.is_some());
            }
            Op::LoadFails(key) => {
                let had = self.living(key);
                let got = cache.try_get_or_load(&key, |_| Err::<Value, u8>(1));
                assert_eq!(got, had.ok_or(1));
                self.loaded_nothing(key, had.is_some());
            }
            Op::LoadFor(key, weight, lasts) => {
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                let had = self.living(key);
                let got = cache.try_get_or_load_for(&key, |_| Ok::<_, u8>((value, lasts.get())));
                assert_eq!(got, Ok(had.unwrap_or(value)));
                self.loaded(key, value, Some(lasts.get()), had.is_some());
            }
            Op::LoadOn(key, weight, tag) => {
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                let had = self.living(key);
                let load = |_: &Key| Ok::<_, u8>((value, tag.of(Terms::new())));
                let got = cache.try_get_or_load_on(&key, load);
                assert_eq!(got, Ok(had.unwrap_or(value)));
                match had {
                    Some(_) => self.loaded_nothing(key, true),
                    None => drop(self.store_on(key, value, None, On::tagged(tag))),
                }
            }
            Op::LoadAsync(key, weight, meanwhile) => {
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                self.load_async(cache, key, value, meanwhile);
            }
            Op::GetMany(keys) => {
                let expected: Vec<_> = keys.iter().map(|&key| self.living(key)).collect();
                assert_eq!(cache.get_many(&keys), expected);
                self.hear(None);
                keys.into_iter().for_each(|key| self.used(key));
            }
            Op::LoadMany(keys, left_out, weight) => {
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                self.load_many(cache, keys, left_out, value);
            }
            Op::Refresh(key, ahead, stale, weight) => {
                let entry = self.entries.get(&key).copied();
                let due = Due::ahead(ahead.get()).or_stale(stale.get());
                let Some(served) = cache.get_refreshing(&key, due) else {
                    assert_eq!(self.living(key), None);
                    self.hear(None);
                    return;
                };
                let entry = entry.expect("what is given out was stored");
                assert_eq!(served.value, entry.value);
                assert!(!entry.is_invalid);
                assert_eq!(served.is_stale, entry.ends_at() <= self.now);
                self.hear(None);
                if !served.is_stale {
                    self.used(key);
                }
                let (Some(refresh), Some(weight)) = (served.refresh, weight) else {
                    return; // If there was a duty, it is dropped, and the next caller gets it.
                };
                let value = Value {
                    id,
                    weight: weight.get(),
                };
                assert_eq!(refresh.run(|_| value), Some(value));
                self.loaded(key, value, None, false);
            }
            _ => {}
        }
    }

    fn compute(&mut self, subject: &mut Subject, key: Key, value: Value, decide: Decide) {
        let had = self.living(key);
        let left = had.and_then(|_| self.left(key));
        let decision = |seen: Option<&Value>| {
            assert_eq!(seen.copied(), had);
            match decide {
                Decide::Keep => Decision::Keep,
                Decide::Put => Decision::Put(value),
                Decide::PutFor(lasts) => Decision::PutFor(value, lasts.get()),
                Decide::PutOn(tag) => Decision::PutOn(value, tag.of(Terms::new())),
                Decide::Change => Decision::Change(value),
                Decide::Remove => Decision::Remove,
            }
        };
        let computed = match subject {
            Subject::Shared(cache) => cache.compute(&key, decision),
            Subject::Single(cache) => cache.compute(&key, decision),
        };
        assert_eq!(computed.into_previous(), had);
        match decide {
            Decide::Keep => self.loaded_nothing(key, had.is_some()),
            Decide::Put => self.loaded(key, value, None, false),
            Decide::PutFor(lasts) => self.loaded(key, value, Some(lasts.get()), false),
            Decide::PutOn(tag) => drop(self.store_on(key, value, None, On::tagged(tag))),
            Decide::Change => self.loaded(key, value, left, false),
            Decide::Remove => self.hear(Some(Cause::Removed)),
        }
    }

    fn load_async(&mut self, cache: &Shared, key: Key, value: Value, meanwhile: Meanwhile) {
        let had = self.living(key);
        let mut is_done = false;
        let load = |_: &Key| {
            poll_fn(move |_| {
                if std::mem::replace(&mut is_done, true) {
                    Poll::Ready(value)
                } else {
                    Poll::Pending
                }
            })
        };
        let mut loading = Box::pin(cache.get_or_load_async(&key, load));
        if let Poll::Ready(got) = poll(loading.as_mut()) {
            assert_eq!(Some(got), had);
            return self.loaded_nothing(key, true);
        }
        assert_eq!(had, None);
        self.hear(None);
        let is_overtaken = match meanwhile {
            Meanwhile::Nothing => false,
            Meanwhile::Drop => {
                drop(loading);
                return self.hear(None);
            }
            Meanwhile::Insert(weight) => {
                let other = Value {
                    id: !value.id,
                    weight: weight.get(),
                };
                let inserted = cache.insert(key, other);
                self.inserted(key, other, None, inserted);
                true
            }
            Meanwhile::Remove => {
                assert_eq!(cache.remove(&key), None);
                self.hear(Some(Cause::Removed));
                true
            }
        };
        assert_eq!(poll(loading.as_mut()), Poll::Ready(value));
        if is_overtaken {
            // For who asked, and not stored.
            self.hear(None);
        } else {
            self.loaded(key, value, None, false);
        }
    }

    fn load_many(&mut self, cache: &Shared, keys: [Key; 3], left_out: Key, value: Value) {
        let had = keys.map(|key| self.living(key));
        let absent: BTreeSet<Key> = (0..3)
            .filter(|&n| had[n].is_none())
            .map(|n| keys[n])
            .collect();
        let mut answered = Vec::new();
        let got = cache.get_or_load_many(&keys, |asked| {
            let asked: Vec<Key> = asked.iter().map(|&&key| key).collect();
            assert_eq!(asked.iter().copied().collect::<BTreeSet<Key>>(), absent);
            assert_eq!(asked.len(), absent.len(), "each once");
            answered = asked.into_iter().filter(|&key| key != left_out).collect();
            answered.iter().map(|&key| (key, value)).collect::<Vec<_>>()
        });
        let answer = |n: usize| had[n].or((keys[n] != left_out).then_some(value));
        assert_eq!(got, (0..3).map(answer).collect::<Vec<_>>());
        for n in 0..3 {
            if had[n].is_some() {
                self.used(keys[n]);
            }
        }
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        let mut stored = BTreeMap::new();
        for key in answered {
            // One that stays pinned leaves less room for the next.
            let entry = Entry {
                is_pinned: self.stays_pinned(key),
                ..self.entry(value, None)
            };
            if self.accepts(key, &entry, &stored, &told) {
                stored.insert(key, entry);
            }
        }
        for (key, its, cause) in told {
            // One that was loaded may have made room for the next.
            if its == value {
                assert_eq!(cause, Cause::Capacity);
                assert!(!stored.remove(&key).expect("who leaves was there").is_pinned);
            } else {
                let entry = self.entries.remove(&key).expect("who leaves was there");
                match cause {
                    Cause::Expired => assert!(entry.ends_at() <= self.now),
                    Cause::Invalidated => assert!(entry.is_invalid),
                    Cause::Capacity => assert!(!entry.is_pinned),
                    other => panic!("{other:?}"),
                }
            }
        }
        self.entries.append(&mut stored);
    }

    /// The value of a key that is there and not over.
    fn living(&self, key: Key) -> Option<Value> {
        let entry = self.entries.get(&key)?;
        (!entry.is_over(self.now)).then_some(entry.value)
    }

    /// What is left of its time to live.
    fn left(&self, key: Key) -> Option<Duration> {
        match self.entries.get(&key)?.dies_at {
            u64::MAX => Some(Duration::MAX),
            dies_at => Some(Duration::from_nanos(dies_at - self.now)),
        }
    }

    fn weigh(&self, value: Value) -> usize {
        if self.setup.by_weight {
            value.weight
        } else {
            1
        }
    }

    fn ends(&self, lasts: Option<Duration>) -> u64 {
        let nanos = lasts.and_then(|lasts| u64::try_from(lasts.as_nanos()).ok());
        nanos.map_or(u64::MAX, |nanos| self.now.saturating_add(nanos))
    }

    fn used(&mut self, key: Key) {
        let idle_at = self.ends(self.setup.time_to_idle.map(Lasts::get));
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.idle_at = idle_at;
        }
    }

    fn got(&mut self, key: Key, got: Option<Value>) {
        assert_eq!(got, self.living(key));
        self.loaded_nothing(key, got.is_some());
    }

    fn seen(&mut self, key: Key, seen: Option<Value>) {
        assert_eq!(seen, self.living(key));
    }

    /// A look-up that stored nothing.
    fn loaded_nothing(&mut self, key: Key, was_there: bool) {
        self.hear(None);
        if was_there {
            self.used(key);
        }
    }

    /// A look-up that stored a value if there was none.
    fn loaded(&mut self, key: Key, value: Value, lasts: Option<Duration>, was_there: bool) {
        if was_there {
            return self.loaded_nothing(key, true);
        }
        self.store(key, value, lasts);
    }

    fn inserted(
        &mut self,
        key: Key,
        value: Value,
        lasts: Option<Duration>,
        inserted: Inserted<Key, Value>,
    ) {
        self.inserted_on(key, value, lasts, On::default(), inserted);
    }

    fn inserted_on(
        &mut self,
        key: Key,
        value: Value,
        lasts: Option<Duration>,
        on: On,
        inserted: Inserted<Key, Value>,
    ) {
        let previous = self.living(key).map(|value| (key, value));
        let is_stored = self.store_on(key, value, lasts, on);
        match inserted.outcome {
            Outcome::New => assert!(is_stored && previous.is_none()),
            Outcome::Replaced { key, value } => {
                assert!(is_stored && previous == Some((key, value)))
            }
            Outcome::Rejected {
                key: its,
                value: own,
                previous: its_previous,
                ..
            } => {
                assert!(!is_stored);
                assert_eq!(((its, own), its_previous), ((key, value), previous));
            }
            other => panic!("unknown: {other:?}"),
        }
    }

    /// What a write of a value must have done. Returns whether it was stored.
    fn store(&mut self, key: Key, value: Value, lasts: Option<Duration>) -> bool {
        self.store_on(key, value, lasts, On::default())
    }

    fn store_on(&mut self, key: Key, value: Value, lasts: Option<Duration>, on: On) -> bool {
        let is_pinned = on.is_pinned || self.stays_pinned(key);
        let entry = Entry {
            is_pinned,
            tag: on.tag,
            ..self.entry(value, lasts)
        };
        let told = self.told.lock().unwrap().clone();
        let is_out_of_date =
            on.is_late && on.tag.is_some_and(|tag| self.invalidated.contains(&tag));
        let is_stored = !is_out_of_date && self.accepts(key, &entry, &BTreeMap::new(), &told);
        self.hear(Some(if is_stored {
            Cause::Replaced
        } else {
            Cause::Removed
        }));
        if is_stored {
            assert!(
                self.entries.insert(key, entry).is_none(),
                "the older one has left"
            );
        } else {
            assert!(self.living(key).is_none(), "the older one is out of date");
        }
        is_stored
    }

    /// A value as it is stored now.
    fn entry(&self, value: Value, lasts: Option<Duration>) -> Entry {
        Entry {
            value,
            dies_at: self.ends(lasts.or(self.setup.time_to_live.map(Lasts::get))),
            idle_at: self.ends(self.setup.time_to_idle.map(Lasts::get)),
            is_pinned: false,
            tag: None,
            is_invalid: false,
        }
    }

    fn terms(&self, on: On) -> Terms {
        let mut terms = Terms::new().cost(on.cost.into());
        if let Some(lasts) = on.lasts {
            terms = terms.time_to_live(lasts.get());
        }
        if on.is_pinned {
            terms = terms.pinned();
        }
        if let Some(tag) = on.tag {
            terms = tag.of(terms);
        }
        if on.is_late {
            terms = terms.as_of(self.start);
        }
        terms
    }

    /// Whether a value that is stored under a key is pinned because the one before it is.
    fn stays_pinned(&self, key: Key) -> bool {
        let stale = match self.setup.is_shared {
            true => {
                self.ends(
                    self.setup
                        .keep_stale
                        .map(Lasts::get)
                        .or(Some(Duration::ZERO)),
                ) - self.now
            }
            false => 0,
        };
        let is_kept =
            |entry: &&Entry| entry.ends_at().saturating_add(stale) > self.now && !entry.is_invalid;
        let before = self.entries.get(&key).filter(is_kept);
        before.is_some_and(|entry| entry.is_pinned)
    }

    /// Whether there is room for an entry, and time, where these were stored and have left in the call.
    fn accepts(
        &self,
        key: Key,
        entry: &Entry,
        stored: &BTreeMap<Key, Entry>,
        told: &[(Key, Value, Cause)],
    ) -> bool {
        let has_left = |other: Key| told.iter().any(|&(left, ..)| left == other);
        let before = self.entries.iter();
        let before = before.filter(|&(&other, _)| !has_left(other) && !stored.contains_key(&other));
        let others = before
            .chain(stored)
            .filter(|&(&other, its)| its.is_pinned && other != key);
        let held: usize = others.map(|(_, its)| self.weigh(its.value)).sum();
        let room = self.capacity - held;
        let some = if entry.is_pinned { self.capacity } else { room };
        some > 0 && self.weigh(entry.value) <= room && entry.ends_at() > self.now
    }

    /// The weight of the pinned.
    fn pinned(&self) -> usize {
        let pinned = self.entries.values().filter(|entry| entry.is_pinned);
        pinned.map(|entry| self.weigh(entry.value)).sum()
    }

    /// Takes those out who have left. Beside the cause of the call, who leaves is over, or had to make room.
    pub(crate) fn hear(&mut self, cause: Option<Cause>) {
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        for (key, value, its) in told {
            let entry = self.entries.remove(&key).expect("who leaves was there");
            assert_eq!(entry.value, value);
            match its {
                Cause::Expired => assert!(entry.ends_at() <= self.now),
                Cause::Invalidated => assert!(entry.is_invalid),
                Cause::Capacity => {
                    let has_reason = matches!(cause, Some(Cause::Replaced | Cause::Capacity));
                    assert!(has_reason, "only for another, or for want of room");
                    assert!(!entry.is_pinned);
                }
                its => assert_eq!(Some(its), cause),
            }
        }
    }

    pub(crate) fn check(&self, subject: &Subject) {
        let (len, weight, pinned) = match subject {
            Subject::Shared(cache) => (cache.len(), cache.weight(), cache.pinned()),
            Subject::Single(cache) => (cache.len(), cache.weight(), cache.pinned()),
        };
        assert_eq!(pinned, self.pinned());
        let weights = self.entries.values().map(|entry| self.weigh(entry.value));
        assert_eq!(len, self.entries.len());
        assert_eq!(weight, weights.sum::<usize>());
        assert!(weight <= self.capacity);
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
