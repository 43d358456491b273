"""The database: opening it, bringing it up to date, and transactions that carry the caller's jurisdiction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import alembic.command
import alembic.config
import sqlalchemy as sa

from serve.errors import SettingsError

_BUSY_SECONDS = 30
MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a caller may touch: a jurisdiction; in it only the cases in grid cells whose ids begin with `area` (a
    district has 6 digits, a street 9, a community 12); only the patrols of `vehicle`, when one is named."""

    jurisdiction: str
    area: str = ""
    vehicle: str | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """One transaction on somebody's behalf; every query function takes one and keeps within its reach."""

    connection: sa.Connection
    reach: Reach

    @property
    def jurisdiction(self) -> str:
        """The jurisdiction that everything read or written here belongs to."""
        return self.reach.jurisdiction


class Database:
    """Opens SQLite (WAL) or PostgreSQL by URL. Raises SettingsError when it cannot be opened."""

    def __init__(self, url: str) -> None:
        try:
            self.engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
            raise SettingsError(
                f"the database URL cannot be used: {error}",
                remedy="set it like sqlite:////var/lib/jiejing/jiejing.sqlite or postgresql+psycopg://user@host/name",
            ) from error
        if self.engine.dialect.name == "sqlite":
            _prepare_sqlite(self.engine)

    def migrate(self) -> None:
        """Bring the tables up to date. Safe to call at every start, and from several processes at once."""
        config = alembic.config.Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        try:
            with self.engine.connect().execution_options(jiejing_write=True) as connection, connection.begin():
                config.attributes["connection"] = connection
                alembic.command.upgrade(config, "head")
        except sa.exc.OperationalError as error:
            remedy = "check that it runs, and that JIEJING_DATABASE_URL and JIEJING_JOBS_URL are right"
            if self.engine.dialect.name == "sqlite":
                remedy = "check that the folder exists and is writable"
            reason = " ".join(str(error.orig).split())
            raise SettingsError(f"the database cannot be opened: {reason}", remedy=remedy) from error

    @contextmanager
    def reading(self, within: Reach | str) -> Iterator[Desk]:
        """A consistent view; nothing is written. `within`: a bare code is the whole jurisdiction."""
        with self.engine.connect() as connection, connection.begin():
            yield Desk(connection, _reach(within))

    @contextmanager
    def writing(self, within: Reach | str) -> Iterator[Desk]:
        """All or nothing; committed and durable when the block ends without an error. `within` as for `reading`."""
        with self.engine.connect().execution_options(jiejing_write=True) as connection, connection.begin():
            yield Desk(connection, _reach(within))

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


def _reach(within: Reach | str) -> Reach:
    return Reach(within) if isinstance(within, str) else within


def _prepare_sqlite(engine: sa.Engine) -> None:
    """WAL so that readers never wait; full sync so that a commit is durable; one writer at a time from its start, since
    a reader that turns into a writer half-way would fail instead of waiting."""

    @sa.event.listens_for(engine, "connect")
    def _connect(raw: object, _record: object) -> None:
        raw.isolation_level = None  # type: ignore[attr-defined]  # the driver must not begin transactions by itself
        cursor = raw.cursor()  # type: ignore[attr-defined]
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("jiejing_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
