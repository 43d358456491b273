"""`jiejing originals`: the only way to look at what a vehicle sent, and who did. No route of the server shows it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from serve.commands import Data, settings_of
from vision.errors import UsageError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at originals, and see who did.")


@app.command()
def show(
    patrol: Annotated[str, typer.Argument(help="Id of the patrol.")],
    name: Annotated[str, typer.Argument(help="Name of the file as the vehicle announced it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write; must not exist.")],
    by: Annotated[str, typer.Option(help="Who looks.")],
    reason: Annotated[str, typer.Option(help="Why. Both are written down for good.")],
    data: Data = None,
) -> None:
    """Write an original to a file, after noting who looks at it and why."""
    from serve.app import blobs_of
    from serve.errors import NotFoundError
    from serve.store import patrols, viewed
    from serve.store.blobs import ORIGINALS
    from serve.store.database import Database

    if not by.strip() or not reason.strip():
        raise UsageError("nobody, or no reason", remedy="give --by NAME and --reason TEXT")
    if output.exists():
        raise UsageError(f"{output} exists", remedy="name a new file with -o")
    settings = settings_of(data=data)
    database, blobs = Database(settings.database), blobs_of(settings)
    try:
        with database.writing(settings.jurisdiction) as desk:
            entries = {entry.name: entry.sha256 for entry, _ in patrols.entries(desk, patrol)}
            if name not in entries or not blobs.has(ORIGINALS, patrol, entries[name]):
                raise NotFoundError(
                    f"there is no original {name!r}", remedy="it was deleted on schedule, or never came"
                )
            viewed.note(desk, viewed.View(patrol, entries[name], by[:100], reason, datetime.now(UTC)))
        laid = output.with_name(f".{output.name}.opened")
        blobs.lay_out(ORIGINALS, patrol, entries[name], laid)
        shutil.copyfile(laid, output)
        laid.unlink()
    finally:
        database.close()


@app.command()
def views(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False, data: Data = None
) -> None:
    """List who looked at which original, when and why."""
    from serve.store import viewed
    from serve.store.database import Database

    settings = settings_of(data=data)
    database = Database(settings.database)
    try:
        with database.reading(settings.jurisdiction) as desk:
            found = viewed.listed(desk)
    finally:
        database.close()
    told = [
        {"patrol": v.patrol_id, "sha256": v.sha256, "by": v.actor, "reason": v.reason, "at": v.viewed_at.isoformat()}
        for v in found
    ]
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
    else:
        for one in told:
            typer.echo(f"{one['at']}  {one['by']}  {one['patrol']}  {one['sha256'][:12]}  {one['reason']}")
