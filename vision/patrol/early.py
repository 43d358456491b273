"""Frames made ready to be shown before anybody knows which of them will be wanted: while their pixels are there."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from vision.boxes import FloatArray
from vision.detecting.workers import HELD, Job, Seen, Workers
from vision.errors import Fault
from vision.patrol.views import Promising


class Early:
    """Has frames made ready that promise much. The `HELD` least sure of them wait until all have been looked at: then
    locating leaves a core to them, and those that are not wanted by its end need not be made any more.

    `to_show`: how the frame of a number is shown; without `Job.keep` it is not made ready early.
    """

    def __init__(self, workers: Workers, to_show: Callable[[int], Job]) -> None:
        self.ready: dict[int, Future[Seen | Fault]] = {}
        self._workers, self._to_show = workers, to_show
        self._promising: Promising[int] = Promising()
        self._held: list[tuple[float, int]] = []  # the surest first

    def add(self, number: int, promised: FloatArray) -> None:
        """Take the next frame, with what it promises (`views.promise`)."""
        self._wanted(self._promising.add(number, promised))

    def finish(self) -> None:
        """All frames have been looked at."""
        self._wanted(self._promising.add(None, np.zeros(1)))
        for _, number in sorted(self._held):
            self.ready[number] = self._workers.look(replace(self._to_show(number), idly=True))

    def _wanted(self, told: tuple[int, float] | None) -> None:
        if told is None or (job := self._to_show(told[0])).keep is None:
            return
        number, lost = told
        heapq.heappush(self._held, (-lost, number))
        if len(self._held) > HELD:
            _, surest = heapq.heappop(self._held)
            self.ready[surest] = self._workers.look(self._to_show(surest), soon=True)
            if surest == number:
                return
        self._workers.look(replace(job, hold=True), soon=True)
