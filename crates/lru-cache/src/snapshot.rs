//! The serialised form of a cache, and the way back.
//!
//! A snapshot is a format number, a [`Head`] for the whole, and a sequence of shards, each a sequence of entries: key,
//! value, and a [`Record`]. Lengths are known before each sequence, so formats that write them first can be used. Nothing in it is a
//! hash: each cache has a hasher of its own, so entries are stored anew, and what policies know of keys that are not there is left behind.

mod shelf;

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use purlin_core::{Tick, WallTime};
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use self::shelf::{Room, Shelf};
use crate::engine::{Engine, Moving, Trace};
use crate::expiry::{Life, Lifetimes};
use crate::insertion::Evicted;
use crate::policy::arm::Arm;
use crate::policy::repute::Repute;
use crate::policy::selector::State;
use crate::tags::{ANY, Label, Moment};

/// The number of this form. Another is refused.
const FORMAT: u32 = 1;

/// What is said of a cache as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// By the clock on the wall: ticks end with the process.
    saved_at_ms: u64,
    /// The code of the arm in use; none in exact order.
    arm: Option<u8>,
    /// Whether an entry ever had to make room.
    was_full: bool,
    /// Whether entries had a time to live unless they said otherwise.
    had_time_to_live: bool,
    /// There if the policy was adaptive.
    pub(crate) selector: Option<State>,
}

impl Head {
    /// Of a cache of which no engine has said anything yet.
    pub(crate) fn new(saved_at: WallTime, selector: Option<State>) -> Self {
        Head {
            saved_at_ms: saved_at.as_unix_millis(),
            arm: selector.as_ref().map(State::current),
            was_full: false,
            had_time_to_live: false,
            selector,
        }
    }

    /// Takes down what an engine says. All of a cache say the same, but whether they have evicted.
    pub(crate) fn note<K, V>(&mut self, engine: &Engine<K, V>) {
        if self.selector.is_none() {
            self.arm = engine.arm().and_then(Arm::code);
        }
        self.was_full |= engine.has_evicted();
        self.had_time_to_live = engine.lifetimes().to_live.is_some();
    }

    pub(crate) fn arm(&self) -> Option<Arm> {
        Arm::of_code(self.arm?)
    }

    /// How long ago it was saved; no time, by a clock that was set back.
    fn age(&self, now: WallTime) -> Duration {
        now.since(WallTime::from_unix_millis(self.saved_at_ms))
    }
}

/// What is said of an entry beside its key and value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    rank: u32,
    note: u8,
    count: u8,
    cost: u32,
    is_pinned: bool,
    is_tagged: bool,
    /// What is left of its time to live, and to idle, if these end.
    dies_in_ns: Option<u64>,
    idles_in_ns: Option<u64>,
}

impl Record {
    pub(crate) fn new(trace: Trace, now: Tick) -> Self {
        let left =
            |end: Tick| (end != Tick::MAX).then(|| end.as_nanos().saturating_sub(now.as_nanos()));
        Record {
            rank: trace.rank,
            note: trace.repute.note,
            count: trace.repute.count,
            cost: trace.cost,
            is_pinned: trace.is_pinned,
            is_tagged: !trace.life.label.is_none(),
            dies_in_ns: left(trace.life.dies_at),
            idles_in_ns: left(trace.life.idle_at),
        }
    }

    fn is_mortal(&self) -> bool {
        self.dies_in_ns.is_some() || self.idles_in_ns.is_some()
    }

    fn repute(&self) -> Repute {
        Repute {
            note: self.note,
            count: self.count,
        }
    }

    fn worth(&self, arm: Option<Arm>) -> u64 {
        if self.is_pinned {
            u64::MAX
        } else {
            self.repute().worth(self.rank, arm)
        }
    }

    /// The rest of its life; none, if it is over.
    fn life(&self, head: &Head, scene: &Scene) -> Option<Life> {
        let end = |left_ns: u64| {
            let left = Duration::from_nanos(left_ns).checked_sub(scene.away)?;
            (!left.is_zero()).then(|| scene.now.after(left))
        };
        let anew =
            |lasts: Option<Duration>| lasts.map_or(Tick::MAX, |lasts| scene.now.after(lasts));
        let Lifetimes {
            to_live, to_idle, ..
        } = &scene.lifetimes;
        Some(Life {
            dies_at: match self.dies_in_ns {
                Some(left) => end(left)?,
                // It was to live for ever among others that were not.
                None if head.had_time_to_live => Tick::MAX,
                None => anew(*to_live),
            },
            // A cache without it would never move this end.
            idle_at: match self.idles_in_ns.filter(|_| to_idle.is_some()) {
                Some(left) => end(left)?,
                None => anew(*to_idle),
            },
            label: if self.is_tagged {
                // Which tags these were, another build may hash otherwise: so it leaves with any.
                Label {
                    since: scene.moment.0,
                    slots: [ANY, 0, 0, 0],
                }
            } else {
                Label::NONE
            },
        })
    }
}

/// Where entries are restored to, and when.
#[derive(Debug)]
pub(crate) struct Scene {
    now: Tick,
    /// How long they were nowhere.
    away: Duration,
    lifetimes: Lifetimes,
    moment: Moment,
    /// The arm that goes on with them.
    arm: Option<Arm>,
}

impl Scene {
    /// A cache of which no engine is ready yet.
    pub(crate) fn new(head: &Head, now: Tick, wall: WallTime, moment: Moment) -> Self {
        Scene {
            now,
            away: head.age(wall),
            lifetimes: Lifetimes::default(),
            moment,
            arm: None,
        }
    }

    /// Makes an engine that is empty ready for the entries. All of a cache are made so, and are alike.
    pub(crate) fn prepare<K, V>(
        &mut self,
        head: &Head,
        engine: &mut Engine<K, V>,
        gone: &mut Evicted<K, V>,
    ) {
        engine.observe(self.now, gone);
        if head.was_full {
            engine.was_full();
        }
        self.arm = engine.arm();
        self.lifetimes = engine.lifetimes();
    }
}

/// A snapshot that was read to its end, and as much of it as is to be stored.
#[derive(Debug)]
pub(crate) struct Read<K, V> {
    pub(crate) head: Head,
    entries: Vec<Saved<K, V>>,
}

/// An entry of a snapshot.
#[derive(Debug)]
struct Saved<K, V> {
    hash: u64,
    weight: usize,
    key: K,
    value: V,
    record: Record,
}

impl<K, V> Read<K, V> {
    /// Whether any entry has a deadline.
    pub(crate) fn is_timed(&self) -> bool {
        self.entries.iter().any(|saved| saved.record.is_mortal())
    }

    /// How many are to be stored.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries in the order in which they are to be stored, with their hashes.
    pub(crate) fn into_entries(
        self,
        scene: Scene,
    ) -> impl Iterator<Item = (u64, Moving<K, V>, Trace)> {
        // Of what another arm has noted, only the order of use means anything.
        let Read { head, entries } = self;
        let means = scene.arm.is_some() && head.arm() == scene.arm;
        entries.into_iter().filter_map(move |saved| {
            let record = saved.record;
            let life = record.life(&head, &scene)?;
            let trace = Trace {
                rank: record.rank,
                repute: if means {
                    record.repute()
                } else {
                    Repute::default()
                },
                life,
                cost: record.cost.max(1),
                is_pinned: record.is_pinned,
            };
            let stored = Moving {
                key: saved.key,
                value: saved.value,
                weight: saved.weight,
                life,
            };
            Some((saved.hash, stored, trace))
        })
    }
}

/// Writes a snapshot.
pub(crate) fn write<S: Serializer>(
    serializer: S,
    head: &Head,
    shards: &impl Serialize,
) -> Result<S::Ok, S::Error> {
    let mut snapshot = serializer.serialize_struct("Snapshot", FIELDS.len())?;
    snapshot.serialize_field(FIELDS[0], &FORMAT)?;
    snapshot.serialize_field(FIELDS[1], head)?;
    snapshot.serialize_field(FIELDS[2], shards)?;
    snapshot.end()
}

/// Reads a snapshot, and keeps as much of it as there is room for.
pub(crate) fn read<'de, D, K, V, F>(
    from: D,
    mut shelf: Shelf<K, V, F>,
) -> Result<Read<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Eq,
    V: Deserialize<'de>,
    F: Fn(&K, &V) -> (u64, usize),
{
    let head = from.deserialize_struct("Snapshot", &FIELDS, Whole(&mut shelf))?;
    Ok(Read {
        entries: shelf.into_entries(head.arm()),
        head,
    })
}

const FIELDS: [&str; 3] = ["format", "head", "shards"];

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Format,
    Head,
    Shards,
}

/// Reads all of it.
struct Whole<'a, K, V, F>(&'a mut Shelf<K, V, F>);

impl<'de, K, V, F> Visitor<'de> for Whole<'_, K, V, F>
where
    K: Deserialize<'de> + Eq,
    V: Deserialize<'de>,
    F: Fn(&K, &V) -> (u64, usize),
{
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the snapshot of a cache")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Head, A::Error> {
        let missing = |n| A::Error::invalid_length(n, &"the three fields of a snapshot");
        check(seq.next_element()?.ok_or_else(|| missing(0))?)?;
        let head: Head = seq.next_element()?.ok_or_else(|| missing(1))?;
        self.0.arm = head.arm();
        seq.next_element_seed(Shards(self.0))?
            .ok_or_else(|| missing(2))?;
        Ok(head)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let (mut format, mut head, mut shards) = (None, None::<Head>, None);
        while let Some(field) = map.next_key()? {
            let is_twice = match field {
                Field::Format => format.replace(check(map.next_value()?)?).is_some(),
                Field::Head => {
                    let read: Head = map.next_value()?;
                    self.0.arm = read.arm();
                    head.replace(read).is_some()
                }
                Field::Shards => shards
                    .replace(map.next_value_seed(Shards(self.0))?)
                    .is_some(),
            };
            if is_twice {
                return Err(A::Error::custom("a field of the snapshot is there twice"));
            }
        }
        format.ok_or_else(|| A::Error::missing_field(FIELDS[0]))?;
        shards.ok_or_else(|| A::Error::missing_field(FIELDS[2]))?;
        head.ok_or_else(|| A::Error::missing_field(FIELDS[1]))
    }
}

fn check<E: Error>(format: u32) -> Result<(), E> {
    if format == FORMAT {
        return Ok(());
    }
    Err(E::custom(format_args!(
        "a snapshot of format {format}, where {FORMAT} was expected"
    )))
}

/// Reads the shards.
struct Shards<'a, K, V, F>(&'a mut Shelf<K, V, F>);
/// Reads one.
struct Entries<'a, K, V, F>(&'a mut Shelf<K, V, F>);

/// A sequence of which each element is read and put away before the next.
macro_rules! sequence {
    ($name:ident, $what:literal, |$shelf:ident, $seq:ident| $next:expr) => {
        impl<'de, K, V, F> DeserializeSeed<'de> for $name<'_, K, V, F>
        where
            K: Deserialize<'de> + Eq,
            V: Deserialize<'de>,
            F: Fn(&K, &V) -> (u64, usize),
        {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
                from.deserialize_seq(self)
            }
        }

        impl<'de, K, V, F> Visitor<'de> for $name<'_, K, V, F>
        where
            K: Deserialize<'de> + Eq,
            V: Deserialize<'de>,
            F: Fn(&K, &V) -> (u64, usize),
        {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($what)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut $seq: A) -> Result<(), A::Error> {
                let $shelf = self.0;
                while $next.is_some() {}
                Ok(())
            }
        }
    };
}

sequence!(Shards, "the shards of a cache", |shelf, seq| {
    seq.next_element_seed(Entries(shelf))?
});
sequence!(Entries, "the entries of a shard", |shelf, seq| {
    let entry = seq.next_element::<(K, V, Record)>()?;
    entry.map(|(key, value, record)| shelf.put(key, value, record))
});
