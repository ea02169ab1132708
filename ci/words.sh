#!/usr/bin/env bash
# Words and files that must not be in the tree: unfinished code, skipped tests, paths of somebody's machine, addresses of
# package registries, clocks read outside purlin-core, sleeping tests, and files too large to clone for everybody.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

found=0

# refuse WHAT PATTERN PATHSPEC...
refuse() {
    local what=$1 pattern=$2 hits status=0
    shift 2
    hits=$(git grep --untracked -nIE "$pattern" -- "$@" ':!Cargo.lock' ':!fuzz/Cargo.lock') || status=$?
    if [ "$status" = 0 ]; then
        printf '\n%s:\n%s\n' "$what" "$hits"
        found=1
    elif [ "$status" != 1 ]; then
        exit "$status" # Not "nothing found": git could not look.
    fi
}

# The brackets keep the patterns from finding themselves.
refuse 'Unfinished code' '(todo|unimplemented|dbg)[!]\(' '*.rs'
refuse 'Tests that never run' '#\[(cfg_attr\(.*, *)?ignore[] =)]' '*.rs'
refuse 'Paths of one machine' '(^|[^A-Za-z0-9_.$}/-])/(home|work|farm|root|tmp|Users)(/|$|[^A-Za-z0-9_./-])' .
refuse 'Addresses of registries' \
    '(crates[.]io|pypi[.]org|pythonhosted[.]org|npmjs[.](org|com)|proxy[.]golang[.]org|rubygems[.]org|deb[.]debian[.]org|ghcr[.]io|docker[.]io)' .
refuse 'The clock read outside purlin-core (take a Clock instead)' '(Instant|SystemTime)::no[w]\(' \
    'crates/*/src/*.rs' ':!crates/core/src/clock/system.rs'
refuse 'Sleeping (advance the clock, or wait for a condition)' '(thread|time)::slee[p]\(' \
    'crates/*/src/*.rs' 'crates/*/tests/*.rs' 'examples/*/tests/*.rs' 'examples/tests/*.rs' \
    ':!crates/testkit/src/wait.rs' ':!crates/core/src/clock/'

large=$(git ls-files -z | while IFS= read -r -d '' file; do
    if [ -f "$file" ]; then printf '%s %s\n' "$(wc -c <"$file" | tr -d ' ')" "$file"; fi
done | awk '$1 > 2 * 1024 * 1024')
if [ -n "$large" ]; then
    printf '\nFiles over 2 MiB:\n%s\n' "$large"
    found=1
fi

[ "$found" = 1 ] || echo "Nothing found that must not be there."
exit "$found"
