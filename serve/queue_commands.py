"""`jiejing queue`: what waits, what was set aside. Heavy imports happen inside, so that help is instant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from serve.commands import Data, opened
from vision.errors import UsageError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What waits, what is in work, what was set aside.")


@app.command("list")
def show(
    state: Annotated[
        str | None, typer.Option(help="receiving, queued, processing, done or failed.", show_default="all")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 100,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for machines.")] = False,
) -> None:
    """Show patrols with their tries and what went wrong."""
    from serve.store import patrols

    wanted = None
    if state is not None:
        if state not in set(patrols.State):
            raise UsageError(f"there is no state {state!r}", remedy=f"one of {', '.join(patrols.State)}")
        wanted = patrols.State(state)
    with opened(data) as (database, jurisdiction), database.reading(jurisdiction) as desk:
        rows: list[dict[str, Any]] = [
            {
                "id": patrol.id,
                "vehicle": patrol.vehicle,
                "started_at": patrol.started_at.isoformat(),
                "state": patrol.state.value,
                "attempts": patrol.attempts,
                "last_error": patrol.last_error,
                "errors": patrols.faults_of(desk, patrol.id) if patrol.state is patrols.State.FAILED else [],
            }
            for patrol in patrols.latest(desk, limit, wanted)
        ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for row in rows:
        typer.echo(f"{row['id']}  {row['state']:10}  {row['vehicle']}  {row['started_at']}  tries {row['attempts']}")
        for error in row["errors"] or ([{"reason": row["last_error"]}] if row["last_error"] else []):
            typer.echo(f"  {error['reason']}")


@app.command()
def retry(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="As `jiejing queue list` shows them.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that were set aside.")] = False,
    data: Data = None,
) -> None:
    """Have patrols processed again; the workers take them up within seconds."""
    from serve.store import patrols

    if not ids and not failed:
        raise UsageError("nothing is named", remedy="give ids, or --failed for all that were set aside")
    with opened(data) as (database, jurisdiction), database.writing(jurisdiction) as desk:
        wanted = list(ids or ())
        if failed:
            wanted += [patrol.id for patrol in patrols.latest(desk, 100_000, patrols.State.FAILED)]
        for patrol_id in dict.fromkeys(wanted):
            patrols.queue_again(desk, patrol_id)
            typer.echo(f"{patrol_id} queued")


def rescore(
    model: Annotated[str, typer.Option(help="Folder or name of the model to look with.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the comparison here.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="How many look at once.")] = 2,
    cluster: Annotated[str | None, typer.Option(help="Address of a Ray cluster.", show_default="this machine")] = None,
    data: Data = None,
) -> None:
    """Look at all stored evidence with another model and compare; no case changes. Needs the extra [fleet]."""
    from serve.commands import settings_of
    from serve.rescore import Archive, rescore

    settings = settings_of(data=data)
    archive = Archive(settings.data / "files", settings.store_url)
    with opened(data) as (database, jurisdiction):
        found = rescore(database, archive, jurisdiction, model, processes=processes, cluster=cluster)
    text = json.dumps(found, ensure_ascii=False, indent=1)
    if output is None:
        typer.echo(text)
        return
    output.write_text(text + "\n", "utf-8")
    unseen = len(found["cases_no_longer_seen"])
    typer.echo(f"{found['pictures']} pictures; {unseen} of {found['cases']} cases not seen: {output}")
