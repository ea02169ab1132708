#!/usr/bin/env bash
# A thousand changes of a slot table with a million keys looked up before and after each: tests/thousand.rs in full.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"
step "a thousand changes, a million keys" env PURLIN_RING_KEYS="${PURLIN_RING_KEYS:-1000000}" \
    cargo test --release -p purlin-hash-ring --test thousand -- --nocapture
