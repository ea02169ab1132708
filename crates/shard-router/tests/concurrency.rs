//! Moves and installations on real threads, many times over. The same bodies run under a model checker's
//! scheduler in `shuttle.rs`.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![cfg(not(any(purlin_shuttle, purlin_loom)))]

#[path = "concurrency/bodies.rs"]
mod bodies;

mod threads {
    pub(crate) use std::thread::{spawn, yield_now};
}

const ROUNDS: usize = 200;

#[test]
fn no_write_is_lost_and_no_slot_has_two_writers_while_it_moves() {
    (0..ROUNDS).for_each(|_| bodies::move_under_writes());
}

#[test]
fn a_router_never_goes_back_whoever_installs() {
    (0..ROUNDS).for_each(|_| bodies::install_in_any_order());
}
