"""What is wrong with an installation, looked at from outside: each finding with its remedy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from serve.settings import Settings, is_loopback
from vision.errors import JiejingError

# What other commands read from the environment.
_OTHER_NAMES = {"JIEJING_SERVER", "JIEJING_VEHICLE", "JIEJING_RENDERER"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `state`: ok, warning or fault."""

    what: str
    state: str
    said: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything that a server or worker with these settings needs. Changes nothing."""
    looks: tuple[tuple[str, Callable[[Settings], Finding]], ...] = (
        ("settings", _names),
        ("data folder", _folder),
        ("disk", _disk),
        ("database", _database),
        ("work", _work),
        ("files", _files),
        ("model", _model),
        ("console", _console),
        ("access", _access),
        ("originals", _originals),
    )
    for what, look in looks:
        try:
            yield look(settings)
        except JiejingError as error:
            yield Finding(what, "fault", error.message, error.remedy)
        except Exception as error:  # noqa: BLE001, a doctor that faints helps nobody
            yield Finding(what, "fault", f"{type(error).__name__}: {error}", "see docs/operations.md")


def _names(settings: Settings) -> Finding:
    """A mistyped name in the environment sets nothing, and says nothing."""
    known = {f"JIEJING_{name.upper()}" for name in type(settings).model_fields} | _OTHER_NAMES
    unknown = sorted(name for name in os.environ if name.startswith("JIEJING_") and name not in known)
    if unknown:
        return Finding(
            "settings", "warning", f"nothing reads {', '.join(unknown)}", "serve/settings.py lists the names"
        )
    return Finding("settings", "ok", "all names are known")


def _folder(settings: Settings) -> Finding:
    probe = settings.data / ".doctor"
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        return Finding(
            "data folder", "fault", f"{settings.data}: {error.strerror}", "give the server's user this folder"
        )
    return Finding("data folder", "ok", str(settings.data))


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(settings.data).free
    said = f"{free / 1e9:.1f} GB free, uploads stop below {settings.min_free_bytes / 1e9:.1f} GB"
    if free < settings.min_free_bytes:
        return Finding("disk", "fault", said, "free some space, or set JIEJING_MIN_FREE_BYTES lower")
    if free < 3 * settings.min_free_bytes:
        return Finding("disk", "warning", said, "free some space, or shorten JIEJING_KEEP_ORIGINALS_DAYS")
    return Finding("disk", "ok", said)


def _database(settings: Settings) -> Finding:
    import alembic.script
    import sqlalchemy as sa

    from serve.store import database as store

    opened = store.Database(settings.database)
    try:
        with opened.reading("") as desk:
            if not sa.inspect(desk.connection).has_table("alembic_version"):
                return Finding("database", "ok", "empty; its tables are made at the first start")
            here = desk.connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
            kind = desk.connection.dialect.name
            if kind == "sqlite":
                sound = desk.connection.exec_driver_sql("PRAGMA quick_check").scalar_one()
                if sound != "ok":
                    return Finding("database", "fault", f"damaged: {sound}", "stop the server and restore a backup")
    finally:
        opened.close()
    known = alembic.script.ScriptDirectory(str(store.MIGRATIONS))
    if here == known.get_current_head():
        return Finding("database", "ok", f"{kind}, tables of version {here}")
    if here in {step.revision for step in known.walk_revisions()}:
        return Finding("database", "warning", f"tables of version {here}", "the next start brings them up to date")
    return Finding("database", "fault", f"tables of a newer version, {here}", "install the version that made them")


def _work(settings: Settings) -> Finding:
    import sqlalchemy as sa

    from serve.store import patrols, workers
    from serve.store.database import Database

    database = Database(settings.database)
    try:
        with database.reading("") as desk:
            if not sa.inspect(desk.connection).has_table("patrols"):
                return Finding("work", "ok", "none yet")
            living = workers.living(desk)
        states = patrols.counts_by_state(database)
    finally:
        database.close()
    waiting, failed = states.get("queued", 0) + states.get("processing", 0), states.get("failed", 0)
    said = f"{waiting} waiting or in work, {failed} failed, {len(living)} workers"
    if waiting and not living:
        return Finding("work", "fault", said, "start `jiejing worker`, or `jiejing serve` without --no-worker")
    if failed:
        return Finding("work", "warning", said, "`jiejing queue list --state failed` says why")
    return Finding("work", "ok", said)


def _files(settings: Settings) -> Finding:
    from serve.app import blobs_of

    blobs = blobs_of(settings)
    blobs.has("evidence", "doctor", "0" * 64)
    return Finding("files", "ok", settings.store_url or str(settings.data / "files"))


def _model(settings: Settings) -> Finding:
    from vision.detecting.model import load_model
    from vision.shipped import model_folder

    model = load_model(model_folder(settings.model))
    return Finding("model", "ok", f"{model.id}, its files are what their hashes say")


def _console(settings: Settings) -> Finding:
    from serve.console.build import is_built

    if is_built():
        return Finding("console", "ok", "built")
    return Finding("console", "warning", "not built, the pages say so", "run python -m serve.console.build")


def _access(settings: Settings) -> Finding:
    settings.refuse_open_door()
    if not settings.guarded:
        return Finding("access", "ok", f"open to everybody on this machine ({settings.host})")
    ways: list[Any] = [
        "the server's own key" if settings.api_key else None,
        "keys" if settings.require_keys else None,
        f"people of {settings.oidc_issuer}" if settings.oidc_issuer else None,
    ]
    if settings.oidc_jwks:
        from serve.tokens import read_keys

        read_keys(settings.oidc_jwks)
    return Finding("access", "ok", ", ".join(way for way in ways if way))


def _originals(settings: Settings) -> Finding:
    days = f"kept {settings.keep_originals_days:g} days"
    if settings.originals_key is not None:
        return Finding("originals", "ok", f"sealed, {days}")
    if is_loopback(settings.host) and not settings.guarded:
        return Finding("originals", "ok", f"not sealed, {days}")
    remedy = "set JIEJING_ORIGINALS_KEY (`openssl rand -base64 32`), or JIEJING_KEEP_ORIGINALS_DAYS=0"
    return Finding("originals", "warning", f"not sealed, {days}", remedy)
