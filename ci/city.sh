#!/usr/bin/env bash
# Runs the whole system for a short while, with a node killed in the middle. The oracle inside it fails the run if a
# promise was broken. Arguments replace the usual ones: ci/city.sh --seconds 60 --rate 2000.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

if [ "$#" = 0 ]; then
    set -- --seconds 20 --seed 7 --kill app-2@5s
fi
step "build the city" cargo build --release --example city
step "the city at work" cargo run --release --example city -- --headless "$@"
