//! The contract of [`SessionStore`] as a suite that any store can run.
//!
//! [`check`] tries each sentence of the contract by itself, then every order in which two requests on one
//! session can take their steps, and compares each answer with that of [`Model`], the contract written as the
//! plainest store there could be. A store of one's own needs a [`Subject`] and one test:
//!
//! ```
//! use std::time::Duration;
//! use purlin_core::ManualClock;
//! use purlin_session_store::MemoryStore;
//! use purlin_session_store::conformance::{Subject, check};
//!
//! struct Memory { store: MemoryStore<ManualClock>, clock: ManualClock }
//!
//! impl Subject for Memory {
//!     type Store = MemoryStore<ManualClock>;
//!     fn store(&self) -> &Self::Store { &self.store }
//!     fn retention(&self) -> Duration { Duration::from_secs(300) }
//!     fn unit(&self) -> Duration { Duration::from_millis(1) }
//!     async fn pass(&self, time: Duration) { self.clock.advance(time) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let clock = ManualClock::new();
//! let store = MemoryStore::builder().clock(clock.clone()).build();
//! let report = check(&Memory { store, clock }).await.expect("the memory store keeps its word");
//! assert!(report.interleavings > 5_000);
//! # }
//! ```
//!
//! [`walk`] makes random calls, some of which fail or lose their answers, and compares every answer with the model's.
//! [`Faulty`] is the store in which they do, for tests of one's own.
//!
//! What requests can rely on with [`Sessions`](crate::Sessions) over the store is in [`lines`], one function a
//! promise; [`conformance_lines!`](crate::conformance_lines) makes a test of each. A store on a server that processes
//! share has [`processes`] and [`conformance_processes!`](crate::conformance_processes) as well, and
//! [`an_outage_logs_nobody_out`].

mod at_once;
mod faulty;
mod interleavings;
pub mod lines;
mod model;
mod outage;
pub mod processes;
mod promises;
mod users;
mod walk;

use core::fmt;
use core::future::Future;
use core::time::Duration;

use bytes::Bytes;

use crate::error::StoreError;
use crate::id::{SessionId, SessionKey};
use crate::store::{Lifetime, Record, SessionStore};

pub use faulty::{Call, Fault, Faults, Faulty};
pub use model::Model;
pub use outage::an_outage_logs_nobody_out;
pub use walk::walk;

/// A store under test, and the passing of its time.
pub trait Subject: Sync {
    /// The store.
    type Store: SessionStore;

    /// The store. It may hold other sessions already; the suite makes keys of its own.
    fn store(&self) -> &Self::Store;

    /// How long the store remembers a key after its session ended: at least a minute and at least sixteen
    /// units.
    fn retention(&self) -> Duration;

    /// The shortest time that the store tells apart, with room for a call or two: a millisecond under a
    /// manual clock, a good part of a second over a network. The suite takes about seventy of them.
    fn unit(&self) -> Duration;

    /// Lets this much of the store's time pass, or a little more.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Whether the store can be called on any thread, as one can that needs no runtime. Requests at once are
    /// then made on a thread each; otherwise they take turns on the caller's.
    fn is_free_of_runtimes(&self) -> bool {
        false
    }
}

/// What a suite ran through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Sentences of the contract that were tried one by one.
    pub promises: usize,
    /// Orders of two requests' steps that were tried.
    pub interleavings: usize,
    /// Calls of the store in those.
    pub calls: usize,
}

/// Runs the suite.
///
/// # Errors
///
/// The first [`Violation`] found.
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the suite may be left in the store. They expire.
pub async fn check<S: Subject>(subject: &S) -> Result<Report, Violation> {
    let mut report = Report::default();
    promises::check(subject, &mut report).await?;
    users::check(subject, &mut report).await?;
    interleavings::check(subject, &mut report).await?;
    Ok(report)
}

/// A store did not do what the contract says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// What the contract says.
    pub promise: &'static str,
    /// What the store did.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.detail)
    }
}

impl core::error::Error for Violation {}

impl Violation {
    /// Never: the store must change first.
    pub const fn retry(&self) -> purlin_core::Retry {
        purlin_core::Retry::NEVER
    }
}

/// Compares an answer with the one promised.
fn expect<T: PartialEq + fmt::Debug>(
    promise: &'static str,
    answer: T,
    promised: T,
) -> Result<(), Violation> {
    if answer == promised {
        return Ok(());
    }
    Err(Violation {
        promise,
        detail: format!("expected {promised:?}, the store answered {answer:?}"),
    })
}

/// A suite runs against a store that works: a failure of the store ends it.
fn answered<T>(answer: Result<T, StoreError>) -> Result<T, Violation> {
    answer.map_err(|error| Violation {
        promise: "a store that works does not fail",
        detail: format!("{error:?}"),
    })
}

fn new_key() -> Result<SessionKey, Violation> {
    let id = SessionId::random();
    Ok(id
        .map_err(|error| Violation {
            promise: "there are random ids",
            detail: error.to_string(),
        })?
        .key())
}

fn record(payload: impl Into<Bytes>, idle: Duration, absolute: Duration) -> Record {
    Record::new(payload, Lifetime::new(idle, absolute))
}
