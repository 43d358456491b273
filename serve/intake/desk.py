"""What the intake does for a vehicle: take an announcement, take files, process, process again, forget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from serve.cases.matters import Matters
from serve.errors import OverloadedError, StorageError, TooManyError
from serve.intake.gates import check_clock
from serve.jobs.books import fit
from serve.jobs.queue import Job, Jobs
from serve.store import answers, cases, patrols
from serve.store.blobs import EVIDENCE, ORIGINALS, Blobs
from serve.store.database import Database, Desk, Reach
from serve.store.patrols import Announcement, Patrol, State

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken in: bytes that one vehicle may have lying here, patrols that may wait for a worker, and how
    many seconds a vehicle's clock may be fast."""

    vehicle_bytes: int
    waiting: int
    clock_tolerance_s: float


@dataclass(frozen=True)
class Intake:
    """The intake, on behalf of whoever has this reach."""

    database: Database
    blobs: Blobs
    jobs: Jobs
    matters: Matters
    reach: Reach
    limits: Limits

    def of(self, jurisdiction: str) -> Intake:
        """The intake for all of a jurisdiction."""
        return replace(self, reach=Reach(jurisdiction))

    def announce(self, desk: Desk, said: Announcement) -> tuple[Patrol, list[str], bool]:
        """The patrol, the hashes still missing, and whether it is new. See `patrols.announce`.

        Raises ConflictError; for a new one InvalidInputError when the vehicle's clock cannot be right, TooManyError
        when the vehicle has too much lying here, OverloadedError when too much is waiting.
        """
        now = datetime.now(UTC)
        patrol, new = patrols.announce(desk, said, now)
        if new:
            check_clock(said.started_at, now, self.limits.clock_tolerance_s)
            kept = patrols.kept_bytes(desk, said.vehicle)
            if kept > self.limits.vehicle_bytes:
                raise TooManyError(
                    f"{said.vehicle} would have {kept} bytes here, {self.limits.vehicle_bytes} are its share",
                    remedy="wait until older patrols are processed and their originals deleted, or DELETE some",
                    retry_after_s=3600,
                )
            if patrols.count_waiting(desk) >= self.limits.waiting:
                raise OverloadedError(
                    f"{self.limits.waiting} patrols are waiting to be processed",
                    remedy="keep the patrol and announce it later; more workers shorten the queue",
                    retry_after_s=300,
                )
        return patrol, patrols.missing(desk, patrol.id), new

    def hand_over(self, patrol: Patrol) -> None:
        """Have a patrol processed, if it is queued."""
        if patrol.state is State.QUEUED:
            self.jobs.submit(job_of(patrol))

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
                "attempts": patrol.attempts,
                "last_error": patrol.last_error,
                "originals_kept": patrol.originals_deleted_at is None,
            }

    def delete(self, patrol_id: str) -> None:
        """Forget a patrol: its files and pictures, its sightings and looks; cases that only it had seen become void.

        A job in hand finds its patrol gone and changes nothing. Raises NotFoundError.
        """
        with self.database.writing(self.reach) as desk:
            patrols.get(desk, patrol_id)
            now = datetime.now(UTC)
            fit(desk, patrol_id, (), (), self.matters, model=None, now=now, withdrawal="the patrol was deleted")
            patrols.delete(desk, patrol_id)
        try:
            for area in (ORIGINALS, EVIDENCE):
                self.blobs.remove(area, patrol_id)
        except StorageError as error:
            # The patrol is gone, as was asked; the housekeeper removes what no row names.
            _log.warning("files of a deleted patrol stay for now", patrol=patrol_id, error=str(error))


def job_of(patrol: Patrol) -> Job:
    """The job that processes this patrol as it now stands."""
    return Job(patrol.jurisdiction, patrol.id, patrol.generation, patrol.handbacks)


def hand_over_unfinished(database: Database, jobs: Jobs) -> None:
    """Submit what is queued, and queue again what nobody is going to finish: a process may have died between a commit
    and a submission, and a database may have been away when a job wanted to say how it ended."""
    now = datetime.now(UTC)
    waiting = patrols.unfinished(database)
    submitted = jobs.unfinished([job_of(patrol).id for patrol in waiting])
    for patrol in waiting:
        if patrol.state is State.QUEUED and patrol.retry_at is not None and patrol.retry_at > now:
            continue
        goes_on = submitted.get(job_of(patrol).id)
        if goes_on is None and patrol.state is State.QUEUED:
            jobs.submit(job_of(patrol))
        elif not goes_on:
            _log.warning("nobody was at a patrol any more", patrol=patrol.id)
            with database.writing(patrol.jurisdiction) as desk:
                patrols.try_later(desk, patrol, None, now)


def forget_answers(database: Database) -> None:
    """Drop the answers to requests with an Idempotency-Key after their time."""
    answers.forget(database, datetime.now(UTC) - timedelta(days=answers.KEPT_DAYS))
