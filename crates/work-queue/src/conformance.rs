//! The suite that every store passes: the contract of [`QueueStore`] as code.
//!
//! A store brings a [`Harness`], which opens empty stores and lets time pass on their clock, and calls [`run`]. A store
//! whose clock can be turned by hand also calls [`walk`], which does random operations beside a naive model of the
//! queue. Both panic at the first promise that is not kept.
//!
//! ```
//! use std::time::Duration;
//! use purlin_work_queue::conformance::{Harness, run};
//! use purlin_work_queue::{Clock, Limits, ManualClock, MemoryQueue, WallTime};
//!
//! struct Memory(ManualClock);
//!
//! impl Harness for Memory {
//!     type Store = MemoryQueue<ManualClock>;
//!     async fn open(&self, limits: Limits) -> Self::Store {
//!         MemoryQueue::with_clock(limits, self.0.clone())
//!     }
//!     async fn pass(&self, time: Duration) {
//!         self.0.advance(time);
//!     }
//!     fn date(&self) -> WallTime {
//!         self.0.wall()
//!     }
//!     async fn reopen(&self, store: Self::Store) -> Result<Self::Store, Self::Store> {
//!         Err(store) // Memory forgets, so there is nothing to reopen.
//!     }
//! }
//!
//! # fn block_on<F: Future>(future: F) -> F::Output {
//! #     let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! #     match std::pin::pin!(future).poll(&mut cx) {
//! #         std::task::Poll::Ready(output) => output,
//! #         std::task::Poll::Pending => unreachable!("nothing here waits"),
//! #     }
//! # }
//! block_on(run(&Memory(ManualClock::new())));
//! ```

mod cases;
mod model;
mod walk;

use core::future::Future;
use core::time::Duration;

use purlin_core::WallTime;

pub use walk::{Step, walk};

use crate::{Limits, QueueStore};

/// What the suite needs of a store's tests.
pub trait Harness {
    /// The store.
    type Store: QueueStore;

    /// A new, empty store with these limits.
    fn open(&self, limits: Limits) -> impl Future<Output = Self::Store>;

    /// Returns when this much time has passed on the store's clock: at once for a clock turned by hand, and never
    /// earlier. A clock turned by hand moves only here, its date too.
    fn pass(&self, time: Duration) -> impl Future<Output = ()>;

    /// The date on the store's clock.
    fn date(&self) -> WallTime;

    /// Closes the store and opens it again as a new process would, with the same limits. A store that forgets is given
    /// back as an error.
    fn reopen(&self, store: Self::Store) -> impl Future<Output = Result<Self::Store, Self::Store>>;
}

/// Checks every sentence of the contract, each on a store of its own. Returns whether the store could be reopened, so
/// that a durable store's test can insist on it.
///
/// # Panics
///
/// If the store breaks a promise.
pub async fn run<H: Harness>(harness: &H) -> bool {
    cases::leases(harness).await;
    cases::time(harness).await;
    cases::dead(harness).await;
    cases::keys(harness).await;
    cases::bounds(harness).await;
    cases::waking(harness).await;
    cases::restart(harness).await
}
