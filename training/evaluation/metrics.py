"""Average precision as COCO defines it, with boxes that neither count nor punish.

Follows pycocotools' COCOeval for boxes (matching per picture and class, 101 recall points, at most 100 detections a
picture); an `ignore` box is what COCO calls a crowd: any number of detections may lie in it, by the share of the
detection's own area. A test holds both against each other to four digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vision import boxes

Floats = npt.NDArray[np.float64]
IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
RECALLS: Floats = np.linspace(0, 1, 101)
MOST_DETECTIONS = 100
# COCO's box sizes: areas in square pixels.
SIZES: dict[str, tuple[float, float]] = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
ANY_SIZE = (0.0, 1e10)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One picture for one class: detections, true boxes, and boxes to ignore; all xyxy in the same pixels.

    `found` (n, 4) with `scores` (n,); `true` (m, 4); `ignored` (k, 4).
    """

    found: Floats
    scores: Floats
    true: Floats
    ignored: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Detections of many scenes, best first: `hit` and `void` (thresholds, n); `void` ones count for nothing.

    `truths` is how many true boxes there were (with weights, how often they count).
    """

    scores: Floats
    hit: npt.NDArray[np.bool_]
    void: npt.NDArray[np.bool_]
    truths: float


def match(scene: Scene, thresholds: Floats, area_range: tuple[float, float]) -> Matched:
    """Greedy matching of one scene at each IoU threshold, best score first."""
    order = np.argsort(-scene.scores, kind="stable")[:MOST_DETECTIONS]
    found, scores = scene.found[order], scene.scores[order]
    size = boxes.area(scene.true)
    outside = (size < area_range[0]) | (size > area_range[1])
    truth_order = np.argsort(outside, kind="stable")
    true, outside = scene.true[truth_order], outside[truth_order]
    void_truth = np.concatenate([outside, np.ones(len(scene.ignored), dtype=bool)])
    crowd = np.concatenate([np.zeros(len(true), dtype=bool), np.ones(len(scene.ignored), dtype=bool)])
    own = np.maximum(boxes.area(found), 1e-12)[:, None]
    overlap = np.concatenate([boxes.iou(found, true), boxes.intersection(found, scene.ignored) / own], axis=1)
    hit = np.zeros((len(thresholds), len(found)), dtype=bool)
    void = np.zeros_like(hit)
    for row, threshold in enumerate(thresholds):
        taken = np.zeros(len(crowd), dtype=bool)
        for column in range(len(found)):
            best, chosen = min(float(threshold), 1 - 1e-10), -1
            for truth in range(len(crowd)):
                if taken[truth] and not crowd[truth]:
                    continue
                if chosen >= 0 and not void_truth[chosen] and void_truth[truth]:
                    break
                if overlap[column, truth] < best:
                    continue
                best, chosen = float(overlap[column, truth]), truth
            if chosen >= 0:
                taken[chosen] = True
                hit[row, column], void[row, column] = True, void_truth[chosen]
    found_area = boxes.area(found)
    stray = (found_area < area_range[0]) | (found_area > area_range[1])
    void |= ~hit & stray[None, :]
    return Matched(scores, hit, void, int((~outside).sum()))


def join(parts: Sequence[Matched], thresholds: int) -> Matched:
    """Matches of many scenes as one list, best score first."""
    scores = np.concatenate([part.scores for part in parts]) if parts else np.zeros(0)
    order = np.argsort(-scores, kind="stable")
    empty = np.zeros((thresholds, 0), dtype=bool)
    hit = np.concatenate([empty, *(part.hit for part in parts)], axis=1)[:, order]
    void = np.concatenate([empty, *(part.void for part in parts)], axis=1)[:, order]
    return Matched(scores[order], hit, void, sum(part.truths for part in parts))


def average_precisions(matched: Matched, weights: Floats | None = None) -> Floats:
    """AP at each threshold (thresholds,); NaN where there was no true box.

    `weights` (n,): how often each detection counts; once without them.
    """
    result = np.full(len(matched.hit), np.nan)
    if matched.truths == 0:
        return result
    times = np.ones(len(matched.scores)) if weights is None else weights
    for row in range(len(matched.hit)):
        right = np.cumsum(times * (matched.hit[row] & ~matched.void[row]))
        wrong = np.cumsum(times * (~matched.hit[row] & ~matched.void[row]))
        recall = right / matched.truths
        precision = right / np.maximum(right + wrong, np.spacing(1))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(recall, RECALLS, side="left")
        reached = at < len(envelope)
        result[row] = float(envelope[at[reached]].sum()) / len(RECALLS)
    return result


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """What one class reached: box count, AP at IoU .5, AP over .5:.95, and AP50 by box size (NaN: no such box)."""

    boxes: int
    ap50: float
    ap: float
    ap50_by_size: dict[str, float]


def figures(scenes: Sequence[Scene]) -> ClassFigures:
    """The figures of one class over all its scenes."""
    matched = join([match(scene, IOU_THRESHOLDS, ANY_SIZE) for scene in scenes], len(IOU_THRESHOLDS))
    precisions = average_precisions(matched)
    at_half = IOU_THRESHOLDS[:1]
    by_size = {
        name: float(average_precisions(join([match(scene, at_half, area) for scene in scenes], 1))[0])
        for name, area in SIZES.items()
    }
    return ClassFigures(int(matched.truths), float(precisions[0]), float(precisions.mean()), by_size)


@dataclass(frozen=True, slots=True)
class Operating:
    """Precision, recall and F1 at one score threshold, IoU .5."""

    threshold: float
    precision: float
    recall: float
    f1: float


def operating_points(scenes: Sequence[Scene]) -> list[Operating]:
    """One point per distinct score, highest score first; empty without detections or true boxes."""
    matched = join([match(scene, IOU_THRESHOLDS[:1], ANY_SIZE) for scene in scenes], 1)
    counts = ~matched.void[0]
    scores, hit = matched.scores[counts], matched.hit[0][counts]
    if not matched.truths or not len(scores):
        return []
    right = np.cumsum(hit)
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    points = []
    for index in last:
        precision, recall = right[index] / (index + 1), right[index] / matched.truths
        f1 = 2 * precision * recall / (precision + recall) if right[index] else 0.0
        points.append(Operating(float(scores[index]), float(precision), float(recall), float(f1)))
    return points


def point_at(points: Sequence[Operating], threshold: float) -> Operating:
    """What a threshold reaches: the last point whose score is not below it; nothing found when there is none."""
    above = [point for point in points if point.threshold >= threshold]
    if not above:
        return Operating(threshold, 0.0, 0.0, 0.0)
    return Operating(threshold, above[-1].precision, above[-1].recall, above[-1].f1)


def best_threshold(scenes: Sequence[Scene], default: float, least_boxes: int = 20) -> float:
    """A low score with nearly the best F1, rounded down to 0.01, within .2 and .6; `default` where boxes are few."""
    points = operating_points(scenes)
    if sum(len(scene.true) for scene in scenes) < least_boxes or not points:
        return default
    # F1 is flat at its top. Of the scores within a point of the best a low one is taken, because an operator dismisses
    # a false alarm with a click, but nobody sees a miss; not the lowest, which would rest on a single box.
    top = max(point.f1 for point in points)
    good = [point.threshold for point in points if point.f1 >= top - 0.01]
    return float(np.clip(np.floor(100 * np.quantile(good, 0.2)) / 100, 0.2, 0.6))
