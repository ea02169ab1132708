#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! Two levels. A key's *slot* follows from the key alone, by a hash that never changes ([`PlacementHash`]) and
//! its highest bits; a [`ShardMap`] says which *shard* owns each slot. So a lookup is one hash and one load,
//! moving data means moving slots, and a map is a small value that can be sent anywhere. Redis Cluster made
//! this shape known.
//!
//! Every map has a version, and every slot an *epoch*: the version that last changed it. Clients send the
//! epoch along ([`Route`]), and the shard compares ([`Guard`]). That is what turns a stale map from a wrong
//! answer into a refusal.
//!
//! | what | for |
//! |---|---|
//! | [`ShardMap`], [`Builder`] | the map: an immutable value, made, changed, encoded and decoded |
//! | [`Shard`], [`Slot`], [`MapVersion`], [`Assignment`], [`KeyRule`] | its words |
//! | [`Router`] | the client's side: the map in use, replaced by newer ones only |
//! | [`Route`] | where a key lives and since when, to send along |
//! | [`Guard`], [`Admit`], [`SlotState`] | the shard's side: admits what agrees with its own map, counts what is in flight |
//! | [`Refusal`] | why not, and where to go |
//! | [`SlotMove`], [`Step`] | moves slots between shards that are in service, one step at a time |
//! | [`ShardGroup`], [`RoutedKey`] | many keys, by shard |
//! | [`RouterStats`], [`GuardStats`] | counters |
//!
//! # What is promised
//!
//! Given one store of maps that replaces map `n` by `n + 1` by compare-and-swap, guards that start from its
//! newest map, and moves made by [`SlotMove`]:
//!
//! 1. At no time do two guards admit requests to one slot.
//! 2. A request is admitted only if its route's epoch is that of the slot in the guard's map. So a write that was sent
//!    before a move and arrives after it is refused, also where the slot has come back since.
//! 3. Once a move has been drained, nothing admitted earlier is still running in its slots: a copy made then is
//!    complete.
//! 4. An installed map is only ever replaced by a later version of the same history. Older maps, different
//!    maps of one version, forks of the history as far as slots show them, and maps by another hash are refused.
//! 5. Encoded maps are read by every later release of this crate. Hostile bytes are an error.
//!
//! Without guards, as where clients talk to databases directly, 1 to 3 hold only if the database itself
//! compares epochs, for instance with a row for each slot that a transaction checks.
//!
//! # Panics, threads, cost
//!
//! Nothing starts a thread, names an async runtime, reads a clock or writes a log. No lock is held while a
//! key's own code runs. Routing is wait-free and does not allocate; admission takes a lock shared by a 64th of
//! the slots, for a few dozen instructions. Maps of 16,384 slots take 256 KiB, and installing one is O(slots).
//!
//! What is not in this version, and why, is in the design note, `docs/shard-router.md` of the repository.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod group;
mod guard;
mod key_rule;
mod map;
mod route;
mod router;
mod shard;
mod slot;
mod slot_move;
mod version;

pub use purlin_core::{HashMismatch, Placement, PlacementHash, PlacementKey};

pub use crate::group::{RoutedKey, ShardGroup};
pub use crate::guard::{Admit, Guard, GuardStats, Refusal, SlotState};
pub use crate::key_rule::KeyRule;
pub use crate::map::{
    Assignment, Builder, DecodeError, InstallError, InstallErrorKind, Installed, MapError, ShardMap,
};
pub use crate::route::Route;
pub use crate::router::{Router, RouterStats};
pub use crate::shard::{Shard, ShardId};
pub use crate::slot::Slot;
pub use crate::slot_move::{MoveError, SlotMove, Step};
pub use crate::version::MapVersion;
