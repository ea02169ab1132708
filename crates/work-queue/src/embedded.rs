//! What a store inside the process is built from, for whoever builds another one.
//!
//! [`Ledger`] is the queue itself: a state machine in memory without clock, lock, thread or file. It is told the time
//! with each call, and tells its [`Medium`] what has changed. The memory store puts a lock around it; a durable store
//! also writes what the medium is told in one transaction, and answers its callers after the commit. So every rule
//! of the queue stands in one place, whatever the engine.
//!
//! [`Restore`] makes a ledger again from what a medium has kept, and [`Signal`] is what
//! [`QueueStore::changed`](crate::QueueStore::changed) waits for.
//!
//! A store for a server does not use this module: its rules run where its data is.

mod keys;
mod ledger;
mod medium;
mod record;
mod restore;
mod signal;

pub use ledger::{Counters, Ledger};
pub use medium::{JobRecord, Medium, Phase, Until};
pub use record::RecordError;
pub use restore::{Restore, RestoreError};
pub use signal::{Changed, Signal};

use purlin_core::{Clock, Tick, WallTime};

/// A reading of both of a clock's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What everything inside the process is measured by.
    pub tick: Tick,
    /// What is written to the medium, since ticks mean nothing to the next process.
    pub wall: WallTime,
}

impl Moment {
    /// What `clock` shows.
    pub fn of<C: Clock + ?Sized>(clock: &C) -> Self {
        Moment {
            tick: clock.now(),
            wall: clock.wall(),
        }
    }
}
