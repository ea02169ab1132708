#![doc = include_str!("../README.md")]
//!
//! # What is here
//!
#![cfg_attr(
    feature = "queue",
    doc = "- [`RedbQueue`]: a durable [`QueueStore`](purlin_work_queue::QueueStore) in one file. Its methods block."
)]
#![cfg_attr(
    feature = "tokio",
    doc = "- [`OffloadedQueue`]: the same for async callers, on tokio's blocking threads."
)]
#![cfg_attr(
    feature = "session",
    doc = "- [`RedbSessionStore`]: a durable [`SessionStore`](purlin_session_store::SessionStore) in one file. Its methods block."
)]
#![cfg_attr(
    all(feature = "session", feature = "tokio"),
    doc = "- [`OffloadedSessionStore`]: the same for async callers."
)]
#![cfg_attr(
    any(feature = "queue", feature = "session"),
    doc = "- [`OpenError`]: why a file could not be opened."
)]
//!
//! # What an acknowledgement means
//!
//! A method that changes something returns `Ok` after its transaction is on the disk: written, and `fsync`ed through
//! to the medium as far as the operating system and the drive are honest about that. What was acknowledged survives
//! `kill -9`, a crash of the system and a power cut. What was not acknowledged may have happened or not, and never by
//! half. Leases and attempts are durable like everything else, so that a job which takes the whole process down with it
//! is counted, and ends as a dead letter.
//!
//! The price is one wait for the disk a call. Callers on different threads share it: while one commits, the others
//! gather, and the next commit is for all of them. No thread of our own is started for that.
//!
//! After an I/O error nothing is acknowledged any more until the file is opened again: what the system kept of the
//! failed write is not knowable, and trying again on the same handle is how acknowledged data is lost.
//!
//! # Opening
//!
//! A new file is made under another name, synced, and renamed, and the directory is synced; so a crash while it is made
//! leaves either no file or a whole one, and never one that blocks the next start. One process at a time has a file
//! open: a second one is told so. Each file carries a format number, and a version that does not know it refuses the
//! file rather than guess.
//!
//! After a crash, opening checks the whole file once. That takes time in proportion to it; `docs/redb.md` in the
//! repository has figures.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "queue", feature = "session"))]
mod file;
#[cfg(any(feature = "queue", feature = "session"))]
mod group_commit;
#[cfg(any(feature = "queue", feature = "session"))]
mod open_error;
#[cfg(feature = "queue")]
mod queue;
#[cfg(feature = "session")]
mod session;
#[cfg(any(feature = "queue", feature = "session"))]
mod shared_error;
#[cfg(all(test, any(feature = "queue", feature = "session")))]
mod test_disk;

#[cfg(any(feature = "queue", feature = "session"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "queue", feature = "session"))))]
pub use open_error::OpenError;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use queue::OffloadedQueue;
#[cfg(feature = "queue")]
#[cfg_attr(docsrs, doc(cfg(feature = "queue")))]
pub use queue::{RedbQueue, RedbQueueBuilder};
#[cfg(all(feature = "session", feature = "tokio"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "session", feature = "tokio"))))]
pub use session::OffloadedSessionStore;
#[cfg(feature = "session")]
#[cfg_attr(docsrs, doc(cfg(feature = "session")))]
pub use session::{RedbSessionStore, RedbSessionStoreBuilder};
