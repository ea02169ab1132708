#!/usr/bin/env bash
# What can be said about the code without running it: formatting, lints, the arrows between the crates, the number of
# packages that come with each, and words that must not be in the tree.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

lock_agrees() {
    cargo tree --locked --quiet --workspace --depth 0 >/dev/null
}

step "formatting" cargo fmt --all --check
step "Cargo.lock agrees with the manifests" lock_agrees
# Warnings are errors here. purlin-compare, whose rivals take long to build, is linted by ci/compare.sh.
step "clippy" cargo clippy --workspace --exclude purlin-compare --all-targets --all-features -- -D warnings
step "arrows" ci/arrows.sh
step "arrows: the check itself" ci/arrows.sh --self-test
step "package counts" ci/packages.sh
step "words and files" ci/words.sh
step "tests named in the documents" ci/names.sh
step "tests named in the documents: the check itself" ci/names.sh --self-test
