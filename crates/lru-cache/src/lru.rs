//! Exact least-recently-used order, as a state machine without locks, waiting or a clock of its own.
//!
//! One of the two kinds of [`Engine`](crate::engine::Engine). User code, namely the `Eq` of keys, runs in [`Lru::find`] and nowhere else, and what leaves is handed
//! to the caller and never dropped here. So a call is: observe the time, find the slot, and then one of the calls
//! that take what was found and cannot panic half-way.

mod slots;
#[cfg(feature = "serde")]
mod survey;
mod timers;
mod walk;

use equivalent::Equivalent;
use hashbrown::HashTable;
use purlin_core::Tick;
use purlin_timer_wheel::TimerId;

use self::slots::Slots;
use self::timers::Timers;
pub(crate) use self::walk::Iter;
use crate::engine::{Fresh, Moving, SWEEP_BUDGET};
use crate::expiry::{Expiry, Life, Lifetimes, Standing};
use crate::insertion::{Cause, Evicted, Eviction, Outcome, Refusal};
use crate::stats::Stats;

/// Entries in the order of their last use, with a hard bound on their weight.
///
/// 1. `weight` is the sum of the entries' weights and at most `limit`, whenever no method is running.
/// 2. `index` holds exactly the numbers of the used slots, each under its entry's hash.
/// 3. An entry has a timer in `timers` exactly if it has a deadline, and the timer names its slot.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    index: HashTable<u32>,
    slots: Slots<Entry<K, V>>,
    weight: usize,
    limit: usize,
    expiry: Expiry,
    timers: Timers,
    /// But for the entries and their weight.
    counts: Stats,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    /// Kept so that the table can grow, and an entry be unlisted, without calling the key's `Hash` or `Eq`.
    hash: u64,
    weight: usize,
    life: Life,
    /// It may be set to an earlier tick than the entry has to live until now.
    timer: Option<TimerId>,
}

impl<K, V> Lru<K, V> {
    pub(crate) fn new(limit: usize, lifetimes: Lifetimes, seed: u64) -> Self {
        Lru {
            index: HashTable::new(),
            slots: Slots::new(),
            weight: 0,
            limit,
            expiry: Expiry::new(lifetimes, seed),
            timers: Timers::new(),
            counts: Stats::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            entries: self.len(),
            weight: self.weight,
            ..self.counts
        }
    }

    /// What the callers count.
    pub(crate) fn counts(&mut self) -> &mut Stats {
        &mut self.counts
    }

    pub(crate) fn has_evicted(&self) -> bool {
        self.counts.evictions > 0
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes note of the time, and works a little on what has expired.
    #[inline]
    pub(crate) fn observe(&mut self, now: Tick, gone: &mut Evicted<K, V>) {
        self.expiry.observe(now);
        if self.expiry.is_behind() {
            self.sweep(SWEEP_BUDGET, gone);
        }
    }

    /// Takes expired entries out, with at most `budget` units of work. Returns whether none is left that had
    /// expired a wheel's tick ago.
    pub(crate) fn sweep(&mut self, budget: usize, gone: &mut Evicted<K, V>) -> bool {
        let (due, done) = self.timers.sweep(budget, &mut self.expiry);
        for &at in &due {
            self.slots[at].timer = None;
            if self.expiry.is_spent(self.slots[at].life) {
                self.evict(at, gone);
            } else {
                // It was used since its timer was set.
                self.arm(at);
            }
        }
        self.timers.swept(due);
        done
    }

    /// The slot of a key. The only place where user code runs, and it changes nothing.
    #[inline]
    pub(crate) fn find<Q>(&self, hash: u64, key: &Q) -> Option<u32>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let is_it = |&at: &u32| {
            let entry = &self.slots[at];
            entry.hash == hash && key.equivalent(&entry.key)
        };
        self.index.find(hash, is_it).copied()
    }

    /// Looks an entry up: counts, makes it the newest, and prolongs its life.
    #[inline]
    pub(crate) fn lookup(&mut self, found: Option<u32>, gone: &mut Evicted<K, V>) -> Option<&V> {
        let Some(at) = self.usable(found, gone) else {
            self.counts.misses += 1;
            return None;
        };
        self.counts.hits += 1;
        Some(self.refresh(at))
    }

    /// [`lookup`](Lru::lookup) that does not count, for a caller who looks a second time before loading.
    #[cfg(feature = "std")]
    pub(crate) fn lookup_again(
        &mut self,
        found: Option<u32>,
        gone: &mut Evicted<K, V>,
    ) -> Option<&V> {
        let at = self.usable(found, gone)?;
        Some(self.refresh(at))
    }

    /// The value in the slot that was found, though it is over. It counts as found, and keeps its place and its time.
    #[cfg(feature = "std")]
    pub(crate) fn lookup_stale(&mut self, found: Option<u32>) -> Option<&V> {
        let at = found?;
        self.counts.hits += 1;
        Some(&self.slots[at].value)
    }

    /// The value in the slot that was found, over or not, and how long it has been or will be.
    pub(crate) fn inspect(&self, found: Option<u32>) -> Option<(&V, Standing)> {
        let entry = &self.slots[found?];
        Some((&entry.value, self.expiry.standing(entry.life)?))
    }

    /// The value in the slot that was found, left where it is in every respect, unless it is over at `now`.
    pub(crate) fn peek(&self, found: Option<u32>, now: Tick) -> Option<&V> {
        Some(&self.entry_at(found?, now)?.value)
    }

    /// Stores an entry in the slot found for its key, or a new one. Room is made first, so the bound holds
    /// throughout.
    pub(crate) fn put(
        &mut self,
        found: Option<u32>,
        fresh: Fresh<K, V>,
        gone: &mut Evicted<K, V>,
    ) -> Outcome<K, V> {
        let found = self.living(found, gone);
        let life = self.expiry.begin(fresh.terms);
        if self.limit == 0 || fresh.weight > self.limit || self.expiry.is_over(life) {
            self.counts.rejections += 1;
            return Outcome::Rejected {
                key: fresh.key,
                value: fresh.value,
                previous: found.map(|at| self.remove(at)),
                why: if self.expiry.is_invalid(life) {
                    Refusal::Invalidated
                } else if self.expiry.is_over(life) {
                    Refusal::NoTime
                } else {
                    Refusal::TooHeavy
                },
            };
        }

        self.counts.insertions += 1;
        let entry = Entry {
            key: fresh.key,
            value: fresh.value,
            hash: fresh.hash,
            weight: fresh.weight,
            life,
            timer: None,
        };
        match found {
            Some(at) => {
                let before = self.replace(at, entry, gone);
                Outcome::Replaced {
                    key: before.key,
                    value: before.value,
                }
            }
            None => {
                self.add(entry, gone);
                Outcome::New
            }
        }
    }

    /// Takes out the entry in the slot that was found.
    pub(crate) fn take(&mut self, found: Option<u32>, gone: &mut Evicted<K, V>) -> Option<(K, V)> {
        let at = self.living(found, gone)?;
        Some(self.remove(at))
    }

    /// Whether the entry in a slot is not over; if it is, it leaves.
    pub(crate) fn lives(&mut self, at: u32, gone: &mut Evicted<K, V>) -> bool {
        self.living(Some(at), gone).is_some()
    }

    /// Whether the entry in a slot is over, and for so long that nobody may ask for its value any more.
    pub(crate) fn is_spent(&self, at: u32) -> bool {
        self.expiry.is_spent(self.slots[at].life)
    }

    /// Takes out the entry in the slot that was found, without counting it, unless it is over.
    pub(crate) fn extract(
        &mut self,
        found: Option<u32>,
        gone: &mut Evicted<K, V>,
    ) -> Option<Moving<K, V>> {
        let at = self.living(found, gone)?;
        let Entry {
            key,
            value,
            weight,
            life,
            ..
        } = self.unlist(at);
        Some(Moving {
            key,
            value,
            weight,
            life,
        })
    }

    /// Stores what was taken out elsewhere, as the newest, and without counting it.
    pub(crate) fn adopt(&mut self, hash: u64, stored: Moving<K, V>, gone: &mut Evicted<K, V>) {
        let Moving {
            key,
            value,
            weight,
            life,
        } = stored;
        let entry = Entry {
            key,
            value,
            hash,
            weight,
            life,
            timer: None,
        };
        self.add(entry, gone);
    }

    pub(crate) fn latest(&self) -> Tick {
        self.expiry.latest()
    }

    pub(crate) fn lifetimes(&self) -> Lifetimes {
        self.expiry.lifetimes()
    }

    /// Has so much more room.
    pub(crate) fn raise(&mut self, by: usize) {
        self.limit = self.limit.saturating_add(by);
    }

    /// Has so much less room, and evicts for it; or returns false, and has not that much.
    pub(crate) fn cede(&mut self, by: usize, gone: &mut Evicted<K, V>) -> bool {
        if by > self.limit {
            return false;
        }
        self.make_room(by, gone);
        self.limit -= by;
        true
    }

    /// Takes out the oldest entry that is not over.
    pub(crate) fn take_oldest(&mut self, gone: &mut Evicted<K, V>) -> Option<(K, V)> {
        while let Some(at) = self.slots.oldest() {
            if let Some(pair) = self.take(Some(at), gone) {
                return Some(pair);
            }
        }
        None
    }

    /// Takes everything out, to be dropped by the caller.
    #[must_use = "entries are dropped where the caller chooses"]
    pub(crate) fn clear(&mut self) -> Cleared<K, V> {
        self.counts.removals += self.len() as u64;
        self.weight = 0;
        self.expiry.clear();
        self.timers.clear();
        Cleared {
            slots: core::mem::replace(&mut self.slots, Slots::new()),
            _index: core::mem::take(&mut self.index),
        }
    }

    /// The slot, unless its entry is over; then that leaves.
    #[inline]
    fn living(&mut self, found: Option<u32>, gone: &mut Evicted<K, V>) -> Option<u32> {
        let at = found?;
        if self.expiry.is_over(self.slots[at].life) {
            self.evict(at, gone);
            return None;
        }
        Some(at)
    }

    /// The slot, unless its entry is over; then that stays for as long as somebody may ask for it still.
    #[inline]
    fn usable(&mut self, found: Option<u32>, gone: &mut Evicted<K, V>) -> Option<u32> {
        let at = found?;
        let life = self.slots[at].life;
        if self.expiry.is_over(life) {
            if self.expiry.is_spent(life) {
                self.evict(at, gone);
            }
            return None;
        }
        Some(at)
    }

    #[inline]
    fn refresh(&mut self, at: u32) -> &V {
        self.slots.touch(at);
        let entry = &mut self.slots[at];
        if let Some(idle_at) = self.expiry.idle_end() {
            entry.life.idle_at = idle_at;
        }
        &entry.value
    }

    fn add(&mut self, entry: Entry<K, V>, gone: &mut Evicted<K, V>) {
        self.make_room(entry.weight, gone);
        if self.slots.len() == Slots::<Entry<K, V>>::MAX {
            self.evict_oldest(gone);
        }
        self.weight += entry.weight;
        let hash = entry.hash;
        let at = self.slots.push(entry);
        self.arm(at);
        let slots = &self.slots;
        self.index.insert_unique(hash, at, |&at| slots[at].hash);
    }

    fn replace(&mut self, at: u32, entry: Entry<K, V>, gone: &mut Evicted<K, V>) -> Entry<K, V> {
        self.slots.touch(at);
        let weight = entry.weight;
        let mut before = core::mem::replace(&mut self.slots[at], entry);
        self.slots[at].timer = before.timer.take();
        self.arm(at);
        // Counted in only once there is room. That comes before this entry's turn to leave: it is the newest, and
        // alone it fits.
        self.weight -= before.weight;
        self.make_room(weight, gone);
        self.weight += weight;
        before
    }

    /// Evicts the oldest until `weight` more fits, which the caller has made sure it can.
    fn make_room(&mut self, weight: usize, gone: &mut Evicted<K, V>) {
        while weight > self.limit - self.weight {
            self.evict_oldest(gone);
        }
    }

    fn evict_oldest(&mut self, gone: &mut Evicted<K, V>) {
        let at = self.slots.oldest().expect("what weighs is listed");
        self.evict(at, gone);
    }

    /// Takes an entry out because it is over, or else for the room.
    fn evict(&mut self, at: u32, gone: &mut Evicted<K, V>) {
        let cause = if self.expiry.is_invalid(self.slots[at].life) {
            self.counts.removals += 1;
            Cause::Invalidated
        } else if self.expiry.is_over(self.slots[at].life) {
            self.counts.expirations += 1;
            Cause::Expired
        } else {
            self.counts.evictions += 1;
            Cause::Capacity
        };
        let Entry { key, value, .. } = self.unlist(at);
        gone.push(Eviction { key, value, cause });
    }

    /// Takes an entry out because somebody asked for it.
    fn remove(&mut self, at: u32) -> (K, V) {
        self.counts.removals += 1;
        let Entry { key, value, .. } = self.unlist(at);
        (key, value)
    }

    fn unlist(&mut self, at: u32) -> Entry<K, V> {
        let mut entry = self.slots.take(at);
        if let Ok(listed) = self.index.find_entry(entry.hash, |&listed| listed == at) {
            listed.remove();
        }
        self.weight -= entry.weight;
        self.timers.disarm(&mut entry.timer);
        entry
    }

    /// Sets the timer of an entry, if it has a deadline.
    fn arm(&mut self, at: u32) {
        let Entry { life, timer, .. } = &mut self.slots[at];
        self.timers.arm(at, *life, timer, &mut self.expiry);
    }
}

/// What an [`Lru`] held when it was cleared.
#[derive(Debug)]
pub(crate) struct Cleared<K, V> {
    slots: Slots<Entry<K, V>>,
    /// Its memory is freed after the lock, too.
    _index: HashTable<u32>,
}

impl<K, V> Cleared<K, V> {
    pub(crate) fn for_each(&self, mut each: impl FnMut(&K, &V)) {
        for (_, entry) in self.slots.iter() {
            each(&entry.key, &entry.value);
        }
    }
}

#[cfg(test)]
mod tests;
