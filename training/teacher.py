"""Labels by a teacher: a detector that already knows persons and vehicles looks once, and its answers are kept.

What it is sure of becomes a label; where it hesitates the group stays unknown in that spot only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from training.sources import Label
from vision.detections import Detections

SURE = 0.35
DOUBT = 0.10
# COCO's names for what we call a vehicle; a bicycle has no plate, but nor is it clearly "no vehicle": unknown there.
COCO_TO_OURS: Mapping[str, str] = {
    "person": "person",
    "car": "vehicle",
    "motorcycle": "vehicle",
    "bus": "vehicle",
    "truck": "vehicle",
    "bicycle": "",
}

# class name, score, x_min, y_min, x_max, y_max in fractions of the picture
Row = tuple[str, float, float, float, float, float]


def rows_of(detections: Detections, mapping: Mapping[str, str] = COCO_TO_OURS) -> list[Row]:
    """What the teacher said about one picture: rows in fractions, our class names, "" where it only disturbs."""
    width, height = detections.size_wh
    rows: list[Row] = []
    for name, score, box in zip(detections.names(), detections.scores, detections.boxes_xyxy, strict=True):
        if name in mapping and score >= DOUBT:
            x0, y0, x1, y1 = (round(min(max(float(v), 0.0), 1.0), 4) for v in box / (width, height, width, height))
            rows.append((mapping[name], round(float(score), 3), x0, y0, x1, y1))
    return rows


def to_labels(rows: Iterable[Row], group: str = "private") -> tuple[Label, ...]:
    """Labels where the teacher was sure, regions of the unknown group where it was not; empty boxes are dropped."""
    return tuple(
        Label(name if name and score >= SURE else group, (x0, y0, x1, y1))
        for name, score, x0, y0, x1, y1 in rows
        if x1 > x0 and y1 > y0
    )


def read_taught(path: Path) -> dict[str, tuple[Label, ...]]:
    """A teacher's cached answers, by file name."""
    return {name: to_labels(tuple(row) for row in rows) for name, rows in json.loads(path.read_text()).items()}


def teach(pictures: Iterable[Path], detect: Callable[[Path], Detections], cache: Path) -> dict[str, tuple[Label, ...]]:
    """The teacher's labels of all pictures; answers already in the cache file are not asked for again."""
    answers = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    for path in pictures:
        if path.name not in answers:
            answers[path.name] = rows_of(detect(path))
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps(answers), encoding="utf-8")
    return {name: to_labels(tuple(row) for row in rows) for name, rows in answers.items()}
