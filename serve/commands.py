"""The commands of the server: `serve`, `worker`, `demo`. Heavy imports happen inside, so that help is instant."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from serve.demo import Passed
    from serve.settings import Settings
    from serve.store.database import Database

Data = Annotated[Path | None, typer.Option(help="Folder for database, uploads and pictures.", show_default="var/data")]
Model = Annotated[
    str | None, typer.Option(help="Model folder, or the name of a shipped model.", show_default="street-n")
]
Port = Annotated[int | None, typer.Option(help="Port to listen on.", min=0, max=65535, show_default="8311")]


_OF_AN_INSTALLATION = {
    **dict.fromkeys(("api_key", "oidc_issuer", "oidc_audience", "oidc_jwks", "originals_key")),
    **dict.fromkeys(("database_url", "jobs_url", "store_url")),
    "require_keys": False,
}


def settings_of(**given: Any) -> Settings:
    """The settings of environment and .env file, with what the command line says above them."""
    from pydantic import ValidationError

    from serve.errors import SettingsError
    from serve.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(str(step) for step in fault["loc"])
        raise SettingsError(
            f"the setting {name!r}: {fault['msg']}", remedy=f"correct JIEJING_{name.upper()}, .env or the option"
        ) from error


@contextmanager
def opened(data: Path | None, jurisdiction: str | None = None) -> Iterator[tuple[Database, str]]:
    """The database that the settings name, up to date, and the jurisdiction that is meant."""
    from serve.store.database import Database

    settings = settings_of(data=data, jurisdiction=jurisdiction)
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    try:
        database.migrate()
        yield database, settings.jurisdiction
    finally:
        database.close()


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; any but loopback needs JIEJING_API_KEY.", show_default="127.0.0.1"),
    ] = None,
    port: Port = None,
    data: Data = None,
    model: Model = None,
    base_map: Annotated[Path | None, typer.Option(help="GeoJSON to draw under the cases.")] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Take uploads only; `jiejing worker` does the work.")
    ] = False,
) -> None:
    """Run the server with an embedded worker: vehicles upload, case systems read, people look at the map.

    Everything can also be set by JIEJING_… variables or an .env file, such as JIEJING_API_KEY, JIEJING_DATABASE_URL.
    """
    settings = settings_of(host=host, port=port, data=data, model=model, base_map=base_map)
    settings.refuse_open_door()
    from serve.app import create_app, preflight
    from serve.server import configure_logs, listen, run

    configure_logs(quiet=False)
    app = create_app(settings, works=not no_worker)
    preflight(settings)
    opened = listen(settings.host, settings.port)
    typer.echo(f"jiejing: http://{_shown(opened.getsockname())} (data in {settings.data}); Ctrl-C ends it", err=True)
    run(app, opened)


def worker(
    name: Annotated[
        str | None, typer.Option(help="Name of this worker: its own in a fleet.", show_default="local")
    ] = None,
    data: Data = None,
    model: Model = None,
) -> None:
    """Run a worker alone: it processes what servers on the same database and data folder have taken in."""
    from serve.app import start_engine
    from serve.server import configure_logs

    settings = settings_of(worker_name=name, data=data, model=model)
    configure_logs(quiet=False)
    done = threading.Event()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda *_: done.set())
    engine = start_engine(settings)
    typer.echo(f"jiejing: worker {settings.worker_name!r} (data in {settings.data}); Ctrl-C ends it", err=True)
    done.wait()
    engine.close()


def demo(
    port: Port = None,
    data: Annotated[Path, typer.Option(help="Folder for the demo's data; emptied at the start.")] = Path("var/demo"),
    sample: Annotated[
        Path | None, typer.Option(help="Another sample patrol: folders with pictures and a track.")
    ] = None,
    model: Model = None,
    exit_when_done: Annotated[bool, typer.Option("--exit-when-done", help="End instead of serving on.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, for machines.")] = False,
) -> None:
    """Run the sample patrol through the whole chain and serve the console.

    A server starts with fresh data, both passes are uploaded over HTTP as a vehicle would, and the page stays open
    until Ctrl-C.
    """
    from serve.app import create_app, preflight
    from serve.demo import drive, fresh_folder, passes_of
    from serve.intake.client import Vehicle
    from serve.server import configure_logs, in_background, listen
    from vision.shipped import dataset_folder

    folder = sample or dataset_folder("sample-patrol")
    passes = passes_of(folder)
    fresh_folder(data)
    streets = folder / "streets.geojson"
    settings = settings_of(
        host="127.0.0.1",
        port=port,
        data=data,
        model=model,
        base_map=streets if streets.is_file() else None,
        place_name="Sample street 示范街",
    )
    # Whatever installation the environment names: the demo has nothing to do with it.
    settings = settings.model_copy(update=_OF_AN_INSTALLATION)
    configure_logs(quiet=True)
    app = create_app(settings)
    preflight(settings)
    opened = listen(settings.host, settings.port)
    url = f"http://{_shown(opened.getsockname())}"
    ended = threading.Event()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda *_: _interrupt(ended))
    failed = False
    try:
        with in_background(app, opened):
            _say(as_json, f"Console on {url}")
            vehicle = Vehicle(url, "demo-vehicle")
            done = drive(vehicle, passes, progress_bar(as_json))
            failed = any(one.report["state"] == "failed" for one in done)
            _tell(url, done, vehicle.cases(), as_json)
            if not exit_when_done:
                _say(as_json, f"\nOpen {url} in a browser; Ctrl-C ends the demo.")
                ended.wait()
    except KeyboardInterrupt:
        _say(as_json, "\nEnded.")
    if failed:
        raise typer.Exit(1)


def _interrupt(ended: threading.Event) -> None:
    """End the wait at the end of the demo, or break off whatever comes before it."""
    ended.set()
    raise KeyboardInterrupt


def _shown(address: tuple[Any, ...]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _say(as_json: bool, text: str) -> None:
    typer.echo(text, err=as_json)


def progress_bar(as_json: bool) -> Any:
    """Progress bars on a terminal; elsewhere one line per step."""

    @contextmanager
    def bar(title: str) -> Iterator[Callable[[int, int], None]]:
        if as_json or not sys.stderr.isatty():
            _say(as_json, title)
            yield lambda done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:22}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as shown:
            task = shown.add_task(title, total=None)
            yield lambda done, total: shown.update(task, completed=done, total=total)
            shown.update(task, total=1, completed=1)

    return bar


def _tell(url: str, done: list[Passed], cases: list[dict[str, Any]], as_json: bool) -> None:
    """What came of it: per pass, then case by case."""
    if as_json:
        patrols = [{"pass": one.name, "patrol": one.patrol, "report": one.report} for one in done]
        typer.echo(json.dumps({"url": url, "patrols": patrols, "cases": cases}, ensure_ascii=False, indent=1))
        return
    for one in done:
        tally, frames = one.report["cases"], one.report["frames"]
        typer.echo(
            f"{one.name}: {one.report['state']}, {frames['judged']} of {frames['read']} frames judged,"
            f" {one.report['sightings']} sightings; cases opened {tally['opened']}, joined {tally['joined']},"
            f" seen well and not there {tally['verified']}"
        )
        for error in one.report["errors"]:
            typer.echo(f"  {error['file']}: {error['reason']} ({error['remedy']})")
    typer.echo(f"\n{len(cases)} cases:")
    for case in sorted(cases, key=lambda one: (one["properties"]["class"], one["id"])):
        about, (lon, lat) = case["properties"], case["geometry"]["coordinates"]
        typer.echo(
            f"  {about['matter_code']} {about['matter_name']} ({about['class']}) at {lat:.6f}, {lon:.6f}"
            f" ± {about['error_radius_m']:.1f} m, score {about['score']:.2f}, seen by {about['sightings']} pass(es)"
        )
