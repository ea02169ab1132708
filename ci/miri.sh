#!/usr/bin/env bash
# Runs tests under miri, Rust's interpreter that finds undefined behaviour and knows other machines than this one:
# the placement's golden vectors on a 32-bit and on a big-endian target. Crates with unsafe code join here.
# Needs the nightly toolchain with miri and rust-src.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "miri is not installed: rustup toolchain install nightly --component miri,rust-src" >&2
    exit 1
fi
for target in i686-unknown-linux-gnu s390x-unknown-linux-gnu; do
    step "golden vectors on $target" cargo +nightly miri test -p purlin-core --test golden --target "$target"
    step "ring vectors on $target" cargo +nightly miri test -p purlin-hash-ring --test golden --target "$target"
done
# By both models of what references may alias.
step "the slots and the lock of the cache" cargo +nightly miri test -p purlin-lru-cache --lib -- raw::
MIRIFLAGS=-Zmiri-tree-borrows \
    step "the same by tree borrows" cargo +nightly miri test -p purlin-lru-cache --lib -- raw::
for model in "" "-Zmiri-tree-borrows"; do
    step "timers, and what outlives its entry ${model:-(stacked borrows)}" env MIRIFLAGS="-Zmiri-disable-isolation $model" \
        cargo +nightly miri test -p purlin-lru-cache --test regressions_memory -- regress_c13 regress_c19
done
