"""The durable queue behind a small port: what is submitted is done at least once, whatever dies in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dbos import DBOS, DBOSClient, DBOSConfig

_APPLICATION = "jiejing"
_WORKFLOW = "process_patrol"
_QUEUE = "patrols"
# Fixed, so that work in flight goes on after an upgrade; jobs carry a patrol's id only, never code's shape.
_VERSION = "1"


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

    def close(self) -> None:
        """Stop taking jobs."""


class DbosJobs:
    """The port on DBOS Transact: SQLite or PostgreSQL by URL.

    A process that works (`work` given) runs the one DBOS instance that a process can have; one that does not only
    submits. After a crash the worker of the same name picks its jobs up again when it starts.
    """

    def __init__(self, url: str, *, work: Work | None, worker_name: str, worker_jobs: int) -> None:
        self._url = url
        self._work = work
        self._worker_name = worker_name
        self._worker_jobs = worker_jobs
        self._client: DBOSClient | None = None

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
            work(Job(jurisdiction, patrol_id, generation, handbacks))

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

    def close(self) -> None:
        """See the port. A job in hand is given a few seconds to notice that it should stop."""
        if self._client is not None:
            self._client.destroy()
            self._client = None
        if self._work is not None:
            DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=10)
