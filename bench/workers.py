"""How much faster two workers are than one, each on a core of its own, with single-threaded inference on PostgreSQL.

    python bench/workers.py [--patrols 24] [--pictures 8] [--rounds 2] [--json]

A backlog of patrols (pictures of the sample patrol, each patrol with a vehicle of its own) is taken in by a server
without a worker. Then one real `jiejing worker`, bound to one core, or two, bound to a core each, work it off. Rate:
patrols a second between the moment when every worker has finished its first two and the last finish, so that starting
and loading the model do not count. Rounds of one and of two workers take turns; the median is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from serve.intake.client import LocalFile, Vehicle  # noqa: E402
from serve.store.database import Database  # noqa: E402
from serve.store.tables import patrols  # noqa: E402
from tests.postgres_support import MISSING, cluster  # noqa: E402
from tests.process_support import free_port, kill, until_ready  # noqa: E402
from vision.tracks.track import read_track  # noqa: E402

SAMPLE = ROOT / "datasets/sample-patrol"
SKIPPED = 2


def _spawn(environment: dict[str, str], core: int | None, *command: str) -> subprocess.Popen[bytes]:
    bound = [] if core is None else ["taskset", "--cpu-list", str(core)]
    return subprocess.Popen(
        [*bound, sys.executable, "jiejing.py", *command], cwd=ROOT, env={**os.environ, **environment}
    )


def measure(workers: int, patrol_count: int, pictures: int) -> float:
    """Patrols a second with so many workers."""
    with cluster("books", "jobs") as database, tempfile.TemporaryDirectory(prefix="jiejing-bench-") as folder:
        environment = {
            "JIEJING_DATA": folder,
            "JIEJING_DATABASE_URL": database.url("books"),
            "JIEJING_JOBS_URL": database.url("jobs"),
            "JIEJING_DETECTOR_THREADS": "1",
        }
        port = free_port()
        server = _spawn(environment, None, "serve", "--no-worker", "--port", str(port))
        at_work: list[subprocess.Popen[bytes]] = []
        books = Database(database.url("books"))
        try:
            until_ready(server, port)
            track = SAMPLE / "pass-1/track.csv"
            start = read_track(track).start
            assert start is not None
            files = [LocalFile(path, "media") for path in sorted((SAMPLE / "pass-1").glob("*.jpg"))[:pictures]]
            files.append(LocalFile(track, "track"))
            camera = json.loads((SAMPLE / "camera.json").read_text("utf-8"))
            for number in range(patrol_count):
                vehicle = Vehicle(f"http://127.0.0.1:{port}", f"v{number}")
                vehicle.upload(start + timedelta(milliseconds=number), files, camera=camera)
            kill(server)
            at_work = [_spawn(environment, core, "worker", "--name", f"w{core}") for core in range(workers)]
            return _rate(books, workers, patrol_count)
        finally:
            books.close()
            for process in [server, *at_work]:
                kill(process)


def _rate(books: Database, workers: int, patrol_count: int) -> float:
    while True:
        with books.reading("000000") as desk:
            rows = desk.connection.execute(sa.select(patrols.c.state, patrols.c.finished_at)).all()
        if all(row.state in ("done", "failed") for row in rows):
            break
        time.sleep(0.5)
    assert all(row.state == "done" for row in rows), "a patrol failed"
    finished = sorted(row.finished_at for row in rows)
    began = finished[SKIPPED * workers - 1]
    return (patrol_count - SKIPPED * workers) / (finished[-1] - began).total_seconds()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patrols", type=int, default=24)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    said = parser.parse_args()
    if MISSING is not None:
        sys.stderr.write(f"{MISSING}\n")
        return 1
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(said.rounds):
        for workers, found in rates.items():
            found.append(round(measure(workers, said.patrols, said.pictures), 3))
    one, two = (statistics.median(rates[count]) for count in (1, 2))
    found_all: dict[str, Any] = {"patrols_per_s": rates, "times_faster": round(two / one, 2)}
    if said.json:
        sys.stdout.write(json.dumps(found_all) + "\n")
    else:
        sys.stdout.write(f"one worker {one:.2f}, two workers {two:.2f} patrols/s: {two / one:.2f} times as fast\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
