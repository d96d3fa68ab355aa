"""What the suites run against: PostgreSQL of the suite's own minor version, a bare relay before it, and gateways.

Everything is made in one temporary folder that the server's account can read, listens on loopback only, and is
stopped and removed at the end.
"""

import json
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

SERVER_SETTINGS = [
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=128MB",
    "max_connections=200",
    "max_prepared_transactions=20",
    "max_wal_size=2GB",
    # The suites' expected plans assume it; and the packages may be unpacked without LLVM.
    "jit=off",
    "timezone=UTC",
]


class Stand:
    """A server and whatever is put before it. Use it in a `with`."""

    def __init__(self, major=15):
        bin_folder, source = tool(["scripts/conformance/postgresql.sh"], env={"MAJOR": str(major)}).split()
        self.account = account()
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-conformance-"))
        self.work.chmod(0o755)
        self.processes = []
        # The checkout may be where the server's account can't look.
        shutil.copytree(pathlib.Path(bin_folder).parents[3], self.work / "usr", symlinks=True)
        self.bin = self.work / "usr/lib/postgresql" / str(major) / "bin"
        self.source = pathlib.Path(source)
        self.libraries = next((self.work / "usr/lib").glob("*/libpq.so.5")).parent
        self.version = tool([str(self.bin / "postgres"), "--version"]).split()[2]

    def __enter__(self):
        try:
            self.port = self.server("server")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.work, ignore_errors=True)

    def server(self, name, *settings):
        """Makes a cluster of that name and starts it with `settings`; its port."""
        home = self.work / name
        home.mkdir()
        self.give(home)
        data = home / "data"
        self.run_as_server(
            "initdb", "--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust", "--username=postgres", "--pgdata", data,
            cwd=home,
        )
        port = free_port()
        words = [word for setting in [*SERVER_SETTINGS, *settings] for word in ("-c", setting)]
        with open(self.work / f"{name}.log", "wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [self.bin / "postgres", "-D", data, "-k", home, "-p", str(port), *words],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, env=self.environment(),
                    user=self.account, group=pwd.getpwnam(self.account).pw_gid if self.account else None,
                )
            )
        until(lambda: self.psql(port, "template1", "SELECT 1") == "1", f"the {name}")
        return port

    def environment(self, port=None, **more):
        """What programs of this version need, and how they connect."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        libraries = {"LD_LIBRARY_PATH": str(self.libraries)}
        place = {} if port is None else {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres"}
        return kept | libraries | place | {name: str(value) for name, value in more.items()}

    def run_as_server(self, program, *words, cwd):
        subprocess.run(
            [self.bin / program, *words], check=True, stdout=subprocess.DEVNULL, cwd=cwd, env=self.environment(),
            user=self.account, group=pwd.getpwnam(self.account).pw_gid if self.account else None,
        )

    def give(self, folder):
        """Hands `folder` and all in it to the server's account."""
        if self.account:
            for path in [folder, *folder.rglob("*")]:
                shutil.chown(path, self.account, pwd.getpwnam(self.account).pw_gid)

    def psql(self, port, database, sql, **options):
        """Runs `sql` as the superuser and returns what psql prints."""
        done = subprocess.run(
            [self.bin / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql],
            env=self.environment(port), capture_output=True, text=True, **options,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.strip()

    def relay(self):
        """Starts a bare relay; its port."""
        relay = subprocess.Popen(
            [build("wire", ["--bench", "wire"]), "relay", f"127.0.0.1:{self.port}"], stdout=subprocess.PIPE, text=True
        )
        self.processes.append(relay)
        return int(relay.stdout.readline())

    def gateway(self, policies, databases, upstream=None):
        """Starts a gateway that trusts every name, by the rulebook `policies`, before `upstream`; its port."""
        upstream = upstream or self.port
        home = pathlib.Path(tempfile.mkdtemp(prefix="gateway-", dir=self.work))
        (home / "agents").mkdir()
        (home / "password").write_text("the server asks nobody")
        ports = [free_port() for _ in range(3)]
        sections = [
            f'[[database]]\nname = "{name}"\nurl = "postgres://postgres@127.0.0.1:{upstream}/{name}"\n'
            'upstream_user = "same"\npassword_file = "password"\n'
            for name in databases
        ]
        (home / "portcullis.toml").write_text(
            f'wire.listen = "127.0.0.1:{ports[0]}"\nwire.auth = "trust"\n'
            f'mcp.listen = "127.0.0.1:{ports[1]}"\nconsole.listen = "127.0.0.1:{ports[2]}"\n'
            f'policy.path = "{policies}"\nledger.durability = "os"\n\n' + "\n".join(sections)
        )
        with open(home / "log", "wb") as log:
            process = subprocess.Popen(
                [build("portcullis", ["--bin", "portcullis"]), "serve", "--config", home / "portcullis.toml"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(PORTCULLIS_LOG="warn"),
            )
        self.processes.append(process)

        def answers():
            if process.poll() is not None:
                raise RuntimeError("the gateway does not start: " + (home / "log").read_text())
            return self.psql(ports[0], databases[0], "SELECT 1") == "1"

        until(answers, "the gateway")
        return ports[0]


def build(name, target):
    """Builds one program of the project, unless `$BUILT_NAME` names one; where it is. `$PROFILE` is cargo's."""
    if built := os.environ.get(f"BUILT_{name.upper()}"):
        return built
    profile = ["--profile", os.environ.get("PROFILE", "dev")]
    messages = tool(["cargo", "build", "--locked", "--quiet", "--message-format=json", *profile, *target])
    for line in messages.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return message["executable"]
    raise RuntimeError(f"cargo built no `{name}`")


def tool(words, env=None):
    done = subprocess.run(words, cwd=ROOT, env=os.environ | (env or {}), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(map(str, words))}` failed")
    return done.stdout


def account():
    """Whom the server runs as where we are root, which it refuses."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def until(holds, what):
    """Waits until `holds`; an error in it is a no, unless the time is up."""
    end = time.monotonic() + 30
    while True:
        try:
            if holds():
                return
        except RuntimeError:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise RuntimeError(f"{what} does not answer")
        time.sleep(0.1)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
