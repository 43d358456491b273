"""One job: a patrol's files in, its sightings in the books."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from serve.cases.matters import Matters
from serve.errors import LaterError
from serve.jobs.books import fit
from serve.jobs.queue import Job
from serve.jobs.translate import boxes_of, looks_of, picture_of, sightings_of
from serve.store import patrols, results
from serve.store.blobs import EVIDENCE, ORIGINALS, Blobs
from serve.store.database import Database
from serve.store.patrols import FileEntry, Patrol, State
from vision.errors import Fault, JiejingError

if TYPE_CHECKING:
    from vision.pipeline import PatrolResult

_PROGRESS_SECONDS = 0.5
# After a fault that may pass: how long until the next try.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0
_MOST_WORDS = 1000
_RETRY = "look at the files and the server's log, then POST /v1/patrols/{}/reprocess"
_log = structlog.get_logger(__name__)


class Runner(Protocol):
    """What turns files into sightings: `serve.sight.Sight.run_patrol`, or a test's stand-in."""

    def __call__(
        self,
        media: Sequence[Path],
        *,
        track: Path | None,
        camera: Path | None,
        track_start: datetime | None,
        progress: Callable[[int, int], None] | None,
    ) -> PatrolResult:
        """See `vision.pipeline.run_patrol`."""


PathReader = Callable[[Path, datetime], list[list[float]]]


class _StoppedError(Exception):
    """The worker was asked to stop, or the job is out of date; raised inside the runner to get out of it."""


@dataclass
class Processor:
    """Does jobs. `stop` is set when the process wants to end: the job in hand is then given back."""

    database: Database
    blobs: Blobs
    matters: Matters
    runner: Runner
    read_path: PathReader
    work_folder: Path
    max_attempts: int
    stop: threading.Event = field(default_factory=threading.Event)

    def __call__(self, job: Job) -> None:
        """Process one patrol; a fault of the input ends as the patrol's state, never as an exception."""
        with self.database.writing(job.jurisdiction) as desk:
            patrol = patrols.start(desk, job.patrol_id, job.generation)
            if patrol is None:
                return
            entries = [entry for entry, _ in patrols.entries(desk, patrol.id)]
        log = _log.bind(patrol=patrol.id, vehicle=patrol.vehicle, attempt=patrol.attempts)
        if patrol.attempts > self.max_attempts:
            last = f"; the last error was {patrol.last_error}" if patrol.last_error else ""
            reason = f"processing ended its process {self.max_attempts} times{last}"
            self._clear(patrol)
            self._fail(patrol, reason, _RETRY.format(patrol.id))
            log.error("patrol set aside")
            return
        folder = self.work_folder / f"{patrol.id}.{job.generation}.{patrol.attempts}"
        try:
            log.info("patrol starts", files=len(entries))
            result, path = self._run(patrol, entries, folder)
            result = replace(result, faults=tuple(_fault(fault, folder) for fault in result.faults))
            self._keep(patrol, result, path)
            log.info("patrol done", sightings=len(result.sightings), faults=len(result.faults))
        except _StoppedError:
            if self.stop.is_set():
                with self.database.writing(job.jurisdiction) as desk:
                    patrols.hand_back(desk, patrol)
            log.info("patrol given back")
        except LaterError as error:
            self._try_later(patrol, str(error))
        except JiejingError as error:
            self._fail(patrol, _plain(error.message, folder), _plain(error.remedy, folder))
            log.warning("patrol failed", reason=str(error))
        except Exception as error:  # whatever it was: tried again, then set aside with its words
            log.exception("patrol broken off")
            self._try_later(patrol, f"{type(error).__name__}: {error}"[:_MOST_WORDS])
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _clear(self, patrol: Patrol) -> None:
        """Remove what attempts left behind that were killed: opened originals among it."""
        for left in self.work_folder.glob(f"{patrol.id}.*"):
            shutil.rmtree(left, ignore_errors=True)

    def _try_later(self, patrol: Patrol, error: str) -> None:
        """After a fault that may pass: queue the patrol again, or set it aside when it has had its tries."""
        if patrol.attempts >= self.max_attempts:
            reason = f"processing failed {patrol.attempts} times; the last error was {error}"
            self._fail(patrol, reason, _RETRY.format(patrol.id))
            return
        pause = timedelta(seconds=min(_FIRST_PAUSE_S * 2 ** (patrol.attempts - 1), _LONGEST_PAUSE_S))
        with self.database.writing(patrol.jurisdiction) as desk:
            patrols.try_later(desk, patrol, error, datetime.now(UTC) + pause)

    def _run(
        self, patrol: Patrol, entries: Sequence[FileEntry], folder: Path
    ) -> tuple[PatrolResult, list[list[float]]]:
        """Lay the files out under their own names and run the pipeline on them."""
        self._clear(patrol)
        named: dict[str, list[Path]] = {"media": [], "track": [], "telemetry": []}
        for entry in entries:
            path = folder / entry.kind / entry.name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.blobs.lay_out(ORIGINALS, patrol.id, entry.sha256, path)
            named[entry.kind].append(path)
        camera = None
        if patrol.camera is not None:
            camera = folder / "camera.json"
            camera.write_text(json.dumps(json.loads(patrol.camera)), "utf-8")
        track = named["track"][0] if named["track"] else None
        last = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal last
            if self.stop.is_set():
                raise _StoppedError
            if time.monotonic() - last < _PROGRESS_SECONDS:
                return
            last = time.monotonic()
            with self.database.writing(patrol.jurisdiction) as desk:
                if not patrols.note_progress(desk, patrol, done, total):
                    raise _StoppedError

        result = self.runner(
            named["media"], track=track, camera=camera, track_start=patrol.started_at, progress=progress
        )
        return result, self.read_path(track, patrol.started_at) if track else []

    def _keep(self, patrol: Patrol, result: PatrolResult, path: list[list[float]]) -> None:
        """Write the pictures, then everything else in one transaction, unless the job is out of date by then."""
        found = sightings_of(patrol.id, patrol.started_at, result)
        seen = looks_of(patrol.id, patrol.started_at, result)
        pictures = [
            picture_of(patrol.id, frame, self.blobs.put(EVIDENCE, patrol.id, frame.jpeg)) for frame in result.evidence
        ]
        boxes = boxes_of(found, result.evidence, pictures)
        now = datetime.now(UTC)
        with self.database.writing(patrol.jurisdiction) as desk:
            if not patrols.note_progress(desk, patrol, result.frames_read, result.frames_read):
                return
            own = [sighting for sighting, _ in found]
            outcome = fit(
                desk,
                patrol.id,
                own,
                seen,
                self.matters,
                model=result.model,
                now=now,
                withdrawal="the patrol was processed again",
            )
            results.replace(desk, patrol.id, own, seen, pictures, boxes, outcome.case_of, outcome.why_none)
            patrols.set_faults(desk, patrol.id, [(f.file, f.reason, f.remedy) for f in result.faults])
            patrols.finish(
                desk,
                patrol.id,
                {
                    "state": State.DONE.value,
                    "finished_at": now,
                    "model": result.model,
                    "frames_total": result.frames_read,
                    "frames_read": result.frames_read,
                    "frames_judged": result.frames_judged,
                    "frames_skipped": result.frames_skipped,
                    "assumptions": list(result.assumptions),
                    "path": path,
                },
            )
        self.blobs.remove(EVIDENCE, patrol.id, keep=[picture.sha256 for picture in pictures])

    def _fail(self, patrol: Patrol, reason: str, remedy: str) -> None:
        with self.database.writing(patrol.jurisdiction) as desk:
            patrols.fail(desk, patrol, reason, remedy, datetime.now(UTC))


def _fault(fault: Fault, folder: Path) -> Fault:
    return Fault(_plain(fault.file, folder), _plain(fault.reason, folder), _plain(fault.remedy, folder))


def _plain(text: str, folder: Path) -> str:
    """A sentence that names files as the vehicle knows them, not where they lie here."""
    for kind in ("media", "track", "telemetry"):
        text = text.replace(f"{folder / kind}/", "")
    return text.replace(f"{folder}/", "")
