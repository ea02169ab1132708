//! Defects that other caches have had, each as one test: memory, types, and work that is put off. The numbers are
//! those of the checklist in `docs/lru-cache.md`. What must not compile for them is in `src/regressions.rs`.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::any::Any;
use std::cell::Cell;
use std::future::ready;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use purlin_core::{Clock, MapHasher, Rng, Tick, WallTime};
use purlin_lru_cache::{Builder, Cache, Inserted, Policy, unsync};
use static_assertions::{assert_impl_all, assert_not_impl_any};

use common::{Counted, Gate, HandClock, poll, watched};

/// Less where an interpreter runs it.
const fn times(n: u64) -> u64 {
    if cfg!(miri) { n / 200 } else { n }
}

const POLICIES: [Policy; 5] = [
    Policy::Adaptive,
    Policy::Lru,
    Policy::S3Fifo,
    Policy::Fifo,
    Policy::Lfu,
];

const SECOND: u64 = 1_000_000_000;

/// Timers name entries, and entries move and go. Whatever happens between setting a timer and its going off, no
/// entry is freed twice, none is left over, and none is found by another's timer. Under miri no freed memory is
/// touched either.
#[test]
fn regress_c13_timers_and_entries_that_move_and_go() {
    for policy in POLICIES {
        let alive = Arc::new(AtomicI64::new(0));
        let clock = HandClock::default();
        let mut cache = Builder::with_clock(clock.clone())
            .policy(policy)
            .entry_limit(if cfg!(miri) { 24 } else { 300 })
            .time_to_idle(Duration::from_secs(20))
            .build_unsync();
        let mut rng = Rng::from_seed(13);
        for _ in 0..times(10_000) {
            let key = rng.below(cache.capacity() as u64 * 2);
            let life = Duration::from_millis(1 + rng.below(30_000));
            match rng.below(16) {
                0..=6 => drop(cache.insert_for(key, (key, Counted::new(&alive, 1)), life)),
                7..=9 => {
                    let value = cache.get(&key);
                    assert!(value.is_none_or(|(its, _)| *its == key));
                }
                10 => drop(cache.remove(&key)),
                11 => cache.retain(|key, _| key % 7 != 0),
                12 => drop(cache.sweep(1 + rng.below(20) as usize)),
                13 if rng.below(50) == 0 => cache.clear(),
                13 => drop(cache.pop_oldest()),
                14 => clock.turn(rng.below(5 * SECOND) as i64),
                // Back, and so far ahead that the wheel goes round.
                _ => clock.turn(rng.below(40 * SECOND) as i64 - 10 * SECOND as i64),
            }
            assert_eq!(alive.load(Ordering::SeqCst), cache.len() as i64);
        }
        clock.turn(10_000 * SECOND as i64);
        while !cache.sweep(64) {}
        assert_eq!((cache.len(), alive.load(Ordering::SeqCst)), (0, 0));
    }
}

/// What a call does beside its own work, at most, in entries: promised in the crate's documentation.
const ON_THE_SIDE: usize = 8;

/// There is no pending work that could starve or pile up: sixteen threads insert at once beside a mountain of
/// entries that are over, and each call takes a few of them away and never more, until none is left.
#[test]
fn regress_c14_no_call_does_the_work_that_others_put_off() {
    watched(|| {
        let (entries, writers) = (times(100_000), 16);
        let clock = HandClock::default();
        let cache = Arc::new(
            Builder::with_clock(clock.clone())
                .entry_limit(4 * entries as usize)
                .build(),
        );
        for key in 0..entries {
            cache.insert_for(key, key, Duration::from_secs(1));
        }
        assert_eq!(cache.len() as u64, entries);
        clock.turn(2 * SECOND as i64);

        let most = thread::scope(|scope| {
            let threads: Vec<_> = (0..writers)
                .map(|writer| {
                    let cache = &cache;
                    scope.spawn(move || {
                        let calls = entries * 2 / writers;
                        let keys = (0..calls).map(|n| entries + writer * calls + n);
                        let left = keys.map(|key| cache.insert(key, key).evicted.len());
                        left.max().unwrap()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .max()
                .unwrap()
        });
        assert!(most <= ON_THE_SIDE + 1, "one call took {most} entries away");
        let still_dead = cache.len() as u64 - entries * 2 / writers * writers;
        assert_eq!(still_dead, 0, "nobody took them away");
    });
}

/// What `get` gives belongs to the caller, so it can be held over an await: the cache is used by others meanwhile, on
/// the same key, and even dropped.
#[test]
fn regress_c16_a_value_that_is_held_over_an_await_holds_nothing_up() {
    watched(|| {
        let cache = Arc::new(Cache::<u8, Arc<str>>::new(1));
        cache.insert(1, "held".into());
        let gate = Gate::default();
        let mut holder = pin!({
            let (cache, gate) = (cache.clone(), gate.clone());
            async move {
                let got = cache.get(&1).unwrap();
                let loaded = cache
                    .get_or_load_async(&2, |_| ready("loaded".into()))
                    .await;
                drop(cache);
                gate.opened().await;
                (got, loaded)
            }
        });
        assert!(poll(holder.as_mut()).is_pending());
        cache.insert(1, "another".into());
        cache.insert(2, "another".into());
        cache.clear();
        drop(Arc::into_inner(cache).expect("the holder has let go of it"));
        gate.open();
        let Poll::Ready((got, loaded)) = poll(holder.as_mut()) else {
            panic!("the gate is open");
        };
        assert_eq!((&*got, &*loaded), ("held", "loaded"));
    });
}

/// A value may move to another thread with the cache if it may move there by itself, and not otherwise. The type is
/// asked here and the compiler in `src/regressions.rs`.
#[test]
fn regress_c18_a_cache_is_sent_and_shared_exactly_if_its_keys_and_values_may_be_sent() {
    type Guard = MutexGuard<'static, u8>;

    assert_impl_all!(Cache<String, Vec<u8>>: Send, Sync);
    // It is cloned under a lock and never referred to, so it need not be `Sync`.
    assert_impl_all!(Cache<u8, Cell<u8>>: Send, Sync);
    assert_not_impl_any!(Cache<u8, Rc<u8>>: Send, Sync);
    assert_not_impl_any!(Cache<Rc<u8>, u8>: Send, Sync);
    assert_not_impl_any!(Cache<u8, *const u8>: Send, Sync);
    assert_not_impl_any!(Cache<u8, Guard>: Send, Sync);
    // Its clock and its hasher are used by all threads.
    assert_not_impl_any!(Cache<u8, u8, MapHasher, OneThreaded>: Sync);

    // What is unsynchronised shares as its parts do: `get` takes it exclusively, `peek` does not.
    assert_impl_all!(unsync::Cache<u8, u8>: Send, Sync);
    assert_impl_all!(unsync::Cache<u8, Cell<u8>>: Send);
    assert_not_impl_any!(unsync::Cache<u8, Cell<u8>>: Sync);
    assert_not_impl_any!(unsync::Cache<u8, Rc<u8>>: Send, Sync);
    assert_not_impl_any!(unsync::Cache<Rc<u8>, u8>: Send, Sync);

    assert_impl_all!(Inserted<u8, u8>: Send, Sync);
    assert_not_impl_any!(Inserted<u8, Rc<u8>>: Send, Sync);
}

/// A clock that only its thread can ask.
#[derive(Debug)]
struct OneThreaded(Cell<Tick>);

impl Clock for OneThreaded {
    fn now(&self) -> Tick {
        self.0.get()
    }
    fn wall(&self) -> WallTime {
        WallTime::UNIX_EPOCH
    }
}

/// What was read stays what it was, whatever becomes of the entry; under miri, no freed memory is read.
#[test]
fn regress_c19_what_was_read_outlives_its_entry() {
    let outlives: Box<dyn Any> = {
        let cache = Cache::<String, String>::new(2);
        cache.insert("key".to_owned(), "first".to_owned());
        let mut read = vec![cache.get("key"), cache.peek("key")];
        let walk = cache.iter();
        read.push(
            cache
                .insert("key".to_owned(), "second".to_owned())
                .into_previous(),
        );
        read.extend(walk.map(|(_, value)| Some(value)));
        read.push(cache.remove("key"));
        for n in 0..100 {
            cache.insert(n.to_string(), n.to_string());
        }
        Box::new(read)
    };
    let read = outlives.downcast::<Vec<Option<String>>>().unwrap();
    let read: Vec<&str> = read.iter().flatten().map(String::as_str).collect();
    assert_eq!(read[..3], ["first", "first", "first"]);
    assert_eq!(read.last(), Some(&"second"));
}

/// Readers of one key beside a writer that replaces it: each sees a whole value, and none of them one that is gone.
#[test]
fn regress_c19_readers_beside_a_writer_see_whole_values() {
    watched(|| {
        let cache = Cache::<u8, [u64; 2]>::new(64);
        cache.insert(0, [0, !0]);
        let is_over = AtomicBool::new(false);
        let latest = Mutex::new(0);
        thread::scope(|scope| {
            for _ in 0..if cfg!(miri) { 1 } else { 3 } {
                scope.spawn(|| {
                    let mut seen = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        let [number, inverse] = cache.get(&0).unwrap();
                        assert_eq!(number, !inverse, "halves of two values");
                        assert!(number >= seen, "{number} after {seen}");
                        seen = number;
                    }
                });
            }
            for number in 1..=if cfg!(miri) { 20 } else { 5_000 } {
                cache.insert(0, [number, !number]);
                *latest.lock().unwrap() = number;
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(cache.get(&0).unwrap()[0], *latest.lock().unwrap());
    });
}
