#!/usr/bin/env bash
# Runs the tests that loom drives through every interleaving of small steps: the files tests/loom*.rs.
# LOOM_MAX_PREEMPTIONS (3) bounds how often a thread may be interrupted; each one more multiplies the time.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"
exec ci/model.sh loom LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-3}"
