"""Upgrading with work in flight: what an older version took in, had queued and had in work, the newer one finishes."""

from __future__ import annotations

import hashlib
import http.client
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa

from serve.intake.client import LocalFile, Vehicle
from serve.store.database import MIGRATIONS, Database
from serve.store.tables import cases, patrols, uploads
from tests.postgres_support import MISSING, cluster
from tests.process_support import PATIENCE_S, free_port, kill, server, spawn
from tests.serve_support import START, manifest, picture, thing

PATROLS = 3
# The tables of the version that is upgraded from; younger ones are taken away again before the new version starts.
OLD = "0005"


def _media(folder: Path, number: int) -> list[LocalFile]:
    """Two pictures of a thing each, slow enough to be caught in work."""
    found = []
    for index in range(2):
        path = folder / f"{number}-{index}.jpg"
        said = picture(thing(at_m=100.0 * (2 * number + index)), name=f"{number} {index}")
        path.write_bytes(said.replace(b'"name"', b'"sleep_s": 1.5, "name"'))
        found.append(LocalFile(path, "media"))
    return found


def _half(port: int, data: bytes) -> str:
    """Announce one more patrol and send half of its file; gives the upload's address."""
    vehicle = Vehicle(f"http://127.0.0.1:{port}", "half")
    announced = vehicle.ask("POST", "/v1/patrols", manifest({"h.jpg": data}, vehicle="half"))
    url, offset = vehicle._begin(announced["id"], Path("h.jpg"), hashlib.sha256(data).hexdigest(), len(data), 0)
    assert offset == 0
    assert _patch(port, url, 0, data[: len(data) // 2]) == (204, len(data) // 2)
    return url


def _patch(port: int, url: str, offset: int, data: bytes) -> tuple[int, int]:
    """Send a chunk; gives status and offset."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {
        "Tus-Resumable": "1.0.0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
    }
    connection.request("PATCH", url, data, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, int(answer.headers["Upload-Offset"])


def _states(books: Database) -> dict[str, str]:
    with books.reading("000000") as desk:
        rows = desk.connection.execute(sa.select(patrols.c.id, patrols.c.state))
        return {row.id: row.state for row in rows}


def _until(books: Database, wanted: Any) -> dict[str, str]:
    deadline = time.monotonic() + PATIENCE_S
    while not wanted(states := _states(books)):
        assert time.monotonic() < deadline, states
        time.sleep(0.05)
    return states


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_what_was_in_flight_is_finished_once(tmp_path: Path, engine: str) -> None:
    """One patrol in work, others queued, one file half there; the processes die, the tables are those of an older
    version: the new version brings them up to date, finishes everything, and each thing is one case."""
    if engine == "postgresql" and MISSING:
        pytest.skip(MISSING)
    data = tmp_path / "data"
    with cluster("books", "jobs") if engine == "postgresql" else nullcontext() as postgres:
        more: dict[str, Any] = {}
        if postgres is not None:
            more = {"database_url": postgres.url("books"), "jobs_url": postgres.url("jobs")}
        url = str(more.get("database_url", f"sqlite:///{data / 'jiejing.sqlite'}"))
        last = picture(thing(at_m=100.0 * 2 * PATROLS), name="half " + "x" * 1000)
        port = free_port()
        with server(data, port, "intake", **more):
            vehicle = Vehicle(f"http://127.0.0.1:{port}", "v")
            for number in range(PATROLS):
                vehicle.upload(START - timedelta(hours=number), _media(tmp_path, number))
            half = _half(port, last)
            books = Database(url)
            worker = spawn("worker", {"data": data, **more})
            try:
                _until(books, lambda found: "processing" in found.values())
            finally:
                kill(worker)
        assert sorted(_states(books).values()) == ["processing", "queued", "queued", "receiving"]
        _downgrade(books)
        books.close()
        with server(data, port, "intake", **more):
            worker = spawn("worker", {"data": data, **more})
            books = Database(url)
            try:
                assert _patch(port, half, len(last) // 2, last[len(last) // 2 :]) == (204, len(last))
                states = _until(books, lambda found: set(found.values()) == {"done"})
            finally:
                kill(worker)
        assert len(states) == PATROLS + 1
        with books.reading("000000") as desk:
            found = desk.connection.execute(sa.select(cases.c.longitude_deg, cases.c.sightings)).all()
            unfinished = desk.connection.scalar(
                sa.select(sa.func.count()).select_from(uploads).where(uploads.c.finished_at.is_(None))
            )
        books.close()
        assert len({round(row.longitude_deg, 6) for row in found}) == len(found) == 2 * PATROLS + 1
        assert {row.sightings for row in found} == {1}
        assert unfinished == 0


def _downgrade(books: Database) -> None:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with books.engine.connect().execution_options(jiejing_write=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, OLD)
        assert not sa.inspect(connection).has_table("grid_cells")
