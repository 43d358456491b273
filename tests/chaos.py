"""Ingest while processes are killed: `make chaos`; `python -m tests.chaos --help` tells what can be chosen.

Vehicles send small patrols all the while; a server and workers, or the database, are killed at random moments. In the
end every acknowledged file must be there byte by byte, every patrol done, every thing one case, every log intact.
Prints one line of JSON; ends with 1 when anything is lost, doubled or still waiting.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from serve.cases.events import broken_link
from serve.intake import client
from serve.intake.client import LocalFile, Vehicle
from serve.store import cases
from serve.store.database import Database
from serve.store.tables import cases as cases_table
from serve.store.tables import files, patrols
from tests.postgres_support import Cluster, cluster
from tests.process_support import Process, free_port, kill, spawn, until_ready
from tests.serve_support import START, picture, thing

JURISDICTION = "000000"
SETTLED_WITHIN_S = 60.0
_VEHICLES = 3


@dataclass
class Fleet:
    """The processes under test."""

    data: Path
    settings: dict[str, Any]
    workers: int
    embedded: bool
    port: int = field(default_factory=free_port)
    server: Process | None = None
    at_work: list[Process] = field(default_factory=list)

    def start_server(self) -> None:
        """Start it, and wait until it answers."""
        role = "server" if self.embedded else "intake"
        self.server = spawn(role, {"data": self.data, "port": self.port, **self.settings})
        until_ready(self.server, self.port)

    def start_worker(self) -> Process:
        """Start one more."""
        return spawn("worker", {"data": self.data, **self.settings})

    def start(self) -> None:
        """Start all."""
        self.start_server()
        self.at_work = [self.start_worker() for _ in range(self.workers)]

    def close(self) -> None:
        """Kill all."""
        for process in [self.server, *self.at_work]:
            if process is not None:
                kill(process)


class Sender(threading.Thread):
    """One vehicle that sends one patrol after the other until it is told to stop; `acknowledged` holds what it was
    told is there: patrol id, and each file's hash and bytes. It has `ahead` patrols waiting at most, so that what waits
    in the end is stuck, and not only late on a busy machine; with 0 it never waits."""

    def __init__(self, number: int, port: int, folder: Path, sleep_s: float, ahead: int) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._folder = folder
        self._sleep_s = sleep_s
        self._ahead = ahead
        self._vehicle = Vehicle(f"http://127.0.0.1:{port}", f"v{number}", patience_s=600)
        self.over = threading.Event()
        self.acknowledged: dict[str, dict[str, bytes]] = {}
        self.things = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Send."""
        try:
            while not self.over.is_set():
                self._send(len(self.acknowledged))
        except BaseException as error:  # noqa: BLE001  # told by the main thread
            self.error = error

    def _send(self, number: int) -> None:
        folder = self._folder / f"v{self._number}-{number}"
        folder.mkdir()
        sent = {}
        for index in range(2):
            # Each thing stands at a place of its own: one case each, whatever is repeated.
            place = 40.0 * self.things + 1_000_000.0 * self._number
            self.things += 1
            said = picture(thing(at_m=place), name=f"{self._number} {number} {index} " + "x" * 60_000)
            said = said.replace(b'"name"', b'"sleep_s": %f, "name"' % self._sleep_s)
            (folder / f"{index}.jpg").write_bytes(said)
            sent[hashlib.sha256(said).hexdigest()] = said
        paths = [LocalFile(path, "media") for path in sorted(folder.iterdir())]
        patrol = self._vehicle.upload(START - timedelta(minutes=10 * number), paths)
        if number % 3 == 0:
            # A vehicle that did not hear the answer says everything again.
            assert self._vehicle.upload(START - timedelta(minutes=10 * number), paths) == patrol
        self.acknowledged[patrol] = sent
        if 0 < self._ahead <= number + 1:
            self._vehicle.wait(list(self.acknowledged)[-self._ahead], every_s=0.2)


def ingest(
    fleet: Fleet, *, ahead: int, kills: int, stops: int, every_s: float, seed: int, database: Cluster | None
) -> dict[str, Any]:
    """Run the whole thing; gives what was found."""
    rng = random.Random(seed)
    fleet.start()
    folder = fleet.data / "vehicles"
    folder.mkdir(parents=True)
    senders = [Sender(number, fleet.port, folder, 0.05, ahead) for number in range(_VEHICLES)]
    for sender in senders:
        sender.start()
    deeds = ["kill"] * kills + ["stop"] * stops
    rng.shuffle(deeds)
    killed: Counter[str] = Counter()
    began = time.monotonic()
    for deed in deeds:
        time.sleep(rng.uniform(0.1, 2 * every_s))
        if deed == "stop":
            assert database is not None
            database.stop_at_once()
            time.sleep(rng.uniform(0.0, 2.0))
            database.start()
            killed["database"] += 1
        elif fleet.at_work and (database is not None or rng.random() < 0.5):
            victim = rng.randrange(len(fleet.at_work))
            kill(fleet.at_work[victim])
            fleet.at_work[victim] = fleet.start_worker()
            killed["worker"] += 1
        else:
            assert fleet.server is not None
            kill(fleet.server)
            fleet.start_server()
            killed["server"] += 1
    for sender in senders:
        sender.over.set()
    for sender in senders:
        sender.join(timeout=900)
    failed = [repr(sender.error) for sender in senders if sender.error is not None or sender.is_alive()]
    url = fleet.settings.get("database_url", f"sqlite:///{fleet.data / 'jiejing.sqlite'}")
    books = Database(str(url))
    waiting = _waiting(books)
    settled_s = _settle(books)
    found = _audit(books, fleet.data, senders)
    books.close()
    return {
        "killed": dict(killed),
        "seconds": round(time.monotonic() - began),
        "vehicles_failed": failed,
        "waiting_at_the_end": waiting,
        "settled_after_s": settled_s,
        **found,
    }


def _settle(books: Database) -> float | None:
    """Seconds until nothing waits any more; None when that takes too long."""
    began = time.monotonic()
    while time.monotonic() - began < SETTLED_WITHIN_S:
        if not _waiting(books):
            return round(time.monotonic() - began, 1)
        time.sleep(0.5)
    return None


def _waiting(books: Database) -> int:
    """How many patrols wait or are in work."""
    with books.reading(JURISDICTION) as desk:
        wanted = patrols.c.state.in_(["queued", "processing"])
        return int(desk.connection.scalar(sa.select(sa.func.count()).select_from(patrols).where(wanted)) or 0)


def _audit(books: Database, data: Path, senders: Sequence[Sender]) -> dict[str, Any]:
    acknowledged = {patrol: sent for sender in senders for patrol, sent in sender.acknowledged.items()}
    lost = 0
    for patrol, sent in acknowledged.items():
        for sha256, content in sent.items():
            path = data / "files" / "originals" / patrol / sha256
            lost += not path.is_file() or path.read_bytes() != content
    with books.reading(JURISDICTION) as desk:
        states = Counter(desk.connection.scalars(sa.select(patrols.c.state)))
        known = set(desk.connection.scalars(sa.select(patrols.c.id)))
        keys = Counter(map(tuple, desk.connection.execute(sa.select(patrols.c.vehicle, patrols.c.started_at))))
        unreceived = desk.connection.scalar(
            sa.select(sa.func.count())
            .select_from(files.join(patrols, patrols.c.id == files.c.patrol_id))
            .where(files.c.received_at.is_(None), patrols.c.id.in_(acknowledged))
        )
        rows = desk.connection.execute(
            sa.select(cases_table.c.id, cases_table.c.longitude_deg, cases_table.c.stage, cases_table.c.sightings)
        ).all()
        broken = sum(broken_link(cases.log_of(desk, row.id)) is not None for row in rows)
        places = Counter(round(row.longitude_deg, 6) for row in rows)
        repeated = sum(row.sightings != 1 for row in rows)
        clean = True
        if desk.connection.dialect.name == "sqlite":
            clean = desk.connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
            clean &= not desk.connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return {
        "patrols": len(acknowledged),
        "files": sum(map(len, acknowledged.values())),
        "files_lost": lost + int(unreceived or 0),
        "patrols_lost": len(set(acknowledged) - known),
        "patrols_doubled": sum(count - 1 for count in keys.values()),
        "states": dict(states),
        "cases": len(rows),
        "cases_expected": sum(map(len, acknowledged.values())),
        "cases_doubled": sum(count - 1 for count in places.values()) + repeated,
        "logs_broken": broken,
        "integrity": clean,
    }


def is_right(found: dict[str, Any]) -> bool:
    """Whether nothing is lost, doubled or waiting."""
    return (
        not found["vehicles_failed"]
        and found["settled_after_s"] is not None
        and found["files_lost"] == found["patrols_lost"] == found["patrols_doubled"] == 0
        and found["cases_doubled"] == found["logs_broken"] == 0
        and found["cases"] >= found["cases_expected"]
        and found["integrity"]
        and set(found["states"]) <= {"done", "receiving"}
    )


def run(
    *,
    kills: int,
    stops: int = 0,
    workers: int = 1,
    postgres: bool = False,
    every_s: float = 1.5,
    ahead: int = 2,
    seed: int = 1,
) -> dict[str, Any]:
    """One run on a folder of its own."""
    client._LONGEST_PAUSE_S = 1.0
    # Killed at random, a patrol may well be hit more often than one that kills its worker by itself would be tried.
    settings: dict[str, Any] = {"max_attempts": 50}
    with contextlib.ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jiejing-chaos-")))
        database = None
        if postgres:
            database = stack.enter_context(cluster("books", "jobs"))
            settings |= {"database_url": database.url("books"), "jobs_url": database.url("jobs")}
        fleet = Fleet(data, settings, workers, embedded=not postgres)
        stack.callback(fleet.close)
        found = ingest(fleet, ahead=ahead, kills=kills, stops=stops, every_s=every_s, seed=seed, database=database)
        return {"postgres": postgres, "workers": workers, **found, "right": is_right(found)}


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--stops", type=int, default=0, help="Immediate stops of the database.")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--every", type=float, default=1.5, help="Mean seconds between kills.")
    parser.add_argument("--ahead", type=int, default=2, help="Patrols of one vehicle that wait at most; 0: any number.")
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args()
    found = run(
        kills=said.kills,
        stops=said.stops,
        workers=said.workers,
        postgres=said.postgres,
        every_s=said.every,
        ahead=said.ahead,
        seed=said.seed,
    )
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if found["right"] else 1


if __name__ == "__main__":
    sys.exit(main())
