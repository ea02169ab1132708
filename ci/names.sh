#!/usr/bin/env bash
# Whether the tests that the documents name are there: every name of three words or more between backticks, in the two
# documents that say by which test a promise is shown, must be a function of the workspace or a test that a macro makes.
# `ci/names.sh --self-test` looks for one that is not there, and fails if it is found.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

# What is defined: `fn name`, and `name: line(..)` in the lists of the conformance macros.
defined() {
    git grep --untracked -hoE '(fn +[a-z0-9_]+|^ +[a-z0-9_]+: [a-z_]+\()' -- '*.rs' |
        sed -E 's/^ *(fn +)?//; s/:.*//' | sort -u
}

# missing TEXT...: the names in these files that are not defined.
missing() {
    grep -hoE '`[a-z0-9]+(_[a-z0-9]+){2,}`' "$@" | tr -d '`' | sort -u | comm -23 - <(defined)
}

case ${1-} in
"")
    absent=$(missing docs/GUARANTEES.md docs/session-store.md)
    if [ -n "$absent" ]; then
        printf 'Named in the documents, and not there:\n%s\n' "$absent"
        exit 1
    fi
    echo "Every test that is named is there."
    ;;
--self-test)
    # In two pieces, so that this file does not define it.
    if [ "$(missing <(printf '| x | `this_test_is''_not_there`, `a_use_is_a_hot_update` |'))" != this_test_is_not_there ]; then
        echo "a name that is not there was not found to be missing" >&2
        exit 1
    fi
    ;;
*)
    echo "usage: ci/names.sh [--self-test]" >&2
    exit 2
    ;;
esac
