#!/bin/sh
# Runs a command with everything that building and testing needs: scripts/with-setup.sh cargo build
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh
if [ -f target/setup.env ]; then
    . target/setup.env
fi
exec "$@"
