"""What a model got wrong at its shipped thresholds, one by one: true boxes it missed, and alarms where nothing is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.evaluation.evaluate import Looks, group_of, scene_of, true_boxes
from training.evaluation.metrics import ANY_SIZE, IOU_THRESHOLDS, MOST_DETECTIONS, Floats, match
from vision import boxes
from vision.detections import Detections
from vision.taxonomy import CLASSES

SAME_IOU = 0.5
# Below this a detection is noise: a miss with nothing better is a thing that was not seen at all.
SEEN = 0.05
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One missed box or one false alarm, in pixels of its picture.

    `score`: the alarm's; for a miss the best score of its class that overlaps it, 0 when none does. `instead`: for a
    miss the class that is shown in its place, for an alarm the class of the true box it lies on; or "nothing".
    """

    path: Path
    class_name: str
    box_xyxy: tuple[float, float, float, float]
    size_wh: tuple[int, int]
    score: float
    instead: str

    @property
    def share(self) -> float:
        """The part of the picture's area that the box takes."""
        x0, y0, x1, y1 = self.box_xyxy
        return (x1 - x0) * (y1 - y0) / (self.size_wh[0] * self.size_wh[1])


def misses(looks: Looks, shown: Mapping[str, float]) -> list[Mistake]:
    """True boxes that no detection of their class covers at its threshold (IoU .5), the largest first."""
    found = []
    for picture, seen in looks:
        labels = [label for label in picture.labels if label.name in CLASSES]
        true = true_boxes(labels, seen.size_wh)
        names = np.array(seen.names(), dtype=object)
        visible = _visible(seen, shown)
        overlap = boxes.iou(true, seen.boxes_xyxy) >= SAME_IOU
        for label, box, covered in zip(labels, true, overlap, strict=True):
            if group_of(label.name) in picture.unknown or (covered & visible & (names == label.name)).any():
                continue
            ours = seen.scores[covered & (names == label.name)]
            best = float(ours.max()) if len(ours) else 0.0
            score = best if best >= SEEN else 0.0
            others = np.flatnonzero(covered & visible)
            instead = str(names[others[0]]) if len(others) else NOTHING
            found.append(_mistake(picture.path, label.name, box, seen.size_wh, score, instead))
    return sorted(found, key=lambda one: -one.share)


def false_alarms(looks: Looks, shown: Mapping[str, float]) -> list[Mistake]:
    """Shown detections that cover no true box of their class and lie in no ignored place, the surest first."""
    found = []
    for picture, seen in looks:
        labels = [label for label in picture.labels if label.name in CLASSES]
        true = true_boxes(labels, seen.size_wh)
        for name in sorted(set(seen.names())):
            if group_of(name) in picture.unknown:
                continue
            scene = scene_of(picture, seen, frozenset({name}))
            matched = match(scene, IOU_THRESHOLDS[:1], ANY_SIZE)
            order = np.argsort(-scene.scores, kind="stable")[:MOST_DETECTIONS]
            wrong = ~matched.hit[0] & ~matched.void[0] & (matched.scores >= shown[name])
            for box, score in zip(scene.found[order][wrong], matched.scores[wrong], strict=True):
                overlap = boxes.iou(box[None], true)[0] if len(true) else np.zeros(1)
                on = labels[int(overlap.argmax())].name if overlap.max() >= SAME_IOU else NOTHING
                found.append(_mistake(picture.path, name, box, seen.size_wh, float(score), on))
    return sorted(found, key=lambda one: -one.score)


def tally(mistakes: Iterable[Mistake]) -> dict[str, dict[str, int]]:
    """How many of each class, by what was there instead."""
    table: dict[str, Counter[str]] = {}
    for one in mistakes:
        table.setdefault(one.class_name, Counter())[one.instead] += 1
    return {name: dict(table[name]) for name in CLASSES if name in table}


def worst(mistakes: Iterable[Mistake], most: int, most_of_a_class: int) -> list[Mistake]:
    """The first ones, so that no class fills the page."""
    counts: Counter[str] = Counter()
    chosen: list[Mistake] = []
    for one in mistakes:
        counts[one.class_name] += 1
        if counts[one.class_name] <= most_of_a_class and len(chosen) < most:
            chosen.append(one)
    return chosen


def _visible(seen: Detections, shown: Mapping[str, float]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(seen.scores >= np.array([shown[name] for name in seen.names()], dtype=np.float64))


def _mistake(path: Path, name: str, box: Floats, size_wh: tuple[int, int], score: float, instead: str) -> Mistake:
    x0, y0, x1, y1 = (float(value) for value in box)
    return Mistake(path, name, (x0, y0, x1, y1), size_wh, score, instead)
