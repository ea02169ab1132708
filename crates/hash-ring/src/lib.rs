#![doc = include_str!("../README.md")]
//!
//! # What is here
//!
//! - [`Ring`]: consistent hashing on a circle, for fleets whose members share nothing but the list of nodes.
//! - [`Placement`](purlin_core::Placement) of `purlin-core` is what it implements, so that stores and routers
//!   take any placement.
//!
//! # What is promised
//!
//! - **The same answer everywhere.** Keys are bytes ([`PlacementKey`](purlin_core::PlacementKey)) under a
//!   named hash ([`PlacementHash`](purlin_core::PlacementHash)); no answer depends on the machine's byte
//!   order or word size, on the process, on the standard library's hasher or on the order in which nodes
//!   were given. Golden vectors in the tests freeze it: another answer would be another algorithm with
//!   another number.
//! - **Only what must move moves.** Adding a node moves keys to it and no others; removing one moves its
//!   keys and no others; a new weight moves keys only to or from its node.
//! - **Values do not change.** A placement is immutable; a change gives another value with the next version.
//!   Readers need no lock: keep the value behind an `Arc` or an atomic pointer and swap it.
//! - **No allocation on lookups**, and no `unsafe` anywhere.
//!
//! # Snapshots
//!
//! `to_bytes` gives a placement as bytes, all numbers little-endian: the four bytes `PLpl`; the format, 1;
//! the algorithm's number; the placement hash in its 18 bytes; the version as `u64`; the number of nodes as
//! `u32`, and for each its id (`u64`), weight (`u32`), name (length as `u32`, UTF-8), and a byte 0, or 1 and
//! the zone's name; what the algorithm adds (a ring: points per weight unit as `u32`); the XXH3-64 of
//! everything before as `u64`. The checksum finds damage, not malice.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod error;
mod nodes;
mod points;
mod ring;
mod snapshot;

pub use error::BuildError;
pub use ring::{Ring, RingBuilder};
pub use snapshot::DecodeError;
