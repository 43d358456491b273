"""A worker's lease, and what becomes of the work of those that have lost theirs."""

from __future__ import annotations

import time

import structlog

from serve.jobs.queue import Jobs
from serve.store import workers
from serve.store.database import Database

RENEWED_EVERY_S = 5.0
_log = structlog.get_logger(__name__)


class Leases:
    """Renews one worker's lease and takes over from the dead. `jobs`: the queue that this worker works on."""

    def __init__(self, database: Database, jobs: Jobs, name: str) -> None:
        self._database = database
        self._jobs = jobs
        self._name = name
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Say that this worker lives."""
        workers.renew(self._database, self._name)
        self._renewed = time.monotonic()

    def keep_and_look_after(self) -> None:
        """Renew; then have the unfinished jobs of workers without a lease done by others.

        Who could not renew in time does not judge the others this time: the database was away for them too.
        """
        was_late = time.monotonic() - self._renewed > workers.LEASE_S / 2
        self.renew()
        if was_late:
            return
        with workers.taking_turns(self._database) as desk:
            taken = self._jobs.take_over(workers.bury(desk))
        if taken:
            _log.warning("took over from dead workers", jobs=taken)

    def leave(self) -> None:
        """Give the lease back."""
        workers.leave(self._database, self._name)
