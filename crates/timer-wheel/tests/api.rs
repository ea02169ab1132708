//! What the wheel promises, one behaviour a test.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use purlin_timer_wheel::Wheel;

/// Everything that fires when the wheel is taken to `now` in calls of `budget` units.
fn fired_at<T>(wheel: &mut Wheel<T>, now: u64, budget: usize) -> Vec<T> {
    let mut fired = Vec::new();
    while !wheel
        .advance(now, budget, |item| fired.push(item))
        .caught_up
    {}
    fired
}

#[test]
fn timers_fire_at_their_tick_and_not_before() {
    for deadline in (0..64)
        .map(|bit| 1 << bit)
        .chain([63, 65, 4095, 4097, u64::MAX - 1])
    {
        let mut wheel = Wheel::new(0);
        wheel.insert(deadline, ());
        assert_eq!(wheel.next_deadline(), Some(deadline));
        assert_eq!(
            wheel.advance(deadline - 1, usize::MAX, drop).fired,
            0,
            "{deadline} fired early"
        );
        assert_eq!(wheel.next_deadline(), Some(deadline));
        assert_eq!(
            wheel.advance(deadline, usize::MAX, drop).fired,
            1,
            "{deadline} is late"
        );
        assert_eq!(wheel.next_deadline(), None);
    }
}

#[test]
fn a_deadline_in_the_past_fires_at_the_next_call_even_at_the_same_tick() {
    let mut wheel = Wheel::new(1_000);
    wheel.insert(0, "long ago");
    wheel.insert(1_000, "now");
    assert_eq!(wheel.next_deadline(), Some(1_000));
    assert_eq!(fired_at(&mut wheel, 1_000, 1), ["long ago", "now"]);
}

#[test]
fn the_end_of_time_never_comes() {
    for start in [0, u64::MAX - 1, u64::MAX] {
        let mut wheel = Wheel::new(start);
        let never = wheel.insert(u64::MAX, "never");
        wheel.insert(u64::MAX - 1, "last");
        assert_eq!(fired_at(&mut wheel, u64::MAX, 1), ["last"]);
        assert_eq!(wheel.reached(), u64::MAX - 1);
        assert_eq!(wheel.next_deadline(), None);
        assert_eq!(wheel.len(), 1);
        assert!(
            wheel.reschedule(never, 5),
            "it can still be brought forward"
        );
        assert_eq!(fired_at(&mut wheel, 0, 1), ["never"]);
    }
}

#[test]
fn one_tick_fires_in_the_order_it_was_set_also_in_the_middle_of_a_cascade() {
    let mut wheel = Wheel::new(0);
    for item in 0..10 {
        wheel.insert(5_000, item);
    }
    // Three of the ten have moved down when the next one comes.
    assert_eq!(wheel.advance(5_000, 3, drop).fired, 0);
    wheel.insert(5_000, 10);
    wheel.insert(0, 11);
    assert_eq!(fired_at(&mut wheel, 5_000, 1), (0..12).collect::<Vec<_>>());
}

#[test]
fn a_call_does_no_more_than_its_budget() {
    let mut wheel = Wheel::new(0);
    for item in 0..1_000 {
        wheel.insert(1 + item % 2, item);
    }
    assert_eq!(wheel.advance(2, 0, drop).fired, 0);
    let mut calls = 0;
    loop {
        let advance = wheel.advance(2, 7, drop);
        assert!(advance.fired <= 7);
        calls += 1;
        if advance.caught_up {
            break;
        }
    }
    assert_eq!(calls, 1_000 / 7 + 1);
    assert!(wheel.is_empty());
}

/// The work of a timer is bounded by the number of levels, whatever the budget of each call.
#[test]
fn a_timer_moves_at_most_once_a_level() {
    let mut wheel = Wheel::new(0);
    let deadlines: Vec<u64> = (0..64).flat_map(|bit| [1 << bit, (1 << bit) + 1]).collect();
    for deadline in &deadlines {
        wheel.insert(*deadline, *deadline);
    }
    let mut units = 0;
    while !wheel.advance(u64::MAX, 1, drop).caught_up {
        units += 1;
    }
    assert!(
        units <= deadlines.len() * 11,
        "{units} units for {} timers",
        deadlines.len()
    );
}

#[test]
fn a_jump_over_empty_time_costs_nothing() {
    let mut wheel = Wheel::new(0);
    wheel.insert(1 << 60, ());
    // One unit to move down from its level, one to fire; the quintillion of ticks between costs none.
    assert!(!wheel.advance(1 << 60, 1, drop).caught_up);
    assert_eq!(wheel.advance(1 << 60, 1, drop).fired, 1);
}

#[test]
fn a_clock_that_steps_back_changes_nothing() {
    let mut wheel = Wheel::new(100);
    wheel.insert(150, "a");
    wheel.insert(160, "b");
    assert_eq!(fired_at(&mut wheel, 155, 1), ["a"]);
    assert_eq!(fired_at(&mut wheel, 3, 1), [] as [&str; 0]);
    assert_eq!(wheel.reached(), 155);
    assert_eq!(wheel.next_deadline(), Some(160));
    assert_eq!(fired_at(&mut wheel, 160, 1), ["b"]);
}

/// Work left over by the budget belongs to the highest tick, so a step back does not put it off.
#[test]
fn left_over_work_is_done_whatever_the_next_tick() {
    let mut wheel = Wheel::new(0);
    wheel.insert(10, "a");
    wheel.insert(20, "b");
    assert_eq!(wheel.advance(30, 1, drop).fired, 1);
    assert_eq!(fired_at(&mut wheel, 0, 1), ["b"]);
}

#[test]
fn a_stale_id_names_nothing_though_its_place_is_used_again() {
    let mut wheel = Wheel::new(0);
    let first = wheel.insert(10, "first");
    assert_eq!(wheel.cancel(first), Some("first"));
    let second = wheel.insert(10, "second");
    assert_ne!(first, second);
    assert_eq!(wheel.cancel(first), None);
    assert!(!wheel.reschedule(first, 5));
    assert_eq!(wheel.get(first), None);
    assert_eq!(wheel.deadline(first), None);
    assert_eq!(fired_at(&mut wheel, 10, 1), ["second"]);
    assert_eq!(wheel.cancel(second), None, "fired, so the id is spent");

    let third = wheel.insert(20, "third");
    wheel.clear();
    let fourth = wheel.insert(20, "fourth");
    assert_eq!(wheel.cancel(third), None, "cleared, so the id is spent");
    assert_eq!(wheel.get(fourth), Some(&"fourth"));
}

#[test]
fn a_bound_left_by_a_cancelled_timer_is_mended_by_one_call() {
    let mut wheel = Wheel::new(0);
    let early = wheel.insert(4_096, ());
    wheel.insert(8_000, ());
    wheel.cancel(early);
    assert_eq!(wheel.next_deadline(), Some(4_096), "a lower bound");
    assert_eq!(wheel.advance(4_096, usize::MAX, drop).fired, 0);
    assert_eq!(wheel.next_deadline(), Some(8_000), "exact again");
}

#[test]
fn a_panic_in_the_callback_loses_that_item_only() {
    let mut wheel = Wheel::new(0);
    for item in 0..5 {
        wheel.insert(10, item);
    }
    let mut fired = Vec::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        wheel.advance(10, usize::MAX, |item| {
            assert_ne!(item, 2, "as the test wants");
            fired.push(item);
        })
    }));
    assert!(outcome.is_err());
    assert_eq!(wheel.len(), 2);
    wheel.insert(10, 5);
    assert_eq!(fired_at(&mut wheel, 10, 1), [3, 4, 5]);
    assert_eq!(fired, [0, 1]);
}

#[test]
fn a_panic_in_a_drop_leaves_the_wheel_whole() {
    struct Bomb<'a>(&'a Cell<usize>, bool);
    impl Drop for Bomb<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            assert!(!self.1, "as the test wants");
        }
    }
    let dropped = Cell::new(0);
    let mut wheel = Wheel::new(0);
    for armed in [false, true, false, false] {
        wheel.insert(10, Bomb(&dropped, armed));
    }
    assert!(catch_unwind(AssertUnwindSafe(|| wheel.clear())).is_err());
    assert_eq!(wheel.len() + dropped.get(), 4);
    wheel.insert(20, Bomb(&dropped, false));
    wheel.advance(20, usize::MAX, drop);
    assert_eq!(dropped.get(), 5);
    assert!(wheel.is_empty());
}

#[test]
fn draining_yields_every_timer_and_leaves_a_usable_wheel() {
    let mut wheel = Wheel::new(0);
    for deadline in [5, 500, u64::MAX] {
        wheel.insert(deadline, deadline);
    }
    let mut drain = wheel.drain();
    assert_eq!(drain.len(), 3);
    let (deadline, item) = drain.next().unwrap();
    assert_eq!(deadline, item);
    drop(drain);
    assert!(wheel.is_empty());
    assert_eq!(wheel.next_deadline(), None);
    assert_eq!(fired_at(&mut wheel, 1_000, 1), []);
}

#[test]
fn an_item_can_be_changed_while_it_waits() {
    let mut wheel = Wheel::with_capacity(0, 1);
    let id = wheel.insert(1, 1);
    *wheel.get_mut(id).unwrap() += 1;
    assert_eq!(
        wheel
            .into_iter()
            .map(|(_, deadline, item)| (deadline, *item))
            .collect::<Vec<_>>(),
        [(1, 2)]
    );
    assert_eq!(fired_at(&mut wheel, 1, 1), [2]);
}

#[test]
fn a_wheel_of_sendable_items_is_sendable() {
    fn check<T: Send + Sync + Clone + std::fmt::Debug>(_: &T) {}
    check(&Wheel::<u8>::new(0));
}
