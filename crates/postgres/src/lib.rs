#![doc = include_str!("../README.md")]
//!
//! # What is here
//!
#![cfg_attr(
    feature = "session",
    doc = "- [`PostgresSessionStore`]: a durable [`SessionStore`](purlin_session_store::SessionStore) that many processes share."
)]
#![cfg_attr(
    feature = "session",
    doc = "- [`Clients`]: where its connections come from. A pool is one in a few lines."
)]
#![cfg_attr(
    feature = "session",
    doc = "- [`MigrateError`]: why the tables could not be made."
)]
//!
//! # What an acknowledgement means
//!
//! That the server has committed. With `synchronous_commit` on, which is its default, that survives a crash of the
//! server and a power cut; a failover to a standby loses nothing if the standby is synchronous.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "session")]
mod session;

#[cfg(feature = "session")]
#[cfg_attr(docsrs, doc(cfg(feature = "session")))]
pub use session::{Clients, MigrateError, PostgresSessionStore};
