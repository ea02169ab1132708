//! That there is no value, or that nobody could say, kept for its own time; and loads that say how long their value lives.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use purlin_core::{ManualClock, MapHasher};
use purlin_lru_cache::{Answer, Cache, Due, Negative, Refresh};

use common::{Gate, block_on, poll};

#[derive(Clone, Debug, PartialEq)]
struct Down;

type Answers = Cache<u8, Answer<u32, Down>, MapHasher, ManualClock>;
type Duty<'a> = Refresh<'a, u8, Answer<u32, Down>, MapHasher, ManualClock>;

const SECOND: Duration = Duration::from_secs(1);

const NEGATIVE: Negative = Negative::absent_for(Duration::from_secs(5)).failed_for(SECOND);

/// Half a second off the seconds in which things happen here, since a deadline may be a little early.
const DUE: Due = Due::ahead(Duration::from_millis(2_500)).or_stale(Duration::from_millis(3_500));

/// Values live for ten seconds, and are kept for five more.
fn answers() -> (Answers, ManualClock) {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .entry_limit(10)
        .time_to_live(10 * SECOND)
        .keep_stale(5 * SECOND)
        .clock(clock.clone())
        .build();
    (cache, clock)
}

#[test]
fn each_kind_of_answer_lives_for_its_own_time() {
    let (cache, clock) = answers();
    let asked = Cell::new(0);
    let ask = |answer: Result<Option<u32>, Down>| {
        asked.set(0);
        let answer = cache.get_or_ask(&1, NEGATIVE, |_| {
            asked.set(1);
            answer
        });
        (answer, asked.get())
    };
    assert_eq!(ask(Err(Down)), (Err(Down), 1));
    assert_eq!(ask(Ok(Some(1))), (Err(Down), 0), "nobody asks for a second");
    clock.advance(SECOND);
    assert_eq!(ask(Ok(None)), (Ok(None), 1));
    clock.advance(5 * SECOND - Duration::from_nanos(1));
    assert_eq!(ask(Ok(Some(1))), (Ok(None), 0));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(ask(Ok(Some(1))), (Ok(Some(1)), 1));
    clock.advance(9 * SECOND);
    assert_eq!(ask(Err(Down)), (Ok(Some(1)), 0));
    assert_eq!(cache.get(&1), Some(Answer::Found(1)));
    clock.advance(SECOND);
    assert_eq!(ask(Ok(None)), (Ok(None), 1));
}

/// An entry like any other, so a write to the key replaces it.
#[test]
fn a_write_ends_what_was_said_of_its_key() {
    let (cache, _) = answers();
    for answer in [Ok(None), Err(Down)] {
        let kept = cache.get_or_ask(&1, NEGATIVE, |_| answer.clone());
        assert_eq!(kept, answer);
        cache.insert(1, Answer::Found(7));
        assert_eq!(cache.get_or_ask(&1, NEGATIVE, |_| answer), Ok(Some(7)));
        cache.remove(&1);
    }

    // Also while it is being asked.
    let gate = Gate::default();
    let mut asking = pin!(cache.get_or_ask_async(&1, NEGATIVE, |_| async {
        gate.opened().await;
        Ok(None)
    }));
    assert!(poll(asking.as_mut()).is_pending());
    cache.insert(1, Answer::Found(8));
    gate.open();
    assert_eq!(poll(asking.as_mut()), Poll::Ready(Ok(None)));
    assert_eq!(cache.get(&1), Some(Answer::Found(8)));
}

#[test]
fn what_is_not_to_be_kept_is_for_all_who_waited_and_for_nobody_else() {
    let (cache, _) = answers();
    for answer in [Ok(None), Err(Down)] {
        let gate = Gate::default();
        let never = Negative::default();
        let mut asking = pin!(cache.get_or_ask_async(&1, never, |_| async {
            gate.opened().await;
            answer.clone()
        }));
        let mut waiting = pin!(cache.get_or_ask_async(&1, never, |_| async { unreachable!() }));
        assert!(poll(asking.as_mut()).is_pending());
        assert!(poll(waiting.as_mut()).is_pending());
        gate.open();
        assert_eq!(poll(asking.as_mut()), Poll::Ready(answer.clone()));
        assert_eq!(poll(waiting.as_mut()), Poll::Ready(answer.clone()));
        assert_eq!(cache.len(), 0);
        assert_eq!(cache.get_or_ask(&1, never, |_| Ok(Some(7))), Ok(Some(7)));
        cache.clear();
    }
}

#[test]
fn a_refresh_keeps_what_it_hears_but_for_an_error() {
    let (cache, clock) = answers();
    let duty = || -> Duty<'_> { cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap() };
    cache.insert(1, Answer::Found(7));
    clock.advance(9 * SECOND);
    assert_eq!(duty().ask(NEGATIVE, |_| Err(Down)), Some(Err(Down)));
    assert_eq!(cache.get(&1), Some(Answer::Found(7)));
    assert_eq!(cache.stats().load_failures, 1);
    clock.advance(2 * SECOND);

    // Over: who does not take what is over hears of the error, and who does gets the older value.
    let gate = Gate::default();
    let mut asking = pin!(duty().ask_async(NEGATIVE, async {
        gate.opened().await;
        Err(Down)
    }));
    assert!(poll(asking.as_mut()).is_pending());
    let mut waiting = pin!(cache.get_or_ask_async(&1, NEGATIVE, |_| async { unreachable!() }));
    assert!(poll(waiting.as_mut()).is_pending());
    gate.open();
    assert_eq!(poll(asking.as_mut()), Poll::Ready(Some(Err(Down))));
    assert_eq!(poll(waiting.as_mut()), Poll::Ready(Err(Down)));
    let served = cache.get_refreshing(&1, DUE).unwrap();
    assert_eq!((served.value, served.is_stale), (Answer::Found(7), true));
    drop(served.refresh);

    // There is none by now, and that is kept for its time.
    let asked = block_on(duty().ask_async(NEGATIVE, async { Ok(None) }));
    assert_eq!(asked, Some(Ok(None)));
    clock.advance(4 * SECOND);
    assert_eq!(cache.get(&1), Some(Answer::Absent));
    assert_eq!(
        duty().ask(NEGATIVE, |&key| Ok(Some(key.into()))),
        Some(Ok(Some(1)))
    );
    assert_eq!(cache.get(&1), Some(Answer::Found(1)));

    clock.advance(9 * SECOND);
    let late = duty();
    cache.insert(1, Answer::Found(2));
    assert_eq!(late.ask(NEGATIVE, |_| unreachable!()), None);
    clock.advance(9 * SECOND);
    let late = duty();
    cache.remove(&1);
    assert_eq!(
        block_on(late.ask_async(NEGATIVE, async { unreachable!() })),
        None
    );
}

/// Both paragraphs on cancel safety, and panics.
#[test]
fn asking_that_is_dropped_or_panics_leaves_the_key_to_others() {
    let (cache, clock) = answers();
    let never = Gate::default();
    let stuck = || async {
        never.opened().await;
        Ok(None)
    };
    let mut asking = Box::pin(cache.get_or_ask_async(&1, NEGATIVE, |_| stuck()));
    let mut waiting = pin!(cache.get_or_ask_async(&1, NEGATIVE, |_| async { Ok(Some(2)) }));
    assert!(poll(asking.as_mut()).is_pending());
    assert!(poll(waiting.as_mut()).is_pending());
    drop(asking);
    assert_eq!(poll(waiting.as_mut()), Poll::Ready(Ok(Some(2))));

    clock.advance(9 * SECOND);
    let duty = || -> Duty<'_> { cache.get_refreshing(&1, DUE).unwrap().refresh.unwrap() };
    let mut asking = Box::pin(duty().ask_async(NEGATIVE, stuck()));
    assert!(poll(asking.as_mut()).is_pending());
    drop(asking);
    let refresh = duty();
    let ask = AssertUnwindSafe(|| refresh.ask(NEGATIVE, |_| panic!("on purpose")));
    assert!(catch_unwind(ask).is_err());
    assert_eq!(duty().ask(NEGATIVE, |_| Ok(Some(3))), Some(Ok(Some(3))));

    let ask = AssertUnwindSafe(|| cache.get_or_ask(&2, NEGATIVE, |_| panic!("on purpose")));
    assert!(catch_unwind(ask).is_err());
    assert_eq!(cache.get_or_ask(&2, NEGATIVE, |_| Ok(Some(4))), Ok(Some(4)));
}

#[test]
fn a_load_may_say_how_long_its_value_lives_in_a_cache_where_nothing_else_ends() {
    let clock = ManualClock::new();
    let cache: Cache<u8, u32, _, _> = Cache::builder()
        .entry_limit(10)
        .clock(clock.clone())
        .build();
    let loaded = cache.try_get_or_load_for(&1, |_| Ok::<_, ()>((7, SECOND)));
    assert_eq!(loaded, Ok(7));
    assert_eq!(cache.get(&1), Some(7));
    clock.advance(SECOND);
    assert_eq!(cache.get(&1), None);
    let load = |_: &u8| async { Ok::<_, ()>((8, 2 * SECOND)) };
    assert_eq!(block_on(cache.try_get_or_load_for_async(&1, load)), Ok(8));
    clock.advance(SECOND);
    assert_eq!(cache.get(&1), Some(8));
    clock.advance(SECOND);
    assert_eq!(cache.get(&1), None);

    let load = |_: &u8| Err::<(u32, Duration), _>("down");
    assert_eq!(cache.try_get_or_load_for(&1, load), Err("down"));
    let loaded = cache.try_get_or_load_for(&1, |_| Ok::<_, ()>((9, Duration::ZERO)));
    assert_eq!((loaded, cache.len()), (Ok(9), 0));
    let loaded = cache.try_get_or_load_for(&1, |_| Ok::<_, ()>((9, Duration::MAX)));
    clock.advance(Duration::from_secs(1 << 33));
    assert_eq!((loaded, cache.get(&1)), (Ok(9), Some(9)));
}

/// The paragraph on cancel safety of the load that says how long.
#[test]
fn a_load_that_says_how_long_hands_on_when_it_is_dropped() {
    let cache: Cache<u8, u32> = Cache::new(10);
    let never = Gate::default();
    let stuck = |_: &u8| async {
        never.opened().await;
        Ok::<_, ()>((1, SECOND))
    };
    let mut loading = Box::pin(cache.try_get_or_load_for_async(&1, stuck));
    assert!(poll(loading.as_mut()).is_pending());
    drop(loading);
    assert_eq!(cache.len(), 0);
    assert_eq!(cache.get_or_load(&1, |_| 2), 2);
}

#[derive(Clone, Debug)]
enum Op {
    Ask(u8, Result<Option<u32>, ()>, bool),
    Refresh(u8, Result<Option<u32>, ()>),
    Insert(u8, u32),
    Remove(u8),
    Advance(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0u8..3;
    let answer = || {
        prop_oneof![
            any::<u32>().prop_map(|value| Ok(Some(value))),
            Just(Ok(None)),
            Just(Err(()))
        ]
    };
    let op = prop_oneof![
        4 => (key(), answer(), any::<bool>()).prop_map(|(key, answer, waits)| Op::Ask(key, answer, waits)),
        4 => (key(), answer()).prop_map(|(key, answer)| Op::Refresh(key, answer)),
        1 => (key(), any::<u32>()).prop_map(|(key, value)| Op::Insert(key, value)),
        1 => key().prop_map(Op::Remove),
        4 => (0u64..5).prop_map(Op::Advance),
    ];
    vec(op, 1..80)
}

proptest! {
    /// Against a map of answers and the seconds in which they are over.
    #[test]
    fn answers_agree_with_a_map_of_them_and_their_ends(ops in ops()) {
        let (cache, clock) = answers();
        let mut map: std::collections::HashMap<u8, (Answer<u32, Down>, u64)> = Default::default();
        let mut now = 0;
        for op in ops {
            match op {
                Op::Ask(key, answer, waits) => {
                    let answer = answer.map_err(|()| Down);
                    let living = map.get(&key).filter(|(_, ends)| *ends > now).cloned();
                    let expected = living.unwrap_or_else(|| {
                        let lives = match answer {
                            Ok(Some(_)) => 10,
                            Ok(None) => 5,
                            Err(Down) => 1,
                        };
                        (answer.clone().into(), now + lives)
                    });
                    map.insert(key, expected.clone());
                    let got = if waits {
                        block_on(cache.get_or_ask_async(&key, NEGATIVE, |_| async { answer }))
                    } else {
                        cache.get_or_ask(&key, NEGATIVE, |_| answer)
                    };
                    prop_assert_eq!(got, expected.0.into_result());
                }
                Op::Refresh(key, answer) => {
                    let answer = answer.map_err(|()| Down);
                    let kept = map.get(&key).filter(|(_, ends)| now <= ends + 3).cloned();
                    let served = cache.get_refreshing(&key, DUE);
                    let seen = served.as_ref().map(|served| (served.value.clone(), served.is_stale));
                    prop_assert_eq!(seen, kept.clone().map(|(answer, ends)| (answer, ends <= now)));
                    let refresh = served.and_then(|served| served.refresh);
                    let is_due = kept.is_some_and(|(_, ends)| ends <= now + 2);
                    prop_assert_eq!(refresh.is_some(), is_due);
                    if let Some(refresh) = refresh {
                        prop_assert_eq!(refresh.ask(NEGATIVE, |_| answer.clone()), Some(answer.clone()));
                        let lives = if answer == Ok(None) { 5 } else { 10 };
                        if answer != Err(Down) {
                            map.insert(key, (answer.into(), now + lives));
                        }
                    }
                }
                Op::Insert(key, value) => {
                    drop(cache.insert(key, Answer::Found(value)));
                    map.insert(key, (Answer::Found(value), now + 10));
                }
                Op::Remove(key) => {
                    cache.remove(&key);
                    map.remove(&key);
                }
                Op::Advance(seconds) => {
                    clock.advance(seconds as u32 * SECOND);
                    now += seconds;
                }
            }
        }
    }
}
