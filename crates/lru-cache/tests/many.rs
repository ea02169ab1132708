//! Many keys in one call: one load for all that are absent, and none for those that somebody else is loading.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use purlin_core::{ManualClock, MapHasher, SystemClock};
use purlin_lru_cache::Cache;

use common::{CountingWaker, Gate, block_on, poll, poll_with, watched};

type Numbers = Cache<u8, u32, MapHasher, SystemClock>;

/// Ten times the key, for all of them.
fn tenfold(keys: &[&u8]) -> Vec<(u8, u32)> {
    keys.iter()
        .map(|&&key| (key, u32::from(key) * 10))
        .collect()
}

#[test]
fn what_is_absent_is_loaded_by_one_call_and_answers_are_in_the_order_of_the_keys() {
    let cache: Numbers = Cache::new(10);
    cache.insert(2, 2);
    let mut calls = Vec::new();
    let found = cache.get_or_load_many(&[3, 2, 1, 3, 9], |keys| {
        calls.push(keys.iter().map(|&&key| key).collect::<Vec<_>>());
        // In an order of its own, with one left out, one twice and one that nobody asked for.
        [(1, 10), (3, 30), (7, 70), (1, 11)]
    });
    assert_eq!(found, [Some(30), Some(2), Some(10), Some(30), None]);
    assert_eq!(calls, [[3, 1, 9]]);
    assert_eq!(cache.get_many(&[1, 2, 3]), [Some(10), Some(2), Some(30)]);
    assert_eq!(cache.get_many(&[7, 9]), [None, None]);
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.load_failures), (2, 0));

    let found = cache.get_or_load_many(&[1, 2], |_| -> [(u8, u32); 0] { unreachable!() });
    assert_eq!(found, [Some(10), Some(2)]);
    let nothing = cache.get_or_load_many(&[], tenfold);
    assert_eq!(nothing, []);
    assert_eq!(cache.get_many::<u8>([]), []);
}

#[test]
fn keys_are_looked_up_by_any_form_of_theirs() {
    let cache: Cache<String, usize> = Cache::new(10);
    let lengths = |keys: Vec<&str>| {
        let pairs = keys.into_iter().map(|key| (key.to_owned(), key.len()));
        std::future::ready(pairs.collect::<HashMap<_, _>>())
    };
    // The second and the third begin at one address.
    let text = "abab";
    let keys = [&text[..2], text, &text[..3], &text[2..]];
    let found = block_on(cache.get_or_load_many_async(keys, lengths));
    assert_eq!(found, [Some(2), Some(4), Some(3), Some(2)]);
    assert_eq!(cache.len(), 3);
}

#[test]
fn a_cache_that_stores_nothing_answers_all_the_same() {
    let cache: Numbers = Cache::new(0);
    assert_eq!(
        cache.get_or_load_many(&[1, 2, 1], tenfold),
        [Some(10), Some(20), Some(10)]
    );
}

/// Loads of others, of one key and of many, are waited for and not repeated, and after the own load.
#[test]
fn keys_that_are_loaded_elsewhere_are_waited_for() {
    let cache: Numbers = Cache::new(10);
    let (one, many) = (Gate::default(), Gate::default());
    let mut single = pin!(cache.get_or_load_async(&1, |_| async {
        one.opened().await;
        1
    }));
    let mut batch = pin!(cache.get_or_load_many_async(&[2, 3], |keys| {
        let pairs = tenfold(&keys);
        let many = &many;
        async move {
            many.opened().await;
            pairs
        }
    }));
    assert!(poll(single.as_mut()).is_pending());
    assert!(poll(batch.as_mut()).is_pending());

    let loaded = RefCell::new(Vec::new());
    let mut waiting = pin!(cache.get_or_load_many_async(&[1, 2, 3, 4], |keys| {
        loaded.borrow_mut().extend(keys.iter().map(|&&key| key));
        let pairs = tenfold(&keys);
        async { pairs }
    }));
    assert!(poll(waiting.as_mut()).is_pending());
    assert_eq!(
        cache.get(&4),
        Some(40),
        "its own load is done before it waits"
    );
    let mut last = pin!(cache.get_or_load_async(&3, |_| async { unreachable!() }));
    assert!(poll(last.as_mut()).is_pending());
    one.open();
    assert_eq!(poll(single.as_mut()), Poll::Ready(1));
    assert!(poll(waiting.as_mut()).is_pending());
    many.open();
    let both = vec![Some(20), Some(30)];
    assert_eq!(poll(batch.as_mut()), Poll::Ready(both));
    let all = vec![Some(1), Some(20), Some(30), Some(40)];
    assert_eq!(poll(waiting.as_mut()), Poll::Ready(all));
    assert_eq!(poll(last.as_mut()), Poll::Ready(30));
    assert_eq!(*loaded.borrow(), [4]);
    assert_eq!(cache.stats().loads, 4);
}

#[test]
fn who_waits_for_a_key_that_is_left_out_hears_of_it_or_loads_for_himself() {
    let cache: Numbers = Cache::new(10);
    let gate = Gate::default();
    let none: [(u8, u32); 0] = [];
    let mut batch = pin!(cache.get_or_load_many_async(&[1], |_| async {
        gate.opened().await;
        none
    }));
    assert!(poll(batch.as_mut()).is_pending());
    let mut other = pin!(cache.get_or_load_many_async(&[1], |_| async { [(1, 7)] }));
    assert!(poll(other.as_mut()).is_pending());
    let mut single = pin!(cache.get_or_load_async(&1, |_| async { 8 }));
    assert!(poll(single.as_mut()).is_pending());
    gate.open();
    assert_eq!(poll(batch.as_mut()), Poll::Ready(vec![None]));
    assert_eq!(poll(other.as_mut()), Poll::Ready(vec![None]));
    assert_eq!(poll(single.as_mut()), Poll::Ready(8));
}

#[test]
fn the_load_is_called_again_for_what_another_has_given_up() {
    let cache: Numbers = Cache::new(10);
    let never = Gate::default();
    let mut single = Box::pin(cache.get_or_load_async(&1, |_| async {
        never.opened().await;
        1
    }));
    assert!(poll(single.as_mut()).is_pending());
    let calls = RefCell::new(Vec::new());
    let mut batch = pin!(cache.get_or_load_many_async(&[1, 2, 3], |keys| {
        calls.borrow_mut().push(keys.len());
        let pairs = tenfold(&keys);
        async { pairs }
    }));
    let waker = CountingWaker::new();
    assert!(poll_with(batch.as_mut(), &waker).is_pending());
    drop(single);
    assert_eq!(waker.woken(), 1);
    let all = vec![Some(10), Some(20), Some(30)];
    assert_eq!(poll(batch.as_mut()), Poll::Ready(all));
    assert_eq!(*calls.borrow(), [2, 1]);
}

#[test]
fn a_write_during_the_load_overtakes_its_key_and_no_other() {
    let cache: Numbers = Cache::new(10);
    let found = cache.get_or_load_many(&[1, 2], |keys| {
        cache.insert(1, 7);
        tenfold(keys)
    });
    assert_eq!(found, [Some(10), Some(20)], "asked before the write");
    assert_eq!(cache.get_many(&[1, 2]), [Some(7), Some(20)]);
}

#[test]
fn an_error_is_for_all_who_wait_for_any_of_the_keys() {
    let cache: Numbers = Cache::new(10);
    let gate = Gate::default();
    let fail = || async {
        gate.opened().await;
        Err::<[(u8, u32); 0], _>("down")
    };
    let mut batch = pin!(cache.try_get_or_load_many_async(&[1, 2], |_| fail()));
    assert!(poll(batch.as_mut()).is_pending());
    let mut single = pin!(cache.try_get_or_load_async(&2, |_| async { Err::<u32, _>("mine") }));
    assert!(poll(single.as_mut()).is_pending());
    let mut other = pin!(cache.try_get_or_load_many_async(&[3, 1], |keys| {
        let pairs = tenfold(&keys);
        async { Ok::<_, &str>(pairs) }
    }));
    assert!(poll(other.as_mut()).is_pending());
    gate.open();
    assert_eq!(poll(batch.as_mut()), Poll::Ready(Err("down")));
    assert_eq!(poll(single.as_mut()), Poll::Ready(Err("down")));
    assert_eq!(poll(other.as_mut()), Poll::Ready(Err("down")));
    assert_eq!(cache.get(&3), Some(30), "what it loaded itself is stored");
    assert_eq!(cache.stats().load_failures, 2);

    let loaded = cache.try_get_or_load_many(&[1, 2], |_| Err::<[(u8, u32); 0], _>("still"));
    assert_eq!(loaded, Err("still"));
    let loaded = cache.try_get_or_load_many(&[1, 2], |keys| Ok::<_, &str>(tenfold(keys)));
    assert_eq!(loaded, Ok(vec![Some(10), Some(20)]));
}

/// The paragraph on cancel safety: while it loads, and while it waits.
#[test]
fn dropping_a_batch_hands_its_loads_on_and_disturbs_no_other() {
    let cache: Numbers = Cache::new(10);
    let never = Gate::default();
    let stuck = |_: Vec<&u8>| async {
        never.opened().await;
        [(0, 0)]
    };
    let mut loading = Box::pin(cache.get_or_load_many_async(&[1, 2], stuck));
    assert!(poll(loading.as_mut()).is_pending());
    let mut waiting = [1, 2].map(|key| {
        let load = move |_: &u8| async move { u32::from(key) };
        (key, load)
    });
    let mut waiting = waiting
        .each_mut()
        .map(|(key, load)| Box::pin(cache.get_or_load_async(key, *load)));
    let wakers = [CountingWaker::new(), CountingWaker::new()];
    for (future, waker) in waiting.iter_mut().zip(&wakers) {
        assert!(poll_with(future.as_mut(), waker).is_pending());
    }
    drop(loading);
    assert_eq!(wakers.each_ref().map(|waker| waker.woken()), [1, 1]);
    assert_eq!(poll(waiting[0].as_mut()), Poll::Ready(1));
    assert_eq!(poll(waiting[1].as_mut()), Poll::Ready(2));

    let gate = Gate::default();
    let mut single = pin!(cache.get_or_load_async(&3, |_| async {
        gate.opened().await;
        3
    }));
    assert!(poll(single.as_mut()).is_pending());
    let mut batch = Box::pin(cache.try_get_or_load_many_async(&[3, 4], |keys| {
        let pairs = tenfold(&keys);
        async { Ok::<_, ()>(pairs) }
    }));
    assert!(poll(batch.as_mut()).is_pending());
    drop(batch);
    assert_eq!(cache.get(&4), Some(40), "what was stored stays");
    gate.open();
    assert_eq!(poll(single.as_mut()), Poll::Ready(3));
}

#[test]
fn a_batch_that_panics_leaves_no_key_loading() {
    watched(|| {
        let cache: Numbers = Cache::new(10);
        for at_the_end in [false, true] {
            let load = AssertUnwindSafe(|| {
                cache.get_or_load_many(&[1, 2], |_| {
                    assert!(at_the_end, "on purpose");
                    // While it is walked through.
                    (1u8..3).map(|key| {
                        assert!(key < 2, "on purpose");
                        (key, 10)
                    })
                })
            });
            assert!(catch_unwind(load).is_err());
            assert_eq!(cache.len(), 0);
        }
        let load = AssertUnwindSafe(|| {
            cache.get_or_load_many(&[1, 2], |keys| {
                // It would wait for itself.
                cache.get_or_load_many(&[2], |_| [(2, 2)]);
                tenfold(keys)
            })
        });
        assert!(catch_unwind(load).is_err());
        assert_eq!(
            cache.get_or_load_many(&[1, 2], tenfold),
            [Some(10), Some(20)]
        );
    });
}

/// A future that is kept and not polled holds none of its keys for longer than the patience.
#[test]
fn regress_c06_a_batch_that_is_never_polled_again() {
    let clock = ManualClock::new();
    let cache: Cache<u8, u32, _, _> = Cache::builder()
        .entry_limit(10)
        .load_patience(Duration::from_secs(5))
        .clock(clock.clone())
        .build();
    let never = Gate::default();
    let mut stuck = Box::pin(cache.get_or_load_many_async(&[1, 2], |_| async {
        never.opened().await;
        [(0, 0)]
    }));
    assert!(poll(stuck.as_mut()).is_pending());
    clock.advance(Duration::from_secs(4));
    assert!(poll(stuck.as_mut()).is_pending(), "a sign of life");
    clock.advance(Duration::from_secs(5));
    assert_eq!(
        cache.get_or_load_many(&[2, 1], tenfold),
        [Some(20), Some(10)]
    );
    drop(stuck);
    assert_eq!(cache.get_many(&[1, 2]), [Some(10), Some(20)]);
}

#[test]
fn the_futures_can_be_sent() {
    fn sendable<F: Future + Send>(future: F) -> F {
        future
    }
    let cache: Numbers = Cache::new(10);
    let load = |keys: Vec<&u8>| {
        let pairs = tenfold(&keys);
        async { pairs }
    };
    let found = block_on(sendable(cache.get_or_load_many_async(&[1], load)));
    assert_eq!(found, [Some(10)]);
}

proptest! {
    /// Batches with whatever is there already, against a map.
    #[test]
    fn batches_agree_with_a_map(batches in vec((vec(0u8..20, 0..12), vec(0u8..20, 0..12), vec(0u8..20, 0..3)), 1..12), waits in any::<bool>()) {
        let cache: Numbers = Cache::new(1_000);
        let mut map: HashMap<u8, u32> = HashMap::new();
        for (n, (keys, answered, removed)) in batches.into_iter().enumerate() {
            let mut missing: Vec<u8> = Vec::new();
            for key in &keys {
                if !map.contains_key(key) && !missing.contains(key) {
                    missing.push(*key);
                }
            }
            let mut asked = Vec::new();
            let mut load = |keys: &[&u8]| {
                asked.extend(keys.iter().map(|&&key| key));
                answered.iter().map(|&key| (key, n as u32)).collect::<Vec<_>>()
            };
            let found = if waits {
                block_on(cache.get_or_load_many_async(&keys, |keys| {
                    let pairs = load(&keys);
                    async { pairs }
                }))
            } else {
                cache.get_or_load_many(&keys, load)
            };
            for key in missing.iter().filter(|key| answered.contains(key)) {
                map.insert(*key, n as u32);
            }
            let expected: Vec<_> = keys.iter().map(|key| map.get(key).copied()).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(asked, missing);
            for key in removed {
                prop_assert_eq!(cache.remove(&key), map.remove(&key));
            }
            let all: Vec<u8> = (0..20).collect();
            let expected: Vec<_> = all.iter().map(|key| map.get(key).copied()).collect();
            prop_assert_eq!(cache.get_many(&all), expected);
        }
    }
}
