"""A real server process: what was acknowledged is finished, whenever it was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import pytest

from serve.intake.client import LocalFile, UploadError, Vehicle
from tests.process_support import PATIENCE_S, free_port, kill, server, spawn
from tests.serve_support import START, picture, thing


def _patrol(folder: Path, *, pictures: int = 6, sleep_s: float = 0.0) -> list[LocalFile]:
    folder.mkdir(exist_ok=True)
    files = []
    for number in range(pictures):
        path = folder / f"{number}.jpg"
        said = picture(thing(at_m=20.0 * number), name=str(number))
        path.write_bytes(said.replace(b'"name"', b'"sleep_s": %f, "name"' % sleep_s))
        files.append(LocalFile(path, "media"))
    return files


@pytest.mark.slow
def test_a_killed_server_finishes_what_it_had_acknowledged(tmp_path: Path) -> None:
    """Killed in the midst of processing, again while it picks the work up, the third start ends it: each case once."""
    port = free_port()
    vehicle = Vehicle(f"http://127.0.0.1:{port}", "v1")
    files = _patrol(tmp_path / "pass", sleep_s=0.5)
    data = tmp_path / "data"
    with server(data, port) as process:
        patrol = vehicle.upload(START, files)
        _until_processing(vehicle, patrol)
        os.kill(process.pid, signal.SIGKILL)
    with server(data, port) as process:
        _until_processing(vehicle, patrol)
        os.kill(process.pid, signal.SIGKILL)
    with server(data, port):
        report = vehicle.wait(patrol)
        assert report["state"] == "done"
        assert report["cases"]["opened"] == 6
        assert len(vehicle.cases()) == 6
        assert vehicle.upload(START, files) == patrol
        assert len(vehicle.cases()) == 6


@pytest.mark.slow
def test_a_server_that_is_asked_to_stop_gives_its_work_back(tmp_path: Path) -> None:
    """SIGTERM in the midst of processing ends the process and gives the patrol back; the next start does it."""
    port = free_port()
    vehicle = Vehicle(f"http://127.0.0.1:{port}", "v1")
    files = _patrol(tmp_path / "pass", pictures=12, sleep_s=0.3)
    data = tmp_path / "data"
    with server(data, port) as process:
        patrol = vehicle.upload(START, files)
        _until_processing(vehicle, patrol)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE_S)
    with contextlib.closing(sqlite3.connect(data / "jiejing.sqlite")) as books:
        assert books.execute("SELECT state, attempts, handbacks FROM patrols").fetchall() == [("queued", 0, 1)]
    with server(data, port):
        assert vehicle.wait(patrol)["state"] == "done"
        assert len(vehicle.cases()) == 12


@pytest.mark.slow
def test_a_real_vehicle_sends_two_passes(tmp_path: Path) -> None:
    """Over real HTTP through the durable queue: the second pass joins, progress is told, and all cases are listed."""
    port = free_port()
    vehicle = Vehicle(f"http://127.0.0.1:{port}", "v1")
    files = _patrol(tmp_path / "pass")
    told: list[tuple[int, int]] = []
    with server(tmp_path / "data", port):
        first = vehicle.upload(START, files, progress=lambda done, total: told.append((done, total)))
        assert vehicle.wait(first)["cases"]["opened"] == 6
        second = vehicle.upload(START + timedelta(days=1), files)
        assert vehicle.wait(second)["cases"] == {"opened": 0, "joined": 6, "verified": 0}
        assert {case["properties"]["sightings"] for case in vehicle.cases()} == {2}
    assert told[-1][0] == told[-1][1] == sum(file.path.stat().st_size for file in files)


@pytest.mark.slow
def test_a_worker_of_its_own_does_what_a_server_takes_in(tmp_path: Path) -> None:
    """A server that only takes uploads queues them; a worker process on the same data does them, also when killed."""
    port = free_port()
    vehicle = Vehicle(f"http://127.0.0.1:{port}", "v1")
    files = _patrol(tmp_path / "pass", sleep_s=0.3)
    data = tmp_path / "data"
    with server(data, port, "intake"):
        patrol = vehicle.upload(START, files)
        time.sleep(1)
        assert vehicle.report(patrol)["state"] == "queued"
        worker = spawn("worker", {"data": data})
        try:
            _until_processing(vehicle, patrol)
            kill(worker)
            worker = spawn("worker", {"data": data})
            assert vehicle.wait(patrol)["cases"]["opened"] == 6
        finally:
            kill(worker)


def test_a_server_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    """The vehicle's side names the server and the remedy."""
    with pytest.raises(UploadError, match="cannot be reached"):
        Vehicle(f"http://127.0.0.1:{free_port()}", "v1").report("p1")
    with pytest.raises(UploadError, match="no server"):
        Vehicle("ftp://x", "v1")


def _until_processing(vehicle: Vehicle, patrol: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not 0 < (report := vehicle.report(patrol))["frames"]["read"] < len(report["missing"]) + 100:
        assert report["state"] in ("queued", "processing"), report
        assert time.monotonic() < deadline
        time.sleep(0.05)
