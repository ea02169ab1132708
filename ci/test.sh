#!/usr/bin/env bash
# Runs every test of the workspace: all packages together with all features, then each published crate alone with its
# default features and, where it has any, with none. Installs the servers that the tests need where they are missing.
# The comparison with other libraries is a package of its own, which ci/compare.sh builds.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"
began=$SECONDS

ci/servers.sh
# To the end even if a test fails: one run should tell of every failure.
step "all packages together, all features" cargo test --workspace --exclude purlin-compare --all-features --no-fail-fast
# Together, each crate gets the features that any of the others asks for. Only alone does it show what it forgot.
for crate in $(libraries); do
    case $crate in
    purlin-postgres | purlin-redb | purlin-redis)
        # Their tests turn on every feature themselves, so alone they are the same; what is new is whether they compile.
        step "$crate alone" cargo check -p "$crate" --all-targets
        step "$crate alone, without its default features" cargo check -p "$crate" --no-default-features
        ;;
    *)
        step "$crate alone" cargo test -p "$crate"
        if has_default_features "$crate"; then
            step "$crate alone, without its default features" cargo test -p "$crate" --no-default-features
        fi
        ;;
    esac
done
# The one module with unsafe code has a twin without. What the tests ask for is the same.
step "the cache without unsafe code" env RUSTFLAGS="${RUSTFLAGS:-} --cfg purlin_safe" CARGO_TARGET_DIR=target/safe \
    cargo test -p purlin-lru-cache --lib --test model --test regressions_user_code
printf '\nAll tests passed in %d s.\n' "$((SECONDS - began))"
