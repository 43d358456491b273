"""The durable queue behind a small port: what is submitted is done at least once, whatever dies in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dbos import DBOS, DBOSClient, DBOSConfig

_APPLICATION = "jiejing"
_WORKFLOW = "process_patrol"
_QUEUE = "patrols"
# Fixed, so that work in flight goes on after an upgrade; jobs carry a patrol's id only, never code's shape.
_VERSION = "1"
_UNFINISHED = frozenset({"PENDING", "ENQUEUED", "DELAYED"})
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Job:
    """Process one patrol. The id is the same for the same asking, so that submitting it twice is submitting it once."""

    jurisdiction: str
    patrol_id: str
    generation: int
    handbacks: int = 0

    @property
    def id(self) -> str:
        """What the queue knows it by."""
        return f"{self.patrol_id}.{self.generation}.{self.handbacks}"


Work = Callable[[Job], None]


class Jobs(Protocol):
    """The port."""

    def start(self) -> None:
        """Take up what was left undone, and begin to take jobs when there is a worker."""

    def submit(self, job: Job) -> None:
        """Have a job done; durable when this returns. The same job again changes nothing."""

    def unfinished(self, ids: Collection[str]) -> dict[str, bool]:
        """Which of these jobs were submitted, and of each whether it is still going to be done."""

    def take_over(self, living: Collection[str]) -> list[str]:
        """Have the begun jobs of all workers but these done by others, and those that this worker holds without being
        at them; gives the jobs' ids."""

    def forget(self, ended_before: datetime) -> None:
        """Drop what is noted about jobs that ended before this moment."""

    def close(self) -> None:
        """Stop taking jobs."""


class DbosJobs:
    """The port on DBOS Transact: SQLite or PostgreSQL by URL.

    A process that works (`work` given) runs the one DBOS instance that a process can have; one that does not only
    submits. `worker_name` is this process's own: DBOS hands a dead worker's jobs to nobody, `take_over` does.
    """

    def __init__(self, url: str, work: Work | None, worker_name: str, worker_jobs: int) -> None:
        self._url = url
        self._work = work
        self._worker_name = worker_name
        self._worker_jobs = worker_jobs
        self._client: DBOSClient | None = None
        self._lock = threading.Lock()
        self._at: set[str] = set()
        # Jobs that were ours without our being at them when we last looked.
        self._stray: set[str] = set()

    def start(self) -> None:
        """See the port."""
        config: DBOSConfig = {
            "name": _APPLICATION,
            "system_database_url": self._url,
            "application_version": _VERSION,
            "executor_id": self._worker_name,
            "log_level": "WARNING",
            "enable_otlp": False,
        }
        if self._work is None:
            DBOS.migrate(system_database_url=self._url)
        else:
            self._launch(config, self._work)
        self._client = DBOSClient(system_database_url=self._url, application_name=_APPLICATION)

    def _launch(self, config: DBOSConfig, work: Work) -> None:
        DBOS(config=config)

        @DBOS.workflow(name=_WORKFLOW)
        def process_patrol(jurisdiction: str, patrol_id: str, generation: int, handbacks: int) -> None:
            job = Job(jurisdiction, patrol_id, generation, handbacks)
            with self._lock:
                self._at.add(job.id)
            try:
                work(job)
            finally:
                with self._lock:
                    self._at.discard(job.id)

        DBOS.launch()
        DBOS.register_queue(_QUEUE, worker_concurrency=self._worker_jobs, polling_interval_sec=0.25)

    def submit(self, job: Job) -> None:
        """See the port."""
        assert self._client is not None, "start() comes first"
        self._client.enqueue(
            {"workflow_name": _WORKFLOW, "queue_name": _QUEUE, "workflow_id": job.id, "app_version": _VERSION},
            job.jurisdiction,
            job.patrol_id,
            job.generation,
            job.handbacks,
        )

    def unfinished(self, ids: Collection[str]) -> dict[str, bool]:
        """See the port."""
        assert self._client is not None, "start() comes first"
        found: dict[str, bool] = {}
        wanted = sorted(ids)
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            for one in self._client.list_workflows(workflow_ids=batch, load_input=False, load_output=False):
                found[one.workflow_id] = one.status in _UNFINISHED
        return found

    def take_over(self, living: Collection[str]) -> list[str]:
        """See the port."""
        assert self._client is not None, "start() comes first"
        begun = self._client.list_workflows(status="PENDING", name=_WORKFLOW, load_input=False, load_output=False)
        with self._lock:
            at = set(self._at)
        ours = {one.workflow_id for one in begun if one.executor_id == self._worker_name} - at
        lost = [one.workflow_id for one in begun if one.executor_id not in living] + sorted(ours & self._stray)
        self._stray = ours
        if lost:
            self._client.resume_workflows(lost, queue_name=_QUEUE)
        return lost

    def forget(self, ended_before: datetime) -> None:
        """See the port."""
        assert self._client is not None, "start() comes first"
        ended = self._client.list_workflows(
            name=_WORKFLOW,
            status=["SUCCESS", "ERROR", "CANCELLED"],
            completed_before=ended_before.isoformat(),
            limit=_BATCH,
            load_input=False,
            load_output=False,
        )
        if ended:
            self._client.delete_workflows([one.workflow_id for one in ended])

    def close(self) -> None:
        """See the port. A job in hand is given a few seconds to notice that it should stop."""
        if self._client is not None:
            self._client.destroy()
            self._client = None
        if self._work is not None:
            DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=10)
