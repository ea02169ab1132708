#!/usr/bin/env bash
# Checks that the crates still build, with their default features, on the oldest Rust that Cargo.toml promises. Crates
# with a `rust-version` of their own (backends, whose clients need more) are checked on that one.
# A toolchain that is not installed is named and passed over: `rustup toolchain install VERSION --profile minimal`.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

floor=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
unchecked=
for manifest in crates/*/Cargo.toml; do
    grep -q '^publish = false' "$manifest" && continue
    crate=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$manifest" | head -n 1)
    own=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$manifest")
    version=${own:-$floor}
    if cargo "+$version" --version >/dev/null 2>&1; then
        step "$crate on Rust $version" cargo "+$version" check -p "$crate"
    else
        unchecked="$unchecked $crate($version)"
    fi
done
if [ -n "$unchecked" ]; then
    printf '\nNOT CHECKED, because the toolchain is not installed:%s\n' "$unchecked"
fi
