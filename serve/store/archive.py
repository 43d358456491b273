"""Backup and restore: all rows and files in one tar, the same for SQLite and PostgreSQL, so it also moves between them.

The rows come first, in one transaction; a file that arrives later is not named by any of them and does no harm. The job
queue is not kept: whatever is queued is handed to it again when a worker starts.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from serve.errors import ConflictError, InvalidInputError
from serve.store.blobs import EVIDENCE, ORIGINALS, Blobs
from serve.store.database import Database
from serve.store.tables import metadata

_FORMAT = 1
_BATCH = 500
# A film of gigabytes goes over the disk on its way into the tar.
_IN_MEMORY_BYTES = 16 * 1024**2
_MANIFEST, _BOOKS = "manifest.json", "books.sqlite"
# What says who works just now, and nothing about the city.
_LEFT_OUT = frozenset({"workers"})


def back_up(database: Database, blobs: Blobs, target: Path, *, originals: bool = True) -> dict[str, Any]:
    """Write everything to a new tar file; gives its manifest. Sealed originals stay sealed in it."""
    tables = [table for table in metadata.sorted_tables if table.name not in _LEFT_OUT]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        books = Database(f"sqlite:///{Path(folder) / _BOOKS}")
        metadata.create_all(books.engine)
        with database.reading("") as source, books.writing("") as copy:
            revision = _revision(source.connection)
            counts = {table.name: _copy(table, source.connection, copy.connection) for table in tables}
        books.close()
        areas = [EVIDENCE, ORIGINALS] if originals else [EVIDENCE]
        manifest: dict[str, Any] = {
            "format": _FORMAT,
            "revision": revision,
            "made_at": datetime.now(UTC).isoformat(),
            "rows": counts,
            "areas": areas,
        }
        part = target.with_name(f"{target.name}.part")
        # For its owner's eyes: it holds what the keys open, and originals as they lie.
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            _add(tar, _MANIFEST, io.BytesIO(json.dumps(manifest, indent=1).encode()))
            tar.add(Path(folder) / _BOOKS, _BOOKS)
            files = 0
            for area in areas:
                for name, pieces in blobs.everything(area):
                    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=folder) as held:
                        for piece in pieces:
                            held.write(piece)
                        _add(tar, f"files/{name}", held)
                    files += 1
            tar.close()
            file.flush()
            os.fsync(handle)
        part.replace(target)
    return {**manifest, "files": files}


def restore(database: Database, blobs: Blobs, source: Path) -> dict[str, Any]:
    """Put a backup into an empty installation; gives its manifest.

    Raises InvalidInputError for what is no backup of this version, ConflictError when something is there already.
    """
    remedy = "restore with the version of Jiejing that made it, then upgrade"
    try:
        with tarfile.open(source) as tar, tempfile.TemporaryDirectory(dir=source.parent) as folder:
            members = iter(tar)
            manifest = json.loads(_file(tar, next(members), _MANIFEST).read())
            with database.reading("") as desk:
                here = _revision(desk.connection)
            if manifest.get("format") != _FORMAT or manifest.get("revision") != here:
                raise InvalidInputError(
                    f"{source} was made by another version ({manifest.get('revision')}, here {here})", remedy=remedy
                )
            copy = Path(folder) / _BOOKS
            with copy.open("wb") as books:
                shutil.copyfileobj(_file(tar, next(members), _BOOKS), books)
            # The files go first: a row promises its files.
            _refuse_unless_empty(database)
            for member in members:
                _put_file(blobs, member.name, _file(tar, member, member.name))
            _fill(database, Database(f"sqlite:///{copy}"))
    except (tarfile.TarError, StopIteration, json.JSONDecodeError, KeyError) as error:
        raise InvalidInputError(
            f"{source} is no backup ({error!r})", remedy="give a file of `jiejing backup`"
        ) from error
    return dict(manifest)


def _refuse_unless_empty(database: Database) -> None:
    with database.reading("") as desk:
        full = [
            table.name
            for table in metadata.sorted_tables
            if table.name not in _LEFT_OUT and desk.connection.execute(sa.select(table).limit(1)).first() is not None
        ]
    if full:
        raise ConflictError(
            f"the database is not empty ({', '.join(full)})", remedy="restore into a new data folder or database"
        )


def _fill(database: Database, books: Database) -> None:
    try:
        with books.reading("") as source, database.writing("") as target:
            for table in metadata.sorted_tables:
                if table.name not in _LEFT_OUT:
                    _copy(table, source.connection, target.connection)
                    _go_on_counting(table, target.connection)
    finally:
        books.close()


def _copy(table: sa.Table, source: sa.Connection, target: sa.Connection) -> int:
    count = 0
    for rows in source.execute(sa.select(table)).mappings().partitions(_BATCH):
        target.execute(table.insert(), [dict(row) for row in rows])
        count += len(rows)
    return count


def _go_on_counting(table: sa.Table, connection: sa.Connection) -> None:
    """PostgreSQL counts on by itself only where it counted before."""
    counted = table.autoincrement_column
    if connection.dialect.name == "postgresql" and counted is not None:
        most = sa.select(sa.func.max(counted)).scalar_subquery()
        sequence = sa.func.pg_get_serial_sequence(table.name, counted.name)
        connection.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(most, 1), most.is_not(None))))


def _revision(connection: sa.Connection) -> str:
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes]) -> None:
    about = tarfile.TarInfo(name)
    about.size = file.seek(0, io.SEEK_END)
    about.mode = 0o600
    file.seek(0)
    tar.addfile(about, file)


def _file(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> IO[bytes]:
    file = tar.extractfile(member) if member.isfile() and member.name == name else None
    if file is None:
        raise KeyError(name)
    return file


def _put_file(blobs: Blobs, name: str, file: IO[bytes]) -> None:
    """`files/<area>/<patrol>/<sha256>`, and nothing else."""
    head, area, patrol_id, sha256 = [*name.split("/"), "", "", ""][:4]
    plain = all(part.isalnum() for part in (patrol_id, sha256))
    if head != "files" or area not in (EVIDENCE, ORIGINALS) or not plain or name.count("/") != 3:
        raise KeyError(name)
    blobs.put_back(area, patrol_id, sha256, file)
