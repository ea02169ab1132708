#!/usr/bin/env bash
# Who may import whom: checks what cargo resolves, for every crate, feature and platform, against the arrows that
# ARCHITECTURE.md draws, and that no crate but the backends knows a network client, an SQL client or a storage engine.
# `ci/arrows.sh --self-test` feeds it forbidden arrows and fails if one of them is let through.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

# The arrows as ARCHITECTURE.md draws them, in lines `CRATE always|feature NAME`. In the first block below "The arrows", a
# line `crate -> a, b and c (by feature)` allows `a` always, and `b` and `c` by a feature; "everything" is every crate by
# a feature; words that are no crate of ours are prose.
drawn=$(
    awk -v names="$(echo crates/*)" '
        BEGIN {
            n = split(names, name) # crates/core crates/hash-ring ...
            for (i = 1; i <= n; i++) if (sub("^crates/", "", name[i]) && name[i] != "testkit") ours[name[i]]
        }
        /^## / { here = ($0 == "## The arrows"); fences = 0 }
        /^```/ { fences++ }
        here && fences == 1 && / -> / {
            crate = $1 == "purlin" ? $1 : "purlin-" $1
            print crate, "row", "-" # Also when the line names no crate.
            n = split(substr($0, index($0, " -> ") + 4), part, ",")
            for (i = 1; i <= n; i++) {
                how = part[i] ~ /\(by feature\)/ ? "feature" : "always"
                m = split(part[i], word, /[^a-z0-9-]+/)
                for (j = 1; j <= m; j++) {
                    if (word[j] == "everything") { for (each in ours) print crate, "feature", each }
                    else if (word[j] in ours) print crate, how, word[j]
                }
            }
        }' ARCHITECTURE.md
)
if [ -z "$drawn" ]; then
    echo "ARCHITECTURE.md has no arrows: a block of lines 'crate -> crate, crate' below '## The arrows'" >&2
    exit 1
fi

# is_drawn CRATE row|always|feature NAME
is_drawn() { grep -qxF "$1 $2 $3" <<<"$drawn"; }

# Packages outside the table: nothing depends on them, and they may depend on anything.
is_outside() {
    case $1 in
    purlin-testkit | purlin-examples | purlin-benches | purlin-compare) ;;
    *) return 1 ;;
    esac
}

# Crates that may know the system they are named after, and the facade, which re-exports them.
is_backend() {
    case $1 in
    purlin-redb | purlin-sqlite | purlin-redis | purlin-postgres | purlin) ;;
    *) return 1 ;;
    esac
}

# Clients, engines, and what every network program ends up with: mio and socket2 are tokio's `net` feature.
is_client() {
    case $1 in
    redis | redis-* | fred | rustis | memcache* | mongodb | cassandra* | scylla*) ;;
    postgres | postgres-* | tokio-postgres* | deadpool | deadpool-* | bb8* | r2d2* | sqlx* | diesel* | sea-orm*) ;;
    rusqlite | libsqlite3-sys | sqlite* | mysql* | redb | fjall | sled | rocksdb | heed | lmdb*) ;;
    hyper | hyper-* | reqwest | ureq | curl | isahc | tonic | h2 | h3 | quinn* | hickory-* | trust-dns-*) ;;
    mio | socket2 | async-io | async-net) ;;
    *) return 1 ;;
    esac
}

# Crates that name no async runtime unless a feature asks for it.
is_synchronous() {
    case $1 in
    purlin-core | purlin-timer-wheel | purlin-lru-cache | purlin-hash-ring | purlin-balancer) ;;
    purlin-shard-router | purlin-replica-router) ;;
    *) return 1 ;;
    esac
}

is_runtime() {
    case $1 in
    tokio | async-std | smol | async-executor | futures-executor | glommio | monoio) ;;
    *) return 1 ;;
    esac
}

# Reads lines `CRATE HOW PACKAGE` and prints what is forbidden about them. HOW is how the crate comes by the package:
#   always   a direct dependency without any feature      feature  a direct dependency with all features
#   default  anywhere in its tree, default features        deep     anywhere in its tree, all features
judge() {
    local crate how package name
    while read -r crate how package; do
        is_outside "$crate" && continue
        if ! is_drawn "$crate" row -; then
            echo "$crate has no arrows in ARCHITECTURE.md"
            continue
        fi
        case $how in
        always | feature)
            if [ "$crate" = purlin-timer-wheel ]; then
                echo "$crate -> $package: it depends on nothing at all"
            fi
            case $package in
            purlin | purlin-*)
                name=${package#purlin-}
                if is_drawn "$crate" always "$name"; then
                    :
                elif ! is_drawn "$crate" feature "$name"; then
                    echo "$crate -> $package is not an arrow of ARCHITECTURE.md"
                elif [ "$how" = always ]; then
                    echo "$crate -> $package: only by a feature"
                fi
                ;;
            esac
            ;;
        default)
            if is_synchronous "$crate" && is_runtime "$package"; then
                echo "$crate names the runtime $package by default"
            fi
            ;;
        deep)
            if is_client "$package" && ! is_backend "$crate"; then
                echo "$crate comes by $package, a client, which only a backend may know"
            fi
            ;;
        *) echo "cannot judge: $crate $how $package" ;;
        esac
    done
}

# tree CRATE HOW OPTIONS...: the lines for `judge`.
tree() {
    local crate=$1 how=$2
    shift 2
    # Sections have a line of their own in brackets; the first line is the crate itself.
    cargo tree --quiet -p "$crate" --edges normal,build --prefix none "$@" |
        awk -v crate="$crate" -v how="$how" 'NF && $1 !~ /^\[/ && $1 != crate && !seen[$1]++ { print crate, how, $1 }'
}

members() {
    cargo tree --quiet --workspace --edges normal --depth 0 --prefix none | awk 'NF { print $1 }' | sort -u
}

# Everything there is to judge about a crate. Joined by `&&`, since a shell in brackets does not stop at an error.
facts() {
    echo "$1 default $1" && # So that a crate without any dependency is looked up in the table too.
        tree "$1" always --depth 1 --target all --no-default-features &&
        tree "$1" feature --depth 1 --target all --all-features &&
        tree "$1" default &&
        tree "$1" deep --all-features
}

check() {
    local crates crate facts='' forbidden
    crates=$(members)
    for crate in $crates; do
        is_outside "$crate" && continue
        facts+=$(facts "$crate")$'\n'
    done
    forbidden=$(
        judge <<<"${facts%$'\n'}"
        # The test kit is for tests and examples. Used from src, it would have to come with the crate.
        grep -rl purlin_testkit crates/*/src | grep -v '^crates/testkit/' | sed 's/$/ names purlin_testkit/' || true
    )
    if [ -n "$forbidden" ]; then
        printf '%s\n' "$forbidden"
        return 1
    fi
    printf '%d packages, %d facts about what they depend on: every arrow is allowed.\n' \
        "$(wc -w <<<"$crates")" "$(wc -l <<<"$facts")"
}

# refused LINE: the judge must object.    accepted LINE: it must not.
refused() {
    if [ -z "$(judge <<<"$1")" ]; then
        echo "let through: $1"
        return 1
    fi
    echo "refused, as it should be: $1"
}
accepted() {
    local objection
    objection=$(judge <<<"$1")
    if [ -n "$objection" ]; then
        echo "refused without a cause: $objection"
        return 1
    fi
    echo "accepted, as it should be: $1"
}

self_test() {
    accepted 'purlin-hash-ring always purlin-core'
    accepted 'purlin-balancer feature purlin-hash-ring'
    accepted 'purlin-balancer always thiserror'
    accepted 'purlin-session-store deep tokio'
    accepted 'purlin feature purlin-work-queue'
    accepted 'purlin-redb deep redb'
    accepted 'purlin-testkit always purlin-redb'
    refused 'purlin-core feature purlin-hash-ring'
    refused 'purlin-core always purlin'
    refused 'purlin-hash-ring always purlin-cor'
    refused 'purlin-hash-ring feature purlin-lru-cache'
    refused 'purlin-balancer always purlin-hash-ring'
    refused 'purlin-redb always purlin-work-queue'
    refused 'purlin feature purlin-testkit'
    refused 'purlin always purlin-lru-cache'
    refused 'purlin-lru-cache feature purlin-testkit'
    refused 'purlin-timer-wheel feature libc'
    refused 'purlin-lru-cache default tokio'
    refused 'purlin-session-store deep tokio-postgres'
    refused 'purlin-work-queue deep mio'
    refused 'purlin-newcomer default purlin-newcomer'

    # The same by the long way: a copy of the workspace in which one manifest has gained an arrow.
    local copy
    copy=$(mktemp -d)
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do
            if [ -e "$file" ]; then printf '%s\0' "$file"; fi # Not what is deleted but still in the index.
        done |
        tar --null -c -T - | tar -x -C "$copy"
    awk '{ print } /^\[dependencies\]/ { print "purlin-core = { path = \"../core\" }" }' \
        crates/timer-wheel/Cargo.toml >"$copy/crates/timer-wheel/Cargo.toml"
    local status=0
    "$copy/ci/arrows.sh" >"$copy/said" 2>&1 || status=$?
    local said
    said=$(cat "$copy/said")
    rm -rf "$copy"
    if [ "$status" = 0 ] || ! grep -q 'purlin-timer-wheel -> purlin-core' <<<"$said"; then
        echo "a manifest with a forbidden arrow was not refused (exit $status): $said"
        return 1
    fi
    echo "refused, as it should be: a manifest in which timer-wheel depends on core"
}

case ${1-} in
'') check ;;
--self-test) self_test ;;
*)
    echo "usage: ci/arrows.sh [--self-test]" >&2
    exit 2
    ;;
esac
