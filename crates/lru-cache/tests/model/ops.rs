//! Operations, and the caches that they are tried on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use purlin_lru_cache::{Cause, Policy};

/// A number that tells it from others, and its weight. Numbers, so that a cache may read it without a lock.
pub(crate) type Value = [u64; 2];

pub(crate) fn value(id: u32, weight: usize) -> Value {
    [id.into(), weight as u64]
}

pub(crate) fn id_of(value: &Value) -> u32 {
    value[0] as u32
}

pub(crate) fn weight_of(value: &Value) -> usize {
    value[1] as usize
}

/// Times are whole steps, and lifetimes end half a step before one. So what is over is over by more than a tick of
/// the timer wheel, and a sweep must find it.
pub(crate) const STEP: u64 = 1 << 21;

#[derive(Clone, Debug)]
pub(crate) enum Op {
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

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
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
pub(crate) struct Settings {
    pub(crate) capacity: usize,
    /// Whether the capacity changes on the way.
    pub(crate) resizes: bool,
    /// Whether values weigh what they say, or one each.
    pub(crate) by_weight: bool,
    /// In steps.
    pub(crate) time_to_live: Option<u64>,
    pub(crate) time_to_idle: Option<u64>,
    pub(crate) heard: Heard,
}

/// What a listener was told: key, value and cause.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Event>>>);

pub(crate) type Event = (u8, u32, Cause);

impl Heard {
    pub(crate) fn listener(&self) -> impl Fn(&u8, &Value, Cause) + Send + Sync + 'static {
        let events = Arc::clone(&self.0);
        move |&key, value, cause| events.lock().unwrap().push((key, id_of(value), cause))
    }

    /// What was told since the last time, sorted.
    pub(crate) fn take(&self) -> Vec<Event> {
        sorted(std::mem::take(&mut self.0.lock().unwrap()))
    }
}

pub(crate) fn sorted(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_unstable_by_key(|&(key, id, _)| (key, id));
    events
}

fn capacity() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0usize..10, 1 => Just(usize::MAX), 1 => Just(usize::MAX - 1)]
}

pub(crate) fn settings() -> impl Strategy<Value = Settings> {
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

pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::Adaptive),
        Just(Policy::Lru),
        Just(Policy::S3Fifo),
        Just(Policy::Fifo),
        Just(Policy::Lfu),
    ]
}

/// So many steps less a half, zero for none, and forever for the most.
pub(crate) fn lasts(steps: u64) -> Duration {
    match steps {
        u64::MAX => Duration::MAX,
        0 => Duration::ZERO,
        steps => Duration::from_nanos(steps * STEP - STEP / 2),
    }
}

/// The tick `steps` after `now`, `u64::MAX` for never.
pub(crate) fn ends(now: u64, steps: Option<u64>) -> u64 {
    match steps {
        None | Some(u64::MAX) => u64::MAX,
        Some(0) => now,
        Some(steps) => now + steps * STEP - STEP / 2,
    }
}

/// The settings with room for all that the operations store.
pub(crate) fn roomy(settings: Settings) -> Settings {
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
