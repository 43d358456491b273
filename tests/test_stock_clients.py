"""The upload protocol as others speak it: tuspy and tus-js-client as published, against a real server process, whole
and with connections cut at random bytes and the server killed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serve.intake import client
from serve.intake.client import CHUNK_BYTES, LocalFile, Vehicle
from serve.store.blobs import ORIGINALS
from tests.process_support import PATIENCE_S, CuttingProxy, Process, free_port, kill, server, spawn, until_ready
from tests.serve_support import START

tusclient = pytest.importorskip("tusclient.client", reason="tuspy is not installed: pip install -e .[dev]")
from tusclient.exceptions import TusCommunicationError, TusUploadFailed  # noqa: E402
from tusclient.storage.filestorage import FileStorage  # noqa: E402

# The proof of docs/experiments.md asks for 300: JIEJING_CUT_UPLOADS=300 pytest tests/test_stock_clients.py
COUNT = int(os.environ.get("JIEJING_CUT_UPLOADS", "10"))
SEED = int(os.environ.get("JIEJING_SEED", "3"))
CHUNK = 50_000
JS = Path(__file__).parent / "tus"
NODE = shutil.which("node")
HAS_JS = NODE is not None and (JS / "node_modules/tus-js-client").is_dir()
# Head of one request, generously.
HEAD_BYTES = 1500


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port, and no long pauses of our own client."""
    monkeypatch.setattr(client, "_LONGEST_PAUSE_S", 0.5)
    return free_port()


def _files(folder: Path, count: int, seed: int, most: int = 4 * CHUNK) -> dict[str, Path]:
    """Random files by hash."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    made = {}
    for number in range(count):
        data = rng.randbytes(rng.randrange(most // 4, most))
        path = folder / f"{number}.jpg"
        path.write_bytes(data)
        made[hashlib.sha256(data).hexdigest()] = path
    return made


def _announce(port: int, files: dict[str, Path]) -> str:
    entries = [
        {"name": path.name, "kind": "media", "size": path.stat().st_size, "sha256": sha256}
        for sha256, path in files.items()
    ]
    said = {"vehicle": "v1", "started_at": START.isoformat(), "files": entries}
    return str(Vehicle(f"http://127.0.0.1:{port}", "v1").ask("POST", "/v1/patrols", said)["id"])


def _arrived(data: Path, patrol: str, files: dict[str, Path]) -> None:
    """Every file lies under its hash, byte by byte."""
    for sha256, path in files.items():
        assert (data / "files" / ORIGINALS / patrol / sha256).read_bytes() == path.read_bytes()


def send_tuspy(url: str, patrol: str, files: dict[str, Path], folder: Path, *, checksum: bool = False) -> None:
    """Send with tuspy until everything is there, as a program does that starts again after each failure."""
    stock = tusclient.TusClient(url)
    storage = FileStorage(str(folder / "tuspy.json"))
    for sha256, path in files.items():
        for _ in range(200):
            try:
                about = {"patrol": patrol, "sha256": sha256, "filename": path.name}
                uploader = stock.uploader(
                    str(path),
                    chunk_size=CHUNK,
                    metadata=about,
                    retries=3,
                    retry_delay=0.2,
                    store_url=True,
                    url_storage=storage,
                    upload_checksum=checksum,
                )
                uploader.upload()
                break
            except (TusCommunicationError, TusUploadFailed):
                time.sleep(0.1)
        else:
            raise AssertionError(f"{path} never arrived")


def send_js(url: str, patrol: str, files: dict[str, Path], folder: Path, *, creation: bool = False) -> None:
    """Send with tus-js-client, started again until everything is there."""
    waiting = dict(files)
    for _ in range(50):
        asked = {
            "endpoint": url,
            "chunkSize": CHUNK,
            "creation": creation,
            "tries": 20,
            "storage": str(folder / "tus-js.json"),
            "files": [
                {"path": str(path), "metadata": {"patrol": patrol, "sha256": sha256, "filename": path.name}}
                for sha256, path in waiting.items()
            ],
        }
        assert NODE is not None
        done = subprocess.run([NODE, "send.mjs", json.dumps(asked)], cwd=JS, capture_output=True, text=True, check=True)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        failed = {one["path"] for one in told if "error" in one}
        waiting = {sha256: path for sha256, path in waiting.items() if str(path) in failed}
        if not waiting:
            return
    raise AssertionError(f"never arrived: {told}")


def send_own(url: str, patrol: str, files: dict[str, Path], folder: Path) -> None:
    """Send with the client that comes with the server."""
    vehicle = Vehicle(url.removesuffix("/v1/uploads"), "v1", patience_s=PATIENCE_S)
    assert vehicle.upload(START, [LocalFile(path, "media") for path in files.values()]) == patrol


Sender = Callable[..., None]
SENDERS = [
    pytest.param(send_tuspy, id="tuspy"),
    pytest.param(
        send_js, id="tus-js", marks=pytest.mark.skipif(not HAS_JS, reason="npm ci in tests/tus installs tus-js-client")
    ),
    pytest.param(send_own, id="own"),
]


@pytest.mark.slow
@pytest.mark.parametrize("send", SENDERS)
def test_files_arrive_byte_by_byte(tmp_path: Path, port: int, send: Sender) -> None:
    """In several chunks each, with the client's defaults and its options; the patrol is then processed."""
    files = _files(tmp_path / "pass", 4, seed=1)
    options: dict[Any, list[dict[str, bool]]] = {send_tuspy: [{"checksum": True}], send_js: [{"creation": True}]}
    with server(tmp_path / "data", port, max_open_uploads=4):
        patrol = _announce(port, files)
        first, *rest = files.items()
        url = f"http://127.0.0.1:{port}/v1/uploads"
        if send is not send_own:
            send(url, patrol, dict([first]), tmp_path)
        send(url, patrol, dict(rest if send is not send_own else files.items()), tmp_path, **options.get(send, [{}])[0])
        _arrived(tmp_path / "data", patrol, files)
        assert Vehicle(f"http://127.0.0.1:{port}", "v1").wait(patrol)["state"] in ("done", "failed")


@pytest.mark.slow
@pytest.mark.parametrize("send", SENDERS)
def test_cuts_and_kills_cost_at_most_a_chunk_each(tmp_path: Path, port: int, send: Sender) -> None:
    """Connections break after a random number of bytes, the server is killed now and then: every file arrives byte by
    byte, and for each cut or kill at most one chunk is sent again."""
    count = COUNT // 2
    files = _files(tmp_path / "pass", count, seed=SEED)
    data = tmp_path / "data"
    proxy = CuttingProxy(port, cuts=2 * count, most_bytes=2 * CHUNK, seed=SEED)
    kills = 0
    with _killed_now_and_then(data, port, every_s=2.0) as killed:
        patrol = _announce(port, files)
        send(f"http://127.0.0.1:{proxy.port}/v1/uploads", patrol, files, tmp_path)
        kills = killed()
    proxy.close()
    _arrived(data, patrol, files)
    size = sum(path.stat().st_size for path in files.values())
    chunk = CHUNK if send is not send_own else min(CHUNK_BYTES, 4 * CHUNK)
    requests = size // CHUNK + 3 * len(files) + 3 * (proxy.cuts_done + kills)
    again = proxy.sent_bytes - size - requests * HEAD_BYTES
    print(f"{len(files)} files, {size} bytes, {proxy.cuts_done} cuts, {kills} kills, {proxy.sent_bytes} sent")  # noqa: T201
    assert proxy.cuts_done >= max(1, count // 2)
    assert again <= (proxy.cuts_done + kills) * chunk


class _Killer:
    """Kills the server and starts it again, while a test sends."""

    def __init__(self, data: Path, port: int, every_s: float) -> None:
        self._data, self._port, self._every_s = data, port, every_s
        self._over = threading.Event()
        self._rng = random.Random(SEED)
        self.kills = 0
        self._process = self._start()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _start(self) -> Process:
        process = spawn("intake", {"data": self._data, "port": self._port})
        until_ready(process, self._port)
        return process

    def _run(self) -> None:
        while not self._over.wait(self._rng.uniform(0.2, 2 * self._every_s)):
            kill(self._process)
            self.kills += 1
            self._process = self._start()

    def close(self) -> None:
        """Stop killing, and end the server."""
        self._over.set()
        self._thread.join()
        kill(self._process)


@contextmanager
def _killed_now_and_then(data: Path, port: int, every_s: float) -> Iterator[Callable[[], int]]:
    killer = _Killer(data, port, every_s)
    try:
        yield lambda: killer.kills
    finally:
        killer.close()
