"""`jiejing camera calibrate`: how a camera sits, from an ordinary drive. Heavy imports happen inside."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Find out from a drive how a camera sits.")


class Field(StrEnum):
    """What can be estimated."""

    pitch = "pitch"
    roll = "roll"
    height = "height"


_NAMES = {Field.pitch: "pitch_deg", Field.roll: "roll_deg", Field.height: "height_above_ground_m"}


@app.callback()
def camera() -> None:
    """Find out from a drive how a camera sits."""


@app.command()
def calibrate(
    track: Annotated[Path, typer.Option(help="CSV, GPX or NMEA track, or a video with telemetry.")],
    camera: Annotated[Path, typer.Option(help="Camera file to correct, JSON.")],
    media: Annotated[
        list[Path] | None, typer.Argument(metavar="MEDIA…", help="The drive's pictures or videos.")
    ] = None,
    detections: Annotated[Path | None, typer.Option(help="Boxes as for `locate`, instead of MEDIA.")] = None,
    only: Annotated[list[Field] | None, typer.Option(help="Estimate only this; repeat for several.")] = None,
    clock_offset: Annotated[float | None, typer.Option(help="Seconds to add to the camera's times.")] = None,
    start: Annotated[str | None, typer.Option(help="ISO 8601 instant that the track's time_s counts from.")] = None,
    model: Annotated[str | None, typer.Option(help="Model folder or name, for MEDIA.", show_default="street-n")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Corrected camera file.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON, for machines.")] = False,
) -> None:
    """Estimate pitch, roll and height of a camera from an ordinary drive past standing things.

    What the drive does not tell keeps its value in the camera file and gets a sigma that admits it.
    """
    from vision.camera import camera_json, read_camera
    from vision.errors import UsageError
    from vision.locating.calibrate import FIELDS
    from vision.locating.calibrate import calibrate as solve
    from vision.locating.locate_files import instant, read_detections
    from vision.tracks.track import read_track

    if bool(media) == bool(detections):
        raise UsageError("camera calibrate", remedy="give either MEDIA or --detections FILE")
    lens = read_camera(camera)
    if detections is not None:
        frames, route = read_detections(detections, lens), read_track(track, start=instant(start))
    else:
        from vision.detecting.workers import Workers
        from vision.pipeline import watch

        with Workers(model) as workers:
            drive = watch(
                media or [],
                track=track,
                clock_offset_s=clock_offset,
                track_start=instant(start),
                workers=workers,
            )
        frames, route = list(drive.seen), drive.way.track
        clock_offset = None  # it is in the frames' times
    chosen = [_NAMES[field] for field in only] if only else FIELDS
    found = solve(frames, route, lens, chosen, clock_offset_s=clock_offset or 0.0)
    body = {
        "things": found.things,
        "findings": [
            {
                "field": one.field,
                "before": round(one.before, 3),
                "after": round(one.after, 3),
                "sigma": round(one.sigma, 3),
                "observed": one.observed,
            }
            for one in found.findings
        ],
    }
    if output is not None:
        output.write_text(json.dumps(camera_json(found.camera), indent=1) + "\n", encoding="utf-8")
    if json_:
        typer.echo(json.dumps(body))
        return
    for one in found.findings:
        told = (
            f"{one.after:.2f} ± {one.sigma:.2f}" if one.observed else "can't be observed in this drive; left as it was"
        )
        typer.echo(f"{one.field}: was {one.before:.2f}; {told}")
