//! The decoders of placements and of other programs' rings: no bytes make them panic, and the bytes they take
//! are exactly those of what they give.
#![no_main]

#[path = "../../crates/hash-ring/tests/regressions/check.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let taken = check::check(input);
    assert!(!taken.foreign || !input.is_empty());
    assert!(!taken.placement || !input.is_empty());
});
