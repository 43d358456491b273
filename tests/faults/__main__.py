"""`python -m tests.faults [EVERY]`: let each write, sync, rename, link and removal of the upload path fail once.

Once with EIO and once with ENOSPC, those of the database and the object store among them, with originals as they come
and encrypted; the vehicle goes on as the protocol says.

After each fault: what was acknowledged is there, offsets never fall behind what was told, no row is without its file,
and in the end the patrol is queued with every byte. Prints one line of JSON.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LIBRARY = "JIEJING_FAULTS"
MOST_TRIES = 12
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def _preloaded(every: int) -> int:
    """Build the shim and run this again with it."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "shim.so"
        command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "shim.c"), "-ldl"]
        subprocess.run(command, check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), LIBRARY: str(library)}
        return subprocess.run(
            [sys.executable, "-m", "tests.faults", str(every)], env=environment, check=False
        ).returncode


class Trial:
    """One vehicle, one patrol of one picture and a track, one fault."""

    def __init__(self, folder: Path, key: str | None) -> None:
        from fastapi.testclient import TestClient

        from serve.app import create_app
        from serve.settings import Settings
        from tests.serve_support import TRACK, InlineJobs, manifest, no_path, picture, run_fake, thing

        self.folder = folder
        self.files = {"a.jpg": picture(thing(), name="x" * 5000), "track.csv": TRACK}
        self.manifest = manifest(self.files)
        settings = Settings(data=folder, originals_key=key, _env_file=None)
        app = create_app(settings, runner=run_fake, path_reader=no_path, jobs=lambda _s, _w: InlineJobs(None))
        self.client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=True)
        self.answers: Counter[int] = Counter()
        self.told: dict[str, int] = {}

    def ask(self, method: str, url: str, **more: Any) -> Any:
        """One request; every answer is counted."""
        answer = self.client.request(method, url, **more)
        self.answers[answer.status_code] += 1
        assert answer.status_code < 500 or "retry-after" in answer.headers, answer.text
        return answer

    def drive(self) -> None:
        """Announce and send, again and again until everything is there."""
        for _ in range(MOST_TRIES):
            said = self.ask("POST", "/v1/patrols", json=self.manifest)
            if said.is_success and not said.json()["missing"]:
                return
            if said.is_success:
                for sha256 in said.json()["missing"]:
                    self._send(said.json()["id"], sha256)
            self.check()
        raise AssertionError("never arrived")

    def _send(self, patrol: str, sha256: str) -> None:
        from tests.test_uploads import TUS, metadata

        data = next(one for one in self.files.values() if hashlib.sha256(one).hexdigest() == sha256)
        about = {**metadata(patrol=patrol, sha256=sha256), "Upload-Length": str(len(data))}
        made = self.ask("POST", "/v1/uploads", headers={**TUS, **about, "Idempotency-Key": sha256})
        if not made.is_success:
            return
        url, offset = made.headers["location"], int(made.headers["upload-offset"])
        half = len(data) // 2
        for _ in range(MOST_TRIES):
            end = half if offset < half else len(data)
            chunk = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
            answer = self.ask("PATCH", url, headers={**TUS, **chunk}, content=data[offset:end])
            if answer.status_code == 204:
                offset = self.told[url] = int(answer.headers["upload-offset"])
            else:
                asked = self.ask("HEAD", url, headers=TUS)
                if asked.status_code == 404:
                    return
                if asked.is_success:
                    offset = int(asked.headers["upload-offset"])
                    assert offset >= self.told.get(url, 0), "what was acknowledged is gone"
            if offset == len(data):
                return

    def check(self) -> None:
        """No row without its file: neither an upload nor a file that has arrived."""
        from serve.store.tables import files, uploads

        database = self.client.app.state.context.database  # type: ignore[attr-defined]
        with database.reading("000000") as desk:
            for row in desk.connection.execute(uploads.select().where(uploads.c.finished_at.is_(None))):
                spooled = self.folder / "files/incoming" / row.id
                settled = self.folder / "files/originals" / row.patrol_id / row.sha256
                assert spooled.is_file() or settled.is_file(), "an upload without its file"
            for row in desk.connection.execute(files.select().where(files.c.received_at.is_not(None))):
                kept = self._original(row.patrol_id, row.sha256)
                assert hashlib.sha256(kept).hexdigest() == row.sha256, "a file's row without its file"

    def _original(self, patrol: str, sha256: str) -> bytes:
        """The plain bytes of a file that has arrived."""
        from serve.store.blobs import ORIGINALS

        target = self.folder.with_name(f"laid-out-{self.folder.name}")  # out of reach of the faults
        self.client.app.state.context.blobs.lay_out(ORIGINALS, patrol, sha256, target)  # type: ignore[attr-defined]
        found = target.read_bytes()
        target.unlink()
        return found

    def finish(self) -> None:
        """Everything is there, byte by byte, and the patrol is queued once."""
        (listed,) = self.ask("GET", "/v1/patrols").json()["patrols"]
        assert listed["state"] == "queued"
        for data in self.files.values():
            assert self._original(listed["id"], hashlib.sha256(data).hexdigest()) == data
        self.check()


def main(every: int) -> int:
    """All faults, or each `every`th, one after the other."""
    from serve.server import configure_logs

    configure_logs(quiet=True)
    shim = ctypes.CDLL(os.environ[LIBRARY])
    shim.fault_what.restype = ctypes.c_char_p
    met: Counter[str] = Counter()
    answers: Counter[int] = Counter()
    trials = 0
    for code, key in itertools.product((errno.EIO, errno.ENOSPC), (None, KEY)):
        number = 0
        while True:
            folder = Path(tempfile.mkdtemp(prefix="jiejing-faults-"))
            trial = Trial(folder, key)
            with trial.client:
                shim.fault_arm(str(folder).encode(), number, code)
                try:
                    trial.drive()
                finally:
                    calls, what = shim.fault_disarm(), shim.fault_what().decode()
                trial.finish()
            shutil.rmtree(folder)
            if not what:
                break
            call, _, name = what.partition(" ")
            kind = "encrypted" if key else "plain"
            met[f"{kind}: {errno.errorcode[code]} {call} of the {'database' if 'sqlite' in name else 'files'}"] += 1
            answers += trial.answers
            trials, number = trials + 1, number + every
        assert calls > 50, "the shim did not meet the calls"
    sys.stdout.write(json.dumps({"faults": trials, "met": dict(sorted(met.items())), "answers": dict(answers)}) + "\n")
    return 0


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    sys.exit(main(wanted) if LIBRARY in os.environ else _preloaded(wanted))
