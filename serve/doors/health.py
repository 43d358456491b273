"""Whether the server lives, whether it can work, and what it counts."""

from __future__ import annotations

import time
from collections.abc import Iterable

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.access import Scope as Asked
from serve.context import Context, Here
from serve.doors.guard import OPEN, needs
from serve.doors.problems import problem
from serve.store import cases, patrols, workers

router = APIRouter(tags=["operation"])


@router.get("/health/live", dependencies=[OPEN])
def live() -> dict[str, str]:
    """Answers while the process lives."""
    return {"status": "live"}


@router.get("/health/ready", dependencies=[OPEN], response_model=None)
def ready(here: Here) -> dict[str, str] | Response:
    """Whether the database can be reached."""
    try:
        with here.reading() as desk:
            desk.connection.execute(sa.text("SELECT 1"))
    except sa.exc.SQLAlchemyError:
        return problem(503, "Not ready", "the database cannot be reached: check the database and the data folder")
    return {"status": "ready"}


@router.get("/metrics", dependencies=[needs(Asked.METRICS_READ)], include_in_schema=False)
def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    registry: CollectorRegistry = request.app.state.metrics.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("jiejing_requests", "Answered requests.", labels, registry=self.registry)
        self.seconds = Histogram(
            "jiejing_request_seconds", "Time to answer.", ("method", "route"), registry=self.registry
        )

    def watch(self, context: Context) -> None:
        """Also tell what there is and how much room is left, counted when asked."""
        self.registry.register(_Stock(context))


class _Stock:
    def __init__(self, context: Context) -> None:
        self._database = context.database
        self._spool = context.blobs.spool
        self._watermark = context.settings.min_free_bytes

    def collect(self) -> Iterable[Metric]:
        """Patrols by state, cases by stage, workers, and the disk on which uploads arrive."""
        free, watermark = self._spool.free_bytes(), self._watermark
        yield GaugeMetricFamily("jiejing_disk_free_bytes", "Free on the disk where uploads arrive.", value=free)
        yield GaugeMetricFamily("jiejing_disk_watermark_bytes", "Below it uploads are refused.", value=watermark)
        with self._database.reading("") as desk:
            living = len(workers.living(desk))
        yield GaugeMetricFamily("jiejing_workers", "Workers whose lease holds.", value=living)
        found = GaugeMetricFamily("jiejing_patrols", "Patrols by state.", labels=("state",))
        for state, count in patrols.counts_by_state(self._database).items():
            found.add_metric((state,), count)
        yield found
        found = GaugeMetricFamily("jiejing_cases", "Cases by stage.", labels=("stage",))
        for stage, count in cases.counts_by_stage(self._database).items():
            found.add_metric((stage,), count)
        yield found


class Meter:
    """An ASGI layer that counts requests by route template, so that ids never become labels."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(scope["method"], route, str(status)).inc()
            self._metrics.seconds.labels(scope["method"], route).observe(time.monotonic() - began)
