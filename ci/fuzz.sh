#!/usr/bin/env bash
# Fuzzes every target of fuzz/ for some seconds each: ci/fuzz.sh [SECONDS], 60 by default. It starts from the inputs that
# tests keep, where there are any. What it finds is left in fuzz/artifacts. Needs the nightly toolchain; installs cargo-fuzz if missing.
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
    # A target whose check is a test's has that test's inputs beside it: most of a decoder is behind a valid beginning.
    check=$(sed -n 's|^#\[path = "../../\(.*\)/check.rs"\]$|\1|p' "$file")
    corpora=("fuzz/corpus/$target" ${check:+"$check/inputs"})
    mkdir -p "${corpora[0]}"
    step "$target for $seconds s" cargo +nightly fuzz run "$target" "${corpora[@]}" -- -max_total_time="$seconds"
done
