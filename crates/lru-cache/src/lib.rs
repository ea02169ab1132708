#![cfg_attr(feature = "std", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "std"),
    doc = "A cache that adapts to its load, with a hard bound by count or weight, and expiry; here without `std`."
)]
//!
//! # The algorithm
//!
//! Entries stand in sets of a few dozen, chosen by hash, and each set decides for itself who stays: newcomers are on
//! probation in a window, and get into the main part by hits, by frequency or by early reuse. Which of these, and how
//! large the window is, differs by load, so a sample of the keys also runs through eight small caches without
//! values, one for each way to choose, and the cache goes the way of the one that is ahead by more than chance.
//! Or it goes by one [`Policy`] that the caller names; with [`Policy::Lru`], exact least recently used, the entries
//! stand in one list a shard and not in sets, and anybody can say what it holds.
//!
//! Table, policy, weights and deadlines are one state machine without locks. [`unsync::Cache`] is that machine and a
//! clock;
#![cfg_attr(
    feature = "std",
    doc = "[`Cache`] is a power of two of them, each behind a lock, and a table of the loads under way in each."
)]
#![cfg_attr(
    not(feature = "std"),
    doc = "with feature `std`, `Cache` is several of them, each behind a lock, and loads what is absent."
)]
//!
//! # Promises
//!
//! 1. **Bound.** The weight of the entries (their number, where that is the bound) is never above the capacity, at
//!    any instant. Capacity zero stores nothing.
//! 2. **Freshness.** After an insert or a remove has returned, no call that starts later gets what was there before,
//!    nor what was loaded before. A key is found by its `Eq`; two keys of one hash never get each other's value.
//! 3. **Expiry.** A value whose time is over, by the clock the cache was given, is not returned, but to the call that asks for such
//!    a one, in a cache that keeps them. One that a call
//!    found to be over does not come back when the clock steps back: time stands still then, for all keys of the
//!    shard, until the clock has caught up. A time that does not fit the clock is forever.
//! 4. **One load a key**, however many threads and tasks ask, for one key or many, also while it is refreshed, and also if the load
//!    panics or is dropped.
//! 5. **No lock is held while user code runs**, but for the `Eq` of keys and the `Clone` of values, for which a call
//!    back into a cache panics where it might have waited for ever. A panic in user code leaves the cache whole.
//! 6. **Nobody is paused.** There is no thread and no queue of pending work, and the only pass over a shard's entries
//!    is that of its table when it doubles. A call works off at most eight expired entries on the side, so
//!    a million that expire together delay nobody.
//!
#![cfg_attr(
    feature = "std",
    doc = "# What there is\n\n\
| | |\n|---|---|\n\
| bounds, lifetimes, policy | [`Builder`], [`Policy`] |\n\
| one key | [`get`](Cache::get), [`peek`](Cache::peek), [`insert`](Cache::insert), [`insert_for`](Cache::insert_for), \
[`remove`](Cache::remove), [`remove_if`](Cache::remove_if) |\n\
| loading | [`get_or_load`](Cache::get_or_load) and its `try_`, `_async` and `_for` forms |\n\
| many keys | [`get_many`](Cache::get_many), [`get_or_load_many`](Cache::get_or_load_many) and its `try_` and `_async` forms |\n\
| answers without a value | [`get_or_ask`](Cache::get_or_ask), [`Answer`], [`Negative`] |\n\
| refreshing | [`get_refreshing`](Cache::get_refreshing), [`Due`], [`Refresh`] |\n\
| changing what is there | [`compute`](Cache::compute), [`compute_async`](Cache::compute_async), [`update`](Cache::update), \
[`incr`](Cache::incr), [`decr`](Cache::decr) |\n\
| terms of one entry: time, tags, cost, a pin | [`insert_on`](Cache::insert_on), [`Terms`], [`pin`](Cache::pin), \
[`invalidate_tag`](Cache::invalidate_tag) |\n\
| what leaves, and why | [`Builder::listener`], [`Cause`] |\n\
| another capacity | [`set_capacity`](Cache::set_capacity) |\n\
| all of it | [`iter`](Cache::iter), [`retain`](Cache::retain), [`clear`](Cache::clear), [`stats`](Cache::stats) |\n\
| a warm start of the next process, with feature `serde` | `snapshot`, [`Builder`]'s `restore` |\n\n\
# Over something else\n\n\
[`Tiered`] is a cache of this process over any other [`CacheStore`](purlin_core::CacheStore); [`Through`] and \
[`WriteBehind`] stand in front of a table ([`Backing`]); [`Cluster`] spreads keys over nodes by a placement, with copies \
and failover.\n"
)]
//! # Cost
//!
//! One hash a call; a hit is one lock, one look at a set, and a note of the use while there is something to note.
//! Memory grows with the entries and is given back by `clear`. An entry with a deadline or a weight takes more.
//! `docs/lru-cache.md` has the figures, and what was weighed against what.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(purlin_safe, forbid(unsafe_code))]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
mod backing;
mod builder;
#[cfg(feature = "std")]
mod cache;
#[cfg(feature = "std")]
mod cluster;
mod decision;
mod engine;
mod expiry;
#[cfg(feature = "std")]
mod flight;
mod insertion;
mod integer;
mod listener;
mod lru;
mod policy;
mod raw;
#[cfg(feature = "std")]
mod reentry;
#[cfg(all(doctest, feature = "std"))]
mod regressions;
mod sets;
#[cfg(feature = "serde")]
mod snapshot;
mod stats;
mod tags;
mod terms;
#[cfg(feature = "std")]
mod tiered;
pub mod unsync;

#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use backing::{Backing, FlushError, Full, Through, WriteBehind};
pub use builder::{Builder, ByEntries, ByWeight, Limit, Unlimited};
#[cfg(all(feature = "std", feature = "serde"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "std", feature = "serde"))))]
pub use cache::Snapshot;
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use cache::{Answer, Cache, Due, Iter, Negative, Refresh, Served};
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use cluster::{CacheNode, Cluster, ClusterError};
pub use decision::{Computed, Decision};
pub use equivalent::Equivalent;
pub use insertion::{Cause, Evicted, Eviction, Inserted, IntoEvicted, Outcome, Refusal};
pub use integer::Integer;
#[cfg(purlin_tuning)]
pub use policy::selector::tuning::Tuning;
pub use policy::{ParsePolicyError, Policy};
pub use stats::Stats;
pub use tags::Moment;
pub use terms::Terms;
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use tiered::{Invalidation, Invalidations, Tiered};
