"""PostgreSQL's own regression suite, direct and through whatever else is named.

    scripts/regress.sh [WAY ...]    WAY: relay, allow-all, judged; all of them if none is named

The direct run says which tests pass at all here. By the relay and by the allow-all rulebook each of these must
pass. By the judged rulebook each statement must do what it does direct or be refused for a reason of the published
list; what follows from a refusal is counted apart, and anything else is an error.
"""

import re
import shutil
import subprocess
import sys

import outcome
from stand import ROOT, Stand

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
        direct = run(stand, "direct", stand.port)
        print(f"PostgreSQL {stand.version}: {len(direct.passed)} of {len(direct.tests)} tests pass direct", flush=True)
        rows = [("direct", direct, [])]
        wrong = 0
        for way in ways:
            result = run(stand, way, endpoint(stand, way))
            differences = [test for test in direct.tests if test in direct.passed and test not in result.passed]
            rows.append((way, result, differences))
            print(f"{way}: {len(result.passed)} of {len(result.tests)}; differ: {' '.join(differences) or 'none'}", flush=True)
            if way == "judged":
                report = outcome.compare(direct, result)
                print(report.markdown())
                wrong += report.unexplained
            else:
                wrong += len(differences)
    return 1 if wrong else 0


def endpoint(stand, way):
    if way == "relay":
        return stand.relay()
    folder = {"allow-all": "examples/policies/allow-all", "judged": "tests/conformance/judged"}[way]
    return stand.gateway(ROOT / folder, ["regression", "postgres"])


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
    suite = stand.work / f"suite-{way}"
    shutil.copytree(stand.source / "src/test/regress", suite)
    stand.give(suite)
    # Roles and tablespaces of the run before are in the way; the cluster is as good as new without them.
    clean(stand)
    stand.psql(stand.port, "postgres", f"CREATE DATABASE regression TEMPLATE template0 {LOCALE}")
    for setting in DATABASE_SETTINGS:
        stand.psql(stand.port, "postgres", f"ALTER DATABASE regression SET {setting}")
    stand.psql(stand.port, "regression", MASKED)
    # It runs as the server's account: tests write files that the server reads.
    done = subprocess.run(
        [
            suite / "pg_regress", "--use-existing", f"--inputdir={suite}", f"--outputdir={suite}", f"--dlpath={suite}",
            f"--bindir={stand.bin}", "--host=127.0.0.1", f"--port={port}", "--user=postgres", "--dbname=regression",
            "--max-concurrent-tests=20", f"--schedule={suite}/parallel_schedule",
        ],
        cwd=suite, env=stand.environment(), user=stand.account, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    kept = ROOT / "target/conformance/results" / way
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    (kept / "printed").write_text(done.stdout)
    for folder in ("results", "expected"):
        shutil.copytree(suite / folder, kept / folder)
    if (suite / "regression.diffs").exists():
        shutil.copy(suite / "regression.diffs", kept)
    result = Result(done.stdout, kept)
    if not result.tests:
        raise RuntimeError(f"pg_regress ran nothing: {done.stdout}")
    shutil.rmtree(suite)
    return result


def clean(stand):
    """Removes what the suite leaves behind outside its database."""
    stand.psql(stand.port, "postgres", "DROP DATABASE IF EXISTS regression WITH (FORCE)")
    for kind, listing in [
        ("TABLESPACE", "SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'"),
        ("ROLE", "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'"),
    ]:
        for name in stand.psql(stand.port, "postgres", listing).splitlines():
            stand.psql(stand.port, "postgres", f'DROP {kind} "{name}"')


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
