//! Caches of plain entries, which are read without a lock, beside those that change them.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::hash::Hash;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::HandClock;
use purlin_core::{MapHasher, Rng};
use purlin_lru_cache::{Builder, Cache, Policy, Terms};

/// Less where an interpreter runs it.
const fn times(n: u64) -> u64 {
    if cfg!(miri) { n / 400 } else { n }
}

/// A value of which one half says which key it is of, so that a mixture of two would show.
fn value(key: u64, version: u64) -> u64 {
    (key.wrapping_mul(0x9e37_79b9) << 32) | version
}

fn version_of(key: u64, found: u64) -> u64 {
    let its = found >> 32 == key.wrapping_mul(0x9e37_79b9) & 0xffff_ffff;
    assert!(its, "{found:x} is no value of {key}");
    found & 0xffff_ffff
}

fn open<K: Hash + Eq, V>(entries: usize) -> Cache<K, V> {
    Cache::builder()
        .entry_limit(entries)
        .reads_without_lock()
        .build()
}

const POLICIES: [Policy; 4] = [Policy::Adaptive, Policy::S3Fifo, Policy::Fifo, Policy::Lfu];

/// Runs readers until the writer is done.
fn beside(readers: u64, read: impl Fn(&mut Rng) + Sync, write: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    let ready = Barrier::new(readers as usize + 1);
    thread::scope(|scope| {
        for reader in 0..readers {
            let (is_over, ready, read) = (&is_over, &ready, &read);
            scope.spawn(move || {
                let mut rng = Rng::from_seed(reader);
                ready.wait();
                while !is_over.load(Ordering::Acquire) {
                    read(&mut rng);
                }
            });
        }
        ready.wait();
        write();
        is_over.store(true, Ordering::Release);
    });
}

/// Whatever is inserted, evicted, removed, expired and cleared meanwhile, and however the table grows and shrinks.
#[test]
fn a_value_is_its_keys_and_never_older_than_what_was_stored_before() {
    for policy in POLICIES {
        let clock = HandClock::default();
        let cache: Cache<u64, u64, MapHasher, _> = Builder::with_clock(clock.clone())
            .entry_limit(3_000)
            .policy(policy)
            .reads_without_lock()
            .build();
        const KEYS: u64 = 6_000;
        let stored: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        let read = |rng: &mut Rng| {
            let key = rng.below(KEYS).min(rng.below(KEYS));
            let least = stored[key as usize].load(Ordering::Acquire);
            if let Some(found) = cache.get(&key) {
                assert!(version_of(key, found) >= least, "an older value came back");
            }
        };
        beside(2, read, || {
            let mut rng = Rng::from_seed(7);
            for version in 1..times(8_000) {
                let key = rng.below(KEYS).min(rng.below(KEYS));
                match rng.below(64) {
                    0..=3 => drop(cache.remove(&key)),
                    4 if rng.below(200) == 0 => cache.clear(),
                    5 if rng.below(100) == 0 => {
                        cache.set_capacity(rng.below(5_000) as usize);
                        continue;
                    }
                    6..=9 => {
                        let life = Duration::from_nanos(1 + rng.below(1 << 24));
                        drop(cache.insert_for(key, value(key, version), life));
                    }
                    10 => {
                        clock.turn(rng.below(1 << 22) as i64 - (1 << 20));
                        continue;
                    }
                    11 => {
                        let terms = Terms::new().tag(&(key % 3));
                        drop(cache.insert_on(key, value(key, version), terms));
                    }
                    12 if rng.below(50) == 0 => {
                        cache.invalidate_tag(&(key % 3));
                        continue;
                    }
                    _ => drop(cache.insert(key, value(key, version))),
                }
                // Whoever looks from here on does not find what was there before.
                stored[key as usize].store(version, Ordering::Release);
            }
        });
    }
}

/// The table doubles and is folded, and no entry of those that are there throughout is missed on the way.
#[test]
fn who_stays_is_found_while_the_table_grows_and_is_folded() {
    let cache: Cache<u32, u32> = open(10_000);
    const STAY: u64 = 500;
    for key in 0..STAY as u32 {
        cache.insert(key, !key);
    }
    let read = |rng: &mut Rng| {
        let key = rng.below(STAY) as u32;
        assert_eq!(cache.get(&key), Some(!key), "it is always there");
    };
    beside(2, read, || {
        for _ in 0..if cfg!(miri) { 1 } else { 2 } {
            let most = if cfg!(miri) { 2_000 } else { 6_000 };
            for key in STAY as u32..most {
                cache.insert(key, !key);
            }
            for key in STAY as u32..most {
                cache.remove(&key);
            }
            cache.set_capacity(2_000);
            cache.set_capacity(10_000);
        }
    });
    assert_eq!(cache.len() as u64, STAY);
}

/// A pin moves the entry out of its set and back.
#[test]
fn who_is_pinned_is_found_all_the_time() {
    let cache: Cache<u64, u64> = open(4_000);
    cache.insert(1, 10);
    let read = |_: &mut Rng| assert_eq!(cache.get(&1), Some(10));
    beside(2, read, || {
        for _ in 0..times(1_200) {
            assert!(cache.pin(&1));
            assert!(cache.unpin(&1));
        }
    });
}

#[test]
fn what_is_over_is_not_returned_and_does_not_come_back_with_the_clock() {
    let clock = HandClock::default();
    let cache: Cache<u64, u64, MapHasher, _> = Builder::with_clock(clock.clone())
        .entry_limit(4_000)
        .time_to_live(Duration::from_millis(100))
        .reads_without_lock()
        .build();
    for key in 0..2_000 {
        cache.insert(key, key);
        clock.turn(10_000);
    }
    assert_eq!(cache.get(&0), Some(0));
    clock.turn(100_000_000 - 10_000 * 1_000 - 5_000);
    let held = |cache: &Cache<u64, u64, MapHasher, HandClock>| {
        let held = (0..2_000).filter(|key| cache.get(key).is_some());
        held.collect::<Vec<u64>>()
    };
    let living = held(&cache);
    assert_eq!(living, (1_000..2_000).collect::<Vec<u64>>());
    clock.turn(-90_000_000);
    assert_eq!(held(&cache), living);
    cache.insert_for(7, 70, Duration::from_millis(1));
    assert_eq!(cache.get(&7), Some(70));
    clock.turn(200_000_000);
    assert_eq!(held(&cache), []);
}

#[test]
fn a_use_without_a_lock_prolongs_a_time_to_idle_and_a_tag_is_heeded() {
    let clock = HandClock::default();
    let cache: Cache<u64, u64, MapHasher, _> = Builder::with_clock(clock.clone())
        .entry_limit(4_000)
        .time_to_idle(Duration::from_millis(10))
        .reads_without_lock()
        .build();
    cache.insert(1, 1);
    cache.insert(2, 2);
    for _ in 0..5 {
        clock.turn(6_000_000);
        assert_eq!(cache.get(&1), Some(1));
    }
    assert_eq!(cache.get(&2), None);
    let cache: Cache<u64, u64> = open(4_000);
    cache.insert_on(1, 1, Terms::new().tag(&"beams"));
    cache.insert(2, 2);
    assert_eq!(cache.get(&1), Some(1));
    cache.invalidate_tag(&"beams");
    assert_eq!((cache.get(&1), cache.get(&2)), (None, Some(2)));
}

/// Each look-up is counted once, whichever way it took, and however many threads there are.
#[test]
fn every_look_up_is_counted() {
    const THREADS: u64 = 40;
    let each = times(4_000);
    let cache: Cache<u64, u64> = open(20_000);
    for key in 0..1_000 {
        cache.insert(key, key);
    }
    thread::scope(|scope| {
        for thread in 0..if cfg!(miri) { 3 } else { THREADS } {
            let cache = &cache;
            scope.spawn(move || {
                let mut rng = Rng::from_seed(thread);
                for _ in 0..each {
                    cache.get(&rng.below(2_000));
                }
            });
        }
    });
    let stats = cache.stats();
    let asked = each * if cfg!(miri) { 3 } else { THREADS };
    assert_eq!(stats.hits + stats.misses, asked);
    if !cfg!(miri) {
        assert!(stats.hits.abs_diff(asked / 2) < asked / 20);
    }
}

/// A hot key outlives a scan though its uses were noted without a lock.
#[test]
fn uses_without_a_lock_count_for_the_policy() {
    for policy in [Policy::Adaptive, Policy::S3Fifo, Policy::Lfu] {
        let cache: Cache<u64, u64> = Cache::builder()
            .entry_limit(4_000)
            .policy(policy)
            .reads_without_lock()
            .build();
        for key in 0..4_000u64 {
            cache.insert(key, key);
        }
        let mut hits = 0;
        let rounds = times(400).clamp(1, 40);
        for scan in 0..rounds {
            for key in 0..1_000 {
                if cache.get(&key).is_some() {
                    hits += 1;
                } else {
                    cache.insert(key, key);
                }
            }
            for key in 0..100 {
                cache.insert(1_000_000 + scan * 100 + key, key);
            }
        }
        let ratio = hits as f64 / (1_000 * rounds) as f64;
        assert!(ratio > 0.95, "{policy}: {ratio}");
    }
}

/// Uses are noted as bits that the policy takes in later, so several may count as one. That costs no hits to speak of.
#[test]
fn a_cache_that_is_read_without_a_lock_has_the_hits_of_one_that_is_not() {
    const ENTRIES: usize = 300;
    let mut rng = Rng::from_seed(3);
    // Popular keys, of which others are popular later, with a loop in between.
    let requests: Vec<u64> = (0..times(8_000))
        .map(|n| {
            let popular = (rng.unit() * 12.0).exp2() as u64 + n / 2_000 * 3;
            let looped = 1_000_000 + n % (2 * ENTRIES as u64);
            if n / 1_000 % 3 == 1 { looped } else { popular }
        })
        .collect();
    for policy in POLICIES {
        let hits = |is_open: bool| {
            let mut builder = Cache::builder()
                .entry_limit(ENTRIES)
                .policy(policy)
                .hasher(MapHasher::with_seed(4));
            if is_open {
                builder = builder.reads_without_lock();
            }
            let cache: Cache<u64, u64> = builder.build();
            for &key in &requests {
                if cache.get(&key).is_none() {
                    cache.insert(key, key);
                }
            }
            cache.stats().hits as f64 / requests.len() as f64
        };
        let (locked, open) = (hits(false), hits(true));
        println!("{policy}: {locked:.4} with a lock, {open:.4} without");
        assert!((locked - open).abs() < 0.01, "{policy}: {locked}, {open}");
    }
}
