# shellcheck shell=bash
# Sourced by the scripts of this folder, not run: goes to the root of the workspace, and tells what runs and how
# long it took.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# What a check compiles once needs no record for the next time.
export CARGO_INCREMENTAL="${CARGO_INCREMENTAL-0}"

current_step=
finish() {
    if [ "$1" != 0 ] && [ -n "$current_step" ]; then
        printf '\n== FAILED: %s\n' "$current_step" >&2
    fi
}
trap 'finish $?' EXIT

# step TITLE COMMAND...
step() {
    current_step=$1
    shift
    printf '\n== %s\n   $ %s\n' "$current_step" "$*"
    local began=$SECONDS
    "$@"
    printf '== %s: %d s\n' "$current_step" "$((SECONDS - began))"
    current_step=
}

# The published packages under crates/, one a line.
libraries() {
    local manifest
    for manifest in crates/*/Cargo.toml; do
        if ! grep -q '^publish = false' "$manifest"; then
            sed -n 's/^name = "\(.*\)"$/\1/p' "$manifest" | head -n 1
        fi
    done
}

# has_default_features CRATE: whether there are any, so that it is another crate without.
has_default_features() {
    grep -q '^default = \[.*"' "crates/${1#purlin-}/Cargo.toml" "crates/$1/Cargo.toml" 2>/dev/null
}

# cargo_tool NAME: makes sure that `cargo NAME` exists.
cargo_tool() {
    if ! cargo "$1" --version >/dev/null 2>&1; then
        step "install cargo-$1" cargo install --locked "cargo-$1"
    fi
}
