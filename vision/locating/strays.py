"""Boxes that are not their thing's: each is held against what the others of the thing make expect.

Following glues a false box, or a neighbour's, to the end of a run now and then. Where the run is far and the box is
near, the box alone then says where the thing stands, and all fit: the thing comes out metres off and sure of it.
"""

from __future__ import annotations

import numpy as np

from vision.camera import Camera
from vision.locating.association import ENDING_MISSES, MISS_ODDS
from vision.locating.candidates import Candidates
from vision.locating.cuboid import FrameStates
from vision.locating.observations import BoolArray, IntArray, Observations, unlike
from vision.locating.standing import Solved, against_others

# Logarithm of likelihood: a box that misses by more than this is left out. One in a hundred of a thing's own does.
MISS = 5.0
# Things of fewer boxes can't tell which of them is wrong.
LEAST_BOXES = 3


def strays(
    seen: Observations, candidates: Candidates, still: Solved, stands: BoolArray, frames: FrameStates, camera: Camera
) -> IntArray:
    """The rows of `seen` that the others of their thing speak against most, one of each thing at most.

    `still`: the candidates solved one by one as standing; `stands` (t,): those that do. What speaks against a box
    is its misfit, another class, and the pictures without the thing between it and the rest when it is the first or
    the last. What is left out may still turn out to be another thing's.
    """
    few = candidates.boxes < LEAST_BOXES
    rows = candidates.rows.where((stands & ~few)[candidates.rows.thing])
    if not len(rows.thing):
        return np.zeros(0, dtype=np.int64)
    held = np.flatnonzero(candidates.label >= 0)
    held = held[np.lexsort((seen.frame[held], candidates.label[held]))]
    thing, frame = candidates.label[held], seen.frame[held]
    # The boxes of each thing stand together, in order of time.
    place = np.searchsorted(thing * len(seen.time_s) + frame, rows.thing * len(seen.time_s) + rows.frame)
    first = np.append(True, thing[1:] != thing[:-1])
    last = np.append(first[1:], True)
    step = np.append(np.diff(frame), 1) - 1
    gap = np.where(first, step, np.where(last, np.roll(step, 1), 0))[place]
    against = against_others(rows, still, frames, camera) / 2
    against += unlike(seen, seen.name[held[place]], candidates.class_of[rows.thing])
    against += MISS_ODDS * np.minimum(gap, ENDING_MISSES)
    order = np.lexsort((-against, rows.thing))
    worst = order[np.append(True, np.diff(rows.thing[order]) > 0)]
    return np.asarray(held[place[worst[against[worst] > MISS]]])
