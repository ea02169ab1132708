#!/usr/bin/env bash
# How many packages come with each crate by default, itself included, against the budgets that ARCHITECTURE.md promises.
# Every package is build time for the user and somebody else to trust.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

# The highest number allowed. Backends come with their client and the facade with what it re-exports: no promise.
budget_of() {
    case $1 in
    purlin-timer-wheel) echo 1 ;;
    purlin-core | purlin-hash-ring) echo 12 ;;
    purlin-lru-cache) echo 16 ;;
    purlin-balancer | purlin-shard-router | purlin-replica-router) echo 20 ;;
    purlin-session-store | purlin-work-queue) echo 45 ;;
    purlin-redb | purlin-sqlite | purlin-redis | purlin-postgres | purlin) echo none ;;
    *)
        echo "$1 has no row in ci/packages.sh" >&2
        return 1
        ;;
    esac
}

over=0
printf '%-24s %8s %8s\n' crate packages budget
for crate in $(libraries); do
    budget=$(budget_of "$crate")
    # Two versions of one package count twice. Lines in brackets are headings.
    count=$(cargo tree --quiet -p "$crate" --edges normal,build --prefix none | awk 'NF && !/^\[/ { print $1, $2 }' | sort -u | wc -l)
    printf '%-24s %8d %8s\n' "$crate" "$count" "$budget"
    if [ "$budget" != none ] && [ "$count" -gt "$budget" ]; then
        over=1
        echo "^ over its budget"
    fi
done
exit "$over"
