#!/usr/bin/env bash
# Builds the documentation of every crate with all features; a broken link or a missing sentence is an error.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

export RUSTDOCFLAGS="-D warnings ${RUSTDOCFLAGS-}"
step "documentation" cargo doc --workspace --exclude purlin-compare --exclude purlin-examples --exclude purlin-benches --no-deps --all-features
