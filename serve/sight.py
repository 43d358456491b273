"""The one place where the server meets the detector: loaded when needed, shared by the jobs and by `/v1/detect`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vision.detecting.workers import Workers
    from vision.detections import Detections
    from vision.pipeline import PatrolResult

# A track of days has a fix a second; a line on the map needs a point every few metres.
_PATH_POINTS = 2000


class Sight:
    """The configured model, by folder or shipped name. Safe to share between threads."""

    def __init__(self, model: str | None, threads: int = 2) -> None:
        self._model = model
        self._threads = threads
        self._lock = threading.Lock()
        self._loaded: Workers | None = None

    @property
    def workers(self) -> Workers:
        """What looks at frames, in a process of its own. Raises ModelError when the model cannot be used."""
        from vision.detecting.workers import Workers

        with self._lock:
            if self._loaded is None:
                self._loaded = Workers(self._model, threads=self._threads)
            return self._loaded

    def detect(self, data: bytes) -> Detections:
        """Find things in an encoded picture. Raises MediaError when it cannot be decoded."""
        from vision.detecting.workers import Job
        from vision.errors import Fault, MediaError

        answer = self.workers.look(Job("picture", data=data)).result()
        if isinstance(answer, Fault):
            raise MediaError(answer.reason, remedy=answer.remedy)
        return answer.detections

    def run_patrol(
        self,
        media: Sequence[Path],
        *,
        track: Path | None,
        camera: Path | None,
        track_start: datetime | None,
        progress: Callable[[int, int], None] | None,
    ) -> PatrolResult:
        """See `vision.pipeline.run_patrol`."""
        from vision.pipeline import run_patrol

        return run_patrol(
            media, track=track, camera=camera, track_start=track_start, workers=self.workers, progress=progress
        )


def read_path(track: Path, started_at: datetime) -> list[list[float]]:
    """Where a track runs, for drawing: [[longitude, latitude], …] in degrees, thinned out evenly.

    Raises TrackError when the track cannot be used.
    """
    from vision.tracks.track import read_track

    fixes = read_track(track, start=started_at)
    count = len(fixes.time_s)
    step = max(1, -(-count // _PATH_POINTS))
    chosen = sorted({*range(0, count, step), count - 1})
    return [[round(float(fixes.longitude_deg[i]), 7), round(float(fixes.latitude_deg[i]), 7)] for i in chosen]
