#!/usr/bin/env bash
# Lints every published crate with every pair of its features (PURLIN_FEATURE_DEPTH sets another number), with none and
# with all: features only add, and any set of them compiles. Long; not part of .ci/run. Installs cargo-hack if missing.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

cargo_tool hack
for crate in $(libraries); do
    step "$crate" cargo hack clippy -p "$crate" --feature-powerset --depth "${PURLIN_FEATURE_DEPTH:-2}" -- -D warnings
done
