//! One load a key: who loads, who waits, and what a write in between does.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;

use purlin_lru_cache::Cache;

use common::{CountingWaker, Gate, block_on, poll, poll_with, until, watched};

#[test]
fn a_value_is_loaded_once_and_then_found() {
    let cache = Cache::new(10);
    let loads = Cell::new(0);
    let load = |key: &str| {
        loads.set(loads.get() + 1);
        key.len()
    };
    assert_eq!(cache.get_or_load("beam", load), 4);
    assert_eq!(cache.get_or_load("beam", load), 4);
    assert_eq!(cache.get("beam"), Some(4));
    assert_eq!(loads.get(), 1);
}

#[test]
fn a_load_that_fails_stores_nothing_and_may_be_tried_again() {
    let cache: Cache<u8, u8> = Cache::new(10);
    assert_eq!(cache.try_get_or_load(&1, |_| Err("down")), Err("down"));
    assert!(!cache.contains(&1));
    assert_eq!(cache.try_get_or_load(&1, |_| Ok::<_, &str>(5)), Ok(5));
    assert_eq!(cache.try_get_or_load(&1, |_| Err("not called")), Ok(5));
    // An error that cannot be cloned, in an `Arc`.
    let failed = cache.try_get_or_load(&2, |_| Err(Arc::new(io::Error::other("down"))));
    assert_eq!(failed.unwrap_err().to_string(), "down");
}

#[test]
fn the_waiting_get_a_clone_of_the_value_or_of_the_error() {
    let cache: Cache<u8, u64> = Cache::new(10);
    for outcome in [Ok(7), Err("down")] {
        cache.clear();
        let gate = Gate::default();
        let mut leader = pin!(cache.try_get_or_load_async(&1, |_| async {
            gate.opened().await;
            outcome
        }));
        let mut waiters = [0, 1, 2].map(|_| {
            Box::pin(cache.try_get_or_load_async(&1, |_| async { Err("this load is not run") }))
        });
        assert!(poll(leader.as_mut()).is_pending());
        for waiter in &mut waiters {
            assert!(poll(waiter.as_mut()).is_pending());
        }
        gate.open();
        assert_eq!(poll(leader.as_mut()), Poll::Ready(outcome));
        for waiter in &mut waiters {
            assert_eq!(poll(waiter.as_mut()), Poll::Ready(outcome));
        }
    }
}

#[test]
fn an_error_of_another_type_lets_the_waiting_load_for_themselves() {
    let cache: Cache<u8, u64> = Cache::new(10);
    let gate = Gate::default();
    let mut leader = pin!(cache.try_get_or_load_async(&1, |_| async {
        gate.opened().await;
        Err::<u64, &str>("down")
    }));
    let mut waiter = pin!(cache.try_get_or_load_async(&1, |_| async { Err::<u64, u8>(9) }));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(waiter.as_mut()).is_pending());
    gate.open();
    assert_eq!(poll(leader.as_mut()), Poll::Ready(Err("down")));
    assert_eq!(poll(waiter.as_mut()), Poll::Ready(Err(9)));
}

#[test]
fn threads_and_tasks_wait_for_each_other() {
    watched(|| {
        let cache = Arc::new(Cache::<u8, u64>::new(10));
        let gate = Gate::default();

        // A thread that waits for a task.
        let mut task = Box::pin(cache.get_or_load_async(&1, |_| async {
            gate.opened().await;
            1
        }));
        assert!(poll(task.as_mut()).is_pending());
        let waiter = thread::spawn({
            let cache = Arc::clone(&cache);
            move || cache.get_or_load(&1, |_| unreachable!("the task loads"))
        });
        until(|| cache.stats().load_waits == 1);
        gate.open();
        assert_eq!(poll(task.as_mut()), Poll::Ready(1));
        assert_eq!(waiter.join().unwrap(), 1);

        // A task that waits for a thread.
        let waiting = Arc::new(AtomicUsize::new(0));
        let leader = thread::spawn({
            let (cache, waiting) = (Arc::clone(&cache), Arc::clone(&waiting));
            move || {
                cache.get_or_load(&2, |_| {
                    waiting.store(1, Ordering::SeqCst);
                    until(|| waiting.load(Ordering::SeqCst) == 2);
                    2
                })
            }
        });
        until(|| waiting.load(Ordering::SeqCst) == 1);
        let mut task = Box::pin(cache.get_or_load_async(&2, |_| async { unreachable!() }));
        assert!(poll(task.as_mut()).is_pending());
        waiting.store(2, Ordering::SeqCst);
        assert_eq!(block_on(task), 2);
        assert_eq!(leader.join().unwrap(), 2);
    });
}

/// What may be done to a key while it is being loaded.
#[derive(Clone, Copy, Debug)]
enum Write {
    Insert,
    Remove,
    Clear,
    Retain,
}

#[test]
fn a_write_during_a_load_is_not_overwritten_by_what_was_loaded() {
    let writes = [Write::Insert, Write::Remove, Write::Clear, Write::Retain];
    // Into a cache that has entries already, an insertion may go a shorter way.
    for (write, others) in writes
        .into_iter()
        .flat_map(|write| [(write, 0), (write, 3)])
    {
        let cache: Cache<u8, &str> = Cache::new(10);
        (10..10 + others).for_each(|key| drop(cache.insert(key, "other")));
        let gate = Gate::default();
        let mut leader = pin!(cache.get_or_load_async(&1, |_| async {
            gate.opened().await;
            "old"
        }));
        let mut before = pin!(cache.get_or_load_async(&1, |_| async { unreachable!() }));
        assert!(poll(leader.as_mut()).is_pending());
        assert!(poll(before.as_mut()).is_pending());

        match write {
            Write::Insert => drop(cache.insert(1, "new")),
            Write::Remove => drop(cache.remove(&1)),
            Write::Clear => cache.clear(),
            Write::Retain => cache.retain(|_, _| true),
        }
        // Who asks after the write does not wait for the load that began before it.
        let mut after = pin!(cache.get_or_load_async(&1, |_| async { "new" }));
        assert_eq!(poll(after.as_mut()), Poll::Ready("new"), "{write:?}");

        gate.open();
        assert_eq!(poll(leader.as_mut()), Poll::Ready("old"), "{write:?}");
        assert_eq!(poll(before.as_mut()), Poll::Ready("old"), "{write:?}");
        assert_eq!(cache.get(&1), Some("new"), "{write:?}");
    }
}

#[test]
fn a_remove_during_a_load_leaves_the_key_absent() {
    let cache: Cache<u8, &str> = Cache::new(10);
    let loaded = cache.get_or_load(&1, |_| {
        assert_eq!(cache.remove(&1), None);
        "old"
    });
    assert_eq!((loaded, cache.get(&1)), ("old", None));
}

#[test]
fn a_load_may_load_other_keys() {
    /// Each number from the two before it, with nothing held meanwhile.
    fn fibonacci(cache: &Cache<u32, u64>, n: u32) -> u64 {
        cache.get_or_load(&n, |&n| match n {
            0 | 1 => u64::from(n),
            n => fibonacci(cache, n - 1) + fibonacci(cache, n - 2),
        })
    }
    let cache = Cache::new(1000);
    assert_eq!(fibonacci(&cache, 80), 23_416_728_348_467_685);
    assert_eq!(cache.stats().loads, 81);
}

#[test]
#[should_panic(expected = "the load of a key asked the cache to load the same key")]
fn a_load_that_asks_for_its_own_key_panics() {
    let cache: Cache<u8, u8> = Cache::new(10);
    cache.get_or_load(&1, |key| cache.get_or_load(key, |_| 1));
}

#[test]
#[should_panic(expected = "the load of a key asked the cache to load the same key")]
fn a_future_that_asks_for_its_own_key_panics() {
    let cache: &Cache<u8, u8> = &Cache::new(10);
    let load = |key| async move { cache.get_or_load_async(key, |_| async { 1 }).await };
    block_on(cache.get_or_load_async(&1, load));
}

#[test]
fn after_a_load_that_asked_for_its_own_key_the_cache_is_whole() {
    let cache: Cache<u8, u8> = Cache::new(10);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cache.get_or_load(&1, |key| cache.get_or_load(key, |_| 1))
    }));
    assert!(panicked.is_err());
    assert_eq!(cache.get_or_load(&1, |_| 2), 2);
}

#[test]
fn a_cache_that_stores_nothing_still_loads_once_for_all_who_wait() {
    let cache: Cache<u8, u8> = Cache::new(0);
    let gate = Gate::default();
    let mut leader = pin!(cache.get_or_load_async(&1, |_| async {
        gate.opened().await;
        1
    }));
    let mut waiter = pin!(cache.get_or_load_async(&1, |_| async { unreachable!() }));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(waiter.as_mut()).is_pending());
    gate.open();
    assert_eq!(poll(leader.as_mut()), Poll::Ready(1));
    assert_eq!(poll(waiter.as_mut()), Poll::Ready(1));
    assert_eq!(cache.len(), 0);
    assert_eq!(cache.get_or_load(&1, |_| 2), 2, "and loads anew each time");
}

/// The two halves of the paragraph on cancel safety.
#[test]
fn dropping_a_waiting_future_has_no_effect_and_dropping_a_loading_one_stores_nothing() {
    let cache: Cache<u8, u8> = Cache::new(10);
    let gate = Gate::default();
    let mut leader = Box::pin(cache.get_or_load_async(&1, |_| async {
        gate.opened().await;
        1
    }));
    let mut waiter = Box::pin(cache.get_or_load_async(&1, |_| async { 2 }));
    let waker = CountingWaker::new();
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll_with(waiter.as_mut(), &waker).is_pending());
    drop(waiter);
    gate.open();
    assert_eq!(poll(leader.as_mut()), Poll::Ready(1));
    assert_eq!(waker.woken(), 0, "who has gone is not woken");
    assert_eq!(Arc::strong_count(&waker), 1, "nor kept");

    let never = Gate::default();
    let mut leader = Box::pin(cache.get_or_load_async(&2, |_| async {
        never.opened().await;
        1
    }));
    assert!(poll(leader.as_mut()).is_pending());
    drop(leader);
    assert_eq!(cache.get(&2), None);
    assert_eq!(cache.get_or_load(&2, |_| 3), 3);
}

#[test]
fn a_future_that_is_never_polled_loads_nothing_and_stands_in_nobodys_way() {
    let cache: Cache<u8, u8> = Cache::new(10);
    let unpolled = cache.get_or_load_async(&1, |_| async { 1 });
    assert_eq!(cache.get_or_load(&1, |_| 2), 2);
    assert_eq!(block_on(unpolled), 2);
}
