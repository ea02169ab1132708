use core::pin::pin;
use core::task::{Context, Waker};

use super::*;
use crate::MemoryStore;
use crate::conformance::{new_key, record};

const HOUR: Duration = Duration::from_secs(3600);

fn failing(mut faults: Faults, call: Call, n: usize) -> Vec<Option<Fault>> {
    (0..n).map(|_| faults.next(call)).collect()
}

#[test]
fn faults_come_as_they_were_told_to() {
    let before = Fault::Before(ErrorKind::Full);
    let always = Faults::always(before).after(2).times(1);
    let expected = [None, None, Some(before), None, None];
    assert_eq!(failing(always, Call::Load, 5), expected);

    let script = [None, Some(Fault::After), None, Some(before)];
    let told = failing(Faults::script(script), Call::Sweep, 6);
    assert_eq!(told[..4], script);
    assert_eq!(told[4..], [None, None]);

    let mut only = Faults::always(Fault::After)
        .only(&[Call::Touch, Call::Sweep])
        .after(1);
    let calls = [Call::Touch, Call::Load, Call::Sweep, Call::Touch];
    let told = calls.map(|call| only.next(call));
    assert_eq!(told, [None, None, Some(Fault::After), Some(Fault::After)]);

    let by_chance = || failing(Faults::by_chance(7, 0.5), Call::Commit, 400);
    assert_eq!(by_chance(), by_chance(), "by its seed");
    let n_of = |fault| by_chance().iter().filter(|told| **told == fault).count();
    assert!(n_of(None) > 150 && n_of(Some(Fault::After)) > 60);
    assert!(n_of(Some(Fault::Before(ErrorKind::Unavailable))) > 60);
}

#[tokio::test]
async fn a_fault_before_has_no_effect_and_one_after_has() {
    let store = Faulty::new(MemoryStore::new());
    let key = new_key().unwrap();
    store.fail(ErrorKind::Full);
    let error = store.create(&key, record("x", HOUR, HOUR)).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(error.into_record(), Some(record("x", HOUR, HOUR)));
    assert_eq!(store.store().stats().created, 0);
    store.inject(Faults::always(Fault::After).only(&[Call::Create]));
    let error = store.create(&key, record("x", HOUR, HOUR)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Interrupted);
    assert!(store.load(&key, Slide::No).await.unwrap().is_some());
    store.heal();
    let again = store.create(&key, record("x", HOUR, HOUR)).await;
    assert_eq!(again.unwrap(), CreateOutcome::Collision);
    assert_eq!((store.calls(), store.failed()), (4, 2));
    assert_eq!(store.calls_of(Call::Create), 3);
    assert_eq!(store.calls_of(Call::Delete), 0);
}

#[test]
fn a_call_waits_before_it_is_made_or_before_it_answers() {
    let key = new_key().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let store = Faulty::new(MemoryStore::new());
    for holds_answers in [false, true] {
        let key = new_key().unwrap();
        if holds_answers {
            store.hold_answers();
        } else {
            store.hold_calls();
        }
        let created = store.store().stats().created;
        let mut call = pin!(store.create(&key, record("x", HOUR, HOUR)));
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert!(call.as_mut().poll(&mut context).is_pending());
        let made = store.store().stats().created - created;
        assert_eq!(made, u64::from(holds_answers));
        store.let_go();
        assert!(call.as_mut().poll(&mut context).is_ready());
    }
    let store = store.giving_way();
    let mut call = pin!(store.create(&key, record("x", HOUR, HOUR)));
    for created in [2, 3] {
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(store.store().stats().created, created);
    }
    assert!(call.as_mut().poll(&mut context).is_ready());
}
