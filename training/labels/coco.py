"""COCO JSON: one file for a set, or one per split."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from training.labels.album import Album, fit
from training.labels.kinds import LabelFault
from training.labels.numbers import is_number, numbers, stated_size
from training.labels.values import LabelledBox, LabelledPicture, LabelSet, Xyxy, split_of


def coco_files(root: Path) -> list[Path]:
    """The JSON files of a folder that hold `images` and `categories`."""
    found = []
    for path in sorted(root.rglob("*.json")):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(raw, dict) and {"images", "categories"} <= raw.keys():
            found.append(path)
    return found


def read_coco_set(root: Path, files: list[Path], images: Path | None = None) -> LabelSet:
    """The pictures that the files name. A crowd (`iscrowd`) is a region to ignore."""
    album = Album(root if images is None else images)
    faults: list[LabelFault] = []
    pictures: dict[Path, LabelledPicture] = {}
    classes: dict[str, None] = {}
    for file in files:
        where = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        try:
            raw = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            faults.append(LabelFault("labels-unreadable", where, str(error)))
            continue
        if not isinstance(raw, dict) or not all(isinstance(raw.get(key), list) for key in ("images", "categories")):
            faults.append(LabelFault("labels-unreadable", where, "no lists `images` and `categories`"))
            continue
        names = {row["id"]: str(row.get("name", row["id"])) for row in raw["categories"] if _is_row(row)}
        classes |= dict.fromkeys(names.values())
        words = (*Path(where).parts[:-1], file.stem.split("_")[-1])
        split = next((name for word in words if (name := split_of(word))), "")
        listed, wrong = _pictures(raw, names, where, split, album)
        faults += wrong
        for picture in listed:
            if picture.path in pictures:
                faults.append(LabelFault("picture-ambiguous", where, f"{picture.name} is listed twice", picture.name))
            pictures[picture.path] = picture
    faults += album.left_over(pictures, faults, "picture-not-labelled", "in no annotation file")
    has_splits = any(picture.split for picture in pictures.values())
    return LabelSet(root, "coco", tuple(pictures.values()), tuple(faults), tuple(classes), has_splits)


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), int | str)


def _key(value: Any) -> int | str | None:
    """An id that may be looked up, None for what is none."""
    return value if isinstance(value, int | str) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _pictures(
    raw: dict[str, Any], names: dict[Any, str], where: str, split: str, album: Album
) -> tuple[list[LabelledPicture], list[LabelFault]]:
    boxes: dict[Any, list[LabelledBox]] = defaultdict(list)
    titles = {row["id"]: str(row.get("file_name", "")) for row in raw["images"] if _is_row(row)}
    faults: list[LabelFault] = []
    broken: dict[Any, list[tuple[str, str, str]]] = defaultdict(list)
    for index, row in enumerate(_list(raw.get("annotations"))):
        spot = f"{where}, annotation {row.get('id', index) if isinstance(row, dict) else index}"
        if not isinstance(row, dict) or _key(row.get("image_id")) not in titles:
            faults.append(LabelFault("labels-without-picture", spot, "its image_id is not in `images`"))
        elif _key(row.get("category_id")) not in names:
            broken[row["image_id"]].append(("class-unknown", spot, f"category {row.get('category_id')}"))
        elif isinstance(box := _box(row.get("bbox")), str):
            broken[row["image_id"]].append((box, spot, f"bbox {row.get('bbox')}"[:80]))
        else:
            name = names[row["category_id"]]
            boxes[row["image_id"]].append(LabelledBox(name, box, bool(row.get("iscrowd")), spot))
    found = []
    for row in (row for row in raw["images"] if _is_row(row)):
        path = album.find(titles[row["id"]], beside=Path(where).parent.as_posix())
        seen = path if isinstance(path, LabelFault) else album.see(path)
        if isinstance(path, LabelFault) or isinstance(seen, LabelFault):
            faults += [seen] if isinstance(seen, LabelFault) else []
            faults += [LabelFault(kind, spot, reason, titles[row["id"]]) for kind, spot, reason in broken[row["id"]]]
            continue
        name = album.name(path)
        faults += [LabelFault(kind, spot, reason, name) for kind, spot, reason in broken[row["id"]]]
        stated = stated_size(row.get("width"), row.get("height"))
        fitted = fit(boxes[row["id"]], stated, seen, f"{where}, image {row['id']}", name)
        if isinstance(fitted, LabelFault):
            faults.append(fitted)
            continue
        faults += fitted[1]
        if not boxes[row["id"]] and not broken[row["id"]]:
            faults.append(LabelFault("labels-empty", f"{where}, image {row['id']}", "no boxes", name))
        known = frozenset(names.values())
        found.append(
            album.picture(path, seen, fitted[0], known, split=split, labels=where, size_stated=stated is not None)
        )
    return found, faults


def _box(value: Any) -> Xyxy | str:
    """x, y, width, height -> corners; or the kind of fault."""
    if not isinstance(value, list) or len(value) < 4:
        return "line-too-short"
    if len(value) > 4:
        return "line-too-long"
    if not all(is_number(v) for v in value):
        return "line-not-numbers"
    x, y, w, h = numbers(value)
    return x, y, x + w, y + h
