//! A cache of any policy and size, which may forget but not lie.

use crate::common::HandClock;
use crate::naive::Naive;
use crate::ops::{On, Op, STEP, Settings, id_of, lasts, value};
use crate::subject::{Subject, terms};

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
    let start = subject.moment();
    let mut invalidated = [false; 3];
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
                unbounded.insert(key, value(weight), On::default(), clock.nanos());
                if !subject.insert(key, value(weight)).is_stored() {
                    unbounded.take(key);
                }
            }
            Op::InsertFor(key, weight, steps) => {
                unbounded.insert(key, value(weight), On::lasting(steps), clock.nanos());
                if !subject
                    .insert_for(key, value(weight), lasts(steps))
                    .is_stored()
                {
                    unbounded.take(key);
                }
            }
            Op::InsertOn(key, weight, on) => {
                unbounded.insert(key, value(weight), on, clock.nanos());
                let inserted = subject.insert_on(key, value(weight), terms(on, start));
                let is_out_of_date =
                    on.is_late && on.tag.is_some_and(|tag| invalidated[tag as usize]);
                assert!(!(is_out_of_date && inserted.is_stored()), "{op:?}");
                if !inserted.is_stored() {
                    unbounded.take(key);
                }
            }
            Op::Invalidate(tag) => {
                subject.invalidate(tag);
                invalidated[tag as usize] = true;
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
            Op::RemoveEntry(key) => {
                let answer = subject.remove_entry(key);
                let truth = unbounded.remove(key).map(|id| (key, id));
                assert!(answer.is_none() || answer == truth, "{op:?}");
            }
            Op::RemoveIf(key, goes) => {
                let answer = subject.remove_if(key, goes);
                let truth = if goes { unbounded.remove(key) } else { None };
                assert!(answer.is_none() || answer == truth, "{op:?}");
            }
            Op::PopOldest => {
                if let Some(Some((key, id))) = subject.pop_oldest() {
                    assert_eq!(unbounded.remove(key), Some(id), "{op:?}");
                }
            }
            Op::Compute(key, weight, decide) => {
                let answer = subject.compute(key, value(weight), decide);
                assert!(answer.is_none() || answer == unbounded.peek(key), "{op:?}");
                if answer.is_none() {
                    unbounded.take(key);
                }
                unbounded.compute(key, value(weight), decide, clock.nanos());
                settle(&mut unbounded, &subject, &[key]);
            }
            Op::Update(key, weight) => {
                let answer = subject.update(key, value(weight));
                assert!(answer.is_none() || answer == Some(id as u32), "{op:?}");
                assert!(answer.is_none() || unbounded.peek(key).is_some(), "{op:?}");
                unbounded.update(key, value(weight));
                settle(&mut unbounded, &subject, &[key]);
            }
            Op::Load(key, weight, load, way) => {
                let answer = subject.load(key, value(weight), load, way);
                if answer != unbounded.peek(key) {
                    // It was not there.
                    unbounded.take(key);
                }
                if subject.tells_time_by_loads() {
                    unbounded.observe_to_load(&[key], clock.nanos());
                }
                let truth = unbounded.load(key, value(weight), load, clock.nanos());
                assert_eq!(answer, truth, "{op:?}");
                settle(&mut unbounded, &subject, &[key]);
            }
            Op::GetMany(keys) => {
                for (key, answer) in keys.into_iter().zip(subject.get_many(keys)) {
                    let truth = unbounded.get(key);
                    assert!(answer.is_none() || answer == truth, "{op:?}");
                }
                settle(&mut unbounded, &subject, &keys);
            }
            Op::LoadMany(keys, left_out, weight, way) => {
                let answers = subject.load_many(keys, left_out, value(weight), way);
                for (&key, &answer) in keys.iter().zip(&answers) {
                    if answer != unbounded.peek(key) {
                        unbounded.take(key);
                    }
                }
                if subject.tells_time_by_loads() {
                    unbounded.observe_to_load(&keys, clock.nanos());
                }
                let truth = unbounded.load_many(keys, left_out, value(weight));
                assert_eq!(answers, truth, "{op:?}");
                settle(&mut unbounded, &subject, &keys);
            }
            Op::Refresh(key, ahead, weight, way) => {
                let value = weight.map(value);
                if let Some(served) = subject.refresh(key, ahead, value, way) {
                    if served.is_none() {
                        unbounded.take(key);
                    }
                    assert_eq!(served, unbounded.refresh(key, ahead, value), "{op:?}");
                    settle(&mut unbounded, &subject, &[key]);
                }
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

/// What was lost to the bound must not come back, so the truth loses it too; what is there must be the truth.
fn settle(unbounded: &mut Naive, subject: &impl Subject, keys: &[u8]) {
    for &key in keys {
        match subject.peek(key) {
            None => drop(unbounded.take(key)),
            there => assert_eq!(there, unbounded.peek(key), "of {key}"),
        }
    }
}
