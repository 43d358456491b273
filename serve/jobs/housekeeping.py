"""What a worker does now and then, beside the jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence


class Housekeeper:
    """Runs its chores in a thread of its own, at once and then every `every_s` seconds."""

    def __init__(self, chores: Sequence[Callable[[], object]], *, every_s: float) -> None:
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
            self._round()

    def _round(self) -> None:
        for chore in self._chores:
            chore()
