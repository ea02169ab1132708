//! The cache beside a naive one: a list that is searched from end to end.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::HandClock;
use proptest::collection::vec;
use proptest::prelude::*;
#[cfg(feature = "std")]
use purlin_lru_cache::Cache;
use purlin_lru_cache::{Builder, Cause, Inserted, Outcome, Policy, Terms, unsync};

/// Times are whole steps, and lifetimes end half a step before one. So what is over is over by more than a tick of
/// the timer wheel, and a sweep must find it.
const STEP: u64 = 1 << 21;

#[derive(Clone, Copy, Debug)]
struct Value {
    id: u32,
    weight: usize,
}

#[derive(Clone, Debug)]
enum Op {
    Get(u8),
    Peek(u8),
    Insert(u8, usize),
    /// With a time to live of its own, in steps.
    InsertFor(u8, usize, u64),
    InsertPinned(u8, usize),
    Pin(u8),
    Unpin(u8),
    SetCapacity(usize),
    InsertTagged(u8, usize, u8),
    Invalidate(u8),
    Remove(u8),
    /// Keeps the keys that leave this remainder when divided by 3.
    Retain(u8),
    Clear,
    /// Moves the clock by so many steps, either way.
    Turn(i64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = 0u8..12;
    let weight = prop_oneof![8 => 0usize..4, 1 => 4usize..40, 1 => Just(usize::MAX)];
    let steps = prop_oneof![8 => 0u64..12, 1 => Just(u64::MAX)];
    let op = prop_oneof![
        8 => key.clone().prop_map(Op::Get),
        2 => key.clone().prop_map(Op::Peek),
        8 => (key.clone(), weight.clone()).prop_map(|(key, weight)| Op::Insert(key, weight)),
        4 => (key.clone(), weight.clone(), steps).prop_map(|(key, weight, steps)| Op::InsertFor(key, weight, steps)),
        2 => (key.clone(), weight.clone()).prop_map(|(key, weight)| Op::InsertPinned(key, weight)),
        1 => key.clone().prop_map(Op::Pin),
        2 => key.clone().prop_map(Op::Unpin),
        1 => capacity().prop_map(Op::SetCapacity),
        2 => (key.clone(), weight.clone(), 0u8..3).prop_map(|(key, weight, tag)| Op::InsertTagged(key, weight, tag)),
        1 => (0u8..3).prop_map(Op::Invalidate),
        3 => key.prop_map(Op::Remove),
        1 => (0u8..3).prop_map(Op::Retain),
        1 => Just(Op::Clear),
        3 => (-3i64..8).prop_map(Op::Turn),
    ];
    vec(op, 1..120)
}

#[derive(Clone, Debug)]
struct Settings {
    capacity: usize,
    /// Whether the capacity changes on the way.
    resizes: bool,
    /// Whether values weigh what they say, or one each.
    by_weight: bool,
    /// In steps.
    time_to_live: Option<u64>,
    time_to_idle: Option<u64>,
    heard: Heard,
}

/// What a listener was told: key, value and cause.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Vec<Event>>>);

type Event = (u8, u32, Cause);

impl Heard {
    fn listener(&self) -> impl Fn(&u8, &Value, Cause) + Send + Sync + 'static {
        let events = Arc::clone(&self.0);
        move |&key, value, cause| events.lock().unwrap().push((key, value.id, cause))
    }

    /// What was told since the last time, sorted.
    fn take(&self) -> Vec<Event> {
        sorted(std::mem::take(&mut self.0.lock().unwrap()))
    }
}

fn sorted(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_unstable_by_key(|&(key, id, _)| (key, id));
    events
}

fn capacity() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0usize..10, 1 => Just(usize::MAX), 1 => Just(usize::MAX - 1)]
}

fn settings() -> impl Strategy<Value = Settings> {
    let lasts = || proptest::option::of(prop_oneof![8 => 0u64..10, 1 => Just(u64::MAX)]);
    (capacity(), any::<bool>(), lasts(), lasts()).prop_map(
        |(capacity, by_weight, time_to_live, time_to_idle)| Settings {
            capacity,
            resizes: true,
            by_weight,
            time_to_live,
            time_to_idle,
            heard: Heard::default(),
        },
    )
}

fn policies() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::Adaptive),
        Just(Policy::Lru),
        Just(Policy::S3Fifo),
        Just(Policy::Fifo),
        Just(Policy::Lfu),
    ]
}

/// So many steps less a half, zero for none, and forever for the most.
fn lasts(steps: u64) -> Duration {
    match steps {
        u64::MAX => Duration::MAX,
        0 => Duration::ZERO,
        steps => Duration::from_nanos(steps * STEP - STEP / 2),
    }
}

/// The tick `steps` after `now`, `u64::MAX` for never.
fn ends(now: u64, steps: Option<u64>) -> u64 {
    match steps {
        None | Some(u64::MAX) => u64::MAX,
        Some(0) => now,
        Some(steps) => now + steps * STEP - STEP / 2,
    }
}

struct Entry {
    key: u8,
    value: Value,
    weight: usize,
    dies_at: u64,
    idle_at: u64,
    is_pinned: bool,
    tag: Option<u8>,
}

/// What the cache should be.
struct Naive {
    settings: Settings,
    /// Newest first.
    entries: VecDeque<Entry>,
    /// The latest time seen.
    now: u64,
    /// Whether time matters yet: it is not looked at before anything can have a deadline.
    timed: bool,
    counts: Counts,
    /// Where the last one was that was taken out.
    taken_at: usize,
    /// What a listener is to be told.
    events: Vec<Event>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    hits: u64,
    misses: u64,
    insertions: u64,
    rejections: u64,
    evictions: u64,
    expirations: u64,
    removals: u64,
}

/// What an insert did, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    is_stored: bool,
    previous: Option<u32>,
    evicted: Vec<(u8, u32)>,
}

impl Naive {
    fn new(settings: Settings) -> Self {
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
        let events = go.iter().map(|entry| (entry.key, entry.value.id, cause));
        self.events.extend(events);
        go.len() as u64
    }

    /// Time passes, never backwards, and takes what is over.
    fn observe(&mut self, now: u64) {
        if !self.timed {
            return;
        }
        self.now = self.now.max(now);
        let now = self.now;
        let is_over = |entry: &Entry| entry.dies_at.min(entry.idle_at) <= now;
        self.counts.expirations += self.expel(Cause::Expired, |entry| !is_over(entry));
    }

    fn insert_for(&mut self, key: u8, value: Value, steps: u64, now: u64) -> Done {
        self.timed = true;
        self.observe(now);
        self.insert(key, value, Some(steps), false)
    }

    fn weight(&self) -> usize {
        self.entries.iter().map(|entry| entry.weight).sum()
    }

    /// The weight of the pinned.
    fn held(&self) -> usize {
        let pinned = self.entries.iter().filter(|entry| entry.is_pinned);
        pinned.map(|entry| entry.weight).sum()
    }

    /// Evicts the oldest that are not pinned until so much is left.
    fn evict_down_to(&mut self, weight: usize) -> Vec<(u8, u32)> {
        let mut evicted = Vec::new();
        while self.weight() > weight {
            let oldest = self.entries.iter().rposition(|entry| !entry.is_pinned);
            let oldest = self.entries.remove(oldest.unwrap()).unwrap();
            evicted.push((oldest.key, oldest.value.id));
        }
        self.counts.evictions += evicted.len() as u64;
        let left = |&(key, id)| (key, id, Cause::Capacity);
        self.events.extend(evicted.iter().map(left));
        evicted
    }

    fn set_capacity(&mut self, capacity: usize) -> usize {
        let capacity = capacity.max(self.held());
        self.evict_down_to(capacity);
        self.settings.capacity = capacity;
        capacity
    }

    /// Pins an entry, or unpins one that is pinned.
    fn pin(&mut self, key: u8, is_pinned: bool) -> bool {
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

    fn take(&mut self, key: u8) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        self.taken_at = at;
        self.entries.remove(at)
    }

    fn get(&mut self, key: u8) -> Option<u32> {
        let Some(mut entry) = self.take(key) else {
            self.counts.misses += 1;
            return None;
        };
        self.counts.hits += 1;
        entry.idle_at = ends(self.now, self.settings.time_to_idle);
        let id = entry.value.id;
        self.entries.push_front(entry);
        Some(id)
    }

    fn peek(&self, key: u8) -> Option<u32> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(entry.value.id)
    }

    fn insert(&mut self, key: u8, value: Value, own: Option<u64>, is_pinned: bool) -> Done {
        let before = self.take(key);
        let is_pinned = is_pinned || before.as_ref().is_some_and(|entry| entry.is_pinned);
        let previous = before.map(|entry| entry.value.id);
        let weight = if self.settings.by_weight {
            value.weight
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

    fn remove(&mut self, key: u8) -> Option<u32> {
        let entry = self.take(key)?;
        self.counts.removals += 1;
        self.events.push((key, entry.value.id, Cause::Removed));
        Some(entry.value.id)
    }

    fn retain(&mut self, remainder: u8) {
        self.counts.removals += self.expel(Cause::Removed, |entry| entry.key % 3 == remainder);
    }

    fn clear(&mut self) {
        self.counts.removals += self.expel(Cause::Cleared, |_| false);
    }

    fn contents(&self) -> Vec<(u8, u32)> {
        let pair = |entry: &Entry| (entry.key, entry.value.id);
        let (pinned, others): (Vec<_>, Vec<_>) =
            self.entries.iter().partition(|entry| entry.is_pinned);
        others.into_iter().chain(pinned).map(pair).collect()
    }
}

/// The two caches under one face.
trait Subject {
    fn get(&mut self, key: u8) -> Option<u32>;
    fn peek(&self, key: u8) -> Option<u32>;
    fn insert(&mut self, key: u8, value: Value) -> Inserted<u8, Value>;
    fn insert_for(&mut self, key: u8, value: Value, lasts: Duration) -> Inserted<u8, Value>;
    fn insert_pinned(&mut self, key: u8, value: Value) -> Inserted<u8, Value>;
    fn insert_tagged(&mut self, key: u8, value: Value, tag: u8) -> Inserted<u8, Value>;
    fn invalidate(&mut self, tag: u8);
    fn pin(&mut self, key: u8, is_pinned: bool) -> bool;
    fn set_capacity(&mut self, capacity: usize) -> usize;
    fn held(&self) -> usize;
    fn remove(&mut self, key: u8) -> Option<u32>;
    fn retain(&mut self, remainder: u8);
    fn clear(&mut self);
    fn sweep(&mut self, budget: usize) -> bool;
    /// Newest first if `in_order`.
    fn contents(&self) -> Vec<(u8, u32)>;
    fn in_order(&self) -> bool;
    fn len(&self) -> usize;
    fn weight(&self) -> usize;
    fn counts(&self) -> Counts;
}

macro_rules! subject {
    ($cache:ty, in_order: $in_order:literal, $pair:expr) => {
        impl Subject for $cache {
            fn get(&mut self, key: u8) -> Option<u32> {
                <$cache>::get(self, &key).map(|value| value.id)
            }
            fn peek(&self, key: u8) -> Option<u32> {
                let value = <$cache>::peek(self, &key).map(|value| value.id);
                assert_eq!(self.contains(&key), value.is_some());
                value
            }
            fn insert(&mut self, key: u8, value: Value) -> Inserted<u8, Value> {
                <$cache>::insert(self, key, value)
            }
            fn insert_for(
                &mut self,
                key: u8,
                value: Value,
                lasts: Duration,
            ) -> Inserted<u8, Value> {
                <$cache>::insert_for(self, key, value, lasts)
            }
            fn insert_pinned(&mut self, key: u8, value: Value) -> Inserted<u8, Value> {
                <$cache>::insert_on(self, key, value, Terms::new().pinned())
            }
            fn insert_tagged(&mut self, key: u8, value: Value, tag: u8) -> Inserted<u8, Value> {
                <$cache>::insert_on(self, key, value, Terms::new().tag("all").tag(&tag))
            }
            fn invalidate(&mut self, tag: u8) {
                self.invalidate_tag(&tag);
            }
            fn pin(&mut self, key: u8, is_pinned: bool) -> bool {
                if is_pinned {
                    <$cache>::pin(self, &key)
                } else {
                    <$cache>::unpin(self, &key)
                }
            }
            fn set_capacity(&mut self, capacity: usize) -> usize {
                let reached = <$cache>::set_capacity(self, capacity);
                assert_eq!(reached, self.capacity());
                reached
            }
            fn held(&self) -> usize {
                self.pinned()
            }
            fn remove(&mut self, key: u8) -> Option<u32> {
                <$cache>::remove(self, &key).map(|value| value.id)
            }
            fn retain(&mut self, remainder: u8) {
                <$cache>::retain(self, |key, _| key % 3 == remainder);
            }
            fn clear(&mut self) {
                <$cache>::clear(self);
            }
            fn sweep(&mut self, budget: usize) -> bool {
                <$cache>::sweep(self, budget)
            }
            fn contents(&self) -> Vec<(u8, u32)> {
                self.iter().map($pair).collect()
            }
            fn in_order(&self) -> bool {
                $in_order
            }
            fn len(&self) -> usize {
                assert_eq!(<$cache>::is_empty(self), <$cache>::len(self) == 0);
                <$cache>::len(self)
            }
            fn weight(&self) -> usize {
                <$cache>::weight(self)
            }
            fn counts(&self) -> Counts {
                let stats = self.stats();
                assert_eq!((stats.entries, stats.weight), (self.len(), self.weight()));
                Counts {
                    hits: stats.hits,
                    misses: stats.misses,
                    insertions: stats.insertions,
                    rejections: stats.rejections,
                    evictions: stats.evictions,
                    expirations: stats.expirations,
                    removals: stats.removals,
                }
            }
        }
    };
}

type Hasher = purlin_core::MapHasher;
subject!(unsync::Cache<u8, Value, Hasher, HandClock>, in_order: true, |(&key, value): (&u8, &Value)| (key, value.id));
#[cfg(feature = "std")]
subject!(Cache<u8, Value, Hasher, HandClock>, in_order: false, |(key, value): (u8, Value)| (key, value.id));

fn unsync(
    settings: &Settings,
    clock: &HandClock,
    policy: Policy,
) -> unsync::Cache<u8, Value, Hasher, HandClock> {
    let builder = Builder::with_clock(clock.clone())
        .policy(policy)
        .listener(settings.heard.listener());
    if settings.by_weight {
        let builder = builder.weight_limit(settings.capacity, |_, value: &Value| value.weight);
        with_lifetimes(builder, settings).build_unsync()
    } else {
        let builder = builder.entry_limit(settings.capacity);
        with_lifetimes(builder, settings).build_unsync()
    }
}

#[cfg(feature = "std")]
fn shared(
    settings: &Settings,
    clock: &HandClock,
    n_shards: usize,
    policy: Policy,
) -> Cache<u8, Value, Hasher, HandClock> {
    let builder = Builder::with_clock(clock.clone())
        .shards(n_shards)
        .policy(policy)
        .listener(settings.heard.listener());
    if settings.by_weight {
        let builder = builder.weight_limit(settings.capacity, |_, value: &Value| value.weight);
        with_lifetimes(builder, settings).build()
    } else {
        let builder = builder.entry_limit(settings.capacity);
        with_lifetimes(builder, settings).build()
    }
}

fn with_lifetimes<K, V, L, S, C>(
    builder: Builder<K, V, L, S, C>,
    settings: &Settings,
) -> Builder<K, V, L, S, C> {
    let builder = match settings.time_to_live {
        Some(steps) => builder.time_to_live(lasts(steps)),
        None => builder,
    };
    match settings.time_to_idle {
        Some(steps) => builder.time_to_idle(lasts(steps)),
        None => builder,
    }
}

fn done(inserted: Inserted<u8, Value>) -> Done {
    let is_stored = inserted.is_stored();
    assert!(!matches!(inserted.outcome, Outcome::New) || is_stored);
    let evicted = inserted
        .evicted
        .iter()
        .inspect(|eviction| assert_eq!(eviction.cause, Cause::Capacity))
        .map(|eviction| (eviction.key, eviction.value.id))
        .collect();
    Done {
        is_stored,
        previous: inserted.into_previous().map(|value| value.id),
        evicted,
    }
}

/// A cache whose walks are in no particular order.
struct Unordered<T>(T);

impl<T: Subject> Subject for Unordered<T> {
    fn get(&mut self, key: u8) -> Option<u32> {
        self.0.get(key)
    }
    fn peek(&self, key: u8) -> Option<u32> {
        self.0.peek(key)
    }
    fn insert(&mut self, key: u8, value: Value) -> Inserted<u8, Value> {
        self.0.insert(key, value)
    }
    fn insert_for(&mut self, key: u8, value: Value, lasts: Duration) -> Inserted<u8, Value> {
        self.0.insert_for(key, value, lasts)
    }
    fn insert_pinned(&mut self, key: u8, value: Value) -> Inserted<u8, Value> {
        self.0.insert_pinned(key, value)
    }
    fn insert_tagged(&mut self, key: u8, value: Value, tag: u8) -> Inserted<u8, Value> {
        self.0.insert_tagged(key, value, tag)
    }
    fn invalidate(&mut self, tag: u8) {
        self.0.invalidate(tag);
    }
    fn pin(&mut self, key: u8, is_pinned: bool) -> bool {
        self.0.pin(key, is_pinned)
    }
    fn set_capacity(&mut self, capacity: usize) -> usize {
        self.0.set_capacity(capacity)
    }
    fn held(&self) -> usize {
        self.0.held()
    }
    fn remove(&mut self, key: u8) -> Option<u32> {
        self.0.remove(key)
    }
    fn retain(&mut self, remainder: u8) {
        self.0.retain(remainder);
    }
    fn clear(&mut self) {
        self.0.clear();
    }
    fn sweep(&mut self, budget: usize) -> bool {
        self.0.sweep(budget)
    }
    fn contents(&self) -> Vec<(u8, u32)> {
        self.0.contents()
    }
    fn in_order(&self) -> bool {
        false
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn weight(&self) -> usize {
        self.0.weight()
    }
    fn counts(&self) -> Counts {
        self.0.counts()
    }
}

/// Runs operations against both and compares all that can be seen after each.
fn agree(mut subject: impl Subject, clock: &HandClock, settings: Settings, ops: &[Op]) {
    let mut naive = Naive::new(settings);
    for (id, op) in ops.iter().enumerate() {
        let id = id as u32;
        match *op {
            Op::Get(key) => assert_eq!(subject.get(key), naive.get(key), "{op:?}"),
            Op::Peek(key) => assert_eq!(subject.peek(key), naive.peek(key), "{op:?}"),
            Op::Insert(key, weight) => {
                let value = Value { id, weight };
                let expected = naive.insert(key, value, None, false);
                assert_eq!(done(subject.insert(key, value)), expected, "{op:?}");
            }
            Op::InsertFor(key, weight, steps) => {
                let value = Value { id, weight };
                let expected = naive.insert_for(key, value, steps, clock.nanos());
                assert_eq!(
                    done(subject.insert_for(key, value, lasts(steps))),
                    expected,
                    "{op:?}"
                );
            }
            Op::InsertPinned(key, weight) => {
                let value = Value { id, weight };
                let expected = naive.insert(key, value, None, true);
                assert_eq!(done(subject.insert_pinned(key, value)), expected, "{op:?}");
            }
            Op::InsertTagged(key, weight, tag) => {
                let value = Value { id, weight };
                let expected = naive.insert(key, value, None, false);
                let inserted = subject.insert_tagged(key, value, tag);
                assert_eq!(done(inserted), expected, "{op:?}");
            }
            // What is invalid stays until somebody meets it, so what there is cannot be said; see below.
            Op::Invalidate(_) => {}
            Op::Pin(key) => assert_eq!(subject.pin(key, true), naive.pin(key, true), "{op:?}"),
            Op::Unpin(key) => assert_eq!(subject.pin(key, false), naive.pin(key, false), "{op:?}"),
            Op::SetCapacity(_) if !naive.settings.resizes => {}
            Op::SetCapacity(capacity) => {
                let reached = subject.set_capacity(capacity);
                assert_eq!(reached, naive.set_capacity(capacity), "{op:?}");
            }
            Op::Remove(key) => assert_eq!(subject.remove(key), naive.remove(key), "{op:?}"),
            Op::Retain(remainder) => {
                subject.retain(remainder);
                naive.retain(remainder);
            }
            Op::Clear => {
                subject.clear();
                naive.clear();
            }
            Op::Turn(steps) => {
                clock.turn(steps * STEP as i64);
                assert!(subject.sweep(usize::MAX));
                naive.observe(clock.nanos());
            }
        }
        assert_eq!(subject.len(), naive.entries.len(), "after {op:?}");
        assert_eq!(subject.weight(), naive.weight(), "after {op:?}");
        assert_eq!(subject.held(), naive.held(), "after {op:?}");
        assert_eq!(subject.counts(), naive.counts, "after {op:?}");
        let heard = naive.settings.heard.take();
        assert_eq!(heard, sorted(std::mem::take(&mut naive.events)), "{op:?}");
        let (mut contents, mut expected) = (subject.contents(), naive.contents());
        if !subject.in_order() {
            contents.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(contents, expected, "after {op:?}");
    }
}

/// Runs operations without sweeping, at any time: whatever is answered is the last value stored and not over, and
/// the bound holds.
fn never_lie(mut subject: impl Subject, clock: &HandClock, settings: &Settings, ops: &[Op]) {
    let mut unbounded = Naive::new(Settings {
        capacity: usize::MAX,
        by_weight: false,
        ..settings.clone()
    });
    let mut told = 0;
    let mut capacity = settings.capacity;
    for (id, op) in ops.iter().enumerate() {
        let value = |weight| Value {
            id: id as u32,
            weight,
        };
        match *op {
            Op::Get(key) => {
                let answer = subject.get(key);
                let truth = unbounded.get(key);
                assert!(
                    answer.is_none() || answer == truth,
                    "{op:?}: {answer:?}, not {truth:?}"
                );
                if answer.is_none() {
                    // Lost to the bound, perhaps. It must not come back, so the truth loses it too.
                    unbounded.take(key);
                }
            }
            Op::Peek(key) => {
                let answer = subject.peek(key);
                assert!(answer.is_none() || answer == unbounded.peek(key), "{op:?}");
            }
            Op::Insert(key, weight) => {
                unbounded.insert(key, value(weight), None, false);
                if !subject.insert(key, value(weight)).is_stored() {
                    unbounded.take(key);
                }
            }
            Op::InsertFor(key, weight, steps) => {
                unbounded.insert_for(key, value(weight), steps, clock.nanos());
                if !subject
                    .insert_for(key, value(weight), lasts(steps))
                    .is_stored()
                {
                    unbounded.take(key);
                }
            }
            Op::InsertPinned(key, weight) => {
                unbounded.insert(key, value(weight), None, true);
                if !subject.insert_pinned(key, value(weight)).is_stored() {
                    unbounded.take(key);
                }
            }
            Op::InsertTagged(key, weight, tag) => {
                unbounded.insert(key, value(weight), None, false);
                if !subject.insert_tagged(key, value(weight), tag).is_stored() {
                    unbounded.take(key);
                } else if let Some(entry) = unbounded.entries.front_mut() {
                    entry.tag = Some(tag);
                }
            }
            Op::Invalidate(tag) => {
                subject.invalidate(tag);
                unbounded.entries.retain(|entry| entry.tag != Some(tag));
                for (key, id) in subject.contents() {
                    assert_eq!(unbounded.peek(key), Some(id), "{op:?}");
                }
            }
            Op::Pin(key) => {
                if subject.pin(key, true) {
                    assert!(unbounded.pin(key, true), "{op:?}");
                } else {
                    unbounded.take(key);
                }
            }
            Op::Unpin(key) => {
                let was_pinned = unbounded
                    .entries
                    .iter()
                    .any(|e| e.key == key && e.is_pinned);
                assert_eq!(subject.pin(key, false), was_pinned, "{op:?}");
                if was_pinned {
                    unbounded.pin(key, false);
                }
            }
            Op::SetCapacity(wanted) => {
                capacity = subject.set_capacity(wanted);
                assert!(capacity >= wanted, "{op:?}");
                assert!(capacity == wanted || subject.held() > 0, "{op:?}");
            }
            Op::Remove(key) => {
                let answer = subject.remove(key);
                let truth = unbounded.remove(key);
                assert!(answer.is_none() || answer == truth, "{op:?}");
            }
            Op::Retain(remainder) => {
                subject.retain(remainder);
                unbounded.retain(remainder);
            }
            Op::Clear => {
                subject.clear();
                unbounded.clear();
            }
            Op::Turn(steps) => {
                // Also by less than a tick of the wheel.
                clock.turn(steps * (STEP as i64) / 5);
                // To be seen at least: a cache cannot know of a time at which nobody called.
                subject.sweep(0);
                unbounded.observe(clock.nanos());
            }
        }
        assert!(subject.weight() <= capacity, "after {op:?}");
        if !settings.by_weight {
            assert!(subject.len() <= capacity, "after {op:?}");
        }
        for entry in unbounded.entries.iter().filter(|entry| entry.is_pinned) {
            let found = subject.peek(entry.key);
            assert_eq!(found, Some(entry.value.id), "pinned, after {op:?}");
        }
        told += settings.heard.take().len();
        let left = subject.counts().insertions as usize - subject.len();
        assert_eq!(told, left, "each that left was told of, after {op:?}");
    }
}

/// The settings with room for all that the operations store.
fn roomy(settings: Settings) -> Settings {
    Settings {
        capacity: if settings.capacity == 0 {
            0
        } else {
            usize::MAX
        },
        by_weight: false,
        resizes: false,
        ..settings
    }
}

proptest! {
    #[test]
    fn where_all_fit_every_policy_agrees_with_the_naive_cache(settings in settings(), ops in ops(), policy in policies()) {
        let (clock, settings) = (HandClock::default(), roomy(settings));
        let subject = Unordered(unsync(&settings, &clock, policy));
        agree(subject, &clock, settings, &ops);
    }

    #[cfg(feature = "std")]
    #[test]
    fn where_all_fit_every_policy_of_the_shared_cache_agrees_with_the_naive_one(settings in settings(), ops in ops(), policy in policies(), shards in 1usize..9) {
        let (clock, settings) = (HandClock::default(), roomy(settings));
        agree(shared(&settings, &clock, shards, policy), &clock, settings, &ops);
    }

    #[test]
    fn the_unsync_cache_agrees_with_the_naive_one(settings in settings(), ops in ops()) {
        let clock = HandClock::default();
        agree(unsync(&settings, &clock, Policy::Lru), &clock, settings, &ops);
    }

    #[cfg(feature = "std")]
    #[test]
    fn the_shared_cache_with_one_shard_agrees_with_the_naive_one(settings in settings(), ops in ops()) {
        let clock = HandClock::default();
        agree(shared(&settings, &clock, 1, Policy::Lru), &clock, settings, &ops);
    }

    #[test]
    fn the_unsync_cache_never_answers_what_is_over_and_keeps_its_bound(settings in settings(), ops in ops(), policy in policies()) {
        let clock = HandClock::default();
        never_lie(unsync(&settings, &clock, policy), &clock, &settings, &ops);
    }

    #[cfg(feature = "std")]
    #[test]
    fn the_shared_cache_never_answers_what_is_over_and_keeps_its_bound(settings in settings(), ops in ops(), shards in 1usize..9, policy in policies()) {
        let clock = HandClock::default();
        never_lie(shared(&settings, &clock, shards, policy), &clock, &settings, &ops);
    }
}
