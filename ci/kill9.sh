#!/usr/bin/env bash
# Kills a process that uses the embedded stores, this many times each, and looks for what was acknowledged and is gone:
# 200 times without an argument. The tests in `cargo test` do it 20 times.
# usage: ci/kill9.sh [ROUNDS]
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

rounds=${1:-200}
for test in session_crash crash; do
    step "$test, $rounds kills" env PURLIN_CRASH_ROUNDS="$rounds" cargo test -p purlin-redb --all-features --test "$test"
done
