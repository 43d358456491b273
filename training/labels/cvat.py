"""CVAT for images 1.1: one XML file for a task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from training.labels.album import Album, fit
from training.labels.kinds import LabelFault
from training.labels.numbers import is_number, numbers, stated_size
from training.labels.values import LabelledBox, LabelledPicture, LabelSet, split_of
from training.labels.voc import parse_xml

_SHAPES_WITH_POINTS = frozenset({"polygon", "polyline"})
_OTHER_SHAPES = frozenset({"points", "cuboid", "ellipse", "mask", "skeleton"})


def cvat_files(root: Path) -> list[Path]:
    """The XML files of a folder whose root element is `annotations`."""
    found = []
    for path in sorted(root.rglob("*.xml")):
        element = parse_xml(path)
        if not isinstance(element, str) and element.tag == "annotations":
            found.append(path)
    return found


def read_cvat_set(root: Path, files: list[Path], images: Path | None = None) -> LabelSet:
    """The pictures that the files name.

    A shape with `outside` is not in the picture and is left out; an occluded one counts. A polygon becomes its box.
    A tag says that a thing is somewhere in the picture without saying where: its class is unknown in that picture.
    """
    album = Album(root if images is None else images)
    faults: list[LabelFault] = []
    pictures: dict[Path, LabelledPicture] = {}
    classes: dict[str, None] = {}
    declared = False
    for file in files:
        where = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        element = parse_xml(file)
        if isinstance(element, str) or element.tag != "annotations":
            faults.append(LabelFault("labels-unreadable", where, element if isinstance(element, str) else "not CVAT"))
            continue
        if element.find("track") is not None:
            faults.append(LabelFault("labels-unreadable", where, "tracks of CVAT for video: export as CVAT for images"))
        names = [text.strip() for label in element.iterfind(".//labels/label") if (text := label.findtext("name"))]
        classes |= dict.fromkeys(names)
        declared |= bool(names)
        for image in element.iterfind("image"):
            outcome, wrong = _picture(image, frozenset(names), where, album)
            faults += wrong
            if outcome is None:
                continue
            if outcome.path in pictures:
                faults.append(LabelFault("picture-ambiguous", where, f"{outcome.name} is listed twice", outcome.name))
            pictures[outcome.path] = outcome
    if not declared:
        classes = dict.fromkeys(sorted({box.name for picture in pictures.values() for box in picture.boxes}))
        pictures = {path: replace(p, known=frozenset(classes) - p.known) for path, p in pictures.items()}
    faults += album.left_over(pictures, faults, "picture-not-labelled", "in no annotation file")
    has_splits = any(picture.split for picture in pictures.values())
    return LabelSet(root, "cvat", tuple(pictures.values()), tuple(faults), tuple(classes), has_splits)


def _picture(
    image: Any, names: frozenset[str], where: str, album: Album
) -> tuple[LabelledPicture | None, list[LabelFault]]:
    """One `image` element. Without declared names, `known` holds the tagged classes, for the caller to take out."""
    reference = image.get("name", "")
    path = album.find(reference, beside=Path(where).parent.as_posix())
    if isinstance(path, LabelFault):
        return None, [path]
    seen, name, spot = album.see(path), album.name(path), f"{where}, {reference}"
    if isinstance(seen, LabelFault):
        return None, [seen]
    boxes: list[LabelledBox] = []
    faults: list[LabelFault] = []
    tagged = {tag.get("label", "") for tag in image.iterfind("tag")}
    for number, shape in enumerate((shape for shape in image if shape.tag != "tag"), start=1):
        if shape.get("outside") == "1":
            continue
        outcome = _box(shape, names, f"{spot}, shape {number}", name)
        if isinstance(outcome, LabelFault):
            faults.append(outcome)
        elif outcome is not None:
            boxes.append(outcome)
    stated = stated_size(image.get("width"), image.get("height"))
    fitted = fit(boxes, stated, seen, spot, name)
    if isinstance(fitted, LabelFault):
        return None, [*faults, fitted]
    if not boxes and not faults:
        faults.append(LabelFault("labels-empty", spot, "no boxes", name))
    known = names - tagged if names else frozenset(tagged)
    split = split_of(image.get("subset", "")) or next(
        (s for part in Path(reference).parts if (s := split_of(part))), ""
    )
    picture = album.picture(path, seen, fitted[0], known, split=split, labels=where, size_stated=stated is not None)
    return picture, faults + fitted[1]


def _box(shape: Any, names: frozenset[str], spot: str, picture: str) -> LabelledBox | LabelFault | None:
    label = shape.get("label", "")
    if shape.tag in _OTHER_SHAPES:
        return LabelFault("shape-unsupported", spot, shape.tag, picture)
    if shape.tag != "box" and shape.tag not in _SHAPES_WITH_POINTS:
        return None
    if not label or (names and label not in names):
        return LabelFault("class-unknown", spot, label or "no label", picture)
    if shape.tag == "box":
        texts = [shape.get(key) for key in ("xtl", "ytl", "xbr", "ybr")]
        if any(text is None for text in texts):
            return LabelFault("line-too-short", spot, "the box lacks a side", picture)
        rotation = shape.get("rotation", "0")
        if not all(is_number(text) for text in (*texts, rotation)):
            return LabelFault("line-not-numbers", spot, " ".join(map(str, texts))[:80], picture)
        if float(rotation) % 360 != 0:
            return LabelFault("box-rotated", spot, f"turned by {float(rotation):g}°", picture)
        x0, y0, x1, y1 = numbers(texts)
        return LabelledBox(label, (x0, y0, x1, y1), where=spot)
    pairs = [point.split(",") for point in shape.get("points", "").split(";") if point]
    if len(pairs) < 2 or not all(len(pair) == 2 and all(is_number(value) for value in pair) for pair in pairs):
        return LabelFault("line-not-numbers", spot, shape.get("points", "")[:80], picture)
    xs, ys = numbers(x for x, _ in pairs), numbers(y for _, y in pairs)
    return LabelledBox(label, (min(xs), min(ys), max(xs), max(ys)), where=spot)
