"""What merging a sighting costs with a thousand to a million open cases.

    python bench/merge.py [--most 1000000] [--rounds 7] [--json]

A city of streets 100 m apart holds 40 open cases a kilometre, each with the log that opened it. In each round a patrol
of 2.5 km somewhere in it sees its 100 cases again and ten new things, and looks at the ground every four metres; it is
fitted into the books as the server does it: cells looked up, logs read and folded, all sightings assigned, looks
compared, events chained and written, rows projected, committed to SQLite with full sync. The median round is reported
per sighting; `rules` is the part of `serve.cases` alone.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from serve.cases.events import FIRST_LINK, Event, Kind, canonical, chain
from serve.cases.events import Draft as CaseDraft
from serve.cases.ground import cell_of, from_plane
from serve.cases.lifecycle import Stage, sighting_data
from serve.cases.matters import read_matters
from serve.cases.merge import absorb
from serve.cases.values import Look, Place, Sighting, stable_id
from serve.jobs import books as fitting
from serve.jobs.books import fit
from serve.store.database import Database, Desk
from serve.store.tables import cases, events

LON, LAT = 120.3, 31.57
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SPACING_M, STREETS_M, STREET_LENGTH = 25.0, 100.0, 1000
SEEN_AGAIN, NEW = 100, 10
JURISDICTION = "320200"
MATTERS = read_matters()
CLOCK = time.perf_counter


class _UndoError(Exception):
    """Takes a measured round back, so that the next finds the same books."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds per sighting, median over rounds: all of it, and the rules alone."""

    open_cases: int
    total_ms: float
    rules_ms: float


def place(east_m: float, north_m: float) -> Place:
    """A place as a consumer receiver gives it."""
    lon, lat = from_plane(LON, LAT, east_m, north_m)
    return Place(lon, lat, (2.4, 0.0, 2.4), 3.0)


def home(number: int) -> tuple[float, float]:
    """Where case `number` stands: along streets of `STREET_LENGTH` cases."""
    street, along = divmod(number, STREET_LENGTH)
    return along * SPACING_M, street * STREETS_M


def sighting(patrol: str, key: int, east_m: float, north_m: float, seen: datetime) -> Sighting:
    """One bag of garbage."""
    return Sighting(
        id=stable_id("s", patrol, key),
        patrol_id=patrol,
        class_name="garbage",
        score=0.8,
        place=place(east_m, north_m),
        shared_sigma_m=1.5,
        frames=6,
        first_seen=seen,
        last_seen=seen + timedelta(seconds=1),
    )


def rows(first: int, last: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows of cases and of the events that opened them."""
    matter = MATTERS.of("garbage")
    named = {"code": matter.code, "name": matter.name, "kin": matter.kin}
    for number in range(first, last):
        east, north = home(number)
        one = sighting("p0", number, east, north, START)
        case_id = stable_id("c", JURISDICTION, one.id)
        data = sighting_data(one) | {"jurisdiction": JURISDICTION, "stage": "filed", "matter": named}
        event: Event = chain(CaseDraft(case_id, Kind.OPENED, START, "seen by a patrol", data), [], START)
        assert event.previous == FIRST_LINK
        yield (
            {
                "id": case_id,
                "jurisdiction": JURISDICTION,
                "class_name": "garbage",
                "matter_code": matter.code,
                "matter_name": matter.name,
                "stage": Stage.FILED.value,
                "score": one.score,
                "longitude_deg": one.place.longitude_deg,
                "latitude_deg": one.place.latitude_deg,
                "error_radius_m": one.place.error_radius_m,
                "cell": cell_of(one.place.longitude_deg, one.place.latitude_deg),
                "first_seen": one.first_seen,
                "last_seen": one.last_seen,
                "sightings": 1,
                "opened_by": one.id,
                "version": 1,
            },
            {
                "case_id": case_id,
                "seq": 1,
                "kind": event.kind.value,
                "at": event.at,
                "recorded_at": event.recorded_at,
                "actor": event.actor,
                "reason": event.reason,
                "data": canonical(event.data),
                "previous": event.previous,
                "digest": event.digest,
            },
        )


def fill(database: Database, first: int, last: int) -> None:
    """Put cases `first` to `last` into the books."""
    batch = 5000
    for start in range(first, last, batch):
        both = list(rows(start, min(start + batch, last)))
        with database.writing(JURISDICTION) as desk:
            desk.connection.execute(sa.insert(cases), [case for case, _ in both])
            desk.connection.execute(sa.insert(events), [event for _, event in both])


def patrol(name: str, first: int, chance: random.Random) -> tuple[list[Sighting], list[Look]]:
    """A drive past `SEEN_AGAIN` cases from number `first` on, a satellite error off."""
    off = chance.gauss(0, 1.5), chance.gauss(0, 1.5)
    begin = START + timedelta(days=1)
    east0, north0 = home(first)
    found = []
    for k in range(SEEN_AGAIN + NEW):
        east, north = (k * SPACING_M, 0.0) if k < SEEN_AGAIN else ((k - SEEN_AGAIN) * 10 * SPACING_M + 12.0, 14.0)
        seen = begin + timedelta(seconds=east / 8)
        at = east0 + east + off[0] + chance.gauss(0, 0.4), north0 + north + off[1] + chance.gauss(0, 0.4)
        found.append(sighting(name, k, *at, seen))
    looks = []
    for k in range(round(SEEN_AGAIN * SPACING_M / 4)):
        fan = [math.radians(-35 + 70 * i / 24) for i in range(25)]
        eye = east0 + 4.0 * k
        ring = [(eye + 3 * math.cos(a), north0 - 4 + 3 * math.sin(a)) for a in fan]
        ring += [(eye + 25 * math.cos(a), north0 - 4 + 25 * math.sin(a)) for a in reversed(fan)]
        lonlat = tuple(from_plane(LON, LAT, *point) for point in [*ring, ring[0]])
        looks.append(Look(name, begin + timedelta(seconds=k / 2), lonlat, 1.0))
    return found, looks


def measure(database: Database, open_cases: int, rounds: int) -> Cost:
    """The cost at this size; every round is taken back."""
    chance = random.Random(open_cases)
    in_rules: list[float] = []

    def timed_absorb(*args: Any, **kwargs: Any) -> Any:
        begin = CLOCK()
        outcome = absorb(*args, **kwargs)
        in_rules.append(CLOCK() - begin)
        return outcome

    fitting.absorb = timed_absorb
    total = []
    for number in range(rounds + 1):
        name = f"bench-{number}"
        street = chance.randrange(max(open_cases // STREET_LENGTH, 1))
        found, looks = patrol(name, street * STREET_LENGTH + chance.randrange(STREET_LENGTH - SEEN_AGAIN), chance)
        begin = CLOCK()
        try:
            with database.writing(JURISDICTION) as desk:
                outcome = fit(desk, name, found, looks, MATTERS, model=None, now=START, withdrawal="bench")
                total.append(CLOCK() - begin)
                _check(desk, outcome.case_of)
                raise _UndoError
        except _UndoError:
            pass
    fitting.absorb = absorb
    # The first round warms caches up.
    per = 1000 / (SEEN_AGAIN + NEW)
    return Cost(open_cases, statistics.median(total[1:]) * per, statistics.median(in_rules[1:]) * per)


def _check(desk: Desk, case_of: Any) -> None:
    count = desk.connection.scalar(sa.select(sa.func.count()).select_from(cases).where(cases.c.sightings == 2))
    if not (len(case_of) == SEEN_AGAIN + NEW and 0.9 * SEEN_AGAIN <= (count or 0) <= SEEN_AGAIN):
        raise RuntimeError(f"the patrol was merged wrongly: {len(case_of)} with a case, {count} joined")


def main() -> None:
    """Measure at growing sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'bench.sqlite'}")
        database.migrate()
        done, found = 0, []
        for size in (1_000, 10_000, 100_000, 1_000_000):
            if size <= args.most:
                fill(database, done, size)
                done = size
                found.append(measure(database, size, args.rounds))
        database.close()
    machine = f"{platform.machine()}, Python {platform.python_version()}, SQLite"
    if args.json:
        body = [{"open_cases": c.open_cases, "total_ms": c.total_ms, "rules_ms": c.rules_ms} for c in found]
        print(json.dumps({"machine": machine, "per_sighting": body}, indent=1))  # noqa: T201
        return
    print(f"{machine}; milliseconds per sighting, median of {args.rounds} patrols of {SEEN_AGAIN + NEW}")  # noqa: T201
    for cost in found:
        print(f"{cost.open_cases:>9} open cases   {cost.total_ms:6.3f} in all   {cost.rules_ms:6.3f} in the rules")  # noqa: T201


if __name__ == "__main__":
    main()
