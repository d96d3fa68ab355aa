#!/bin/sh
# Gets PostgreSQL's server, its clients and its own test suites, all of one minor version, below target/conformance:
# the suite's expected files are right for that version only. Needs Debian or a relative of it (apt), a C compiler
# and, for libpq_pipeline, libpq's headers. Nothing is installed: packages are unpacked, the source is built in place.
#   MAJOR=15 scripts/conformance/postgresql.sh    prints the folder of the binaries and the folder of the source
set -eu
cd "$(dirname "$0")/../.."

major=${MAJOR:-15}
home=$PWD/target/conformance/postgresql-$major
done=$home/done

if [ ! -e "$done" ]; then
    command -v apt-get >/dev/null || { echo "postgresql.sh: needs apt-get to fetch packages and their source" >&2; exit 1; }
    . /etc/os-release
    rm -rf "$home"
    mkdir -p "$home/apt/lists/partial" "$home/apt/cache/archives/partial" "$home/packages" "$home/root"
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    # The distribution's main archive keeps source and binaries of the same version; a security archive may not.
    for kind in deb deb-src; do
        echo "$kind [signed-by=$keys] http://deb.debian.org/debian ${VERSION_CODENAME:?} main"
    done >"$home/apt/sources.list"
    cat >"$home/apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$home/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$home/apt/lists";
Dir::Cache "$home/apt/cache";
CONF
    export APT_CONFIG="$home/apt/apt.conf"
    echo "fetching PostgreSQL $major and its source ..." >&2
    apt-get -qq update >&2
    version=$(apt-cache madison "postgresql-$major" | awk -F' *[|] *' '/Packages/ { print $2; exit }')
    (
        cd "$home/packages"
        apt-get -qq download "postgresql-$major=$version" "postgresql-client-$major=$version" "libpq5=$version" >&2
        apt-get -qq source --download-only "postgresql-$major=$version" >&2
        for package in ./*.deb; do dpkg -x "$package" "$home/root"; done
        mkdir -p "$home/source"
        tar -xf ./postgresql-*.orig.tar.bz2 -C "$home/source" --strip-components=1
    )
    echo "building the suites ..." >&2
    (
        cd "$home/source"
        # Without readline and zlib: only the suites are built, not what they test.
        ./configure --without-readline --without-zlib --without-icu --quiet >configure.out 2>&1
        make -s -C src/backend generated-headers
        make -s -C src/test/regress
        make -s -C src/interfaces/libpq
        make -s -C src/test/modules/libpq_pipeline
    ) >"$home/build.log" 2>&1 || { tail -n 20 "$home/build.log" >&2; exit 1; }
    echo "$version" >"$done"
fi
echo "$home/root/usr/lib/postgresql/$major/bin"
echo "$home/source"
