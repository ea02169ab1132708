//! The two state machines a cache can be, under one face: exact order in a list, or sets under a policy.

use alloc::boxed::Box;

use purlin_core::Tick;

use equivalent::Equivalent;

use crate::expiry::Lifetimes;
#[cfg(feature = "std")]
use crate::expiry::Standing;
use crate::insertion::{Evicted, Outcome};
use crate::lru::{self, Lru};
use crate::policy::Policy;
use crate::policy::arm::Arm;
use crate::sets::{self, Sets};
#[cfg(feature = "std")]
use crate::sets::{Pool, Stored};
use crate::stats::Stats;

/// Entries, their bound and their deadlines, without locks, waiting or a clock of its own.
///
/// User code, namely the `Eq` of keys, runs in [`find`](Engine::find), and the predicate of
/// [`retain`](Engine::retain) in that; what leaves is handed to the caller and never dropped here. So a call is:
/// observe the time, find the place, and then one of the calls that take what was found and cannot panic half-way.
#[derive(Debug)]
pub(crate) enum Engine<K, V> {
    Exact(Box<Lru<K, V>>),
    Sets(Sets<K, V>),
}

/// An entry to be.
#[derive(Debug)]
pub(crate) struct Fresh<K, V> {
    pub(crate) hash: u64,
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) weight: usize,
    /// Its own, in place of the cache's.
    pub(crate) time_to_live: Option<core::time::Duration>,
}

/// Where an entry is, until the next call that changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Zero in a list.
    pub(crate) set: u32,
    pub(crate) at: u32,
}

/// What a look-up found.
#[cfg(feature = "std")]
pub(crate) struct Glance<'a, V> {
    pub(crate) value: Option<&'a V>,
    /// Whether a policy learns something from it: a miss is followed by an insertion, which tells as much, and a
    /// cache that was never full has nothing to choose.
    pub(crate) tells: bool,
}

/// Which entries a walk meets.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Those that are not over.
    Living,
    /// Those, and the ones that are over and kept for who asks for them.
    Kept,
}

/// Units of expiry work a call does on the side: timers that fire or move down a level. An entry costs at most
/// one for each level it passes and one to fire, no more than this for any deadline within a century, so calls
/// that insert keep up with what they inserted.
pub(crate) const SWEEP_BUDGET: usize = 8;

/// Calls a method of whichever it is.
macro_rules! either {
    ($engine:expr, $each:ident => $call:expr) => {
        match $engine {
            Engine::Exact($each) => $call,
            Engine::Sets($each) => $call,
        }
    };
}

impl<K, V> Engine<K, V> {
    pub(crate) fn new(
        policy: Policy,
        limit: usize,
        is_weighed: bool,
        lifetimes: Lifetimes,
        seed: u64,
    ) -> Self {
        match policy.first_arm() {
            None => Engine::Exact(Box::new(Lru::new(limit, lifetimes, seed))),
            Some(arm) => Engine::Sets(Sets::new(limit, is_weighed, lifetimes, arm, seed)),
        }
    }

    /// Has a part of its limit for good, from here on, and the rest from a pool. A list has all of it for good.
    #[cfg(feature = "std")]
    pub(crate) fn join(&mut self, pool: &Pool) {
        if let Engine::Sets(sets) = self {
            sets.join(pool.clone());
        }
    }

    pub(crate) fn len(&self) -> usize {
        either!(self, it => it.len())
    }

    pub(crate) fn weight(&self) -> usize {
        either!(self, it => it.weight())
    }

    pub(crate) fn limit(&self) -> usize {
        either!(self, it => it.limit())
    }

    pub(crate) fn stats(&self) -> Stats {
        either!(self, it => it.stats())
    }

    #[cfg(feature = "std")]
    pub(crate) fn counts(&mut self) -> &mut Stats {
        either!(self, it => it.counts())
    }

    /// Whether an entry ever had to make room.
    pub(crate) fn has_evicted(&self) -> bool {
        either!(self, it => it.has_evicted())
    }

    /// Goes by another arm from here on. A list has none.
    pub(crate) fn set_arm(&mut self, arm: Arm) {
        if let Engine::Sets(sets) = self {
            sets.set_arm(arm);
        }
    }

    /// Takes note of the time, and works a little on what has expired.
    #[inline]
    pub(crate) fn observe(&mut self, now: Tick, gone: &mut Evicted<K, V>) {
        either!(self, it => it.observe(now, gone));
    }

    /// Takes expired entries out, with at most `budget` units of work. Returns whether none is left that had
    /// expired a wheel's tick ago.
    pub(crate) fn sweep(&mut self, budget: usize, gone: &mut Evicted<K, V>) -> bool {
        either!(self, it => it.sweep(budget, gone))
    }

    /// Looks an entry up as [`lookup`](Engine::lookup) does, and in one go, if nothing has expired that is in the way;
    /// otherwise `None`, and nothing has changed but the time.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn get_at_once<Q>(&mut self, hash: u64, key: &Q, now: Tick) -> Option<Glance<'_, V>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        match self {
            Engine::Sets(sets) => sets.get_at_once(hash, key, now),
            Engine::Exact(_) => None,
        }
    }

    /// Stores an entry that weighs one and lives for ever as [`put`](Engine::put) does, and in one go, where nothing is in
    /// the way; otherwise it is given back, and nothing has changed. Only the keys' `Eq` can panic, and before anything
    /// has changed.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn put_at_once(
        &mut self,
        hash: u64,
        key: K,
        value: V,
    ) -> Result<Stored<K, V>, (K, V)>
    where
        K: Eq,
    {
        match self {
            Engine::Sets(sets) => sets.put_at_once(hash, key, value),
            Engine::Exact(_) => Err((key, value)),
        }
    }

    /// The place of a key's entry. It changes nothing.
    #[inline]
    pub(crate) fn find<Q>(&self, hash: u64, key: &Q) -> Option<Place>
    where
        Q: Equivalent<K> + ?Sized,
    {
        match self {
            Engine::Exact(lru) => lru.find(hash, key).map(|at| Place { set: 0, at }),
            Engine::Sets(sets) => sets.find(hash, key),
        }
    }

    /// Looks an entry up: counts, takes note of the use, and prolongs its life.
    #[inline]
    pub(crate) fn lookup(&mut self, found: Option<Place>, gone: &mut Evicted<K, V>) -> Option<&V> {
        match self {
            Engine::Exact(lru) => lru.lookup(found.map(|place| place.at), gone),
            Engine::Sets(sets) => sets.lookup(found, gone),
        }
    }

    /// [`lookup`](Engine::lookup) that does not count, for a caller who looks a second time before loading.
    #[cfg(feature = "std")]
    pub(crate) fn lookup_again(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<&V> {
        match self {
            Engine::Exact(lru) => lru.lookup_again(found.map(|place| place.at), gone),
            Engine::Sets(sets) => sets.lookup_again(found, gone),
        }
    }

    /// The value in the place that was found, though it is over. It counts as found, and keeps its place and its time.
    #[cfg(feature = "std")]
    pub(crate) fn lookup_stale(&mut self, found: Option<Place>) -> Option<&V> {
        match self {
            Engine::Exact(lru) => lru.lookup_stale(found.map(|place| place.at)),
            Engine::Sets(sets) => sets.lookup_stale(found),
        }
    }

    /// The value in the place that was found, over or not, and how long it has been or will be. It changes nothing.
    #[cfg(feature = "std")]
    pub(crate) fn inspect(&self, found: Option<Place>) -> Option<(&V, Standing)> {
        match self {
            Engine::Exact(lru) => lru.inspect(found.map(|place| place.at)),
            Engine::Sets(sets) => sets.inspect(found),
        }
    }

    /// The value in the place that was found, left where it is in every respect, unless it is over at `now`.
    pub(crate) fn peek(&self, found: Option<Place>, now: Tick) -> Option<&V> {
        match self {
            Engine::Exact(lru) => lru.peek(found.map(|place| place.at), now),
            Engine::Sets(sets) => sets.peek(found, now),
        }
    }

    /// Stores an entry in the place found for its key, or a new one. The bound holds when this returns.
    #[inline]
    pub(crate) fn put(
        &mut self,
        found: Option<Place>,
        fresh: Fresh<K, V>,
        gone: &mut Evicted<K, V>,
    ) -> Outcome<K, V> {
        match self {
            Engine::Exact(lru) => lru.put(found.map(|place| place.at), fresh, gone),
            Engine::Sets(sets) => sets.put(found, fresh, gone),
        }
    }

    /// Takes out the entry in the place that was found.
    pub(crate) fn take(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<(K, V)> {
        match self {
            Engine::Exact(lru) => lru.take(found.map(|place| place.at), gone),
            Engine::Sets(sets) => sets.take(found, gone),
        }
    }

    /// Takes out the entry that is next to leave and not over.
    pub(crate) fn take_oldest(&mut self, gone: &mut Evicted<K, V>) -> Option<(K, V)> {
        either!(self, it => it.take_oldest(gone))
    }

    /// Keeps the entries of which `keep` is true, as long as it does not panic, and gives the others to `leave`, which
    /// does not panic either.
    pub(crate) fn retain(
        &mut self,
        now: Tick,
        keep: impl FnMut(&K, &V) -> bool,
        leave: impl FnMut(K, V),
    ) {
        either!(self, it => it.retain(now, keep, leave));
    }

    /// Takes everything out, to be dropped by the caller.
    #[must_use = "entries are dropped where the caller chooses"]
    pub(crate) fn clear(&mut self) -> Cleared<K, V> {
        match self {
            Engine::Exact(lru) => Cleared::Exact(lru.clear()),
            Engine::Sets(sets) => Cleared::Sets(sets.clear()),
        }
    }

    /// Shows `each` the next entries of that kind: about `most` of them, found in bounded work. `from` is zero
    /// at first and then what this returned; `None` is the end.
    #[cfg(feature = "std")]
    pub(crate) fn walk(
        &self,
        from: u64,
        kind: Kind,
        now: Tick,
        most: usize,
        each: impl FnMut(&K, &V),
    ) -> Option<u64> {
        either!(self, it => it.walk(from, kind, now, most, each))
    }

    /// All entries that are not over.
    pub(crate) fn iter(&self, now: Tick) -> Iter<'_, K, V> {
        match self {
            Engine::Exact(lru) => Iter::Exact(lru.iter_living(now)),
            Engine::Sets(sets) => Iter::Sets(sets.iter(now)),
        }
    }
}

/// What an [`Engine`] held when it was cleared.
#[derive(Debug)]
pub(crate) enum Cleared<K, V> {
    Exact(lru::Cleared<K, V>),
    Sets(sets::Cleared<K, V>),
}

impl<K, V> Cleared<K, V> {
    /// Shows each entry.
    pub(crate) fn for_each(&self, each: impl FnMut(&K, &V)) {
        match self {
            Cleared::Exact(entries) => entries.for_each(each),
            Cleared::Sets(entries) => entries.for_each(each),
        }
    }
}

/// The entries of an [`Engine`].
pub(crate) enum Iter<'a, K, V> {
    Exact(lru::Iter<'a, K, V>),
    Sets(sets::Iter<'a, K, V>),
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        match self {
            Iter::Exact(entries) => entries.next(),
            Iter::Sets(entries) => entries.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Iter::Exact(entries) => entries.size_hint(),
            Iter::Sets(entries) => entries.size_hint(),
        }
    }
}
