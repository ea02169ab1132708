#!/usr/bin/env bash
# Lints every published crate without features, with each and with every pair (PURLIN_FEATURE_DEPTH sets another number):
# features only add, and any set of them compiles. All at once is what ci/lint.sh does. Long, so not part of .ci/run.
# Installs cargo-hack if missing.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

cargo_tool hack
for crate in $(libraries); do
    step "$crate" cargo hack clippy -p "$crate" --feature-powerset --depth "${PURLIN_FEATURE_DEPTH:-2}" -- -D warnings
done
