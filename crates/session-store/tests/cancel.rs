//! Futures of sessions, dropped at every point at which they can be.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::pin::pin;
use std::task::{Context, Waker};

use purlin_session_store::conformance::Faulty;
use purlin_session_store::{
    MemoryStore, Policy, Saved, Session, SessionId, SessionStore, Sessions, State,
};

async fn stored<S: SessionStore>(
    sessions: &Sessions<S>,
    field: &str,
    value: &'static str,
) -> SessionId {
    let mut session = Session::absent();
    session.set_bytes(field, value).unwrap();
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Created);
    session.id().unwrap().clone()
}

fn text(session: &Session, field: &str) -> Option<String> {
    let value = session.get_bytes(field)?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

/// The commit is whole or absent, and committing again
/// finishes it.
#[test]
fn a_dropped_commit_is_finished_by_the_next() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for rotate in [false, true] {
        for polls in 1..8 {
            let sessions = Sessions::new(
                Faulty::new(MemoryStore::new()).giving_way(),
                Policy::default(),
            );
            let id = runtime.block_on(stored(&sessions, "a", "1"));
            let mut session = runtime.block_on(sessions.open(id.clone())).unwrap();
            session.set_bytes("b", "2").unwrap();
            if rotate {
                session.rotate();
            }
            let completed = polled(polls, sessions.commit(&mut session));
            if completed.is_none() {
                session.set_bytes("c", "3").unwrap();
                let saved = runtime.block_on(sessions.commit(&mut session)).unwrap();
                let expected = if rotate {
                    Saved::Rotated
                } else {
                    Saved::Written
                };
                assert_eq!(saved, expected, "dropped after {polls} polls");
                assert_eq!(text(&session, "c").unwrap(), "3");
            }
            let id = session.id().unwrap().clone();
            let reopened = runtime.block_on(sessions.open(id)).unwrap();
            assert_eq!(text(&reopened, "b").unwrap(), "2");
            assert_eq!(text(&reopened, "c").is_some(), completed.is_none());
            assert_eq!(sessions.store().store().stats().rotated, u64::from(rotate));
        }
    }
}

#[test]
fn a_dropped_deletion_is_finished_by_the_next_and_a_dropped_open_harms_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for polls in 1..4 {
        let sessions = Sessions::new(
            Faulty::new(MemoryStore::new()).giving_way(),
            Policy::default(),
        );
        let id = runtime.block_on(stored(&sessions, "a", "1"));
        drop(polled(polls, sessions.open(id.clone())));
        let mut session = runtime.block_on(sessions.open(id.clone())).unwrap();
        assert_eq!(session.state(), State::Clean);
        session.destroy();
        drop(polled(polls, sessions.commit(&mut session)));
        assert_eq!(
            runtime.block_on(sessions.commit(&mut session)).unwrap(),
            Saved::Destroyed
        );
        assert_eq!(
            runtime.block_on(sessions.open(id)).unwrap().state(),
            State::Absent
        );
    }
}

#[test]
fn a_dropped_update_happened_as_a_whole_or_not_at_all() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for polls in 1..6 {
        let sessions = Sessions::new(
            Faulty::new(MemoryStore::new()).giving_way(),
            Policy::default(),
        );
        let id = runtime.block_on(stored(&sessions, "a", "1"));
        let mut session = runtime.block_on(sessions.open(id.clone())).unwrap();
        let both = |session: &mut Session| {
            session.set_bytes("a", "2").unwrap();
            session.set_bytes("b", "2").unwrap();
        };
        drop(polled(polls, sessions.update(&mut session, both)));
        let session = runtime.block_on(sessions.open(id)).unwrap();
        let seen = (text(&session, "a").unwrap(), text(&session, "b"));
        assert!(
            seen == ("1".into(), None) || seen == ("2".into(), Some("2".into())),
            "{seen:?}"
        );
    }
}

/// The outcome of a future that is polled at most so often, and then dropped.
fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    (0..times).find_map(|_| match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    })
}
