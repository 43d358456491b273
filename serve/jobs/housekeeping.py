"""What a worker does now and then, beside the jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import OperationalError

_log = structlog.get_logger(__name__)
Chore = Callable[[], object]


class Housekeeper:
    """Runs its chores in a thread of its own, at once and then every `every_s` seconds."""

    def __init__(self, chores: Sequence[Chore], *, every_s: float) -> None:
        self._chores = tuple(chores)
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        """Begin; the first round is done in the caller's thread, so that its errors are the caller's."""
        self._round()
        self._thread.start()

    def close(self) -> None:
        """End after the chore in hand."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            for chore in self._chores:
                try:
                    chore()
                except OperationalError as error:
                    _log.warning("the database cannot be reached; the chore is tried again", error=str(error.orig))
                except Exception:  # noqa: BLE001  # whatever fails once must not end the chores for good
                    _log.exception("a chore failed; it is tried again")

    def _round(self) -> None:
        for chore in self._chores:
            chore()
