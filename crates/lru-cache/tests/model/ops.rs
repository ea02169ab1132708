//! Operations, and the caches that they are tried on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
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
    InsertOn(u8, usize, On),
    Pin(u8),
    Unpin(u8),
    SetCapacity(usize),
    Invalidate(u8),
    Remove(u8),
    RemoveEntry(u8),
    /// With a judge who says this.
    RemoveIf(u8, bool),
    /// Of a cache for one owner.
    PopOldest,
    Compute(u8, usize, Decide),
    Update(u8, usize),
    Load(u8, usize, Load, Way),
    GetMany([u8; 3]),
    /// All that are absent are loaded but this one.
    LoadMany([u8; 3], u8, usize, Way),
    /// A look-up of what is due so many steps before its end. If there is a weight, it is loaded anew.
    Refresh(u8, u64, Option<usize>, Way),
    /// Keeps the keys that leave this remainder when divided by 3.
    Retain(u8),
    Clear,
    /// Moves the clock by so many steps, either way.
    Turn(i64),
}

/// The terms of an insertion.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct On {
    pub(crate) steps: Option<u64>,
    pub(crate) is_pinned: bool,
    pub(crate) tag: Option<u8>,
    pub(crate) cost: u32,
    /// As of before the first operation.
    pub(crate) is_late: bool,
}

impl On {
    pub(crate) fn lasting(steps: u64) -> Self {
        On {
            steps: Some(steps),
            ..On::default()
        }
    }

    pub(crate) fn tagged(tag: u8) -> Self {
        On {
            tag: Some(tag),
            ..On::default()
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Decide {
    Keep,
    Put,
    PutFor(u64),
    PutOn(u8),
    Change,
    Remove,
}

/// What becomes of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    Lands,
    Fails,
    LandsFor(u64),
    LandsOn(u8),
    /// Another value is inserted while it is under way.
    IsOvertaken,
    /// Its future is dropped, or it panics.
    IsGivenUp,
}

/// Which of the calls that do the same.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Plain,
    Try,
    Async,
    TryAsync,
}

#[cfg(feature = "std")]
impl Way {
    pub(crate) fn is_async(self) -> bool {
        matches!(self, Way::Async | Way::TryAsync)
    }
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = 0u8..12;
    let weight = prop_oneof![8 => 0usize..4, 1 => 4usize..40, 1 => Just(usize::MAX)];
    let keys = [key.clone(), key.clone(), key.clone()];
    let way = || {
        prop_oneof![
            Just(Way::Plain),
            Just(Way::Try),
            Just(Way::Async),
            Just(Way::TryAsync)
        ]
    };
    let op = prop_oneof![
        8 => key.clone().prop_map(Op::Get),
        2 => key.clone().prop_map(Op::Peek),
        8 => (key.clone(), weight.clone()).prop_map(|(key, weight)| Op::Insert(key, weight)),
        4 => (key.clone(), weight.clone(), steps()).prop_map(|(key, weight, steps)| Op::InsertFor(key, weight, steps)),
        4 => (key.clone(), weight.clone(), on()).prop_map(|(key, weight, on)| Op::InsertOn(key, weight, on)),
        1 => key.clone().prop_map(Op::Pin),
        2 => key.clone().prop_map(Op::Unpin),
        1 => capacity().prop_map(Op::SetCapacity),
        1 => (0u8..3).prop_map(Op::Invalidate),
        2 => key.clone().prop_map(Op::Remove),
        1 => key.clone().prop_map(Op::RemoveEntry),
        1 => (key.clone(), any::<bool>()).prop_map(|(key, goes)| Op::RemoveIf(key, goes)),
        1 => Just(Op::PopOldest),
        4 => (key.clone(), weight.clone(), decide()).prop_map(|(key, weight, decide)| Op::Compute(key, weight, decide)),
        1 => (key.clone(), weight.clone()).prop_map(|(key, weight)| Op::Update(key, weight)),
        4 => (key.clone(), weight.clone(), load(), way()).prop_map(|(key, weight, load, way)| Op::Load(key, weight, load, way)),
        1 => keys.clone().prop_map(Op::GetMany),
        2 => (keys, key.clone(), weight.clone(), way())
            .prop_map(|(keys, left_out, weight, way)| Op::LoadMany(keys, left_out, weight, way)),
        3 => (key, 0u64..12, option::of(weight), way())
            .prop_map(|(key, ahead, weight, way)| Op::Refresh(key, ahead, weight, way)),
        1 => (0u8..3).prop_map(Op::Retain),
        1 => Just(Op::Clear),
        3 => (-3i64..8).prop_map(Op::Turn),
    ];
    vec(op, 1..120)
}

fn steps() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..12, 1 => Just(u64::MAX)]
}

fn on() -> impl Strategy<Value = On> {
    (
        option::of(steps()),
        any::<bool>(),
        option::of(0u8..3),
        0u32..4,
        any::<bool>(),
    )
        .prop_map(|(steps, is_pinned, tag, cost, is_late)| On {
            steps,
            is_pinned,
            tag,
            cost,
            is_late,
        })
}

fn decide() -> impl Strategy<Value = Decide> {
    prop_oneof![
        Just(Decide::Keep),
        Just(Decide::Put),
        steps().prop_map(Decide::PutFor),
        (0u8..3).prop_map(Decide::PutOn),
        Just(Decide::Change),
        Just(Decide::Remove),
    ]
}

fn load() -> impl Strategy<Value = Load> {
    prop_oneof![
        Just(Load::Lands),
        Just(Load::Fails),
        steps().prop_map(Load::LandsFor),
        (0u8..3).prop_map(Load::LandsOn),
        Just(Load::IsOvertaken),
        Just(Load::IsGivenUp),
    ]
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
    let lasts = || option::of(prop_oneof![8 => 0u64..10, 1 => Just(u64::MAX)]);
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

/// The value that overtakes another's load.
pub(crate) fn overtaking(value: &Value) -> Value {
    [(!id_of(value)).into(), value[1]]
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
