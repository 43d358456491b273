"""What is wrong with a labelled data set, fault by fault: boxes, doubles, splits, manifest.

What the readers found on the way (files, lines, sizes) comes first; `training.labels.kinds` lists every kind.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.labels.classes import ClassMap
from training.labels.kinds import Format, LabelFault
from training.labels.looks import alike
from training.labels.manifests import checksum_faults
from training.labels.reading import Manifest, read_parts, read_set, with_splits
from training.labels.values import LabelledBox, LabelledPicture, LabelSet
from vision.boxes import iou

SAME_BOX_IOU = 0.95
# Two labellings of one picture agree when every box finds one of its class that overlaps so much.
AGREEING_IOU = 0.8
TINY_PX = 2.0
EVERYTHING = 0.98
# What rounding may do at the edge, in pixels.
SLACK_PX = 1.5


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at and what was found."""

    format: str
    pictures: int
    boxes: int
    faults: tuple[LabelFault, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing graver than a warning was found."""
        return all(fault.severity != "fault" for fault in self.faults)

    def counts(self) -> dict[str, int]:
        """How often each kind was found, by kind."""
        return dict(sorted(Counter(fault.kind for fault in self.faults).items()))


def check(
    root: Path,
    format_: Format | None = None,
    *,
    manifest: Path | None = None,
    splits: Path | None = None,
    images: Path | None = None,
    class_map: ClassMap | None = None,
) -> Report:
    """Everything that can be told about the data set in a folder.

    `manifest`: its manifest.toml when that is kept elsewhere; `splits`: a CSV with the columns image, split and
    perhaps group or scene. Raises DatasetError when there is no such folder or nothing in it reads as labels.
    """
    parts = read_parts(manifest or root / "manifest.toml")
    described = isinstance(parts, Manifest) and format_ in (None, Format.yolo)
    found = read_set(root, format_, manifest=parts if isinstance(parts, Manifest) else None, images=images)
    faults = [parts] if isinstance(parts, LabelFault) else [] if described else list(parts.faults)
    if splits is not None:
        found = with_splits(found, splits)
    faults += found.faults
    if class_map is not None:
        faults += [*class_map.faults(), *check_classes(found.pictures, class_map)]
    for picture in found.pictures:
        faults += check_picture(picture)
    faults += check_doubles(found.pictures)
    faults += check_splits(found)
    if isinstance(parts, Manifest):
        faults += checksum_faults(root, parts, found.pictures)
    boxes = sum(len(picture.boxes) for picture in found.pictures)
    return Report(found.format, len(found.pictures), boxes, tuple(dict.fromkeys(faults)))


def check_classes(pictures: Iterable[LabelledPicture], class_map: ClassMap) -> list[LabelFault]:
    """Boxes whose class the map does not know."""
    return [
        LabelFault("class-unknown", box.where, box.name, picture.name)
        for picture in pictures
        for box in picture.boxes
        if not box.ignore and class_map.ours(box.name) is None
    ]


def check_picture(picture: LabelledPicture) -> list[LabelFault]:
    """What is wrong with one picture and its boxes, without looking at others."""
    faults = []
    if picture.seen.is_png != (picture.path.suffix.lower() == ".png"):
        kind = "PNG" if picture.seen.is_png else "JPEG"
        faults.append(LabelFault("picture-suffix", picture.name, f"a {kind} named {picture.path.suffix}", picture.name))
    upright, stored = picture.size_wh, picture.seen.stored_wh
    if picture.seen.orientation != 1 and picture.boxes:
        if stored != upright and not _inside(picture.boxes, upright) and _inside(picture.boxes, stored):
            reason = f"boxes fit {stored[0]}×{stored[1]}, but EXIF turns the picture to {upright[0]}×{upright[1]}"
            return [*faults, LabelFault("exif-rotated", picture.labels or picture.name, reason, picture.name)]
        if stored == upright or not picture.size_stated:
            reason = f"EXIF orientation {picture.seen.orientation}"
            faults.append(LabelFault("exif-unverified", picture.name, reason, picture.name))
    sound = []
    for box in picture.boxes:
        fault = check_box(box, picture)
        if fault is None or fault.severity != "fault":
            sound.append(box)
        if fault is not None:
            faults.append(fault)
    return faults + _same_boxes(sound, picture)


def _inside(boxes: Sequence[LabelledBox], size_wh: tuple[int, int]) -> bool:
    corners, (w, h) = _array(boxes), size_wh
    limit = np.array([w, h, w, h]) + SLACK_PX
    return bool(((corners >= -SLACK_PX) & (corners <= limit)).all())


def check_box(box: LabelledBox, picture: LabelledPicture) -> LabelFault | None:
    """The gravest thing wrong with one box, None when it is sound."""
    (w, h), (x0, y0, x1, y1) = picture.size_wh, box.xyxy

    def fault(kind: str) -> LabelFault:
        place = ", ".join(f"{value:.1f}" for value in box.xyxy)
        return LabelFault(kind, box.where or picture.name, f"{box.name} [{place}] in {w}×{h}", picture.name)

    if not all(math.isfinite(value) for value in box.xyxy):
        return fault("box-not-finite")
    if x1 < x0 or y1 < y0:
        return fault("box-negative-size")
    if x1 == x0 or y1 == y0:
        return fault("box-no-area")
    if x1 <= 0 or y1 <= 0 or x0 >= w or y0 >= h:
        return fault("box-outside")
    if x0 < -SLACK_PX or y0 < -SLACK_PX or x1 > w + SLACK_PX or y1 > h + SLACK_PX:
        return fault("box-partly-outside")
    if min(x1 - x0, y1 - y0) < TINY_PX:
        return fault("box-tiny")
    if not box.ignore and (x1 - x0) * (y1 - y0) >= EVERYTHING * w * h:
        return fault("box-everything")
    return None


def _array(boxes: Sequence[LabelledBox]) -> npt.NDArray[np.float64]:
    return np.array([box.xyxy for box in boxes], dtype=np.float64).reshape(len(boxes), 4)


def doubled(boxes: Sequence[LabelledBox]) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of boxes in one and the same place; regions to ignore are not compared."""
    overlap = iou(_array(boxes), _array(boxes))
    pairs = zip(*np.nonzero(np.triu(overlap, 1) > SAME_BOX_IOU), strict=True)
    return [(int(i), int(j)) for i, j in pairs if not boxes[i].ignore and not boxes[j].ignore]


def _same_boxes(boxes: Sequence[LabelledBox], picture: LabelledPicture) -> list[LabelFault]:
    faults = []
    for i, j in doubled(boxes):
        a, b = boxes[i], boxes[j]
        kind = "box-doubled" if a.name == b.name else "box-two-classes"
        reason = f"{a.name} again" if a.name == b.name else f"{a.name} and {b.name}"
        faults.append(LabelFault(kind, b.where or picture.name, f"{reason}, first at {a.where}", picture.name))
    return faults


def labels_agree(a: LabelledPicture, b: LabelledPicture) -> bool:
    """Whether two labellings of the same picture say the same: class by class, box by box."""
    if len(a.boxes) != len(b.boxes):
        return False
    overlap = iou(_array(a.boxes), _array(b.boxes))
    free = set(range(len(b.boxes)))
    for i, box in enumerate(a.boxes):
        fitting = [j for j in free if b.boxes[j].name == box.name and overlap[i, j] >= AGREEING_IOU]
        if not fitting:
            return False
        free.remove(max(fitting, key=lambda j: overlap[i, j]))
    return True


def check_doubles(pictures: Sequence[LabelledPicture]) -> list[LabelFault]:
    """Pictures that are there twice, byte by byte or nearly so; and such across splits: leaks.

    Look-alikes inside one given group are what groups are for, and are not reported.
    """
    faults = []
    first: dict[str, LabelledPicture] = {}
    for picture in pictures:
        other = first.setdefault(picture.sha256, picture)
        if other is picture:
            continue
        faults.append(_pair("duplicate-exact" if picture.split == other.split else "leak-exact", picture, other))
        if not labels_agree(picture, other):
            faults.append(_pair("duplicate-labels-differ", picture, other))
    leaked: dict[int, list[int]] = defaultdict(list)
    near: dict[int, int] = {}
    for i, j, _ in alike([picture.seen.look for picture in pictures]):
        a, b = pictures[i], pictures[j]
        if a.sha256 == b.sha256:
            continue
        if a.split != b.split:
            measured, other_one = (j, i) if a.split == "train" else (i, j)
            leaked[measured].append(other_one)
        elif not a.group or a.group != b.group:
            near.setdefault(j, i)
    for i, others in leaked.items():
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        faults.append(_pair("leak-near", pictures[i], pictures[others[0]], more))
    return faults + [_pair("duplicate-near", pictures[j], pictures[i]) for j, i in near.items()]


def _pair(kind: str, picture: LabelledPicture, other: LabelledPicture, more: str = "") -> LabelFault:
    splits = f"{picture.split or 'no split'} and {other.split or 'no split'}: " if picture.split != other.split else ""
    return LabelFault(kind, picture.name, f"{splits}like {other.name}{more}", picture.name)


def check_splits(found: LabelSet) -> list[LabelFault]:
    """Pictures in no split though others are in one, and groups that stand in several."""
    if not found.has_splits:
        return []
    faults = [
        LabelFault("split-missing", picture.name, "in no split", picture.name)
        for picture in found.pictures
        if not picture.split
    ]
    splits: dict[str, Counter[str]] = defaultdict(Counter)
    for picture in found.pictures:
        if picture.group and picture.split:
            splits[picture.group][picture.split] += 1
    for group, counts in splits.items():
        if len(counts) > 1:
            stated = ", ".join(f"{number} in {split}" for split, number in sorted(counts.items()))
            faults.append(LabelFault("leak-group", f"group {group}", stated))
    return faults
