//! The decoder of shard maps: no bytes make it panic, and the bytes it takes are exactly those of the map it
//! gives.
#![no_main]

#[path = "../../crates/shard-router/tests/regressions/check.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    drop(check::check(input));
});
