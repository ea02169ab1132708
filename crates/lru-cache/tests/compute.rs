//! A new value from the one that is there: no update lost, time kept, user code without a lock, and the model.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use purlin_core::{ManualClock, MapHasher};
use purlin_lru_cache::{Cache, Computed, Decision, Due, Policy, Refusal, Terms, unsync};

use common::{Gate, block_on, poll, watched};

type Timed = Cache<u8, u32, MapHasher, ManualClock>;

const SECOND: Duration = Duration::from_secs(1);

fn timed(lives: Duration, policy: Policy) -> (Timed, ManualClock) {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .entry_limit(1_000)
        .policy(policy)
        .time_to_live(lives)
        .keep_stale(SECOND)
        .clock(clock.clone())
        .build();
    (cache, clock)
}

fn plus_one(seen: Option<&u32>) -> Decision<u32> {
    Decision::Put(seen.map_or(1, |value| value + 1))
}

#[test]
fn regress_c02_no_update_is_lost() {
    const EACH: u32 = if cfg!(miri) { 10 } else { 2_000 };
    watched(|| {
        let cache = Arc::new(Cache::<u8, u32>::new(10));
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let cache = Arc::clone(&cache);
                thread::spawn(move || {
                    for _ in 0..EACH {
                        match number {
                            0 => drop(cache.compute(&1, plus_one)),
                            1 => drop(block_on(
                                cache.compute_async(&1, async |seen| plus_one(seen.as_ref())),
                            )),
                            2 => drop(cache.incr(&1, 1)),
                            _ => {
                                // Nobody is there to update at first.
                                while cache.update(&1, |value| value + 1).is_none() {}
                            }
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(cache.get(&1), Some(4 * EACH));
    });
}

#[test]
fn a_decision_is_asked_again_if_the_key_was_written_to_and_only_then() {
    let cache: Cache<u8, u32> = Cache::new(10);
    for write in 0..7 {
        cache.insert(1, 10);
        let mut asked = 0;
        cache.compute(&1, |seen| {
            asked += 1;
            if asked == 1 {
                match write {
                    0 => drop(cache.insert(1, 20)),
                    1 => drop(cache.remove(&1)),
                    2 => cache.clear(),
                    3 => drop(cache.update(&1, |value| value + 1)),
                    4 => {
                        cache.remove(&1);
                        cache.get_or_load(&1, |_| 10);
                    }
                    5 => drop(cache.insert(2, 20)),
                    _ => drop(cache.get(&1)),
                }
            }
            plus_one(seen)
        });
        let (times, value) = [(2, 21), (2, 1), (2, 1), (2, 12), (2, 11), (1, 11), (1, 11)][write];
        assert_eq!((asked, cache.get(&1)), (times, Some(value)), "{write}");
    }
}

#[test]
fn a_decision_on_a_value_that_left_meanwhile_is_asked_again() {
    for policy in [Policy::Adaptive, Policy::Lru] {
        let (cache, clock) = timed(SECOND, policy);
        cache.insert(1, 10);
        let mut seen_values = Vec::new();
        cache.compute(&1, |seen| {
            seen_values.push(seen.copied());
            if seen_values.len() == 1 {
                clock.advance(SECOND);
            }
            plus_one(seen)
        });
        assert_eq!(seen_values, [Some(10), None], "its time was over");
    }
    let cache: Cache<u8, u32> = Cache::builder().entry_limit(1).policy(Policy::Lru).build();
    cache.insert(1, 10);
    let mut asked = 0;
    cache.compute(&1, |seen| {
        asked += 1;
        if asked == 1 {
            cache.insert(2, 0);
        }
        plus_one(seen)
    });
    assert_eq!((asked, cache.get(&1)), (2, Some(1)), "it had made room");
}

#[test]
fn each_decision_does_what_it_says_and_answers_with_what_was_there() {
    let (cache, clock) = timed(10 * SECOND, Policy::Adaptive);
    let is_kept = |done, value| matches!(done, Computed::Kept(kept) if kept == value);
    assert!(is_kept(cache.compute(&1, |_| Decision::Keep), None));
    assert!(matches!(
        cache.compute(&1, |_| Decision::Remove),
        Computed::Removed(None)
    ));
    let stored = cache.compute(&1, |seen| {
        assert_eq!(seen, None);
        Decision::Put(5)
    });
    assert!(matches!(&stored, Computed::Stored(inserted) if inserted.is_stored()));
    assert_eq!(stored.into_previous(), None);
    assert!(is_kept(cache.compute(&1, |_| Decision::Keep), Some(5)));

    // Half of its time, and the new value has the other half.
    clock.advance(5 * SECOND);
    let changed = cache.compute(&1, |_| Decision::Change(6));
    assert_eq!(changed.into_previous(), Some(5));
    clock.advance(5 * SECOND - Duration::from_nanos(1));
    assert_eq!(cache.get(&1), Some(6));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(cache.get(&1), None);

    // None was there, so its time begins.
    cache.compute(&1, |_| Decision::Change(7));
    clock.advance(9 * SECOND);
    cache.compute(&1, |_| Decision::PutFor(8, 2 * SECOND));
    clock.advance(SECOND);
    assert_eq!(cache.get(&1), Some(8));
    cache.compute(&1, |_| Decision::Put(9));
    clock.advance(9 * SECOND);
    let removed = cache.compute(&1, |_| Decision::Remove);
    assert!(matches!(removed, Computed::Removed(Some((1, 9)))));
    assert_eq!(cache.len(), 0);
}

/// Also a tag that is invalidated while the decision is made: the value was made from one that is out of date.
#[test]
fn a_decision_with_tags_leaves_with_them() {
    for policy in [Policy::Adaptive, Policy::Lru] {
        let (cache, _) = timed(SECOND, policy);
        let tagged = |value| Decision::PutOn(value, Terms::new().tag("a"));
        cache.compute(&1, |_| tagged(1));
        cache.compute(&2, |_| Decision::Put(2));
        cache.invalidate_tag("a");
        assert_eq!((cache.get(&1), cache.get(&2)), (None, Some(2)));
        let done = cache.compute(&1, |_| {
            cache.invalidate_tag("a");
            tagged(3)
        });
        let Computed::Stored(inserted) = done else {
            panic!("{done:?}");
        };
        let why = match inserted.outcome {
            purlin_lru_cache::Outcome::Rejected { why, .. } => Some(why),
            _ => None,
        };
        assert_eq!((why, cache.get(&1)), (Some(Refusal::Invalidated), None));

        let mut single = Cache::builder()
            .entry_limit(10)
            .policy(policy)
            .build_unsync();
        single.compute(&1, |_| tagged(1));
        assert_eq!(single.get(&1), Some(&1));
        single.invalidate_tag("a");
        assert_eq!(single.get(&1), None);
        let for_no_time = Terms::new().time_to_live(Duration::ZERO);
        single.compute(&1, |_| Decision::PutOn(2, for_no_time));
        assert_eq!(single.get(&1), None);
    }
}

#[test]
fn a_value_without_an_end_keeps_none() {
    let (cache, clock) = timed(SECOND, Policy::Adaptive);
    cache.insert_for(1, 10, Duration::MAX);
    assert_eq!(cache.update(&1, |value| value + 1), Some(11));
    assert_eq!(cache.incr(&1, 1), 12);
    clock.advance(Duration::from_secs(1 << 30));
    assert_eq!(cache.get(&1), Some(12));
}

#[test]
fn what_cannot_be_stored_is_given_back_and_what_it_was_to_replace_is_gone() {
    let cache: Cache<u8, u32> = Cache::builder()
        .weight_limit(10, |_, &value: &u32| value as usize)
        .build();
    cache.insert(1, 3);
    let Computed::Stored(inserted) = cache.compute(&1, |_| Decision::Put(11)) else {
        panic!("it was put")
    };
    assert_eq!(inserted.into_rejected(), Some((1, 11)));
    assert_eq!(cache.get(&1), None);
    cache.insert(1, 3);
    assert_eq!(cache.update(&1, |value| value + 8), None);
    assert_eq!(cache.len(), 0);
    assert_eq!((cache.incr(&1, 4), cache.incr(&1, 4)), (4, 8));
    assert_eq!(cache.weight(), 8);
    assert_eq!(cache.incr(&1, 4), 12, "counted, and not stored");
    assert_eq!(cache.len(), 0);

    let nothing: Cache<u8, u32> = Cache::new(0);
    assert_eq!((nothing.incr(&1, 1), nothing.incr(&1, 1)), (1, 1));
}

#[test]
fn counts_stop_at_the_ends_of_their_type() {
    let cache: Cache<u8, i8> = Cache::new(10);
    assert_eq!(cache.incr(&1, 100), 100);
    assert_eq!(cache.incr(&1, 100), i8::MAX);
    assert_eq!(cache.decr(&1, 127), 0);
    assert_eq!(cache.decr(&1, 100), -100);
    assert_eq!(cache.incr(&1, -100), i8::MIN);
    let cache: Cache<u8, u64> = Cache::new(10);
    assert_eq!(cache.decr(&1, 1), 0);
    assert_eq!(cache.incr(&1, u64::MAX), u64::MAX);
    assert_eq!(cache.incr(&1, 1), u64::MAX);
}

#[test]
fn a_count_lasts_from_its_first_on_and_begins_anew_after() {
    for policy in [Policy::Adaptive, Policy::Lru] {
        let (cache, clock) = timed(10 * SECOND, policy);
        for n in 1..=10 {
            assert_eq!(cache.incr(&1, 1), n);
            clock.advance(SECOND);
        }
        assert_eq!(cache.incr(&1, 1), 1);
        assert_eq!(cache.len(), 1, "in place of the one that was over");
        clock.advance(20 * SECOND);
        assert_eq!(cache.incr(&1, 1), 1);
        assert_eq!(cache.stats().load_waits, 0);
    }
}

#[test]
fn a_change_overtakes_the_loads_of_its_key() {
    let cache: Cache<u8, u32> = Cache::new(10);
    for counts in [false, true] {
        cache.clear();
        let gate = Gate::default();
        let mut loading = pin!(cache.get_or_load_async(&1, |_| async {
            gate.opened().await;
            10
        }));
        assert!(poll(loading.as_mut()).is_pending());
        if counts {
            cache.incr(&1, 1);
        } else {
            cache.compute(&1, plus_one);
        }
        gate.open();
        assert_eq!(poll(loading.as_mut()), Poll::Ready(10));
        assert_eq!(cache.get(&1), Some(1), "{counts}");
    }
}

/// The paragraph on cancel safety, and that a decision that is waited for is asked again.
#[test]
fn dropping_a_decision_changes_nothing() {
    let cache: Cache<u8, u32> = Cache::new(10);
    cache.insert(1, 10);
    let never = Gate::default();
    let mut deciding = Box::pin(cache.compute_async(&1, |_| async {
        never.opened().await;
        Decision::Remove
    }));
    assert!(poll(deciding.as_mut()).is_pending());
    drop(deciding);
    assert_eq!(cache.get(&1), Some(10));

    let gate = Gate::default();
    let mut deciding = pin!(cache.compute_async(&1, |seen| {
        let gate = gate.clone();
        async move {
            gate.opened().await;
            plus_one(seen.as_ref())
        }
    }));
    assert!(poll(deciding.as_mut()).is_pending());
    cache.insert(1, 20);
    gate.open();
    assert!(poll(deciding.as_mut()).is_ready());
    assert_eq!(cache.get(&1), Some(21));
}

#[test]
fn a_decision_that_panics_changes_nothing() {
    let cache: Cache<u8, u32> = Cache::new(10);
    cache.insert(1, 10);
    for update in [false, true] {
        let compute = AssertUnwindSafe(|| {
            if update {
                cache.update(&1, |_| panic!("on purpose"));
            } else {
                cache.compute(&1, |_| panic!("on purpose"));
            }
        });
        assert!(catch_unwind(compute).is_err());
        assert_eq!(cache.get(&1), Some(10));
        assert_eq!(cache.update(&1, |&value| value), Some(10));
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u8, u32),
    Remove(u8),
    Get(u8),
    Keep(u8),
    Put(u8, u32),
    PutFor(u8, u32, u64),
    Change(u8, u32),
    Take(u8),
    Update(u8, u32),
    Count(u8, u32, bool),
    Stale(u8),
    Advance(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0u8..4;
    let op = prop_oneof![
        1 => (key(), any::<u32>()).prop_map(|(key, value)| Op::Insert(key, value)),
        1 => key().prop_map(Op::Remove),
        1 => key().prop_map(Op::Get),
        1 => key().prop_map(Op::Keep),
        1 => (key(), any::<u32>()).prop_map(|(key, value)| Op::Put(key, value)),
        1 => (key(), any::<u32>(), 0u64..12)
            .prop_map(|(key, value, lasts)| Op::PutFor(key, value, lasts)),
        3 => (key(), any::<u32>()).prop_map(|(key, value)| Op::Change(key, value)),
        1 => key().prop_map(Op::Take),
        3 => (key(), any::<u32>()).prop_map(|(key, by)| Op::Update(key, by)),
        3 => (key(), any::<u32>(), any::<bool>()).prop_map(|(key, by, up)| Op::Count(key, by, up)),
        2 => key().prop_map(Op::Stale),
        4 => (0u64..6).prop_map(Op::Advance),
    ];
    vec(op, 1..100)
}

/// Seconds that the model's entries live, and are kept after that.
const LIVES: u64 = 5;
const KEPT: u64 = 3;

/// Values and the second in which each is over.
#[derive(Default)]
struct Naive {
    entries: HashMap<u8, (u32, u64)>,
    now: u64,
}

impl Naive {
    fn living(&self, key: u8) -> Option<(u32, u64)> {
        let entry = self.entries.get(&key).copied();
        entry.filter(|&(_, ends)| ends > self.now)
    }

    fn put(&mut self, key: u8, value: u32, ends: u64) {
        if ends > self.now {
            self.entries.insert(key, (value, ends));
        } else {
            self.entries.remove(&key);
        }
    }
}

proptest! {
    #[test]
    fn what_is_computed_agrees_with_a_map_of_values_and_their_ends(ops in ops(), exact in any::<bool>(), sweeps in any::<bool>(), weighs in any::<bool>()) {
        let clock = ManualClock::new();
        let policy = if exact { Policy::Lru } else { Policy::Adaptive };
        let builder = || {
            let builder = Cache::builder().policy(policy).time_to_live(LIVES as u32 * SECOND);
            builder.keep_stale(KEPT as u32 * SECOND).clock(clock.clone())
        };
        // The one for one owner answers as the shared one does, but that it keeps nothing that is over.
        let (cache, mut single): (Timed, unsync::Cache<u8, u32, MapHasher, ManualClock>) = if weighs {
            let limited = || builder().weight_limit(1_000, |_, _| 1);
            (limited().build(), limited().build_unsync())
        } else {
            let limited = || builder().entry_limit(1_000);
            (limited().build(), limited().build_unsync())
        };
        let mut naive = Naive::default();
        for op in ops {
            let usual = naive.now + LIVES;
            match op {
                Op::Insert(key, value) => {
                    let before = naive.living(key).map(|(value, _)| value);
                    prop_assert_eq!(cache.insert(key, value).into_previous(), before);
                    single.insert(key, value);
                    naive.put(key, value, usual);
                }
                Op::Remove(key) => {
                    let before = naive.living(key).map(|(value, _)| value);
                    prop_assert_eq!(cache.remove(&key), before);
                    single.remove(&key);
                    naive.entries.remove(&key);
                }
                Op::Get(key) => {
                    prop_assert_eq!(cache.get(&key), naive.living(key).map(|(value, _)| value));
                }
                Op::Keep(key) | Op::Put(key, _) | Op::PutFor(key, ..) | Op::Change(key, _) | Op::Take(key) => {
                    let before = naive.living(key);
                    let decision = match op {
                        Op::Put(_, value) => Decision::Put(value),
                        Op::PutFor(_, value, lasts) => Decision::PutFor(value, lasts as u32 * SECOND),
                        Op::Change(_, value) => Decision::Change(value),
                        Op::Take(_) => Decision::Remove,
                        _ => Decision::Keep,
                    };
                    let done = cache.compute(&key, |seen| {
                        assert_eq!(seen.copied(), before.map(|(value, _)| value));
                        decision
                    });
                    prop_assert_eq!(done.into_previous(), before.map(|(value, _)| value));
                    let done = single.compute(&key, |seen| {
                        assert_eq!(seen.copied(), before.map(|(value, _)| value));
                        decision
                    });
                    prop_assert_eq!(done.into_previous(), before.map(|(value, _)| value));
                    match op {
                        Op::Put(_, value) => naive.put(key, value, usual),
                        Op::PutFor(_, value, lasts) => naive.put(key, value, naive.now + lasts),
                        Op::Change(_, value) => naive.put(key, value, before.map_or(usual, |(_, ends)| ends)),
                        Op::Take(_) => drop(naive.entries.remove(&key)),
                        _ => {}
                    }
                }
                Op::Update(key, by) => {
                    let updated = naive.living(key).map(|(value, ends)| (value.wrapping_add(by), ends));
                    let new = cache.update(&key, |value| value.wrapping_add(by));
                    prop_assert_eq!(new, updated.map(|(value, _)| value));
                    let its = single.update(&key, |value| value.wrapping_add(by));
                    prop_assert_eq!(its.copied(), new);
                    if let Some((value, ends)) = updated {
                        naive.put(key, value, ends);
                    }
                }
                Op::Count(key, by, up) => {
                    let (before, ends) = naive.living(key).unwrap_or((0, usual));
                    let (counted, count) = if up {
                        (cache.incr(&key, by), before.saturating_add(by))
                    } else {
                        (cache.decr(&key, by), before.saturating_sub(by))
                    };
                    prop_assert_eq!(counted, count);
                    let its = if up { single.incr(&key, by) } else { single.decr(&key, by) };
                    prop_assert_eq!(its, count);
                    naive.put(key, count, ends);
                }
                Op::Stale(key) => {
                    let kept = naive.entries.get(&key).copied();
                    let kept = kept.filter(|&(_, ends)| naive.now < ends + KEPT);
                    let seen = cache.get_refreshing(&key, Due::stale(KEPT as u32 * SECOND));
                    let seen = seen.map(|served| (served.value, served.is_stale));
                    prop_assert_eq!(seen, kept.map(|(value, ends)| (value, ends <= naive.now)));
                }
                Op::Advance(seconds) => {
                    clock.advance(seconds as u32 * SECOND);
                    naive.now += seconds;
                    if sweeps {
                        cache.sweep(usize::MAX);
                        single.sweep(usize::MAX);
                    }
                }
            }
            let mut living: Vec<_> = cache.iter().collect();
            living.sort_unstable();
            let keys = 0u8..4;
            let expected: Vec<_> = keys.filter_map(|key| Some((key, naive.living(key)?.0))).collect();
            let mut its: Vec<_> = single.iter().map(|(&key, &value)| (key, value)).collect();
            its.sort_unstable();
            prop_assert_eq!(&its, &expected, "after {:?}", op);
            prop_assert_eq!(living, expected, "after {:?}", op);
        }
    }
}
