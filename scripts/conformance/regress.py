"""PostgreSQL's own regression suite, direct and through whatever else is named.

    scripts/regress.sh [WAY ...]    WAY: relay, allow-all, judged, understood; all but the last if none is named

The direct run says which tests pass at all here. By the relay and by the allow-all rulebook each of these must
pass. By the judged rulebook each statement is answered as a twin of the server answers it, or refused for a reason of
the published list and made to fail on the twin as well (see mirror.py); anything else is an error.

`understood` sends nothing through a gateway: every statement that the direct run sent goes through facts and rewrite
offline (benches/corpus.rs), which prints how many are understood, and why the others are not.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import threading

import mirror
from stand import ROOT, Stand, build

LOCALE = "LC_COLLATE = 'C' LC_CTYPE = 'C'"
DATABASE_SETTINGS = [
    *(f"{name} TO 'C'" for name in ("lc_messages", "lc_monetary", "lc_numeric", "lc_time")),
    "bytea_output TO 'hex'",
    "timezone_abbreviations TO 'Default'",
]


# What the judged rulebook masks. The suite never reads it.
MASKED = "CREATE SCHEMA private CREATE TABLE patient (id int, diagnosis text)"


def main(ways):
    ways = ways or ["relay", "allow-all", "judged"]
    with Stand() as stand:
        if ways == ["understood"]:
            return understood(stand)
        direct = run(stand, "direct", stand.port)
        print(f"PostgreSQL {stand.version}: {len(direct.passed)} of {len(direct.tests)} tests pass direct", flush=True)
        wrong = 0
        for way in ways:
            if way == "judged":
                result, report = judged(stand)
            else:
                result = run(stand, way, endpoint(stand, way))
            differences = [test for test in direct.tests if test in direct.passed and test not in result.passed]
            print(f"{way}: {len(result.passed)} of {len(result.tests)}; differ: {' '.join(differences) or 'none'}", flush=True)
            if way == "judged":
                (ROOT / "target/conformance/results/judged/report.md").write_text(report.markdown())
                print(report.markdown())
                wrong += report.wrong
            else:
                wrong += len(differences)
    return 1 if wrong else 0


def endpoint(stand, way):
    if way == "relay":
        return stand.relay()
    if way != "allow-all":
        raise SystemExit(f"there is no way `{way}`")
    return stand.gateway(ROOT / "examples/policies/allow-all", ["regression", "postgres"])


def judged(stand):
    """The suite through a gateway that judges, with a twin of its server beside it."""
    # Statistics must not depend on when a worker comes by.
    servers = [stand.server(name, "autovacuum=off") for name in ("judged", "twin")]
    for server in servers:
        prepare(stand, server)
    gateway = stand.gateway(ROOT / "tests/conformance/judged", ["regression", "postgres"], servers[0])
    report = mirror.Report()
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    serving = mirror.Mirror(gateway, servers[1], report).serve()
    port = asyncio.run_coroutine_threadsafe(serving, loop).result()
    return suite(stand, "judged", port), report


def understood(stand):
    """What facts and rewrite make of every statement of the suite."""
    logged = ["logging_collector=on", "log_destination=jsonlog", "log_directory=log", "log_filename=statements.log",
              "log_statement=all", "log_rotation_size=0", "log_rotation_age=0"]
    server = stand.server("logged", *logged)
    prepare(stand, server)
    result = suite(stand, "understood", server)
    log = stand.work / "logged/data/log/statements.json"
    corpus = build("corpus", ["--bench", "corpus"])
    kept = ROOT / "target/conformance/results/understood"
    printed = subprocess.run([corpus, str(server), "regression", log, ""], stdout=subprocess.PIPE, text=True, check=True).stdout
    (kept / "report.md").write_text(printed)
    shutil.copy(log, kept)
    print(f"{len(result.passed)} of {len(result.tests)} tests pass, with every statement logged")
    print("".join(line for line in printed.splitlines(True) if not line.startswith("    ")), end="")
    return 1 if "PANIC" in printed else 0


class Result:
    """Which tests there were, which passed, and the folder with what each printed."""

    def __init__(self, printed, folder):
        lines = [re.match(r"(?:test|    ) +(\S+) +\.\.\. (ok|FAILED)|test (\S+) +\.\.\. (ok|FAILED)", line) for line in printed.splitlines()]
        found = [(line[1] or line[3], line[2] or line[4]) for line in lines if line]
        self.tests = [test for test, _ in found]
        self.passed = {test for test, state in found if state == "ok"}
        self.folder = folder


def run(stand, way, port):
    """Runs the whole suite through `port` on a fresh database."""
    prepare(stand, stand.port)
    return suite(stand, way, port)


def suite(stand, way, port):
    """Runs the whole suite through `port`."""
    home = stand.work / f"suite-{way}"
    shutil.copytree(stand.source / "src/test/regress", home)
    stand.give(home)
    # It runs as the server's account: tests write files that the server reads.
    done = subprocess.run(
        [
            home / "pg_regress", "--use-existing", f"--inputdir={home}", f"--outputdir={home}", f"--dlpath={home}",
            f"--bindir={stand.bin}", "--host=127.0.0.1", f"--port={port}", "--user=postgres", "--dbname=regression",
            "--max-concurrent-tests=20", f"--schedule={home}/parallel_schedule",
        ],
        cwd=home, env=stand.environment(), user=stand.account, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    kept = ROOT / "target/conformance/results" / way
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    (kept / "printed").write_text(done.stdout)
    for folder in ("results", "expected"):
        shutil.copytree(home / folder, kept / folder)
    if (home / "regression.diffs").exists():
        shutil.copy(home / "regression.diffs", kept)
    result = Result(done.stdout, kept)
    if not result.tests:
        raise RuntimeError(f"pg_regress ran nothing: {done.stdout}")
    shutil.rmtree(home)
    return result


def prepare(stand, server):
    """Makes the suite's database on a cluster that is as good as new."""
    # Roles and tablespaces of the run before are in the way.
    stand.psql(server, "postgres", "DROP DATABASE IF EXISTS regression WITH (FORCE)")
    for kind, listing in [
        ("TABLESPACE", "SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'"),
        ("ROLE", "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'"),
    ]:
        for name in stand.psql(server, "postgres", listing).splitlines():
            stand.psql(server, "postgres", f'DROP {kind} "{name}"')
    stand.psql(server, "postgres", f"CREATE DATABASE regression TEMPLATE template0 {LOCALE}")
    for setting in DATABASE_SETTINGS:
        stand.psql(server, "postgres", f"ALTER DATABASE regression SET {setting}")
    stand.psql(server, "regression", MASKED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
