"""The sample patrol through the whole chain, over real HTTP, as a vehicle would."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve.errors import InvalidInputError, SettingsError
from serve.intake.client import LocalFile, Vehicle
from vision.pictures.media import PICTURE_SUFFIXES
from vision.tracks.track import read_track

_OURS = "jiejing.sqlite"
_TRACKS = ("track.csv", "track.gpx")
Bar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True, slots=True)
class Passed:
    """One pass that was uploaded and processed."""

    name: str
    patrol: str
    report: dict[str, Any]


def fresh_folder(folder: Path) -> None:
    """Empty a demo's data folder. Raises SettingsError when what lies there is not a demo's."""
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / _OURS).exists():
        raise SettingsError(
            f"{folder} holds other files", remedy="give an empty or new folder with --data; the demo starts afresh"
        )
    shutil.rmtree(folder)


def passes_of(sample: Path) -> list[Path]:
    """The passes of a sample patrol, in order. Raises InvalidInputError when there are none."""
    found = sorted(path for path in sample.iterdir() if any((path / name).is_file() for name in _TRACKS))
    if not found:
        raise InvalidInputError(
            f"{sample} holds no passes", remedy="expected folders with pictures and a track.csv or track.gpx"
        )
    return found


def drive(vehicle: Vehicle, passes: Sequence[Path], bar: Bar) -> list[Passed]:
    """Upload one pass after the other and wait for each; `bar(title)` shows progress."""
    done = []
    for folder in passes:
        track = next(folder / name for name in _TRACKS if (folder / name).is_file())
        started_at = read_track(track).start
        if started_at is None:
            raise InvalidInputError(f"{track} holds no dates", remedy="give a track with a column time_utc")
        pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
        files = [LocalFile(path, "media") for path in pictures] + [LocalFile(track, "track")]
        with bar(f"{folder.name}: sending") as progress:
            patrol = vehicle.upload(started_at, files, camera=_camera(folder), progress=progress)
        with bar(f"{folder.name}: processing") as progress:
            report = vehicle.wait(patrol, progress=progress)
        done.append(Passed(folder.name, patrol, report))
    return done


def _camera(folder: Path) -> dict[str, Any] | None:
    for path in (folder / "camera.json", folder.parent / "camera.json"):
        if path.is_file():
            camera: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return camera
    return None
