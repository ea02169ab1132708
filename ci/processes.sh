#!/usr/bin/env bash
# Two processes make this many requests at once on one session, on every server that has a session store: 256 without an
# argument. The tests in `cargo test` make 32.
# usage: ci/processes.sh [REQUESTS]
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

requests=${1:-256}
ci/servers.sh
for store in "redis session_lines" "postgres session"; do
    read -r crate test <<<"$store"
    step "$crate, $requests requests" env PURLIN_CONFORMANCE_REQUESTS="$requests" \
        cargo test -p "purlin-$crate" --test "$test" processes_
done
