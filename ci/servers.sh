#!/usr/bin/env bash
# Installs the servers that the tests start, Redis and PostgreSQL, where they are missing. Nothing is done on a machine
# that has them; only Debian and its relatives are installed to, elsewhere it says what is needed.
source "$(dirname "${BASH_SOURCE[0]}")/step.sh"

# The same places that crates/testkit looks into.
has_redis() {
    command -v redis-server || command -v valkey-server || ls {/usr,/usr/local,/opt/homebrew}/bin/{redis,valkey}-server
}
has_postgres() {
    command -v initdb || ls /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb /usr/local/pgsql/bin/initdb \
        {/opt/homebrew,/usr/local}/opt/postgresql@*/bin/initdb /Applications/Postgres.app/Contents/Versions/*/bin/initdb
}

missing=
# `ls` complains about each place that has none, so its output, not its status, is the answer.
[ -n "$(has_redis 2>/dev/null || true)" ] || missing="$missing redis-server"
[ -n "$(has_postgres 2>/dev/null || true)" ] || missing="$missing postgresql"

if [ -z "$missing" ]; then
    echo "Redis and PostgreSQL are installed."
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "The tests need:$missing. There is no apt-get here, so please install them yourself:" >&2
    echo "  macOS: brew install redis postgresql    Fedora: dnf install redis postgresql-server" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "The tests need:$missing. Please have them installed by root: apt-get install$missing" >&2
        exit 1
    fi
    # Without a terminal nobody can type a password, and asking for one would hang.
    as_root="sudo"
    [ -t 0 ] || as_root="sudo -n"
fi
# shellcheck disable=SC2086 # Both are lists of words.
step "update the list of packages" $as_root apt-get update -q
# shellcheck disable=SC2086
step "install$missing" $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
