#![doc = include_str!("../README.md")]
//!
//! # Which one to take
//!
//! All implement [`Placement`](purlin_core::Placement), so stores and routers take any of them, and
//! [`AnyPlacement`] takes the choice from a configuration file.
//!
//! | | lookup | balance | keys moved | weights | needs | take it for |
//! |---|---|---|---|---|---|---|
//! | [`SlotTable`] | 2 loads | exact to a slot | least, but for rounding | yes | a shared table | fleets that share a map: the default |
//! | [`Ring`] | index and scan | ±8 % at 160 points | least | yes | the list of nodes | fleets that share nothing |
//! | [`Rendezvous`] | 2 ns a node and more | exact | least | exact | the list of nodes | up to a few dozen nodes |
//! | [`Anchor`] | about 10 ns | exact | least | whole buckets | its history | large fleets that change anywhere |
//! | [`Memento`] | about 15 ns and removals | exact | least | whole buckets | its history | as anchor, without a capacity |
//! | [`Jump`] | about 10 ns | exact | least at the end of the row | 0 or 1 | the row | shards that only grow |
//! | [`Maglev`] | 2 loads | to a table entry | 1.2 to 9 times the least | yes | the list of nodes | load balancing without state |
//! | [`MultiProbe`] | 21 ring lookups | 1.05 | least | roughly | the list of nodes | thousands of nodes, little memory |
//!
//! "Exact" leaves the noise of the keys themselves. `docs/plots/hash-ring.svg` in the repository draws balance and
//! movement against the number of nodes, and `docs/BENCHMARKS.md` has the times beside those of other crates. [`diff`] lists what moves between two placements with
//! ranges ([`Ranges`]); [`Spread`] puts replicas into different zones and racks.
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
#![cfg_attr(
    feature = "std",
    doc = "  [`Current`] holds the version in use: readers never wait, and versions only go up."
)]
//! - **No allocation on lookups**, and no `unsafe` anywhere.
//!
//! # Snapshots
//!
//! `to_bytes` gives a placement as bytes, all numbers little-endian: the four bytes `PLpl`; the format, which is
//! 2 if a node has a rack or replicas are spread over racks, and otherwise 1; the algorithm's number
//! ([`Algorithm`]); the placement hash in its 18 bytes; the version as `u64`; a byte for where replicas may
//! stand, 0 anywhere, 1 spread over zones and 2 over zones and racks; the number of nodes as `u32`, and for
//! each, by ascending id, its id (`u64`), weight (`u32`), name (length as `u32`, UTF-8), and a byte, to which a
//! zone adds 1 and a rack 2, with the names of what there is, zone first; what the algorithm adds, which its
//! `to_bytes` says (a ring: points per weight unit as `u32`); the XXH3-64 of everything before as `u64`. The
//! checksum finds damage, not malice.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod anchor;
mod any;
mod availability;
mod bounded;
mod buckets;
#[cfg(feature = "std")]
mod change;
#[cfg(feature = "std")]
mod current;
mod diff;
mod error;
mod fleet;
#[cfg(feature = "interop")]
#[cfg_attr(docsrs, doc(cfg(feature = "interop")))]
pub mod interop;
mod jump;
mod maglev;
mod memento;
mod mix;
mod multi_probe;
mod nodes;
mod places;
mod plan;
mod planner;
mod points;
mod ranges;
mod rank;
mod rendezvous;
mod ring;
mod salted;
mod slots;
mod snapshot;
mod spread;
mod versioned;
#[cfg(feature = "serde")]
mod with_serde;

pub use anchor::{Anchor, AnchorOptions};
pub use any::{Algorithm, AnyPlacement, ParseAlgorithmError};
pub use availability::{Loss, expected_unavailable};
pub use bounded::{BoundError, BoundedLoad, Held};
#[cfg(feature = "std")]
pub use change::{Change, PublishError, PublishErrorKind, Published};
#[cfg(feature = "std")]
pub use current::{Current, Reader};
pub use diff::{Diff, HashesDiffer, Move, diff, diff_any, least_movement, moves};
pub use error::BuildError;
pub use fleet::Builder;
pub use jump::{Jump, JumpFunction, JumpOptions, binomial, jump, jump_back};
pub use maglev::{Maglev, MaglevOptions};
pub use memento::{Memento, MementoOptions};
pub use multi_probe::{MultiProbe, MultiProbeOptions};
pub use plan::{Plan, Step, Throttle, evenly};
pub use planner::WeightPlanner;
pub use ranges::{Ranges, shares};
pub use rendezvous::{Rendezvous, RendezvousOptions};
pub use ring::{Ring, RingOptions};
pub use slots::{SlotOptions, SlotTable};
pub use snapshot::DecodeError;
pub use spread::Spread;
pub use versioned::Versioned;
