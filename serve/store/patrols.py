"""Patrols and their files: announced, received, queued, processed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from serve.cases.values import stable_id
from serve.errors import ConflictError, NotAllowedError, NotFoundError
from serve.store.database import Database, Desk
from serve.store.tables import faults, files, patrols


class State(StrEnum):
    """How far a patrol has come."""

    RECEIVING = "receiving"
    QUEUED = "queued"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One announced file. `kind`: media, track or telemetry; `size` in bytes; `sha256` in lower-case hex."""

    name: str
    kind: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a vehicle says that it will send. `camera`: the camera file's content, or None."""

    vehicle: str
    started_at: datetime
    camera: dict[str, Any] | None
    files: tuple[FileEntry, ...]

    @property
    def manifest_sha256(self) -> str:
        """One hash over all that was announced, whatever the order of the files."""
        entries = sorted((entry.name, entry.kind, entry.size, entry.sha256) for entry in self.files)
        text = json.dumps([self.camera, entries], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Patrol:
    """One row of the patrols; the columns are explained in `tables.py`."""

    id: str
    jurisdiction: str
    vehicle: str
    started_at: datetime
    camera: str | None
    manifest_sha256: str
    state: State
    generation: int
    attempts: int
    handbacks: int
    retry_at: datetime | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None
    originals_deleted_at: datetime | None
    model: str | None
    frames_total: int
    frames_read: int
    frames_judged: int
    frames_skipped: int
    assumptions: list[str]
    path: list[list[float]]


def _patrol(row: sa.Row[Any]) -> Patrol:
    values = dict(row._mapping)
    return Patrol(**{**values, "state": State(values["state"])})


def mine(desk: Desk) -> sa.ColumnElement[bool]:
    """That a patrol is within the caller's reach. Patrols cross areas: who is bound to one reaches none."""
    found = patrols.c.jurisdiction == desk.jurisdiction
    if desk.reach.area:
        found &= sa.false()
    if desk.reach.vehicle is not None:
        found &= patrols.c.vehicle == desk.reach.vehicle
    return found


def announce(desk: Desk, said: Announcement, now: datetime) -> tuple[Patrol, bool]:
    """The patrol of (vehicle, started_at) and whether it is new.

    Raises ConflictError when it is known with other files or another camera, NotAllowedError when the caller may
    not speak for this vehicle.
    """
    if desk.reach.area or desk.reach.vehicle not in (None, said.vehicle):
        raise NotAllowedError(
            f"this key does not speak for the vehicle {said.vehicle!r}", remedy="announce with the vehicle's own key"
        )
    patrol_id = stable_id("p", desk.jurisdiction, said.vehicle, said.started_at.timestamp())
    known = desk.connection.execute(
        sa.select(patrols).where(patrols.c.id == patrol_id, patrols.c.jurisdiction == desk.jurisdiction)
    ).one_or_none()
    if known is not None:
        patrol = _patrol(known)
        if patrol.manifest_sha256 != said.manifest_sha256:
            raise ConflictError(
                f"the patrol of {said.vehicle} at {said.started_at.isoformat()} is known with other files or camera",
                remedy=f"announce it as before, or DELETE /v1/patrols/{patrol_id} first",
            )
        return patrol, False
    new = patrols.insert().values(
        id=patrol_id,
        jurisdiction=desk.jurisdiction,
        vehicle=said.vehicle,
        started_at=said.started_at,
        camera=None if said.camera is None else json.dumps(said.camera),
        manifest_sha256=said.manifest_sha256,
        state=State.RECEIVING.value,
        created_at=now,
        assumptions=[],
        path=[],
    )
    try:
        with desk.connection.begin_nested():
            desk.connection.execute(new)
    except sa.exc.IntegrityError:
        # The same announcement in another transaction was a moment earlier.
        return announce(desk, said, now)
    desk.connection.execute(
        files.insert(),
        [
            {"patrol_id": patrol_id, "name": f.name, "kind": f.kind, "size": f.size, "sha256": f.sha256}
            for f in said.files
        ],
    )
    return get(desk, patrol_id), True


def get(desk: Desk, patrol_id: str) -> Patrol:
    """The patrol. Raises NotFoundError when there is none, or when it is another jurisdiction's."""
    row = desk.connection.execute(sa.select(patrols).where(patrols.c.id == patrol_id, mine(desk))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no patrol {patrol_id!r}", remedy="GET /v1/patrols lists those there are")
    return _patrol(row)


def latest(desk: Desk, limit: int, state: State | None = None) -> list[Patrol]:
    """The patrols that started last, newest first; `state`: only those in it."""
    wanted = mine(desk) if state is None else mine(desk) & (patrols.c.state == state.value)
    rows = desk.connection.execute(
        sa.select(patrols).where(wanted).order_by(patrols.c.started_at.desc(), patrols.c.id).limit(limit)
    )
    return [_patrol(row) for row in rows]


def entries(desk: Desk, patrol_id: str) -> list[tuple[FileEntry, bool]]:
    """All announced files by name, each with whether it has arrived."""
    get(desk, patrol_id)
    rows = desk.connection.execute(sa.select(files).where(files.c.patrol_id == patrol_id).order_by(files.c.name))
    return [(FileEntry(r.name, r.kind, r.size, r.sha256), r.received_at is not None) for r in rows]


def expected(desk: Desk, patrol_id: str, sha256: str) -> tuple[FileEntry, bool]:
    """The announced file of that hash and whether it has arrived. Raises NotFoundError when none was announced."""
    get(desk, patrol_id)
    row = desk.connection.execute(
        # Of files with the same bytes the track comes first: it alone is looked at when it arrives.
        sa.select(files)
        .where(files.c.patrol_id == patrol_id, files.c.sha256 == sha256)
        .order_by(files.c.kind.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise NotFoundError(
            f"the patrol announced no file with the SHA-256 {sha256}",
            remedy="send only the files that POST /v1/patrols lists as missing",
        )
    return FileEntry(row.name, row.kind, row.size, row.sha256), row.received_at is not None


def missing(desk: Desk, patrol_id: str) -> list[str]:
    """The hashes still to be sent, each once. Files that were deleted after processing are not asked for again."""
    return list(desk.connection.scalars(_missing(patrol_id).order_by(files.c.sha256)))


def _missing(patrol_id: str) -> sa.Select[tuple[str]]:
    return sa.select(files.c.sha256).where(files.c.patrol_id == patrol_id, files.c.received_at.is_(None)).distinct()


def receive(desk: Desk, patrol_id: str, sha256: str, now: datetime) -> tuple[Patrol, int]:
    """Note that a file is durable; with the last one the patrol is queued. Gives how many are still missing."""
    desk.connection.execute(
        files.update()
        .where(files.c.patrol_id == patrol_id, files.c.sha256 == sha256, files.c.received_at.is_(None))
        .values(received_at=now)
    )
    # Taking the patrol's row makes two last files that arrive at once take turns: exactly one of them is the last.
    desk.connection.execute(patrols.update().where(patrols.c.id == patrol_id).values(attempts=patrols.c.attempts))
    patrol = get(desk, patrol_id)
    left = int(desk.connection.scalar(sa.select(sa.func.count()).select_from(_missing(patrol_id).subquery())) or 0)
    if left == 0 and patrol.state is State.RECEIVING:
        return queue(desk, patrol_id), 0
    return patrol, left


def queue(desk: Desk, patrol_id: str) -> Patrol:
    """Ask for (another) processing: a new generation, so that a job of the one before changes nothing any more."""
    desk.connection.execute(
        patrols.update()
        .where(patrols.c.id == patrol_id, patrols.c.jurisdiction == desk.jurisdiction)
        .values(
            state=State.QUEUED.value,
            generation=patrols.c.generation + 1,
            attempts=0,
            handbacks=0,
            retry_at=None,
            last_error=None,
            frames_total=0,
            frames_read=0,
            finished_at=None,
        )
    )
    return get(desk, patrol_id)


def queue_again(desk: Desk, patrol_id: str) -> Patrol:
    """Queue a patrol that is done or was set aside, for the model and rules of today; one that waits goes on waiting.

    Raises NotFoundError, and ConflictError when its files are not there.
    """
    patrol = get(desk, patrol_id)
    if patrol.state is State.RECEIVING:
        raise ConflictError(
            "the patrol has not arrived completely", remedy="send the missing files; processing then starts"
        )
    if patrol.originals_deleted_at is not None:
        raise ConflictError(
            "the patrol's pictures were deleted on schedule",
            remedy=f"DELETE /v1/patrols/{patrol_id}, then announce and send it again",
        )
    return queue(desk, patrol_id) if patrol.state in (State.DONE, State.FAILED) else patrol


def start(desk: Desk, patrol_id: str, generation: int) -> Patrol | None:
    """Mark a job's patrol as processing and count the attempt; None when the job is out of date or already done."""
    changed = desk.connection.execute(
        patrols.update()
        .where(
            patrols.c.id == patrol_id,
            patrols.c.jurisdiction == desk.jurisdiction,
            patrols.c.generation == generation,
            patrols.c.state.in_([State.QUEUED.value, State.PROCESSING.value]),
        )
        .values(state=State.PROCESSING.value, attempts=patrols.c.attempts + 1)
    )
    return get(desk, patrol_id) if changed.rowcount else None


def hand_back(desk: Desk, patrol: Patrol) -> None:
    """Queue a patrol again whose worker was asked to stop; the broken-off attempt does not count."""
    desk.connection.execute(
        patrols.update()
        .where(*_at_work(patrol))
        .values(
            state=State.QUEUED.value, attempts=patrols.c.attempts - 1, handbacks=patrols.c.handbacks + 1, frames_read=0
        )
    )


def try_later(desk: Desk, patrol: Patrol, error: str | None, retry_at: datetime) -> None:
    """Queue a patrol again after an error of ours, not before a moment; the attempt counts."""
    values = {"state": State.QUEUED.value, "handbacks": patrols.c.handbacks + 1, "retry_at": retry_at, "frames_read": 0}
    if error is not None:
        values["last_error"] = _text(error)
    desk.connection.execute(
        patrols.update()
        .where(
            patrols.c.id == patrol.id,
            patrols.c.generation == patrol.generation,
            patrols.c.handbacks == patrol.handbacks,
            patrols.c.attempts == patrol.attempts,
            patrols.c.state.in_([State.QUEUED.value, State.PROCESSING.value]),
        )
        .values(values)
    )


def note_progress(desk: Desk, patrol: Patrol, read: int, total: int) -> bool:
    """Show how far a job has come; False when it is out of date and should stop: the patrol was asked for anew, or
    another worker has begun it since, this one passing for dead."""
    changed = desk.connection.execute(
        patrols.update().where(*_at_work(patrol)).values(frames_read=read, frames_total=total)
    )
    return bool(changed.rowcount)


def _at_work(patrol: Patrol) -> tuple[sa.ColumnElement[bool], ...]:
    """That this attempt is the one that counts."""
    return (
        patrols.c.id == patrol.id,
        patrols.c.generation == patrol.generation,
        patrols.c.attempts == patrol.attempts,
        patrols.c.state == State.PROCESSING.value,
    )


def finish(desk: Desk, patrol_id: str, values: dict[str, Any]) -> None:
    """Write the end of a job: `values` are columns."""
    desk.connection.execute(
        patrols.update().where(patrols.c.id == patrol_id, patrols.c.jurisdiction == desk.jurisdiction).values(**values)
    )


def fail(desk: Desk, patrol: Patrol, reason: str, remedy: str, now: datetime) -> None:
    """End a job without a result; what an earlier processing found stays."""
    changed = desk.connection.execute(
        patrols.update().where(*_at_work(patrol)).values(state=State.FAILED.value, finished_at=now)
    )
    if changed.rowcount:
        set_faults(desk, patrol.id, [("", reason, remedy)])


def set_faults(desk: Desk, patrol_id: str, found: Sequence[tuple[str, str, str]]) -> None:
    """Replace the patrol's faults by (file, reason, remedy) rows."""
    desk.connection.execute(faults.delete().where(faults.c.patrol_id == patrol_id))
    if found:
        rows = [
            {"patrol_id": patrol_id, "file": _text(f)[:255], "reason": _text(why), "remedy": _text(fix)}
            for f, why, fix in found
        ]
        desk.connection.execute(faults.insert(), rows)


def _text(said: str) -> str:
    """What quotes a stranger's file may hold what PostgreSQL takes in no text."""
    return said.replace("\0", "\N{REPLACEMENT CHARACTER}")


def faults_of(desk: Desk, patrol_id: str) -> list[dict[str, str]]:
    """The patrol's faults as {file, reason, remedy}."""
    rows = desk.connection.execute(sa.select(faults).where(faults.c.patrol_id == patrol_id).order_by(faults.c.id))
    return [{"file": row.file, "reason": row.reason, "remedy": row.remedy} for row in rows]


def delete(desk: Desk, patrol_id: str) -> None:
    """Remove the patrol and all that hangs on it, except what the case logs say."""
    desk.connection.execute(
        patrols.delete().where(patrols.c.id == patrol_id, patrols.c.jurisdiction == desk.jurisdiction)
    )


def kept_bytes(desk: Desk, vehicle: str) -> int:
    """How many bytes of a vehicle's patrols are announced or kept."""
    query = (
        sa.select(sa.func.sum(files.c.size))
        .select_from(files.join(patrols, patrols.c.id == files.c.patrol_id))
        .where(
            patrols.c.jurisdiction == desk.jurisdiction,
            patrols.c.vehicle == vehicle,
            patrols.c.originals_deleted_at.is_(None),
        )
    )
    return int(desk.connection.scalar(query) or 0)


def count_waiting(desk: Desk) -> int:
    """How many patrols wait for a worker, in every jurisdiction: they share the workers."""
    query = sa.select(sa.func.count()).select_from(patrols).where(patrols.c.state == State.QUEUED.value)
    return int(desk.connection.scalar(query) or 0)


def unfinished(database: Database) -> list[Patrol]:
    """All that is queued or in work, in every jurisdiction, longest waiting first: for the worker."""
    with database.reading("") as desk:
        rows = desk.connection.execute(
            sa.select(patrols)
            .where(patrols.c.state.in_([State.QUEUED.value, State.PROCESSING.value]))
            .order_by(patrols.c.created_at)
        )
        return [_patrol(row) for row in rows]


def counts_by_state(database: Database) -> dict[str, int]:
    """How many patrols are in each state, over all jurisdictions: for the metrics."""
    with database.reading("") as desk:
        rows = desk.connection.execute(sa.select(patrols.c.state, sa.func.count()).group_by(patrols.c.state))
        return {state: int(count) for state, count in rows}
