//! One part of the table, with the deadlines of what is in it.

use core::mem::replace;
use core::time::Duration;

use purlin_core::{Rng, Tick};
use purlin_timer_wheel::{TimerId, Wheel};

use super::Books;
use super::slot::{Slot, State, Superseded};
use super::table::{Digest, Table};
use crate::id::SessionKey;
use crate::store::Swept;

pub(super) struct Shard {
    table: Table,
    /// One timer a slot, in seconds. It may be earlier than the slot's next change, since using a session
    /// does not move it; it is set again when it fires. It is later by less than a second.
    wheel: Wheel<Timer>,
    /// The timers of the live sessions that are nobody's, in no order: one of them can be picked at random.
    strangers: Vec<TimerId>,
    rng: Rng,
    /// The latest tick seen. A clock that steps back is held here, so that nothing expired is seen alive
    /// again.
    latest: Tick,
    pub(super) counts: Counts,
}

/// A slot's timer. It has no room for the whole key.
pub(super) struct Timer {
    digest: Digest,
    /// Where it is among the strangers.
    stranger: u32,
}

impl Timer {
    /// It is not among the strangers.
    const NO_STRANGER: u32 = u32::MAX;

    fn of_no_stranger(key: &SessionKey) -> Self {
        Timer {
            digest: Digest::of(key),
            stranger: Timer::NO_STRANGER,
        }
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) created: u64,
    pub(super) committed: u64,
    pub(super) conflicts: u64,
    pub(super) rotated: u64,
    pub(super) deleted: u64,
    pub(super) expired: u64,
    pub(super) evicted: u64,
}

impl Shard {
    pub(super) fn new(now: Tick) -> Self {
        Shard {
            table: Table::default(),
            wheel: Wheel::new(second_before(now)),
            strangers: Vec::new(),
            // Whoever knew what it picks could keep a session of theirs alive a little longer, at best.
            rng: Rng::from_seed(now.as_nanos()),
            latest: now,
            counts: Counts::default(),
        }
    }

    /// The present tick, given what the clock says.
    pub(super) fn observe(&mut self, now: Tick) -> Tick {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// The slot of a key, unless it is as good as empty.
    pub(super) fn find(&mut self, key: &SessionKey, now: Tick) -> Option<&mut Slot> {
        self.table.get_mut(key).filter(|slot| now < slot.until)
    }

    /// Fills a slot that `find` does not find. Its room has been reserved.
    pub(super) fn insert(&mut self, key: SessionKey, state: State, until: Tick, books: &Books) {
        let is_stranger = state.is_strangers();
        let timer = self
            .wheel
            .insert(second_after(until), Timer::of_no_stranger(&key));
        if is_stranger {
            self.add_stranger(timer);
        }
        if let Some(expired) = self.table.insert(
            key,
            Slot {
                state,
                until,
                timer,
            },
        ) {
            self.cancel(expired.timer);
            self.account_for(&key, &expired, books);
        }
    }

    /// Ends a session that is nobody's, and says whether there was one. Of a few at random it is the one that
    /// would have ended first, so whoever makes many such sessions loses most.
    pub(super) fn evict_stranger(&mut self, spared: &SessionKey, books: &Books) -> bool {
        let mut first: Option<(Tick, SessionKey)> = None;
        if self.strangers.is_empty() {
            return false;
        }
        for _ in 0..STRANGERS_SEEN {
            let timer = self.strangers[self.rng.below(self.strangers.len() as u64) as usize];
            let digest = self.wheel.get(timer).map(|timer| timer.digest);
            let key = digest.and_then(|digest| self.table.find(digest, |slot| slot.timer == timer));
            let seen = key.and_then(|key| Some((self.table.get(&key)?.until, key)));
            let seen = seen.filter(|(_, key)| key != spared);
            first = match (first, seen) {
                (Some(first), Some(seen)) => Some(first.min(seen)),
                (first, seen) => first.or(seen),
            };
        }
        let Some(slot) = first.and_then(|(_, key)| self.table.remove(&key)) else {
            return false;
        };
        self.cancel(slot.timer);
        books.usage.release(1, slot.state.cost());
        self.counts.evicted += 1;
        true
    }

    /// Notes that the live session of a slot is no more, or somebody's.
    pub(super) fn forget_stranger(&mut self, key: &SessionKey) {
        let Some(slot) = self.table.get(key) else {
            return;
        };
        if let Some(timer) = self.wheel.get_mut(slot.timer) {
            let idx = replace(&mut timer.stranger, Timer::NO_STRANGER);
            self.remove_stranger(idx);
        }
    }

    fn add_stranger(&mut self, id: TimerId) {
        // A wheel has fewer timers than that.
        let Ok(idx) = u32::try_from(self.strangers.len()) else {
            return;
        };
        if let Some(timer) = self.wheel.get_mut(id) {
            timer.stranger = idx;
            self.strangers.push(id);
        }
    }

    fn remove_stranger(&mut self, idx: u32) {
        if idx == Timer::NO_STRANGER {
            return;
        }
        self.strangers.swap_remove(idx as usize);
        if let Some(moved) = self.strangers.get(idx as usize) {
            if let Some(timer) = self.wheel.get_mut(*moved) {
                timer.stranger = idx;
            }
        }
    }

    fn cancel(&mut self, timer: TimerId) {
        if let Some(timer) = self.wheel.cancel(timer) {
            self.remove_stranger(timer.stranger);
        }
    }

    /// Frees the slot of a key if it is as good as empty. Whether it was.
    pub(super) fn free_expired(&mut self, key: &SessionKey, now: Tick, books: &Books) -> bool {
        if self.table.get(key).is_none_or(|slot| now < slot.until) {
            return false;
        }
        if let Some(slot) = self.table.remove(key) {
            self.cancel(slot.timer);
            self.account_for(key, &slot, books);
        }
        true
    }

    /// Turns a live session into one that was rotated away. The room for it has been reserved.
    pub(super) fn supersede(
        &mut self,
        key: &SessionKey,
        by: SessionKey,
        now: Tick,
        grace: Duration,
        retention: Duration,
    ) {
        let Some(slot) = self.table.get_mut(key) else {
            return;
        };
        let State::Live {
            payload,
            version,
            owner,
            ..
        } = &mut slot.state
        else {
            return;
        };
        // As a key is remembered for the same time after each rotation, the slots between this one and the
        // session's present one outlast it.
        let grace_until = now.after(grace.min(retention)).min(slot.until);
        let (payload, version, owner) = (core::mem::take(payload), *version, owner.take());
        slot.state = State::Superseded(Box::new(Superseded {
            payload,
            version,
            grace_until,
            by,
            owner,
        }));
        slot.until = now.after(retention);
        self.wheel.reschedule(slot.timer, second_after(grace_until));
        self.forget_stranger(key);
    }

    /// Brings a slot's timer forward, if the slot's next change is now earlier.
    pub(super) fn rearm(&mut self, key: &SessionKey) {
        let Some(slot) = self.table.get(key) else {
            return;
        };
        let due = second_after(slot.until);
        if self.wheel.deadline(slot.timer).is_some_and(|set| due < set) {
            self.wheel.reschedule(slot.timer, due);
        }
    }

    /// Frees what has expired, with at most `budget` units of work; and how many it took.
    pub(super) fn expire(&mut self, now: Tick, budget: usize, books: &Books) -> (Swept, usize) {
        let mut due = Vec::new();
        let advance = self
            .wheel
            .advance(second_before(now), budget, |timer| due.push(timer));
        // From the highest place down, so that what is moved to a place that has become free has not fired.
        let mut places: Vec<u32> = due.iter().map(|timer| timer.stranger).collect();
        places.sort_unstable_by(|a, b| b.cmp(a));
        places.into_iter().for_each(|idx| self.remove_stranger(idx));
        let mut removed = 0;
        for Timer { digest, .. } in due {
            // Should two slots share a digest, it is the one whose timer is gone.
            let wheel = &self.wheel;
            let fired = |slot: &Slot| wheel.get(slot.timer).is_none();
            let Some(key) = self.table.find(digest, fired) else {
                continue;
            };
            let Some(slot) = self.table.get_mut(&key) else {
                continue;
            };
            if now < slot.until {
                books.usage.release(0, slot.drop_outlived_payload(now));
                let is_stranger = slot.state.is_strangers();
                let timer = self
                    .wheel
                    .insert(second_after(slot.until), Timer::of_no_stranger(&key));
                slot.timer = timer;
                if is_stranger {
                    self.add_stranger(timer);
                }
            } else if let Some(slot) = self.table.remove(&key) {
                self.account_for(&key, &slot, books);
                removed += 1;
            }
        }
        (
            Swept {
                removed,
                caught_up: advance.caught_up,
            },
            advance.fired + advance.moved,
        )
    }

    /// Gives back what a slot that was removed took.
    fn account_for(&mut self, key: &SessionKey, slot: &Slot, books: &Books) {
        books.usage.release(1, slot.state.cost());
        if let State::Live { owner, .. } = &slot.state {
            self.counts.expired += 1;
            if let Some(user) = owner {
                books.users.remove(user, key);
            }
        }
    }
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.created += other.created;
        self.committed += other.committed;
        self.conflicts += other.conflicts;
        self.rotated += other.rotated;
        self.deleted += other.deleted;
        self.expired += other.expired;
        self.evicted += other.evicted;
    }
}

/// How many sessions that are nobody's are looked at to end one of them.
const STRANGERS_SEEN: usize = 5;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The first whole second at or after a tick: when the wheel looks at a deadline, which has passed by then.
fn second_after(tick: Tick) -> u64 {
    if tick == Tick::MAX {
        u64::MAX
    } else {
        tick.as_nanos().div_ceil(NANOS_PER_SECOND)
    }
}

/// The last whole second at or before a tick: what the wheel takes for now.
fn second_before(tick: Tick) -> u64 {
    tick.as_nanos() / NANOS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use purlin_core::{Clock, ManualClock};

    use super::*;
    use crate::memory::MemoryStore;
    use crate::store::Record;
    use crate::{Lifetime, SessionId, SessionStore, Slide, Version};

    fn key(number: u8) -> SessionKey {
        SessionId::from_secret_bytes([number; SessionId::LEN]).key()
    }

    fn run<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    fn create<C: Clock + Send + Sync>(store: &MemoryStore<C>, number: u8) {
        let lifetime = Lifetime::new(Duration::from_secs(60), Duration::MAX);
        let record = Record::new("x", lifetime);
        assert!(run(store.create(&key(number), record)).is_ok());
    }

    /// A slot has one timer and a timer has a slot, also when a slot is filled again before it was swept.
    #[test]
    fn slots_and_timers_are_as_many() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder()
            .clock(clock.clone())
            .shards(1)
            .build();
        for round in 0..20 {
            for number in 0..20 {
                create(&store, number);
                if number % 3 == round % 3 {
                    run(store.delete(&key(number))).unwrap();
                }
                let shard = store.shards[0].lock();
                assert_eq!(shard.table.len(), shard.wheel.len());
            }
            clock.advance(Duration::from_secs(60));
        }
    }

    /// The list of a user and the table say the same, whatever happens to the sessions.
    #[test]
    fn a_session_is_listed_exactly_while_its_slot_is_there() {
        use crate::user::{Cap, Owner, UserKey};
        let clock = ManualClock::new();
        let store = MemoryStore::builder().clock(clock.clone()).build();
        let mut rng = purlin_core::Rng::from_seed(7);
        for step in 0..3_000 {
            let [k, other] = [rng.below(40), rng.below(40)].map(|k| key(k as u8));
            let cap = rng.chance(0.5).then_some(Cap::evict_oldest(5));
            let owner = match rng.below(5) {
                0 => Owner::Unchanged,
                1 => Owner::Nobody,
                user => Owner::User {
                    user: UserKey::of(user.to_le_bytes()),
                    cap,
                },
            };
            let lifetime = Lifetime::new(Duration::from_secs(rng.below(400)), Duration::MAX);
            let record = Record::new("x", lifetime).with_owner(owner);
            let version = run(store.load(&k, Slide::No))
                .unwrap()
                .map_or(Version::FIRST, |entry| entry.version);
            match rng.below(4) {
                0 => drop(run(store.create(&k, record))),
                1 => drop(run(store.rotate(
                    &k,
                    &other,
                    version,
                    record,
                    Duration::ZERO,
                ))),
                2 => drop(run(store.delete(&k))),
                _ => clock.advance(Duration::from_secs(rng.below(60))),
            }
            let live_and_owned: usize = store
                .shards
                .iter()
                .map(|shard| {
                    let shard = shard.lock();
                    let owned = shard
                        .table
                        .values()
                        .filter(|slot| matches!(slot.state, State::Live { owner: Some(_), .. }));
                    owned.count()
                })
                .sum();
            for shard in &store.shards {
                let shard = shard.lock();
                let is_stranger = |slot: &&Slot| slot.state.is_strangers();
                let strangers = shard.table.values().filter(is_stranger).count();
                assert_eq!(shard.strangers.len(), strangers, "step {step}");
                for (idx, id) in shard.strangers.iter().enumerate() {
                    assert_eq!(
                        shard.wheel.get(*id).map(|timer| timer.stranger),
                        Some(idx as u32)
                    );
                }
            }
            let (sessions, users) = store.books.users.count();
            assert_eq!(sessions, live_and_owned, "step {step}");
            assert!(users <= sessions);
        }
    }

    /// A shard in which something always expires does not keep small budgets to itself.
    #[test]
    fn sweeps_begin_at_each_shard_in_turn() {
        let clock = ManualClock::new();
        let store = MemoryStore::builder()
            .clock(clock.clone())
            .shards(4)
            .build();
        (0..=255).for_each(|number| create(&store, number));
        let sizes = || [0, 1, 2, 3].map(|i: usize| store.shards[i].lock().table.len());
        let before = sizes();
        clock.advance(Duration::from_secs(61));
        for _ in 0..4 {
            run(store.sweep(8)).unwrap();
        }
        let after = sizes();
        assert!((0..4).all(|i| after[i] < before[i]), "{before:?} {after:?}");
    }
}
