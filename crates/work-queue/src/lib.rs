#![doc = include_str!("../README.md")]
//!
//! # What is here
//!
//! | word | what it is |
//! |---|---|
//! | [`Job`] | bytes for a worker, with a delay, a key and a number of attempts |
//! | [`QueueStore`], [`DynQueueStore`] | the queue as its users see it, and its contract in numbered sentences |
//! | [`MemoryQueue`] | the queue in memory; the durable one is `RedbQueue` of `purlin-redb` |
//! | [`LeaseRequest`], [`Leased`], [`LeaseId`] | the right to work on a job for a while, with its fencing number |
//! | [`Nack`], [`DeadLetter`] | what becomes of a job that was not done |
//! | [`Limits`], [`Stats`] | where the queue ends, and how full it is |
#![cfg_attr(
    feature = "tokio",
    doc = "| [`Worker`] | the loop that leases, runs a handler, extends, settles and drains |"
)]
//! | [`embedded`] | the state machine underneath, for another store inside the process |
#![cfg_attr(
    feature = "test-util",
    doc = "| [`conformance`] | the suite that every store passes, for yours too |"
)]
//!
//! # The life of a job
//!
//! ```text
//!            enqueue                      lease                 ack
//!  producer ─────────► ready ◄──────────────────────► leased ─────────► gone
//!               │        ▲        lease ended            │
//!    delay,     ▼        │ time                          │ nack
//!    date    delayed ────┘ ◄─────────────────────────────┤
//!                              backoff                   ▼ last attempt, or rejected
//!                        ready ◄──────────────────────  dead ─────────► gone
//!                                     redrive                 discard
//! ```
//!
//! # Guarantees
//!
//! - **At least once.** An acknowledged job is handed out until somebody acks it, it runs out of attempts, or its
//!   dead letter is discarded. A worker that dies between its work and its ack has the work repeated. There is no
//!   "exactly once" to be had from a queue alone: make the effect idempotent by the job's key, or let what it writes
//!   to refuse a fencing number lower than one it has seen.
//! - **A lease is not a lock.** A worker that was paused past its lease's end does not know. It can no longer settle
//!   the job, but it can still write to the world; that is what the fencing number is for.
//! - **Attempts are counted at the hand-out**, so a job that kills its worker every time ends as a dead letter like one
//!   that fails politely.
//! - **Time is the store's.** Leases, delays and backoff are measured by one monotonic clock, that of the store. No
//!   clock of a worker or a producer decides anything, and stepping the wall clock changes nothing while the store is
//!   open. Only [`Job::not_before`] and restarts look at the wall clock; see [`embedded::Until`].
//! - **Panics** of a handler are failures of its job. No lock is held while code of the caller's runs.
//!
//! # Cost
//!
//! In memory each operation is O(1) under one lock: a hash look-up or two and a timer, and batches pay for their jobs.
//! Time that passes for other jobs is worked off in bounded pieces, some tens of microseconds at most in any call.
//! A waiting job costs some 300 bytes beside its payload.
//!
//! # When not to use it
//!
//! For a channel between two tasks of one process take `crossbeam-channel` or tokio's: nothing there needs a lease.
//! For an event log that many readers replay, take a log: here a job is gone when it is done. Priorities, fairness
//! between tenants, schedules and results are not here yet.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod job;
mod lease;
mod limits;
mod memory;
mod nack;
mod stats;
mod status;
mod store;
mod text;
#[cfg(feature = "tokio")]
mod worker;

#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod conformance;
pub mod embedded;

pub use bytes::Bytes;
pub use error::{EnqueueError, Error, ErrorKind, LeaseError, Refusal};
pub use job::{Enqueued, Job, JobId, Start};
pub use lease::{LeaseId, LeaseRequest, Leased};
pub use limits::{Limits, MAX_BATCH, MAX_ERROR_BYTES, MAX_KEY_BYTES, MAX_WORKER_BYTES};
pub use memory::MemoryQueue;
pub use nack::{Nack, Nacked, Next};
pub use purlin_core::{
    Backoff, Clock, ManualClock, Meter, Reading, Retry, Rng, Safety, SystemClock, Tick, Timer,
    WallTime,
};
pub use stats::Stats;
pub use status::{DeadLetter, DeadReason, JobState, JobStatus};
pub use store::{BoxFuture, DynQueueStore, QueueStore};
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use worker::{Failure, Worker, WorkerBuilder, WorkerReport};
