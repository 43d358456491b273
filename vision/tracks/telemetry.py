"""Positions inside videos: GoPro's GPMF, CAMM and BlackVue, through mapillary_tools (the extra `telemetry`).

The boxes of a video state counts and lengths that a reader may believe, so the reading runs in a process of its own
with little memory and time (`vision.pictures.confined`); `answer` is what runs there.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from vision.errors import MediaError, TrackError
from vision.pictures.confined import messages
from vision.tracks.fixes import METRES_PER_HDOP, Fix, RawTrack

_OTHERWISE = "give the track as a file of its own: GPX, NMEA or CSV"
# Telemetry of an hour takes seconds.
_PATIENCE_S = 120.0
REMEDY = "install the reader with: pip install 'jiejing[telemetry]'; or give the track as GPX, NMEA or CSV"
# CAMM counts from GPS's own beginning, without leap seconds (18 since 2017); some writers count from 1970 all the same.
_GPS_BEGIN, _LEAP_S = datetime(1980, 1, 6, tzinfo=UTC), 18


def telemetry_fixes(path: Path, start: datetime | None) -> RawTrack:
    """The fixes that a video carries. Seconds count from the video's first picture, or from `start`; `RawTrack.start`
    is the first picture's instant by the receiver's clock, None when the telemetry has no dates.

    Raises TrackError that names the remedy when the reader is not installed, or the video carries no position.
    """
    if importlib.util.find_spec("mapillary_tools") is None:
        raise TrackError(f"{path}: reading a video's own track needs mapillary_tools", remedy=REMEDY)
    job = {"path": str(path), "telemetry": True, "start": start.isoformat() if start else None}
    try:
        (said, _), *_ = messages(job, start_s=_PATIENCE_S)
    except MediaError as error:
        raise TrackError(f"{path}: {error.message}", remedy=_OTHERWISE) from error
    zero = datetime.fromisoformat(said["start"]) if said["start"] else None
    return RawTrack(zero, tuple(Fix(*values) for values in said["fixes"]), tuple(said["notes"]))


def answer(path: Path, job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], None]]:
    """Do a job where it can do no harm: all fixes in one message. Raises MediaError."""
    raw = _read(path, datetime.fromisoformat(job["start"]) if job["start"] else None)
    fixes = [dataclasses.astuple(fix) for fix in raw.fixes]
    yield {"start": raw.start.isoformat() if raw.start else None, "fixes": fixes, "notes": raw.notes}, None


def _read(path: Path, start: datetime | None) -> RawTrack:
    from mapillary_tools import blackvue_parser
    from mapillary_tools.camm import camm_parser
    from mapillary_tools.gpmf import gpmf_parser

    logging.getLogger("mapillary_tools").setLevel(logging.ERROR)
    for extract in (
        gpmf_parser.extract_gopro_info,
        camm_parser.extract_camm_info,
        blackvue_parser.extract_blackvue_info,
    ):
        try:
            with path.open("rb") as file:
                info = extract(file)
            points = (info.gps or getattr(info, "mini_gps", None)) if info is not None else None
            if points:
                return _raw(points, start)
        except OSError as error:
            raise MediaError(f"cannot be read ({error.strerror})", remedy="check the path") from error
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - a broken box of one maker's format says nothing about the next
            continue
    raise MediaError(
        "carries no position telemetry (GoPro, CAMM or BlackVue)",
        remedy=_OTHERWISE,
    )


def _raw(points: Iterable[Any], start: datetime | None) -> RawTrack:
    fixed = [point for point in points if getattr(getattr(point, "fix", None), "value", 3) > 0]
    begins = [moment.timestamp() - float(point.time) for point in fixed if (moment := _moment_of(point)) is not None]
    zero = datetime.fromtimestamp(median(begins), UTC) if begins else None
    shift = (zero - start).total_seconds() if zero is not None and start is not None else 0.0
    lost = len(list(points)) - len(fixed)
    notes = (f"{lost} fix{'es' if lost > 1 else ''} dropped: the receiver had no position.",) if lost else ()
    return RawTrack(
        start if zero is not None and start is not None else zero, tuple(_fix(p, shift) for p in fixed), notes
    )


def _moment_of(point: Any) -> datetime | None:
    """The receiver's own time of a point."""
    seconds = point.get_gps_epoch_time() if hasattr(point, "get_gps_epoch_time") else None
    if seconds is None:
        return None
    if hasattr(point, "time_gps_epoch"):
        since_gps = _GPS_BEGIN + timedelta(seconds=float(seconds) - _LEAP_S)
        if since_gps < datetime.now(UTC) + timedelta(days=1):
            return since_gps
    return datetime.fromtimestamp(float(seconds), UTC)


def _fix(point: Any, shift_s: float) -> Fix:
    dilution = getattr(point, "precision", None)  # GoPro: hundred times the dilution of precision
    accuracy = getattr(point, "horizontal_accuracy", None) or (
        max(1.0, dilution / 100 * METRES_PER_HDOP) if dilution else None
    )
    speed = getattr(point, "ground_speed", None)
    if speed is None and hasattr(point, "velocity_east"):
        speed = float((point.velocity_east**2 + point.velocity_north**2) ** 0.5)
    return Fix(
        float(point.time) + shift_s,
        float(point.lon),
        float(point.lat),
        altitude_m=None if point.alt is None else float(point.alt),
        accuracy_m=accuracy,
        speed_mps=speed,
    )
