"""Cases: their logs, the rows projected from them, and the questions asked of them."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from serve.cases.events import Draft, Event, Kind, canonical, chain
from serve.cases.ground import cell_of
from serve.cases.lifecycle import Case, Stage, fold
from serve.errors import NotFoundError
from serve.store import grid
from serve.store.database import Database, Desk
from serve.store.tables import cases, events, jurisdictions, patrols, sightings, views

_BATCH = 500


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One row of the cases; the columns are explained in `tables.py`."""

    id: str
    jurisdiction: str
    class_name: str
    matter_code: str
    matter_name: str
    stage: str
    score: float
    longitude_deg: float
    latitude_deg: float
    error_radius_m: float
    cell: int
    first_seen: datetime
    last_seen: datetime
    sightings: int
    opened_by: str
    model: str | None
    grid_id: str | None
    unit: str | None
    due_at: datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """What a list of cases is restricted to. `bbox`: west, south, east, north in degrees; `near`: longitude and
    latitude in degrees and a radius in metres; `after`: the (first_seen, id) that the page before ended with."""

    class_names: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    bbox: tuple[float, float, float, float] | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_score: float | None = None
    near: tuple[float, float, float] | None = None
    after: tuple[datetime, str] | None = None


def take_turn(desk: Desk) -> None:
    """Wait until no other transaction is fitting a patrol into this jurisdiction's books."""
    took = desk.connection.execute(
        jurisdictions.update()
        .where(jurisdictions.c.code == desk.jurisdiction)
        .values(merges=jurisdictions.c.merges + 1)
    )
    if took.rowcount:
        return
    try:
        with desk.connection.begin_nested():
            desk.connection.execute(jurisdictions.insert().values(code=desk.jurisdiction, merges=1))
    except sa.exc.IntegrityError:
        # Another transaction was first to make the row: wait for it like everybody else.
        take_turn(desk)


def _mine(desk: Desk) -> sa.ColumnElement[bool]:
    """That a case is of the caller's jurisdiction, said so that no database looks cases up by it: one jurisdiction may
    be the whole table, and without statistics SQLite would read all of it to find a few."""
    return _in_area(desk, cases.c.jurisdiction.concat("") == desk.jurisdiction)


def in_reach(desk: Desk) -> sa.ColumnElement[bool]:
    """That a case is within the caller's reach. One that lies in no grid cell is nobody's but the whole
    jurisdiction's."""
    return _in_area(desk, cases.c.jurisdiction == desk.jurisdiction)


def only_reached(desk: Desk, case_id: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """The same for a table that names cases: true of everything for a caller who is bound to no area."""
    return case_id.in_(sa.select(cases.c.id).where(in_reach(desk))) if desk.reach.area else sa.true()


def _in_area(desk: Desk, found: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return found & cases.c.grid_id.startswith(desk.reach.area, autoescape=True) if desk.reach.area else found


def log_of(desk: Desk, case_id: str) -> list[Event]:
    """The case's events, first to last. Raises NotFoundError when there is no such case in this jurisdiction."""
    get(desk, case_id)
    return _logs(desk, [case_id])[case_id]


def _logs(desk: Desk, case_ids: Iterable[str]) -> dict[str, list[Event]]:
    logs: defaultdict[str, list[Event]] = defaultdict(list)
    wanted = sorted(set(case_ids))
    for start in range(0, len(wanted), _BATCH):
        rows = desk.connection.execute(
            sa.select(events)
            .join(cases, cases.c.id == events.c.case_id)
            .where(_mine(desk), events.c.case_id.in_(wanted[start : start + _BATCH]))
            .order_by(events.c.case_id, events.c.seq)
        )
        for row in rows:
            values = dict(row._mapping)
            event = Event(**{**values, "kind": Kind(values["kind"]), "data": json.loads(values["data"])})
            logs[row.case_id].append(event)
    return logs


def books(desk: Desk, cells: set[int], case_ids: Iterable[str], patrol_id: str) -> list[Case]:
    """The cases in these cells, those named, and those that the patrol had a part or a view in."""
    wanted = set(case_ids)
    ordered = sorted(cells)
    for start in range(0, len(ordered), _BATCH):
        near = sa.select(cases.c.id).where(
            _mine(desk), cases.c.cell.in_(ordered[start : start + _BATCH]), cases.c.stage != Stage.VOID.value
        )
        wanted |= set(desk.connection.scalars(near))
    wanted |= set(
        desk.connection.scalars(
            sa.select(sightings.c.case_id).where(sightings.c.patrol_id == patrol_id, sightings.c.case_id.is_not(None))
        )
    )
    wanted |= set(desk.connection.scalars(sa.select(views.c.case_id).where(views.c.patrol_id == patrol_id)))
    return [fold(log) for log in _logs(desk, wanted).values()]


def append(desk: Desk, drafts: Sequence[Draft], recorded_at: datetime, models: dict[str, str | None]) -> None:
    """Append events to the logs of their cases and project the rows anew.

    `models`: by patrol, the model that saw it, for the cases that it opens.
    """
    logs = _logs(desk, {draft.case_id for draft in drafts})
    known = set(logs)
    fresh: defaultdict[str, list[Event]] = defaultdict(list)
    for draft in drafts:
        log = logs.setdefault(draft.case_id, [])
        event = chain(draft, log, recorded_at)
        log.append(event)
        fresh[draft.case_id].append(event)
    folded = {case_id: fold(logs[case_id]) for case_id in sorted(fresh)}
    changed: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    opened = []
    points = [(case.place.longitude_deg, case.place.latitude_deg) for case in folded.values()]
    for (case_id, case), cell in zip(folded.items(), grid.place_all(desk, points), strict=True):
        row = {**_projection(case), **cell}
        if case_id in known:
            changed[tuple(row)].append({"this_case": case_id, **row})
        else:
            model = models.get(case.seen[0].patrol_id) if case.seen else None
            opened.append({"id": case_id, "model": model, **row})
    for columns, rows in changed.items():
        update = cases.update().where(cases.c.id == sa.bindparam("this_case"))
        desk.connection.execute(update.values({name: sa.bindparam(name) for name in columns}), rows)
    if opened:
        desk.connection.execute(cases.insert(), opened)
    ids = list(folded)
    for start in range(0, len(ids), _BATCH):
        desk.connection.execute(views.delete().where(views.c.case_id.in_(ids[start : start + _BATCH])))
    seen_without = [{"case_id": case.id, "patrol_id": patrol} for case in folded.values() for patrol in case.unseen]
    if seen_without:
        desk.connection.execute(views.insert(), seen_without)
    entries = [_entry(event) for case_id in sorted(fresh) for event in fresh[case_id]]
    for start in range(0, len(entries), _BATCH):
        desk.connection.execute(events.insert(), entries[start : start + _BATCH])


def _projection(case: Case) -> dict[str, Any]:
    place = case.place
    row: dict[str, Any] = {
        "jurisdiction": case.jurisdiction,
        "class_name": case.class_name,
        "matter_code": case.matter_code,
        "matter_name": case.matter_name,
        "stage": case.stage.value,
        "score": case.score,
        "longitude_deg": place.longitude_deg,
        "latitude_deg": place.latitude_deg,
        "error_radius_m": place.error_radius_m,
        "cell": cell_of(place.longitude_deg, place.latitude_deg),
        "sightings": len(case.seen),
        "opened_by": case.opened_by,
        "version": case.version,
    }
    if case.seen:
        row |= {"first_seen": case.first_seen, "last_seen": case.last_seen}
    return row


def _entry(event: Event) -> dict[str, Any]:
    return {
        "case_id": event.case_id,
        "seq": event.seq,
        "kind": event.kind.value,
        "at": event.at,
        "recorded_at": event.recorded_at,
        "actor": event.actor,
        "reason": event.reason,
        "data": canonical(event.data),
        "previous": event.previous,
        "digest": event.digest,
    }


def get(desk: Desk, case_id: str) -> CaseRow:
    """The case. Raises NotFoundError when there is none, or when it is another jurisdiction's."""
    row = desk.connection.execute(sa.select(cases).where(cases.c.id == case_id, in_reach(desk))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no case {case_id!r}", remedy="GET /v1/cases lists those there are")
    return CaseRow(**row._mapping)


def search(desk: Desk, wanted: CaseFilter, limit: int) -> tuple[list[CaseRow], bool]:
    """The cases that match, last opened first, and whether there are more. Void ones only when asked for."""
    query = sa.select(cases).where(in_reach(desk), *_conditions(wanted))
    if wanted.after is not None:
        moment, case_id = wanted.after
        query = query.where(
            sa.or_(cases.c.first_seen < moment, sa.and_(cases.c.first_seen == moment, cases.c.id > case_id))
        )
    rows = desk.connection.execute(query.order_by(cases.c.first_seen.desc(), cases.c.id).limit(limit + 1)).all()
    return [CaseRow(**row._mapping) for row in rows[:limit]], len(rows) > limit


def _conditions(wanted: CaseFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    found.append(cases.c.stage.in_(wanted.stages) if wanted.stages else cases.c.stage != Stage.VOID.value)
    if wanted.class_names:
        found.append(cases.c.class_name.in_(wanted.class_names))
    if wanted.min_score is not None:
        found.append(cases.c.score >= wanted.min_score)
    if wanted.since is not None:
        found.append(cases.c.last_seen >= wanted.since)
    if wanted.until is not None:
        found.append(cases.c.first_seen <= wanted.until)
    if wanted.bbox is not None:
        found += _within(*wanted.bbox)
    if wanted.near is not None:
        lon, lat, radius_m = wanted.near
        per_lat, per_lon = 111_320.0, 111_320.0 * max(math.cos(math.radians(lat)), 1e-6)
        found += _within(
            lon - radius_m / per_lon, lat - radius_m / per_lat, lon + radius_m / per_lon, lat + radius_m / per_lat
        )
        east = (cases.c.longitude_deg - lon) * per_lon
        north = (cases.c.latitude_deg - lat) * per_lat
        found.append(east * east + north * north <= radius_m * radius_m)
    return found


def _within(west: float, south: float, east: float, north: float) -> list[sa.ColumnElement[bool]]:
    return [cases.c.latitude_deg.between(south, north), cases.c.longitude_deg.between(west, east)]


def tally_of(desk: Desk, patrol_id: str) -> dict[str, int]:
    """What a patrol did to the books: cases it opened, joined, and saw well without the thing (`verified`)."""
    rows = desk.connection.execute(
        sa.select(sightings.c.id, cases.c.opened_by)
        .join(cases, cases.c.id == sightings.c.case_id)
        .where(sightings.c.patrol_id == patrol_id, cases.c.jurisdiction == desk.jurisdiction)
    ).all()
    opened = sum(row.id == row.opened_by for row in rows)
    seen_without = desk.connection.scalar(
        sa.select(sa.func.count())
        .select_from(views.join(cases, cases.c.id == views.c.case_id))
        .where(views.c.patrol_id == patrol_id, cases.c.jurisdiction == desk.jurisdiction)
    )
    return {"opened": opened, "joined": len(rows) - opened, "verified": int(seen_without or 0)}


def count_sightings(desk: Desk, patrol_id: str) -> int:
    """How many sightings a patrol has."""
    query = (
        sa.select(sa.func.count())
        .select_from(sightings.join(patrols, patrols.c.id == sightings.c.patrol_id))
        .where(sightings.c.patrol_id == patrol_id, patrols.c.jurisdiction == desk.jurisdiction)
    )
    return int(desk.connection.scalar(query) or 0)


def sightings_of_patrol(desk: Desk, patrol_id: str) -> list[dict[str, Any]]:
    """The patrol's sightings in the order of time, each with its case or why it has none."""
    rows = desk.connection.execute(
        sa.select(sightings)
        .join(patrols, patrols.c.id == sightings.c.patrol_id)
        .where(sightings.c.patrol_id == patrol_id, patrols.c.jurisdiction == desk.jurisdiction)
        .order_by(sightings.c.first_seen, sightings.c.id)
    )
    return [dict(row._mapping) for row in rows]


def counts_by_stage(database: Database) -> dict[str, int]:
    """How many cases are in each stage, over all jurisdictions: for the metrics."""
    with database.reading("") as desk:
        rows = desk.connection.execute(sa.select(cases.c.stage, sa.func.count()).group_by(cases.c.stage))
        return {stage: int(count) for stage, count in rows}
