//! Moves and installations under shuttle, which chooses the interleavings, so that the window between admission
//! and installation is entered every way there is. `ci/shuttle.sh` runs it.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
#![cfg(purlin_shuttle)]

#[path = "concurrency/bodies.rs"]
mod bodies;

mod threads {
    pub(crate) use shuttle::thread::{spawn, yield_now};
}

/// Runs a body under random schedules, and under ones that follow priorities, which find what needs few
/// switches at the right places.
fn explore(body: fn()) {
    let iterations = std::env::var("PURLIN_SHUTTLE_ITERATIONS").ok();
    let iterations = iterations.map_or(10_000, |iterations| iterations.parse().unwrap());
    shuttle::check_random(body, iterations);
    shuttle::check_pct(body, iterations, 3);
}

#[test]
fn no_write_is_lost_and_no_slot_has_two_writers_while_it_moves() {
    explore(bodies::move_under_writes);
}

#[test]
fn a_router_never_goes_back_whoever_installs() {
    explore(bodies::install_in_any_order);
}
