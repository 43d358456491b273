"""Frames made ready to be shown before anybody knows which of them will be wanted: while their pixels are there."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from vision.boxes import FloatArray
from vision.detecting.workers import HELD, Job, Seen, Workers
from vision.errors import Fault
from vision.patrol.views import Promised, Promising


class Early:
    """Has the pixels of `HELD` frames held that promise most, and frames made ready that promise much.

    Those that will most likely be wanted wait until no more frames come: then the last ones, and locating, leave a core
    to them, and those that are not wanted by its end need not be made any more. Only when more of them come than can be
    held, the surest are made at once. Where there is room others are held too: some of them will be wanted all the
    same, and need not be decoded again.

    `to_show`: how the frame of a number is shown; without `Job.keep` it is not made ready early.
    """

    def __init__(self, workers: Workers, to_show: Callable[[int], Job]) -> None:
        self.ready: dict[int, Future[Seen | Fault]] = {}
        self._workers, self._to_show = workers, to_show
        self._promising: Promising[int] = Promising()
        self._held: list[tuple[bool, float, int]] = []  # wanted or not, how sure, number: the surest last
        self._closing = False

    def add(self, number: int, promised: FloatArray) -> None:
        """Take the next frame, with what it promises (`views.promise`)."""
        self._told(self._promising.add(number, promised))

    def closing(self) -> None:
        """No more frames will come than those that are being looked at."""
        self._closing = True
        for wanted, _, number in reversed(self._held):
            if wanted:
                self._make(number)

    def finish(self) -> None:
        """All frames have been looked at."""
        self._told(self._promising.add(None, np.zeros(1)))
        if not self._closing:
            self.closing()

    def _make(self, number: int) -> None:
        self.ready[number] = self._workers.look(replace(self._to_show(number), idly=True))

    def _told(self, told: Promised[int] | None) -> None:
        if told is None or not (told.wanted or told.lost) or (job := self._to_show(told.frame)).keep is None:
            return
        if self._closing:  # the pixels of the last few frames are there without being held
            if told.wanted:
                self._make(told.frame)
            return
        bisect.insort(self._held, (told.wanted, told.lost, told.frame))
        let_go: int | None = None
        if len(self._held) > HELD and not self._held[0][0]:
            let_go = self._held.pop(0)[2]
        elif len(self._held) > HELD:
            surest = self._held.pop()[2]
            self.ready[surest] = self._workers.look(self._to_show(surest), soon=True)
            let_go = surest if surest == told.frame else None
        if let_go != told.frame:
            instead = None if let_go is None else self._to_show(let_go).keep
            self._workers.look(Job(job.name, keep=job.keep, hold=True, instead=instead), soon=True)
