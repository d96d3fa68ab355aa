#!/bin/sh
# PostgreSQL's own regression suite, direct and through the gateway: see scripts/conformance/regress.py.
set -eu
cd "$(dirname "$0")/.."
exec python3 scripts/conformance/regress.py "$@"
