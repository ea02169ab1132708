//! Loading anew what can still be given out: who gets which value, who gets the duty, and what becomes of it.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use purlin_core::{ManualClock, MapHasher};
use purlin_lru_cache::{Cache, Due, Policy, Refresh, Served};

use common::{CountingWaker, Gate, block_on, poll, poll_with, until, watched};

type Timed = Cache<u8, u32, MapHasher, ManualClock>;

const SECOND: Duration = Duration::from_secs(1);

/// Entries live for ten seconds, and are kept for five more.
fn cache_of(policy: Policy) -> (Arc<Timed>, ManualClock) {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .entry_limit(10)
        .policy(policy)
        .time_to_live(10 * SECOND)
        .keep_stale(5 * SECOND)
        .clock(clock.clone())
        .build();
    (Arc::new(cache), clock)
}

fn cache() -> (Arc<Timed>, ManualClock) {
    cache_of(Policy::Adaptive)
}

const DUE: Due = Due::ahead(Duration::from_secs(2)).or_stale(Duration::from_secs(3));

/// Value, whether it is stale, and whether there is a duty; which is given up.
fn seen<S: std::hash::BuildHasher, C: purlin_core::Clock>(
    served: Option<Served<'_, u8, u32, S, C>>,
) -> Option<(u32, bool, bool)> {
    served.map(|served| (served.value, served.is_stale, served.refresh.is_some()))
}

#[test]
fn a_value_is_due_near_its_end_and_given_out_for_as_long_after_it_as_the_call_says() {
    for policy in [Policy::Adaptive, Policy::Lru] {
        let (cache, clock) = cache_of(policy);
        cache.insert(1, 7);
        let look = |due| seen(cache.get_refreshing(&1, due));
        assert_eq!(look(DUE), Some((7, false, false)), "just stored");
        clock.advance(8 * SECOND - Duration::from_nanos(1));
        assert_eq!(look(DUE), Some((7, false, false)));
        clock.advance(Duration::from_nanos(1));
        assert_eq!(look(DUE), Some((7, false, true)), "two seconds are left");
        assert_eq!(look(Due::stale(SECOND)), Some((7, false, false)));
        assert_eq!(look(Due::default()), Some((7, false, false)));

        clock.advance(2 * SECOND);
        assert_eq!(look(DUE), Some((7, true, true)), "over at this moment");
        assert_eq!(look(Due::ahead(SECOND)), None);
        assert_eq!(
            look(Due::stale(SECOND)),
            Some((7, true, true)),
            "who did not ask for it did not take it away"
        );
        clock.advance(3 * SECOND);
        assert_eq!(look(Due::stale(2 * SECOND)), None);
        assert_eq!(look(DUE), Some((7, true, true)), "over for three seconds");
        clock.advance(Duration::from_nanos(1));
        assert_eq!(look(DUE), None);
        assert_eq!(look(Due::stale(Duration::MAX)), Some((7, true, true)));
        clock.advance(2 * SECOND);
        assert_eq!(look(Due::stale(Duration::MAX)), None, "kept no longer");
        assert!(cache.sweep(usize::MAX));
        assert_eq!(cache.len(), 0);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.expirations), (9, 4, 1));
    }
}

#[test]
fn what_is_over_is_there_for_the_call_that_asks_for_it_and_for_no_other() {
    for policy in [Policy::Adaptive, Policy::Lru] {
        let (cache, clock) = cache_of(policy);
        for key in 1..=3 {
            cache.insert(key, 7);
        }
        clock.advance(10 * SECOND);
        assert!(cache.sweep(usize::MAX));
        assert_eq!((cache.get(&1), cache.peek(&1)), (None, None));
        assert!(!cache.contains(&1));
        assert_eq!(cache.iter().count(), 0);
        assert_eq!(cache.get_or_load(&1, |_| 8), 8);
        assert_eq!(cache.remove(&2), None);
        assert!(
            cache.get_refreshing(&2, DUE).is_none(),
            "a removal is a removal"
        );
        assert_eq!(seen(cache.get_refreshing(&3, DUE)), Some((7, true, true)));
        assert_eq!(cache.insert(3, 9).into_previous(), None);
        assert_eq!(cache.get(&3), Some(9));
    }
}

/// Otherwise what was refused would be given out once more, by a call that asks for what is over.
#[test]
fn a_predicate_judges_what_is_over_and_kept_too() {
    for policy in [Policy::Adaptive, Policy::Lru] {
        let (cache, clock) = cache_of(policy);
        cache.insert(1, 1);
        cache.insert(2, 2);
        cache.insert(3, 3);
        clock.advance(11 * SECOND);
        cache.retain(|&key, _| key != 1);
        assert!(cache.get_refreshing(&1, DUE).is_none());
        assert_eq!(cache.remove_if(&2, |&value| value == 2), None);
        assert!(cache.get_refreshing(&2, DUE).is_none());
        assert_eq!(cache.remove_if(&3, |&value| value != 3), None);
        assert_eq!(seen(cache.get_refreshing(&3, DUE)), Some((3, true, true)));
    }
}

#[test]
fn a_cache_that_keeps_nothing_has_nothing_stale() {
    let clock = ManualClock::new();
    let cache = Cache::builder().entry_limit(10).time_to_live(SECOND);
    let cache: Timed = cache.clock(clock.clone()).build();
    cache.insert(1, 7);
    clock.advance(SECOND);
    assert!(
        cache
            .get_refreshing(&1, Due::stale(Duration::MAX))
            .is_none()
    );
}

/// Its timer goes off when it is over and has some time left to be asked for.
#[test]
fn what_was_used_is_kept_from_the_end_of_its_idle_time() {
    for policy in [Policy::Adaptive, Policy::Lru] {
        let clock = ManualClock::new();
        let cache: Timed = Cache::builder()
            .entry_limit(10)
            .policy(policy)
            .time_to_idle(10 * SECOND)
            .keep_stale(5 * SECOND)
            .clock(clock.clone())
            .build();
        cache.insert(1, 7);
        clock.advance(4 * SECOND);
        assert_eq!(cache.get(&1), Some(7));
        clock.advance(12 * SECOND);
        assert!(cache.sweep(usize::MAX));
        assert_eq!(seen(cache.get_refreshing(&1, DUE)), Some((7, true, true)));
        clock.advance(4 * SECOND);
        assert!(cache.sweep(usize::MAX));
        assert_eq!(cache.len(), 0);
    }
}

#[test]
fn a_value_that_lives_for_ever_is_never_due() {
    let cache: Cache<u8, u32> = Cache::new(10);
    cache.insert(1, 7);
    let due = Due::ahead(Duration::MAX).or_stale(Duration::MAX);
    assert_eq!(seen(cache.get_refreshing(&1, due)), Some((7, false, false)));
    cache.insert_for(2, 7, Duration::MAX);
    assert_eq!(seen(cache.get_refreshing(&2, due)), Some((7, false, false)));
}

#[test]
fn kept_for_ever_does_not_overflow() {
    let clock = ManualClock::new();
    let cache: Timed = Cache::builder()
        .entry_limit(10)
        .time_to_live(SECOND)
        .keep_stale(Duration::MAX)
        .clock(clock.clone())
        .build();
    cache.insert(1, 7);
    clock.advance(Duration::from_secs(1 << 33));
    assert!(cache.sweep(usize::MAX));
    assert_eq!(cache.get(&1), None);
    let due = Due::stale(Duration::MAX);
    assert_eq!(seen(cache.get_refreshing(&1, due)), Some((7, true, true)));
}

#[test]
fn one_caller_has_the_duty_until_it_is_done_or_dropped() {
    let (cache, clock) = cache();
    cache.insert(1, 7);
    clock.advance(9 * SECOND);
    let first = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    assert_eq!(first.key(), &1);
    assert_eq!(
        seen(cache.get_refreshing(&1, DUE)),
        Some((7, false, false)),
        "somebody has it"
    );
    drop(first);
    assert_eq!(cache.stats().load_failures, 0, "it had not begun");
    let second = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    assert_eq!(second.run(|&key| u32::from(key) + 10), Some(11));
    assert_eq!(cache.stats().loads, 1);
    assert_eq!(
        seen(cache.get_refreshing(&1, DUE)),
        Some((11, false, false))
    );
    clock.advance(9 * SECOND);
    assert_eq!(cache.get(&1), Some(11), "its time began anew");
}

#[test]
fn a_duty_that_is_kept_and_not_begun_goes_to_the_next_after_the_patience() {
    let clock = ManualClock::new();
    let cache: Timed = Cache::builder()
        .entry_limit(10)
        .time_to_live(10 * SECOND)
        .load_patience(SECOND)
        .clock(clock.clone())
        .build();
    cache.insert(1, 7);
    clock.advance(8 * SECOND);
    let first = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    clock.advance(SECOND);
    let second = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    assert_eq!(first.run(|_| unreachable!("it is the second's")), None);
    assert_eq!(second.run(|_| 8), Some(8));
}

/// One load a key: while the value lasts everybody gets it, and once it is over they wait for the refresh.
#[test]
fn who_finds_the_value_over_waits_for_a_refresh_that_has_begun() {
    let (cache, clock) = cache();
    cache.insert(1, 7);
    clock.advance(9 * SECOND);
    let gate = Gate::default();
    let refresh = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    let mut refreshing = pin!(refresh.run_async(async {
        gate.opened().await;
        8
    }));
    assert!(poll(refreshing.as_mut()).is_pending());
    assert_eq!(
        cache.get_or_load(&1, |_| unreachable!("it is there still")),
        7
    );
    clock.advance(SECOND);
    let mut waiting = pin!(cache.get_or_load_async(&1, |_| async { unreachable!() }));
    assert!(poll(waiting.as_mut()).is_pending());
    assert_eq!(
        seen(cache.get_refreshing(&1, DUE)),
        Some((7, true, false)),
        "who takes what is over does not wait"
    );
    gate.open();
    assert_eq!(poll(refreshing.as_mut()), Poll::Ready(Some(8)));
    assert_eq!(poll(waiting.as_mut()), Poll::Ready(8));
    assert_eq!(cache.stats().loads, 1);
}

/// A thread that has the duty and has not begun could otherwise wait for itself.
#[test]
fn nobody_waits_for_a_refresh_that_has_not_begun() {
    watched(|| {
        let (cache, clock) = cache();
        cache.insert(1, 7);
        clock.advance(9 * SECOND);
        let refresh = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
        clock.advance(SECOND);
        assert_eq!(cache.get_or_load(&1, |_| 8), 8);
        assert_eq!(refresh.run(|_| unreachable!("it is loaded")), None);
        assert_eq!(cache.get(&1), Some(8));

        // The same while the other load is under way.
        clock.advance(9 * SECOND);
        let refresh = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
        clock.advance(SECOND);
        let gate = Gate::default();
        let mut loading = pin!(cache.get_or_load_async(&1, |_| async {
            gate.opened().await;
            9
        }));
        assert!(poll(loading.as_mut()).is_pending());
        assert_eq!(block_on(refresh.run_async(async { unreachable!() })), None);
        gate.open();
        assert_eq!(poll(loading.as_mut()), Poll::Ready(9));
        assert_eq!(cache.stats().load_failures, 0);
    });
}

#[test]
fn a_write_makes_a_refresh_needless_or_its_value_nobodys() {
    for begun in [false, true] {
        for removed in [false, true] {
            let (cache, clock) = cache();
            cache.insert(1, 7);
            clock.advance(9 * SECOND);
            let gate = Gate::default();
            let refresh = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
            let mut refreshing = pin!(refresh.run_async(async {
                gate.opened().await;
                8
            }));
            if begun {
                assert!(poll(refreshing.as_mut()).is_pending());
            }
            if removed {
                cache.remove(&1);
            } else {
                cache.insert(1, 9);
            }
            gate.open();
            let expected = begun.then_some(8);
            assert_eq!(poll(refreshing.as_mut()), Poll::Ready(expected));
            assert_eq!(cache.get(&1), (!removed).then_some(9));
        }
    }
}

#[test]
fn a_refresh_that_fails_leaves_the_older_value_and_hands_the_duty_on() {
    let (cache, clock) = cache();
    cache.insert(1, 7);
    clock.advance(9 * SECOND);
    let refresh = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    assert_eq!(refresh.try_run(|_| Err("down")), Err("down"));
    assert_eq!(cache.get(&1), Some(7));

    // Who waited, because it was over, hears of it.
    clock.advance(SECOND);
    let gate = Gate::default();
    let refresh = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    let mut refreshing = pin!(refresh.try_run_async(async {
        gate.opened().await;
        Err("down")
    }));
    assert!(poll(refreshing.as_mut()).is_pending());
    let second = Err::<u32, _>("a second load");
    let mut waiting = pin!(cache.try_get_or_load_async(&1, |_| async { second }));
    assert!(poll(waiting.as_mut()).is_pending());
    gate.open();
    assert_eq!(poll(refreshing.as_mut()), Poll::Ready(Err("down")));
    assert_eq!(poll(waiting.as_mut()), Poll::Ready(Err("down")));
    assert_eq!(seen(cache.get_refreshing(&1, DUE)), Some((7, true, true)));
    assert_eq!(cache.stats().load_failures, 2);
}

#[test]
fn a_refresh_may_say_how_long_its_value_lives() {
    let (cache, clock) = cache();
    cache.insert(1, 7);
    clock.advance(9 * SECOND);
    let duty = || cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    let loaded = duty().try_run_for(|_| Ok::<_, ()>((8, SECOND)));
    assert_eq!(loaded, Ok(Some(8)));
    clock.advance(SECOND);
    assert_eq!(cache.get(&1), None);
    let loaded = block_on(duty().try_run_for_async(async { Ok::<_, ()>((9, 2 * SECOND)) }));
    assert_eq!(loaded, Ok(Some(9)));
    clock.advance(SECOND);
    assert_eq!(cache.get(&1), Some(9));
    let loaded = duty().try_run(|_| Ok::<_, ()>(10));
    assert_eq!(loaded, Ok(Some(10)));
}

/// The paragraph on cancel safety: not polled, begun, and with somebody who waits.
#[test]
fn dropping_a_refreshing_future_hands_the_duty_on() {
    let (cache, clock) = cache();
    cache.insert(1, 7);
    clock.advance(9 * SECOND);
    let duty = || cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    drop(duty().run_async(async { unreachable!() }));
    let never = Gate::default();
    let mut begun = Box::pin(duty().run_async(async {
        never.opened().await;
        8
    }));
    assert!(poll(begun.as_mut()).is_pending());
    drop(begun);
    assert_eq!(cache.get(&1), Some(7));

    let mut begun = Box::pin(duty().try_run_async(async {
        never.opened().await;
        Ok::<_, ()>(8)
    }));
    assert!(poll(begun.as_mut()).is_pending());
    clock.advance(SECOND);
    let mut waiting = pin!(cache.get_or_load_async(&1, |_| async { 9 }));
    let waker = CountingWaker::new();
    assert!(poll_with(waiting.as_mut(), &waker).is_pending());
    drop(begun);
    assert_eq!(waker.woken(), 1);
    assert_eq!(poll(waiting.as_mut()), Poll::Ready(9));
    clock.advance(9 * SECOND);
    let begun = duty().try_run_for_async(async { Ok::<_, ()>((8, SECOND)) });
    drop(begun);
    assert_eq!(duty().run(|_| 10), Some(10));
}

#[test]
fn a_refresh_that_panics_hands_the_duty_on() {
    let (cache, clock) = cache();
    cache.insert(1, 7);
    clock.advance(9 * SECOND);
    let duty = || cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    let refresh = duty();
    let run = AssertUnwindSafe(|| refresh.run(|_| panic!("on purpose")));
    assert!(catch_unwind(run).is_err());
    let refresh = duty();
    let run = AssertUnwindSafe(|| block_on(refresh.run_async(async { panic!("on purpose") })));
    assert!(catch_unwind(run).is_err());
    assert_eq!(cache.get(&1), Some(7));
    assert_eq!(duty().run(|_| 8), Some(8));
}

#[test]
fn a_refresh_can_be_sent_to_a_thread_that_outlives_the_call() {
    static_assertions::assert_impl_all!(Refresh<'static, u8, u32>: Send, Sync, std::fmt::Debug);
    watched(|| {
        let (cache, clock) = cache();
        cache.insert(1, 7);
        clock.advance(9 * SECOND);
        let refresh = cache
            .get_refreshing_owned(&1, DUE)
            .unwrap()
            .refresh
            .unwrap();
        let other = Arc::clone(&cache);
        let thread = thread::spawn(move || {
            refresh.run(|_| {
                // Whoever comes meanwhile is not kept waiting.
                until(|| other.stats().hits >= 3);
                8
            })
        });
        until(|| {
            let served = cache.get_refreshing(&1, DUE).unwrap();
            assert!(served.refresh.is_none());
            cache.stats().hits >= 3
        });
        assert_eq!(thread.join().unwrap(), Some(8));
        assert_eq!(cache.get(&1), Some(8));
    });
}

#[test]
fn a_refresh_may_look_at_its_own_key_while_the_value_lasts() {
    let (cache, clock) = cache();
    cache.insert(1, 7);
    clock.advance(9 * SECOND);
    let refresh = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    let next = refresh.run(|key| cache.get_or_load(key, |_| unreachable!()) + 1);
    assert_eq!(next, Some(8));
    clock.advance(10 * SECOND);
    let refresh = cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap();
    let run = AssertUnwindSafe(|| refresh.run(|key| cache.get_or_load(key, |_| unreachable!())));
    assert!(catch_unwind(run).is_err(), "it would wait for itself");
    assert_eq!(cache.get_or_load(&1, |_| 9), 9);
}
