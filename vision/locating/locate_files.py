"""`jiejing locate`: detections, track and camera files in, GeoJSON out."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vision.camera import Camera, read_camera
from vision.detections import Detections, FrameDetections
from vision.errors import UsageError
from vision.locating.locate import Located, locate
from vision.sightings import Sighting
from vision.tracks.clock import ONE_CLOCK, agreed, forced
from vision.tracks.track import read_track

_COLUMNS = ("frame", "time_s", "class", "score", "x_min", "y_min", "x_max", "y_max")
_REMEDY = f"a detections CSV has the header {','.join(_COLUMNS)}; seconds and pixels"


# Both files count from one start: where the drive doesn't tell, they are believed to this.
CLOCK_DOUBT_S = 0.1


def locate_files(
    detections: Path,
    track: Path,
    camera: Path,
    *,
    start: datetime | None = None,
    clock_offset_s: float | None = None,
) -> tuple[dict[str, Any], Located]:
    """Locate what a detections CSV holds: the GeoJSON FeatureCollection, and the result behind it.

    `clock_offset_s`: seconds to add to the detections' times; without it the drive itself is asked. Raises UsageError,
    TrackError or CameraError that names the file and the remedy.
    """
    lens, route = read_camera(camera), read_track(track, start=start)
    frames = read_detections(detections, lens)
    if clock_offset_s is None:
        times = np.array([frame.time_s for frame in frames])
        clock = agreed(times, [frame.detections for frame in frames], route, lens, CLOCK_DOUBT_S)
    else:
        clock = forced(clock_offset_s) if clock_offset_s else ONE_CLOCK
    found = locate(frames, route, lens, clock=clock)
    return {"type": "FeatureCollection", "features": [feature(s) for s in found.sightings]}, found


def instant(text: str | None) -> datetime | None:
    """An ISO 8601 instant from the command line, UTC without a zone. Raises UsageError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--start {text}: {error}", remedy="give ISO 8601, such as 2026-11-22T08:00:00Z") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def feature(sighting: Sighting) -> dict[str, Any]:
    """One sighting as a GeoJSON point; longitude and latitude to a millimetre."""
    return {
        "type": "Feature",
        "geometry": {
            "type": "Point",
            "coordinates": [round(sighting.longitude_deg, 8), round(sighting.latitude_deg, 8)],
        },
        "properties": {
            "class": sighting.class_name,
            "score": round(sighting.score, 4),
            "error_radius_m": round(sighting.error_radius_m, 3),
            "frames": sighting.frames,
            "first_seen_s": round(sighting.first_seen_s, 3),
            "last_seen_s": round(sighting.last_seen_s, 3),
        },
    }


def read_detections(path: Path, camera: Camera) -> list[FrameDetections]:
    """Read a detections CSV into frames; pixels are those of the camera file. Raises UsageError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", remedy="check --detections") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: is not CSV ({error})", remedy=_REMEDY) from error
    header = text.split("\n", 1)[0]
    missing = [name for name in _COLUMNS if name not in [column.strip() for column in header.split(",")]]
    if missing:
        raise UsageError(f"{path}: no column {', '.join(missing)}", remedy=_REMEDY)
    frames: dict[tuple[float, str], list[tuple[str, float, tuple[float, float, float, float]]]] = {}
    for line, row in enumerate(rows, start=2):
        try:
            time_s, score = float(row["time_s"]), float(row["score"])
            box = (float(row["x_min"]), float(row["y_min"]), float(row["x_max"]), float(row["y_max"]))
            if not all(map(math.isfinite, (time_s, score, *box))) or not 0 <= score <= 1:
                raise ValueError("a number is not finite, or the score is not from 0 to 1")
        except (TypeError, ValueError) as error:
            raise UsageError(f"{path}: line {line}: {error}", remedy=_REMEDY) from error
        frames.setdefault((time_s, row["frame"]), []).append((row["class"], score, box))
    classes = tuple(sorted({name for found in frames.values() for name, _, _ in found}))
    return [
        FrameDetections(name, time_s, _detections(found, camera, classes))
        for (time_s, name), found in sorted(frames.items())
    ]


def _detections(
    found: Sequence[tuple[str, float, tuple[float, float, float, float]]], camera: Camera, classes: tuple[str, ...]
) -> Detections:
    best_first = sorted(found, key=lambda row: (-row[1], row[0], row[2]))
    return Detections.of(best_first, camera.size_wh, class_names=classes)
