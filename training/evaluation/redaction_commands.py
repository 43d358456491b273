"""`jiejing redact`: how well people and plates are hidden. Heavy imports happen inside, so that help is instant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vision.errors import UsageError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="How well people and plates are hidden.")


@app.callback()
def redact() -> None:
    """How well people and plates are hidden."""


@app.command()
def evaluate(
    labels: Annotated[Path, typer.Argument(help="JSON: {picture: [[kind, x1, y1, x2, y2], …]} in fractions.")],
    pictures: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    model: Annotated[
        str | None, typer.Option(help="Model folder, or the name of a shipped model.", show_default="street-n")
    ] = None,
    store: Annotated[bool, typer.Option("--store", help="Write redaction.json and the card in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, for machines.")] = False,
) -> None:
    """Measure what the redaction hides of people, faces, plates and vehicles, by size and angle, and what in vain."""
    from training.evaluation.redaction import look_at, read_labels, report, stored, table
    from vision.commands import progress_bar
    from vision.detecting.detector import Detector

    known = read_labels(labels)
    missing = [name for name in known if not (pictures / name).is_file()]
    if missing or not known:
        raise UsageError(f"{len(missing)} of {len(known)} pictures are not in {pictures}", remedy="give --pictures DIR")
    detector = Detector.load(model)
    covers = []
    with progress_bar("redact", as_json) as progress:
        for done, (name, rows) in enumerate(known.items(), start=1):
            covers.append(look_at(detector, pictures / name, rows))
            progress(done, len(known))
    hidden = {
        name: score for name, score in zip(detector.model.classes, detector.model.hide_from, strict=True) if score <= 1
    }
    found = report(detector.model.id, hidden, covers)
    if store:
        stored(detector.model.folder, found)
    typer.echo(json.dumps(found, indent=1) if as_json else table(found))
