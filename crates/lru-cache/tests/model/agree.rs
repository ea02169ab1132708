//! A cache that does what the naive one does, operation by operation.

use crate::common::HandClock;
use crate::naive::Naive;
use crate::ops::{On, Op, STEP, Settings, lasts, sorted, value};
use crate::subject::{Subject, done, terms};

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
    let start = subject.moment();
    // Without deadlines a cache need not ask for the time, and what it has not seen it cannot see go back.
    let mut has_deadlines = settings.time_to_live.is_some() || settings.time_to_idle.is_some();
    let mut has_seen_time = has_deadlines;
    let mut naive = Naive::new(settings);
    for (id, op) in ops.iter().enumerate() {
        let id = id as u32;
        match *op {
            Op::Get(key) => assert_eq!(subject.get(key), naive.get(key), "{op:?}"),
            Op::Peek(key) => assert_eq!(subject.peek(key), naive.peek(key), "{op:?}"),
            Op::Insert(key, weight) => {
                let value = value(id, weight);
                let expected = naive.insert(key, value, On::default(), clock.nanos());
                assert_eq!(done(subject.insert(key, value)), expected, "{op:?}");
            }
            Op::InsertFor(key, weight, steps) => {
                has_deadlines = true;
                let value = value(id, weight);
                let expected = naive.insert(key, value, On::lasting(steps), clock.nanos());
                assert_eq!(
                    done(subject.insert_for(key, value, lasts(steps))),
                    expected,
                    "{op:?}"
                );
            }
            Op::InsertOn(key, weight, on) => {
                let value = value(id, weight);
                let expected = naive.insert(key, value, on, clock.nanos());
                let inserted = subject.insert_on(key, value, terms(on, start));
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
            Op::RemoveEntry(key) => {
                let removed = naive.remove(key).map(|id| (key, id));
                assert_eq!(subject.remove_entry(key), removed, "{op:?}");
            }
            Op::RemoveIf(key, goes) => {
                let removed = if goes { naive.remove(key) } else { None };
                assert_eq!(subject.remove_if(key, goes), removed, "{op:?}");
            }
            Op::PopOldest => match subject.pop_oldest() {
                None => {}
                Some(popped) if order == Order::NewestFirst => {
                    assert_eq!(popped, naive.pop_oldest(), "{op:?}");
                }
                // Any will do.
                Some(Some((key, id))) => {
                    assert!(naive.entries.iter().any(|e| e.key == key && !e.is_pinned));
                    assert_eq!(naive.remove(key), Some(id), "{op:?}");
                }
                Some(None) => assert_eq!(naive.pop_oldest(), None, "{op:?}"),
            },
            Op::Compute(key, weight, decide) => {
                let value = value(id, weight);
                let expected = naive.compute(key, value, decide, clock.nanos());
                assert_eq!(subject.compute(key, value, decide), expected, "{op:?}");
            }
            Op::Update(key, weight) => {
                let value = value(id, weight);
                let expected = naive.update(key, value);
                assert_eq!(subject.update(key, value), expected, "{op:?}");
            }
            Op::Load(key, weight, load, way) => {
                let value = value(id, weight);
                if subject.tells_time_by_loads() {
                    naive.observe_to_load(&[key], clock.nanos());
                }
                let expected = naive.load(key, value, load, clock.nanos());
                assert_eq!(subject.load(key, value, load, way), expected, "{op:?}");
            }
            Op::GetMany(keys) => {
                let expected: Vec<_> = keys.iter().map(|&key| naive.get(key)).collect();
                assert_eq!(subject.get_many(keys), expected, "{op:?}");
            }
            Op::LoadMany(keys, left_out, weight, way) => {
                let value = value(id, weight);
                if subject.tells_time_by_loads() {
                    naive.observe_to_load(&keys, clock.nanos());
                }
                let expected = naive.load_many(keys, left_out, value);
                let answers = subject.load_many(keys, left_out, value, way);
                assert_eq!(answers, expected, "{op:?}");
            }
            Op::Refresh(key, ahead, weight, way) => {
                let value = weight.map(|weight| value(id, weight));
                if let Some(served) = subject.refresh(key, ahead, value, way) {
                    assert_eq!(served, naive.refresh(key, ahead, value), "{op:?}");
                }
            }
            Op::Retain(remainder) => {
                subject.retain(remainder);
                naive.retain(remainder);
            }
            Op::Clear => {
                subject.clear();
                naive.clear();
            }
            Op::Turn(steps) => {
                let steps = if has_seen_time { steps } else { steps.max(0) };
                has_seen_time = has_deadlines;
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
