"""Real Claude Code and Codex at the MCP door, driven by a model that plays a part (`stub_model.py`).

Starts the demo with a rulebook whose requests lapse in seconds, sets each client up by the very block that
`portcullis agent connect` prints, and holds what the model got against what it must be. While a client works, a person
decides on what waits. Prints one line a check; with `--record FILE`, a Markdown transcript of one session.

    run.py PROGRAM CLIENTS_FOLDER [--record FILE]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from stub_model import Stub

ROOT = Path(__file__).resolve().parents[3]
LAPSE_S = 12
# How long a person takes: the write is told to wait, and then decided on.
THOUGHT_S = 1


class Demo:
    """A throw-away gateway, and priya, who decides on what waits by the number of the order."""

    def __init__(self, program, folder):
        self.program = program
        policies = Path(folder) / "policies"
        shutil.copytree(ROOT / "policies", policies, ignore=shutil.ignore_patterns("*_test.rego"))
        rulebook = policies / "data/rulebook.json"
        rulebook.write_text(re.sub(r'"approval_ttl_s": \d+', f'"approval_ttl_s": {LAPSE_S}', rulebook.read_text()))
        ports = [argument for door in ("wire", "mcp", "console") for argument in (f"--{door}-port", "0")]
        command = [program, "demo", "--json", "--policies", policies, *ports]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.ready = json.loads(self.process.stdout.readline())
        self.url = f"http://{self.ready['mcp']}/mcp"
        self.token = self.ready["secrets"]["support-bot"]
        self.token_file = Path(self.ready["folder"]) / "tokens/support-bot"
        threading.Thread(target=self.decide, daemon=True).start()

    def api(self, path, body=None):
        request = urllib.request.Request(
            f"http://{self.ready['console']}/api/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.ready['secrets']['priya']}", "Content-Type": "application/json"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.load(answer)

    def decide(self):
        cursor = 0
        try:
            while True:
                waiting = self.api(f"approvals/watch?since={cursor}&wait_s=20&state=pending")
                cursor = waiting["cursor"]
                time.sleep(THOUGHT_S)
                for request in waiting["approvals"]:
                    order = int(re.search(r"id = (\d+)", request["statement"])[1])
                    if order % 10 == 1:
                        self.api(f"approvals/{request['id']}/approve", {"note": "checked with the customer"})
                    if order % 10 == 2:
                        self.api(f"approvals/{request['id']}/deny", {"note": "it has been shipped"})
        except OSError:
            pass  # The demo has ended.

    def block(self, client, by_file):
        """What the program says to paste into `client`."""
        command = [self.program, "agent", "connect", "--client", client, "--url", self.url]
        command += ["--token-file", self.token_file] if by_file else []
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def close(self):
        self.process.terminate()
        self.process.wait()


def script(base):
    """What the model does: a read, a denial, and three writes. Those on order `base`+1 are approved, +2 refused, +3 left."""
    write = lambda order: f"UPDATE orders SET status = 'cancelled' WHERE id = {base + order}"
    execute = lambda order: ("execute", {"sql": write(order), "reason": "the customer called", "wait_s": 0})
    status = ("approval_status", {"approval_id": "{approval_id}", "wait_s": 45})
    run = ("run_approved", {"approval_id": "{approval_id}"})
    return [
        ("my_access", {}),
        ("query", {"sql": "SELECT id, name, email, ssn FROM customers ORDER BY id LIMIT 2"}),
        ("query", {"sql": "SELECT * FROM hr.payroll"}),
        execute(1), status, run,
        execute(2), status, run,
        execute(3), status, run,
        ("query", {"sql": f"SELECT id, status FROM orders WHERE id BETWEEN {base + 1} AND {base + 3} ORDER BY id"}),
    ]


def expectations(before):
    """(what a check is called, which answer it looks at, what must hold)."""
    orders = [[order, "cancelled" if order % 10 == 1 else status] for order, status in before]
    return [
        ("is told who it is", 0, lambda it: it["identity"]["name"] == "support-bot"),
        ("reads masked rows", 1, lambda it: [row[3] for row in it["rows"]] == ["***-**-****"] * 2),
        ("is told that rows are data", 1, lambda it: it["content_trust"] == "untrusted" and "never" in it["notice"].lower()),
        ("is denied, with a hint", 2, lambda it: it["status"] == "denied" and it["denial"]["hint"]),
        ("is told that a write waits", 3, lambda it: it["status"] == "pending_approval"),
        ("is told that it was approved", 4, lambda it: it["approval"]["state"] == "approved"),
        ("runs what was approved", 5, lambda it: it["status"] == "ok" and it["rows_affected"] == 1),
        ("is told that it was refused, and why", 7, lambda it: "shipped" in it["approval"]["approver_note"]),
        ("can't run what was refused", 8, lambda it: it["status"] == "denied"),
        ("is told that nobody decided", 10, lambda it: it["approval"]["state"] == "expired"),
        ("can't run what lapsed", 11, lambda it: it["status"] == "denied"),
        ("finds one order changed of three", 12, lambda it: it["rows"] == orders),
    ]


def claude(clients, demo, stub, home, by_file):
    environment = {
        "ANTHROPIC_BASE_URL": stub.url, "ANTHROPIC_API_KEY": "of-nobody", "ENABLE_TOOL_SEARCH": "false",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    environment = base_environment(clients, home) | environment
    program = str(clients / "agents/node_modules/.bin")
    environment["PATH"] = program + os.pathsep + environment["PATH"]
    if not by_file:
        environment["PORTCULLIS_TOKEN"] = demo.token
    added = subprocess.run(["sh", "-c", demo.block("claude-code", by_file)], env=environment, cwd=home, capture_output=True, text=True)
    assert added.returncode == 0, added.stderr
    return run([f"{program}/claude", "-p", PROMPT, "--allowedTools", "mcp__portcullis"], environment, home)


def codex(clients, demo, stub, home, by_file):
    (home / ".codex").mkdir()
    (home / ".codex/config.toml").write_text(demo.block("codex", by_file))
    environment = base_environment(clients, home) | {"PORTCULLIS_TOKEN": demo.token}
    provider = f'{{name="stub",base_url="{stub.url}/v1",wire_api="responses"}}'
    options = ['model="stub"', 'model_provider="stub"', f"model_providers.stub={provider}",
               'mcp_servers.portcullis.default_tools_approval_mode="approve"']
    options = [word for option in options for word in ("-c", option)]
    command = [str(clients / "agents/node_modules/.bin/codex"), "exec", "--skip-git-repo-check", *options, PROMPT]
    return run(command, environment, home)


def base_environment(clients, home):
    path = f"{clients / 'node22/node_modules/.bin'}{os.pathsep}{os.environ['PATH']}"
    return {"HOME": str(home), "PATH": path, "NO_PROXY": "127.0.0.1,localhost", "LANG": "C.UTF-8"}


def run(command, environment, home):
    ran = subprocess.run(command, env=environment, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    return f"{ran.stdout}\n{ran.stderr}"


def answer_of(text):
    """The object in a tool's answer; Codex puts a line of its own above it."""
    return json.loads(text[text.index("{"):])


def session(name, start, clients, demo, base, by_file):
    """Runs one client; returns how many checks failed, and what the model said and got."""
    question = f"SELECT id, status FROM orders WHERE id BETWEEN {base + 1} AND {base + 3} ORDER BY id"
    before = rows(demo, question)
    stub = Stub(script(base))
    failures = 0
    with tempfile.TemporaryDirectory() as home:
        said = start(clients, demo, stub, Path(home), by_file)
    stub.close()
    answers = [answer_of(text) if "{" in text else {"not an object": text} for text in stub.seen]
    for check, index, holds in expectations(before):
        try:
            held = index < len(answers) and holds(answers[index])
        except (KeyError, TypeError):
            held = False
        failures += not held
        print(f"{'ok    ' if held else 'FAILED'}  {name}: the model {check}", flush=True)
        if not held:
            print(json.dumps(answers[index], indent=1) if index < len(answers) else said[-2000:])
    return failures, list(zip(script(base), answers))


def rows(demo, sql):
    """What is in the database, as the agent reads it."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "query", "arguments": {"sql": sql}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}}
    headers = {"Authorization": f"Bearer {demo.token}", "Content-Type": "application/json", "Mcp-Method": "tools/call",
               "Mcp-Name": "query", "Mcp-Protocol-Version": "2026-07-28", "Accept": "application/json, text/event-stream"}
    request = urllib.request.Request(demo.url, data=json.dumps(body).encode(), headers=headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        text = answer.read().decode()
    return answer_of(text)["result"]["structuredContent"]["rows"]


def transcript(turns):
    """What a model called and got, as Markdown: a line a field, and what is long is cut and says so."""
    lines, last = [], None
    for (tool, arguments), answer in turns:
        last = answer.get("approval_id", last)
        call = {key: last if value == "{approval_id}" else value for key, value in arguments.items()}
        fields = [f"  {json.dumps(key)}: {shortened(key, value)}" for key, value in answer.items()]
        lines += [f"**{tool}** `{json.dumps(call)}`", "", "```text", "{", ",\n".join(fields), "}", "```", ""]
    return "\n".join(lines)


def shortened(key, value):
    if key == "tables" and len(value) > 1:
        return f"[{json.dumps(value[0])}, ... {len(value) - 1} more]"
    text = json.dumps(value)
    return text if len(text) <= WIDTH or key in ("next", "approval", "rows", "denial", "guidance") else f'{text[:WIDTH]} ..."'


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("clients", type=Path)
    arguments.add_argument("--record", type=Path)
    arguments = arguments.parse_args()
    sessions = [
        ("Claude Code over HTTP", claude, False),
        ("Claude Code over stdio", claude, True),
        ("Codex over HTTP", codex, False),
        ("Codex over stdio", codex, True),
    ]
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(str(Path(arguments.program).resolve()), folder)
        try:
            for number, (name, start, by_file) in enumerate(sessions):
                failed, turns = session(name, start, arguments.clients.resolve(), demo, 2000 + 10 * number, by_file)
                failures += failed
                if number == 0 and arguments.record and not failed:
                    record(arguments.record, transcript(turns))
        finally:
            demo.close()
    return 1 if failures else 0


def record(file, text):
    """Puts `text` between the two marks of a Markdown file."""
    before, _, rest = file.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    file.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


WIDTH = 120
PROMPT = "A customer called about three orders. Cancel them if you may."
BEGIN, END = "<!-- transcript -->", "<!-- end of transcript -->"

if __name__ == "__main__":
    sys.exit(main())
