"""Run the application: in the foreground for `serve`, in a thread for `demo`."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator

import structlog
import uvicorn
from fastapi import FastAPI

from serve.errors import SettingsError
from serve.secrecy import without_secrets

_START_SECONDS = 60.0


def configure_logs(*, quiet: bool) -> None:
    """Structured lines on standard error: for people on a terminal, JSON elsewhere. `quiet`: warnings only."""
    shown: structlog.types.Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    if sys.stderr.isatty():
        shown = structlog.dev.ConsoleRenderer()
    steps: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        without_secrets,
    ]
    level = logging.WARNING if quiet else logging.INFO
    structlog.configure(
        processors=[*steps, shown],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # What libraries say takes the same way: one form of line, and no secrets in it.
    handler = logging.StreamHandler(sys.stderr)
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=steps[:-1], processors=[remove_meta, without_secrets, shown]
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    # The queue's library gives its logger a console of its own, unless it has a handler.
    logging.getLogger("dbos").addHandler(logging.NullHandler())


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        raise SettingsError(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            remedy="end the other server, or take another port with --port",
        ) from error
    opened.listen(128)
    return opened


def uvicorn_of(app: FastAPI) -> uvicorn.Server:
    """The web server, ready to run."""
    config = uvicorn.Config(
        app,
        log_config=None,  # its own would go past ours
        log_level="warning",
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config)


def run(app: FastAPI, opened: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn_of(app).run(sockets=[opened])


@contextlib.contextmanager
def in_background(app: FastAPI, opened: socket.socket) -> Iterator[None]:
    """Serve in a thread while the block lasts. Raises SettingsError when the server does not come up."""
    server = uvicorn_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, name="server")
    thread.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise SettingsError("the server did not start", remedy="the lines above say why")
            time.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        thread.join()
