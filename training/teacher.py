"""Labels by a teacher: a detector that already knows some groups of classes looks once, and its answers are kept.

What it is sure of becomes a label; where it hesitates the group stays unknown in that spot only. A COCO model teaches
persons and vehicles, a street model of ours every group: a facade's unlabelled bin then does not teach "no bin".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from training.sources import GROUPS, Label
from vision.detections import Detections
from vision.taxonomy import CLASSES

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

OURS: Mapping[str, str] = {name: name for name in CLASSES}

# class name, score, x_min, y_min, x_max, y_max in fractions of the picture
Row = tuple[str, float, float, float, float, float]


def mapping_for(classes: Sequence[str]) -> Mapping[str, str]:
    """How a teacher's class names become ours: our own names as they are, COCO's by `COCO_TO_OURS`."""
    return OURS if set(classes) <= set(CLASSES) else COCO_TO_OURS


def groups_of(classes: Sequence[str]) -> frozenset[str]:
    """The groups that a teacher of these classes can judge."""
    names = {mapping_for(classes).get(name) for name in classes}
    return frozenset(group for group, members in GROUPS.items() if members & names)


def rows_of(detections: Detections) -> list[Row]:
    """What the teacher said about one picture: rows in fractions, our class names, "" where it only disturbs."""
    mapping = mapping_for(detections.class_names)
    width, height = detections.size_wh
    rows: list[Row] = []
    for name, score, box in zip(detections.names(), detections.scores, detections.boxes_xyxy, strict=True):
        if name in mapping and score >= DOUBT:
            x0, y0, x1, y1 = (round(min(max(float(v), 0.0), 1.0), 4) for v in box / (width, height, width, height))
            rows.append((mapping[name], round(float(score), 3), x0, y0, x1, y1))
    return rows


def to_labels(rows: Iterable[Row], groups: Iterable[str] = GROUPS) -> tuple[Label, ...]:
    """Labels where the teacher was sure, regions of the unknown group where it was not.

    Only what belongs to `groups` counts (what only disturbs belongs to "private"); empty boxes are dropped.
    """
    wanted = frozenset(groups)
    labels = []
    for name, score, x0, y0, x1, y1 in rows:
        group = next((group for group, members in GROUPS.items() if name in members), "private")
        if group in wanted and x1 > x0 and y1 > y0:
            labels.append(Label(name if name and score >= SURE else group, (x0, y0, x1, y1)))
    return tuple(labels)


def teach(
    pictures: Iterable[Path], detect: Callable[[Path], Detections], cache: Path, groups: Iterable[str] = GROUPS
) -> dict[str, tuple[Label, ...]]:
    """The teacher's labels of `groups` in all pictures; answers already in the cache file are not asked for again."""
    answers = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    for path in pictures:
        if path.name not in answers:
            answers[path.name] = rows_of(detect(path))
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps(answers), encoding="utf-8")
    return {name: to_labels([tuple(row) for row in rows], groups) for name, rows in answers.items()}
