use alloc::boxed::Box;
use alloc::sync::Arc;

use equivalent::Equivalent;
use purlin_core::Tick;

use super::{Fresh, Moving, Place};
#[cfg(feature = "std")]
use super::{Glance, Kind};
use crate::expiry::{Lifetimes, Standing};
use crate::insertion::{Evicted, Outcome};
use crate::lru::{self, Lru};
use crate::policy::Policy;
use crate::policy::arm::Arm;
use crate::raw::Block;
use crate::raw::open::{self, Home, Open};
use crate::sets::{self, Extras, OpenSets, Sets};
#[cfg(feature = "std")]
use crate::sets::{Exchange, Pool};
use crate::stats::Stats;

/// The state machines a cache can be, under one face: exact order in a list, or sets under a policy, which may be such that
/// they can be read without the lock.
#[derive(Debug)]
pub(crate) enum Machine<K, V> {
    Exact(Box<Lru<K, V>>),
    Sets(Sets<K, V>),
    Open(OpenSets<K, V>),
}

/// Calls a method of whichever it is.
macro_rules! either {
    ($engine:expr, $each:ident => $call:expr) => {
        match $engine {
            Machine::Exact($each) => $call,
            Machine::Sets($each) => $call,
            Machine::Open($each) => $call,
        }
    };
}

/// Apart, so that the usual kind is not the longer for it: in an open table, what takes the lock is the exception.
#[cfg(feature = "std")]
#[inline(never)]
fn get_from_open<'a, K, V, Q>(
    sets: &'a mut OpenSets<K, V>,
    hash: u64,
    key: &Q,
    now: Tick,
) -> Option<Glance<'a, V>>
where
    Q: Equivalent<K> + ?Sized,
{
    sets.get_at_once(hash, key, now)
}

/// Apart, as above.
#[cfg(feature = "std")]
#[inline(never)]
fn put_into_open<K: Eq, V>(
    sets: &mut OpenSets<K, V>,
    hash: u64,
    key: K,
    value: V,
) -> Exchange<K, V> {
    sets.put_at_once(hash, key, value)
}

impl<K, V> Machine<K, V> {
    pub(crate) fn new(
        policy: Policy,
        limit: usize,
        is_weighed: bool,
        lifetimes: Lifetimes,
        seed: u64,
        home: Option<Arc<Home<K, V>>>,
    ) -> Self {
        match policy.first_arm() {
            None => Machine::Exact(Box::new(Lru::new(limit, lifetimes, seed))),
            Some(arm) => match home.map(open::shared::<K, V, Extras>) {
                None => Machine::Sets(Sets::new(limit, is_weighed, lifetimes, arm, seed, ())),
                Some(home) => {
                    Machine::Open(Sets::new(limit, is_weighed, lifetimes, arm, seed, home))
                }
            },
        }
    }

    /// Has a part of its limit for good, from here on, and the rest from a pool. A list has all of it for good.
    #[cfg(feature = "std")]
    pub(crate) fn join(&mut self, pool: &Pool) {
        match self {
            Machine::Exact(_) => {}
            Machine::Sets(sets) => sets.join(pool.clone()),
            Machine::Open(sets) => sets.join(pool.clone()),
        }
    }

    /// Tells those who look entries up without the lock what they have to know. To be called before the lock is released.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn show(&self) {
        if let Machine::Open(sets) = self {
            sets.show();
        }
    }

    /// Tells them that a key may be elsewhere than here, before the first is.
    pub(crate) fn has_more(&self) {
        if let Machine::Open(sets) = self {
            sets.has_more();
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

    pub(crate) fn counts(&mut self) -> &mut Stats {
        either!(self, it => it.counts())
    }

    /// Whether an entry ever had to make room.
    pub(crate) fn has_evicted(&self) -> bool {
        either!(self, it => it.has_evicted())
    }

    /// Goes by another arm from here on. A list has none.
    pub(crate) fn set_arm(&mut self, arm: Arm) {
        match self {
            Machine::Exact(_) => {}
            Machine::Sets(sets) => sets.set_arm(arm),
            Machine::Open(sets) => sets.set_arm(arm),
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

    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn put_at_once(&mut self, hash: u64, key: K, value: V) -> Exchange<K, V>
    where
        K: Eq,
    {
        match self {
            Machine::Sets(sets) => sets.put_at_once(hash, key, value),
            Machine::Open(sets) => put_into_open(sets, hash, key, value),
            Machine::Exact(_) => Exchange::None(key, value),
        }
    }

    /// Takes a look-up back that was counted as a miss.
    #[cfg(feature = "std")]
    pub(crate) fn uncount_miss(&mut self) {
        match self {
            Machine::Exact(_) => {}
            Machine::Sets(sets) => sets.uncount_miss(),
            Machine::Open(sets) => sets.uncount_miss(),
        }
    }

    /// The latest time seen.
    pub(crate) fn latest(&self) -> Tick {
        either!(self, it => it.latest())
    }

    pub(crate) fn lifetimes(&self) -> Lifetimes {
        either!(self, it => it.lifetimes())
    }

    /// Has so much more room.
    pub(crate) fn raise(&mut self, by: usize) {
        either!(self, it => it.raise(by));
    }

    /// Has so much less room, and evicts for it; or returns false, and has not that much.
    #[must_use]
    pub(crate) fn cede(&mut self, by: usize, gone: &mut Evicted<K, V>) -> bool {
        either!(self, it => it.cede(by, gone))
    }

    /// Prepares for so much room, which it has or will have.
    pub(crate) fn plan(&mut self, limit: usize) {
        match self {
            Machine::Exact(_) => {}
            Machine::Sets(sets) => sets.plan(limit),
            Machine::Open(sets) => sets.plan(limit),
        }
    }

    /// Takes out the entry in the place that was found, without counting it as removed, unless it is over.
    pub(crate) fn extract(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<Moving<K, V>> {
        match self {
            Machine::Exact(lru) => lru.extract(found.map(|place| place.at), gone),
            Machine::Sets(sets) => sets.extract(found, gone),
            Machine::Open(sets) => sets.extract(found, gone),
        }
    }

    /// Stores what was taken out elsewhere, as new, and without counting it. There must be room.
    pub(crate) fn adopt(&mut self, hash: u64, stored: Moving<K, V>, gone: &mut Evicted<K, V>) {
        either!(self, it => it.adopt(hash, stored, gone));
    }

    /// Looks an entry up as [`lookup`](Machine::lookup) does, and in one go, if nothing has expired that is in the way;
    /// otherwise `None`, and nothing has changed but the time.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn get_at_once<Q>(&mut self, hash: u64, key: &Q, now: Tick) -> Option<Glance<'_, V>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        match self {
            Machine::Sets(sets) => sets.get_at_once(hash, key, now),
            Machine::Open(sets) => get_from_open(sets, hash, key, now),
            Machine::Exact(_) => None,
        }
    }

    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn table(&mut self) -> Option<&mut Sets<K, V>> {
        match self {
            Machine::Sets(sets) => Some(sets),
            _ => None,
        }
    }

    /// The place of a key's entry. It changes nothing.
    #[inline]
    pub(crate) fn find<Q>(&self, hash: u64, key: &Q) -> Option<Place>
    where
        Q: Equivalent<K> + ?Sized,
    {
        match self {
            Machine::Exact(lru) => lru.find(hash, key).map(|at| Place { set: 0, at }),
            Machine::Sets(sets) => sets.find(hash, key),
            Machine::Open(sets) => sets.find(hash, key),
        }
    }

    /// Looks an entry up: counts, takes note of the use, and prolongs its life.
    #[inline]
    pub(crate) fn lookup(&mut self, found: Option<Place>, gone: &mut Evicted<K, V>) -> Option<&V> {
        match self {
            Machine::Exact(lru) => lru.lookup(found.map(|place| place.at), gone),
            Machine::Sets(sets) => sets.lookup(found, gone),
            Machine::Open(sets) => sets.lookup(found, gone),
        }
    }

    /// [`lookup`](Machine::lookup) that does not count, for a caller who looks a second time before loading.
    #[cfg(feature = "std")]
    pub(crate) fn lookup_again(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<&V> {
        match self {
            Machine::Exact(lru) => lru.lookup_again(found.map(|place| place.at), gone),
            Machine::Sets(sets) => sets.lookup_again(found, gone),
            Machine::Open(sets) => sets.lookup_again(found, gone),
        }
    }

    /// The value in the place that was found, though it is over. It counts as found, and keeps its place and its time.
    #[cfg(feature = "std")]
    pub(crate) fn lookup_stale(&mut self, found: Option<Place>) -> Option<&V> {
        match self {
            Machine::Exact(lru) => lru.lookup_stale(found.map(|place| place.at)),
            Machine::Sets(sets) => sets.lookup_stale(found),
            Machine::Open(sets) => sets.lookup_stale(found),
        }
    }

    /// The value in the place that was found, over or not, and how long it has been or will be. It changes nothing.
    pub(crate) fn inspect(&self, found: Option<Place>) -> Option<(&V, Standing)> {
        match self {
            Machine::Exact(lru) => lru.inspect(found.map(|place| place.at)),
            Machine::Sets(sets) => sets.inspect(found),
            Machine::Open(sets) => sets.inspect(found),
        }
    }

    /// The value in the place that was found, left where it is in every respect, unless it is over at `now`.
    pub(crate) fn peek(&self, found: Option<Place>, now: Tick) -> Option<&V> {
        match self {
            Machine::Exact(lru) => lru.peek(found.map(|place| place.at), now),
            Machine::Sets(sets) => sets.peek(found, now),
            Machine::Open(sets) => sets.peek(found, now),
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
            Machine::Exact(lru) => lru.put(found.map(|place| place.at), fresh, gone),
            Machine::Sets(sets) => sets.put(found, fresh, gone),
            Machine::Open(sets) => sets.put(found, fresh, gone),
        }
    }

    /// Takes out the entry in the place that was found.
    pub(crate) fn take(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<(K, V)> {
        match self {
            Machine::Exact(lru) => lru.take(found.map(|place| place.at), gone),
            Machine::Sets(sets) => sets.take(found, gone),
            Machine::Open(sets) => sets.take(found, gone),
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
            Machine::Exact(lru) => Cleared::Exact(lru.clear()),
            Machine::Sets(sets) => Cleared::Sets(sets.clear()),
            Machine::Open(sets) => Cleared::Open(sets.clear()),
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
            Machine::Exact(lru) => Iter::Exact(lru.iter_living(now)),
            Machine::Sets(sets) => Iter::Sets(sets.iter(now)),
            Machine::Open(sets) => Iter::Open(sets.iter(now)),
        }
    }
}

/// What an [`Machine`] held when it was cleared.
#[derive(Debug)]
pub(crate) enum Cleared<K, V> {
    Exact(lru::Cleared<K, V>),
    Sets(sets::Cleared<K, V, Block<(K, V), Extras>>),
    Open(sets::Cleared<K, V, Open<K, V, Extras>>),
}

impl<K, V> Cleared<K, V> {
    /// Shows each entry.
    pub(crate) fn for_each(&self, each: impl FnMut(&K, &V)) {
        match self {
            Cleared::Exact(entries) => entries.for_each(each),
            Cleared::Sets(entries) => entries.for_each(each),
            Cleared::Open(entries) => entries.for_each(each),
        }
    }
}

/// The entries of an [`Machine`].
pub(crate) enum Iter<'a, K, V> {
    Exact(lru::Iter<'a, K, V>),
    Sets(sets::Iter<'a, K, V, Block<(K, V), Extras>>),
    Open(sets::Iter<'a, K, V, Open<K, V, Extras>>),
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        match self {
            Iter::Exact(entries) => entries.next(),
            Iter::Sets(entries) => entries.next(),
            Iter::Open(entries) => entries.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Iter::Exact(entries) => entries.size_hint(),
            Iter::Sets(entries) => entries.size_hint(),
            Iter::Open(entries) => entries.size_hint(),
        }
    }
}
