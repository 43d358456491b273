"""`jiejing upload`: the vehicle's command. Heavy imports happen inside, so that help is instant."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from serve.commands import progress_bar
from vision.errors import UsageError


def upload(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A patrol's folder, or a folder of such folders.")],
    server: Annotated[str, typer.Option(envvar="JIEJING_SERVER", help="Address like https://jiejing.example.org.")],
    vehicle: Annotated[str, typer.Option(envvar="JIEJING_VEHICLE", help="The vehicle's id.")],
    api_key: Annotated[str | None, typer.Option(envvar="JIEJING_API_KEY", help="Better set than typed.")] = None,
    track: Annotated[Path | None, typer.Option(help="Track file.", show_default="DIR/track.*")] = None,
    camera: Annotated[Path | None, typer.Option(help="Camera file.", show_default="DIR/camera.json")] = None,
    started_at: Annotated[
        str | None, typer.Option(help="ISO 8601 with a zone.", show_default="the track's start")
    ] = None,
    limit: Annotated[float | None, typer.Option(help="Kilobytes a second at most.", min=1)] = None,
    patience_h: Annotated[float, typer.Option(help="Hours to try on while nothing gets through.", min=0)] = 72.0,
    wait: Annotated[bool, typer.Option("--wait", help="Also wait until it is processed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, for machines.")] = False,
) -> None:
    """Send patrols to a server: what it has is not sent again, what was broken off goes on, nothing is deleted.

    Run it again after a day without network: it continues within the file where it stopped.
    """
    from serve.intake.client import Vehicle
    from serve.intake.folder import runs_in

    bar = progress_bar(as_json)
    with bar(f"{folder}: reading") as progress:
        moment = _moment(started_at)
        runs = runs_in(folder, track=track, camera=camera, started_at=moment, progress=progress)
    sender = Vehicle(
        server,
        vehicle,
        api_key=api_key,
        patience_s=patience_h * 3600,
        bytes_per_s=None if limit is None else limit * 1000,
        waiting=lambda reason, seconds: typer.echo(f"{reason}; trying again in {seconds:.0f} s", err=True),
    )
    told: list[dict[str, Any]] = []
    for run in runs:
        with bar(f"{run.folder.name}: sending") as progress:
            patrol = sender.upload(run.started_at, run.files, camera=run.camera, progress=progress)
        report = sender.report(patrol)
        if wait:
            with bar(f"{run.folder.name}: processing") as progress:
                report = sender.wait(patrol, progress=progress)
        told.append({"folder": str(run.folder), "patrol": patrol, "files": len(run.files), "report": report})
        if not as_json:
            typer.echo(f"{run.folder}: patrol {patrol}, {len(run.files)} files are there, {report['state']}")
            for error in report["errors"]:
                typer.echo(f"  {error['file']}: {error['reason']} ({error['remedy']})")
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
    if any(one["report"]["state"] == "failed" for one in told):
        raise typer.Exit(1)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(f"{text!r} is no moment with a zone", remedy="give one like 2026-11-20T08:00:00+08:00")
    return moment
