//! Defects that other caches have had, each as one test. The numbers are those of the checklist in
//! `docs/lru-cache.md`.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Weak};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use purlin_core::ManualClock;
use purlin_lru_cache::{Builder, Cache, unsync};

use common::{CountingWaker, Gate, HandClock, poll, poll_with, until, watched};

const THREADS: usize = 8;

/// After a remove has returned, nobody gets the old value: not from the table, and not from a load that began
/// before.
#[test]
fn regress_c01_a_removed_value_does_not_come_back() {
    watched(|| {
        let cache = Arc::new(Cache::<u64, u64>::new(64));
        // The version that the source of all loads is at. It only grows.
        let source = Arc::new(AtomicUsize::new(0));
        let start = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (cache, source, start) = (cache.clone(), source.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    for _ in 0..3_000 {
                        if number % 4 == 0 {
                            // A write to the source, and then the invalidation.
                            source.fetch_add(1, Ordering::SeqCst);
                            cache.remove(&1);
                        } else {
                            let load = |_: &u64| {
                                let version = source.load(Ordering::SeqCst);
                                thread::yield_now();
                                version as u64
                            };
                            // Everything invalidated before this moment must not be seen after it.
                            let floor = cache.get(&2).unwrap_or(0);
                            let seen = cache.get_or_load(&1, load);
                            assert!(seen >= floor, "{seen} came back after {floor}");
                        }
                        if number == 0 {
                            // All up to this version has been invalidated by this thread, and says so.
                            let written = source.load(Ordering::SeqCst);
                            cache.remove(&1);
                            cache.insert(2, written as u64);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

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

/// Values that count themselves.
#[derive(Debug)]
struct Counted {
    alive: Arc<AtomicI64>,
    weight: usize,
}

impl Counted {
    fn new(alive: &Arc<AtomicI64>, weight: usize) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Counted {
            alive: Arc::clone(alive),
            weight,
        }
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Counted::new(&self.alive, self.weight)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn regress_c08_every_value_is_dropped_once() {
    let alive = Arc::new(AtomicI64::new(0));
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .weight_limit(20, |_: &u32, value: &Counted| value.weight)
        .clock(clock.clone())
        .build();
    for key in 0..100u32 {
        cache.insert(key % 30, Counted::new(&alive, key as usize % 5));
        cache.insert_for(
            key % 7,
            Counted::new(&alive, 1),
            Duration::from_millis(key.into()),
        );
        drop(cache.get(&(key % 11)));
        cache.remove(&(key % 13));
        cache.insert(key, Counted::new(&alive, 21));
        cache.get_or_load(&(key % 17), |_| Counted::new(&alive, 2));
        drop(cache.try_get_or_load(&(key % 19), |_| Err::<Counted, u8>(0)));
        clock.advance(Duration::from_millis(3));
        assert_eq!(alive.load(Ordering::SeqCst), cache.len() as i64);
    }
    let mut waiting =
        Box::pin(cache.get_or_load_async(&1000, |_| std::future::pending::<Counted>()));
    assert!(poll(waiting.as_mut()).is_pending());
    drop(waiting);
    cache.retain(|key, _| key % 2 == 0);
    assert_eq!(alive.load(Ordering::SeqCst), cache.len() as i64);
    drop(cache);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

/// A value that was loaded for somebody who left before he could take it.
#[test]
fn regress_c08_a_value_left_for_a_waiter_who_has_gone_is_dropped() {
    let alive = Arc::new(AtomicI64::new(0));
    let cache: Cache<u8, Counted> = Cache::new(0);
    let gate = Gate::default();
    let mut leader = Box::pin(cache.get_or_load_async(&1, |_| async {
        gate.opened().await;
        Counted::new(&alive, 1)
    }));
    let mut waiter = Box::pin(cache.get_or_load_async(&1, |_| async { unreachable!() }));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(waiter.as_mut()).is_pending());
    gate.open();
    assert!(poll(leader.as_mut()).is_ready());
    assert_eq!(alive.load(Ordering::SeqCst), 1, "for the waiter");
    drop(waiter);
    drop(leader);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn regress_c09_capacities_at_the_ends() {
    for capacity in [0, 1, 2, usize::MAX - 1, usize::MAX] {
        for weight in [0, 1, u32::MAX as usize, usize::MAX] {
            for shards in [1, 8, usize::MAX] {
                let builder = Cache::builder().shards(shards);
                let cache = builder
                    .weight_limit(capacity, move |_: &u8, _: &u8| weight)
                    .build();
                for key in 0..5 {
                    let inserted = cache.insert(key, key);
                    // A shard's part of the capacity is rounded up in the first shards.
                    let always = capacity > 0 && weight <= cache.max_entry_weight();
                    let never =
                        capacity == 0 || weight > cache.max_entry_weight().saturating_add(1);
                    assert!(inserted.is_stored() || !always, "{capacity} {weight}");
                    assert!(!inserted.is_stored() || !never, "{capacity} {weight}");
                    assert!(cache.weight() <= capacity);
                    assert_eq!(cache.get(&key).is_some(), inserted.is_stored());
                }
            }
        }
        let mut cache = unsync::Cache::new(capacity);
        for key in 0..5 {
            assert_eq!(cache.insert(key, key).is_stored(), capacity > 0);
        }
        assert_eq!(cache.len(), capacity.min(5));
        assert_eq!(cache.get(&4), (capacity > 0).then_some(&4));
    }
}

#[test]
fn regress_c10_weights_near_the_largest_number() {
    let mut cache = Builder::with_clock(HandClock::default())
        .weight_limit(usize::MAX, |_: &u8, weight: &usize| *weight)
        .build_unsync();
    cache.insert(1, usize::MAX - 1);
    cache.insert(2, 1);
    assert_eq!((cache.len(), cache.weight()), (2, usize::MAX));
    cache.insert(3, 2);
    assert_eq!(
        (cache.len(), cache.weight()),
        (2, 3),
        "the largest was the oldest"
    );
    cache.insert(3, usize::MAX);
    assert_eq!((cache.len(), cache.weight()), (1, usize::MAX));
    cache.insert(3, 0);
    assert_eq!((cache.len(), cache.weight()), (1, 0));
}

#[test]
fn regress_c11_lifetimes_at_the_ends() {
    let clock = HandClock::default();
    let lasts = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for start in [0, 1, u64::MAX - 1, u64::MAX] {
        for to_live in lasts {
            for to_idle in lasts {
                clock.set(start);
                let mut cache = Builder::with_clock(clock.clone())
                    .entry_limit(3)
                    .time_to_live(to_live)
                    .time_to_idle(to_idle)
                    .build_unsync();
                let is_stored = cache.insert(1, ()).is_stored();
                let shortest = to_live.min(to_idle);
                // At the end of its time the clock cannot say when a nanosecond has passed.
                let at_the_end = start == u64::MAX;
                assert_eq!(is_stored, shortest > Duration::ZERO || at_the_end);
                cache.insert_for(2, (), Duration::MAX);
                clock.set(u64::MAX);
                let ends = shortest == Duration::from_nanos(1) && start < u64::MAX - 1;
                assert_eq!(cache.get(&1).is_some(), is_stored && !ends);
                cache.sweep(usize::MAX);
            }
        }
    }
}

#[test]
fn regress_c12_a_clock_that_steps_revives_nothing() {
    const HOUR: u64 = 3_600_000_000_000;
    let clock = HandClock::default();
    clock.set(10 * HOUR);
    let cache = Builder::with_clock(clock.clone())
        .entry_limit(10)
        .time_to_live(Duration::from_nanos(HOUR))
        .build();
    cache.insert("a", ());
    clock.set(9 * HOUR);
    assert!(cache.contains("a"), "a step back lets things last");
    cache.insert("b", ());
    clock.set(10 * HOUR + HOUR / 2);
    assert!(
        cache.contains("b"),
        "it was inserted at the tenth hour, as far as the cache knows"
    );
    clock.set(100_000 * HOUR);
    assert_eq!(cache.get("a"), None);
    clock.set(0);
    assert_eq!(cache.get("a"), None);
    assert_eq!(
        cache.peek("b"),
        None,
        "over in the sight of the cache, though nobody asked for it then"
    );
    cache.insert("c", ());
    assert!(cache.contains("c"));
    clock.set(100_001 * HOUR);
    assert!(
        !cache.contains("c"),
        "time goes on once the clock has caught up"
    );
}

/// A user's code that calls the cache back, from wherever the cache calls it.
struct Meddler {
    cache: Weak<Cache<MeddlingKey, Meddler>>,
    id: u32,
}

#[derive(Clone)]
struct MeddlingKey {
    id: u32,
    cache: Weak<Cache<MeddlingKey, Meddler>>,
}

thread_local! {
    /// Where the meddling happens, and whether it is under way.
    static MEDDLE: Cell<(&'static str, bool)> = const { Cell::new(("nowhere", false)) };
}

fn meddle(place: &'static str, cache: &Weak<Cache<MeddlingKey, Meddler>>) {
    let (chosen, under_way) = MEDDLE.get();
    let Some(cache) = cache.upgrade().filter(|_| chosen == place && !under_way) else {
        return;
    };
    MEDDLE.set((chosen, true));
    let key = |id| MeddlingKey {
        id,
        cache: Weak::new(),
    };
    let value = |id| Meddler {
        id,
        cache: Weak::new(),
    };
    for id in 0..4 {
        cache.insert(key(id), value(id));
        drop(cache.get(&key(id)));
        cache.remove(&key(id));
        drop(cache.get_or_load(&key(id), |_| value(id)));
    }
    cache.retain(|key, _| key.id != 1);
    cache.clear();
    MEDDLE.set((chosen, false));
}

impl Hash for MeddlingKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        meddle("hash", &self.cache);
        self.id.hash(state);
    }
}

impl PartialEq for MeddlingKey {
    fn eq(&self, other: &Self) -> bool {
        meddle("eq", &self.cache);
        self.id == other.id
    }
}

impl Eq for MeddlingKey {}

impl Clone for Meddler {
    fn clone(&self) -> Self {
        meddle("clone", &self.cache);
        Meddler {
            cache: self.cache.clone(),
            id: self.id,
        }
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        meddle("drop", &self.cache);
    }
}

fn meddled(place: &'static str) -> bool {
    watched(move || {
        let cache = Arc::new_cyclic(|cache: &Weak<Cache<MeddlingKey, Meddler>>| {
            let for_weigher = cache.clone();
            Cache::builder()
                .weight_limit(2, move |_: &MeddlingKey, _: &Meddler| {
                    meddle("weigh", &for_weigher);
                    1
                })
                .build()
        });
        let key = |id| MeddlingKey {
            id,
            cache: Arc::downgrade(&cache),
        };
        let value = |id| Meddler {
            id,
            cache: Arc::downgrade(&cache),
        };
        MEDDLE.set((place, false));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for round in 0..4 {
                for id in 0..4 {
                    cache.insert(key(id), value(id));
                    drop(cache.get(&key(id)));
                    let loaded = cache.get_or_load(&key(id + 4), |_| {
                        meddle("load", &Arc::downgrade(&cache));
                        value(id + 4)
                    });
                    drop(loaded);
                    cache.remove(&key(id + 4));
                }
                cache.retain(|key, _| {
                    meddle("retain", &Arc::downgrade(&cache));
                    key.id != round
                });
                drop(cache.iter().collect::<Vec<_>>());
                cache.clear();
            }
        }));
        MEDDLE.set(("nowhere", false));
        // Whatever happened, the cache works.
        cache.insert(key(1), value(1));
        assert!(cache.get(&key(1)).is_some_and(|value| value.id == 1));
        assert!(cache.weight() <= 2 && cache.len() == cache.weight());
        outcome.is_ok()
    })
}

#[test]
fn regress_c15_calling_back_finishes_or_panics_and_never_hangs() {
    for place in ["hash", "drop", "weigh", "load", "retain"] {
        assert!(meddled(place), "{place} may call the cache");
    }
    for place in ["eq", "clone"] {
        assert!(!meddled(place), "{place} may not, and is told so");
    }
}

thread_local! {
    /// Calls of user code until one panics; none does if it is negative.
    static FUSE: Cell<i64> = const { Cell::new(-1) };
}

fn burn() {
    let left = FUSE.get();
    FUSE.set(left - 1);
    if left == 0 {
        panic!("the fuse has burnt down");
    }
}

#[derive(Debug)]
struct BurningKey(u32);

impl Hash for BurningKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        burn();
        self.0.hash(state);
    }
}

impl PartialEq for BurningKey {
    fn eq(&self, other: &Self) -> bool {
        burn();
        self.0 == other.0
    }
}

impl Eq for BurningKey {}

impl Clone for BurningKey {
    fn clone(&self) -> Self {
        burn();
        BurningKey(self.0)
    }
}

#[derive(Debug)]
struct BurningValue(Counted);

impl Clone for BurningValue {
    fn clone(&self) -> Self {
        burn();
        BurningValue(self.0.clone())
    }
}

impl Drop for BurningValue {
    fn drop(&mut self) {
        if !thread::panicking() {
            burn();
        }
    }
}

/// Panics at the `n`th call of user code, for every `n` that the script comes to.
#[test]
fn regress_c17_a_panic_in_user_code_leaves_the_cache_whole() {
    let mut fuse = 0;
    loop {
        let alive = Arc::new(AtomicI64::new(0));
        let clock = HandClock::default();
        let cache = Builder::with_clock(clock.clone())
            .weight_limit(6, |_: &BurningKey, value: &BurningValue| {
                burn();
                value.0.weight
            })
            .time_to_live(Duration::from_millis(20))
            .build();
        let value = |weight| BurningValue(Counted::new(&alive, weight));
        let steps: &[&dyn Fn(u32)] = &[
            &|n| drop(cache.insert(BurningKey(n % 5), value(1 + n as usize % 3))),
            &|n| drop(cache.get(&BurningKey(n % 4))),
            &|n| drop(cache.insert(BurningKey(n % 7), value(7))),
            &|n| {
                drop(cache.get_or_load(&BurningKey(n % 6), |_| {
                    burn();
                    value(2)
                }))
            },
            &|n| drop(cache.remove(&BurningKey(n % 3))),
            &|_| drop(cache.iter().collect::<Vec<_>>()),
            &|n| {
                cache.retain(|key, _| {
                    burn();
                    key.0 != n % 5
                })
            },
            &|n| clock.turn(i64::from(n) * 1_000_000),
            &|n| {
                if n == 8 {
                    cache.clear()
                }
            },
        ];
        FUSE.set(fuse);
        let mut panics = 0;
        for n in 0..10 {
            for step in steps {
                panics += usize::from(catch_unwind(AssertUnwindSafe(|| step(n))).is_err());
            }
        }
        let burnt = FUSE.get() < 0;
        FUSE.set(-1);
        assert_eq!(panics, usize::from(burnt), "at {fuse}");

        let weight: usize = cache.iter().map(|(_, value)| value.0.weight).sum();
        assert!(cache.weight() <= 6 && weight <= cache.weight(), "at {fuse}");
        assert_eq!(
            alive.load(Ordering::SeqCst),
            cache.len() as i64,
            "at {fuse}"
        );
        cache.insert(BurningKey(1), value(3));
        assert!(cache.get(&BurningKey(1)).is_some(), "at {fuse}");
        assert_eq!(cache.get_or_load(&BurningKey(99), |_| value(1)).0.weight, 1);
        drop(cache);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "at {fuse}");
        if !burnt {
            break;
        }
        fuse += 1;
    }
    assert!(fuse > 200, "the script calls user code {fuse} times");
}

#[test]
fn regress_c20_clearing_during_inserts_and_loads() {
    watched(|| {
        let cache = Arc::new(
            Cache::builder()
                .weight_limit(1_000, |_: &u64, value: &u64| *value as usize % 10)
                .shards(4)
                .build(),
        );
        let start = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS as u64)
            .map(|number| {
                let (cache, start) = (cache.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    for n in 0..3_000 {
                        let key = (n * 7 + number) % 500;
                        match (n + number) % 8 {
                            0 => cache.clear(),
                            1 | 2 => drop(cache.insert(key, n)),
                            3 => drop(cache.remove(&key)),
                            4 if n % 50 == 0 => cache.retain(|key, _| key % 2 == 0),
                            _ => drop(cache.get_or_load(&key, |_| n)),
                        }
                        assert!(cache.weight() <= 1_000);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let entries: Vec<(u64, u64)> = cache.iter().collect();
        let weight: usize = entries.iter().map(|(_, value)| *value as usize % 10).sum();
        assert_eq!((cache.len(), cache.weight()), (entries.len(), weight));
    });
}

/// Keys that collide for one seed do not for another, and each cache has its own.
#[test]
fn regress_c21_colliding_keys_cannot_be_prepared() {
    use std::hash::BuildHasher;
    let known = purlin_core::MapHasher::with_seed(0);
    // The lowest bits lead to the bucket.
    let bucket = |hasher: &purlin_core::MapHasher, key: u64| hasher.hash_one(key) & 0xfff;
    let hostile: Vec<u64> = (0..)
        .filter(|&key| bucket(&known, key) == 0)
        .take(200)
        .collect();
    let unknown = purlin_core::MapHasher::new();
    let mut buckets: Vec<u64> = hostile.iter().map(|&key| bucket(&unknown, key)).collect();
    buckets.sort_unstable();
    buckets.dedup();
    assert!(
        buckets.len() > 150,
        "200 hostile keys are in {} buckets",
        buckets.len()
    );
}

#[test]
fn regress_c22_the_bound_holds_at_every_instant() {
    watched(|| {
        const CAPACITY: usize = 100;
        let cache = Arc::new(Cache::builder().entry_limit(CAPACITY).shards(4).build());
        let running = Arc::new(AtomicUsize::new(THREADS));
        let writers: Vec<_> = (0..THREADS as u64)
            .map(|number| {
                let (cache, running) = (cache.clone(), running.clone());
                thread::spawn(move || {
                    for n in 0..50_000 {
                        cache.insert(n * THREADS as u64 + number, ());
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        while running.load(Ordering::SeqCst) > 0 {
            assert!(cache.len() <= CAPACITY);
            assert!(cache.weight() <= CAPACITY);
        }
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(cache.len(), CAPACITY);
    });
}
