"""Two models on the same pictures: is the difference more than luck? Paired bootstrap over pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.evaluate import scenes_of
from training.metrics import ANY_SIZE, IOU_THRESHOLDS, Floats, Matched, average_precisions, join, match
from training.sources import Picture
from vision.detections import Detections
from vision.taxonomy import CLASSES, STRUCTURES

Looks = Sequence[tuple[Picture, Detections]]
Figure = Callable[[Sequence[Matched]], float]
ROUNDS = 400
# The interval holds nine times of ten.
LOW, HIGH = 5.0, 95.0


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A of one figure of one class: the value, and the interval that holds it nine times of ten."""

    class_name: str
    figure: str
    boxes: int
    a: float
    b: float
    low: float
    high: float


def ap50(parts: Sequence[Matched]) -> float:
    """AP at IoU .5."""
    first = [Matched(part.scores, part.hit[:1], part.void[:1], part.truths) for part in parts]
    return float(average_precisions(join(first, 1))[0])


def ap(parts: Sequence[Matched]) -> float:
    """AP over IoU .5 to .95."""
    return float(average_precisions(join(parts, len(IOU_THRESHOLDS))).mean())


def recall_above(threshold: float) -> Figure:
    """The share of true boxes found at IoU .5 with at least this score."""

    def recall(parts: Sequence[Matched]) -> float:
        truths = sum(part.truths for part in parts)
        right = sum(int((part.hit[0] & ~part.void[0] & (part.scores >= threshold)).sum()) for part in parts)
        return right / truths if truths else float("nan")

    return recall


def parts_of(looks: Looks, name: str) -> list[Matched]:
    """The matches of one class, picture by picture."""
    return [match(scene, IOU_THRESHOLDS, ANY_SIZE) for scene in scenes_of(looks, frozenset({name}))]


def resampled(parts: Sequence[Sequence[Matched]], figures: Sequence[Figure], seed: int, rounds: int) -> Floats:
    """Figures of several models on the same `rounds` random draws of pictures: (rounds, models).

    `parts[m]` are model m's matches of all pictures in one order; `figures[m]` is what to work out for it.
    """
    rng = np.random.default_rng(seed)
    count = len(parts[0])
    rows = []
    for _ in range(rounds):
        draw = rng.integers(0, count, count)
        rows.append([figure([one[i] for i in draw]) for one, figure in zip(parts, figures, strict=True)])
    return np.array(rows, dtype=np.float64)


def interval(parts: Sequence[Matched], figure: Figure, seed: int = 0, rounds: int = ROUNDS) -> tuple[float, float]:
    """The interval of one model's figure that holds nine times of ten; NaN where the class has no true box."""
    if not sum(part.truths for part in parts):
        return float("nan"), float("nan")
    values = resampled([parts], [figure], seed, rounds)[:, 0]
    low, high = np.nanpercentile(values, (LOW, HIGH))
    return float(low), float(high)


def compare(
    a: Looks,
    b: Looks,
    shown_a: Mapping[str, float],
    shown_b: Mapping[str, float],
    seed: int = 0,
    rounds: int = ROUNDS,
) -> list[Difference]:
    """mAP50, mAP50-95 and recall at the shipped thresholds, class by class; classes without true boxes are left out.

    `a` and `b` are looks at the same pictures in the same order; ValueError when they are not.
    """
    if [picture.path for picture, _ in a] != [picture.path for picture, _ in b]:
        raise ValueError("the two models saw different pictures")
    found = []
    for name in CLASSES:
        parts = [parts_of(looks, name) for looks in (a, b)]
        boxes = sum(part.truths for part in parts[0])
        if not boxes:
            continue
        for label, pair in (
            ("mAP50", (ap50, ap50)),
            ("mAP50-95", (ap, ap)),
            ("recall", (recall_above(shown_a[name]), recall_above(shown_b[name]))),
        ):
            values = resampled(parts, pair, seed, rounds)
            low, high = np.nanpercentile(values[:, 1] - values[:, 0], (LOW, HIGH))
            one, two = pair[0](parts[0]), pair[1](parts[1])
            found.append(Difference(name, label, boxes, one, two, float(low), float(high)))
    return found


def with_intervals(report: dict[str, Any], looks: Looks, rounds: int = ROUNDS) -> dict[str, Any]:
    """The report of `training.evaluate`, with the interval of each mAP50 that holds it nine times of ten."""
    members = {name: frozenset({name}) for name in CLASSES} | {"structures": STRUCTURES}
    for part in ("classes", "families"):
        for name, entry in report[part].items():
            parts = [match(scene, IOU_THRESHOLDS[:1], ANY_SIZE) for scene in scenes_of(looks, members[name])]
            low, high = interval(parts, ap50, rounds=rounds)
            entry["mAP50_interval"] = None if np.isnan(low) else [round(low, 4), round(high, 4)]
    return report
