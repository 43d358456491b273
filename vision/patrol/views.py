"""Which frames to keep as pictures of the standing things: few of them, in which each thing is well seen.

A frame that is kept costs half as much again as one that is looked at (decoded anew, searched for people, encoded), so
frames that show several things are preferred to ones that show a single thing a little better. Right after the look,
while its pixels are there, it costs a quarter: frames that show more than their neighbours are made ready then.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from vision import boxes
from vision.boxes import FloatArray
from vision.detections import Detections, FrameDetections
from vision.locating.observations import IntArray, Observations
from vision.sightings import EvidenceBox
from vision.taxonomy import PRIVATE

Frame = TypeVar("Frame")
MOST_EVIDENCE = 5
# Every thing gets as many good pictures as this, and more only out of frames that are kept anyway.
ENOUGH = 1
# A view is good when it is worth this share of the thing's best one.
_GOOD = 0.6
# A thing whose side is this share of the picture's longer one, 90 pixels of what is shown, is seen no better when it is
# larger.
_LARGE = 0.06
# A frame that has been made ready to be shown is preferred to one that would have to be made, as if it showed so many
# times as much.
_READY = 2.0
# A frame is made ready before anybody knows which things stand when what the next one does not show any more comes to
# `_LOST` (half a sure large thing, say) and to this share of what it shows; or when it shows `_PEAK` or more, and its
# neighbours less.
_LOST, _LOST_SHARE, _PEAK = 0.3, 0.35, 1.0
# A box this near to the picture's edge, as a share of its longer side, is cut by it.
_TOUCHING = 0.001


@dataclass(frozen=True, slots=True)
class View:
    """One thing in one frame; `worth`: how well it is seen there, to be compared among the views of the thing; `ready`:
    whether the frame has been made ready to be shown."""

    worth: float
    box: EvidenceBox
    ready: bool = False


class Views:
    """How well each box of a drive shows its thing, worked out once for all: sure, large, whole ones are worth most,
    and those that no person or vehicle, which will be hidden, covers. `ordered`: the frames that `seen.frame` counts.
    """

    def __init__(self, seen: Observations, ordered: Sequence[FrameDetections]) -> None:
        self._seen, self._ordered = seen, ordered
        found = [one.detections for one in ordered]
        first = np.cumsum([0, *(len(one) for one in found)])[:-1]
        own = np.concatenate([one.boxes_xyxy for one in found])[first[seen.frame] + seen.detection]
        longest = np.array([max(one.size_wh) for one in found])[seen.frame]
        quality = np.array([one.quality for one in ordered])[seen.frame]
        self._side = np.clip(np.sqrt(boxes.area(own)) / longest, 1e-4, _LARGE)
        whole = np.where(seen.cut.any(axis=1), 0.5, 1.0) * (1.0 - _covered(own, seen, found))
        self._value = seen.score * quality * whole * self._side

    def of(self, rows: IntArray) -> tuple[View, ...]:
        """The views of a thing with the observations `rows`, best first, one per frame."""
        worth = self._value[rows] / self._side[rows].max()
        best: dict[int, int] = {}
        for at in np.lexsort((rows, -worth)):
            best.setdefault(int(self._seen.frame[rows[at]]), int(at))
        return tuple(_view(float(worth[at]), int(rows[at]), self._seen, self._ordered[k]) for k, at in best.items())


def _covered(own: FloatArray, seen: Observations, found: Sequence[Detections]) -> FloatArray:
    """How much of each box (n, 4) one person or vehicle of its frame covers at most, 0 to 1."""
    shared = np.zeros(len(own))
    bounds = np.searchsorted(seen.frame, np.arange(len(found) + 1))
    for k, one in enumerate(found):
        others = one.boxes_xyxy[one.among(PRIVATE)]
        if len(others) and bounds[k] < bounds[k + 1]:
            part = slice(bounds[k], bounds[k + 1])
            shared[part] = boxes.intersection(own[part], others).max(axis=1)
    return np.minimum(shared / np.maximum(boxes.area(own), 1e-9), 1.0)


def _view(worth: float, row: int, seen: Observations, frame: FrameDetections) -> View:
    x_min, y_min, x_max, y_max = frame.detections.boxes_xyxy[seen.detection[row]].tolist()
    box = EvidenceBox(frame.frame, frame.time_s, float(seen.score[row]), (x_min, y_min, x_max, y_max))
    return View(worth, box, frame.ready)


def promise(found: Detections) -> FloatArray:
    """How much a frame shows of each class (classes,): its things counted, those that are unsure, small or cut by the
    picture's edge as less; nothing of people and vehicles."""
    size_wh, box = found.size_wh, found.boxes_xyxy
    side = np.minimum(np.sqrt(boxes.area(box)) / max(size_wh) / _LARGE, 1.0)
    inward = np.minimum(box[:, :2], np.array(size_wh) - box[:, 2:]).min(axis=1, initial=np.inf)
    whole = np.where(inward <= _TOUCHING * max(size_wh), 0.5, 1.0)
    worth = found.scores * side * whole * ~found.among(PRIVATE)
    return np.asarray(np.bincount(found.class_ids, worth, minlength=len(found.class_names)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Promised(Generic[Frame]):
    """A frame, how much it shows that the next one does not, and whether it will most likely be wanted as a picture."""

    frame: Frame
    lost: float
    wanted: bool


class Promising(Generic[Frame]):
    """Tells, one frame late, which frames will be wanted as pictures: those that show much that the next one does not,
    or more than both their neighbours."""

    def __init__(self) -> None:
        self._before = 0.0
        self._last: FloatArray = np.zeros(1)
        self._frame: Frame | None = None

    def add(self, frame: Frame | None, promised: FloatArray) -> Promised[Frame] | None:
        """Take the next frame with its `promise` (None and zeros after the last); what the one before it promises."""
        much, last = float(promised.sum()), float(self._last.sum())
        lost = float(np.maximum(self._last - promised, 0.0).sum())
        is_peak = last >= _PEAK and self._before < last >= much
        wanted, before = is_peak or (lost >= _LOST and lost >= _LOST_SHARE * last), self._frame
        self._before, self._last, self._frame = last, promised, frame
        return None if before is None else Promised(before, lost, wanted)


def choose_evidence(things: Sequence[Sequence[View]]) -> list[tuple[EvidenceBox, ...]]:
    """The pictures of each thing, best first, at most `MOST_EVIDENCE`: greedily the frames that show most things well,
    until every thing has `ENOUGH` good views, or all of its good ones.

    `things`: the views of each thing, best first, at least one. Frames that are ready are preferred.
    """
    ready = {v.box.frame for views in things for v in views if v.ready}
    good = [{v.box.frame for v in views if v.worth >= _GOOD * views[0].worth} for views in things]
    missing = [min(ENOUGH, len(frames)) for frames in good]
    showing: dict[str, list[int]] = {}
    for i, frames in enumerate(good):
        for frame in frames:
            showing.setdefault(frame, []).append(i)
    kept: set[str] = set()
    # How much a frame adds only ever falls, so the first that has kept its rank is the best (lazy greedy).
    queue = [(-len(shown) * (_READY if frame in ready else 1.0), frame) for frame, shown in showing.items()]
    heapq.heapify(queue)
    left = sum(missing)
    while left:
        rank, frame = heapq.heappop(queue)
        adds = sum(missing[i] > 0 for i in showing[frame])
        worth = adds * (_READY if frame in ready else 1.0)
        if worth < -rank:
            heapq.heappush(queue, (-worth, frame))
            continue
        kept.add(frame)
        for i in showing[frame]:
            missing[i] = max(0, missing[i] - 1)
        left -= adds
    return [tuple(v.box for v in views if v.box.frame in kept)[:MOST_EVIDENCE] for views in things]
