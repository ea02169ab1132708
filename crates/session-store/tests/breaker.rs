//! The breaker: fast refusals, one probe, and never "no session".
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::error::Error;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{Under, key, record};
use purlin_core::{ManualClock, Safety};
use purlin_session_store::conformance::{Faulty, an_outage_logs_nobody_out, check, lines};
use purlin_session_store::{
    Breaker, BreakerOpen, CreateOutcome, ErrorKind, MemoryStore, OpenError, Policy, SessionId,
    SessionStore, Sessions, Slide, Version,
};
use static_assertions::assert_impl_all;

assert_impl_all!(Breaker<MemoryStore>: Send, Sync, std::fmt::Debug, SessionStore);

const SECOND: Duration = Duration::from_secs(1);

type Store = Faulty<MemoryStore<ManualClock>>;

fn breaker() -> (Breaker<Arc<Store>, ManualClock>, Arc<Store>, ManualClock) {
    let clock = ManualClock::new();
    let memory = MemoryStore::builder().clock(clock.clone()).build();
    let store = Arc::new(Faulty::new(memory));
    let breaker = Breaker::new(Arc::clone(&store))
        .failures(NonZeroU32::new(3).unwrap())
        .clock(clock.clone());
    (breaker, store, clock)
}

#[tokio::test]
async fn the_contract_holds_through_a_breaker() {
    let clock = ManualClock::new();
    let memory = MemoryStore::builder().clock(clock.clone()).build();
    let store = Breaker::new(memory).clock(clock.clone());
    check(&Under { store, clock }).await.unwrap();
}

#[tokio::test]
async fn line_06_an_outage_logs_nobody_out() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Interrupted] {
        let mut store = Arc::new(Faulty::new(MemoryStore::new()));
        let verdict = an_outage_logs_nobody_out(
            Arc::clone(&store),
            &mut store,
            |store| store.fail(kind),
            |store| drop(store.heal()),
        );
        let verdict = verdict.await;
        assert!(verdict.is_ok(), "{verdict:?}");
    }
}

fn whole() -> Under<Breaker<Arc<Store>, ManualClock>> {
    let (store, _, clock) = breaker();
    Under { store, clock }
}

purlin_session_store::conformance_regressions!(whole());

#[tokio::test]
async fn line_06_an_outage_beneath_logs_nobody_out() {
    let (breaker, beneath, _) = breaker();
    let verdict = lines::an_outage_beneath_logs_nobody_out(&breaker, &[&*beneath]).await;
    assert!(verdict.is_ok(), "{verdict:?}");
}

#[tokio::test]
async fn after_failures_in_a_row_calls_fail_at_once_and_do_not_reach_the_store() {
    let (breaker, store, clock) = breaker();
    let one = key();
    let _ = breaker.create(&one, record("x")).await.unwrap();
    store.fail(ErrorKind::Interrupted);
    for _ in 0..3 {
        let error = breaker.load(&one, Slide::No).await.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Interrupted,
            "the store's own answer"
        );
    }
    let before = store.calls();
    for _ in 0..1_000 {
        let refusal =
            pin!(breaker.load(&one, Slide::No)).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Err(error)) = refusal else {
            panic!("it waits for something");
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.retry().safety, Safety::Safe);
        assert_eq!(error.retry().after, SECOND);
    }
    assert_eq!(store.calls(), before);
    assert_eq!(breaker.stats().refused, 1_000);

    // The record comes back, and the cause has a name.
    clock.advance(SECOND / 4);
    let error = breaker.commit(&one, Version::FIRST, record("y")).await;
    let error = error.unwrap_err();
    let cause = error.source().unwrap().downcast_ref::<BreakerOpen>();
    assert_eq!(cause.unwrap().probe_in, SECOND * 3 / 4);
    assert_eq!(error.into_record(), Some(record("y")));
    assert!(breaker.delete(&one).await.is_err());
    assert!(breaker.touch(&one, Slide::No).await.is_err());
    assert!(breaker.sweep(1).await.is_err());
    let other = key();
    let rotated = breaker.rotate(&one, &other, Version::FIRST, record("z"), SECOND);
    assert!(rotated.await.is_err());
    assert_eq!(store.calls(), before);
}

#[tokio::test]
async fn one_probe_after_the_pause_decides() {
    let (breaker, store, clock) = breaker();
    let one = key();
    store.fail(ErrorKind::Unavailable);
    for _ in 0..3 {
        let _ = breaker.load(&one, Slide::No).await.unwrap_err();
    }
    clock.advance(SECOND);
    store.hold_answers();
    store.heal();
    let before = store.calls();
    {
        let mut probe = pin!(breaker.load(&one, Slide::No));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(probe.as_mut().poll(&mut cx).is_pending());
        assert_eq!(store.calls(), before + 1);
        assert!(
            breaker.load(&one, Slide::No).await.is_err(),
            "one probe at a time"
        );
        assert_eq!(store.calls(), before + 1);
    }
    // The probe was dropped without an answer. The next call is one.
    store.let_go();
    assert!(breaker.stats().is_open);
    assert_eq!(breaker.load(&one, Slide::No).await.unwrap(), None);
    assert!(!breaker.stats().is_open);
    let created = breaker.create(&one, record("x")).await.unwrap();
    assert_eq!(created, CreateOutcome::Created(Version::FIRST));

    // A probe that fails doubles the pause.
    store.fail(ErrorKind::Unavailable);
    for _ in 0..3 {
        let _ = breaker.load(&one, Slide::No).await.unwrap_err();
    }
    clock.advance(SECOND);
    let _ = breaker.load(&one, Slide::No).await.unwrap_err();
    store.heal();
    clock.advance(SECOND);
    assert!(breaker.load(&one, Slide::No).await.is_err());
    clock.advance(SECOND);
    assert!(breaker.load(&one, Slide::No).await.unwrap().is_some());
}

#[tokio::test]
async fn an_error_that_is_an_answer_opens_nothing() {
    let (breaker, store, _) = breaker();
    for kind in [
        ErrorKind::Full,
        ErrorKind::TooLarge,
        ErrorKind::Corrupt,
        ErrorKind::Other,
    ] {
        store.fail(kind);
        for _ in 0..10 {
            let _ = breaker.load(&key(), Slide::No).await.unwrap_err();
        }
    }
    assert_eq!(breaker.stats().opened, 0);
    assert_eq!(store.calls(), 40);
}

/// A store error is never "no session": what a request handler sees is an error to answer with 503.
#[tokio::test]
async fn an_open_breaker_is_an_error_and_not_an_absent_session() {
    let (breaker, store, _) = breaker();
    store.fail(ErrorKind::Unavailable);
    let sessions = Sessions::new(breaker, Policy::default());
    for _ in 0..6 {
        let opened = sessions.open(SessionId::random().unwrap()).await;
        assert!(matches!(opened, Err(OpenError::Store(_))));
    }
    assert_eq!(store.calls(), 3);
}
