#!/usr/bin/env bash
# Lints and tests the comparison with other libraries, and runs it: ci/compare.sh cache|ring|session ...
# Without arguments it does not run it, since each comparison takes minutes.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

step "clippy" cargo clippy -p purlin-compare --all-targets --all-features -- -D warnings
step "its command line" cargo test -p purlin-compare
if [ "$#" != 0 ]; then
    step "compare $*" cargo run --release -p purlin-compare -- "$@"
fi
