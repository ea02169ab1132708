//! A cache of any policy and size, which may forget but not lie.

use crate::common::HandClock;
use crate::naive::Naive;
use crate::ops::{Op, STEP, Settings, id_of, lasts, value};
use crate::subject::Subject;

/// Runs operations without sweeping, at any time: whatever is answered is the last value stored and not over, and
/// the bound holds.
pub(crate) fn never_lie(
    mut subject: impl Subject,
    clock: &HandClock,
    settings: &Settings,
    ops: &[Op],
) {
    let mut unbounded = Naive::new(Settings {
        capacity: usize::MAX,
        by_weight: false,
        ..settings.clone()
    });
    let mut told = 0;
    let mut capacity = settings.capacity;
    for (id, op) in ops.iter().enumerate() {
        let value = |weight| value(id as u32, weight);
        match *op {
            Op::Get(key) => {
                let answer = subject.get(key);
                let truth = unbounded.get(key);
                assert!(
                    answer.is_none() || answer == truth,
                    "{op:?}: {answer:?}, not {truth:?}"
                );
                if answer.is_none() {
                    // Lost to the bound, perhaps. It must not come back, so the truth loses it too.
                    unbounded.take(key);
                }
            }
            Op::Peek(key) => {
                let answer = subject.peek(key);
                assert!(answer.is_none() || answer == unbounded.peek(key), "{op:?}");
            }
            Op::Insert(key, weight) => {
                unbounded.insert(key, value(weight), None, false);
                if !subject.insert(key, value(weight)).is_stored() {
                    unbounded.take(key);
                }
            }
            Op::InsertFor(key, weight, steps) => {
                unbounded.insert_for(key, value(weight), steps, clock.nanos());
                if !subject
                    .insert_for(key, value(weight), lasts(steps))
                    .is_stored()
                {
                    unbounded.take(key);
                }
            }
            Op::InsertPinned(key, weight) => {
                unbounded.insert(key, value(weight), None, true);
                if !subject.insert_pinned(key, value(weight)).is_stored() {
                    unbounded.take(key);
                }
            }
            Op::InsertTagged(key, weight, tag) => {
                unbounded.insert(key, value(weight), None, false);
                if !subject.insert_tagged(key, value(weight), tag).is_stored() {
                    unbounded.take(key);
                } else if let Some(entry) = unbounded.entries.front_mut() {
                    entry.tag = Some(tag);
                }
            }
            Op::Invalidate(tag) => {
                subject.invalidate(tag);
                unbounded.entries.retain(|entry| entry.tag != Some(tag));
                for (key, id) in subject.contents() {
                    assert_eq!(unbounded.peek(key), Some(id), "{op:?}");
                }
            }
            Op::Pin(key) => {
                if subject.pin(key, true) {
                    assert!(unbounded.pin(key, true), "{op:?}");
                } else {
                    unbounded.take(key);
                }
            }
            Op::Unpin(key) => {
                let was_pinned = unbounded
                    .entries
                    .iter()
                    .any(|e| e.key == key && e.is_pinned);
                assert_eq!(subject.pin(key, false), was_pinned, "{op:?}");
                if was_pinned {
                    unbounded.pin(key, false);
                }
            }
            Op::SetCapacity(wanted) => {
                capacity = subject.set_capacity(wanted);
                assert!(capacity >= wanted, "{op:?}");
                assert!(capacity == wanted || subject.held() > 0, "{op:?}");
            }
            Op::Remove(key) => {
                let answer = subject.remove(key);
                let truth = unbounded.remove(key);
                assert!(answer.is_none() || answer == truth, "{op:?}");
            }
            Op::Retain(remainder) => {
                subject.retain(remainder);
                unbounded.retain(remainder);
            }
            Op::Clear => {
                subject.clear();
                unbounded.clear();
            }
            Op::Turn(steps) => {
                // Also by less than a tick of the wheel.
                clock.turn(steps * (STEP as i64) / 5);
                // To be seen at least: a cache cannot know of a time at which nobody called.
                subject.sweep(0);
                unbounded.observe(clock.nanos());
            }
        }
        assert!(subject.weight() <= capacity, "after {op:?}");
        if !settings.by_weight {
            assert!(subject.len() <= capacity, "after {op:?}");
        }
        for entry in unbounded.entries.iter().filter(|entry| entry.is_pinned) {
            let found = subject.peek(entry.key);
            assert_eq!(found, Some(id_of(&entry.value)), "pinned, after {op:?}");
        }
        told += settings.heard.take().len();
        let left = subject.counts().insertions as usize - subject.len();
        assert_eq!(told, left, "each that left was told of, after {op:?}");
    }
}
