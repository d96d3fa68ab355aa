#!/bin/sh
# Tries real clients at the wire door of a throw-away demo: psycopg 3, psycopg2, asyncpg, SQLAlchemy, node-postgres
# and, where a JDK and the driver's jar are there, pgjdbc. What it installs goes below target/clients.
# Exits with 1 if any check of any client failed.
set -eu
cd "$(dirname "$0")/.."

clients=$PWD/target/clients
mkdir -p "$clients/node"

if [ ! -x "$clients/python/bin/python" ]; then
    python3 -m venv "$clients/python"
fi
"$clients/python/bin/pip" install --quiet --disable-pip-version-check \
    'psycopg[binary]>=3.2' psycopg2-binary asyncpg sqlalchemy
npm install --prefix "$clients/node" --silent --no-audit --no-fund pg pg-cursor pg-query-stream

cargo build --locked --quiet
ready=$clients/ready.json
: >"$ready"
target/debug/portcullis demo --json --wire-port 0 --mcp-port 0 --console-port 0 >"$ready" &
demo=$!
trap 'kill "$demo" 2>/dev/null; wait "$demo" || true' EXIT
trap 'exit 1' INT TERM
until [ -s "$ready" ]; do
    kill -0 "$demo" # It ends by itself if it can't start, and has said why.
    sleep 0.2
done

failed=0
"$clients/python/bin/python" tests/clients/psycopg_smoke.py "$ready" || failed=1
(cd "$clients/node" && node --no-deprecation ../../../tests/clients/node_smoke.mjs "$ready") || failed=1

jar=${JDBC_JAR:-/usr/share/java/postgresql.jar}
if command -v javac >/dev/null && [ -e "$jar" ]; then
    secret=$("$clients/python/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["secrets"]["ana"])' "$ready")
    address=$("$clients/python/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["wire"])' "$ready")
    mkdir -p "$clients/java"
    javac -d "$clients/java" -cp "$jar" tests/clients/JdbcSmoke.java
    java -cp "$clients/java:$jar" JdbcSmoke "$address" ana "$secret" || failed=1
else
    echo "skipped pgjdbc: no JDK, or no driver at $jar (set JDBC_JAR)"
fi
exit "$failed"
