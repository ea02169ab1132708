#!/usr/bin/env bash
# Runs the tests of the crate with unsafe code, the cache, with the compiler's sanitizers: ci/sanitize.sh [address|thread]...,
# both without arguments. Memory that is touched after it was freed or is lost, and threads that race for it, fail the
# run; nothing is suppressed. The standard library is built with the sanitizer too, or every lock of its own would be reported.
# Needs the nightly toolchain with rust-src.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

target=x86_64-unknown-linux-gnu
if ! [ -e "$(rustc +nightly --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/Cargo.toml" ]; then
    echo "The sanitizers need: rustup toolchain install nightly --profile minimal --component rust-src" >&2
    exit 1
fi
if [ "$#" = 0 ]; then
    set -- address thread
fi
# A folder of its own, since everything is built anew.
folder=${CARGO_TARGET_DIR:-target}/sanitize
for sanitizer in "$@"; do
    case $sanitizer in
    address | thread) ;;
    *)
        echo "usage: ci/sanitize.sh [address|thread]..." >&2
        exit 2
        ;;
    esac
    # To inline across crates takes half an hour, a standard library for each of the test programs, and finds no more.
    step "the cache under the $sanitizer sanitizer" env CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_TARGET_DIR="$folder/$sanitizer" RUSTFLAGS="-Zsanitizer=$sanitizer ${RUSTFLAGS-}" PROPTEST_CASES="${PROPTEST_CASES:-64}" \
        cargo +nightly test -Zbuild-std --target "$target" --release -p purlin-lru-cache --lib --tests
done
