"""Real processes for the tests: servers and workers that can be killed, and a connection that can be cut.

`python -m tests.process_support server|worker '{settings}'` is what runs in them; the stand-ins of `serve_support` do
the seeing.
"""

from __future__ import annotations

import contextlib
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


def spawn(role: str, settings: dict[str, Any], **environment: str) -> subprocess.Popen[bytes]:
    """Start a server or a worker."""
    said = json.dumps({name: str(value) for name, value in settings.items()})
    command = [sys.executable, "-m", "tests.process_support", role, said]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment})


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9, and wait until it is dead."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def until_ready(process: subprocess.Popen[bytes], port: int) -> None:
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
def server(folder: Path, port: int, role: str = "server", **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
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


def main(role: str, said: str) -> None:
    """What runs in the process."""
    from serve.app import create_app, start_engine
    from serve.server import configure_logs, listen, run
    from serve.settings import Settings
    from tests.serve_support import no_path, run_fake

    settings = Settings(**json.loads(said), _env_file=None)
    configure_logs(quiet=True)
    if role == "worker":
        start_engine(settings, runner=run_fake, path_reader=no_path)
        while True:
            time.sleep(3600)
    app = create_app(settings, works=role == "server", runner=run_fake, path_reader=no_path)
    run(app, listen(settings.host, settings.port))


if __name__ == "__main__":
    main(*sys.argv[1:3])
