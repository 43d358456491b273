"""Files on their way, as rows; their bytes lie in the spool."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from serve.errors import NotFoundError
from serve.store.database import Database, Desk
from serve.store.patrols import mine
from serve.store.tables import patrols, uploads


@dataclass(frozen=True, slots=True)
class Upload:
    """One file on its way. `finished_at`: when the whole file was durable under its hash."""

    id: str
    patrol_id: str
    sha256: str
    size: int
    filename: str
    expires_at: datetime
    finished_at: datetime | None


def _upload(row: sa.Row[Any]) -> Upload:
    return Upload(**row._mapping)


def add(desk: Desk, upload: Upload) -> None:
    """Note a new upload."""
    row = {name: getattr(upload, name) for name in Upload.__slots__}
    desk.connection.execute(uploads.insert().values(row))


def get(desk: Desk, upload_id: str) -> Upload:
    """The upload. Raises NotFoundError when there is none, or when it is out of the caller's reach."""
    row = desk.connection.execute(
        sa.select(uploads)
        .join(patrols, patrols.c.id == uploads.c.patrol_id)
        .where(uploads.c.id == upload_id, mine(desk))
    ).one_or_none()
    if row is None:
        raise NotFoundError(
            "there is no such upload, or it has expired", remedy="announce the patrol again and create a new one"
        )
    return _upload(row)


def open_of(desk: Desk, vehicle: str) -> set[tuple[str, str]]:
    """(patrol, hash) of a vehicle's files that are on their way."""
    query = (
        sa.select(uploads.c.patrol_id, uploads.c.sha256)
        .join(patrols, patrols.c.id == uploads.c.patrol_id)
        .where(
            patrols.c.jurisdiction == desk.jurisdiction, patrols.c.vehicle == vehicle, uploads.c.finished_at.is_(None)
        )
    )
    return {(row.patrol_id, row.sha256) for row in desk.connection.execute(query)}


def of_file(desk: Desk, patrol_id: str, sha256: str) -> list[str]:
    """The ids of a file's uploads that are not finished."""
    query = sa.select(uploads.c.id).where(
        uploads.c.patrol_id == patrol_id, uploads.c.sha256 == sha256, uploads.c.finished_at.is_(None)
    )
    return list(desk.connection.scalars(query))


def prolong(desk: Desk, upload_id: str, expires_at: datetime) -> None:
    """Keep an upload longer."""
    desk.connection.execute(uploads.update().where(uploads.c.id == upload_id).values(expires_at=expires_at))


def finish(desk: Desk, patrol_id: str, sha256: str, now: datetime) -> list[str]:
    """Note that a patrol's file has arrived: all its uploads are finished. Gives their ids."""
    of_file = (uploads.c.patrol_id == patrol_id, uploads.c.sha256 == sha256, uploads.c.finished_at.is_(None))
    found = list(desk.connection.scalars(sa.select(uploads.c.id).where(*of_file)))
    if found:
        desk.connection.execute(uploads.update().where(*of_file).values(finished_at=now))
    return found


def delete(desk: Desk, upload_id: str) -> None:
    """Forget an upload."""
    desk.connection.execute(uploads.delete().where(uploads.c.id == upload_id))


def delete_expired(database: Database, now: datetime) -> list[str]:
    """Forget the uploads whose time is over, in every jurisdiction; gives their ids."""
    with database.writing("") as desk:
        found = list(desk.connection.scalars(sa.select(uploads.c.id).where(uploads.c.expires_at <= now)))
        if found:
            desk.connection.execute(uploads.delete().where(uploads.c.expires_at <= now))
    return found


def unfinished(database: Database) -> list[tuple[str, Upload]]:
    """(jurisdiction, upload) of all that have not arrived: for the housekeeper."""
    with database.reading("") as desk:
        rows = desk.connection.execute(
            sa.select(patrols.c.jurisdiction, uploads)
            .join(patrols, patrols.c.id == uploads.c.patrol_id)
            .where(uploads.c.finished_at.is_(None))
        )
        return [(row[0], Upload(*row[1:])) for row in rows]
