#!/usr/bin/env bash
# Lints the comparison with other libraries and runs it: ci/compare.sh cache|ring|balance|session|queue ...
# Without arguments it only lints, since each comparison takes minutes.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

step "clippy" cargo clippy -p purlin-compare --all-targets --all-features -- -D warnings
if [ "$#" != 0 ]; then
    step "compare $*" cargo run --release -p purlin-compare -- "$@"
fi
