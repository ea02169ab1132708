//! The wheel beside a sorted map, over random operations.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use purlin_timer_wheel::{TimerId, Wheel};

#[derive(Clone, Debug)]
enum Op {
    /// Sets a timer this far from the tick reached, or behind it.
    Insert(Offset),
    InsertAt(u64),
    Cancel(usize),
    Reschedule(usize, Offset),
    Advance {
        by: u64,
        budget: usize,
    },
    AdvanceTo {
        now: u64,
        budget: usize,
    },
    AdvanceToNext {
        budget: usize,
    },
    StepBack {
        by: u64,
    },
    Clear,
}

#[derive(Clone, Copy, Debug)]
enum Offset {
    Ahead(u64),
    Behind(u64),
    Never,
}

impl Offset {
    fn from(self, tick: u64) -> u64 {
        match self {
            Offset::Ahead(ticks) => tick.saturating_add(ticks),
            Offset::Behind(ticks) => tick.saturating_sub(ticks),
            Offset::Never => u64::MAX,
        }
    }
}

/// Spans of every magnitude, so that every level is used.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..200_u64,
        2 => 0..10_000_u64,
        2 => (0..64_u32, any::<u64>()).prop_map(|(bits, noise)| noise >> bits),
        1 => (0..64_u32, -1..=1_i64).prop_map(|(bit, near)| (1_u64 << bit).saturating_add_signed(near)),
    ]
}

fn offset() -> impl Strategy<Value = Offset> {
    prop_oneof![
        8 => span().prop_map(Offset::Ahead),
        1 => span().prop_map(Offset::Behind),
        1 => Just(Offset::Never),
    ]
}

fn budget() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..6_usize, 1 => Just(usize::MAX)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => offset().prop_map(Op::Insert),
        1 => prop_oneof![any::<u64>(), Just(u64::MAX - 1), Just(u64::MAX), Just(0)].prop_map(Op::InsertAt),
        3 => any::<usize>().prop_map(Op::Cancel),
        3 => (any::<usize>(), offset()).prop_map(|(which, offset)| Op::Reschedule(which, offset)),
        6 => (span(), budget()).prop_map(|(by, budget)| Op::Advance { by, budget }),
        1 => (prop_oneof![any::<u64>(), Just(u64::MAX), Just(u64::MAX - 1)], budget())
            .prop_map(|(now, budget)| Op::AdvanceTo { now, budget }),
        4 => budget().prop_map(|budget| Op::AdvanceToNext { budget }),
        1 => span().prop_map(|by| Op::StepBack { by }),
        1 => Just(Op::Clear),
    ]
}

/// What the wheel should hold: timers by the tick they count for and the order in which they were set.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<(u64, u64), u64>,
    /// Every timer that ever was, with its key in `waiting` and the deadline it asked for.
    timers: Vec<(TimerId, (u64, u64), u64)>,
    sequence: u64,
    latest: u64,
}

impl Model {
    fn key(&mut self, deadline: u64, reached: u64) -> (u64, u64) {
        self.sequence += 1;
        (deadline.max(reached), self.sequence)
    }

    fn insert(&mut self, wheel: &mut Wheel<u64>, deadline: u64) {
        let key = self.key(deadline, wheel.reached());
        let id = wheel.insert(deadline, key.1);
        self.waiting.insert(key, key.1);
        self.timers.push((id, key, deadline));
    }

    fn cancel(&mut self, wheel: &mut Wheel<u64>, which: usize) {
        if self.timers.is_empty() {
            return;
        }
        let (id, key, _) = self.timers[which % self.timers.len()];
        assert_eq!(wheel.cancel(id), self.waiting.remove(&key));
    }

    fn reschedule(&mut self, wheel: &mut Wheel<u64>, which: usize, offset: Offset) {
        if self.timers.is_empty() {
            return;
        }
        let which = which % self.timers.len();
        let (id, key, _) = self.timers[which];
        let deadline = offset.from(wheel.reached());
        let new_key = self.key(deadline, wheel.reached());
        let item = self.waiting.remove(&key);
        assert_eq!(wheel.reschedule(id, deadline), item.is_some());
        if let Some(item) = item {
            self.waiting.insert(new_key, item);
            self.timers[which] = (id, new_key, deadline);
        }
    }

    fn advance(&mut self, wheel: &mut Wheel<u64>, now: u64, budget: usize) {
        self.latest = self.latest.max(now.min(u64::MAX - 1));
        let mut fired = Vec::new();
        let advance = wheel.advance(now, budget, |item| fired.push(item));

        assert_eq!(advance.fired, fired.len());
        assert!(advance.fired + advance.moved <= budget);
        assert!(
            advance.caught_up || advance.fired + advance.moved == budget,
            "stopped early"
        );
        for item in fired {
            let ((due, _), expected) = self.waiting.pop_first().unwrap();
            assert_eq!(item, expected, "out of order");
            assert!(
                due <= self.latest,
                "fired {} ticks early",
                due - self.latest
            );
        }
        if advance.caught_up {
            assert_eq!(wheel.reached(), self.latest);
            assert!(self.due_at(self.latest).is_none(), "late");
        }
        if budget == usize::MAX {
            assert!(advance.caught_up);
        }
    }

    fn due_at(&self, tick: u64) -> Option<u64> {
        self.waiting
            .keys()
            .next()
            .map(|key| key.0)
            .filter(|due| *due <= tick)
    }

    fn check(&self, wheel: &Wheel<u64>) {
        assert_eq!(wheel.len(), self.waiting.len());
        assert_eq!(wheel.is_empty(), self.waiting.is_empty());
        let first = self
            .waiting
            .keys()
            .next()
            .map(|key| key.0)
            .filter(|due| *due != u64::MAX);
        match (wheel.next_deadline(), first) {
            (None, None) => {}
            (Some(bound), Some(first)) => assert!(bound <= first, "{bound} is after {first}"),
            (bound, first) => panic!("next deadline {bound:?}, model {first:?}"),
        }
        for (id, key, deadline) in &self.timers {
            assert_eq!(wheel.get(*id), self.waiting.get(key));
            assert_eq!(
                wheel.deadline(*id),
                self.waiting.get(key).map(|_| *deadline)
            );
        }
        let mut items: Vec<u64> = wheel
            .iter()
            .map(|(id, deadline, item)| {
                assert_eq!(wheel.deadline(id), Some(deadline));
                *item
            })
            .collect();
        items.sort_unstable();
        let mut expected: Vec<u64> = self.waiting.values().copied().collect();
        expected.sort_unstable();
        assert_eq!(items, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 1_000 }, ..ProptestConfig::default() })]

    #[test]
    fn the_wheel_does_what_a_sorted_map_does(
        start in prop_oneof![Just(0), any::<u64>(), Just(u64::MAX)],
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut wheel = Wheel::new(start);
        let mut model = Model { latest: wheel.reached(), ..Model::default() };
        for op in ops {
            match op {
                Op::Insert(offset) => { let at = offset.from(wheel.reached()); model.insert(&mut wheel, at) }
                Op::InsertAt(deadline) => model.insert(&mut wheel, deadline),
                Op::Cancel(which) => model.cancel(&mut wheel, which),
                Op::Reschedule(which, offset) => model.reschedule(&mut wheel, which, offset),
                Op::Advance { by, budget } => { let now = model.latest.saturating_add(by); model.advance(&mut wheel, now, budget) }
                Op::AdvanceTo { now, budget } => model.advance(&mut wheel, now, budget),
                Op::AdvanceToNext { budget } => {
                    if let Some(next) = wheel.next_deadline() {
                        model.advance(&mut wheel, next, budget);
                    }
                }
                Op::StepBack { by } => { let now = model.latest.saturating_sub(by); model.advance(&mut wheel, now, 3) }
                Op::Clear => { wheel.clear(); model.waiting.clear(); }
            }
            model.check(&wheel);
        }
    }
}
