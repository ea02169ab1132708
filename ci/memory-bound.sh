#!/usr/bin/env bash
# Holds the cache to its bound on entries, weight and heap after each of many operations by four threads, for the list and for the
# sets, by count and by weight: ten million each without an argument (the test in `cargo test` takes a hundred thousand).
# usage: ci/memory-bound.sh [OPERATIONS]
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

operations=${1:-10000000}
step "$operations operations" env PURLIN_CACHE_OPERATIONS="$operations" \
    cargo test --release -p purlin-lru-cache --test memory_bound -- --nocapture
