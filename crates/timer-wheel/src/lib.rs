#![doc = include_str!("../README.md")]
//!
//! # The algorithm
//!
//! A hierarchical timing wheel (Varghese and Lauck, *Hashed and Hierarchical Timing Wheels*, 1987), written
//! as a radix tree over the digits of the deadline. A `u64` has eleven digits of six bits. A timer lives on
//! the level of the highest digit in which its deadline differs from the tick the wheel has reached, in the
//! slot of that digit; so level 0 holds the ticks next to come, one a slot, and level 10 the end of time.
//! When the wheel reaches a slot above level 0 it *cascades*: each timer of it moves to a lower level. A
//! timer cascades at most once a level.
//!
//! Three things differ from the paper:
//!
//! - **The whole range of `u64` is exact.** No timer fires early, none is rounded, and there is no overflow
//!   list.
//! - **Empty time is free.** Bitmaps lead to the next slot that holds something, and each slot knows the
//!   earliest deadline put into it, so the wheel jumps there. A jump of the clock by a year costs what is in
//!   that year.
//! - **Work is bounded.** [`Wheel::advance`] stops after its budget of fired and cascaded timers, in the
//!   middle of a slot if need be, and the next call goes on from there. A burst of a million deadlines on one
//!   tick is a queue to work off, not a pause.
//!
//! # Promises
//!
//! 1. A timer never fires before its deadline, and has fired once a call to `advance` with its deadline, or a
//!    later tick, returned [`caught_up`](Advance::caught_up).
//! 2. Timers fire in the order of their deadlines, and those of one tick in the order in which they were set.
//!    To reschedule a timer sets it anew. A deadline that the wheel has passed already counts as the tick it
//!    has [reached](Wheel::reached).
//! 3. A deadline of `u64::MAX` never fires.
//! 4. A tick that is lower than one seen before changes nothing: the wheel goes on from the highest.
//! 5. A [`TimerId`] is never used twice by one wheel, so a late cancel cannot hit another timer.
//! 6. An item leaves the wheel before the callback is given it: a callback that panics loses that one item,
//!    and the wheel goes on with the next. The same holds for an item whose drop panics.
//!
//! # Cost
//!
//! `insert`, `cancel`, `reschedule`, `get` and `next_deadline` are O(1) (`next_deadline` looks at eleven
//! words). `advance` is O(budget). A timer costs 40 bytes or so beside its item, in one `Vec` that grows and
//! never shrinks; the levels up to the highest in use cost 1 KiB each. Nothing is allocated for a tick.
//!
//! A timer `n` ticks ahead is moved at most `log64(n)` times before it fires, so ticks finer than the caller
//! needs cost a little: an hour is 7 levels in nanoseconds, and 2 in seconds. A timer alone in its slot moves
//! once.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod iter;
mod slab;
mod slots;
mod wheel;

pub use iter::{Drain, Iter};
pub use slab::TimerId;
pub use wheel::{Advance, Wheel};
