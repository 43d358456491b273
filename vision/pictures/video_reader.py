"""What runs in the process that reads videos (`confined`). It imports little, because it starts often."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vision import MAX_PIXELS
from vision.errors import MediaError

# Frames that no other frame refers to need not be decoded where they are not wanted; a second holds several others.
_NONREF_FROM_S = 0.25
# A keyframe that comes a little early is still taken; frame rates are seldom whole numbers.
_EARLY = 0.1


def answer(path: Path, job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """Do a job where it can do no harm: the header, or with `every_s` frames of `size_wh` scaled to `wanted_wh`.

    Raises MediaError.
    """
    if "every_s" in job:
        yield from _frames(path, float(job["every_s"]), tuple(job["size_wh"]), tuple(job["wanted_wh"]))
    else:
        yield _header(path), None


def _open_video(path: Path) -> Any:
    import av

    try:
        # A container may point at other files or hosts; only this file may be opened.
        container = av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"not a video that can be read ({error})", remedy="convert it to H.264 in MP4") from error
    if not container.streams.video or container.streams.video[0].codec_context is None:
        container.close()
        raise MediaError("the file holds no video that can be decoded", remedy="give the camera's own video file")
    return container


def _header(path: Path) -> dict[str, Any]:
    with _open_video(path) as container:
        stream = container.streams.video[0]
        created = container.metadata.get("creation_time") or stream.metadata.get("creation_time")
        try:
            started_at = datetime.fromisoformat(created).astimezone(UTC).isoformat() if created else None
        except (ValueError, OverflowError):
            started_at = None
        width, height = stream.codec_context.width, stream.codec_context.height
        if not width or not height or width * height > MAX_PIXELS:
            raise MediaError(f"{width}×{height} pixels cannot be used", remedy="convert it to 4K or less")
        duration = container.duration / 1e6 if container.duration else None
        return {"started_at": started_at, "width": width, "height": height, "duration_s": duration}


def _frames(
    path: Path, every_s: float, size_wh: tuple[int, ...], wanted_wh: tuple[int, ...]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    import av

    with _open_video(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if _keyframes_suffice(stream, every_s):
            stream.codec_context.skip_frame = "NONKEY"
            stream.thread_type = "SLICE"  # keyframes far apart: threads by frame would only hold more of them
        elif every_s >= _NONREF_FROM_S:
            stream.codec_context.skip_frame = "NONREF"
        next_s, first = -np.inf, None
        try:
            for frame in container.decode(stream):
                if frame.time is None:
                    continue
                first = frame.time if first is None else first
                time_s = frame.time - first
                if time_s < next_s - _EARLY * every_s:
                    continue
                next_s = time_s + every_s
                if (frame.width, frame.height) != size_wh:
                    return
                smaller = frame.reformat(*wanted_wh, format="rgb24", interpolation="AREA")
                yield {"time_s": time_s, "pixels": True}, np.asarray(smaller.to_ndarray(), dtype=np.uint8).tobytes()
        except (av.error.FFmpegError, OSError) as error:
            if first is None:
                raise MediaError(f"the video is broken ({error})", remedy="copy it again from the camera") from error


def _keyframes_suffice(stream: Any, every_s: float) -> bool:
    """Whether the container's index lists keyframes no farther apart than the frames that are wanted."""
    unit = float(stream.time_base or 0)
    times = [entry.timestamp * unit for entry in stream.index_entries if entry.is_keyframe]
    return len(times) > 1 and float(np.diff(times).max()) <= every_s * (1 + _EARLY)
