#!/usr/bin/env bash
# Builds the crates that promise to do without `std` for a machine that has none, so that a forgotten `std` cannot hide.
# Without such a target it builds them for this machine, which proves less, and says so.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

target=thumbv7em-none-eabi
sysroot() { rustc "$@" --print sysroot 2>/dev/null; }

if [ -d "$(sysroot)/lib/rustlib/$target" ]; then
    build=(cargo build --target "$target")
elif [ -d "$(sysroot +nightly)/lib/rustlib/src/rust/library" ]; then
    # Nightly can build `core` and `alloc` for it from source.
    build=(cargo +nightly build -Z "build-std=core,alloc" --target "$target")
else
    build=(cargo build)
    echo "WEAKER CHECK: no target without std is installed, so this only shows that the crates build with the feature off."
    echo "For the real one: rustup target add $target"
fi
for crate in purlin-core purlin-timer-wheel purlin-hash-ring purlin-lru-cache; do
    step "$crate" "${build[@]}" -p "$crate" --no-default-features
done

# The ring also promises the browser: no clock, no thread, no entropy, with every feature (ring_r11).
target=wasm32-unknown-unknown
if [ ! -d "$(sysroot)/lib/rustlib/$target" ]; then
    if ! command -v rustup >/dev/null; then
        echo "Rust for $target is needed, and there is no rustup to install it with." >&2
        exit 1
    fi
    step "install Rust for $target" rustup target add "$target"
fi
step "purlin-hash-ring for $target" cargo build --target "$target" -p purlin-hash-ring --no-default-features
step "purlin-hash-ring for $target, all features" cargo build --target "$target" -p purlin-hash-ring --all-features
