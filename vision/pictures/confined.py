"""Reading videos in a process of its own, with little memory and no time to lose: decoders have had too many holes.

What comes back is JSON and plain pixels, never pickles: a process that somebody has taken over must not reach this one.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from vision.errors import MediaError

# What the process may allocate: enough for 4K with all its reference pictures.
_MOST_BYTES = 448 * 1024**2
# How long it may take to start and open a file, and then for one frame that is wanted.
_START_S, _FRAME_S = 20.0, 30.0
_PIXELS = "pixels"
_REMEDY = "convert it to H.264 in MP4, 4K or less"


def messages(job: dict[str, Any], *, start_s: float = _START_S) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What the process says about a job of `video` or `telemetry`, one after the other: each a header and perhaps
    pixels. `start_s`: how long the first may take.

    Raises MediaError as the process does, and when it dies, hangs, or wants too much memory.
    """
    ours, theirs = Pipe()
    run = f"from vision.pictures import confined; confined.main({theirs.fileno()})"
    code = f"import sys; sys.path[:0] = {sys.path!r}; {run}"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
    )
    theirs.close()
    try:
        ours.send_bytes(json.dumps(job).encode())
        patience_s = start_s
        while True:
            if not ours.poll(patience_s):
                raise MediaError("reading the video takes too long", remedy=_REMEDY)
            said: dict[str, Any] = json.loads(ours.recv_bytes())
            patience_s = _FRAME_S
            if "error" in said:
                raise MediaError(said["error"], remedy=said["remedy"])
            if "end" in said:
                return
            yield said, ours.recv_bytes() if _PIXELS in said else b""
    except (EOFError, OSError) as error:
        raise MediaError("the video makes its reader crash", remedy=_REMEDY) from error
    finally:
        ours.close()
        process.kill()
        process.wait()


def main(descriptor: int) -> None:
    """Run as the process: take one job, say what comes of it, end."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe = Connection(descriptor)
    with contextlib.suppress(EOFError, OSError):
        job = json.loads(pipe.recv_bytes())
        answer = _reader(job)
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        try:
            for header, pixels in answer(Path(job["path"]), job):
                pipe.send_bytes(json.dumps(header).encode())
                if pixels is not None:
                    pipe.send_bytes(pixels)
            pipe.send_bytes(b'{"end": true}')
        except MediaError as error:
            pipe.send_bytes(json.dumps({"error": error.message, "remedy": error.remedy}).encode())
        except MemoryError:
            pipe.send_bytes(json.dumps({"error": "the video needs too much memory", "remedy": _REMEDY}).encode())


def _reader(job: dict[str, Any]) -> Callable[[Path, dict[str, Any]], Iterator[tuple[dict[str, Any], bytes | None]]]:
    """Who does the job; imported only where needed, because this process starts often."""
    if job.get("telemetry"):
        from vision.tracks import telemetry

        return telemetry.answer
    from vision.pictures import video_reader

    return video_reader.answer
