#!/usr/bin/env bash
# ci/loom.sh and ci/shuttle.sh: runs the tests of one model checker, in every crate that has some.
# usage: ci/model.sh loom|shuttle NAME=VALUE
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

checker=${1:?loom or shuttle}
setting=${2:?NAME=VALUE}
crates=$(
    for file in crates/*/tests/"$checker"*.rs; do
        if [ -e "$file" ]; then sed -n 's/^name = "\(.*\)"$/\1/p' "${file%/tests/*}/Cargo.toml" | head -n 1; fi
    done | sort -u
)
if [ -z "$crates" ]; then
    echo "No crate has tests/$checker*.rs yet; there is nothing to run."
    exit 0
fi
# A folder of its own, since the switch rebuilds everything.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/$checker RUSTFLAGS="--cfg purlin_$checker ${RUSTFLAGS-}"
for crate in $crates; do
    step "$crate under $checker ($setting)" env "$setting" cargo test --release -p "$crate" --test "$checker*"
done
