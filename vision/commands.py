"""The commands of vision: `detect`, `patrol`, `locate`. Heavy imports happen inside, so that help is instant."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vision.detecting.model import Device
from vision.errors import Fault, MediaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vision.detecting.workers import Workers
    from vision.detections import Detections
    from vision.tracks.clock import ClockOffset

    Progress = Callable[[int, int], None]

Model = Annotated[
    str | None, typer.Option(help="Model folder, or the name of a shipped model.", show_default="street-n")
]
On = Annotated[
    Device, typer.Option("--device", help="A GPU needs the extra `gpu`; give it 16 threads to fill batches.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON, for machines.")]
InputSize = Annotated[
    str | None,
    typer.Option("--input", help="Input size WIDTHxHEIGHT, multiples of 32; a smaller one is faster, and sees less."),
]
Tiles = Annotated[
    bool,
    typer.Option("--tiles", help="Look at large pictures in parts too: sees smaller things, costs many looks."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 when any input failed.")]
Draw = Annotated[Path | None, typer.Option(help="Also write pictures with the boxes drawn into this folder.")]


class Format(StrEnum):
    """What `detect` writes."""

    json = "json"
    coco = "coco"
    yolo = "yolo"


class IdBy(StrEnum):
    """What identifies a picture in COCO results."""

    stem = "stem"
    path = "path"


@contextmanager
def progress_bar(title: str, quiet: bool) -> Iterator[Progress]:
    """A progress bar on a terminal; nothing elsewhere. Yields a function of (done, total)."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def exit_code(processed: int, failed: int, strict: bool) -> int:
    """0 when at least one input was processed, 1 when none was, or with `strict` when any failed."""
    return 1 if processed == 0 or (strict and failed) else 0


def size_option(text: str | None) -> tuple[int, int] | None:
    """WIDTHxHEIGHT as two numbers. Raises UsageError when it is neither that nor a single number."""
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) > 2 or not all(part.isdigit() for part in parts):
        raise UsageError(f"--input {text}", remedy="give WIDTHxHEIGHT, such as 960x736")
    return int(parts[0]), int(parts[-1])


def detect(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Pictures, or folders of pictures.")],
    model: Model = None,
    min_score: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Replaces the model's thresholds per class.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.json,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File (json, coco) or folder (yolo).")] = None,
    draw: Draw = None,
    id_by: Annotated[
        IdBy, typer.Option("--id", help="COCO image_id: file name, or path under the folder.")
    ] = IdBy.stem,
    input_size: InputSize = None,
    tiles: Tiles = False,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Pictures worked on at once.")] = 2,
    device: On = "cpu",
    json_: Json = False,
    strict: Strict = False,
) -> None:
    """Find things in pictures. Boxes are pixels of the upright full-resolution picture."""
    if format_ is Format.yolo and output is None:
        raise UsageError("--format yolo writes one text file per picture", remedy="name a folder with -o DIR")
    from vision.detecting.batch import detect_files
    from vision.detecting.workers import Workers
    from vision.pictures.media import find_media
    from vision.results import ListWriter, adder, image_ids, yolo_lines

    files = find_media(paths)
    if not files:
        raise UsageError("no JPEG or PNG pictures there", remedy="give pictures, or folders that hold some")
    ids = {} if format_ is Format.json else image_ids(files, paths, id_by)
    workers = Workers(model, threads=threads, input_wh=size_option(input_size), device=device, tiles=tiles)
    workers.start()
    faults: list[Fault] = []
    found = 0

    def outcomes() -> Iterator[tuple[Path, Detections | Fault]]:
        nonlocal found
        with progress_bar("detect", json_) as progress:
            for done, (file, outcome) in enumerate(detect_files(files, workers, min_score, draw), start=1):
                progress(done, len(files))
                if isinstance(outcome, Fault):
                    faults.append(outcome)
                    typer.echo(f"jiejing: {outcome}", err=True)
                else:
                    found += len(outcome)
                yield file, outcome

    if format_ is Format.yolo and output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for file, outcome in outcomes():
            if not isinstance(outcome, Fault):
                target = output / f"{ids[file]}.txt"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(yolo_lines(outcome), encoding="utf-8")
    else:
        with ListWriter(output, sys.stdout) as writer:
            add = adder(format_, writer, ids)
            for file, outcome in outcomes():
                add(file, outcome)
    workers.close()
    processed = len(files) - len(faults)
    summary = {"pictures": len(files), "processed": processed, "failed": len(faults), "detections": found}
    _summarise(
        {**summary, "model": workers.model.id, "faults": [_fault(f) for f in faults]}, json_, to_stdout=bool(output)
    )
    raise typer.Exit(exit_code(processed, len(faults), strict))


def patrol(
    media: Annotated[list[Path], typer.Argument(metavar="MEDIA…", help="Pictures, videos, or folders of them.")],
    track: Annotated[
        Path | None, typer.Option(help="GPX, NMEA or CSV track, or a video; EXIF or telemetry without it.")
    ] = None,
    camera: Annotated[Path | None, typer.Option(help="Camera file, JSON; stated assumptions without it.")] = None,
    clock_offset: Annotated[
        float | None, typer.Option(help="Seconds to add to the pictures' times; estimated without it.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="ISO 8601 instant that the track's time_s counts from.")] = None,
    model: Model = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="GeoJSON file; stdout without it.")] = None,
    report: Annotated[Path | None, typer.Option(help="Also write the report as JSON.")] = None,
    draw: Draw = None,
    input_size: InputSize = None,
    tiles: Tiles = False,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Pictures worked on at once.")] = 2,
    device: On = "cpu",
    json_: Json = False,
    strict: Strict = False,
) -> None:
    """Turn one patrol into located things: pictures or video and a track in, GeoJSON and a report out."""
    from vision.detecting.workers import Workers

    looking = Workers(model, threads=threads, input_wh=size_option(input_size), device=device, tiles=tiles)
    _get_ready(looking, media)  # while what else is needed is imported
    from vision.locating.locate_files import feature, instant
    from vision.pictures.draw import draw_evidence
    from vision.pipeline import run_patrol

    with progress_bar("patrol", json_) as progress, looking as workers:
        result = run_patrol(
            media,
            track=track,
            camera=camera,
            clock_offset_s=clock_offset,
            track_start=instant(start),
            workers=workers,
            progress=progress,
        )
    collection = {"type": "FeatureCollection", "features": [feature(sighting) for sighting in result.sightings]}
    _write(collection, output)
    summary: dict[str, Any] = {
        "model": result.model,
        "started_at": result.started_at.isoformat() if result.started_at else None,
        "frames": {"read": result.frames_read, "judged": result.frames_judged, "skipped": result.frames_skipped},
        "sightings": len(result.sightings),
        "looks": len(result.looks),
        "clock": _clock(result.clock),
        "assumptions": list(result.assumptions),
        "faults": [_fault(fault) for fault in result.faults],
    }
    if report:
        _write(summary, report)
    if draw:
        draw.mkdir(parents=True, exist_ok=True)
        for name, data in draw_evidence(result.evidence, result.sightings):
            (draw / f"{Path(name).stem}.jpg").write_bytes(data)
    if not json_:
        for line in (*result.assumptions, *map(str, result.faults)):
            typer.echo(f"jiejing: {line}", err=True)
    _summarise(summary, json_, to_stdout=output is not None)
    raise typer.Exit(exit_code(result.frames_judged, len(result.faults), strict))


def _get_ready(workers: Workers, media: list[Path]) -> None:
    """Start the workers, and tell them the size of the first picture: most others have it too."""
    workers.start()
    from vision.pictures.media import find_media, read_picture

    with suppress(MediaError, OSError, IndexError):
        workers.expect(read_picture(find_media(media)[0]).size_wh)


def _write(value: dict[str, Any], output: Path | None) -> None:
    """JSON to stdout, or to a file that appears under its name only when it is complete."""
    text = json.dumps(value, ensure_ascii=False)
    if output is None:
        typer.echo(text)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(output.name + ".part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(output)


def _fault(fault: Fault) -> dict[str, str]:
    return {"file": fault.file, "reason": fault.reason, "remedy": fault.remedy}


def _clock(clock: ClockOffset) -> dict[str, Any]:
    return {
        "offset_s": round(clock.offset_s, 3),
        "sigma_s": round(clock.sigma_s, 3),
        "observed": clock.observed,
    }


def _summarise(summary: dict[str, Any], as_json: bool, *, to_stdout: bool) -> None:
    """The run in one line: to stdout unless the results themselves went there."""
    plain = ", ".join(f"{key} {value}" for key, value in summary.items() if not isinstance(value, list | dict))
    typer.echo(json.dumps(summary, ensure_ascii=False) if as_json else plain, err=not to_stdout)


def locate(
    detections: Annotated[Path, typer.Option(help="CSV: frame,time_s,class,score,x_min,y_min,x_max,y_max.")],
    track: Annotated[Path, typer.Option(help="CSV, GPX or NMEA track, or a video with telemetry.")],
    camera: Annotated[Path, typer.Option(help="Camera file, JSON (vision/camera.schema.json).")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="GeoJSON file; stdout without it.")] = None,
    start: Annotated[str | None, typer.Option(help="ISO 8601 instant that time_s counts from.")] = None,
    clock_offset: Annotated[
        float | None, typer.Option(help="Seconds to add to the detections' times; estimated without it.")
    ] = None,
    json_: Json = False,
) -> None:
    """Say where standing things are, each once: geometry and joining alone, without pictures."""
    from vision.locating.locate_files import instant, locate_files

    collection, located = locate_files(detections, track, camera, start=instant(start), clock_offset_s=clock_offset)
    _write(collection, output)
    summary = {
        "located": len(located.sightings),
        "looks": len(located.looks),
        "clock": _clock(located.clock),
        "notes": list(located.notes),
    }
    if not json_:
        for note in located.notes:
            typer.echo(f"jiejing: {note}", err=True)
    _summarise(summary, json_, to_stdout=output is not None)
