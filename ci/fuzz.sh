#!/usr/bin/env bash
# Fuzzes every target of fuzz/ for some seconds each: ci/fuzz.sh [SECONDS], 60 by default. What it finds is left in
# fuzz/artifacts. Needs the nightly toolchain; installs cargo-fuzz if missing.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

seconds=${1:-60}
case $seconds in
'' | *[!0-9]*)
    echo "usage: ci/fuzz.sh [SECONDS]" >&2
    exit 2
    ;;
esac
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "Fuzzing needs the nightly toolchain: rustup toolchain install nightly --profile minimal" >&2
    exit 1
fi
cargo_tool fuzz
for file in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$file" .rs)
    step "$target for $seconds s" cargo +nightly fuzz run "$target" -- -max_total_time="$seconds"
done
