#!/bin/sh
# Installs MCP clients and test suites below target/clients, once a version; nothing is installed elsewhere.
#   scripts/clients.sh SET ...    node (a Node.js 22), suites (conformance, Inspector), sdks (TypeScript, v1 and v2),
#                                 python (the Python SDK), fuzzer (mcp-fuzzer), agents (Claude Code, Codex)
# Exits with 3 where it can't be done here: no npm, no python3, or no registry answers.
set -eu
cd "$(dirname "$0")/.."
home=$PWD/target/clients

# Does nothing where exactly this is there.
stamped() { [ -f "$1/.installed" ] && [ "$(cat "$1/.installed")" = "$2" ]; }

npm_set() {
    folder=$home/$1
    shift
    stamped "$folder" "$*" && return 0
    command -v npm >/dev/null || { echo "clients: npm is missing" >&2; exit 3; }
    mkdir -p "$folder"
    echo '{ "private": true }' >"$folder/package.json"
    PATH=$home/node22/node_modules/.bin:$PATH npm install --prefix "$folder" --silent --no-audit --no-fund "$@" ||
        { echo "clients: npm can't install $*" >&2; exit 3; }
    echo "$*" >"$folder/.installed"
}

pip_set() {
    folder=$home/$1
    shift
    stamped "$folder" "$*" && return 0
    command -v python3 >/dev/null || { echo "clients: python3 is missing" >&2; exit 3; }
    { [ -x "$folder/bin/python" ] || python3 -m venv "$folder"; } &&
        "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >&2 ||
        { echo "clients: pip can't install $*" >&2; exit 3; }
    echo "$*" >"$folder/.installed"
}

for set in "$@"; do
    case $set in
    node) npm_set node22 node@22 ;;
    suites) npm_set suites @modelcontextprotocol/conformance@0.2.0-alpha.12 @modelcontextprotocol/inspector@2.12.0 ;;
    sdks) npm_set sdks @modelcontextprotocol/sdk@1.32.2 @modelcontextprotocol/client@2.3.1 ;;
    python) pip_set mcp-python mcp==2.3.0 ;;
    fuzzer) pip_set fuzzer mcp-fuzzer==0.7.0 ;;
    agents) npm_set agents @anthropic-ai/claude-code@2.1.328 @openai/codex@0.169.0 ;;
    *)
        echo "clients: there is no set $set" >&2
        exit 2
        ;;
    esac
done
