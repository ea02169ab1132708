#!/usr/bin/env bash
# Simulates users who log in and out on mirrored stores, with this many seeds: ten thousand without an argument. The test
# in `cargo test` takes eighty.
# usage: ci/mirrored.sh [SEEDS]
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

seeds=${1:-10000}
step "$seeds worlds" env PURLIN_MIRROR_SEEDS="$seeds" cargo test --release -p purlin-session-store --test mirrored -- --nocapture logout_everywhere
