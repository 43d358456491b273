"""The composition root: `create_app(settings)` puts the rooms together; the lifespan owns what must be closed."""

from __future__ import annotations

import importlib.metadata
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from serve.cases.matters import Matters, read_matters
from serve.console import routes as console
from serve.context import Context
from serve.doors import cases, detect, feedback, health, patrols, problems, uploads
from serve.doors.guard import Guard, undeclared
from serve.doors.identity import Identity
from serve.doors.transfer import Transfers
from serve.errors import SettingsError
from serve.intake.desk import Intake, Limits, forget_answers, hand_over_unfinished
from serve.intake.uploads import Uploads
from serve.jobs.housekeeping import Chore, Housekeeper
from serve.jobs.leases import RENEWED_EVERY_S, Leases
from serve.jobs.process import PathReader, Processor, Runner
from serve.jobs.queue import DbosJobs, Jobs, Work
from serve.jobs.retention import Keep, Retention
from serve.settings import Settings
from serve.sight import Sight, read_path
from serve.store.blobs import Blobs
from serve.store.database import Database, Reach
from serve.store.sealed import Sealer

_HOUSEKEEPING_SECONDS = 10.0
_RETENTION_SECONDS = 3600.0
_JOBS_KEPT_DAYS = 30
JobsMaker = Callable[[Settings, Work | None], Jobs]


@dataclass(frozen=True)
class Engine:
    """Everything below the doors, open: what a server and a worker have in common."""

    context: Context
    jobs: Jobs
    processor: Processor
    keepers: tuple[Housekeeper, ...]
    leases: Leases | None

    def close(self) -> None:
        """Give back the job in hand and let go of everything."""
        self.processor.stop.set()
        for keeper in self.keepers:
            keeper.close()
        self.jobs.close()
        if self.leases is not None:
            self.leases.leave()
        self.context.database.close()


def _open(settings: Settings) -> tuple[Matters, Database]:
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        matters = read_matters(settings.matters_file)
    except OSError as error:
        raise SettingsError(
            f"{error.filename}: {error.strerror}", remedy="check that it exists and may be read and written"
        ) from error
    except ValueError as error:
        raise SettingsError(
            f"the table of matters cannot be used: {error}", remedy="see serve/cases/matters.toml"
        ) from error
    database = Database(settings.database)
    database.migrate()
    return matters, database


def blobs_of(settings: Settings) -> Blobs:
    """The files, as the settings say. Raises SettingsError."""
    key = settings.originals_key
    return Blobs(
        settings.data / "files",
        store_url=settings.store_url,
        min_free_bytes=settings.min_free_bytes,
        sealer=None if key is None else Sealer(key.get_secret_value()),
    )


def preflight(settings: Settings) -> None:
    """Raise what would keep the server from starting, before it starts: one clear line instead of a failed start."""
    blobs_of(settings)
    _open(settings)[1].close()


def start_engine(
    settings: Settings,
    *,
    works: bool = True,
    runner: Runner | None = None,
    path_reader: PathReader = read_path,
    jobs: JobsMaker | None = None,
) -> Engine:
    """Open the stores, bring the tables up to date, take up the work that was left undone.

    `works`: whether this process also does jobs; `runner` and `path_reader` stand in for `vision`, `jobs` for the
    durable queue. Raises SettingsError when something that is set cannot be used.
    """
    matters, database = _open(settings)
    blobs = blobs_of(settings)
    blobs.prepare()
    retention = Retention(
        database,
        blobs,
        Keep(
            settings.keep_originals_days,
            settings.keep_unfinished_days,
            settings.keep_evidence_days,
            settings.keep_tracks_days,
            settings.keep_views_days,
        ),
    )
    sight = Sight(settings.model, settings.detector_threads)
    processor = Processor(
        database=database,
        blobs=blobs,
        matters=matters,
        runner=runner or sight.run_patrol,
        read_path=path_reader,
        work_folder=settings.data / "work",
        max_attempts=settings.max_attempts,
    )
    work: Work | None = processor if works else None
    name = f"{settings.worker_name}-{secrets.token_hex(4)}"
    queue = jobs(settings, work) if jobs else DbosJobs(settings.jobs, work, name, settings.worker_jobs)
    leases = Leases(database, queue, name) if works else None
    if leases is not None:
        leases.renew()
    queue.start()
    limits = Limits(settings.vehicle_quota_bytes, settings.max_waiting, settings.clock_tolerance_s)
    intake = Intake(database, blobs, queue, matters, Reach(settings.jurisdiction), limits)
    uploads = Uploads(intake, settings.keep_uploads_days, settings.max_open_uploads)
    uploads.settle_moved()
    chores: list[Chore] = [uploads.sweep, lambda: forget_answers(database)]
    if works:
        chores += [
            lambda: hand_over_unfinished(database, queue),
            lambda: queue.forget(datetime.now(UTC) - timedelta(days=_JOBS_KEPT_DAYS)),
            lambda: retention.originals(datetime.now(UTC)),
        ]
    keepers = [Housekeeper(chores, every_s=_HOUSEKEEPING_SECONDS)]
    if works:
        keepers.append(Housekeeper([lambda: retention.enforce(datetime.now(UTC))], every_s=_RETENTION_SECONDS))
    if leases is not None:
        # Apart from the chores: a long one must not make a living worker pass for dead.
        keepers.insert(0, Housekeeper([leases.keep_and_look_after], every_s=RENEWED_EVERY_S))
    for keeper in keepers:
        keeper.start()
    context = Context(settings, database, blobs, matters, intake, uploads, sight)
    return Engine(context, queue, processor, tuple(keepers), leases)


def create_app(
    settings: Settings,
    *,
    works: bool = True,
    runner: Runner | None = None,
    path_reader: PathReader = read_path,
    jobs: JobsMaker | None = None,
) -> FastAPI:
    """The server. Nothing is opened before its lifespan begins; the parameters are those of `start_engine`.

    Raises SettingsError when it would listen beyond this machine without an API key.
    """
    settings.refuse_open_door()
    metrics = health.Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = await run_in_threadpool(
            start_engine, settings, works=works, runner=runner, path_reader=path_reader, jobs=jobs
        )
        app.state.context = engine.context
        metrics.watch(engine.context)
        yield
        await run_in_threadpool(engine.close)

    app = FastAPI(
        title="Jiejing 街净",
        summary="Street pictures and a GPS track go in; geotagged city-management cases come out, one per thing.",
        version=importlib.metadata.version("jiejing"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.metrics = metrics
    problems.install(app)
    app.state.transfers = Transfers(settings.max_transfers)
    for door in (patrols, uploads, cases, feedback, detect, health):
        app.include_router(door.router, responses=problems.DOCUMENTED)
    console.install(app)
    if silent := undeclared(app):
        raise RuntimeError(f"routes that do not say what they ask for: {', '.join(silent)}")
    app.state.identity = Identity(settings)
    app.add_middleware(Guard, settings=settings, identity=app.state.identity)
    app.add_middleware(health.Meter, metrics=metrics)
    return app
