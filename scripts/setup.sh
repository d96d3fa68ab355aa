#!/bin/sh
# Makes sure that what can't come from the lockfile is there, and installs it where that is possible:
#   a C compiler   PostgreSQL's own parser is C
#   libclang       its bindings are made at build time
#   PostgreSQL     initdb and postgres, for the demo and the tests
# Says nothing when all is there. What a later step must know is left in target/setup.env.
set -eu
cd "$(dirname "$0")/.."

have_cc() { command -v cc >/dev/null; }

have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    [ -f target/setup.env ] && grep -q LIBCLANG_PATH target/setup.env && return 0
    for folder in /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib \
        /opt/homebrew/opt/llvm/lib /Library/Developer/CommandLineTools/usr/lib; do
        for library in "$folder"/libclang.so "$folder"/libclang.so.* "$folder"/libclang-[0-9]*.so* "$folder"/libclang.dylib; do
            [ -e "$library" ] && return 0
        done
    done
    return 1
}

have_postgres() {
    command -v initdb >/dev/null && return 0
    for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/pgsql/bin; do
        [ -x "$folder/initdb" ] && return 0
    done
    return 1
}

# Runs a command as root, if that is possible without asking anybody.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}

apt_install() {
    command -v apt-get >/dev/null || return 1
    echo "setup: installing $*" >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return 0
    as_root apt-get update -qq >/dev/null 2>&1 || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Debian starts a server of its own with the package; nobody asked for that one.
apt_install_postgres() {
    switch=/etc/postgresql-common/createcluster.d/portcullis-setup.conf
    as_root mkdir -p "${switch%/*}" 2>/dev/null || return 1
    as_root sh -c "echo 'create_main_cluster = false' >$switch"
    outcome=0
    apt_install postgresql || outcome=1
    as_root rm -f "$switch"
    return $outcome
}

# The libclang of the Python package index brings no headers of its own: the C compiler's serve.
pip_install_libclang() {
    command -v python3 >/dev/null || return 1
    echo "setup: installing libclang below target/" >&2
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --target target/libclang libclang >&2 || return 1
    mkdir -p target
    {
        echo "export LIBCLANG_PATH='$PWD/target/libclang/clang/native'"
        echo "export BINDGEN_EXTRA_CLANG_ARGS='-I$(cc -print-file-name=include)'"
    } >target/setup.env
}

# Says in one line what a person has to do, and stops.
ask() {
    echo "setup: $1 is missing and can't be installed from here; on Debian or Ubuntu: sudo apt-get install $2" >&2
    exit 1
}

have_cc || apt_install build-essential || ask "a C compiler" build-essential
have_libclang || apt_install libclang-dev || pip_install_libclang || ask libclang libclang-dev
have_postgres || apt_install_postgres || ask "PostgreSQL's server" postgresql
