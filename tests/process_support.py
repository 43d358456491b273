"""Real processes for the tests: servers and workers that can be killed, and a connection that can be cut.

The stand-ins of `serve_support` do the seeing in them.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serve.intake.client import UploadError, Vehicle

# How long a machine that is busy with other things may take to start a process or to come to a job.
PATIENCE_S = 300.0
ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A process of ours, forked from one that has everything imported: killed at random, it must start fast."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """None while it lives."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self, timeout: float = PATIENCE_S) -> None:
        """Wait until it is gone."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < deadline, "the process does not end"
            time.sleep(0.005)

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it lives."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class _Nursery:
    """The process that the others are forked from."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.process_support"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()

    def fork(self, role: str, said: str) -> Process:
        """A new process in this role."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps([role, said]) + "\n")
            self._process.stdin.flush()
            return Process(int(self._process.stdout.readline()))


_nursery = functools.cache(_Nursery)


def spawn(role: str, settings: dict[str, Any]) -> Process:
    """Start a server (`server`, or `intake` for one without a worker) or a `worker`."""
    return _nursery().fork(role, json.dumps({name: str(value) for name, value in settings.items()}))


def kill(process: Process | subprocess.Popen[bytes]) -> None:
    """kill -9, and wait until it is dead."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def until_ready(process: Process | subprocess.Popen[bytes], port: int) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + PATIENCE_S
    vehicle = Vehicle(f"http://127.0.0.1:{port}", "v")
    while True:
        try:
            vehicle.ask("GET", "/health/ready")
            return
        except UploadError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)


@contextlib.contextmanager
def server(folder: Path, port: int, role: str = "server", **settings: Any) -> Iterator[Process]:
    """A server process on `folder` that answers. `role`: `server`, or `intake` for one without a worker."""
    process = spawn(role, {"data": folder, "port": port, **settings})
    try:
        until_ready(process, port)
        yield process
    finally:
        kill(process)


class CuttingProxy:
    """Passes connections on to a port, and breaks each off after a random number of bytes from the client.

    `cuts`: how many to break off in all; `sent_bytes`: what came from clients; `requests` begun, about.
    """

    def __init__(self, target_port: int, *, cuts: int, most_bytes: int, seed: int) -> None:
        self.target_port = target_port
        self.cuts_left = cuts
        self.cuts_done = 0
        self.sent_bytes = 0
        self._most = most_bytes
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with self._lock:
            left = self._random.randrange(1, self._most) if self.cuts_left > 0 else None
        try:
            target = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
        except OSError:
            _reset(client)
            return
        try:
            while True:
                readable, _, _ = select.select([client, target], [], [], 60)
                if not readable:
                    return
                if target in readable:
                    answer = target.recv(65536)
                    if not answer:
                        return
                    client.sendall(answer)
                if client in readable:
                    data = client.recv(65536)
                    if not data:
                        return
                    cut = left is not None and len(data) >= left
                    data = data[:left] if cut else data
                    with self._lock:
                        self.sent_bytes += len(data)
                    target.sendall(data)
                    if cut:
                        with self._lock:
                            cut = self.cuts_left > 0
                            self.cuts_left -= cut
                            self.cuts_done += cut
                        if cut:
                            return
                        left = None
                    elif left is not None:
                        left -= len(data)
        except OSError:
            pass
        finally:
            _reset(client)
            _reset(target)


def _reset(connection: socket.socket) -> None:
    """Close without a farewell, as a network that is gone does."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def run(role: str, said: str) -> None:
    """What a process does."""
    from serve.app import create_app, start_engine
    from serve.server import configure_logs, listen
    from serve.server import run as serve
    from serve.settings import Settings
    from tests.serve_support import no_path, run_fake

    settings = Settings(**json.loads(said), _env_file=None)
    configure_logs(quiet=True)
    if role == "worker":
        start_engine(settings, runner=run_fake, path_reader=no_path)
        while True:
            time.sleep(3600)
    app = create_app(settings, works=role == "server", runner=run_fake, path_reader=no_path)
    serve(app, listen(settings.host, settings.port))


def main() -> None:
    """Fork a process for each line that comes, until there are no more."""
    import psycopg
    import uvicorn.protocols.http.auto

    import serve.app
    import tests.serve_support

    assert psycopg, (uvicorn, serve, tests)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(2, 1)
            try:
                run(*json.loads(line))
            except BaseException:  # noqa: BLE001  # a process of its own: told, and over
                traceback.print_exc()
            os._exit(1)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
