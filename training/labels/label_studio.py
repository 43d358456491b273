"""Label Studio exports, JSON and JSON-MIN: a list of tasks, boxes in percent of the picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.labels.album import Album, fit
from training.labels.kinds import LabelFault
from training.labels.numbers import is_number, numbers, stated_size
from training.labels.values import LabelledBox, LabelledPicture, LabelSet, Seen, Xyxy, split_of

_IMAGE_KEYS = ("image", "img", "photo", "picture", "url")
_BOXES, _POLYGONS = "rectanglelabels", "polygonlabels"
_OTHER_SHAPES = ("brushlabels", "ellipselabels", "keypointlabels", "bitmasklabels", "vectorlabels")


def label_studio_files(root: Path) -> list[Path]:
    """The JSON files of a folder that hold a list of tasks."""
    found = []
    for path in sorted(root.rglob("*.json")):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(raw, list) and raw and isinstance(raw[0], dict) and _reference(raw[0]):
            found.append(path)
    return found


def read_label_studio_set(root: Path, files: list[Path], images: Path | None = None) -> LabelSet:
    """The pictures of the tasks. Cancelled annotations and predictions do not count; of several the last one does.

    The export does not name the labels on offer: those in use anywhere are taken as what the set knows.
    """
    album = Album(root if images is None else images)
    faults: list[LabelFault] = []
    pictures: dict[Path, LabelledPicture] = {}
    for file in files:
        where = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        try:
            tasks = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            faults.append(LabelFault("labels-unreadable", where, str(error)))
            continue
        if not isinstance(tasks, list):
            faults.append(LabelFault("labels-unreadable", where, "not a list of tasks"))
            continue
        for index, task in enumerate(tasks):
            if not isinstance(task, dict):
                faults.append(LabelFault("labels-unreadable", f"{where}, entry {index}", "not a task"))
                continue
            outcome, wrong = _picture(task, f"{where}, task {task.get('id', index)}", where, album)
            faults += wrong
            if outcome is None:
                continue
            if outcome.path in pictures:
                faults.append(LabelFault("picture-ambiguous", where, f"{outcome.name} is listed twice", outcome.name))
            pictures[outcome.path] = outcome
    classes = tuple(sorted({box.name for picture in pictures.values() for box in picture.boxes}))
    done = tuple(replace(picture, known=frozenset(classes)) for picture in pictures.values())
    faults += album.left_over(pictures, faults, "picture-not-labelled", "in no task")
    return LabelSet(root, "label-studio", done, tuple(faults), classes, any(picture.split for picture in done))


def _reference(task: dict[str, Any]) -> str:
    """The picture a task is about, from `data` (JSON) or the task itself (JSON-MIN)."""
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    assert isinstance(data, dict)
    return next((str(data[key]) for key in _IMAGE_KEYS if isinstance(data.get(key), str)), "")


def _results(task: dict[str, Any], spot: str, name: str) -> tuple[list[dict[str, Any]] | None, list[LabelFault]]:
    """The regions of a task, None when nobody labelled it."""
    if isinstance(task.get("data"), dict):
        valid = [
            a
            for a in _list(task.get("annotations") or task.get("completions"))
            if isinstance(a, dict) and not a.get("was_cancelled")
        ]
        if not valid:
            return None, []
        valid.sort(key=lambda a: str(a.get("updated_at") or a.get("created_at") or ""))
        faults = [LabelFault("annotations-several", spot, f"{len(valid)} annotations", name)] if len(valid) > 1 else []
        return [row for row in _list(valid[-1].get("result")) if isinstance(row, dict)], faults
    regions = [
        row
        for value in task.values()
        if isinstance(value, list)
        for row in value
        if isinstance(row, dict) and ("x" in row or "points" in row or "format" in row)
    ]
    labelled = regions or "annotation_id" in task or "annotator" in task
    return [{**row, "value": row, "type": _kind(row)} for row in regions] if labelled else None, []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _kind(value: dict[str, Any]) -> str:
    return next((key for key in (_BOXES, _POLYGONS, *_OTHER_SHAPES) if key in value), "")


def _picture(
    task: dict[str, Any], spot: str, where: str, album: Album
) -> tuple[LabelledPicture | None, list[LabelFault]]:
    reference = _reference(task)
    path = album.find(reference, beside=Path(where).parent.as_posix())
    if isinstance(path, LabelFault):
        return None, [LabelFault(path.kind, spot, f"{reference or 'no picture'}: {path.reason}")]
    seen, name = album.see(path), album.name(path)
    if isinstance(seen, LabelFault):
        return None, [seen]
    results, faults = _results(task, spot, name)
    if results is None:
        return None, [LabelFault("picture-not-labelled", spot, "no finished annotation", name)]
    boxes: list[LabelledBox] = []
    for outcome in _boxes(results, spot, seen, name):
        if isinstance(outcome, LabelledBox):
            boxes.append(outcome)
        else:
            faults.append(outcome)
    if any(fault.kind in {"exif-rotated", "size-mismatch"} for fault in faults):
        return None, faults
    if not results:
        faults.append(LabelFault("labels-empty", spot, "no boxes", name))
    stated = any("original_width" in row for row in results)
    split = next((s for part in Path(reference).parts if (s := split_of(part))), "")
    return album.picture(path, seen, boxes, frozenset(), split=split, labels=where, size_stated=stated), faults


def _boxes(results: list[dict[str, Any]], spot: str, seen: Seen, name: str) -> Iterator[LabelledBox | LabelFault]:
    for number, row in enumerate(results, start=1):
        place = f"{spot}, region {number}"
        value = row.get("value") if isinstance(row.get("value"), dict) else {}
        assert isinstance(value, dict)
        kind = str(row.get("type") or _kind(value))
        if kind in _OTHER_SHAPES:
            yield LabelFault("shape-unsupported", place, kind, name)
        if kind not in (_BOXES, _POLYGONS):
            continue
        labels = value.get(kind)
        if not isinstance(labels, list) or not labels:
            yield LabelFault("class-unknown", place, "the region has no label", name)
            continue
        corners = _polygon(value) if kind == _POLYGONS else _rectangle(value)
        turned = value.get("rotation") or row.get("image_rotation") or 0
        if isinstance(corners, str):
            yield LabelFault(corners, place, str(value)[:80], name)
        elif not is_number(turned) or float(turned) % 360 != 0:
            yield LabelFault("box-rotated", place, f"turned by {turned}°", name)
        else:
            w, h = stated_size(row.get("original_width"), row.get("original_height")) or seen.size_wh
            x0, y0, x1, y1 = corners
            box: Xyxy = (x0 * w / 100, y0 * h / 100, x1 * w / 100, y1 * h / 100)
            fitted = fit([LabelledBox(str(label), box, where=place) for label in labels], (w, h), seen, place, name)
            if isinstance(fitted, LabelFault):
                yield fitted
            else:
                yield from fitted[0]
                yield from fitted[1]


def _rectangle(value: dict[str, Any]) -> Xyxy | str:
    sides = [value.get(key) for key in ("x", "y", "width", "height")]
    if any(side is None for side in sides):
        return "line-too-short"
    if not all(is_number(side) for side in sides):
        return "line-not-numbers"
    x, y, w, h = numbers(sides)
    return x, y, x + w, y + h


def _polygon(value: dict[str, Any]) -> Xyxy | str:
    points = value.get("points")
    if not isinstance(points, list) or len(points) < 2:
        return "line-too-short"
    if not all(isinstance(p, list) and len(p) == 2 and all(is_number(v) for v in p) for p in points):
        return "line-not-numbers"
    xs, ys = numbers(p[0] for p in points), numbers(p[1] for p in points)
    return min(xs), min(ys), max(xs), max(ys)
