#!/usr/bin/env bash
# Runs the tests that shuttle drives through random interleavings of whole operations: the files tests/shuttle*.rs.
# PURLIN_SHUTTLE_ITERATIONS (10000) is how many of them each test tries.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"
exec ci/model.sh shuttle PURLIN_SHUTTLE_ITERATIONS="${PURLIN_SHUTTLE_ITERATIONS:-10000}"
