#!/usr/bin/env bash
# Simulates sessions in two and three regions. First the records that merge, under partitions, lost and repeated messages and
# wrong clocks, with this many seeds: a million without an argument (the test in `cargo test` takes five thousand). Then
# `Regional` over stores that fail, with processes that die in the middle: fifty thousand (forty).
# usage: ci/regions.sh [SEEDS [REGIONAL_SEEDS]]
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

seeds=${1:-1000000}
regional=${2:-50000}
step "$seeds worlds of replicas" env PURLIN_REGION_SEEDS="$seeds" cargo test --release -p purlin-session-store --test regions -- --nocapture simulated
step "$regional worlds of regions" env PURLIN_REGIONAL_SEEDS="$regional" cargo test --release -p purlin-session-store --test regional -- --nocapture regions_agree
