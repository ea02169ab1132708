//! Defects that other caches have had, each as one test: user code that calls back, or panics. The numbers
//! are those of the checklist in `docs/lru-cache.md`.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use purlin_lru_cache::{Builder, Cache, Cause, Decision, Due, Policy, Terms};

use common::{Counted, HandClock, watched};

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
            let (for_weigher, for_listener) = (cache.clone(), cache.clone());
            Cache::builder()
                .weight_limit(2, move |_: &MeddlingKey, _: &Meddler| {
                    meddle("weigh", &for_weigher);
                    1
                })
                .listener(move |_, _, _| meddle("listener", &for_listener))
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
    for place in ["hash", "drop", "weigh", "listener", "load", "retain"] {
        assert!(meddled(place), "{place} may call the cache");
    }
    for place in ["eq", "clone"] {
        assert!(!meddled(place), "{place} may not, and is told so");
    }
}

/// A listener that stores what has left in the same cache, some times over.
#[test]
fn regress_c15_a_listener_may_store_and_hears_of_what_that_makes_leave() {
    for policy in [Policy::Lru, Policy::Adaptive] {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        let cache = Arc::new_cyclic(|cache: &Weak<Cache<u32, u32>>| {
            let cache = Weak::clone(cache);
            Cache::builder()
                .entry_limit(1)
                .policy(policy)
                .listener(move |&key: &u32, &value: &u32, cause| {
                    all.lock().unwrap().push((key, value, cause));
                    let cache = cache.upgrade().unwrap();
                    if value < 3 {
                        assert!(cache.insert(key + 10, value + 1).is_stored());
                    }
                })
                .build()
        });
        cache.insert(1, 0);
        assert_eq!(cache.insert(2, 1).evicted.len(), 1);
        let expected = [(1, 0), (2, 1), (11, 1), (12, 2), (21, 2), (22, 3)];
        let expected = expected.map(|(key, value)| (key, value, Cause::Capacity));
        assert_eq!(*heard.lock().unwrap(), expected);
        assert_eq!((cache.len(), cache.get(&31)), (1, Some(3)));
    }
}

/// A value whose drop calls the cache.
struct Farewell {
    cache: Weak<Cache<u32, Farewell, purlin_core::MapHasher, HandClock>>,
}

impl Clone for Farewell {
    fn clone(&self) -> Self {
        Farewell {
            cache: Weak::clone(&self.cache),
        }
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(cache) = self.cache.upgrade() {
            // Panics if a lock is held.
            cache.len();
        }
    }
}

/// Every way in which an entry leaves.
#[test]
fn regress_c15_no_value_is_dropped_under_a_lock() {
    let clock = HandClock::default();
    let cache = Arc::new_cyclic(|cache: &Weak<Cache<u32, Farewell, _, HandClock>>| {
        let cache = Weak::clone(cache);
        Builder::with_clock(clock.clone())
            .weight_limit(4, |&key: &u32, _: &Farewell| if key == 99 { 5 } else { 1 })
            .time_to_live(Duration::from_secs(1))
            // Panics, too, if a lock is held.
            .listener(move |_, _, _| assert!(cache.upgrade().is_none_or(|cache| cache.len() < 5)))
            .build()
    });
    let value = || Farewell {
        cache: Arc::downgrade(&cache),
    };
    let fill = || {
        for key in 0..4 {
            drop(cache.insert(key, value()));
        }
    };
    // Replaced, evicted and refused, by a caller who keeps nothing of it.
    fill();
    fill();
    drop(cache.insert(9, value()));
    drop(cache.insert(99, value()));
    drop(cache.get_or_load(&99, |_| value()));
    drop(cache.remove(&9));
    cache.retain(|&key, _| key % 2 == 0);
    cache.clear();
    fill();
    drop(cache.compute(&0, |_| Decision::Put(value())));
    drop(cache.compute(&99, |_| Decision::Put(value())));
    drop(cache.compute(&1, |_| Decision::Remove));
    drop(cache.update(&2, |_| value()));
    drop(cache.remove_if(&3, |_| true));
    // Loaded with others, without having been asked for, and to replace one that is due.
    fill();
    let loaded = || (0..6).map(|key| (key, value()));
    drop(cache.get_or_load_many(&[0, 4, 5], |_| loaded()));
    let due = Due::ahead(Duration::from_secs(9));
    let refresh = cache.get_refreshing(&0, due).and_then(|it| it.refresh);
    drop(refresh.map(|refresh| refresh.run(|_| value())));
    // For want of room, beside one that is pinned; and with its tag.
    fill();
    drop(cache.insert_on(1, value(), Terms::new().pinned().tag("t")));
    cache.pin(&0);
    cache.unpin(&0);
    cache.set_capacity(1);
    cache.set_capacity(4);
    cache.invalidate_tag("t");
    drop(cache.get(&1));
    // Expired, and met by each kind of call.
    let meet: [&dyn Fn(); 19] = [
        &|| drop(cache.get(&0)),
        &|| drop(cache.peek(&0)),
        &|| drop(cache.insert(0, value())),
        &|| drop(cache.remove(&0)),
        &|| drop(cache.get_or_load(&0, |_| value())),
        &|| drop(cache.try_get_or_load(&7, |_| Err::<Farewell, u8>(0))),
        &|| drop(cache.iter().collect::<Vec<_>>()),
        &|| cache.retain(|_, _| true),
        &|| assert!(!cache.contains(&0)),
        &|| drop(cache.get_many(&[0, 1, 2])),
        &|| drop(cache.get_or_load_many(&[0, 1], |_| loaded())),
        &|| drop(cache.get_refreshing(&0, due)),
        &|| drop(cache.compute(&0, |_| Decision::Keep)),
        &|| drop(cache.update(&0, |_| value())),
        &|| drop(cache.remove_if(&0, |_| true)),
        &|| assert!(!cache.pin(&0)),
        &|| assert!(!cache.unpin(&0)),
        &|| assert!(cache.set_capacity(3) < cache.set_capacity(4)),
        &|| assert!(cache.sweep(usize::MAX)),
    ];
    for call in meet {
        fill();
        clock.turn(2_000_000_000);
        call();
    }
    // Expired while it was being loaded.
    fill();
    drop(cache.get_or_load(&0, |_| value()));
    drop(cache.get_or_load(&5, |_| {
        clock.turn(2_000_000_000);
        value()
    }));
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
        let told = Arc::new(AtomicI64::new(0));
        let telling = Arc::clone(&told);
        let cache = Builder::with_clock(clock.clone())
            .weight_limit(6, |_: &BurningKey, value: &BurningValue| {
                burn();
                value.0.weight
            })
            .time_to_live(Duration::from_millis(20))
            .listener(move |_, _, _| {
                telling.fetch_add(1, Ordering::SeqCst);
                burn();
            })
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
        let left = cache.stats().insertions as i64 - cache.len() as i64;
        assert_eq!(told.load(Ordering::SeqCst), left, "at {fuse}");
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
