//! What each call answers, at the ends of its range as well as in the middle.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::rc::Rc;
use std::time::Duration;

use purlin_core::{CacheStore, Clock, ManualClock, MapHasher, Meter, SystemClock};
use purlin_lru_cache::{
    Builder, Cache, Cause, Equivalent, Evicted, Eviction, Inserted, Outcome, Policy, Refusal,
    Stats, unsync,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};

use common::block_on;

assert_impl_all!(Cache<String, Vec<u8>>: Send, Sync, std::fmt::Debug, CacheStore<String, Vec<u8>>);
assert_impl_all!(unsync::Cache<String, Vec<u8>>: Send, Sync, std::fmt::Debug);
assert_impl_all!(Inserted<String, u8>: Send, Sync, std::fmt::Debug);
// A value that only moves between threads is enough: it is cloned under a lock, and never referred to.
assert_impl_all!(Cache<u8, std::cell::Cell<u8>>: Send, Sync);
assert_not_impl_any!(Cache<u8, Rc<u8>>: Send, Sync);
assert_not_impl_any!(Cache<Rc<u8>, u8>: Send, Sync);

const SECOND: Duration = Duration::from_secs(1);

/// A key made of two parts, and the two parts as a caller has them.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PageKey(String, u32);

#[derive(Hash)]
struct PageRef<'a>(&'a str, u32);

impl Equivalent<PageKey> for PageRef<'_> {
    fn equivalent(&self, key: &PageKey) -> bool {
        self.0 == key.0 && self.1 == key.1
    }
}

#[test]
fn keys_are_found_by_borrowed_and_by_equivalent_forms() {
    let names = Cache::new(10);
    names.insert("beam".to_owned(), 1);
    assert_eq!(names.get("beam"), Some(1));
    assert_eq!(names.remove("beam"), Some(1));

    let pages = Cache::new(10);
    pages.insert(PageKey("index".to_owned(), 2), "html");
    assert_eq!(pages.get(&PageRef("index", 2)), Some("html"));
    assert_eq!(pages.get(&PageRef("index", 3)), None);
    assert!(pages.contains(&PageRef("index", 2)));
    let (key, value) = pages.remove_entry(&PageRef("index", 2)).unwrap();
    assert_eq!((key.0.as_str(), key.1, value), ("index", 2, "html"));
}

#[test]
fn an_insert_says_what_became_of_the_entry_and_who_left() {
    let cache = Cache::builder().entry_limit(2).policy(Policy::Lru).build();
    assert_eq!(cache.insert("a", 1).outcome, Outcome::New);
    assert_eq!(
        cache.insert("a", 2).outcome,
        Outcome::Replaced { key: "a", value: 1 }
    );
    cache.insert("b", 3);
    let inserted = cache.insert("c", 4);
    assert!(inserted.is_stored());
    assert_eq!(inserted.evicted.len(), 1);
    let left: Vec<_> = inserted.evicted.into_iter().collect();
    assert_eq!(
        left,
        [Eviction {
            key: "a",
            value: 2,
            cause: Cause::Capacity
        }]
    );
    assert_eq!(cache.insert("c", 5).into_previous(), Some(4));
}

#[test]
fn an_entry_that_is_too_heavy_is_given_back_and_its_predecessor_removed() {
    let cache = Cache::builder()
        .weight_limit(10, |_: &&str, value: &usize| *value)
        .build();
    cache.insert("other", 2);
    cache.insert("key", 8);
    let inserted = cache.insert("key", 11);
    assert!(!inserted.is_stored());
    assert_eq!(
        inserted.outcome,
        Outcome::Rejected {
            key: "key",
            value: 11,
            previous: Some(("key", 8)),
            why: Refusal::TooHeavy,
        }
    );
    assert_eq!(
        cache.get("key"),
        None,
        "what was to be replaced is out of date"
    );
    assert_eq!(
        cache.get("other"),
        Some(2),
        "nobody leaves for who does not come"
    );
    assert_eq!(cache.insert("key", 99).into_rejected(), Some(("key", 99)));
    assert!(cache.insert("key", 10).is_stored());
}

#[test]
fn a_heavy_entry_evicts_as_many_of_the_oldest_as_it_needs() {
    let cache = Cache::builder()
        .weight_limit(10, |_: &u8, value: &usize| *value)
        .policy(Policy::Lru)
        .build();
    for key in 0..5 {
        cache.insert(key, 2);
    }
    let evicted: Evicted<u8, usize> = cache.insert(9, 7).evicted;
    assert!(!evicted.is_empty());
    let keys: Vec<u8> = evicted.into_iter().map(|eviction| eviction.key).collect();
    assert_eq!(keys, [0, 1, 2, 3]);
    assert_eq!(cache.weight(), 9);
}

#[test]
fn an_entry_without_weight_is_free_and_leaves_in_its_turn() {
    let mut cache = unsync::Cache::builder()
        .weight_limit(1, |_: &u8, value: &usize| *value)
        .policy(Policy::Lru)
        .build_unsync();
    for key in 0..100 {
        cache.insert(key, 0);
    }
    assert_eq!((cache.len(), cache.weight()), (100, 0));
    cache.insert(100, 1);
    assert_eq!(cache.len(), 101);
    // The oldest must go until the new one fits, and those before the heavy one are older.
    assert_eq!(cache.insert(101, 1).evicted.len(), 101);
}

#[test]
fn peeking_and_walking_are_no_uses() {
    let mut cache = unsync::Cache::builder()
        .entry_limit(2)
        .policy(Policy::Lru)
        .build_unsync();
    cache.insert("a", 1);
    cache.insert("b", 2);
    assert_eq!(cache.peek("a"), Some(&1));
    assert!(cache.contains("a"));
    assert_eq!(cache.iter().count(), 2);
    assert_eq!(cache.insert("c", 3).evicted.iter().next().unwrap().key, "a");
    assert_eq!((cache.stats().hits, cache.stats().misses), (0, 0));
    assert_eq!(cache.pop_oldest(), Some(("b", 2)));
    assert_eq!(cache.pop_oldest(), Some(("c", 3)));
    assert_eq!(cache.pop_oldest(), None);
}

#[test]
fn a_value_lives_for_its_own_time_or_else_the_caches() {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .entry_limit(10)
        .time_to_live(10 * SECOND)
        .clock(clock.clone())
        .build();
    cache.insert("ordinary", ());
    cache.insert_for("short", (), SECOND);
    cache.insert_for("long", (), 20 * SECOND);
    cache.insert_for("eternal", (), Duration::MAX);
    let there = || ["short", "ordinary", "long", "eternal"].map(|key| cache.get(key).is_some());

    clock.advance(SECOND - Duration::from_nanos(1));
    assert_eq!(there(), [true; 4]);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(there(), [false, true, true, true]);
    clock.advance(9 * SECOND);
    assert_eq!(there(), [false, false, true, true]);
    cache.insert("ordinary", ());
    clock.advance(10 * SECOND);
    assert_eq!(there(), [false, false, false, true]);
    clock.advance(Duration::from_secs(u64::MAX));
    assert_eq!(there(), [false, false, false, true]);
    assert_eq!(cache.stats().expirations, 4);
}

#[test]
fn a_value_that_is_used_lives_on() {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .entry_limit(10)
        .time_to_idle(10 * SECOND)
        .time_to_live(25 * SECOND)
        .clock(clock.clone())
        .build();
    cache.insert("used", ());
    cache.insert("peeked", ());
    for _ in 0..2 {
        clock.advance(9 * SECOND);
        assert_eq!(cache.get("used"), Some(()));
        cache.peek("peeked");
        assert_eq!(cache.iter().count(), cache.len());
    }
    assert_eq!(cache.len(), 1, "a peek is no use, and the dead are swept");
    clock.advance(7 * SECOND);
    assert_eq!(
        cache.get("used"),
        None,
        "it was used, but its time to live is over"
    );
}

#[test]
fn a_sweep_drops_the_dead_within_its_budget() {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .entry_limit(1000)
        .time_to_live(SECOND)
        .clock(clock.clone())
        .build();
    for key in 0..1000 {
        cache.insert(key, ());
    }
    clock.advance(2 * SECOND);
    assert_eq!(cache.len(), 1000, "nobody has called yet");
    assert_eq!(cache.iter().count(), 0, "yet they are not to be seen");
    let before = cache.len();
    assert!(!cache.sweep(100));
    assert!(
        before - cache.len() <= 108,
        "the budget, and what a call does on the side"
    );
    assert!(cache.sweep(usize::MAX));
    assert_eq!(cache.len(), 0);
}

#[test]
fn calls_sweep_on_the_side_and_a_bounded_number_each() {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .entry_limit(10_000)
        .shards(1)
        .time_to_live(SECOND)
        .clock(clock.clone())
        .build();
    for key in 0..10_000 {
        cache.insert(key, ());
    }
    clock.advance(2 * SECOND);
    let mut before = cache.len();
    for call in 0..10_000 {
        cache.get(&(10_000 + call));
        let now = cache.len();
        assert!(before - now <= 8, "one call dropped {}", before - now);
        before = now;
        if now == 0 {
            return;
        }
    }
    panic!("{before} of the dead are left");
}

#[test]
fn a_walk_meets_each_entry_once() {
    for shards in [1, 8] {
        let cache = Cache::builder().entry_limit(10_000).shards(shards).build();
        for key in 0..5_000 {
            cache.insert(key, key + 1);
        }
        for key in (0..5_000).step_by(3) {
            cache.remove(&key);
        }
        let met: Vec<(u32, u32)> = cache.iter().collect();
        let distinct: BTreeSet<u32> = met.iter().map(|&(key, _)| key).collect();
        assert_eq!(met.len(), cache.len());
        assert_eq!(distinct.len(), met.len());
        assert!(
            met.iter()
                .all(|&(key, value)| key % 3 != 0 && value == key + 1)
        );
    }
    assert_eq!(Cache::<u8, u8>::new(10).iter().next(), None);
}

#[test]
fn retain_removes_what_was_judged_and_not_what_came_instead() {
    let cache = Cache::new(100);
    for key in 0..100 {
        cache.insert(key, "old");
    }
    cache.retain(|&key, &value| {
        if key == 7 && value == "old" {
            // While it is being judged, it is replaced.
            cache.insert(7, "new");
        }
        key >= 50
    });
    assert_eq!(cache.len(), 51);
    assert_eq!(cache.get(&7), Some("new"));
    cache.retain(|_, _| false);
    assert_eq!((cache.len(), cache.weight()), (0, 0));
}

#[test]
fn the_bound_is_used_to_the_last_entry_where_shards_fill_alike() {
    let cache = Cache::builder().entry_limit(1 << 16).shards(16).build();
    for key in 0..1 << 20 {
        cache.insert(key, ());
        if key % 4096 == 0 {
            assert!(cache.len() <= 1 << 16);
        }
    }
    assert_eq!((cache.len(), cache.capacity()), (1 << 16, 1 << 16));
}

#[test]
fn weight_limited_caches_store_what_they_say_they_do() {
    let cache = Cache::builder()
        .weight_limit(64 << 20, |_: &u32, value: &usize| *value)
        .build();
    assert!(cache.max_entry_weight() >= 8 << 20, "on any machine");
    for key in 0..100 {
        assert!(cache.insert(key, cache.max_entry_weight()).is_stored());
        assert!(cache.weight() <= cache.capacity());
    }
    let whole = Cache::builder()
        .weight_limit(64 << 20, |_: &u32, value: &usize| *value)
        .shards(1)
        .build();
    assert!(whole.insert(1, 64 << 20).is_stored());
    assert!(!whole.insert(1, (64 << 20) + 1).is_stored());
}

#[test]
fn a_hasher_of_the_callers_is_used() {
    fn fill<S: BuildHasher>(hasher: S) -> usize {
        let cache = Cache::builder().entry_limit(10).hasher(hasher).build();
        for key in 0..20u32 {
            cache.insert(key, ());
        }
        cache.len()
    }
    assert_eq!(fill(RandomState::new()), 10);
    assert_eq!(fill(MapHasher::with_seed(7)), 10);
}

#[test]
fn printing_takes_no_lock_and_needs_nothing_of_the_entries() {
    struct Opaque;
    let cache: Cache<u8, Opaque> = Cache::new(3);
    assert_eq!(format!("{cache:?}"), "Cache { capacity: 3, shards: 1, .. }");
    let cache: unsync::Cache<u8, Opaque> = unsync::Cache::new(3);
    assert_eq!(
        format!("{cache:?}"),
        "Cache { capacity: 3, len: 0, weight: 0, .. }"
    );
    let builder = Builder::<u8, Opaque, _, _, _>::new().weight_limit(9, |_, _| 1);
    assert!(format!("{builder:?}").starts_with("Builder { limit: ByWeight(9)"));
}

#[test]
fn statistics_count_each_thing_once() {
    let clock = ManualClock::new();
    let cache = Cache::builder().entry_limit(2).clock(clock.clone()).build();
    cache.insert(1, ());
    cache.insert_for(2, (), SECOND);
    cache.get(&1);
    cache.get(&9);
    clock.advance(SECOND);
    cache.get(&2);
    cache.insert(3, ());
    cache.insert(4, ());
    cache.insert_for(5, (), Duration::ZERO);
    cache.remove(&4);
    cache.remove(&4);
    cache.get_or_load(&6, |_| ());
    assert_eq!(cache.try_get_or_load(&7, |_| Err("down")), Err("down"));
    cache.clear();

    let stats: Stats = cache.stats();
    assert_eq!((stats.hits, stats.misses), (1, 4));
    assert_eq!((stats.insertions, stats.rejections), (5, 1));
    assert_eq!((stats.evictions, stats.expirations), (1, 1));
    assert_eq!(stats.removals, 3);
    assert_eq!(
        (stats.loads, stats.load_failures, stats.load_waits),
        (1, 1, 0)
    );
    assert_eq!((stats.entries, stats.weight), (0, 0));
    assert_eq!(stats.hit_ratio(), 0.2);

    let mut names = BTreeSet::new();
    stats.read(&mut |reading| assert!(names.insert(reading.name)));
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("purlin_lru_cache_"))
    );
}

/// Written against the trait, as a layer would be.
async fn through_the_store<C: CacheStore<String, u64>>(
    store: &C,
) -> (Option<u64>, u64, Option<u64>) {
    let Ok(before) = store.get(&"key".to_owned()).await else {
        panic!("it never fails");
    };
    let loaded = store
        .get_or_load("key".to_owned(), |key| {
            let len = key.len() as u64;
            async move { Ok::<u64, String>(len) }
        })
        .await;
    let Ok(loaded) = loaded else {
        panic!("the load did not fail");
    };
    let removed = store.remove(&"key".to_owned()).await.is_ok();
    let inserted = store.insert("other".to_owned(), 9).await.is_ok();
    assert!(removed && inserted);
    let Ok(after) = store.get(&"other".to_owned()).await else {
        panic!("it never fails");
    };
    (before, loaded, after)
}

#[test]
fn the_cache_is_a_cache_store() {
    let cache = Cache::new(10);
    assert_eq!(block_on(through_the_store(&cache)), (None, 3, Some(9)));
    assert_eq!(cache.get("key"), None);
    let failed = block_on(CacheStore::get_or_load(
        &cache,
        "bad".to_owned(),
        |_| async { Err("down".to_owned()) },
    ));
    assert_eq!(failed.unwrap_err().into_load(), "down");
    assert_eq!(cache.len(), 1);
}

/// Nothing but the tick counts: a cache with the operating system's clock behaves as one under a manual clock that
/// does not move.
#[test]
fn the_operating_systems_clock_moves_on() {
    let clock = SystemClock::new();
    let cache = Cache::builder().entry_limit(10).clock(clock).build();
    cache.insert_for(1, (), Duration::from_nanos(1));
    let start = clock.now();
    common::until(|| clock.now().since(start) >= Duration::from_nanos(1));
    assert_eq!(cache.get(&1), None);
    cache.insert_for(1, (), Duration::from_secs(3600));
    assert_eq!(cache.get(&1), Some(()));
}

#[test]
fn the_futures_of_loads_can_be_sent_to_other_threads() {
    fn sent<T: Send>(_: T) {}
    let cache: Cache<String, String> = Cache::new(1);
    let prefix = &String::from("a");
    sent(cache.get_or_load_async("k", |key| async move { format!("{prefix}{key}") }));
    sent(cache.try_get_or_load_async("k", |key: &str| {
        let key = key.to_owned();
        async move { Err::<String, String>(key) }
    }));
}

#[test]
fn a_value_is_removed_only_if_it_is_the_one_that_was_judged() {
    for policy in [Policy::Lru, Policy::Adaptive] {
        let cache = Cache::builder().entry_limit(10).policy(policy).build();
        cache.insert("a".to_owned(), 1);
        assert_eq!(
            cache.remove_if("b", |_| unreachable!("there is none")),
            None
        );
        assert_eq!(cache.remove_if("a", |&value| value > 1), None);
        let judge = |_: &i32| {
            // Somebody stores another between the judgement and the removal.
            cache.insert("a".to_owned(), 2);
            true
        };
        assert_eq!(cache.remove_if("a", judge), None);
        assert_eq!(cache.get("a"), Some(2));
        let judge =
            |_: &i32| cache.remove("a").is_some() && cache.insert("a".to_owned(), 3).is_stored();
        assert_eq!(cache.remove_if("a", judge), None);
        assert_eq!(cache.remove_if("a", |&value| value == 3), Some(3));
        assert!(cache.is_empty());
    }
}

#[test]
fn with_jitter_what_was_stored_together_ends_apart_and_never_late() {
    for policy in [Policy::Lru, Policy::Adaptive] {
        let clock = ManualClock::new();
        let cache = Cache::builder()
            .entry_limit(1_000)
            .time_to_live(10 * SECOND);
        let cache = cache
            .jitter(0.5)
            .policy(policy)
            .clock(clock.clone())
            .build();
        (0..1_000).for_each(|key| drop(cache.insert(key, key)));
        cache.insert_for(0, 0, 9 * SECOND);
        let alive = || (1..1_000).filter(|key| cache.contains(key)).count();
        clock.advance(5 * SECOND - Duration::from_nanos(1));
        assert_eq!(alive(), 999, "none ends before half of its time");
        clock.advance(Duration::from_millis(2_500));
        assert!((400..600).contains(&alive()), "{}", alive());
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(cache.get(&0), Some(0), "a time of its own is exact");
        clock.advance(Duration::from_millis(1_001));
        assert_eq!((alive(), cache.get(&0)), (0, None));
    }
}
