//! The codec of session cookies: no bytes make it panic, and it takes nothing but what one of its keys wrote
//! for that cookie and that use.
#![no_main]

#[path = "../../crates/session-store/tests/regressions/check.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let taken = check::check(input);
    assert!(!taken.id || !taken.token);
});
