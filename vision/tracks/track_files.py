"""Track files into raw fixes: CSV, GPX, NMEA, and the telemetry inside a video.

CSV, with a header: `time_utc` (ISO 8601) or `time_s` (seconds), `latitude_deg`, `longitude_deg`, and optionally
`altitude_m`, `accuracy_m` (one sigma per axis), `heading_deg`, `pitch_deg`, `roll_deg`, `speed_mps`. GPX: track points
with times, in file order over all tracks and segments. NMEA: `vision.tracks.nmea`; videos: `vision.tracks.telemetry`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from vision.errors import TrackError
from vision.tracks.fixes import METRES_PER_HDOP, Fix, RawTrack
from vision.tracks.nmea import looks_like_nmea, nmea_fixes
from vision.tracks.telemetry import telemetry_fixes

MOST_BYTES = 256 * 2**20
_HEAD_BYTES = 64 * 2**10
_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
_ALIASES = {
    "latitude_deg": ("latitude_deg", "latitude", "lat"),
    "longitude_deg": ("longitude_deg", "longitude", "lon", "lng"),
    "altitude_m": ("altitude_m", "altitude", "ele"),
    "accuracy_m": ("accuracy_m",),
    "heading_deg": ("heading_deg",),
    "pitch_deg": ("pitch_deg",),
    "roll_deg": ("roll_deg",),
    "speed_mps": ("speed_mps",),
}
_CSV_REMEDY = "a CSV track has a header with time_utc (ISO 8601) or time_s, latitude_deg and longitude_deg"


def read_fixes(path: Path, start: datetime | None) -> RawTrack:
    """Read a track file; the content decides which of the formats it is. Raises TrackError."""
    try:
        return _read(path, start)
    except OverflowError as error:
        raise TrackError(
            f"{path}: its times lead beyond any calendar ({error})", remedy="give the track of one patrol"
        ) from error


def _read(path: Path, start: datetime | None) -> RawTrack:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if _is_video(head):
            return telemetry_fixes(path, start)
        if path.stat().st_size > MOST_BYTES:
            raise TrackError(f"{path}: larger than {MOST_BYTES >> 20} MB", remedy="split the track")
        data = path.read_bytes()
    except OSError as error:
        raise TrackError(f"{path}: cannot be read ({error.strerror})", remedy="check the path of --track") from error
    if looks_like_nmea(head):
        return nmea_fixes(data, start)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrackError(
            f"{path}: is not text", remedy="tracks are CSV, GPX or NMEA, or a video's telemetry"
        ) from error
    if text.lstrip().startswith("<"):
        return _gpx(path, text, start)
    return _csv(path, text, start)


def is_video(path: Path) -> bool:
    """Whether a track file is an MP4 or QuickTime video; False when it cannot be read."""
    try:
        with path.open("rb") as file:
            return _is_video(file.read(8))
    except OSError:
        return False


def _is_video(head: bytes) -> bool:
    return head[4:8] in _FIRST_BOXES


def _csv(path: Path, text: str, start: datetime | None) -> RawTrack:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(reader)
    except csv.Error as error:
        raise TrackError(f"{path}: is not CSV ({error})", remedy=_CSV_REMEDY) from error
    names = {name.strip().lower(): name for name in reader.fieldnames or () if name}
    columns = {
        wanted: names[found]
        for wanted, aliases in _ALIASES.items()
        if (found := next((alias for alias in aliases if alias in names), None))
    }
    missing = [name for name in ("latitude_deg", "longitude_deg") if name not in columns]
    if not {"time_utc", "time_s"} & set(names):
        missing.append("time_utc or time_s")
    if missing:
        raise TrackError(f"{path}: no column {', '.join(missing)}", remedy=_CSV_REMEDY)
    clock: list[datetime | None] | None = None
    if "time_utc" in names:
        clock = [_instant(row.get(names["time_utc"]) or "") for row in rows]
        zero = _utc(start) if start else next((moment for moment in clock if moment), None)
        times = [(moment - zero).total_seconds() if moment and zero else math.nan for moment in clock]
    else:
        zero = _utc(start) if start else None
        times = [_number(row.get(names["time_s"])) for row in rows]
    fixes = tuple(_fix(row, columns, time_s) for row, time_s in zip(rows, times, strict=True))
    return RawTrack(zero, fixes)


def _fix(row: Mapping[str, str | None], columns: Mapping[str, str], time_s: float) -> Fix:
    values = {name: _number(row.get(column)) for name, column in columns.items()}
    optional = {
        name: value
        for name, value in values.items()
        if name not in ("latitude_deg", "longitude_deg") and math.isfinite(value)
    }
    if optional.get("accuracy_m", 1.0) <= 0:
        del optional["accuracy_m"]
    return Fix(time_s, values["longitude_deg"], values["latitude_deg"], **optional)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _instant(text: str) -> datetime | None:
    try:
        return _utc(datetime.fromisoformat(text.strip()))
    except ValueError:
        return None


def _utc(moment: datetime) -> datetime:
    """In UTC. A moment at an end of the calendar, which no other zone has, or one whose zone is days off, stays as it
    is: it is no time of a drive."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (OverflowError, ValueError):
        return moment.replace(tzinfo=UTC)


def _gpx(path: Path, text: str, start: datetime | None) -> RawTrack:
    import gpxpy
    import gpxpy.gpx
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    remedy = "give a GPX 1.0 or 1.1 file without document types or entities, or a CSV track"
    try:
        # gpxpy does not guard against entity bombs: this parse refuses them first.
        fromstring(text.encode("utf-8"), forbid_dtd=True)
        parsed = gpxpy.parse(text)
    except (DefusedXmlException, ParseError, gpxpy.gpx.GPXException, ValueError) as error:
        raise TrackError(
            f"{path}: is not a usable GPX file ({type(error).__name__}: {error})", remedy=remedy
        ) from error
    points = [point for track in parsed.tracks for segment in track.segments for point in segment.points]
    timed = [(point, _utc(point.time)) for point in points if point.time is not None]
    zero = _utc(start) if start else (timed[0][1] if timed else None)
    fixes = tuple(
        Fix(
            (moment - zero).total_seconds(),
            float(point.longitude),
            float(point.latitude),
            altitude_m=_known(point.elevation),
            accuracy_m=_accuracy(point.horizontal_dilution),
        )
        for point, moment in timed
        if zero is not None
    )
    untimed = len(points) - len(timed)
    notes = (f"{untimed} track point{'s' if untimed > 1 else ''} without a time dropped.",) if untimed else ()
    return RawTrack(zero, fixes, notes)


def _known(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _accuracy(hdop: float | None) -> float | None:
    known = _known(hdop)
    return max(1.0, known * METRES_PER_HDOP) if known is not None and known > 0 else None
