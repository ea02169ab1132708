#![cfg_attr(feature = "std", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "std"),
    doc = "A cache with exact least-recently-used order, a hard bound by count or weight, and expiry; here without `std`."
)]
//!
//! # The algorithm
//!
//! Exact least recently used: entries stand in a list from the newest use to the oldest, a table finds them by key,
//! and the oldest leaves when another needs its room. It forgets a scan's worth of good entries for a scan, which
//! cleverer policies do not; in return anybody can say what it holds. The list, the table, the weights and the
//! deadlines are one state machine without locks. [`unsync::Cache`] is that machine and a clock;
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
//!    any instant. Room is made before an entry is stored. Capacity zero stores nothing.
//! 2. **Freshness.** After an insert or a remove has returned, no call that starts later gets what was there before,
//!    nor what was loaded before. A key is found by its `Eq`; two keys of one hash never get each other's value.
//! 3. **Expiry.** A value whose time is over, by the clock the cache was given, is not returned. One that a call
//!    found to be over does not come back when the clock steps back: time stands still then, for all keys of the
//!    shard, until the clock has caught up. A time that does not fit the clock is forever.
//! 4. **One load a key**, however many threads and tasks ask, also if the load panics or is dropped.
//! 5. **No lock is held while user code runs**, but for the `Eq` of keys and the `Clone` of values, for which a call
//!    back into a cache panics where it might have waited for ever. A panic in user code leaves the cache whole.
//! 6. **Nobody is paused.** There is no thread, no queue of pending work and no pass over all entries. A call works
//!    off at most eight expired entries or timers on the side, so a million that expire together delay nobody.
//!
//! # Cost
//!
//! One hash a call; a hit is one lock, one probe and a splice in the list. An entry of two words takes about 95 bytes
//! of heap, those two included, and about 35 more if it has a deadline. The clock is read only once something can expire.
//! Memory grows with the entries and is given back by `clear`. `docs/lru-cache.md` says what was weighed against what.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod builder;
#[cfg(feature = "std")]
mod cache;
#[cfg(feature = "std")]
mod flight;
mod insertion;
mod lru;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the table that asks these comes in a change of its own"
    )
)]
mod policy;
#[cfg(feature = "std")]
mod reentry;
mod stats;
pub mod unsync;

pub use builder::{Builder, ByEntries, ByWeight, Limit, Unlimited};
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
pub use cache::{Cache, Iter};
pub use equivalent::Equivalent;
pub use insertion::{Cause, Evicted, Eviction, Inserted, IntoEvicted, Outcome};
pub use stats::Stats;
