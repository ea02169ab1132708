//! Entries, their bound and their deadlines, without locks, waiting or a clock.

mod machine;
#[cfg(feature = "serde")]
mod survey;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use equivalent::Equivalent;
use purlin_core::Tick;

use self::machine::Machine;
#[cfg(all(feature = "std", feature = "serde"))]
pub(crate) use self::survey::Survey;
#[cfg(feature = "serde")]
pub(crate) use self::survey::Trace;
use crate::expiry::{Life, Lifetimes, Standing};
use crate::insertion::{Evicted, Outcome, Refusal};
use crate::lru::{self, Lru};
use crate::policy::Policy;
use crate::policy::arm::Arm;
use crate::raw::open::Home;
#[cfg(feature = "std")]
use crate::sets::{Exchange, Pool, Sets};
use crate::stats::Stats;
use crate::terms::Terms;

/// A state machine for the entries that may be evicted, and a list for those that may not.
///
/// The pinned are no part of the machine, so a policy does not see them, and they do not make its work longer. What they weigh
/// the machine has the less room for.
///
/// User code, namely the `Eq` of keys, runs in [`find`](Engine::find), and the predicate of
/// [`retain`](Engine::retain) in that; what leaves is handed to the caller and never dropped here. So a call is:
/// observe the time, find the place, and then one of the calls that take what was found and cannot panic half-way.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Engine<K, V> {
    /// First: a look-up that finds its key here needs nothing else.
    machine: Machine<K, V>,
    /// None until the first.
    pins: Option<Box<Pins<K, V>>>,
}

/// The pinned entries of an [`Engine`].
#[derive(Debug)]
struct Pins<K, V> {
    entries: Lru<K, V>,
    /// What the machine has ceded for them: their weight, or more until it is [settled](Engine::settle).
    held: usize,
}

/// An entry to be.
#[derive(Debug)]
pub(crate) struct Fresh<K, V> {
    pub(crate) hash: u64,
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) weight: usize,
    pub(crate) terms: Terms,
}

/// An entry on its way from one place to another.
#[derive(Debug)]
pub(crate) struct Moving<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) weight: usize,
    pub(crate) life: Life,
}

/// Where an entry is, until the next call that changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Zero in a list, and [`PINNED`] of who is pinned.
    pub(crate) set: u32,
    pub(crate) at: u32,
}

/// No set has this number: there would have to be as many entries.
const PINNED: u32 = u32::MAX;

impl Place {
    pub(crate) fn is_pinned(self) -> bool {
        self.set == PINNED
    }
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

impl<K, V> Engine<K, V> {
    pub(crate) fn new(
        policy: Policy,
        limit: usize,
        is_weighed: bool,
        lifetimes: Lifetimes,
        seed: u64,
        home: Option<Arc<Home<K, V>>>,
    ) -> Self {
        Engine {
            machine: Machine::new(policy, limit, is_weighed, lifetimes, seed, home),
            pins: None,
        }
    }

    /// Has a part of its limit for good, from here on, and the rest from a pool. A list has all of it for good.
    #[cfg(feature = "std")]
    pub(crate) fn join(&mut self, pool: &Pool) {
        self.machine.join(pool);
    }

    /// Tells those who look entries up without the lock what they have to know. To be called before the lock is released.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn show(&self) {
        self.machine.show();
    }

    pub(crate) fn len(&self) -> usize {
        self.machine.len() + self.pins.as_ref().map_or(0, |pins| pins.entries.len())
    }

    pub(crate) fn weight(&self) -> usize {
        self.machine.weight() + self.pinned()
    }

    pub(crate) fn limit(&self) -> usize {
        self.machine.limit() + self.pins.as_ref().map_or(0, |pins| pins.held)
    }

    /// The weight of the pinned.
    pub(crate) fn pinned(&self) -> usize {
        let pins = self.pins.as_ref();
        pins.map_or(0, |pins| pins.entries.weight())
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.machine.stats();
        if let Some(pins) = &self.pins {
            stats += pins.entries.stats();
        }
        stats
    }

    pub(crate) fn counts(&mut self) -> &mut Stats {
        self.machine.counts()
    }

    /// Whether an entry ever had to make room.
    pub(crate) fn has_evicted(&self) -> bool {
        self.machine.has_evicted()
    }

    /// Goes by another arm from here on. A list has none.
    pub(crate) fn set_arm(&mut self, arm: Arm) {
        self.machine.set_arm(arm);
    }

    /// Takes note of the time, and works a little on what has expired.
    #[inline]
    pub(crate) fn observe(&mut self, now: Tick, gone: &mut Evicted<K, V>) {
        self.machine.observe(now, gone);
        if let Some(pins) = &mut self.pins {
            pins.entries.observe(now, gone);
            self.settle();
        }
    }

    /// Takes expired entries out, with at most `budget` units of work on those that are pinned and as many on the others.
    /// Returns whether none is left that had expired a tick ago.
    pub(crate) fn sweep(&mut self, budget: usize, gone: &mut Evicted<K, V>) -> bool {
        let mut done = self.machine.sweep(budget, gone);
        if let Some(pins) = &mut self.pins {
            done &= pins.entries.sweep(budget, gone);
            self.settle();
        }
        done
    }

    /// Looks an entry up as [`lookup`](Engine::lookup) does, and in one go, if nothing has expired that is in the way;
    /// otherwise `None`, and nothing has changed but the time. Who is pinned is not found.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn get_at_once<Q>(&mut self, hash: u64, key: &Q, now: Tick) -> Option<Glance<'_, V>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.machine.get_at_once(hash, key, now)
    }

    /// The table of entries, if it is of the usual kind.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn table(&mut self) -> Option<&mut Sets<K, V>> {
        self.machine.table()
    }

    /// After [`get_at_once`](Engine::get_at_once) has found nothing: whether there is another place to look, and then the miss
    /// is not counted.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn has_more_to_look_at(&mut self) -> bool {
        let has = self.pins.is_some();
        if has {
            self.machine.uncount_miss();
        }
        has
    }

    /// Stores an entry that weighs one and lives for ever as [`put`](Engine::put) does, and in one go, where nothing is in
    /// the way; otherwise it is given back, and nothing has changed. Only the keys' `Eq` can panic, and before anything
    /// has changed.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn put_at_once(&mut self, hash: u64, key: K, value: V) -> Exchange<K, V>
    where
        K: Eq,
    {
        if self.pins.is_some() {
            return Exchange::None(key, value);
        }
        self.machine.put_at_once(hash, key, value)
    }

    /// The place of a key's entry. It changes nothing.
    #[inline]
    pub(crate) fn find<Q>(&self, hash: u64, key: &Q) -> Option<Place>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let found = self.machine.find(hash, key);
        match &self.pins {
            Some(pins) if found.is_none() => {
                let at = pins.entries.find(hash, key)?;
                Some(Place { set: PINNED, at })
            }
            _ => found,
        }
    }

    /// Looks an entry up: counts, takes note of the use, and prolongs its life.
    #[inline]
    pub(crate) fn lookup(&mut self, found: Option<Place>, gone: &mut Evicted<K, V>) -> Option<&V> {
        match (found, &mut self.pins) {
            (Some(Place { set: PINNED, at }), Some(pins)) => pins.entries.lookup(Some(at), gone),
            _ => self.machine.lookup(found, gone),
        }
    }

    /// [`lookup`](Engine::lookup) that does not count, for a caller who looks a second time before loading.
    #[cfg(feature = "std")]
    pub(crate) fn lookup_again(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<&V> {
        match (found, &mut self.pins) {
            (Some(Place { set: PINNED, at }), Some(pins)) => {
                pins.entries.lookup_again(Some(at), gone)
            }
            _ => self.machine.lookup_again(found, gone),
        }
    }

    /// The value in the place that was found, though it is over. It counts as found, and keeps its place and its time.
    #[cfg(feature = "std")]
    pub(crate) fn lookup_stale(&mut self, found: Option<Place>) -> Option<&V> {
        match (found, &mut self.pins) {
            (Some(Place { set: PINNED, at }), Some(pins)) => pins.entries.lookup_stale(Some(at)),
            _ => self.machine.lookup_stale(found),
        }
    }

    /// The value in the place that was found, over or not, and how long it has been or will be. It changes nothing.
    pub(crate) fn inspect(&self, found: Option<Place>) -> Option<(&V, Standing)> {
        match (found, &self.pins) {
            (Some(Place { set: PINNED, at }), Some(pins)) => pins.entries.inspect(Some(at)),
            _ => self.machine.inspect(found),
        }
    }

    /// The value in the place that was found, left where it is in every respect, unless it is over at `now`.
    pub(crate) fn peek(&self, found: Option<Place>, now: Tick) -> Option<&V> {
        match (found, &self.pins) {
            (Some(Place { set: PINNED, at }), Some(pins)) => pins.entries.peek(Some(at), now),
            _ => self.machine.peek(found, now),
        }
    }

    /// Stores an entry in the place found for its key, or a new one. The bound holds when this returns. One that is pinned
    /// stays pinned.
    #[inline]
    pub(crate) fn put(
        &mut self,
        found: Option<Place>,
        fresh: Fresh<K, V>,
        gone: &mut Evicted<K, V>,
    ) -> Outcome<K, V> {
        if fresh.terms.is_pinned() || found.is_some_and(Place::is_pinned) {
            return self.put_by_pins(found, fresh, gone);
        }
        let weight = fresh.weight;
        let outcome = self.machine.put(found, fresh, gone);
        if self.pins.is_some() {
            return self.explained(outcome, weight);
        }
        outcome
    }

    /// Takes out the entry in the place that was found.
    pub(crate) fn take(
        &mut self,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> Option<(K, V)> {
        match (found, &mut self.pins) {
            (Some(Place { set: PINNED, at }), Some(pins)) => {
                let taken = pins.entries.take(Some(at), gone);
                self.settle();
                taken
            }
            _ => self.machine.take(found, gone),
        }
    }

    /// Takes out the entry that is next to leave and neither over nor pinned.
    pub(crate) fn take_oldest(&mut self, gone: &mut Evicted<K, V>) -> Option<(K, V)> {
        self.machine.take_oldest(gone)
    }

    /// Pins the entry in the place that was found, which has this hash. Returns whether there is one.
    pub(crate) fn pin(
        &mut self,
        hash: u64,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> bool {
        if let (Some(Place { set: PINNED, at }), Some(pins)) = (found, &mut self.pins) {
            let is_there = pins.entries.lives(at, gone);
            self.settle();
            return is_there;
        }
        self.machine.has_more();
        let Some(stored) = self.machine.extract(found, gone) else {
            return false;
        };
        let weight = stored.weight;
        let ceded = self.machine.cede(weight, gone);
        debug_assert!(ceded, "it was in the machine's room");
        let pins = self.pins();
        pins.held += weight;
        pins.entries.adopt(hash, stored, gone);
        true
    }

    /// The opposite: the entry is one like others, as if it had just been stored. Returns whether it was pinned.
    pub(crate) fn unpin(
        &mut self,
        hash: u64,
        found: Option<Place>,
        gone: &mut Evicted<K, V>,
    ) -> bool {
        let (Some(Place { set: PINNED, at }), Some(pins)) = (found, &mut self.pins) else {
            return false;
        };
        let stored = pins.entries.extract(Some(at), gone);
        self.settle();
        let Some(stored) = stored else {
            return false;
        };
        self.machine.adopt(hash, stored, gone);
        true
    }

    /// Has so much more room.
    pub(crate) fn raise(&mut self, by: usize) {
        self.machine.raise(by);
    }

    /// Has so much less room, and evicts for it; or returns false, and has not that much that is not pinned.
    #[must_use]
    pub(crate) fn cede(&mut self, by: usize, gone: &mut Evicted<K, V>) -> bool {
        self.machine.cede(by, gone)
    }

    /// So much room is given up at once: what is not used, and what a few hundred entries take.
    #[cfg(feature = "std")]
    pub(crate) fn step(&self) -> usize {
        let (len, weight) = (self.machine.len(), self.machine.weight());
        let unused = self.machine.limit() - weight;
        unused.saturating_add(STEP.saturating_mul((weight / len.max(1)).max(1)))
    }

    /// What of the room is not pinned.
    pub(crate) fn unpinned(&mut self) -> usize {
        self.settle();
        self.machine.limit()
    }

    /// Prepares for so much room, which it has or will have.
    pub(crate) fn plan(&mut self, limit: usize) {
        self.machine.plan(limit);
    }

    /// Keeps the entries of which `keep` is true, as long as it does not panic, and gives the others to `leave`, which
    /// does not panic either.
    pub(crate) fn retain(
        &mut self,
        now: Tick,
        mut keep: impl FnMut(&K, &V) -> bool,
        mut leave: impl FnMut(K, V),
    ) {
        self.machine.retain(now, &mut keep, &mut leave);
        if let Some(pins) = &mut self.pins {
            pins.entries.retain(now, keep, leave);
            self.settle();
        }
    }

    /// Takes everything out, to be dropped by the caller.
    #[must_use = "entries are dropped where the caller chooses"]
    pub(crate) fn clear(&mut self) -> Cleared<K, V> {
        let pinned = self.pins.as_mut().map(|pins| pins.entries.clear());
        self.settle();
        Cleared {
            entries: self.machine.clear(),
            pinned,
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
        let next = match from.checked_sub(PINS_FROM) {
            None => self.machine.walk(from, kind, now, most, each),
            Some(from) => {
                let pins = self.pins.as_ref()?;
                let next = pins.entries.walk(from, kind, now, most, each)?;
                return Some(PINS_FROM + next);
            }
        };
        next.or_else(|| self.pins.as_ref().map(|_| PINS_FROM))
    }

    /// All entries that are not over: those that are pinned come last.
    pub(crate) fn iter(&self, now: Tick) -> Iter<'_, K, V> {
        Iter {
            entries: self.machine.iter(now),
            pinned: self.pins.as_ref().map(|pins| pins.entries.iter_living(now)),
        }
    }

    /// [`put`](Engine::put), where an entry is to be pinned or one of its key was.
    #[cold]
    fn put_by_pins(
        &mut self,
        found: Option<Place>,
        fresh: Fresh<K, V>,
        gone: &mut Evicted<K, V>,
    ) -> Outcome<K, V> {
        if let (Some(Place { set: PINNED, at }), Some(pins)) = (found, &self.pins) {
            if pins.entries.is_spent(at) && !fresh.terms.is_pinned() {
                // It was pinned until its time was over.
                let none = self.take(found, gone);
                debug_assert!(none.is_none());
                return self.put(None, fresh, gone);
            }
        }
        self.put_pinned(found, fresh, gone)
    }

    fn put_pinned(
        &mut self,
        found: Option<Place>,
        fresh: Fresh<K, V>,
        gone: &mut Evicted<K, V>,
    ) -> Outcome<K, V> {
        self.machine.has_more();
        // It leaves whatever becomes of the other, for it is out of date.
        let previous = self.take(found, gone);
        let weight = fresh.weight;
        let refusal = if self.ends_at_once(fresh.terms) {
            Some(Refusal::NoTime)
        } else if self.limit() > 0 && self.machine.cede(weight, gone) {
            None
        } else {
            Some(self.refusal_of(weight))
        };
        if let Some(why) = refusal {
            self.counts().rejections += 1;
            return Outcome::Rejected {
                key: fresh.key,
                value: fresh.value,
                previous,
                why,
            };
        }
        let pins = self.pins();
        pins.held += weight;
        let outcome = pins.entries.put(None, fresh, gone);
        self.settle();
        match (outcome, previous) {
            (Outcome::New, Some((key, value))) => {
                // Counted as removed when it was taken.
                self.uncount_removal(found);
                Outcome::Replaced { key, value }
            }
            (
                Outcome::Rejected {
                    key, value, why, ..
                },
                previous,
            ) => Outcome::Rejected {
                key,
                value,
                previous,
                why,
            },
            (outcome, _) => outcome,
        }
    }

    /// Whether an entry on these terms is over as it begins, whatever chance there is in it.
    fn ends_at_once(&self, terms: Terms) -> bool {
        let usual = self.machine.lifetimes();
        let lasts = [terms.lasts().or(usual.to_live), usual.to_idle];
        lasts.contains(&Some(Duration::ZERO))
    }

    /// Why something so heavy did not fit.
    fn refusal_of(&self, weight: usize) -> Refusal {
        if weight <= self.limit() && self.pinned() > 0 {
            Refusal::Pinned
        } else {
            Refusal::TooHeavy
        }
    }

    fn uncount_removal(&mut self, found: Option<Place>) {
        match &mut self.pins {
            Some(pins) if found.is_some_and(Place::is_pinned) => {
                pins.entries.counts().removals -= 1;
            }
            _ => self.machine.counts().removals -= 1,
        }
    }

    /// Says of an entry that is no heavier than may be stored that it was refused because of the pinned.
    #[cold]
    fn explained(&self, outcome: Outcome<K, V>, weight: usize) -> Outcome<K, V> {
        match outcome {
            Outcome::Rejected {
                key,
                value,
                previous,
                why: Refusal::TooHeavy,
            } => Outcome::Rejected {
                key,
                value,
                previous,
                why: self.refusal_of(weight),
            },
            other => other,
        }
    }

    fn pins(&mut self) -> &mut Pins<K, V> {
        let machine = &self.machine;
        self.pins.get_or_insert_with(|| {
            let mut entries = Lru::new(usize::MAX, machine.lifetimes(), 0);
            entries.observe(machine.latest(), &mut Evicted::none());
            Box::new(Pins { entries, held: 0 })
        })
    }

    /// Gives the machine back what is held for those that have left. The next call that looks at the time does, where one has
    /// not.
    fn settle(&mut self) {
        if let Some(pins) = &mut self.pins {
            let freed = pins.held - pins.entries.weight();
            if freed > 0 {
                pins.held -= freed;
                self.machine.raise(freed);
            }
        }
    }
}

#[cfg(feature = "std")]
/// Entries evicted at once, under one lock, for a cache that becomes smaller.
const STEP: usize = 256;

/// Where the pinned begin in a walk: the machine has no place so far out.
#[cfg(feature = "std")]
const PINS_FROM: u64 = 1 << 62;

/// What an [`Engine`] held when it was cleared.
#[derive(Debug)]
pub(crate) struct Cleared<K, V> {
    entries: machine::Cleared<K, V>,
    pinned: Option<lru::Cleared<K, V>>,
}

impl<K, V> Cleared<K, V> {
    /// Shows each entry.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&K, &V)) {
        self.entries.for_each(&mut each);
        if let Some(pinned) = &self.pinned {
            pinned.for_each(each);
        }
    }
}

/// The entries of an [`Engine`].
pub(crate) struct Iter<'a, K, V> {
    entries: machine::Iter<'a, K, V>,
    pinned: Option<lru::Iter<'a, K, V>>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        let next = self.entries.next();
        next.or_else(|| self.pinned.as_mut()?.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let pinned = self
            .pinned
            .as_ref()
            .map_or(Some(0), |pinned| pinned.size_hint().1);
        let most = self.entries.size_hint().1;
        (0, most.zip(pinned).map(|(most, pinned)| most + pinned))
    }
}
