"""Videos from disk: what their headers say, and their frames at the size and the rhythm that are wanted.

Whatever decodes runs in a process of its own with little memory: `video_reader`, through `confined`. All
pixels leave this room as RGB uint8 arrays of shape (height, width, 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from vision.pictures.confined import messages
from vision.pictures.media import Rgb


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame of a video: `time_s` is its presentation time in seconds from the file's start; `size_wh` the video's
    size, of which `pixels` may be a smaller copy."""

    time_s: float
    pixels: Rgb
    size_wh: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Video:
    """A video's header: when it was started, if the file says so (UTC), its size after rotation and its length."""

    path: Path
    started_at: datetime | None
    size_wh: tuple[int, int]
    duration_s: float | None


def read_video(path: Path) -> Video:
    """The header of a video. Raises MediaError when it cannot be opened or holds no pictures."""
    (said, _), *_ = messages({"path": str(path)})
    started_at = datetime.fromisoformat(said["started_at"]) if said["started_at"] else None
    return Video(path, started_at, (said["width"], said["height"]), said["duration_s"])


def video_frames(
    video: Video, every_s: float, fit: Callable[[tuple[int, int]], tuple[int, int]] | None = None
) -> Iterator[VideoFrame]:
    """The frames of a video about `every_s` seconds apart (a tenth less at least), by presentation time.

    Only keyframes are decoded where they lie close enough. `fit` says for the video's (width, height) at which size the
    pixels are wanted; without it they come as they are.

    Raises MediaError when the file can't be opened, or when decoding breaks before the first frame; a file cut off in
    the middle, or whose pictures change their size, yields what it holds up to there.
    """
    size_wh = video.size_wh
    width, height = fit(size_wh) if fit else size_wh
    job = {"path": str(video.path), "every_s": every_s, "size_wh": size_wh, "wanted_wh": [width, height]}
    for said, pixels in messages(job):
        yield VideoFrame(said["time_s"], np.frombuffer(pixels, np.uint8).reshape(height, width, 3), size_wh)
