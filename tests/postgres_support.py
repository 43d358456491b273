"""A PostgreSQL of the test's own: made, started, stopped at once, removed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.process_support import free_port

_DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
_FOUND = shutil.which("initdb") or (str(_DEBIAN[-1] / "initdb") if _DEBIAN else None)
# PostgreSQL refuses to run as root; Debian's package brings a user for it.
_AS_ROOT = os.geteuid() == 0


def _has_user() -> bool:
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return False
    return True


MISSING = None
if _FOUND is None:
    MISSING = "PostgreSQL is not installed: apt-get install postgresql"
elif _AS_ROOT and not _has_user():
    MISSING = "PostgreSQL does not run as root, and there is no user `postgres`"


class Cluster:
    """One PostgreSQL server process on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        assert _FOUND is not None
        self._bin = Path(_FOUND).resolve().parent
        self._folder = folder
        self.port = free_port()
        self._user = {"user": "postgres", "group": "postgres"} if _AS_ROOT else {}
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def make(self, *databases: str) -> None:
        """Make the cluster, start it and make databases in it."""
        if _AS_ROOT:
            shutil.chown(self._folder, "postgres", "postgres")
        command = ["initdb", "--pgdata", str(self._folder / "data"), "--username", "postgres", "--auth", "trust"]
        self._run(*command, "--encoding", "UTF8", "--no-instructions")
        self.start()
        for name in databases:
            self._create(name)

    def fresh(self) -> str:
        """Make a database that has nothing in it; gives its URL."""
        self._count += 1
        self._create(f"fresh{self._count}")
        return self.url(f"fresh{self._count}")

    def run(self, statements: str) -> None:
        """Have statements carried out, each by itself, as its own administrator."""
        ask = ["--host", "127.0.0.1", "--port", str(self.port), "--username", "postgres", "--dbname", "postgres"]
        self._run("psql", *ask, "--quiet", "--set", "ON_ERROR_STOP=1", "--command", statements)

    def _create(self, name: str) -> None:
        self._run("createdb", "--host", "127.0.0.1", "--port", str(self.port), "--username", "postgres", name)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [self._bin / "postgres", "-D", self._folder / "data", "-p", str(self.port), "-k", self._folder]
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-c", "logging_collector=off"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, *settings], stdout=log, stderr=log, **self._user)  # type: ignore[call-overload]
        deadline = time.monotonic() + 120
        ask = [self._bin / "pg_isready", "--host", "127.0.0.1", "--port", str(self.port), "--quiet"]
        while subprocess.run(ask, check=False).returncode != 0:
            assert time.monotonic() < deadline, (self._folder / "log").read_text("utf-8")
            time.sleep(0.1)

    def stop_at_once(self) -> None:
        """Stop it without a farewell, as a power cut of the database would: it recovers from its log at the start."""
        assert self._process is not None
        self._run("pg_ctl", "stop", "--pgdata", str(self._folder / "data"), "--mode", "immediate", "--silent")
        self._process.wait()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([self._bin / program, *arguments], check=True, stdout=subprocess.DEVNULL, **self._user)  # type: ignore[call-overload]


@contextlib.contextmanager
def cluster(*databases: str) -> Iterator[Cluster]:
    """A running cluster with these databases."""
    folder = Path(tempfile.mkdtemp(prefix="jiejing-pg-"))
    made = Cluster(folder)
    try:
        made.make(*databases)
        yield made
        made.stop_at_once()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
