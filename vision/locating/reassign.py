"""Which box shows which standing thing, now that it is known where they stand: frame by frame, each thing once.

Following takes a neighbour's box now and then, in rows of equal things and where frames are far apart. What was solved
from all boxes of a thing tells them apart: each frame's boxes are given anew to the things that would show them.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from vision.camera import Camera
from vision.geo import FloatArray, median
from vision.locating.association import Spots
from vision.locating.candidates import SPLINTER, Candidates
from vision.locating.cuboid import ROBUST, V_EAST, FrameStates, box_rows, misfits, robust
from vision.locating.observations import BOTTOM, LEFT, RIGHT, TOP, IntArray, Observations, unlike
from vision.locating.standing import Solved, apart

# Logarithms of likelihood: a box that fits worse than this to everything is nobody's, or stays where it was unless its
# edges are this many sigmas off on average.
LEAVE, STRAY = 12.0, 5.0
# Things are looked for so near to the lens, and so long before they were first followed and after.
RANGE_M, BEYOND_S = 60.0, 10.0
# Cosine of the angle between a box and what it may show, at most: the path's own heading may err by some degrees.
AHEAD = 0.8
# So many boxes of a frame tell by what the whole picture is shaken.
SHAKEN_TOGETHER = 3


def resorted(
    seen: Observations,
    spots: Spots,
    candidates: Candidates,
    still: Solved,
    solved: IntArray,
    frames: FrameStates,
    camera: Camera,
    loose: IntArray,
) -> IntArray:
    """Labels (n,) in which each box of a frame shows the thing that suits it best, and no thing is shown twice.

    `still`: the candidates solved one by one; `solved` (s,): those that stand. Boxes of other followed things stay
    where they are, but for those of splinters; `loose` (l,): boxes of no thing that may be one's.
    """
    label = candidates.label.copy()
    count = len(candidates)
    size = np.bincount(label[label >= 0], minlength=count)
    stands = np.zeros(count, dtype=bool)
    stands[solved] = True
    free = (label >= 0) & (stands[label] | (size[label] <= SPLINTER))
    free[loose] = True
    boxes = np.flatnonzero(free)
    if not len(boxes) or not len(solved):
        return label
    rows, things, off = _pairs(seen, spots, candidates, still, solved, boxes, frames, camera)
    cost = robust(off)[0].sum(axis=1)
    cost += unlike(seen, seen.name[rows], candidates.class_of[things])
    mine = things == label[rows]
    misfit = np.full(len(seen), 0.0)
    misfit[rows[mine]] = np.minimum(np.abs(off[mine]), 20.0).mean(axis=1)
    own = np.full(len(seen), np.inf)
    own[rows[mine]] = cost[mine]
    best = np.full(len(seen), np.inf)
    np.minimum.at(best, rows, cost)
    # Only where a box suits another thing better is there anything to sort out.
    doubtful = np.unique(seen.frame[boxes[(best[boxes] < own[boxes]) & (best[boxes] < LEAVE)]])
    label[boxes[misfit[boxes] > STRAY]] = -1
    order = np.argsort(seen.frame[rows], kind="stable")
    bounds = np.searchsorted(seen.frame[rows][order], np.arange(len(seen.time_s) + 1))
    for k in doubtful:
        part = order[bounds[k] : bounds[k + 1]]
        these, row_at = np.unique(rows[part], return_inverse=True)
        those, thing_at = np.unique(things[part], return_inverse=True)
        table = np.full((len(these), len(those)), LEAVE)
        table[row_at, thing_at] = np.minimum(cost[part], LEAVE)
        first, second = linear_sum_assignment(table)
        good = table[first, second] < LEAVE
        given = np.full(len(these), -1)
        given[first[good]] = those[second[good]]
        taken = set(given.tolist())
        for row, thing in zip(these, given, strict=True):
            if thing >= 0:
                label[row] = thing
            elif label[row] in taken:
                label[row] = -1
    return label


def _pairs(
    seen: Observations,
    spots: Spots,
    candidates: Candidates,
    still: Solved,
    solved: IntArray,
    boxes: IntArray,
    frames: FrameStates,
    camera: Camera,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Boxes (p,), the things (p,) each may show, and by how many sigmas the edges are off (p, 4), once the shaking of
    each frame is taken off."""
    label = candidates.label
    times = seen.time_s[seen.frame]
    first, last = np.full(len(candidates), np.inf), np.full(len(candidates), -np.inf)
    held = np.flatnonzero(label >= 0)
    np.minimum.at(first, label[held], times[held])
    np.maximum.at(last, label[held], times[held])
    place = still.things[solved, :2]
    lens = seen.lens_m[seen.frame[boxes]]
    away = place[None] - lens[:, None]
    far = np.linalg.norm(away, axis=2)
    near = (far < RANGE_M) & (np.einsum("bti,bi->bt", away, spots.toward[boxes]) > AHEAD * far)
    at = times[boxes][:, None]
    near &= (at > first[solved] - BEYOND_S) & (at < last[solved] + BEYOND_S)
    near &= np.isfinite(unlike(seen, seen.name[boxes][:, None], candidates.class_of[solved][None]))
    near |= label[boxes][:, None] == solved
    which, whom = np.nonzero(near)
    rows, things = boxes[which], solved[whom]
    numbers = np.full(len(candidates), -1)
    numbers[solved] = np.arange(len(solved))
    made = box_rows(seen, rows, numbers[things], np.ones(len(rows), dtype=np.int64), 0.0, camera)
    own_rows, own_frames = apart(frames, made, np.where(np.arange(4) < 3, still.own[solved], 0.0))
    cuboids = still.things[solved].copy()
    cuboids[:, V_EAST:] = 0.0
    off = misfits(own_rows, cuboids, own_frames, camera)
    mine = np.flatnonzero((things == label[rows]) & (np.abs(off) < ROBUST * 3).all(axis=1))
    free = np.where(seen.cut[rows[mine]] | (off[mine] == 0.0), np.nan, off[mine] * made.sigma[mine])
    frame = seen.frame[rows]
    for edges in ((LEFT, RIGHT), (TOP, BOTTOM)):
        shift = _medians(free[:, edges], frame[mine], len(seen.time_s))[frame]
        for edge in edges:
            off[:, edge] = np.where(off[:, edge] == 0.0, 0.0, off[:, edge] - shift / made.sigma[:, edge])
    return rows, things, off


def _medians(values: FloatArray, frame: IntArray, count: int) -> FloatArray:
    """The median (count,) of each frame's values (m, 2), 0 where too few boxes tell it."""
    medians = np.zeros(count)
    order = np.argsort(frame, kind="stable")
    bounds = np.searchsorted(frame[order], np.arange(count + 1))
    for k in np.flatnonzero(np.diff(bounds) >= SHAKEN_TOGETHER):
        told = values[order[bounds[k] : bounds[k + 1]]]
        told = told[np.isfinite(told)]
        medians[k] = median(told) if len(told) >= SHAKEN_TOGETHER else 0.0
    return medians
