"""How far a model agrees with what operators decided: the score on the decided cases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from training.errors import DatasetError
from training.evaluation.bootstrap import ROUNDS, draws, percentiles
from training.evaluation.compare import Difference
from vision import boxes
from vision.detections import Detections

DECISIONS = "decisions.json"
Xyxy = tuple[float, float, float, float]
# A thing counts as seen from this overlap on; an alarm in the same place counts as the same one earlier.
SEEN_IOU, SAME_ALARM_IOU = 0.5, 0.3


@dataclass(frozen=True, slots=True)
class Decision:
    """One box that an operator decided about, in pixels of its picture.

    `picture` is the file's name; `judged_class` at `judged_box` is what the model had said, `present` at `box` what is
    there ("" when a thing of the judged class is not).
    """

    picture: str
    verdict: str
    judged_class: str
    judged_box: Xyxy
    present: str
    box: Xyxy


def decisions_text(decisions: Iterable[Decision]) -> str:
    """The decisions.json of a data set."""
    return json.dumps([asdict(one) for one in decisions], indent=0) + "\n"


def read_decisions(folder: Path) -> list[Decision]:
    """The decisions of an imported data set. Raises DatasetError when it holds none."""
    path = folder / DECISIONS
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Decision(**_tuples(row)) for row in rows]
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path}: {error}", remedy="import it with `jiejing dataset import --from-server`") from None


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def agreement(decision: Decision, seen: Detections) -> float:
    """From 0 to 1: how sure the model is of what the operator said.

    Of a thing that is there, the best score of its class on it; of a rejected alarm, one less the best score of its
    class in its place; of another class than the judged one, the mean of both.
    """
    there = _best(seen, decision.present, decision.box, SEEN_IOU) if decision.present else 0.0
    if decision.present == decision.judged_class:
        return there
    absent = 1.0 - _best(seen, decision.judged_class, decision.judged_box, SAME_ALARM_IOU)
    return (there + absent) / 2 if decision.present else absent


def _best(seen: Detections, name: str, box: Xyxy, least_iou: float) -> float:
    ours = seen.of_classes(frozenset({name}))
    if not len(ours):
        return 0.0
    on_it = boxes.iou(np.array([box], dtype=np.float64), ours.boxes_xyxy)[0] >= least_iou
    return float(ours.scores[on_it].max()) if on_it.any() else 0.0


class Detect(Protocol):
    """What is needed of `vision.detecting.detector.Detector`."""

    def detect_file(self, path: Any, *, min_score: float | None = None) -> Detections:
        """Detections of a picture file in full-resolution pixels."""


def agreements(detector: Detect, folder: Path, decisions: Sequence[Decision]) -> list[float]:
    """The agreement with each decision of a data set. Raises MediaError when a picture cannot be read."""
    names = sorted({one.picture for one in decisions})
    seen = {name: detector.detect_file(folder / "images" / name, min_score=0.001) for name in names}
    return [agreement(one, seen[one.picture]) for one in decisions]


def decided_difference(
    decisions: Sequence[Decision], a: Sequence[float], b: Sequence[float], seed: int = 0, rounds: int = ROUNDS
) -> Difference:
    """B minus A of the mean agreement, with the interval that holds it nine times of ten (bootstrap over pictures)."""
    names = {name: index for index, name in enumerate(sorted({one.picture for one in decisions}))}
    owner = np.array([names[one.picture] for one in decisions])
    gap = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    gaps = []
    for times in draws(len(names), rounds, seed):
        weight = times[owner]
        if weight.sum():
            gaps.append(float((gap * weight).sum() / weight.sum()))
    low, high = percentiles(gaps)
    return Difference("decided", "agreement", len(decisions), float(np.mean(a)), float(np.mean(b)), low, high)
