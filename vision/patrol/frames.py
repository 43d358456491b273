"""The frames of a patrol: pictures and video frames in order of time, on one clock with the track."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from vision.errors import Fault, MediaError, TrackError
from vision.pictures.media import (
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    GpsFix,
    Picture,
    Rgb,
    decode,
    find_media,
    read_bytes,
    read_picture,
)
from vision.pictures.video import Video, read_video, video_frames

# Beyond its ends a track says nothing; a receiver's last fix may still come a little before the last frame.
TRACK_SLACK_S = 1.5
_ZONE_STEP = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a patrol before it is decoded.

    `name` is unique in the patrol; `taken_at` has a zone or is naive local time, None when unknown; `video_time_s` is
    the presentation time for frames of a video; `size_wh` in pixels, upright.
    """

    name: str
    path: Path
    size_wh: tuple[int, int]
    taken_at: datetime | None
    time_sigma_s: float
    gps: GpsFix | None = None
    focal_px: float | None = None
    picture: Picture | None = None
    video_time_s: float | None = None
    pixels: Rgb | None = None

    def load(self, min_wh: tuple[int, int] | None = None) -> Rgb:
        """Upright RGB pixels, at least `min_wh` large where the format allows scaled decoding.

        Raises MediaError when the pixels are broken.
        """
        if self.pixels is not None:
            return self.pixels
        if self.picture is None:
            raise MediaError(f"frame {self.name} holds no pixels", remedy="read it through the video again")
        return decode(read_bytes(self.path), self.picture, min_wh)


@dataclass(frozen=True, slots=True)
class Footage:
    """All media of a patrol. `pictures`: headers only; `videos`: read as a stream; `faults`: what was not opened."""

    pictures: tuple[Frame, ...]
    videos: tuple[Video, ...]
    faults: tuple[Fault, ...]


def gather(media: Sequence[Path], tell: Callable[[Frame], None] = lambda frame: None) -> Footage:
    """Read the headers of all pictures and videos in files and folders; `tell` hears of each picture at once."""
    pictures, videos, faults = [], [], []
    roots = [path for path in media if path.is_dir()]
    for path in find_media(media, PICTURE_SUFFIXES | VIDEO_SUFFIXES):
        try:
            if path.suffix.lower() in VIDEO_SUFFIXES:
                videos.append(read_video(path))
            else:
                pictures.append(_picture_frame(path, roots))
                tell(pictures[-1])
        except MediaError as error:
            faults.append(Fault.of(str(path), error))
    return Footage(tuple(pictures), tuple(videos), tuple(faults))


def _picture_frame(path: Path, roots: list[Path]) -> Frame:
    picture = read_picture(path)
    root = next((root for root in roots if root in path.parents), path.parent)
    return Frame(
        name=path.relative_to(root).as_posix(),
        path=path,
        size_wh=picture.size_wh,
        taken_at=picture.taken_at,
        time_sigma_s=picture.time_sigma_s,
        gps=picture.gps,
        focal_px=picture.focal_px,
        picture=picture,
    )


def of_video(
    video: Video, every_s: float, fit: Callable[[tuple[int, int]], tuple[int, int]] | None = None
) -> Iterator[Frame]:
    """The frames of a video about `every_s` apart, decoded, at the size that `fit` gives for the video's.

    Raises MediaError as `video.video_frames` does.
    """
    for frame in video_frames(video, every_s, fit):
        yield Frame(
            name=f"{video.path.name}@{frame.time_s:.3f}s",
            path=video.path,
            size_wh=frame.size_wh,
            taken_at=video.started_at + timedelta(seconds=frame.time_s) if video.started_at else None,
            time_sigma_s=0.02,
            video_time_s=frame.time_s,
            pixels=frame.pixels,
        )


@dataclass(frozen=True, slots=True)
class Clock:
    """How frames' own times become seconds on the track's clock.

    `start`: UTC of the track's second 0, None for a track without dates; `zone`: the offset from UTC that naive local
    times are taken to have; `begins`: when on the track's clock the first picture of each video came that carries its
    own track; `offset_s` is added at the end (camera behind the track: positive).
    """

    start: datetime | None
    zone: timedelta = timedelta(0)
    offset_s: float = 0.0
    begins: Mapping[Path, float] = field(default_factory=dict)

    def seconds(self, frame: Frame) -> float | None:
        """The frame's time in seconds on the track's clock; None when the frame has no usable time."""
        if frame.video_time_s is not None and frame.path in self.begins:
            return self.begins[frame.path] + frame.video_time_s + self.offset_s
        if self.start is None or frame.taken_at is None:
            return None if frame.video_time_s is None else frame.video_time_s + self.offset_s
        taken = frame.taken_at
        if taken.tzinfo is None:
            taken = taken.replace(tzinfo=UTC) - self.zone
        return (taken - self.start).total_seconds() + self.offset_s


def clock_for(
    pictures: Sequence[Frame], start: datetime | None, span_s: tuple[float, float], offset_s: float | None
) -> tuple[Clock, tuple[str, ...]]:
    """Choose the time zone for pictures whose EXIF has none: the multiple of 15 minutes that puts most of them on the
    track, the smallest shift between times among equals. Returns the clock and sentences on what was assumed.

    Raises TrackError when no zone puts any picture on the track.
    """
    clock = Clock(start, offset_s=offset_s or 0.0)
    naive = [frame for frame in pictures if frame.taken_at is not None and frame.taken_at.tzinfo is None]
    if start is None or not naive:
        return clock, ()
    steps = sorted(range(-14 * 4, 14 * 4 + 1), key=abs)
    candidates = [replace(clock, zone=step * _ZONE_STEP) for step in steps]
    counts = [sum(on_track(c.seconds(frame), span_s) for frame in naive) for c in candidates]
    best = max(range(len(counts)), key=lambda i: counts[i])
    if counts[best] == 0:
        first = min(frame.taken_at for frame in naive if frame.taken_at is not None)
        raise TrackError(
            f"no time zone puts the pictures (first at {first:%Y-%m-%d %H:%M:%S} local time) on the track, which starts"
            f" at {start:%Y-%m-%d %H:%M:%S} UTC",
            remedy="give the track of the same patrol, or shift the pictures with --clock-offset SECONDS",
        )
    zone = candidates[best].zone
    hours = zone.total_seconds() / 3600
    note = f"{len(naive)} pictures state no time zone: UTC{hours:+.2f} h puts {counts[best]} of them on the track"
    others = [candidates[i].zone for i in range(len(counts)) if i != best and counts[i] == counts[best]]
    if others:
        note += f" (so would {len(others)} other zones; the smallest was taken)"
    return candidates[best], (note,)


def on_track(time_s: float | None, span_s: tuple[float, float]) -> bool:
    """Whether a time lies within the track's first and last second, with a little slack."""
    return time_s is not None and span_s[0] - TRACK_SLACK_S <= time_s <= span_s[1] + TRACK_SLACK_S
