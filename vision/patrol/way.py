"""Which way a patrol took: its track file, the positions in its pictures, or the telemetry in its videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from vision.errors import TrackError
from vision.patrol.frames import Footage, Frame
from vision.tracks.fixes import Fix
from vision.tracks.track import Track, in_the_right_week, read_track, track_from_fixes
from vision.tracks.track_files import is_video, read_fixes


@dataclass(frozen=True, slots=True)
class Way:
    """The track, the pictures in their order of time, and sentences on what was assumed. `begins`: seconds on the
    track's clock at which each video began whose telemetry the track is."""

    track: Track
    pictures: tuple[Frame, ...]
    assumptions: tuple[str, ...] = ()
    begins: Mapping[Path, float] = field(default_factory=dict)
    one_device: bool = False  # the pictures hold the track themselves, so there is one clock


def way_of(shots: Footage, track: Path | None, start: datetime | None) -> Way:
    """The way of a patrol. `start`: UTC of second 0 of a track without dates.

    Raises TrackError when the track can't be used, or there is none.
    """
    ordered = tuple(sorted(shots.pictures, key=lambda frame: (time_key(frame), frame.name)))
    if track is not None:
        if is_video(track):
            return _by_telemetry([track], ordered, start)
        route = read_track(track, start=start)
        taken = [time_key(frame) for frame in ordered if frame.taken_at is not None]
        about = start or (datetime.fromtimestamp(median(taken), UTC) if taken else None)
        return Way(in_the_right_week(route, about, keep_start=start is not None) if about else route, ordered)
    if any(frame.gps is not None for frame in shots.pictures):
        return _by_exif(shots.pictures)
    if shots.videos:
        way = _by_telemetry([video.path for video in shots.videos], ordered, start)
        return replace(way, assumptions=("No track was given: the positions are the videos' telemetry.",))
    raise TrackError(
        "no track was given and no picture holds a GPS position", remedy="give the patrol's track with --track FILE"
    )


def time_key(frame: Frame) -> float:
    """Seconds since 1970 for sorting; a naive time is read as UTC, a missing one sorts first."""
    if frame.taken_at is None:
        return 0.0
    return (frame.taken_at if frame.taken_at.tzinfo else frame.taken_at.replace(tzinfo=UTC)).timestamp()


def _by_telemetry(videos: Sequence[Path], pictures: tuple[Frame, ...], start: datetime | None) -> Way:
    """Videos that each hold a part of the track; without dates there can be only one. A video without telemetry costs
    itself, not the patrol."""
    raws, errors = [], []
    for path in videos:
        try:
            raws.append((path, read_fixes(path, None)))
        except TrackError as error:
            errors.append(error)
    if not raws:
        raise TrackError(f"no track was given; {errors[0].message}", remedy=errors[0].remedy)
    zero = start or next((raw.start for _, raw in raws if raw.start is not None), None)
    fixes: list[Fix] = []
    begins = {}
    for path, raw in raws:
        if raw.start is None and len(raws) > 1:
            errors.append(TrackError(f"{path}: its telemetry has no dates"))
            continue
        begins[path] = (raw.start - zero).total_seconds() if raw.start is not None and zero is not None else 0.0
        fixes += [replace(fix, time_s=fix.time_s + begins[path]) for fix in raw.fixes]
    fixes.sort(key=lambda fix: fix.time_s)
    notes = [*(note for _, raw in raws for note in raw.notes), *(f"{error.message}." for error in errors)]
    return Way(
        track_from_fixes(fixes, start=zero, source="telemetry", notes=notes), pictures, begins=begins, one_device=True
    )


def _by_exif(pictures: Sequence[Frame]) -> Way:
    placed = [frame for frame in pictures if frame.gps is not None]
    said = ["No track was given: the positions are those in the pictures' EXIF."]
    if len(placed) < len(pictures):
        said.append(f"{len(pictures) - len(placed)} pictures hold no position; it is interpolated by time.")
    if all(frame.taken_at is not None for frame in pictures):
        ordered = sorted(pictures, key=lambda frame: (time_key(frame), frame.name))
    else:
        said.append("Not every picture holds a time: they are taken in the order of their file names, a second apart.")
        epoch = datetime(2000, 1, 1, tzinfo=UTC)
        ordered = [
            replace(frame, taken_at=epoch + timedelta(seconds=i), time_sigma_s=0.5) for i, frame in enumerate(pictures)
        ]
    first = time_key(ordered[0])
    with_fix = [(frame, frame.gps) for frame in ordered if frame.gps is not None]
    fixes = [
        Fix(time_key(frame) - first, gps.longitude_deg, gps.latitude_deg, gps.altitude_m) for frame, gps in with_fix
    ]
    track = track_from_fixes(fixes, start=datetime.fromtimestamp(first, UTC), source="EXIF positions")
    # Naive times were read as UTC for the track's own clock too, so the two agree.
    aware = tuple(
        replace(frame, taken_at=frame.taken_at.replace(tzinfo=UTC))
        if frame.taken_at is not None and frame.taken_at.tzinfo is None
        else frame
        for frame in ordered
    )
    return Way(track, aware, tuple(said), one_device=True)
