"""Labelled pictures of others become a data set of ours: flat folders, our classes, a manifest with checksums."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from training.errors import DatasetError
from training.labels.checks import check_classes, check_picture, doubled, labels_agree
from training.labels.classes import IGNORE, ClassMap
from training.labels.kinds import LabelFault
from training.labels.manifests import CHECKSUMS, checksum_lines, digest, toml_text
from training.labels.splits import split_csv
from training.labels.values import LabelledBox, LabelledPicture, LabelSet
from training.labels.writing import region_rows, yolo_text
from training.sources import GROUPS, REGIONS, WHOLE
from vision.taxonomy import CLASSES

REGION_FILE = "regions.json"
SPLIT_FILE = "split.csv"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a source: how many pictures and boxes came in, and why others did not."""

    folder: Path
    pictures: int
    boxes: Mapping[str, int]
    regions: int
    left_out: int
    unknown_groups: tuple[str, ...]
    faults: tuple[LabelFault, ...]


def ours(found: LabelSet, class_map: ClassMap) -> tuple[list[LabelledPicture], list[LabelFault]]:
    """The sound pictures of a set with our class names, without doubled boxes and pictures; and all faults.

    A picture with a fault in its labels is left out whole: the boxes that remain would teach that the others are not
    there. Raises DatasetError when the map has a target that is no class, or boxes carry names that it does not know.
    """
    if wrong := class_map.faults():
        raise DatasetError(f"{wrong[0].file}: {wrong[0].reason}", remedy=wrong[0].remedy)
    if unknown := sorted({fault.reason for fault in check_classes(found.pictures, class_map)}):
        remedy = f'--class-map "{unknown[0]}=garbage", or "{unknown[0]}=" to drop it; ours are {", ".join(CLASSES)}'
        raise DatasetError(f"classes that are not ours: {', '.join(unknown)}", remedy=remedy)
    faults = list(found.faults)
    for picture in found.pictures:
        faults += check_picture(picture)
    bad = {fault.picture for fault in faults if fault.severity == "fault" and fault.picture}
    firsts: dict[str, LabelledPicture] = {}
    pictures: dict[str, LabelledPicture] = {}
    for picture in found.pictures:
        if picture.name in bad:
            continue
        first = firsts.setdefault(picture.sha256, picture)
        if first is not picture:
            kind = "duplicate-exact" if first.split == picture.split else "leak-exact"
            if not labels_agree(first, picture):
                kind = "duplicate-labels-differ"
                pictures.pop(picture.sha256, None)
            faults.append(LabelFault(kind, picture.name, f"the same file as {first.name}", picture.name))
            continue
        pictures[picture.sha256] = replace(
            picture, boxes=_our_boxes(picture.boxes, class_map), known=class_map.known(picture.known)
        )
    return list(pictures.values()), faults


def _our_boxes(boxes: Sequence[LabelledBox], class_map: ClassMap) -> tuple[LabelledBox, ...]:
    mapped = [replace(box, name=box.name if box.name in REGIONS else class_map.ours(box.name) or "") for box in boxes]
    # Where nobody knows whether a thing counts, no class does.
    marked = [
        replace(box, name=IGNORE, ignore=True) if box.ignore and box.name not in REGIONS else box for box in mapped
    ]
    kept = [replace(box, ignore=True) if box.name in REGIONS else box for box in marked if box.name]
    again = {j for _, j in doubled(kept)}
    return tuple(box for index, box in enumerate(kept) if index not in again)


def write_dataset(
    pictures: Sequence[LabelledPicture],
    folder: Path,
    *,
    name: str,
    title: str = "",
    origin: str,
    licence: str,
    class_map: Mapping[str, str],
    copy: bool,
    faults: Iterable[LabelFault] = (),
    more: Mapping[str, Any] | None = None,
    documents: Mapping[str, str] | None = None,
) -> Imported:
    """A data set folder: images (links, or copies), labels, regions.json, split.csv where the source is divided,
    checksums.sha256, report.json and manifest.toml, which comes last.

    The manifest knows a group of classes when some picture does; in the others a region hides that group. `more`:
    further tables of the manifest; `documents`: further text files by name. Raises DatasetError when the folder
    holds anything, or no picture is left.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DatasetError(f"{folder}: not empty", remedy="name a new folder, or delete that one")
    listed = tuple(faults)
    if not pictures:
        worst = next((str(fault) for fault in listed if fault.severity == "fault"), "nothing was found")
        raise DatasetError(f"no picture could be imported; {worst}", remedy="see `jiejing dataset check`")
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    placed = [_place(picture, file, folder, copy) for picture, file in zip(pictures, flat_names(pictures), strict=True)]
    knows = sorted(group for group, classes in GROUPS.items() if any(classes <= picture.known for picture in placed))
    extra = {picture.path.name: rows for picture in placed if (rows := region_rows(picture) + _hidden(picture, knows))}
    files = []
    if extra:
        files.append(folder / REGION_FILE)
        files[-1].write_text(json.dumps(extra, indent=0) + "\n", encoding="utf-8")
    for document, text in (documents or {}).items():
        files.append(folder / document)
        files[-1].write_text(text, encoding="utf-8")
    if divided := any(picture.split or picture.group for picture in placed):
        files.append(folder / SPLIT_FILE)
        splits = [picture.split or "train" for picture in placed]
        files[-1].write_text(split_csv(placed, [picture.group for picture in placed], splits), encoding="utf-8")
    lines = checksum_lines(folder, placed, files)
    (folder / CHECKSUMS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    boxes = Counter(box.name for picture in placed for box in picture.boxes if not box.ignore)
    left_out = len({fault.picture for fault in listed if fault.severity == "fault" and fault.picture})
    manifest: dict[str, Any] = {
        "name": name,
        "title": title or name,
        "origin": origin,
        "licence": licence,
        "images": "images",
        "labels": "labels",
        "knows": knows,
        "known_classes": [c for c in CLASSES if all(c in picture.known for picture in placed)],
        "taught": [] if "private" in knows else ["private"],
        "known_faults": [],
        # Class ids are those of vision.taxonomy already.
        "classes": {},
        "class_map": dict(class_map),
        "counts": {"pictures": len(placed)} | {c: boxes[c] for c in CLASSES if boxes[c]},
        "checksum": {"pictures": len(placed), "sha256": digest(folder, placed)},
    }
    if extra:
        manifest["extra"] = {"file": REGION_FILE, "knows": []}
    if divided:
        manifest["split"] = {"file": SPLIT_FILE, "group": "group"}
    report = {"pictures": len(placed), "left_out": left_out, "faults": [fault.record() for fault in listed]}
    (folder / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    part = folder / "manifest.toml.part"
    part.write_text(toml_text(manifest | dict(more or {})), encoding="utf-8")
    part.replace(folder / "manifest.toml")
    return Imported(
        folder=folder,
        pictures=len(placed),
        boxes=dict(sorted(boxes.items())),
        regions=sum(len(rows) for rows in extra.values()),
        left_out=left_out,
        unknown_groups=tuple(sorted(set(GROUPS) - set(knows))),
        faults=listed,
    )


def _hidden(picture: LabelledPicture, knows: Sequence[str]) -> list[list[str | float]]:
    """Whole-picture regions of the groups that others of the set know and this picture does not."""
    return [[group, *WHOLE] for group in knows if not GROUPS[group] <= picture.known]


def flat_names(pictures: Sequence[LabelledPicture]) -> list[str]:
    """A file name for each picture, unique by stem: its own, or its path joined with `__` where stems meet."""
    stems = Counter(PurePosixPath(picture.name).stem.lower() for picture in pictures)
    names, taken = [], Counter[str]()
    for picture in pictures:
        path = PurePosixPath(picture.name)
        name = path.name if stems[path.stem.lower()] == 1 else "__".join(part for part in path.parts if part != "/")
        # Training asks the suffix what the file is.
        name = str(PurePosixPath(name).with_suffix(".png" if picture.seen.is_png else _jpeg_suffix(name)))
        stem = PurePosixPath(name).stem.lower()
        taken[stem] += 1
        names.append(
            name if taken[stem] == 1 else f"{PurePosixPath(name).stem}-{taken[stem]}{PurePosixPath(name).suffix}"
        )
    return names


def _jpeg_suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return suffix if suffix.lower() in {".jpg", ".jpeg"} else ".jpg"


def _place(picture: LabelledPicture, file: str, folder: Path, copy: bool) -> LabelledPicture:
    target = folder / "images" / file
    if copy:
        shutil.copyfile(picture.path, target)
    else:
        target.symlink_to(os.path.abspath(picture.path))  # noqa: PTH100  # resolve() would follow links of the source
    label = folder / "labels" / f"{target.stem}.txt"
    label.write_text(yolo_text(picture), encoding="utf-8")
    return replace(
        picture, path=target, name=target.relative_to(folder).as_posix(), labels=label.relative_to(folder).as_posix()
    )
