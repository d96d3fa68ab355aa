"""mcp-fuzzer against every tool of the MCP door, and against the protocol, before the demo's shop.

    fuzz_mcp.py PROGRAM FUZZER [RUNS]

The fuzzer reports whatever is answered without an error while it attacks, `{}` for a tool without required arguments
included. So each report is held against the tool's own schema: what that allows is no finding. Anything else is, as is
any broken answer, and a gateway that no longer answers. Exits with 1 if something was found.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import jsonschema

PROGRAM, FUZZER = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
RUNS = sys.argv[3] if len(sys.argv) > 3 else "25"
VERSION = "2026-07-28"


def tools(ready, token):
    """The schema of each tool's arguments."""
    meta = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Mcp-Method": "tools/list",
               "Mcp-Protocol-Version": VERSION, "Accept": "application/json, text/event-stream"}
    request = urllib.request.Request(f"http://{ready['mcp']}/mcp", data=json.dumps(body).encode(), headers=headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        text = answer.read().decode()
    return {tool["name"]: tool["inputSchema"] for tool in json.loads(text[text.index("{"):])["result"]["tools"]}


def fuzz(ready, folder, auth, *arguments):
    """Runs the fuzzer, and returns what it reports."""
    command = [FUZZER, *arguments, "--protocol", "streamablehttp", "--endpoint", f"http://{ready['mcp']}/mcp"]
    command += ["--auth-config", auth, "--no-network", "--allow-host", "127.0.0.1", "--no-corpus", "--output-dir", folder]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    file = folder / "findings.json"
    if not (folder / "run_summary.json").exists():
        sys.exit(f"the fuzzer did not run to its end:\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")
    reports = json.loads(file.read_text()) if file.exists() else []
    return reports["findings"] if isinstance(reports, dict) else reports


def is_finding(report, schemas):
    if report["category"] == "injection_reflection":
        # Markers for pages and shells. An answer is JSON, to whoever sent the words: "there is no tool `<script>`".
        return False
    if report["category"] != "accepted_malformed":
        return True
    if report["kind"] != "tool":
        # Versions and names that a server need not know, and notifications, which have no answer.
        return False
    arguments = {name: value for name, value in report["evidence"]["input"].items() if value is not None}
    return not jsonschema.Draft202012Validator(schemas[report["target"]]).is_valid(arguments)


def main():
    demo = [PROGRAM, "demo", "--json", "--wire-port", "0", "--mcp-port", "0", "--console-port", "0"]
    # It warns of each request that it refuses, and most will be.
    demo = subprocess.Popen(demo, stdout=subprocess.PIPE, text=True, env=os.environ | {"PORTCULLIS_LOG": "error"})
    try:
        ready = json.loads(demo.stdout.readline())
        token = ready["secrets"]["support-bot"]
        schemas = tools(ready, token)
        with tempfile.TemporaryDirectory() as folder:
            auth = Path(folder) / "auth.json"
            bearer = {"type": "custom", "headers": {"Authorization": f"Bearer {token}"}}
            auth.write_text(json.dumps({"providers": {"bot": bearer}, "tool_mapping": {}}))
            parts = {}
            for part in ("tools", "protocol"):
                (Path(folder) / part).mkdir()
            parts["tools"] = fuzz(ready, Path(folder) / "tools", auth, "--mode", "tools", "--phase", "both", "--runs", RUNS)
            parts["protocol"] = fuzz(ready, Path(folder) / "protocol", auth, "--mode", "protocol", "--protocol-phase",
                                     "aggressive", "--runs-per-type", RUNS, "--timeout", "10")
        found = [report for reports in parts.values() for report in reports if is_finding(report, schemas)]
        for report in found:
            print(json.dumps(report, indent=1))
        assert tools(ready, token) == schemas, "the gateway answers otherwise than before"
        counts = ", ".join(f"{len(reports)} reports on {part}" for part, reports in parts.items())
        print(f"{len(schemas)} tools, {RUNS} runs each: {counts}, {len(found)} findings")
        return 1 if found else 0
    finally:
        demo.terminate()
        demo.wait()


sys.exit(main())
