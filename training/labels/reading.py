"""A labelled data set in any of the formats, with its manifest and split file when it has them."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from training.errors import DatasetError
from training.labels.coco import coco_files, read_coco_set
from training.labels.cvat import cvat_files, read_cvat_set
from training.labels.kinds import Format, LabelFault
from training.labels.label_studio import label_studio_files, read_label_studio_set
from training.labels.values import SPLITS, LabelledBox, LabelSet, split_of
from training.labels.voc import read_voc_set
from training.labels.yolo import YoloFolder, describe, read_yolo_set
from training.sources import GROUPS, REGIONS, read_extra
from vision.taxonomy import CLASS_IDS, CLASSES


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts of a manifest.toml that labels are read by, taken leniently: what is wrong is a fault, not an end."""

    path: Path
    raw: Mapping[str, Any]
    images: str
    labels: str
    names: Mapping[int, str]
    known: frozenset[str]
    faults: tuple[LabelFault, ...] = field(default=())

    @property
    def split_file(self) -> str:
        """The CSV with the columns image and split, "" without one."""
        return str(self.raw.get("split", {}).get("file", ""))

    @property
    def group_column(self) -> str:
        """The column of the split file that names groups, "" without one."""
        return str(self.raw.get("split", {}).get("group", ""))


def read_parts(path: Path) -> Manifest | LabelFault:
    """The manifest of a data set folder, or why there is none."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        names = {int(number): str(name) for number, name in raw.get("classes", {}).items()}
    except FileNotFoundError:
        return LabelFault("manifest-missing", path.name, "no manifest.toml")
    except (OSError, ValueError) as error:
        return LabelFault("manifest-unreadable", path.name, str(error))
    faults = [
        LabelFault("class-map-target", f"{path.name}, class {number}", f"{name!r} is none of {', '.join(CLASSES)}")
        for number, name in names.items()
        if name not in CLASS_IDS
    ]
    faults += [
        LabelFault("manifest-unreadable", path.name, f"the field {key!r} is missing")
        for key in ("name", "title", "origin", "knows", "classes")
        if key not in raw
    ]
    if not str(raw.get("licence", "")).strip():
        faults.append(LabelFault("manifest-licence", path.name, "it states no licence"))
    groups = [str(group) for group in raw.get("knows", ())]
    faults += [
        LabelFault("manifest-unreadable", path.name, f"knows {group!r}, which is no group")
        for group in groups
        if group not in GROUPS
    ]
    known = frozenset(raw.get("known_classes", ())) | {c for group in groups for c in GROUPS.get(group, ())}
    return Manifest(
        path=path,
        raw=raw,
        images=str(raw.get("images", "images")),
        labels=str(raw.get("labels", "labels")),
        names=names or dict(enumerate(CLASSES)),
        known=known,
        faults=tuple(faults),
    )


def guess_format(root: Path) -> Format:
    """The format of a folder by what lies in it. Raises DatasetError when nothing fits."""
    if coco_files(root):
        return Format.coco
    if label_studio_files(root):
        return Format.label_studio
    if cvat_files(root):
        return Format.cvat
    if any(root.rglob("*.xml")):
        return Format.voc
    if (root / "data.yaml").is_file() or (root / "labels").is_dir() or any(root.rglob("*.txt")):
        return Format.yolo
    raise DatasetError(f"{root}: no labels found", remedy=f"name --format, one of {', '.join(Format)}")


def read_set(
    root: Path, format_: Format | None = None, *, manifest: Manifest | None = None, images: Path | None = None
) -> LabelSet:
    """The labelled pictures of a folder. With a manifest it is read as that says (YOLO labels), else by its format.

    `images`: where the pictures lie when not under `root`. Raises DatasetError when the folder is not there or its
    layout cannot be told; everything smaller is a fault in the result.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder", remedy="name the folder of the data set")
    if manifest is not None and format_ in (None, Format.yolo):
        return _read_by_manifest(root, manifest)
    format_ = format_ or guess_format(root)
    if format_ is Format.yolo:
        folder = describe(root)
        return read_yolo_set(replace(folder, images=(images,)) if images else folder)
    if format_ is Format.voc:
        return read_voc_set(root, images)
    files, read = {
        Format.coco: (coco_files, read_coco_set),
        Format.label_studio: (label_studio_files, read_label_studio_set),
        Format.cvat: (cvat_files, read_cvat_set),
    }[format_]
    found = files(root)
    if not found:
        raise DatasetError(f"{root}: no {format_.value} file in it", remedy="check --format")
    return read(root, found, images)


def _read_by_manifest(root: Path, manifest: Manifest) -> LabelSet:
    images, labels = root / manifest.images, root / manifest.labels
    if not images.is_dir():
        raise DatasetError(f"{images}: no such folder", remedy="put the pictures there")
    folder = YoloFolder(root, (images,), manifest.names, {})
    found = read_yolo_set(folder, lambda picture: labels / f"{picture.stem}.txt", manifest.known)
    classes = tuple(manifest.names.values())
    found = replace(found, classes=classes, faults=manifest.faults + found.faults)
    if manifest.split_file:
        found = with_splits(found, root / manifest.split_file, manifest.group_column)
    return _with_extra(found, root, manifest)


def with_splits(found: LabelSet, file: Path, group_column: str = "") -> LabelSet:
    """The set divided as a CSV says: its columns are image, split and perhaps one for the group (group or scene)."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        return replace(found, faults=(*found.faults, LabelFault("manifest-unreadable", file.name, str(error))))
    group_column = group_column or next((name for name in ("group", "scene") if rows and name in rows[0]), "")
    if rows and not {"image", "split"} <= rows[0].keys():
        fault = LabelFault("manifest-unreadable", file.name, "no columns image and split")
        return replace(found, faults=(*found.faults, fault))
    here = {picture.name for picture in found.pictures} | {fault.picture for fault in found.faults}
    here |= {Path(name).name for name in here}
    faults: list[LabelFault] = []
    splits: dict[str, tuple[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        name, split = row["image"] or "", split_of(row["split"] or "")
        if name not in here:
            faults.append(LabelFault("split-ghost", f"{file.name}:{number}", f"{name}: no such picture", name))
        if not split:
            reason = f"{row['split']!r} is none of {', '.join(SPLITS)}"
            faults.append(LabelFault("split-unknown", f"{file.name}:{number}", reason, name))
        splits[name] = (split, (row.get(group_column) or "") if group_column else "")
    pictures = []
    for picture in found.pictures:
        split, group = splits.get(picture.name) or splits.get(picture.path.name) or ("", "")
        pictures.append(replace(picture, split=split, group=group))
    return replace(found, pictures=tuple(pictures), faults=(*found.faults, *faults), has_splits=True)


def _with_extra(found: LabelSet, root: Path, manifest: Manifest) -> LabelSet:
    """Boxes and regions of the manifest's extra file, as `training.sources` reads them."""
    extra = manifest.raw.get("extra", {})
    if not extra.get("file"):
        return found
    try:
        rows = read_extra(root / extra["file"])
    except (OSError, ValueError, IndexError, TypeError, AttributeError) as error:
        fault = LabelFault("labels-unreadable", str(extra["file"]), str(error))
        return replace(found, faults=(*found.faults, fault))
    more = frozenset(c for group in extra.get("knows", ()) for c in GROUPS.get(group, ()))
    faults = [
        LabelFault("picture-missing", f"{extra['file']}, {name}", "no such picture")
        for name in rows.keys() - {picture.path.name for picture in found.pictures}
    ]
    pictures = []
    for picture in found.pictures:
        if picture.path.name not in rows:
            pictures.append(picture)
            continue
        boxes = list(picture.boxes)
        w, h = picture.size_wh
        for number, label in enumerate(rows[picture.path.name], start=1):
            where = f"{extra['file']}, {picture.path.name}, box {number}"
            if label.name not in CLASS_IDS and label.name not in REGIONS:
                faults.append(LabelFault("class-unknown", where, label.name, picture.name))
                continue
            x0, y0, x1, y1 = label.box
            corners = (x0 * w, y0 * h, x1 * w, y1 * h)
            boxes.append(LabelledBox(label.name, corners, label.name in REGIONS, where))
        pictures.append(replace(picture, boxes=tuple(boxes), known=picture.known | more))
    return replace(found, pictures=tuple(pictures), faults=(*found.faults, *faults))
