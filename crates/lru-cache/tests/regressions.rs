//! Defects that other caches have had, each as one test: values, bounds and time. The numbers are those of the
//! checklist in `docs/lru-cache.md`.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use purlin_core::ManualClock;
use purlin_lru_cache::{Builder, Cache, Policy, unsync};

use common::{Counted, Gate, HandClock, poll, watched};

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

    // And each cache has a hasher of its own: made alike, two of them put the same keys together otherwise, and so keep others.
    let kept = |cache: &Cache<u64, ()>| {
        (0..6_000).for_each(|key| drop(cache.insert(key, ())));
        let mut keys: Vec<u64> = cache.iter().map(|(key, ())| key).collect();
        keys.sort_unstable();
        keys
    };
    let builder = || {
        Cache::builder()
            .policy(Policy::S3Fifo)
            .shards(1)
            .entry_limit(2_000)
    };
    let seeded = || {
        builder()
            .hasher(purlin_core::MapHasher::with_seed(0))
            .build()
    };
    assert_eq!(
        kept(&seeded()),
        kept(&seeded()),
        "nothing else is by chance"
    );
    assert_ne!(kept(&builder().build()), kept(&builder().build()));
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
                    for n in 0..20_000 {
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
