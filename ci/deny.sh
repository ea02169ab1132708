#!/usr/bin/env bash
# Checks licences, advisories, sources and doubled versions of all dependencies against deny.toml. Needs the network for
# the list of advisories. Installs cargo-deny if missing.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

cargo_tool deny
step "licences, doubles and sources" cargo deny check licenses bans sources
step "advisories" cargo deny check advisories
