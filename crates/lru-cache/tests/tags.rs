//! Entries that are invalidated together.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{HandClock, block_on};
use purlin_lru_cache::{Builder, Cache, Cause, Outcome, Policy, Refusal, Terms};

const POLICIES: [Policy; 2] = [Policy::Adaptive, Policy::Lru];

#[test]
fn an_invalidated_tag_takes_its_entries_from_every_kind_of_look_and_no_others() {
    for policy in POLICIES {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        let cache: Cache<u32, u32> = Cache::builder()
            .entry_limit(10_000)
            .policy(policy)
            .shards(4)
            .listener(move |&key, _, cause| told.lock().unwrap().push((key, cause)))
            .build();
        for key in 0..1_000 {
            let terms = Terms::new().tag(&(key % 10)).tag("all");
            cache.insert_on(key, key, terms);
        }
        (1_000..1_100).for_each(|key| drop(cache.insert(key, key)));
        cache.pin(&3);
        cache.pin(&4);
        cache.invalidate_tag(&3);
        // There until somebody meets them.
        assert_eq!(cache.len(), 1_100);
        assert_eq!(cache.iter().count(), 1_000);
        for key in 0..1_100 {
            let is_there = key % 10 != 3 || key >= 1_000;
            assert_eq!(cache.peek(&key).is_some(), is_there, "{key}");
            assert_eq!(cache.get(&key).is_some(), is_there, "{key}");
        }
        assert_eq!((cache.len(), cache.pinned()), (1_000, 1));
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        assert_eq!(heard.len(), 100);
        assert!(
            heard
                .iter()
                .all(|&(key, cause)| key % 10 == 3 && cause == Cause::Invalidated)
        );
        assert_eq!(cache.stats().removals, 100);

        // What is stored after is as good as any.
        cache.insert_on(3, 33, Terms::new().tag(&3));
        assert_eq!(cache.get(&3), Some(33));
        cache.invalidate_tag("all");
        assert_eq!(cache.iter().count(), 101);
        assert_eq!(cache.remove(&14), None);
        assert_eq!(cache.insert(15, 1).outcome, Outcome::New);
    }
}

#[test]
fn what_was_read_before_an_invalidation_is_refused_after_it() {
    let cache: Cache<&str, u32> = Cache::new(10);
    let moment = cache.moment();
    cache.invalidate_tag("prices");
    let terms = Terms::new().tag("prices").as_of(moment);
    let outcome = cache.insert_on("page", 1, terms).outcome;
    assert!(
        matches!(
            outcome,
            Outcome::Rejected {
                why: Refusal::Invalidated,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert!(
        cache
            .insert_on("page", 2, Terms::new().tag("stock").as_of(moment))
            .is_stored()
    );
    let terms = Terms::new().tag("prices").as_of(cache.moment());
    assert!(cache.insert_on("page", 3, terms).is_stored());
    assert_eq!(cache.get("page"), Some(3));
}

#[test]
fn an_entry_with_more_tags_than_four_leaves_with_any() {
    let cache: Cache<u8, u8> = Cache::new(10);
    let many = (0..5).fold(Terms::new(), |terms, tag| terms.tag(&tag));
    cache.insert_on(1, 1, many);
    cache.insert_on(
        2,
        2,
        (0..4).fold(Terms::new(), |terms, tag| terms.tag(&tag)),
    );
    cache.invalidate_tag("another");
    assert_eq!((cache.get(&1), cache.get(&2)), (None, Some(2)));
    cache.invalidate_tag(&3);
    assert_eq!(cache.get(&2), None);
}

/// A value that is over may be asked for, for some time; one that is invalid may not.
#[test]
fn an_invalid_value_is_not_served_stale() {
    for policy in POLICIES {
        let clock = HandClock::default();
        let cache: Cache<u8, u8, _, _> = Builder::with_clock(clock.clone())
            .entry_limit(10)
            .policy(policy)
            .time_to_live(Duration::from_secs(1))
            .keep_stale(Duration::from_secs(100))
            .build();
        cache.insert_on(1, 1, Terms::new().tag("a"));
        cache.insert(2, 2);
        clock.turn(2_000_000_000);
        cache.invalidate_tag("a");
        let judged = Mutex::new(Vec::new());
        cache.retain(|&key, _| {
            judged.lock().unwrap().push(key);
            true
        });
        assert_eq!(
            *judged.lock().unwrap(),
            [2],
            "kept, but not what is invalid"
        );
    }
}

#[test]
fn a_load_that_brings_tags_is_invalidated_with_them_even_while_it_loads() {
    for policy in POLICIES {
        let cache: Cache<String, u8> = Cache::builder().entry_limit(10).policy(policy).build();
        let tagged = || Ok::<_, u8>((1, Terms::new().tag("a").pinned()));
        assert_eq!(cache.try_get_or_load_on("loaded", |_| tagged()), Ok(1));
        let awaited = cache.try_get_or_load_on_async("awaited", |_| async { tagged() });
        assert_eq!(block_on(awaited), Ok(1));
        assert_eq!((cache.get("loaded"), cache.pinned()), (Some(1), 2));
        cache.invalidate_tag("a");
        assert_eq!((cache.get("loaded"), cache.get("awaited")), (None, None));

        // What was read before an invalidation is for who asked, and for nobody later.
        let overtaken = |invalidate: bool| {
            cache.try_get_or_load_on("late", |_| {
                if invalidate {
                    cache.invalidate_tag("a");
                }
                tagged()
            })
        };
        assert_eq!((overtaken(true), cache.get("late")), (Ok(1), None));
        assert_eq!((overtaken(false), cache.get("late")), (Ok(1), Some(1)));
        // Another tag is nothing to it.
        cache.clear();
        let other = cache.try_get_or_load_on("other", |_| {
            cache.invalidate_tag("b");
            tagged()
        });
        assert_eq!((other, cache.get("other")), (Ok(1), Some(1)));

        let shortly = Terms::new().time_to_live(Duration::ZERO);
        assert_eq!(
            cache.try_get_or_load_on("shortly", |_| Ok::<_, u8>((1, shortly))),
            Ok(1)
        );
        assert_eq!(cache.try_get_or_load_on("fails", |_| Err(7)), Err(7));
        assert_eq!((cache.get("shortly"), cache.get("fails")), (None, None));
    }
}

/// Also one that nothing is known of, which may go a shorter way.
#[test]
fn a_plain_insertion_among_tagged_entries_replaces_no_invalid_one_and_takes_no_tag() {
    let cache = Cache::<u32, u32>::new(40);
    for key in 0..40 {
        cache.insert_on(key, key, Terms::new().tag("a"));
    }
    cache.invalidate_tag("a");
    let inserted = cache.insert(1, 100);
    assert!(matches!(inserted.outcome, Outcome::New), "{inserted:?}");
    (100..180).for_each(|key| drop(cache.insert(key, key)));
    let held: Vec<_> = cache.iter().collect();
    cache.invalidate_tag("a");
    assert_eq!(cache.iter().collect::<Vec<_>>(), held);
    assert!(held.len() > 30, "{}", held.len());
}
