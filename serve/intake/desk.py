"""What the intake does for a vehicle: take an announcement, take files, process, process again, forget."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from serve.cases.matters import Matters
from serve.errors import ConflictError
from serve.jobs.books import fit
from serve.jobs.queue import Job, Jobs
from serve.store import cases, patrols
from serve.store.blobs import EVIDENCE, ORIGINALS, Blobs, Incoming
from serve.store.database import Database, Reach
from serve.store.patrols import Announcement, Patrol, State

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Intake:
    """The intake, on behalf of whoever has this reach."""

    database: Database
    blobs: Blobs
    jobs: Jobs
    matters: Matters
    reach: Reach

    def announce(self, said: Announcement) -> tuple[Patrol, list[str], bool]:
        """The patrol, the hashes still missing, and whether it is new. See `patrols.announce`."""
        with self.database.writing(self.reach) as desk:
            patrol, new = patrols.announce(desk, said, datetime.now(UTC))
            return patrol, patrols.missing(desk, patrol.id), new

    def expect(self, patrol_id: str, sha256: str) -> tuple[Incoming, int] | None:
        """A place for an announced file and its size; None when it has arrived already. Raises NotFoundError."""
        with self.database.reading(self.reach) as desk:
            entry, arrived = patrols.expected(desk, patrol_id, sha256)
        return None if arrived else (self.blobs.receive(patrol_id, sha256, entry.size), entry.size)

    def received(self, patrol_id: str, sha256: str) -> tuple[Patrol, int]:
        """Acknowledge a durable file; with the last one processing starts. Gives how many are still missing."""
        with self.database.writing(self.reach) as desk:
            patrol, left = patrols.receive(desk, patrol_id, sha256, datetime.now(UTC))
        if patrol.state is State.QUEUED:
            self.jobs.submit(job_of(patrol))
        return patrol, left

    def report(self, patrol_id: str) -> dict[str, Any]:
        """All that can be said about a patrol. Raises NotFoundError."""
        with self.database.reading(self.reach) as desk:
            patrol = patrols.get(desk, patrol_id)
            return {
                "id": patrol.id,
                "vehicle": patrol.vehicle,
                "started_at": patrol.started_at,
                "state": patrol.state.value,
                "missing": patrols.missing(desk, patrol_id),
                "frames": {
                    "total": patrol.frames_total,
                    "read": patrol.frames_read,
                    "judged": patrol.frames_judged,
                    "skipped": patrol.frames_skipped,
                },
                "errors": patrols.faults_of(desk, patrol_id),
                "assumptions": patrol.assumptions,
                "sightings": cases.count_sightings(desk, patrol_id),
                "cases": cases.tally_of(desk, patrol_id),
                "model": patrol.model,
                "finished_at": patrol.finished_at,
                "originals_kept": patrol.originals_deleted_at is None,
            }

    def reprocess(self, patrol_id: str) -> Patrol:
        """Process a patrol again, with the model and rules of today. Raises NotFoundError, ConflictError."""
        with self.database.writing(self.reach) as desk:
            patrol = patrols.get(desk, patrol_id)
            if patrol.state is State.RECEIVING:
                raise ConflictError(
                    "the patrol has not arrived completely", remedy="send the missing files; processing then starts"
                )
            if patrol.originals_deleted_at is not None:
                raise ConflictError(
                    "the patrol's pictures were deleted on schedule",
                    remedy=f"DELETE /v1/patrols/{patrol_id}, then announce and send it again",
                )
            if patrol.state in (State.DONE, State.FAILED):
                patrol = patrols.queue(desk, patrol_id)
        self.jobs.submit(job_of(patrol))
        return patrol

    def delete(self, patrol_id: str) -> None:
        """Forget a patrol: its files and pictures, its sightings and looks; cases that only it had seen become void.

        A job in hand finds its patrol gone and changes nothing. Raises NotFoundError.
        """
        with self.database.writing(self.reach) as desk:
            patrols.get(desk, patrol_id)
            now = datetime.now(UTC)
            fit(desk, patrol_id, (), (), self.matters, model=None, now=now, withdrawal="the patrol was deleted")
            patrols.delete(desk, patrol_id)
        for area in (ORIGINALS, EVIDENCE):
            self.blobs.remove(area, patrol_id)


def job_of(patrol: Patrol) -> Job:
    """The job that processes this patrol as it now stands."""
    return Job(patrol.jurisdiction, patrol.id, patrol.generation, patrol.handbacks)


def hand_over_waiting(database: Database, jobs: Jobs) -> None:
    """Submit what is queued: a process may have died between the commit and the submission."""
    for patrol in patrols.waiting(database):
        jobs.submit(job_of(patrol))


def delete_expired(database: Database, blobs: Blobs, keep_days: float) -> int:
    """Delete the originals of patrols done longer ago than `keep_days`; gives how many patrols that were."""
    due = patrols.expired(database, datetime.now(UTC) - timedelta(days=keep_days))
    for jurisdiction, patrol_id in due:
        with database.writing(jurisdiction) as desk:
            patrols.finish(desk, patrol_id, {"originals_deleted_at": datetime.now(UTC)})
        blobs.remove(ORIGINALS, patrol_id)
        _log.info("originals deleted", patrol=patrol_id)
    return len(due)
