#!/usr/bin/env bash
# How the cache does on a trace that none of its choices was made by: ci/leave-one-out.sh FOLDER-OF-TRACES. Takes minutes.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

if [ "$#" != 1 ]; then
    echo "usage: ci/leave-one-out.sh FOLDER-OF-TRACES" >&2
    exit 2
fi
step "leave one out" env RUSTFLAGS="${RUSTFLAGS:-} --cfg purlin_tuning" CARGO_TARGET_DIR=target/tuning \
    cargo run --release -p purlin-benches --example leave_one_out -- docs/BENCHMARKS.md "$1"
