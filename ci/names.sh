#!/usr/bin/env bash
# Whether the tests that the documents name are there: every name of three words or more between backticks, in the two
# documents that say by which test a promise is shown, must be a function of the workspace or a test that a macro makes. And
# whether each store of sessions has the lists of tests that such a macro makes.
# `ci/names.sh --self-test` looks for a name and a list that are not there, and fails if one is found.
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

# The files that make the tests of a macro, one a line with the macro: all lines for a store, and the published defects for what
# stands in front of others.
lists() {
    cat <<'END'
conformance_lines crates/session-store/tests/lines.rs
conformance_lines crates/session-store/tests/regional.rs
conformance_lines crates/redb/tests/session_lines.rs
conformance_lines crates/redis/tests/session_lines.rs
conformance_lines crates/postgres/tests/session.rs
conformance_processes crates/redis/tests/session_lines.rs
conformance_processes crates/postgres/tests/session.rs
conformance_regressions crates/session-store/tests/breaker.rs
conformance_regressions crates/session-store/tests/mirrored.rs
conformance_regressions crates/session-store/tests/near.rs
END
}

# without_list: of lines like those of `lists`, the ones whose file does not call the macro.
without_list() {
    local macro file
    while read -r macro file; do
        grep -q "^purlin_session_store::$macro!(" "$file" || echo "$macro $file"
    done
}

case ${1-} in
"")
    absent=$(missing docs/GUARANTEES.md docs/session-store.md)
    if [ -n "$absent" ]; then
        printf 'Named in the documents, and not there:\n%s\n' "$absent"
        exit 1
    fi
    absent=$(lists | without_list)
    if [ -n "$absent" ]; then
        printf 'Stores without their list of tests:\n%s\n' "$absent"
        exit 1
    fi
    echo "Every test that is named is there, and every store has its list."
    ;;
--self-test)
    # In two pieces, so that this file does not define it.
    if [ "$(missing <(printf '| x | `this_test_is''_not_there`, `a_use_is_a_hot_update` |'))" != this_test_is_not_there ]; then
        echo "a name that is not there was not found to be missing" >&2
        exit 1
    fi
    if [ "$(echo "conformance_lines ci/names.sh" | without_list)" != "conformance_lines ci/names.sh" ]; then
        echo "a list that is not there was not found to be missing" >&2
        exit 1
    fi
    ;;
*)
    echo "usage: ci/names.sh [--self-test]" >&2
    exit 2
    ;;
esac
