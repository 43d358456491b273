"""Which frames to keep as pictures of the standing things: few of them, in which each thing is well seen.

A frame that is kept costs as much as two that are looked at (decoded anew, searched for people, encoded), so frames
that show several things are preferred to ones that show a single thing a little better.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vision import boxes
from vision.boxes import FloatArray
from vision.detections import FrameDetections
from vision.locating.observations import IntArray, Observations
from vision.sightings import EvidenceBox
from vision.taxonomy import PRIVATE

MOST_EVIDENCE = 5
# Every thing gets as many good pictures as this, and more only out of frames that are kept anyway.
ENOUGH = 1
# A view is good when it is worth this share of the thing's best one.
_GOOD = 0.7


@dataclass(frozen=True, slots=True)
class View:
    """One thing in one frame; `worth`: how well it is seen there, to be compared among the views of the thing."""

    worth: float
    box: EvidenceBox


def views_of(rows: IntArray, seen: Observations, ordered: Sequence[FrameDetections]) -> tuple[View, ...]:
    """The views of a thing, best first, one per frame: sure, large, whole ones are worth most, and those that no person
    or vehicle, which will be hidden, covers.

    `rows`: its observations; `ordered`: the frames that `seen.frame` counts.
    """
    side = np.sqrt(np.maximum((seen.box[rows, 2] - seen.box[rows, 0]) * (seen.box[rows, 3] - seen.box[rows, 1]), 1.0))
    quality = np.array([ordered[k].quality for k in seen.frame[rows]])
    whole = np.where(seen.cut[rows].any(axis=1), 0.5, 1.0) * (1.0 - _covered(rows, seen, ordered))
    worth = seen.score[rows] * quality * whole * side / side.max()
    best: dict[int, int] = {}
    for at in np.lexsort((rows, -worth)):
        best.setdefault(int(seen.frame[rows[at]]), int(at))
    return tuple(_view(float(worth[at]), int(rows[at]), seen, ordered[k]) for k, at in best.items())


def _covered(rows: IntArray, seen: Observations, ordered: Sequence[FrameDetections]) -> FloatArray:
    """How much of each box a person's or a vehicle's covers in its frame, 0 to 1: the largest share of any one."""
    shares = np.zeros(len(rows))
    for i, row in enumerate(rows):
        found = ordered[seen.frame[row]].detections
        own = found.boxes_xyxy[[seen.detection[row]]]
        others = found.of_classes(PRIVATE).boxes_xyxy
        if len(others):
            shares[i] = (boxes.intersection(own, others) / np.maximum(boxes.area(own), 1e-9)).max()
    return np.minimum(shares, 1.0)


def _view(worth: float, row: int, seen: Observations, frame: FrameDetections) -> View:
    x_min, y_min, x_max, y_max = frame.detections.boxes_xyxy[seen.detection[row]].tolist()
    return View(worth, EvidenceBox(frame.frame, frame.time_s, float(seen.score[row]), (x_min, y_min, x_max, y_max)))


def choose_evidence(things: Sequence[Sequence[View]]) -> list[tuple[EvidenceBox, ...]]:
    """The pictures of each thing, best first, at most `MOST_EVIDENCE`: greedily the frames that show most things well,
    until every thing has `ENOUGH` good views, or all of its good ones.

    `things`: the views of each thing, best first, at least one.
    """
    good = [{v.box.frame for v in views if v.worth >= _GOOD * views[0].worth} for views in things]
    missing = [min(ENOUGH, len(frames)) for frames in good]
    showing: dict[str, list[int]] = {}
    for i, frames in enumerate(good):
        for frame in frames:
            showing.setdefault(frame, []).append(i)
    kept: set[str] = set()
    # How much a frame adds only ever falls, so the first that has kept its rank is the best (lazy greedy).
    queue = [(-len(shown), frame) for frame, shown in showing.items()]
    heapq.heapify(queue)
    left = sum(missing)
    while left:
        rank, frame = heapq.heappop(queue)
        adds = sum(missing[i] > 0 for i in showing[frame])
        if adds < -rank:
            heapq.heappush(queue, (-adds, frame))
            continue
        kept.add(frame)
        for i in showing[frame]:
            missing[i] = max(0, missing[i] - 1)
        left -= adds
    return [tuple(v.box for v in views if v.box.frame in kept)[:MOST_EVIDENCE] for views in things]
