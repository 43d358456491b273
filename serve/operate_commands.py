"""`jiejing doctor`, `backup`, `restore`. Heavy imports happen inside, so that help is instant."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from serve.commands import Data, settings_of
from vision.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def doctor(data: Data = None, as_json: Json = False) -> None:
    """Say what is wrong with this installation, and what to do. Exit 1 when something is."""
    from serve.doctor import examine

    found = list(examine(settings_of(data=data)))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=1))
    else:
        for one in found:
            mark = {"ok": "ok     ", "warning": "warning", "fault": "FAULT  "}[one.state]
            typer.echo(f"{mark}  {one.what}: {one.said}" + (f"\n         {one.remedy}" if one.remedy else ""))
    raise typer.Exit(1 if any(one.state == "fault" for one in found) else 0)


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE.tar", help="A new file.")],
    no_originals: Annotated[bool, typer.Option("--no-originals", help="Leave out what vehicles sent.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Write books and files to one tar, while the server runs."""
    from serve.app import blobs_of
    from serve.store.archive import back_up
    from serve.store.database import Database

    if target.exists():
        raise UsageError(f"{target} exists", remedy="name a new file")
    settings = settings_of(data=data)
    database = Database(settings.database)
    try:
        database.migrate()
        made = back_up(database, blobs_of(settings), target, originals=not no_originals)
    finally:
        database.close()
    said = f"{target}: {sum(made['rows'].values())} rows, {made['files']} files"
    typer.echo(json.dumps(made) if as_json else said)


def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE.tar", help="A file of `jiejing backup`.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Put a backup into a new, empty installation; then start the server."""
    from serve.app import blobs_of
    from serve.store import archive
    from serve.store.database import Database

    if not source.is_file():
        raise UsageError(f"{source} is not there", remedy="give a file of `jiejing backup`")
    settings = settings_of(data=data)
    settings.data.mkdir(parents=True, exist_ok=True)
    database, blobs = Database(settings.database), blobs_of(settings)
    try:
        database.migrate()
        blobs.prepare()
        manifest = archive.restore(database, blobs, source)
    finally:
        database.close()
    rows = sum(manifest["rows"].values())
    typer.echo(json.dumps(manifest) if as_json else f"{rows} rows are back, made {manifest['made_at']}")
