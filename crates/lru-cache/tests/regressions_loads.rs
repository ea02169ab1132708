//! Defects that other caches have had, each as one test: loads. The numbers are those of the checklist in
//! `docs/lru-cache.md`.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use purlin_core::ManualClock;
use purlin_lru_cache::Cache;

use common::{CountingWaker, Gate, poll, poll_with, until, watched};

const THREADS: usize = 8;

#[test]
fn regress_c03_one_load_however_many_ask() {
    watched(|| {
        let cache = Arc::new(Cache::<u8, usize>::new(10));
        let loads = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (cache, loads) = (cache.clone(), loads.clone());
                thread::spawn(move || {
                    cache.get_or_load(&1, |_| {
                        // Until all the others wait.
                        until(|| cache.stats().load_waits == THREADS as u64 - 1);
                        loads.fetch_add(1, Ordering::SeqCst) + 40
                    })
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 40);
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn regress_c04_a_load_that_panics_hands_on_to_a_waiter() {
    watched(|| {
        let cache = Arc::new(Cache::<u8, usize>::new(10));
        let loads = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (cache, loads) = (cache.clone(), loads.clone());
                thread::spawn(move || {
                    cache.get_or_load(&1, |_| {
                        until(|| cache.stats().load_waits >= THREADS as u64 - 1);
                        match loads.fetch_add(1, Ordering::SeqCst) {
                            2 => 7,
                            _ => panic!("on purpose"),
                        }
                    })
                })
            })
            .collect();
        let outcomes: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let panicked = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert_eq!(panicked, 2, "each panic is its own caller's");
        assert!(outcomes.into_iter().flatten().all(|value| value == 7));
        assert_eq!(loads.load(Ordering::SeqCst), 3);
        assert_eq!(cache.get(&1), Some(7));
    });
}

#[test]
fn regress_c05_leader_dropped() {
    let cache: Cache<u8, u8> = Cache::new(10);
    let never = Gate::default();
    let mut leader = Box::pin(cache.get_or_load_async(&1, |_| async {
        never.opened().await;
        1
    }));
    let mut waiters =
        [2, 3].map(|value| Box::pin(cache.get_or_load_async(&1, move |_| async move { value })));
    let wakers = [CountingWaker::new(), CountingWaker::new()];
    assert!(poll(leader.as_mut()).is_pending());
    for (waiter, waker) in waiters.iter_mut().zip(&wakers) {
        assert!(poll_with(waiter.as_mut(), waker).is_pending());
    }
    drop(leader);
    assert_eq!(wakers.each_ref().map(|waker| waker.woken()), [1, 1]);
    // Whoever comes first loads for both.
    assert_eq!(poll(waiters[1].as_mut()), Poll::Ready(3));
    assert_eq!(poll(waiters[0].as_mut()), Poll::Ready(3));
    assert_eq!(cache.stats().load_failures, 1);
}

/// The woken waiter is dropped before it looks: another must not wait for it.
#[test]
fn regress_c05_the_next_leader_dropped_as_well() {
    let cache: Cache<u8, u8> = Cache::new(10);
    let never = Gate::default();
    let pending = || {
        Box::pin(cache.get_or_load_async(&1, |_| async {
            never.opened().await;
            1
        }))
    };
    let (mut first, mut second, mut third) = (pending(), pending(), pending());
    let mut last = pin!(cache.get_or_load_async(&1, |_| async { 4 }));
    let waker = CountingWaker::new();
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(third.as_mut()).is_pending());
    assert!(poll_with(last.as_mut(), &waker).is_pending());
    drop(first);
    // The second was woken and goes away; the third takes over and goes away.
    drop(second);
    assert!(poll(third.as_mut()).is_pending());
    assert!(
        poll_with(last.as_mut(), &waker).is_pending(),
        "the third loads"
    );
    drop(third);
    assert_eq!(waker.woken(), 2);
    assert_eq!(poll_with(last.as_mut(), &waker), Poll::Ready(4));
}

/// A leader that is kept and never polled again. After the patience, a waiter that is polled, or the next caller,
/// loads in its stead, and everybody gets that value.
#[test]
fn regress_c06_leader_never_polled_again() {
    let clock = ManualClock::new();
    let cache: Cache<u8, u8, _, _> = Cache::builder()
        .entry_limit(10)
        .load_patience(Duration::from_secs(5))
        .clock(clock.clone())
        .build();
    let never = Gate::default();
    let start = || {
        Box::pin(cache.get_or_load_async(&1, |_| async {
            never.opened().await;
            1
        }))
    };

    let mut leader = start();
    let mut waiter = Box::pin(cache.get_or_load_async(&1, |_| async { 2 }));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(waiter.as_mut()).is_pending());
    clock.advance(Duration::from_secs(4));
    assert!(poll(leader.as_mut()).is_pending(), "a sign of life");
    clock.advance(Duration::from_secs(4));
    assert!(poll(waiter.as_mut()).is_pending());
    clock.advance(Duration::from_secs(1));
    assert_eq!(poll(waiter.as_mut()), Poll::Ready(2));
    drop(leader);
    assert_eq!(
        cache.get(&1),
        Some(2),
        "the leader's end is nobody's any more"
    );

    cache.clear();
    let mut leader = start();
    let mut waiter = Box::pin(cache.get_or_load_async(&1, |_| async { unreachable!() }));
    let waker = CountingWaker::new();
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll_with(waiter.as_mut(), &waker).is_pending());
    clock.advance(Duration::from_secs(5));
    assert_eq!(
        cache.get_or_load(&1, |_| 3),
        3,
        "the next caller does not wait"
    );
    assert_eq!(waker.woken(), 1);
    assert_eq!(
        poll(waiter.as_mut()),
        Poll::Ready(3),
        "and its value is for all"
    );
    assert_eq!(poll(leader.as_mut()), Poll::Pending);
}

/// Two loads of one key, because the first seemed dead: whichever is first to end is for all, and the other's end
/// changes nothing.
#[test]
fn regress_c06_a_leader_that_comes_back_to_life() {
    let clock = ManualClock::new();
    let cache: Cache<u8, u8, _, _> = Cache::builder()
        .entry_limit(10)
        .clock(clock.clone())
        .build();
    let (slow, quick) = (Gate::default(), Gate::default());
    let mut first = Box::pin(cache.get_or_load_async(&1, |_| async {
        slow.opened().await;
        1
    }));
    let mut second = Box::pin(cache.get_or_load_async(&1, |_| async {
        quick.opened().await;
        2
    }));
    let mut waiter = Box::pin(cache.get_or_load_async(&1, |_| async { unreachable!() }));
    assert!(poll(first.as_mut()).is_pending());
    clock.advance(Duration::from_secs(60));
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(waiter.as_mut()).is_pending(), "the second is alive");
    slow.open();
    assert_eq!(poll(first.as_mut()), Poll::Ready(1));
    assert_eq!(poll(waiter.as_mut()), Poll::Ready(1));
    assert_eq!(cache.get(&1), Some(1));
    quick.open();
    assert_eq!(poll(second.as_mut()), Poll::Ready(2));
    assert_eq!(cache.get(&1), Some(1), "stored once");
}

#[test]
fn regress_c06_a_leader_who_was_followed_is_given_up() {
    let clock = ManualClock::new();
    let cache: Cache<u8, u8, _, _> = Cache::builder()
        .entry_limit(10)
        .clock(clock.clone())
        .build();
    let gate = Gate::default();
    let load = |value| {
        let gate = gate.clone();
        Box::pin(cache.get_or_load_async(&1, move |_| async move {
            gate.opened().await;
            value
        }))
    };
    let (mut first, mut second, mut waiter, mut late) = (load(1), load(2), load(3), load(4));
    let waker = CountingWaker::new();
    assert!(poll(first.as_mut()).is_pending());
    clock.advance(Duration::from_secs(60));
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll_with(waiter.as_mut(), &waker).is_pending());
    drop(first);
    assert_eq!(waker.woken(), 0, "the second loads on");
    assert!(poll(late.as_mut()).is_pending(), "and is waited for");
    gate.open();
    assert_eq!(poll(second.as_mut()), Poll::Ready(2));
    assert_eq!(poll(waiter.as_mut()), Poll::Ready(2));
    assert_eq!(poll(late.as_mut()), Poll::Ready(2));
}

/// The first leader ends well, and the one who followed is given up before the waiting have looked.
#[test]
fn regress_c06_a_leader_who_followed_is_given_up() {
    let clock = ManualClock::new();
    let cache: Cache<u8, u8, _, _> = Cache::builder()
        .entry_limit(10)
        .clock(clock.clone())
        .build();
    let (gate, never) = (Gate::default(), Gate::default());
    let mut first = Box::pin(cache.get_or_load_async(&1, |_| async {
        gate.opened().await;
        1
    }));
    let mut second = Box::pin(cache.get_or_load_async(&1, |_| async {
        never.opened().await;
        2
    }));
    let mut waiter = pin!(cache.get_or_load_async(&1, |_| async { unreachable!() }));
    assert!(poll(first.as_mut()).is_pending());
    clock.advance(Duration::from_secs(60));
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(waiter.as_mut()).is_pending());
    gate.open();
    assert_eq!(poll(first.as_mut()), Poll::Ready(1));
    drop(second);
    cache.remove(&1);
    assert_eq!(poll(waiter.as_mut()), Poll::Ready(1), "it was left for him");
}

#[test]
fn regress_c07_only_the_last_waker_is_woken() {
    let cache: Cache<u8, u8> = Cache::new(10);
    let gate = Gate::default();
    let mut leader = pin!(cache.get_or_load_async(&1, |_| async {
        gate.opened().await;
        1
    }));
    let mut waiter = pin!(cache.get_or_load_async(&1, |_| async { unreachable!() }));
    let (a, b) = (CountingWaker::new(), CountingWaker::new());
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll_with(waiter.as_mut(), &a).is_pending());
    assert!(poll_with(waiter.as_mut(), &b).is_pending());
    assert_eq!(Arc::strong_count(&a), 1, "the first waker is not kept");
    gate.open();
    assert_eq!(poll(leader.as_mut()), Poll::Ready(1));
    assert_eq!((a.woken(), b.woken()), (0, 1));
    assert_eq!(poll_with(waiter.as_mut(), &b), Poll::Ready(1));
}
