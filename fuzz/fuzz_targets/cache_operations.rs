//! Any operations on a cache, in any order and under any settings, beside a model of what they must leave.
//!
//! The policies choose who leaves, and the model does not say whom: a listener tells it who did, and it judges whether
//! that was right. What is there, what its time is, and what each call answers it knows by itself.
#![no_main]

#[path = "cache_operations/counts.rs"]
mod counts;
#[path = "cache_operations/model.rs"]
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use purlin_core::{Clock, MapHasher, Tick, WallTime};
use purlin_lru_cache::{Builder, Cache, Cause, Policy, Terms, unsync};

use counts::Counts;
use model::Model;

/// A key among few, so that they meet again.
type Key = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    id: u32,
    weight: usize,
}

#[derive(Arbitrary, Debug)]
struct Setup {
    is_shared: bool,
    policy: u8,
    capacity: Capacity,
    by_weight: bool,
    time_to_live: Option<Lasts>,
    time_to_idle: Option<Lasts>,
    keep_stale: Option<Lasts>,
    /// Every key has the same hash.
    collides: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Capacity {
    Few(u8),
    Some(u16),
    NearlyAll(u8),
}

impl Capacity {
    fn get(self) -> usize {
        match self {
            Capacity::Few(n) => usize::from(n % 12),
            Capacity::Some(n) => usize::from(n),
            Capacity::NearlyAll(n) => usize::MAX - usize::from(n),
        }
    }
}

/// Times are whole steps, and lives end half a step before one: deadlines are kept in 32 bits, rounded down, and half a step
/// is more than that can be in all of a run.
const STEP: u64 = 1 << 21;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Lasts {
    Steps(u8),
    Forever,
}

impl Lasts {
    fn get(self) -> Duration {
        match self {
            Lasts::Steps(n) => Duration::from_nanos((u64::from(n) * STEP).saturating_sub(STEP / 2)),
            Lasts::Forever => Duration::MAX,
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Op {
    Get(Key),
    Peek(Key),
    Contains(Key),
    Insert(Key, Weight),
    InsertFor(Key, Weight, Lasts),
    Remove(Key),
    RemoveEntry(Key),
    /// Keeps the keys that leave a remainder below this.
    Retain(u8),
    Clear,
    Sweep(u8),
    PopOldest,
    Walk,
    InsertOn(Key, Weight, On),
    Invalidate(Tag),
    Pin(Key),
    Unpin(Key),
    SetCapacity(Capacity),
    Compute(Key, Decide, Weight),
    Update(Key, Weight),
    /// In a cache of counts beside the other.
    Count(Key, u32, bool),
    /// From here on, of the shared cache alone; the other does nothing.
    RemoveIf(Key, bool),
    Load(Key, Weight),
    LoadFails(Key),
    LoadFor(Key, Weight, Lasts),
    LoadOn(Key, Weight, Tag),
    /// Of a future that is polled, left alone while something happens to its key, and polled again.
    LoadAsync(Key, Weight, Meanwhile),
    GetMany([Key; 3]),
    /// Those that are absent are loaded, but for some.
    LoadMany([Key; 3], Key, Weight),
    Refresh(Key, Lasts, Lasts, Option<Weight>),
    /// Time goes on, by steps.
    Pass(u8),
}

/// The terms of an insertion.
#[derive(Arbitrary, Clone, Copy, Debug, Default)]
struct On {
    lasts: Option<Lasts>,
    is_pinned: bool,
    tag: Option<Tag>,
    cost: u8,
    /// As of before the first operation.
    is_late: bool,
}

impl On {
    fn tagged(tag: Tag) -> Self {
        On {
            tag: Some(tag),
            ..On::default()
        }
    }
}

/// A tag among few.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    One,
    Two,
}

impl Tag {
    fn of(self, terms: Terms) -> Terms {
        terms.tag(&(self as u8))
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Decide {
    Keep,
    Put,
    PutFor(Lasts),
    PutOn(Tag),
    Change,
    Remove,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Meanwhile {
    Nothing,
    /// The future is dropped.
    Drop,
    Insert(Weight),
    Remove,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Weight {
    Few(u8),
    Most(u8),
}

impl Weight {
    fn get(self) -> usize {
        match self {
            Weight::Few(n) => usize::from(n % 6),
            Weight::Most(n) => usize::MAX - usize::from(n),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> Tick {
        Tick::from_nanos(self.0.load(Ordering::Relaxed))
    }
    fn wall(&self) -> WallTime {
        WallTime::UNIX_EPOCH
    }
}

/// A hasher that may have one hash for all.
#[derive(Clone, Debug)]
struct Hasher {
    hasher: MapHasher,
    collides: bool,
}

impl std::hash::BuildHasher for Hasher {
    type Hasher = OneHash<<MapHasher as std::hash::BuildHasher>::Hasher>;

    fn build_hasher(&self) -> Self::Hasher {
        OneHash {
            hasher: self.hasher.build_hasher(),
            collides: self.collides,
        }
    }
}

struct OneHash<H> {
    hasher: H,
    collides: bool,
}

impl<H: std::hash::Hasher> std::hash::Hasher for OneHash<H> {
    fn finish(&self) -> u64 {
        if self.collides {
            7
        } else {
            self.hasher.finish()
        }
    }
    fn write(&mut self, bytes: &[u8]) {
        self.hasher.write(bytes);
    }
}

type Shared = Cache<Key, Value, Hasher, Hand>;
type Single = unsync::Cache<Key, Value, Hasher, Hand>;

enum Subject {
    Shared(Shared),
    Single(Single),
}

type Told = Arc<Mutex<Vec<(Key, Value, Cause)>>>;

fuzz_target!(|input: (Setup, Vec<Op>)| {
    let (setup, ops) = input;
    let clock = Hand::default();
    let told = Told::default();
    let mut subject = build(&setup, &clock, &told);
    let mut counts = Counts::new(&setup, &clock);
    let start = match &subject {
        Subject::Shared(cache) => cache.moment(),
        Subject::Single(cache) => cache.moment(),
    };
    let mut model = Model {
        start,
        invalidated: BTreeSet::new(),
        capacity: setup.capacity.get(),
        setup,
        now: 0,
        entries: BTreeMap::new(),
        told,
    };
    for (id, op) in (0..).zip(ops) {
        match op {
            Op::Pass(steps) => model.now += u64::from(steps % 64) * STEP,
            Op::Count(key, by, is_up) => counts.step(model.now, key, by, is_up),
            op => {
                model.step(&mut subject, op, id);
                // Any call may come upon some who are over.
                model.hear(None);
            }
        }
        clock.0.store(model.now, Ordering::Relaxed);
        model.check(&subject);
    }
});

fn build(setup: &Setup, clock: &Hand, told: &Told) -> Subject {
    let policies = [
        Policy::Adaptive,
        Policy::Lru,
        Policy::S3Fifo,
        Policy::Fifo,
        Policy::Lfu,
    ];
    let told = Arc::clone(told);
    let mut builder = Builder::with_clock(clock.clone())
        .policy(policies[usize::from(setup.policy) % policies.len()])
        .hasher(Hasher {
            hasher: MapHasher::with_seed(1),
            collides: setup.collides,
        })
        // What is refused depends on the parts, and what is asked here is of the whole.
        .shards(1)
        .listener(move |&key: &Key, &value: &Value, cause| {
            told.lock().unwrap().push((key, value, cause));
        });
    if let Some(lasts) = setup.time_to_live {
        builder = builder.time_to_live(lasts.get());
    }
    if let Some(lasts) = setup.time_to_idle {
        builder = builder.time_to_idle(lasts.get());
    }
    if let Some(lasts) = setup.keep_stale {
        builder = builder.keep_stale(lasts.get());
    }
    let capacity = setup.capacity.get();
    match (setup.by_weight, setup.is_shared) {
        (true, shared) => {
            let builder = builder.weight_limit(capacity, |_, value: &Value| value.weight);
            if shared {
                Subject::Shared(builder.build())
            } else {
                Subject::Single(builder.build_unsync())
            }
        }
        (false, true) => Subject::Shared(builder.entry_limit(capacity).build()),
        (false, false) => Subject::Single(builder.entry_limit(capacity).build_unsync()),
    }
}
