#!/bin/sh
# What a pull request that changes the rulebook has to pass. Run it by hand as CI runs it:
#   examples/ci/policy.sh policies recorded/ledger
# The second argument is the ledger of a gateway, or a copy of its state folder's `ledger` and `revisions`: what people
# and agents really asked. Without it, replay is left out.
set -eu
policies=${1:-policies}
ledger=${2:-}
portcullis=${PORTCULLIS:-portcullis}

echo "==> nothing that would be refused, and no warnings"
"$portcullis" policy check "$policies" --strict

echo "==> its own tests pass, and come to every line"
"$portcullis" policy test "$policies" --threshold 100

if [ -n "$ledger" ]; then
    echo "==> everything that was asked is decided as before"
    "$portcullis" policy replay --against "$policies" --ledger "$ledger"
fi
