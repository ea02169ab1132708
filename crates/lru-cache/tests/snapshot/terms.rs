//! What an entry was stored on goes with it: time, pins, tags, weights and costs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{POLICIES, SECOND, cache, entries, restored, saved};
use purlin_core::{Clock, ManualClock, MapHasher, WallTime};
use purlin_lru_cache::{Builder, Terms};

fn timed(
    clock: &ManualClock,
) -> Builder<u64, u64, purlin_lru_cache::ByEntries, MapHasher, ManualClock> {
    Builder::with_clock(clock.clone())
        .entry_limit(100)
        .time_to_live(60 * SECOND)
}

#[test]
fn an_entry_has_left_what_it_had_less_the_time_between() {
    let clock = ManualClock::at_wall(WallTime::from_unix_millis(1_000_000));
    let before = timed(&clock).build();
    before.insert(1, 1);
    before.insert_for(2, 2, 20 * SECOND);
    before.insert_for(3, 3, Duration::MAX);
    clock.advance(5 * SECOND);
    before.insert_for(4, 4, SECOND);
    clock.advance(5 * SECOND);
    let json = saved(&before);

    // Another process: its ticks begin at zero, half a minute was lost, and what was over is not there.
    let at =
        |wall_s: u64| ManualClock::at_wall(WallTime::from_unix_millis(1_000_000 + 1_000 * wall_s));
    let restored = |clock: &ManualClock| {
        let read = &mut serde_json::Deserializer::from_str(&json);
        timed(clock).restore(read).unwrap()
    };
    let clock = at(10 + 5);
    let after = restored(&clock);
    assert_eq!(entries(&after), BTreeMap::from([(1, 1), (2, 2), (3, 3)]));
    clock.advance(5 * SECOND);
    assert_eq!(
        after.get(&2),
        None,
        "it had 10 s left, and 5 of them were lost"
    );
    clock.advance(40 * SECOND);
    assert_eq!(after.get(&1), None);
    clock.advance(Duration::from_secs(1 << 30));
    assert_eq!(after.get(&3), Some(3));

    assert_eq!(
        entries(&restored(&at(10 + 10))),
        BTreeMap::from([(1, 1), (3, 3)])
    );
    assert_eq!(entries(&restored(&at(10 + 50))), BTreeMap::from([(3, 3)]));
    // A clock on the wall that was set back tells nothing.
    assert_eq!(restored(&ManualClock::new()).len(), 3);
}

#[test]
fn times_to_idle_go_on_and_new_lifetimes_apply() {
    let clock = ManualClock::new();
    let idle = || {
        Builder::<u64, u64, _, _, _>::with_clock(clock.clone())
            .entry_limit(100)
            .time_to_idle(10 * SECOND)
    };
    let before = idle().build();
    before.insert(1, 1);
    before.insert(2, 2);
    clock.advance(6 * SECOND);
    before.get(&2);
    let json = saved(&before);
    let read = || serde_json::from_str::<serde_json::Value>(&json).unwrap();
    let after = idle().restore(read()).unwrap();
    clock.advance(4 * SECOND);
    assert_eq!(entries(&after), BTreeMap::from([(2, 2)]));
    after.get(&2);
    clock.advance(9 * SECOND);
    assert_eq!(after.get(&2), Some(2), "its use was a use");
    clock.advance(10 * SECOND);
    assert!(entries(&after).is_empty());

    // A cache whose entries end otherwise.
    let wall = clock.wall();
    let clock = ManualClock::at_wall(wall);
    let after = timed(&clock).restore(read()).unwrap();
    assert_eq!(after.len(), 2);
    clock.advance(59 * SECOND);
    assert_eq!(entries(&after).len(), 2);
    clock.advance(SECOND);
    assert!(entries(&after).is_empty());
}

#[test]
fn the_pinned_stay_pinned_as_far_as_there_is_room() {
    for policy in POLICIES {
        let before = cache(10, policy, 1);
        for key in 0..6 {
            before.insert(key, key);
            before.pin(&key);
        }
        (10..50).for_each(|key| drop(before.insert(key, key)));
        let json = saved(&before);
        let after = restored::<u64>(&json, 10, policy, 2);
        assert_eq!((after.pinned(), after.len()), (6, 10));
        assert_eq!(entries(&after), entries(&before));
        (50..100).for_each(|key| drop(after.insert(key, key)));
        assert!((0..6).all(|key| after.get(&key) == Some(key)));
        let smaller = restored::<u64>(&json, 4, policy, 2);
        assert_eq!((smaller.pinned(), smaller.len()), (4, 4));
        assert!(restored::<u64>(&json, 0, policy, 2).is_empty());
    }
}

#[test]
fn what_had_a_tag_leaves_with_any() {
    for policy in POLICIES {
        let before = cache(10, policy, 1);
        before.insert_on(1, 1, Terms::new().tag("a"));
        before.insert_on(2, 2, Terms::new().tag("b"));
        before.insert(3, 3);
        before.invalidate_tag("b");
        let after = restored::<u64>(&saved(&before), 10, policy, 2);
        assert_eq!(entries(&after), BTreeMap::from([(1, 1), (3, 3)]));
        after.invalidate_tag("c");
        assert_eq!(entries(&after), BTreeMap::from([(3, 3)]));
    }
}

#[test]
fn weights_are_asked_for_anew_and_costs_are_kept() {
    let by_weight = |limit| {
        Builder::<u64, usize, _, _, _>::new()
            .weight_limit(limit, |_, weight: &usize| *weight)
            .shards(1)
    };
    let before = by_weight(100).build();
    for key in 0..30 {
        before.insert(key, key as usize % 7);
    }
    before.insert_on(90, 5, Terms::new().cost(1_000));
    let json = saved(&before);
    let read = || serde_json::from_str::<serde_json::Value>(&json).unwrap();
    let after = by_weight(100).restore(read()).unwrap();
    assert_eq!(entries(&after), entries(&before));
    assert_eq!(after.weight(), before.weight());
    for limit in [0, 1, 5, 30] {
        let after = by_weight(limit).restore(read()).unwrap();
        assert!(after.weight() <= limit);
        assert_eq!(after.weight(), entries(&after).values().sum::<usize>());
    }
    // What is costly outlasts what is not.
    (200..400).for_each(|key| drop(after.insert(key, 5)));
    assert_eq!(after.get(&90), Some(5));
}
