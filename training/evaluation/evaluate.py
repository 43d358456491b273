"""Measure a model folder through the server's runtime on held-out pictures, class by class."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from training.evaluation.bootstrap import Pool
from training.evaluation.metrics import (
    ANY_SIZE,
    IOU_THRESHOLDS,
    ClassFigures,
    Floats,
    Operating,
    Scene,
    best_threshold,
    figures,
    join,
    match,
    operating_points,
    point_at,
)
from training.sources import GROUPS, HIDES, Label, Picture
from vision import boxes
from vision.detections import Detections
from vision.taxonomy import CLASSES, STRUCTURES, WASTE

DEFAULT_THRESHOLD = 0.3
# What a detector said about each picture.
Looks = Sequence[tuple[Picture, Detections]]
FAMILIES: dict[str, frozenset[str]] = {"structures": STRUCTURES}
# A class with fewer true boxes than this has a figure, but not one to rely on; nor can it stop a publication.
ENOUGH_BOXES = 50


class Detect(Protocol):
    """What evaluation needs of `vision.detecting.detector.Detector`."""

    def detect_file(self, path: Any, *, min_score: float | None = None) -> Detections:
        """Detections of a picture file in full-resolution pixels."""


def look(detector: Detect, pictures: Iterable[Picture]) -> list[tuple[Picture, Detections]]:
    """Every picture with all its detections above a score of 0.001."""
    return [(picture, detector.detect_file(picture.path, min_score=0.001)) for picture in pictures]


def group_of(name: str) -> str:
    """The group that a class belongs to."""
    return next(group for group, members in GROUPS.items() if name in members)


def true_boxes(labels: Iterable[Label], size_wh: tuple[int, int]) -> Floats:
    """Labels as boxes (n, 4), xyxy in pixels of a picture of this size."""
    scale = np.array([size_wh[0], size_wh[1], size_wh[0], size_wh[1]], dtype=np.float64)
    rows = [label.box for label in labels]
    return np.asarray(np.array(rows, dtype=np.float64).reshape(len(rows), 4) * scale)


def scene_of(picture: Picture, seen: Detections, names: frozenset[str]) -> Scene:
    """One picture for one class, or for a family of classes taken as one."""
    ours = seen.of_classes(names)
    hidden = {region for region, classes in HIDES.items() if names & classes}
    return Scene(
        ours.boxes_xyxy,
        ours.scores,
        true_boxes((label for label in picture.labels if label.name in names), seen.size_wh),
        true_boxes((label for label in picture.labels if label.name in hidden), seen.size_wh),
    )


def scenes_of(looks: Looks, names: frozenset[str]) -> list[Scene]:
    """The pictures in which the class is known at all."""
    groups = {group_of(name) for name in names}
    return [scene_of(picture, seen, names) for picture, seen in looks if not groups & picture.unknown]


def pool_of(looks: Looks, names: frozenset[str], area: tuple[float, float] = ANY_SIZE) -> Pool:
    """The matches of a class (or of a family as one) at all IoU thresholds, for true boxes of this area in px²."""
    return Pool.of([match(scene, IOU_THRESHOLDS, area) for scene in scenes_of(looks, names)])


def thresholds(looks: Looks) -> dict[str, float]:
    """A threshold per class, chosen on these pictures."""
    return {name: best_threshold(scenes_of(looks, frozenset({name})), DEFAULT_THRESHOLD) for name in CLASSES}


def family_threshold(shown: Mapping[str, float], members: frozenset[str]) -> float:
    """A family is shown when any of its classes is."""
    return min(shown[name] for name in members)


def confusion(looks: Looks, shown: Mapping[str, float]) -> dict[str, dict[str, int]]:
    """How often a true box of one class was found as which (IoU at least .5, at the shown thresholds)."""
    table: dict[str, Counter[str]] = {}
    for picture, seen in looks:
        names = np.array(seen.names(), dtype=object)
        keep = seen.scores >= np.array([shown[name] for name in names], dtype=np.float64)
        for label in picture.labels:
            if label.name not in CLASSES:
                continue
            overlap = boxes.iou(true_boxes([label], seen.size_wh), seen.boxes_xyxy[keep])[0]
            best = int(overlap.argmax()) if len(overlap) else -1
            found = str(names[keep][best]) if best >= 0 and overlap[best] >= 0.5 else "missed"
            table.setdefault(label.name, Counter())[found] += 1
    return {name: dict(counts) for name, counts in table.items()}


def neighbours(table: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Which classes of one group are taken for each other, most often first; `table` as from `confusion`."""
    found = []
    for true, counts in table.items():
        of = sum(counts.values())
        for seen, count in counts.items():
            if seen not in (true, "missed") and group_of(seen) == group_of(true):
                found.append({"true": true, "found": seen, "count": count, "of": of, "share": round(count / of, 4)})
    return sorted(found, key=lambda row: (-row["count"], row["true"], row["found"]))


def calibration(looks: Looks, names: frozenset[str]) -> dict[str, Any]:
    """Mean score against share of right detections in ten steps of score; `error` is their mean gap by weight.

    The error is the expected calibration error (Guo et al. 2017, equation 3) of detections scored .05 and more.
    """
    parts = []
    for name in sorted(names):
        parts += [match(scene, IOU_THRESHOLDS[:1], ANY_SIZE) for scene in scenes_of(looks, frozenset({name}))]
    matched = join(parts, 1)
    keep = ~matched.void[0] & (matched.scores >= 0.05)
    scores, right = matched.scores[keep], matched.hit[0][keep]
    step = np.minimum((scores * 10).astype(int), 9)
    steps, gap = [], 0.0
    for number in range(10):
        inside = step == number
        if inside.any():
            score, share = float(scores[inside].mean()), float(right[inside].mean())
            steps.append({"score": round(score, 3), "right": round(share, 3), "count": int(inside.sum())})
            gap += abs(score - share) * int(inside.sum())
    return {"error": round(gap / max(len(scores), 1), 4), "steps": steps}


def rounded(value: float) -> float | None:
    """Four digits; None for what is not a number."""
    return None if math.isnan(value) else round(value, 4)


def _entry(found: ClassFigures, point: Operating) -> dict[str, Any]:
    return {
        "boxes": found.boxes,
        "mAP50": rounded(found.ap50),
        "mAP50-95": rounded(found.ap),
        "mAP50_by_size": {name: rounded(value) for name, value in found.ap50_by_size.items()},
        "at_threshold": {
            "threshold": point.threshold,
            "precision": round(point.precision, 4),
            "recall": round(point.recall, 4),
        },
    }


def report(looks: Looks, shown: Mapping[str, float]) -> dict[str, Any]:
    """All figures as plain data: per class, per family, means, confusion, calibration; `breakdown` adds more.

    `shown` are the shipped thresholds. A class without true boxes has null figures. Means are over classes with boxes.
    """
    entries: dict[str, Any] = {}
    for name in CLASSES:
        scenes = scenes_of(looks, frozenset({name}))
        entries[name] = _entry(figures(scenes), point_at(operating_points(scenes), shown[name]))
    families = {}
    for family, members in FAMILIES.items():
        scenes = scenes_of(looks, members)
        families[family] = _entry(figures(scenes), point_at(operating_points(scenes), family_threshold(shown, members)))
    means = {}
    for group, members in GROUPS.items():
        rows = [entries[name] for name in CLASSES if name in members and entries[name]["boxes"]]
        if rows:
            means[group] = {
                figure: round(sum(row[figure] for row in rows) / len(rows), 4) for figure in ("mAP50", "mAP50-95")
            }
    table = confusion(looks, shown)
    return {
        "pictures": len(looks),
        "classes": entries,
        "families": families,
        "means": means,
        "confusion": table,
        "neighbours": neighbours(table),
        "calibration_waste": calibration(looks, WASTE),
        "calibration": {name: calibration(looks, frozenset({name})) for name in CLASSES if entries[name]["boxes"]},
    }
