"""The command: composes the sub-commands lazily, nothing else.

Only the module of the command that is called gets imported, so that `jiejing --help` is instant.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# command -> (module, its Typer app or command function there, help in one line)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("serve.commands", "demo", "Run the sample patrol through the whole chain and serve the console."),
    "serve": ("serve.commands", "serve", "Run the server with an embedded worker."),
    "worker": ("serve.commands", "worker", "Run a worker alone, for a fleet."),
    "queue": ("serve.queue_commands", "app", "What waits, what was set aside; retry it."),
    "rescore": ("serve.queue_commands", "rescore", "Look at stored evidence with another model; compare."),
    "upload": ("serve.upload_commands", "upload", "Send a vehicle's patrols; goes on where it stopped."),
    "detect": ("vision.commands", "detect", "Find things in pictures: boxes as JSON, COCO or YOLO."),
    "patrol": ("vision.commands", "patrol", "Pictures or video and a track in, located sightings out."),
    "locate": ("vision.commands", "locate", "Geometry and joining alone: detections, track and camera in."),
    "camera": ("vision.camera_commands", "app", "Find out from a drive how a camera sits."),
    "keys": ("serve.key_commands", "app", "Keys for devices and systems: create, list, rotate, revoke."),
    "grid": ("serve.grid_commands", "app", "The city's unit grid: import it, list it."),
    "doctor": ("serve.operate_commands", "doctor", "Say what is wrong with an installation, and what to do."),
    "backup": ("serve.operate_commands", "backup", "Write books and files to one tar, while the server runs."),
    "restore": ("serve.operate_commands", "restore", "Put a backup into a new, empty installation."),
    "originals": ("serve.originals_commands", "app", "Look at what a vehicle sent, and see who did."),
    "simulate": ("training.simulate.commands", "app", "Draw streets with known truth: training pictures and patrols."),
    "dataset": ("training.commands", "dataset", "Check, import, split, preview and gather labelled pictures."),
    "train": ("training.commands", "train", "Train the detector; resumes after a kill."),
    "average": ("training.commands", "average", "Average checkpoints: sounder far from the training pictures."),
    "evaluate": ("training.commands", "evaluate", "Measure a model, or with --cases the cases of a simulated city."),
    "redact": ("training.evaluation.redaction_commands", "app", "Measure how well people and plates are hidden."),
    "compare": ("training.commands", "compare", "Hold two models against each other on the same pictures."),
    "export": ("training.commands", "export", "Turn a trained checkpoint into a model folder."),
    "publish": ("training.commands", "publish", "Ship a model, unless it finds clearly less than the one before."),
    "rollback": ("training.commands", "rollback", "Bring back the model that was published before."),
}


class LazyGroup(TyperGroup):
    """Lists the commands by name and help; imports one only when it is called."""

    def __init__(self, **attrs: Any) -> None:
        signposts = {name: TyperCommand(name, help=text) for name, (_, _, text) in COMMANDS.items()}
        super().__init__(**{**attrs, "commands": {**(attrs.get("commands") or {}), **signposts}})

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the table: the whole job first."""
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replace the signpost by the real command."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name in COMMANDS else command, rest


def _load(name: str) -> Any:
    module, attribute, text = COMMANDS[name]
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(name, help=function.__doc__ or text)(function)
    return typer.main.get_command(found)


app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jiejing {importlib.metadata.version('jiejing')}")
        raise typer.Exit


@app.callback()
def jiejing(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Jiejing (街净): street pictures and a GPS track go in, geotagged city-management cases come out."""


def main() -> None:
    """Run the command line; a user's error becomes one line and an exit code."""
    from vision.errors import JiejingError

    try:
        app()
    except JiejingError as error:
        typer.echo(f"jiejing: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
