#!/usr/bin/env bash
# Simulates sessions in two and three regions under partitions, lost and repeated messages and wrong clocks, with this many
# seeds: a million without an argument. The test in `cargo test` takes five thousand.
# usage: ci/regions.sh [SEEDS]
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

seeds=${1:-1000000}
step "$seeds worlds" env PURLIN_REGION_SEEDS="$seeds" cargo test --release -p purlin-session-store --test regions -- --nocapture simulated
