"""The test suites of clients, each direct and through a gateway that allows everything: the outcome of each test must
be the same. A test that fails direct (for want of an extension, of TLS, of a slow machine's patience) must fail alike.

    python3 scripts/conformance/drivers.py [--way relay] [SUITE ...]

What it fetches and installs goes below target/conformance. Sources that no package index has are cloned from GitHub,
or taken from a clone that $PSYCOPG_SOURCE, $NODE_POSTGRES_SOURCE or $PGJDBC_SOURCE names.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

from stand import ROOT, Stand

# Databases that suites use or make besides: a gateway serves those that its configuration names.
OTHER_DATABASES = ["asyncpg_intro_test", "template1"]
HOME = ROOT / "target/conformance/drivers"
PSYCOPG, ASYNCPG, SQLALCHEMY, NODE_POSTGRES, PGJDBC = "3.3.4", "0.32.0", "2.1.9", "8.23.0", "42.5.5"
JUNIT = ["junit4", "libhamcrest-java", "junit5", "libapiguardian-java", "libopentest4j-java", "libpicocli-java", "libchecker-framework-java"]
JUNIT_JARS = [
    "junit4", "hamcrest", "junit-jupiter-api", "junit-jupiter-params", "junit-jupiter-engine", "junit-vintage-engine",
    "junit-platform-commons", "junit-platform-engine", "junit-platform-launcher", "junit-platform-reporting",
    "junit-platform-console", "opentest4j", "apiguardian-api", "checker-qual", "picocli",
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--way", default="allow-all")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    arguments = parser.parse_args()
    HOME.mkdir(parents=True, exist_ok=True)
    wrong = 0
    rows = []
    with Stand() as stand:
        fresh(stand)
        if arguments.way == "relay":
            port = stand.relay()
        else:
            port = stand.gateway(ROOT / "examples/policies/allow-all", ["conformance", "postgres", *OTHER_DATABASES])
        for name in arguments.suites or SUITES:
            outcomes = []
            for endpoint in (stand.port, port):
                fresh(stand)
                outcomes.append(SUITES[name](stand, endpoint))
            direct, through = outcomes
            if not direct:
                raise RuntimeError(f"{name} ran nothing")
            differ = sorted(test for test in direct.keys() | through.keys() if direct.get(test) != through.get(test))
            for test in differ:
                print(f"{name}: {test}: direct {direct.get(test)}, {arguments.way} {through.get(test)}", flush=True)
            passed = [sum(outcome == "passed" for outcome in of.values()) for of in outcomes]
            rows.append(f"| {name} | {len(direct)} | {passed[0]} | {passed[1]} | {len(differ)} |")
            print(rows[-1], flush=True)
            wrong += len(differ)
    print(f"\n| suite | tests | pass direct | pass by {arguments.way} | differ |\n|---|---:|---:|---:|---:|")
    print("\n".join(rows))
    return 1 if wrong else 0


def fresh(stand):
    stand.psql(stand.port, "postgres", "DROP DATABASE IF EXISTS conformance WITH (FORCE)")
    stand.psql(stand.port, "postgres", "CREATE DATABASE conformance")


def run(stand, port, words, cwd=None, **more):
    """Runs a program that finds the server by libpq's variables."""
    environment = stand.environment(port, PGDATABASE="conformance", PGCONNECT_TIMEOUT=20, **more)
    return subprocess.run(
        words, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", timeout=1200,
    )


def libpq_pipeline(stand, port):
    """Each test of PostgreSQL's own, with the messages that came and went."""
    program = stand.source / "src/test/modules/libpq_pipeline/libpq_pipeline"
    outcomes, messages = {}, {}
    for test in run(stand, port, [program, "tests"]).stdout.split():
        trace = stand.work / f"trace-{port}"
        done = run(stand, port, [program, "-t", trace, test, "dbname=conformance"])
        outcomes[test] = "passed" if done.returncode == 0 else "failed: " + done.stdout.strip()[-200:]
        # Times stand before each message.
        lines = re.sub(r"(?m)^[^\t]*\t(?=[FB]\t)", "", trace.read_text(errors="replace")) if trace.exists() else ""
        # PostgreSQL keeps traces of those in which the order does not depend on who is faster.
        if lines and (program.parent / "traces" / f"{test}.trace").exists():
            messages[test] = lines
    # By the second run these are held against the first one's.
    for test, lines in messages.items():
        before = MESSAGES.setdefault(test, lines)
        outcomes[f"{test}, messages"] = "passed" if lines == before else "other messages"
    return outcomes


# What each test sent and received in the first run.
MESSAGES = {}


def pgbench(stand, port):
    """All scripts and protocols, with pipelines and a connection for each transaction."""
    outcomes = {}
    made = run(stand, port, [stand.bin / "pgbench", "-i", "-q", "-s", "2"])
    outcomes["initialize"] = state(made)
    pipeline = stand.work / "pipeline.sql"
    pipeline.write_text(
        "\\set aid random(1, 200000)\n\\startpipeline\nBEGIN;\nUPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\n"
        "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\nUPDATE pgbench_accounts SET abalance = abalance - 1 WHERE aid = :aid;\n"
        "COMMIT;\nSELECT 1;\n\\endpipeline\n"
    )
    scripts = {"tpcb-like": ["-b", "tpcb-like"], "simple-update": ["-b", "simple-update"], "select-only": ["-S"], "pipeline": ["-f", pipeline]}
    for mode in ("simple", "extended", "prepared"):
        for name, words in scripts.items():
            if name == "pipeline" and mode == "simple":
                continue
            for options in ([], ["-C"]):
                done = run(stand, port, [stand.bin / "pgbench", "-n", "-M", mode, "-c", "4", "-j", "2", "-t", "50", *words, *options])
                whole = "transactions actually processed: 200/200" in done.stdout
                outcomes[f"{name} {mode} {' '.join(options)}".strip()] = "passed" if whole and done.returncode == 0 else "failed: " + done.stdout[-300:]
    sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)"
    outcomes["balances"] = "passed" if stand.psql(stand.port, "conformance", sums) == "t" else "failed"
    return outcomes


def dump(stand, port):
    """pg_dump in several forms, and pg_restore of what it made; byte by byte against those made direct."""
    stand.psql(stand.port, "conformance", (ROOT / "scripts/conformance/dumped.sql").read_text())
    outcomes = {}

    def text(of_port, database, *words):
        # Without a key of ours each dump has a random one.
        return run(stand, of_port, [stand.bin / "pg_dump", "--restrict-key=conformance", *words, database]).stdout

    for words in ([], ["--inserts"], ["--column-inserts", "--rows-per-insert=7"], ["--clean", "--if-exists", "--create"], ["--schema-only"], ["--data-only", "--disable-triggers"]):
        same = text(port, "conformance", *words) == text(stand.port, "conformance", *words)
        outcomes[" ".join(["pg_dump", *words])] = "passed" if same else "failed"
    for form, jobs in (("custom", 1), ("directory", 3), ("tar", 1)):
        target = stand.work / f"dump-{port}-{form}"
        words = [stand.bin / "pg_dump", "--format", form, "--file", target, *(["--jobs", str(jobs)] if jobs > 1 else []), "conformance"]
        outcomes[f"pg_dump {form}"] = state(run(stand, port, words))
        # The gateway knows one further database by name, so what is restored takes the place of what was dumped.
        original = text(stand.port, "conformance")
        fresh(stand)
        jobs_word = ["--jobs", str(jobs)] if jobs > 1 else []
        outcomes[f"pg_restore {form}"] = state(run(stand, port, [stand.bin / "pg_restore", *jobs_word, "--dbname=conformance", target]))
        outcomes[f"restored {form}"] = "passed" if text(stand.port, "conformance") == original else "failed"
    outcomes["pg_dumpall"] = state(run(stand, port, [stand.bin / "pg_dumpall", "--globals-only", "--database=postgres"]))
    return outcomes


def state(done):
    return "passed" if done.returncode == 0 else "failed: " + done.stdout.strip()[-300:]


def python(*packages):
    """The interpreter of an environment that has `packages`."""
    home = HOME / "python"
    if not home.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
    mark = home / re.sub(r"\W+", "-", " ".join(packages))
    if not mark.exists():
        subprocess.run([home / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages], check=True)
        mark.touch()
    return home / "bin/python"


def pytest(stand, port, interpreter, folder, *words, **more):
    """Runs pytest; the outcome of each test. One that fails is tried again, direct and through the gateway: there are
    some that go by when an answer comes, like those that count how often client and server take turns."""
    report = stand.work / f"junit-{port}.xml"
    done = run(
        stand, port, [interpreter, "-m", "pytest", "-q", "-o", f"cache_dir={stand.work}/cache", "--timeout=120", "--reruns=3", f"--junitxml={report}", *words],
        cwd=folder, **more,
    )
    if not report.exists():
        raise RuntimeError("pytest ran nothing: " + done.stdout[-2000:])
    (HOME / f"{folder.name}-{'direct' if port == stand.port else 'through'}.out").write_text(done.stdout)
    outcomes = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = "+".join(sorted(kinds)) or "passed"
    return outcomes


def asyncpg(stand, port):
    interpreter = python(f"asyncpg=={ASYNCPG}", "pytest<9", "pytest-timeout", "pytest-rerunfailures", "distro", "uvloop")
    folder = HOME / f"asyncpg-{ASYNCPG}"
    if not folder.exists():
        sdist("asyncpg", ASYNCPG)
        # Its package is built from the index's wheel, not from this source.
        shutil.move(folder / "asyncpg", folder / "source-of-asyncpg")
    return pytest(stand, port, interpreter, folder, "tests", "--ignore=tests/test__sourcecode.py", "--ignore=tests/test__environment.py")


def psycopg(stand, port):
    interpreter = python(f"psycopg[binary,pool]=={PSYCOPG}", "pytest<9", "pytest-timeout", "pytest-rerunfailures", "anyio", "dnspython")
    folder = clone("PSYCOPG_SOURCE", "https://github.com/psycopg/psycopg", PSYCOPG, "psycopg")
    dsn = f"host=127.0.0.1 port={port} user=postgres dbname=conformance"
    return pytest(stand, port, interpreter, folder, "tests", f"--test-dsn={dsn}", "-m", "not slow and not mypy and not subprocess")


def sqlalchemy(stand, port):
    interpreter = python(f"sqlalchemy=={SQLALCHEMY}", "psycopg2-binary", "pytest<9", "pytest-timeout", "pytest-rerunfailures")
    folder = HOME / "sqlalchemy"
    folder.mkdir(exist_ok=True)
    (folder / "conftest.py").write_text("from sqlalchemy.testing.plugin.pytestplugin import *\n")
    (folder / "test_suite.py").write_text("from sqlalchemy.testing.suite import *\n")
    (folder / "setup.cfg").write_text(
        "[tool:pytest]\naddopts = --tb native -r fxX\npython_files = test_*.py\n"
        "[sqla_testing]\nrequirement_cls = sqlalchemy.testing.requirements:SuiteRequirements\nprofile_file = profiles.txt\n[db]\n"
    )
    stand.psql(stand.port, "conformance", "CREATE SCHEMA test_schema")
    url = f"postgresql+psycopg2://postgres@127.0.0.1:{port}/conformance"
    return pytest(stand, port, interpreter, folder, "test_suite.py", "--dburi", url, "--maxfail=10000")


def node_postgres(stand, port):
    """Each file of its integration tests."""
    source = clone("NODE_POSTGRES_SOURCE", "https://github.com/brianc/node-postgres", f"pg@{NODE_POSTGRES}", "node-postgres")
    folder = source / "packages/pg"
    if not (folder / "node_modules").exists():
        alone = (folder / "package.json").read_text()
        (folder / "package.json").write_text(re.sub(r'"workspaces":\s*\[[^]]*\],?', "", alone))
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-workspaces", "--legacy-peer-deps"], cwd=folder, check=True)
    outcomes = {}
    for test in sorted((folder / "test/integration").rglob("*-tests.js")):
        done = run(stand, port, ["node", "--no-deprecation", test], cwd=folder, PGTESTNOSSL="true")
        outcomes[str(test.relative_to(folder))] = "passed" if done.returncode == 0 else "failed"
    return outcomes


def pgjdbc(stand, port):
    """Its own tests against the driver that Debian has, but for those of TLS, OSGi and stubbed systems."""
    if not shutil.which("javac"):
        print("pgjdbc: skipped, there is no JDK", flush=True)
        return {"everything": "skipped"}
    jars = debian("libpostgresql-jdbc-java", "libscram-java", *JUNIT) / "usr/share/java"
    classpath = ":".join(str(jar) for stem in ["postgresql", "scram-client", "scram-common", *JUNIT_JARS] if (jar := jars / f"{stem}.jar").exists())
    source = clone("PGJDBC_SOURCE", "https://github.com/pgjdbc/pgjdbc", f"REL{PGJDBC}", "pgjdbc")
    classes = HOME / "pgjdbc-classes"
    if not classes.exists():
        compile_java(classpath, source / "pgjdbc/src/test/java", classes)
    stand.psql(stand.port, "conformance", "DO $$ BEGIN CREATE ROLE test LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    stand.psql(stand.port, "conformance", "ALTER DATABASE conformance OWNER TO test; ALTER SCHEMA public OWNER TO test")
    reports = stand.work / f"pgjdbc-{port}"
    values = {"server": "127.0.0.1", "port": port, "database": "conformance", "username": "test", "password": "", "privilegedUser": "postgres", "privilegedPassword": ""}
    words = [f"-D{name}={value}" for name, value in values.items()]
    done = run(
        stand, port,
        ["java", *words, "-Duser.timezone=UTC", "-cp", f"{classes}:{classpath}", "org.junit.platform.console.ConsoleLauncher", "--disable-banner", "--details=none", f"--scan-classpath={classes}", f"--reports-dir={reports}"],
        cwd=source / "pgjdbc",
    )
    (HOME / f"pgjdbc-{'direct' if port == stand.port else 'through'}.out").write_text(done.stdout)
    outcomes = {}
    for report in reports.glob("*.xml"):
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
            outcomes[f"{case.get('classname')}::{case.get('name')}"] = "+".join(sorted(kinds)) or "passed"
    return outcomes


def compile_java(classpath, folder, classes):
    """Compiles what can be compiled: a test may want a library that is not there."""
    files = {str(path) for path in folder.rglob("*.java") if not {"ssl", "osgi"} & set(path.parts)}
    files = {path for path in files if not re.search(r"webcompere|org\.osgi", pathlib.Path(path).read_text())}
    for _ in range(5):
        done = subprocess.run(
            ["javac", "-nowarn", "-proc:none", "-encoding", "UTF-8", "-d", classes, "-cp", classpath, *sorted(files)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        if done.returncode == 0:
            return
        files -= set(re.findall(r"(?m)^(.*\.java):\d+: error", done.stdout))
    raise RuntimeError("pgjdbc's tests do not compile: " + done.stdout[-2000:])


def debian(*packages):
    """Unpacks packages of Debian into HOME; where."""
    root = HOME / "debian"
    mark = root / re.sub(r"\W+", "-", "-".join(packages))
    if not mark.exists():
        fetched = HOME / "packages"
        fetched.mkdir(exist_ok=True)
        subprocess.run(["apt-get", "-qq", "download", *packages], cwd=fetched, check=True)
        for package in fetched.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, root], check=True)
        mark.touch()
    return root


def sdist(name, version):
    """Unpacks a source distribution of the package index into HOME."""
    interpreter = python("pip")
    subprocess.run(
        [interpreter, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", name, f"{name}=={version}"],
        cwd=HOME, check=True,
    )
    subprocess.run(["tar", "-xf", f"{name}-{version}.tar.gz"], cwd=HOME, check=True)


def clone(variable, address, tag, name):
    """The source at `tag`, from the clone that `variable` names or from `address`."""
    folder = HOME / f"{name}-{tag.rpartition('@')[2]}"
    if not folder.exists():
        source = os.environ.get(variable, address)
        subprocess.run(["git", "clone", "--quiet", "--depth=1", "--branch", tag, source, folder], check=True)
    return folder


SUITES = {
    "libpq_pipeline": libpq_pipeline,
    "pgbench": pgbench,
    "pg_dump and pg_restore": dump,
    "asyncpg": asyncpg,
    "psycopg": psycopg,
    "SQLAlchemy": sqlalchemy,
    "node-postgres": node_postgres,
    "pgjdbc": pgjdbc,
}

if __name__ == "__main__":
    sys.exit(main())
