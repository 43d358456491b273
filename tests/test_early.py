"""Which frames are held and made ready before anybody knows which will be wanted."""

from __future__ import annotations

from concurrent.futures import Future
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vision.detecting.workers import HELD, Job, Seen, Workers
from vision.detections import Detections
from vision.errors import Fault
from vision.patrol.early import Early

NOTHING = Detections.empty((640, 480))


class Noting:
    """Stands for workers: notes what it is asked."""

    def __init__(self) -> None:
        self.held: list[int] = []
        self.made: list[int] = []
        self.idle: list[int] = []

    def look(self, job: Job, *, soon: bool = False) -> Future[Seen | Fault]:
        assert job.keep is not None
        assert soon != job.idly
        if job.hold:
            self.held.append(job.keep)
            if job.instead is not None:
                self.held.remove(job.instead)
        elif job.idly:
            self.idle.append(job.keep)
        else:
            self.made.append(job.keep)
            if job.keep in self.held:
                self.held.remove(job.keep)
        return Future()


def run(shown: list[float]) -> tuple[Noting, Early]:
    """Frames of which each shows so much, of a class that the next frame does not show."""
    workers = Noting()
    early = Early(cast(Workers, workers), lambda number: Job(str(number), hide=NOTHING, keep=number))
    for number, much in enumerate(shown):
        early.add(number, np.eye(2)[number % 2] * much)
    early.finish()
    return workers, early


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=4 * HELD))
def test_as_many_are_held_as_there_is_room_for_and_those_that_promise_most(shown: list[float]) -> None:
    """Never more than `HELD`; as many as there are and fit; every frame that promises much is made ready, at once or
    later; what is held and was not promised promises at least what was let go."""
    workers, early = run(shown)
    much = {number for number, value in enumerate(shown) if value >= 0.3}
    some = {number for number, value in enumerate(shown) if value > 0}
    assert len(set(workers.held)) == len(workers.held) <= HELD
    assert much <= early.ready.keys() <= some
    assert set(workers.made) | set(workers.idle) == early.ready.keys()
    assert set(workers.idle) <= set(workers.held)
    assert len(workers.held) == min(HELD, len(some - set(workers.made)))
    others = [shown[number] for number in set(workers.held) - early.ready.keys()]
    let_go = [shown[number] for number in some - set(workers.held) - early.ready.keys()]
    assert not others or not let_go or min(others) >= max(let_go)


def test_the_surest_are_made_at_once_when_more_are_promised_than_fit() -> None:
    """And of those that wait the surest come first."""
    shown = [1.0 + number / 100 for number in range(HELD + 3)]
    workers, _ = run(shown)
    assert workers.made == [HELD, HELD + 1, HELD + 2]
    assert workers.idle == list(range(HELD - 1, -1, -1))


def test_when_no_more_frames_come_those_that_wait_begin() -> None:
    """The surest first, while the last frames are looked at; of these whoever promises much follows, and nobody's
    pixels are held any longer than they are anyway."""
    workers = Noting()
    early = Early(cast(Workers, workers), lambda number: Job(str(number), hide=NOTHING, keep=number))
    shown = [0.5, 0.9, 0.1, 0.7, 0.05, 0.8]
    for number, much in enumerate(shown[:4]):
        early.add(number, np.eye(2)[number % 2] * much)
    assert not workers.idle
    early.closing()
    assert workers.idle == [1, 0]
    for number, much in enumerate(shown[4:], 4):
        early.add(number, np.eye(2)[number % 2] * much)
    early.finish()
    assert workers.idle == [1, 0, 3, 5]
    assert early.ready.keys() == set(workers.idle)
    assert workers.held == [0, 1, 2]


def test_frames_without_pixels_that_could_be_kept_are_left_alone() -> None:
    workers = Noting()
    early = Early(cast(Workers, workers), lambda number: Job(str(number), hide=NOTHING))
    for number in range(5):
        early.add(number, np.array([float(number % 2)]))
    early.finish()
    assert not [*workers.held, *workers.made, *workers.idle, *early.ready]
