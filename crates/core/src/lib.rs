#![cfg_attr(feature = "std", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "std"),
    doc = "The shared traits and words of the Purlin crates; here without `std`."
)]
//!
//! # What is here
//!
//! A thing lives in this crate when two others would otherwise convert between their own copies of it,
//! or when two copies that differ would be a bug.
//!
//! | word | what it settles |
//! |---|---|
//! | [`Clock`], [`Tick`], [`WallTime`], [`Timer`] | where time comes from, so that tests can turn it by hand |
//! | [`PlacementKey`], [`PlacementHash`] | the bytes of a key and their hash, the same on every machine and in every version |
//! | [`MapHasher`] | the hash of tables inside one process, about which nothing is promised |
//! | [`Placement`] | which nodes own a key |
//! | [`Node`], [`NodeId`], [`Weight`], [`Zone`], [`Rack`], [`Health`] | what a node is |
//! | [`CacheStore`] | what a cache is to somebody who layers caches |
//! | [`Token`], [`TokenSet`] | the proof of a write, carried to whoever reads next |
//! | [`Retry`], [`Backoff`] | what may be tried again, and when |
//! | [`Rng`] | chance that can be repeated from a seed |
//! | [`Meter`] | counters, pulled as a snapshot |
#![cfg_attr(
    feature = "keyring",
    doc = "| [`Keyring`] | sealed values, with keys that rotate |"
)]
//!
//! Nothing here starts a thread, names an async runtime (but for the `tokio` feature's timer), keeps a
//! global, or writes a log.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod backoff;
mod cache_store;
mod clock;
mod key;
#[cfg(feature = "keyring")]
mod keyring;
mod map_hasher;
mod meter;
mod node;
mod placement;
mod placement_hash;
mod retry;
mod rng;
#[cfg(feature = "std")]
#[doc(hidden)]
pub mod sync;
mod token;

pub use backoff::Backoff;
pub use cache_store::{CacheStore, DynCacheStore, LoadError};
pub use clock::{Clock, Tick, WallTime};
#[cfg(feature = "std")]
pub use clock::{ManualClock, ManualSleep, SystemClock, Timer};
pub use key::{KeyBuffer, PlacementKey};
#[cfg(feature = "keyring")]
pub use keyring::{Keyring, KeyringError, SealingKey};
pub use map_hasher::{MapHasher, MapHasherState};
#[cfg(feature = "metrics")]
pub use meter::publish_metrics;
#[cfg(feature = "tracing")]
pub use meter::publish_tracing;
pub use meter::{Meter, Reading, Value};
pub use node::{Health, Node, NodeId, Rack, Weight, Zone};
pub use placement::Placement;
pub use placement_hash::{HashAlgorithm, HashMismatch, ParseHashError, PlacementHash};
pub use retry::{Retry, Safety};
pub use rng::Rng;
pub use token::{GroupId, ParseTokenError, Token, TokenSet};
