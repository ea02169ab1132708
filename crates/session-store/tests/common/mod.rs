//! A store beside its clock, and what is stored in it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Duration;

use purlin_core::ManualClock;
use purlin_session_store::conformance::Subject;
use purlin_session_store::{Lifetime, Record, SessionId, SessionKey, SessionStore};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn key() -> SessionKey {
    SessionId::random().unwrap().key()
}

pub(crate) fn record(payload: &'static str) -> Record {
    Record::new(payload, Lifetime::new(HOUR, HOUR * 12))
}

/// A store beside the manual clock that it lives by.
pub(crate) struct Under<S> {
    pub(crate) store: S,
    pub(crate) clock: ManualClock,
}

impl<S: SessionStore> Subject for Under<S> {
    type Store = S;
    fn store(&self) -> &S {
        &self.store
    }
    fn retention(&self) -> Duration {
        Duration::from_secs(300)
    }
    fn unit(&self) -> Duration {
        Duration::from_millis(1)
    }
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}
