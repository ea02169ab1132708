//! A cache that does what the naive one does, operation by operation.

use crate::common::HandClock;
use crate::naive::Naive;
use crate::ops::{Op, STEP, Settings, lasts, sorted, value};
use crate::subject::{Subject, done};

/// In which order a walk meets the entries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    Any,
}

/// Runs operations against both and compares all that can be seen after each.
pub(crate) fn agree(
    mut subject: impl Subject,
    order: Order,
    clock: &HandClock,
    settings: Settings,
    ops: &[Op],
) {
    let mut naive = Naive::new(settings);
    for (id, op) in ops.iter().enumerate() {
        let id = id as u32;
        match *op {
            Op::Get(key) => assert_eq!(subject.get(key), naive.get(key), "{op:?}"),
            Op::Peek(key) => assert_eq!(subject.peek(key), naive.peek(key), "{op:?}"),
            Op::Insert(key, weight) => {
                let value = value(id, weight);
                let expected = naive.insert(key, value, None, false);
                assert_eq!(done(subject.insert(key, value)), expected, "{op:?}");
            }
            Op::InsertFor(key, weight, steps) => {
                let value = value(id, weight);
                let expected = naive.insert_for(key, value, steps, clock.nanos());
                assert_eq!(
                    done(subject.insert_for(key, value, lasts(steps))),
                    expected,
                    "{op:?}"
                );
            }
            Op::InsertPinned(key, weight) => {
                let value = value(id, weight);
                let expected = naive.insert(key, value, None, true);
                assert_eq!(done(subject.insert_pinned(key, value)), expected, "{op:?}");
            }
            Op::InsertTagged(key, weight, tag) => {
                let value = value(id, weight);
                let expected = naive.insert(key, value, None, false);
                let inserted = subject.insert_tagged(key, value, tag);
                assert_eq!(done(inserted), expected, "{op:?}");
            }
            // What is invalid stays until somebody meets it, so what there is cannot be said; see below.
            Op::Invalidate(_) => {}
            Op::Pin(key) => assert_eq!(subject.pin(key, true), naive.pin(key, true), "{op:?}"),
            Op::Unpin(key) => assert_eq!(subject.pin(key, false), naive.pin(key, false), "{op:?}"),
            Op::SetCapacity(_) if !naive.settings.resizes => {}
            Op::SetCapacity(capacity) => {
                let reached = subject.set_capacity(capacity);
                assert_eq!(reached, naive.set_capacity(capacity), "{op:?}");
            }
            Op::Remove(key) => assert_eq!(subject.remove(key), naive.remove(key), "{op:?}"),
            Op::Retain(remainder) => {
                subject.retain(remainder);
                naive.retain(remainder);
            }
            Op::Clear => {
                subject.clear();
                naive.clear();
            }
            Op::Turn(steps) => {
                clock.turn(steps * STEP as i64);
                assert!(subject.sweep(usize::MAX));
                naive.observe(clock.nanos());
            }
        }
        assert_eq!(subject.len(), naive.entries.len(), "after {op:?}");
        assert_eq!(subject.weight(), naive.weight(), "after {op:?}");
        assert_eq!(subject.held(), naive.held(), "after {op:?}");
        assert_eq!(subject.counts(), naive.counts, "after {op:?}");
        let heard = naive.settings.heard.take();
        assert_eq!(heard, sorted(std::mem::take(&mut naive.events)), "{op:?}");
        let (mut contents, mut expected) = (subject.contents(), naive.contents());
        if order == Order::Any {
            contents.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(contents, expected, "after {op:?}");
    }
}
