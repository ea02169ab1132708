#!/usr/bin/env bash
# Runs our own benchmarks, all of them or those named: ci/bench.sh [criterion's arguments]. Plots are written below
# target/criterion, and the plot of balance and movement into docs/plots. The comparison with other libraries is
# ci/compare.sh.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

step "benchmarks" cargo bench -p purlin-benches --benches -- "$@"
