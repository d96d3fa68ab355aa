#!/bin/sh
# Everything that must hold before a change is merged. The tests come last, so that their summary closes.
#   scripts/test.sh        all of it
#   scripts/test.sh lint   formatting and lints only
set -eu
cd "$(dirname "$0")/.."

step() {
    echo
    echo "==> $*"
    "$@"
}

step cargo fmt --check
step cargo clippy --locked --all-targets -- -D warnings
[ "${1:-}" = lint ] && exit 0

RUSTDOCFLAGS='-D warnings' step cargo doc --locked --no-deps --document-private-items
step cargo test --locked --doc

if ! command -v cargo-nextest >/dev/null; then
    echo "installing cargo-nextest, once" >&2
    cargo install cargo-nextest --locked --quiet || echo "cargo-nextest can't be installed; using cargo test" >&2
fi
if command -v cargo-nextest >/dev/null; then
    step cargo nextest run --locked --no-fail-fast
else
    step cargo test --locked --no-fail-fast --lib --bins --tests
fi
