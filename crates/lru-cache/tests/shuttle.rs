//! Interleavings of whole calls under a model checker's scheduler. Built only with `--cfg purlin_shuttle`, since
//! the locks inside must be the checker's:
//!
//! `RUSTFLAGS="--cfg purlin_shuttle" cargo test --release -p purlin-lru-cache --test shuttle`
#![cfg(purlin_shuttle)]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use purlin_core::{ManualClock, MapHasher, SystemClock};
use purlin_lru_cache::{Cache, Decision, Due};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::{future, thread};

type Shared = Arc<Cache<u64, u64, MapHasher, SystemClock>>;

/// A cache that is the same in every run, as a replayed schedule needs it.
fn cache() -> Shared {
    let builder = Cache::builder().entry_limit(4).shards(1);
    Arc::new(builder.hasher(MapHasher::with_seed(1)).build())
}

/// Schedules of each test: `PURLIN_SHUTTLE_ITERATIONS`, or enough for a change.
fn schedules() -> usize {
    let chosen = std::env::var("PURLIN_SHUTTLE_ITERATIONS").ok();
    chosen.map_or(10_000, |chosen| chosen.parse().unwrap())
}

#[test]
fn regress_c01_nothing_from_before_a_remove_is_seen_after_it() {
    shuttle::check_random(
        || {
            let cache = cache();
            let source = Arc::new(AtomicU64::new(0));
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let (cache, source) = (cache.clone(), source.clone());
                    thread::spawn(move || {
                        for _ in 0..2 {
                            cache.get_or_load(&1, |_| source.load(Ordering::SeqCst));
                        }
                    })
                })
                .collect();
            for version in 1..3 {
                source.store(version, Ordering::SeqCst);
                cache.remove(&1);
                let seen = cache.get_or_load(&1, |_| source.load(Ordering::SeqCst));
                assert_eq!(seen, version);
            }
            for reader in readers {
                reader.join().unwrap();
            }
            assert_eq!(cache.get(&1), Some(2));
        },
        schedules(),
    );
}

/// Three threads count, each in its way, while others write to the cache.
#[test]
fn regress_c02_no_update_is_lost() {
    shuttle::check_random(
        || {
            let cache = cache();
            cache.insert(1, 0);
            let counters: Vec<_> = (0..3)
                .map(|number| {
                    let cache = cache.clone();
                    thread::spawn(move || {
                        let plus_one = |seen: Option<&u64>| {
                            thread::yield_now();
                            Decision::Put(seen.map_or(0, |value| value + 1))
                        };
                        match number {
                            0 => drop(cache.compute(&1, plus_one)),
                            1 => drop(future::block_on(cache.compute_async(
                                &1,
                                |seen| async move {
                                    future::yield_now().await;
                                    plus_one(seen.as_ref())
                                },
                            ))),
                            _ => drop(cache.incr(&1, 1)),
                        }
                        cache.insert(2, 0);
                    })
                })
                .collect();
            for counter in counters {
                counter.join().unwrap();
            }
            assert_eq!(cache.get(&1), Some(3));
        },
        schedules(),
    );
}

/// What is computed is a write: a load that began before it is not stored over it.
#[test]
fn regress_c02_a_load_does_not_undo_an_update() {
    shuttle::check_random(
        || {
            let cache = cache();
            let source = Arc::new(AtomicU64::new(0));
            let reader = thread::spawn({
                let (cache, source) = (cache.clone(), source.clone());
                move || cache.get_or_load(&1, |_| source.load(Ordering::SeqCst))
            });
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    let (cache, source) = (cache.clone(), source.clone());
                    thread::spawn(move || {
                        cache.compute(&1, |seen| {
                            let before = seen.copied().unwrap_or(source.load(Ordering::SeqCst));
                            source.fetch_max(before + 1, Ordering::SeqCst);
                            Decision::Put(before + 1)
                        });
                    })
                })
                .collect();
            reader.join().unwrap();
            for writer in writers {
                writer.join().unwrap();
            }
            assert!(cache.get(&1) >= Some(2));
        },
        schedules(),
    );
}

#[test]
fn regress_c03_one_load_for_threads_and_tasks() {
    shuttle::check_random(
        || {
            let cache = cache();
            let loads = Arc::new(AtomicU64::new(0));
            let callers: Vec<_> = (0..4)
                .map(|number| {
                    let (cache, loads) = (cache.clone(), loads.clone());
                    thread::spawn(move || {
                        if number % 2 == 0 {
                            cache.get_or_load(&1, |_| {
                                thread::yield_now();
                                loads.fetch_add(1, Ordering::SeqCst)
                            })
                        } else {
                            future::block_on(cache.get_or_load_async(&1, |_| async {
                                future::yield_now().await;
                                loads.fetch_add(1, Ordering::SeqCst)
                            }))
                        }
                    })
                })
                .collect();
            for caller in callers {
                assert_eq!(caller.join().unwrap(), 0);
            }
            assert_eq!(loads.load(Ordering::SeqCst), 1);
        },
        schedules(),
    );
}

#[test]
fn regress_c05_a_dropped_leader_leaves_nobody_waiting() {
    shuttle::check_random(
        || {
            let cache = cache();
            let leaver = thread::spawn({
                let cache = cache.clone();
                move || {
                    let load = |_| async {
                        future::yield_now().await;
                        1
                    };
                    let mut leaving = pin!(cache.get_or_load_async(&1, load));
                    let mut cx = Context::from_waker(Waker::noop());
                    // Dropped here, before or after its end, as leader or as one who waits.
                    let _ = leaving.as_mut().poll(&mut cx);
                }
            });
            let stayers: Vec<_> = (0..2)
                .map(|number| {
                    let cache = cache.clone();
                    thread::spawn(move || match number {
                        0 => cache.get_or_load(&1, |_| 1),
                        _ => future::block_on(cache.get_or_load_async(&1, |_| async { 1 })),
                    })
                })
                .collect();
            for stayer in stayers {
                assert_eq!(stayer.join().unwrap(), 1);
            }
            leaver.join().unwrap();
            assert_eq!(cache.get(&1), Some(1));
        },
        schedules(),
    );
}

/// A task that is polled with one waker and then another, while its leader ends.
#[test]
fn regress_c07_no_wake_is_lost_when_the_waker_changes() {
    shuttle::check_random(
        || {
            let cache = cache();
            let leader = thread::spawn({
                let cache = cache.clone();
                move || {
                    cache.get_or_load(&1, |_| {
                        thread::yield_now();
                        1
                    })
                }
            });
            let mut waiting = pin!(cache.get_or_load_async(&1, |_| async { 1 }));
            let mut cx = Context::from_waker(Waker::noop());
            let value = match waiting.as_mut().poll(&mut cx) {
                Poll::Ready(value) => value,
                Poll::Pending => future::block_on(waiting),
            };
            assert_eq!(value, 1);
            assert_eq!(leader.join().unwrap(), 1);
        },
        schedules(),
    );
}

#[test]
fn regress_c20_clearing_during_inserts_and_loads() {
    shuttle::check_random(
        || {
            let cache = cache();
            let workers: Vec<_> = (0..3)
                .map(|number| {
                    let cache = cache.clone();
                    thread::spawn(move || {
                        for key in 0..3 {
                            match number {
                                0 => drop(cache.insert(key, key)),
                                1 => drop(cache.get_or_load(&key, |&key| key)),
                                _ => cache.clear(),
                            }
                            assert!(cache.weight() <= 4);
                        }
                    })
                })
                .collect();
            for worker in workers {
                worker.join().unwrap();
            }
            assert_eq!(cache.weight(), cache.iter().count());
        },
        schedules(),
    );
}

/// A value that is over and kept, while some take it, some do not, and some give the duty up.
#[test]
fn one_load_where_some_take_what_is_stale_and_some_wait() {
    shuttle::check_random(
        || {
            let clock = ManualClock::new();
            let cache = Cache::builder().entry_limit(4).shards(1);
            let cache = cache.hasher(MapHasher::with_seed(1)).clock(clock.clone());
            let cache = cache.time_to_live(Duration::from_secs(10));
            let cache = Arc::new(cache.keep_stale(Duration::from_secs(10)).build());
            cache.insert(1, 0);
            clock.advance(Duration::from_secs(11));
            let loads = Arc::new(AtomicU64::new(0));
            let callers: Vec<_> = (0..4)
                .map(|number| {
                    let (cache, loads) = (cache.clone(), loads.clone());
                    thread::spawn(move || {
                        let load = |_: &u64| {
                            thread::yield_now();
                            loads.fetch_add(1, Ordering::SeqCst) + 1
                        };
                        let serve = || {
                            let due = Due::stale(Duration::from_secs(10));
                            let served = cache.get_refreshing(&1, due);
                            served.expect("it is kept, or there anew")
                        };
                        match number {
                            0 => assert_eq!(cache.get_or_load(&1, load), 1),
                            1 => drop(serve()),
                            2 => {
                                if let Some(refresh) = serve().refresh {
                                    assert!(refresh.run(load).is_none_or(|value| value == 1));
                                }
                            }
                            _ => {
                                if let Some(refresh) = serve().refresh {
                                    let load = async { load(&1) };
                                    let value = future::block_on(refresh.run_async(load));
                                    assert!(value.is_none_or(|value| value == 1));
                                }
                            }
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.join().unwrap();
            }
            assert_eq!(cache.get(&1), Some(1));
            assert_eq!(loads.load(Ordering::SeqCst), 1);
        },
        schedules(),
    );
}

/// Batches that share keys, in opposite orders, and a single load.
#[test]
fn regress_c03_one_load_a_key_for_batches_that_share_some() {
    shuttle::check_random(
        || {
            let cache = cache();
            let loads = Arc::new([const { AtomicU64::new(0) }; 4]);
            let callers: Vec<_> = (0..3)
                .map(|number| {
                    let (cache, loads) = (cache.clone(), loads.clone());
                    thread::spawn(move || {
                        let load = |keys: &[&u64]| {
                            thread::yield_now();
                            let load = |key: &&u64| {
                                loads[**key as usize].fetch_add(1, Ordering::SeqCst);
                                (**key, **key)
                            };
                            keys.iter().map(load).collect::<Vec<_>>()
                        };
                        match number {
                            0 => {
                                let found = cache.get_or_load_many(&[1, 2], load);
                                assert_eq!(found, [Some(1), Some(2)]);
                            }
                            1 => {
                                let load = async |keys: Vec<&u64>| load(&keys);
                                let found = cache.get_or_load_many_async(&[2, 3, 1], load);
                                assert_eq!(future::block_on(found), [Some(2), Some(3), Some(1)]);
                            }
                            _ => assert_eq!(cache.get_or_load(&2, |key| load(&[key])[0].1), 2),
                        }
                    })
                })
                .collect();
            for caller in callers {
                caller.join().unwrap();
            }
            for key in 1..4 {
                assert_eq!(loads[key].load(Ordering::SeqCst), 1, "{key}");
            }
        },
        schedules(),
    );
}

/// Two batches of which one goes away, as one that loads or one that waits: the other is answered.
#[test]
fn regress_c05_a_dropped_batch_leaves_nobody_waiting() {
    shuttle::check_random(
        || {
            let cache = cache();
            let leaver = thread::spawn({
                let cache = cache.clone();
                move || {
                    let load = |_| async {
                        future::yield_now().await;
                        [(1, 1), (2, 2)]
                    };
                    let mut leaving = pin!(cache.get_or_load_many_async(&[1, 2], load));
                    let mut cx = Context::from_waker(Waker::noop());
                    let _ = leaving.as_mut().poll(&mut cx);
                }
            });
            let load = |_: &[&u64]| [(1, 1), (2, 2)];
            assert_eq!(cache.get_or_load_many(&[2, 1], load), [Some(2), Some(1)]);
            leaver.join().unwrap();
        },
        schedules(),
    );
}
