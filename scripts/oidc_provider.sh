#!/bin/sh
# Installs a certified OpenID provider below target/clients/oidc, once, for the tests of access tokens. Needs Node 20 or
# later with npm.
set -eu
cd "$(dirname "$0")/.."

home=$PWD/target/clients/oidc
mkdir -p "$home"
npm install --prefix "$home" --silent --no-audit --no-fund oidc-provider@9.13.3 >&2
echo "$home"
