"""A folder on the vehicle as patrols to send: which files, of which kind, under which names, from when."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from serve.errors import InvalidInputError
from serve.intake.client import LocalFile, reading, sha256_of
from vision.pictures.media import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from vision.tracks.track import read_track

STATE = ".jiejing-upload.json"
_MEDIA = PICTURE_SUFFIXES | VIDEO_SUFFIXES
_TRACKS = ("track.csv", "track.gpx", "track.nmea")
_CAMERA = "camera.json"


@dataclass(frozen=True, slots=True)
class Run:
    """One patrol in a folder. `camera`: the camera file's content."""

    folder: Path
    started_at: datetime
    files: tuple[LocalFile, ...]
    camera: dict[str, Any] | None


def runs_in(
    folder: Path,
    *,
    track: Path | None = None,
    camera: Path | None = None,
    started_at: datetime | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Run]:
    """The patrols of a folder: itself when it holds a track or media, else each of its folders that does.

    `track`, `camera`, `started_at` stand in for what lies there; `progress`: files read of files there are. Hashes are
    kept in a small file beside the media, so that going on after days does not read everything again. Raises
    InvalidInputError, TrackError, UploadError.
    """
    if not folder.is_dir():
        raise InvalidInputError(
            f"{folder} is no folder", remedy="give the folder that holds the pictures and the track"
        )
    found = (
        [folder]
        if _is_run(folder)
        else sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".") and _is_run(path)
        )
    )
    if not found:
        raise InvalidInputError(f"{folder} holds no pictures or videos", remedy="give the folder of a patrol")
    if len(found) > 1 and (track or started_at):
        raise InvalidInputError(
            f"{folder} holds {len(found)} patrols", remedy="give them one by one with --track or --started-at"
        )
    return [_run(path, track or _track(path), camera, started_at, progress) for path in found]


def _is_run(folder: Path) -> bool:
    return any(_is_media(path.relative_to(folder)) or path.name in _TRACKS for path in folder.iterdir())


def _is_media(path: Path) -> bool:
    """By its suffix; what lies hidden is a system's own (`._0001.jpg`, `.Trashes/`), whatever its suffix."""
    return path.suffix.lower() in _MEDIA and not any(part.startswith(".") for part in path.parts)


def _track(folder: Path) -> Path | None:
    return next((folder / name for name in _TRACKS if (folder / name).is_file()), None)


def _run(
    folder: Path,
    track: Path | None,
    camera: Path | None,
    started_at: datetime | None,
    progress: Callable[[int, int], None] | None,
) -> Run:
    if started_at is None and track is not None:
        started_at = read_track(track).start
    if started_at is None:
        raise InvalidInputError(
            f"{folder}: nothing says when the patrol started",
            remedy="give a track with dates, or --started-at 2026-11-20T08:00:00+08:00",
        )
    paths = sorted(path for path in folder.rglob("*") if _is_media(path.relative_to(folder)) and path.is_file())
    if not paths:
        raise InvalidInputError(f"{folder} holds no pictures or videos", remedy="give the folder of a patrol")
    wanted = [(path, "media", "__".join(path.relative_to(folder).parts)) for path in paths]
    if track is not None:
        wanted.append((track, "track", track.name))
    hashes = _hashes(folder, [path for path, _, _ in wanted], progress)
    files = tuple(LocalFile(path, kind, name, hashes[path]) for path, kind, name in wanted)
    return Run(folder, started_at, files, _camera(folder, camera))


def _camera(folder: Path, given: Path | None) -> dict[str, Any] | None:
    for path in (given,) if given else (folder / _CAMERA, folder.parent / _CAMERA):
        if path.is_file():
            try:
                camera: dict[str, Any] = json.loads(path.read_text("utf-8"))
            except ValueError as error:
                raise InvalidInputError(f"{path} is no JSON: {error}", remedy="correct the camera file") from error
            return camera
    if given:
        raise InvalidInputError(f"{given} is not there", remedy="give the camera file's path")
    return None


def _hashes(folder: Path, paths: list[Path], progress: Callable[[int, int], None] | None) -> dict[Path, str]:
    """Each file's SHA-256; those of unchanged files come from the state file."""
    state = folder / STATE
    known: dict[str, list[Any]] = {}
    with suppress(OSError, ValueError):
        known = json.loads(state.read_text("utf-8"))["files"]
    found, rows = {}, {}
    for done, path in enumerate(paths, start=1):
        with reading(path):
            stat = path.stat()
            row = known.get(str(path.absolute()))
            if row is None or row[:2] != [stat.st_size, stat.st_mtime_ns]:
                row = [stat.st_size, stat.st_mtime_ns, sha256_of(path)]
        found[path], rows[str(path.absolute())] = row[2], row
        if progress:
            progress(done, len(paths))
    if rows != known:
        # A folder that cannot be written to only costs reading the files again.
        with suppress(OSError):
            part = state.with_suffix(".part")
            part.write_text(json.dumps({"files": rows}), "utf-8")
            os.replace(part, state)  # noqa: PTH105  # atomic, and named so
    return found
