"""A whole patrol: read, judge, detect, join, locate, hide people, keep the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

import numpy as np

from vision.camera import Camera, assumed_camera, read_camera
from vision.detecting.model import Model
from vision.detecting.workers import Job, Seen, Workers
from vision.detections import Detections, FrameDetections
from vision.errors import Fault, JiejingError, MediaError, TrackError
from vision.locating.locate import locate
from vision.patrol import frames
from vision.patrol.early import Early
from vision.patrol.frames import Frame
from vision.patrol.pacing import ENOUGH, Pacer
from vision.patrol.views import promise
from vision.patrol.way import Way, way_of
from vision.pictures import redact
from vision.pictures.draw import shown_wh
from vision.pictures.video import read_video
from vision.sightings import EvidenceBox, Look, Sighting
from vision.taxonomy import CLASSES, PRIVATE
from vision.tracks.clock import ONE_CLOCK, ClockOffset, agreed, forced
from vision.tracks.track import Track

VIDEO_EVERY_S = 0.5
# A camera set by hand or by its phone, where the drive itself does not tell.
CLOCK_DOUBT_S = 0.5
REPORTED = frozenset(CLASSES) - PRIVATE
Progress = Callable[[int, int], None]
_Answer = Future[Seen | Fault]


@dataclass(frozen=True, slots=True)
class EvidenceFrame:
    """One redacted picture that may be shown.

    `jpeg`: without EXIF, longest side at most 1920 px; `scale`: its pixels per full-resolution pixel, so that
    `EvidenceBox.box_xyxy * scale` are its boxes; `person_over_evidence`: a hidden person or vehicle overlaps a
    sighting.
    """

    frame: str
    taken_at: datetime | None
    jpeg: bytes
    size_wh: tuple[int, int]
    scale: float
    person_over_evidence: bool


@dataclass(frozen=True, slots=True)
class PatrolResult:
    """All that one patrol yields. `assumptions` are sentences about what was assumed where the input said nothing;
    `started_at` is second 0 of the sightings' and looks' times, None when neither track nor pictures hold dates."""

    model: str
    started_at: datetime | None
    sightings: tuple[Sighting, ...]
    looks: tuple[Look, ...]
    evidence: tuple[EvidenceFrame, ...]
    faults: tuple[Fault, ...]
    assumptions: tuple[str, ...]
    frames_read: int
    frames_judged: int
    frames_skipped: int
    clock: ClockOffset = ONE_CLOCK


@dataclass(frozen=True, slots=True)
class _Judged:
    """A frame that was looked at: all it showed down to the hiding threshold, and how well it could be judged; `kept`:
    the number under which the worker may have its pixels; `ready`: where it was made ready to be shown at once."""

    frame: Frame
    time_s: float
    seen: Detections
    quality: float
    kept: int | None = None
    ready: _Answer | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """A drive whose frames were looked at. `judged` and `seen`: the same frames in order of time, with all that they
    showed and with what counts as seen; `read`: how many there were."""

    way: Way
    judged: tuple[_Judged, ...]
    seen: tuple[FrameDetections, ...]
    faults: tuple[Fault, ...]
    assumptions: tuple[str, ...]
    read: int


def run_patrol(
    media: Sequence[Path],
    *,
    model: str | Path | None = None,
    track: Path | None = None,
    camera: Path | None = None,
    clock_offset_s: float | None = None,
    track_start: datetime | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> PatrolResult:
    """Turn the pictures and videos of one patrol into sightings, looks and redacted evidence.

    `media`: files, or folders of them; `track`: a track file, else the pictures' EXIF positions or the videos'
    telemetry; `camera`: a camera file, else assumptions that are stated; `clock_offset_s`: seconds to add to the
    pictures' times; `track_start`: UTC of second 0 of a track without dates; `workers`: that look at the frames,
    instead of new ones for `model`.

    Raises TrackError when there is no usable track, CameraError for a wrong camera file, MediaError when no frame could
    be used. A picture that can't be read or judged becomes a fault. Frames that show nothing new are skipped undecoded
    (`vision.patrol.pacing`).
    """
    if workers is None:
        with Workers(model) as own:
            return run_patrol(
                media,
                track=track,
                camera=camera,
                clock_offset_s=clock_offset_s,
                track_start=track_start,
                workers=own,
                progress=progress,
            )
    workers.start()
    given = read_camera(camera) if camera is not None else None
    drive = watch(
        media,
        track=track,
        clock_offset_s=clock_offset_s,
        track_start=track_start,
        workers=workers,
        progress=progress,
    )
    route, judged, faults = drive.way.track, drive.judged, list(drive.faults)
    lens, camera_notes = (given, ()) if given else _assumed_lens(judged)
    clock = _clock_error(drive, lens, clock_offset_s)
    ready = {one.frame.name: one.ready for one in judged if one.ready is not None}
    located = locate(
        drive.seen,
        route,
        lens,
        classes=REPORTED,
        clock=clock,
        foresee=lambda names: _make_ready(names, judged, ready, workers),
    )
    notes = (*drive.assumptions, *camera_notes, *route.notes, *located.notes)
    return PatrolResult(
        model=workers.model.id,
        started_at=route.start or _first_moment(judged),
        sightings=located.sightings,
        looks=located.looks,
        evidence=tuple(_evidence(located.sightings, judged, ready, workers, faults)),
        faults=tuple(faults),
        assumptions=tuple(dict.fromkeys(notes)),
        frames_read=drive.read,
        frames_judged=len(judged),
        frames_skipped=drive.read - len(judged),
        clock=clock,
    )


def _clock_error(drive: Watched, lens: Camera, told_s: float | None) -> ClockOffset:
    """How far the frames' times are still off: by nothing when the user said, or one device wrote both."""
    if told_s is not None:
        return replace(forced(told_s), offset_s=0.0)  # it is in the times already
    if drive.way.one_device:
        return ONE_CLOCK
    times = np.array([one.time_s for one in drive.seen])
    # People and vehicles move or hide what stands: they cost much time here and tell little.
    standing = [one.detections.of_classes(REPORTED) for one in drive.seen]
    return agreed(times, standing, drive.way.track, lens, CLOCK_DOUBT_S)


def watch(
    media: Sequence[Path],
    *,
    track: Path | None,
    clock_offset_s: float | None,
    track_start: datetime | None,
    workers: Workers,
    progress: Progress | None = None,
) -> Watched:
    """Look at all frames of a drive that its track covers; arguments and errors as those of `run_patrol`."""
    workers.start()
    begun: dict[Path, tuple[int, _Answer]] = {}

    def begin(frame: Frame) -> None:
        """Look at the first pictures while the headers of the others are read. However slow the vehicle is, so many are
        worth looking at, if the track covers them."""
        if len(begun) < ENOUGH:
            number = workers.number()
            begun[frame.path] = number, workers.look(_first_look(frame, number, workers.model))

    shots = frames.gather(media, begin)
    faults = list(shots.faults)
    if not shots.pictures and not shots.videos:
        raise MediaError(
            "no picture or video could be opened" + "".join(f"; {fault}" for fault in faults[:3]),
            remedy="give JPEG or PNG pictures, or a video",
        )
    way = way_of(shots, track, track_start)
    route, pictures, assumed = way.track, way.pictures, way.assumptions
    span_s = (float(route.time_s[0]), float(route.time_s[-1]))
    clock, zone_notes = frames.clock_for(pictures, route.start, span_s, clock_offset_s)
    clock = replace(clock, begins=way.begins)
    assumed += zone_notes
    if route.start is None and {video.path for video in shots.videos} - set(way.begins):
        assumed += ("The track has no dates: the video is taken to begin at the track's second 0.",)

    pacer = Pacer(route)
    judged: list[_Judged] = []
    read = 0

    def usable() -> Iterator[tuple[Frame, float, int | None]]:
        nonlocal read
        videos = (frames.of_video(video, VIDEO_EVERY_S, workers.decoded_wh) for video in shots.videos)
        for frame in chain(pictures, _guarded(videos, faults)):
            read += 1
            time_s = clock.seconds(frame)
            if time_s is None or not frames.on_track(time_s, span_s):
                faults.append(_off_track(frame, time_s, span_s))
            elif pacer.shows_more(time_s):
                number = begun[frame.path][0] if frame.path in begun else workers.number()
                yield frame, time_s, number if frame.picture else None
            if progress:
                progress(read, max(len(pictures), read))
        early.closing()

    def first_look(item: tuple[Frame, float, int | None]) -> Job | _Answer:
        frame, _, number = item
        return begun[frame.path][1] if frame.path in begun else _first_look(frame, number, workers.model)

    early = Early(workers, lambda number: _to_show(judged[number]))
    nothing = np.zeros(len(workers.model.classes))
    for (frame, time_s, number), answer in workers.look_at_all(usable(), first_look):
        if isinstance(answer, Fault):
            faults.append(answer)
            continue
        kept = number if answer.kept else None
        judged.append(_Judged(replace(frame, pixels=None), time_s, answer.detections, answer.quality, kept))
        promised = promise(_for_locating(judged[-1], workers.model).detections) if answer.kept else nothing
        early.add(len(judged) - 1, promised)
    if not judged:
        raise _nothing_judged(faults, route, span_s)
    early.finish()
    judged = [replace(one, ready=early.ready.get(number)) for number, one in enumerate(judged)]
    judged.sort(key=lambda one: (one.time_s, one.frame.name))
    seen = tuple(_for_locating(one, workers.model) for one in judged)
    return Watched(way, tuple(judged), seen, tuple(faults), assumed, read)


def _guarded(videos: Iterator[Iterator[Frame]], faults: list[Fault]) -> Iterator[Frame]:
    for video in videos:
        name = "video"
        try:
            for frame in video:
                name = str(frame.path)
                yield frame
        except MediaError as error:
            faults.append(Fault.of(name, error))


def _off_track(frame: Frame, time_s: float | None, span_s: tuple[float, float]) -> Fault:
    if time_s is None:
        return Fault(frame.name, "it holds no time", "give pictures with EXIF times, or without --track")
    side = f"{span_s[0] - time_s:.0f} s before the track begins" if time_s < span_s[0] else ""
    side = side or f"{time_s - span_s[1]:.0f} s after the track ends"
    return Fault(frame.name, f"it was taken {side}", "give the track of the same patrol, or use --clock-offset SECONDS")


def _nothing_judged(faults: list[Fault], route: Track, span_s: tuple[float, float]) -> JiejingError:
    off = [fault for fault in faults if "the track" in fault.reason]
    if off and len(off) == len(faults):
        begins = f"{route.start + timedelta(seconds=span_s[0]):%Y-%m-%d %H:%M:%S} UTC" if route.start else "second 0"
        return TrackError(
            f"no picture overlaps the track in time (the track begins at {begins} and lasts"
            f" {span_s[1] - span_s[0]:.0f} s; {off[0].file}: {off[0].reason})",
            remedy="give the track of the same patrol, or shift the pictures with --clock-offset SECONDS",
        )
    first = "; ".join(str(fault) for fault in faults[:3])
    return MediaError(f"none of the pictures could be used ({first})", remedy="see the faults of each picture")


def _job_of(frame: Frame) -> Job:
    return Job(frame.name, path=frame.path, pixels=frame.pixels, size_wh=frame.size_wh, picture=frame.picture)


def _first_look(frame: Frame, number: int | None, model: Model) -> Job:
    return replace(_job_of(frame), min_score=model.least_scores, judge=True, keep=number)


def _assumed_lens(judged: Sequence[_Judged]) -> tuple[Camera, tuple[str, ...]]:
    size_wh = Counter(one.frame.size_wh for one in judged).most_common(1)[0][0]
    focal = [one.frame.focal_px for one in judged if one.frame.size_wh == size_wh and one.frame.focal_px]
    return assumed_camera(size_wh, float(np.median(focal)) if focal else None)


def _for_locating(one: _Judged, model: Model) -> FrameDetections:
    """What counts as seen: at or above the model's threshold for the class."""
    least = np.array(model.thresholds)[one.seen.class_ids]
    sure = one.seen.where(one.seen.scores >= least)
    return FrameDetections(one.frame.name, one.time_s, sure, one.quality, one.ready is not None)


def _first_moment(judged: Sequence[_Judged]) -> datetime | None:
    taken = judged[0].frame.taken_at
    return taken - timedelta(seconds=judged[0].time_s) if taken is not None and taken.tzinfo else None


def _make_ready(names: frozenset[str], judged: Sequence[_Judged], ready: dict[str, _Answer], workers: Workers) -> None:
    """Frames that will most likely be evidence come first on the core that locating leaves idle, from their files where
    their pixels are gone."""
    for one in judged:
        if one.frame.name in names and one.frame.name not in ready and one.frame.picture is not None:
            ready[one.frame.name] = workers.look(replace(_to_show(one), idly=True))
    workers.prefer({ready[name] for name in names & ready.keys()})


def _evidence(
    sightings: Sequence[Sighting],
    judged: Sequence[_Judged],
    ready: dict[str, _Answer],
    workers: Workers,
    faults: list[Fault],
) -> Iterator[EvidenceFrame]:
    """The chosen frames once more, at showing size, with people and vehicles hidden."""
    wanted: dict[str, list[EvidenceBox]] = {}
    for sighting in sightings:
        for evidence in sighting.evidence:
            wanted.setdefault(evidence.frame, []).append(evidence)
    by_name = {one.frame.name: one for one in judged if one.frame.name in wanted}
    needed = {ready[name] for name in by_name.keys() & ready.keys()}
    workers.forget(set(ready.values()) - needed)
    workers.hurry(needed)

    missing = {name: one for name, one in by_name.items() if name not in ready}
    begun = ((one, ready[name].result()) for name, one in by_name.items() if name in ready)
    for one, answer in chain(workers.look_at_all(_with_pixels(missing), _to_show), begun):
        if isinstance(answer, Fault):
            faults.append(answer)
            continue
        assert answer.shown is not None
        size_wh, full_wh = shown_wh(one.frame.size_wh), one.frame.size_wh
        evidence_xyxy = np.array([evidence.box_xyxy for evidence in wanted[one.frame.name]])
        yield EvidenceFrame(
            frame=one.frame.name,
            taken_at=one.frame.taken_at,
            jpeg=answer.shown,
            size_wh=size_wh,
            scale=size_wh[0] / full_wh[0],
            person_over_evidence=redact.overlaps_person(evidence_xyxy, answer.detections, full_wh),
        )


def _to_show(one: _Judged) -> Job:
    return replace(_job_of(one.frame), hide=one.seen, keep=one.kept)


def _with_pixels(missing: dict[str, _Judged]) -> Iterator[_Judged]:
    """Pictures as they are; frames of a video found again by running through it once more."""
    videos = {one.frame.path for one in missing.values() if one.frame.video_time_s is not None}
    yield from (one for one in missing.values() if one.frame.video_time_s is None)
    for path in sorted(videos):
        for frame in frames.of_video(read_video(path), VIDEO_EVERY_S, shown_wh):
            if frame.name in missing:
                yield replace(missing[frame.name], frame=frame)
