"""The workers' leases. A worker renews its own; one that has not been renewed for a while belongs to a dead process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from serve.store.database import Database, Desk
from serve.store.tables import workers

LEASE_S = 20.0
# Any number, the same in all processes: PostgreSQL's lock for those who look after dead workers.
_LOCK = 0x6A69656A


def renew(database: Database, name: str) -> None:
    """Say that a worker of this process lives."""
    with database.writing("") as desk:
        row = {"machine": _machine(), "process": process_mark(os.getpid()), "seen_s": _now(desk)}
        changed = desk.connection.execute(workers.update().where(workers.c.name == name).values(row))
        if not changed.rowcount:
            desk.connection.execute(workers.insert().values(name=name, started_at=datetime.now(UTC), **row))


def leave(database: Database, name: str) -> None:
    """Give a lease back."""
    with database.writing("") as desk:
        desk.connection.execute(workers.delete().where(workers.c.name == name))


@contextmanager
def taking_turns(database: Database) -> Iterator[Desk]:
    """A transaction that only one process has at a time, however many look after dead workers."""
    with database.writing("") as desk:
        if desk.connection.dialect.name == "postgresql":
            desk.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        yield desk


def living(desk: Desk) -> set[str]:
    """The names of the workers whose lease holds: it was renewed lately, and their process, when it is one of this
    machine, is there."""
    return {name for name, lives in _judged(desk).items() if lives}


def bury(desk: Desk) -> set[str]:
    """Drop the leases that no longer hold; gives the names of the living."""
    judged = _judged(desk)
    # By their names: who has come since must not lose a lease.
    dead = [name for name, lives in judged.items() if not lives]
    desk.connection.execute(workers.delete().where(workers.c.name.in_(dead)))
    return judged.keys() - set(dead)


def _judged(desk: Desk) -> dict[str, bool]:
    rows = desk.connection.execute(sa.select(workers, (_now_expression(desk) - workers.c.seen_s).label("age_s"))).all()
    here = _machine()
    return {row.name: row.age_s <= LEASE_S and (row.machine != here or _is_alive(row.process)) for row in rows}


def _now_expression(desk: Desk) -> sa.ColumnElement[float]:
    """Seconds since 1970 by the database's clock."""
    if desk.connection.dialect.name == "sqlite":
        return (sa.func.julianday("now", type_=sa.Float) - 2440587.5) * 86400.0
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)


def _now(desk: Desk) -> float:
    return float(desk.connection.scalar(sa.select(_now_expression(desk))) or 0.0)


def _machine() -> str:
    """This machine since its start, or this container: where a process id means one process."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()[:8])
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        # Not told: then only the lease's age counts.
        parts.append(f"process {os.getpid()}")
    return " ".join(parts)


def process_mark(pid: int) -> str:
    """A process id and when it began, since ids are used again."""
    try:
        began = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    except OSError:
        return f"{pid} gone"
    # State is the first field after the name, the start in clock ticks the twentieth (proc_pid_stat(5)).
    return f"{pid} gone" if began[0] in "ZX" else f"{pid} {began[19]}"


def _is_alive(process: str) -> bool:
    pid, began = process.split()
    return began != "gone" and process_mark(int(pid)) == process
