"""Labelled pictures from many sources as one training set: what each source knows, and what it leaves unknown.

A source that does not label a class says nothing about its absence. So every picture carries the groups of classes
that are unknown in it, and regions (an `ignore` box, a spot where the teacher hesitated) where they are unknown.
In label files such a region is a box with a class id from `REGIONS`, behind the thirteen real ones; geometric
augmentation moves it like any other box, and the masked loss takes it out again.
"""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image

from training.errors import DatasetError
from vision.taxonomy import ADVERTS, CLASS_IDS, CLASSES, PRIVATE, STRUCTURES, WASTE

GROUPS: dict[str, frozenset[str]] = {"waste": WASTE, "structures": STRUCTURES, "adverts": ADVERTS, "private": PRIVATE}
# What each kind of region hides, in the order of its ids in label files (from 13 on): every class, those of one group,
# or a single one.
HIDES: dict[str, frozenset[str]] = (
    {"ignore": frozenset(CLASSES)} | GROUPS | {f"unknown_{name}": frozenset({name}) for name in CLASSES}
)
REGIONS: dict[str, int] = {name: len(CLASSES) + i for i, name in enumerate(HIDES)}
# Names by id for a label file with regions.
LABEL_NAMES: tuple[str, ...] = (*CLASSES, *(f"unknown_{name}" if name in GROUPS else name for name in HIDES))
WHOLE = (0.0, 0.0, 1.0, 1.0)
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Label:
    """One box in fractions of the picture (x_min, y_min, x_max, y_max); `name` is a class or a key of `REGIONS`."""

    name: str
    box: Box

    @property
    def id(self) -> int:
        """The id written to label files."""
        return REGIONS[self.name] if self.name in REGIONS else CLASS_IDS[self.name]

    def line(self) -> str:
        """The YOLO line: id, centre and size in fractions."""
        x0, y0, x1, y1 = self.box
        return f"{self.id} {(x0 + x1) / 2:.6f} {(y0 + y1) / 2:.6f} {x1 - x0:.6f} {y1 - y0:.6f}"


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture: `unknown` are the groups that nobody labelled in it."""

    path: Path
    source: str
    split: str
    labels: tuple[Label, ...]
    unknown: frozenset[str] = frozenset()
    group: str = ""

    @property
    def name(self) -> str:
        """File name in a run folder: unique over the sources."""
        return f"{self.source}__{self.path.name}"

    def with_regions(self) -> tuple[Label, ...]:
        """All labels, and one whole-picture region per unknown group."""
        return self.labels + tuple(Label(name, WHOLE) for name in sorted(self.unknown))


@dataclass(frozen=True, slots=True)
class Source:
    """A manifest: where pictures come from, under which licence, and what their labels mean."""

    name: str
    title: str
    origin: str
    licence: str
    images: str
    labels: str
    knows: frozenset[str]
    taught: frozenset[str]
    classes: Mapping[int, str]
    care: str = ""
    split_file: str = ""
    split_group: str = ""
    extra_file: str = ""
    extra_knows: frozenset[str] = frozenset()
    least_px: float = 0.0
    known_faults: tuple[str, ...] = ()
    pictures: int = 0
    sha256: str = ""
    unknown_fields: tuple[str, ...] = field(default=())


def read_manifest(path: Path) -> Source:
    """The source that a manifest.toml describes.

    Raises DatasetError when the file is missing, no TOML, lacks a field, or names an unknown class or group.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such manifest", remedy="name a folder of datasets/") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: {error}", remedy="correct the TOML") from None
    try:
        classes = {int(number): str(name) for number, name in raw["classes"].items()}
        source = Source(
            name=raw["name"],
            title=raw["title"],
            origin=raw["origin"],
            licence=raw["licence"],
            images=raw.get("images", "images"),
            labels=raw.get("labels", "labels"),
            knows=frozenset(raw["knows"]),
            taught=frozenset(raw.get("taught", ())),
            classes=classes or dict(enumerate(CLASSES)),
            care=raw.get("care", ""),
            split_file=raw.get("split", {}).get("file", ""),
            split_group=raw.get("split", {}).get("group", ""),
            extra_file=raw.get("extra", {}).get("file", ""),
            extra_knows=frozenset(raw.get("extra", {}).get("knows", ())),
            least_px=float(raw.get("least_px", 0.0)),
            known_faults=tuple(raw.get("known_faults", ())),
            pictures=int(raw.get("checksum", {}).get("pictures", 0)),
            sha256=raw.get("checksum", {}).get("sha256", ""),
        )
    except KeyError as error:
        raise DatasetError(f"{path}: the field {error} is missing", remedy="add it") from None
    for group in source.knows | source.taught | source.extra_knows:
        if group not in GROUPS:
            raise DatasetError(f"{path}: unknown group {group!r}", remedy=f"use one of {', '.join(GROUPS)}")
    for name in source.classes.values():
        if name not in CLASS_IDS:
            raise DatasetError(f"{path}: unknown class {name!r}", remedy=f"use one of {', '.join(CLASSES)}")
    return source


def read_yolo(path: Path, classes: Mapping[int, str]) -> tuple[Label, ...]:
    """Labels of one YOLO file, boxes clipped to the picture; a missing file means no boxes.

    Polygons (more than five numbers) become their bounding box. Raises DatasetError with the line's number.
    """
    if not path.exists():
        return ()
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            class_id, values = int(float(words[0])), [float(word) for word in words[1:]]
        except ValueError:
            raise DatasetError(f"{path}: line {number} is not numbers", remedy="correct or delete it") from None
        if class_id not in classes:
            raise DatasetError(f"{path}: line {number}: class {class_id} is not in the manifest", remedy="map it")
        if len(values) == 4:
            x, y, w, h = values
            box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        elif len(values) >= 6 and len(values) % 2 == 0:
            box = (min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2]))
        else:
            raise DatasetError(f"{path}: line {number}: {len(values)} numbers", remedy="give four, or a polygon")
        x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in box)
        if x1 > x0 and y1 > y0:
            found.append(Label(classes[class_id], (x0, y0, x1, y1)))
    return tuple(found)


def read_extra(path: Path) -> dict[str, tuple[Label, ...]]:
    """Boxes drawn by eye: `{picture: [[class, x1, y1, x2, y2], …]}` in fractions of the picture."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: tuple(Label(str(row[0]), (float(row[1]), float(row[2]), float(row[3]), float(row[4]))) for row in rows)
        for name, rows in raw.items()
    }


def load(
    source: Source,
    folder: Path,
    taught: Mapping[str, tuple[Label, ...]] | None = None,
    default_split: str = "train",
    teaches: frozenset[str] | None = None,
) -> Iterator[Picture]:
    """The pictures of a source in file order.

    `taught` holds teachers' labels by file name (positives, and regions where they hesitate), `teaches` the groups that
    they know (default: all that the manifest lets be taught); without an entry those groups stay unknown. Raises
    DatasetError when the folder or a file in it is not what was promised.
    """
    images = folder / source.images
    if not images.is_dir():
        raise DatasetError(f"{images}: no such folder", remedy=f"put the pictures of {source.name} there")
    splits, groups = _splits(source, folder)
    extra = read_extra(folder / source.extra_file) if source.extra_file else {}
    for path in sorted(p for p in images.iterdir() if p.suffix.lower() in SUFFIXES):
        labels = read_yolo(folder / source.labels / f"{path.stem}.txt", source.classes)
        known = set(source.knows)
        if path.name in extra:
            labels += extra[path.name]
            known |= source.extra_knows
        if taught is not None and path.name in taught:
            labels += taught[path.name]
            known |= source.taught if teaches is None else teaches
        if source.least_px:
            labels = without_specks(labels, picture_size(path), source.least_px)
        yield Picture(
            path=path,
            source=source.name,
            split=splits.get(path.name, default_split),
            labels=labels,
            unknown=frozenset(GROUPS) - known,
            group=groups.get(path.name, ""),
        )


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels from the file's header. Raises DatasetError when it is no picture."""
    try:
        with PIL.Image.open(path) as picture:
            return picture.size
    except OSError as error:
        raise DatasetError(f"{path}: {error}", remedy="run `jiejing dataset check`") from None


def without_specks(labels: tuple[Label, ...], size_wh: tuple[int, int], least_px: float) -> tuple[Label, ...]:
    """The labels, those whose longer side is under `least_px` pixels as places to ignore: nobody could see them."""

    def longest(box: Box) -> float:
        return max((box[2] - box[0]) * size_wh[0], (box[3] - box[1]) * size_wh[1])

    return tuple(label if longest(label.box) >= least_px else Label("ignore", label.box) for label in labels)


def _splits(source: Source, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    if not source.split_file:
        return {}, {}
    with (folder / source.split_file).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    groups = {row["image"]: row[source.split_group] for row in rows} if source.split_group else {}
    return {row["image"]: row["split"] for row in rows}, groups


def write_run_set(
    pictures: Iterable[Picture],
    folder: Path,
    repeats: Mapping[str, int] | None = None,
    sources: Iterable[Source] = (),
) -> Path:
    """Links and remapped labels under `folder`; the sources themselves are never written to.

    `train.txt` lists the training pictures, `val.txt` the others, whose labels hold no regions. `repeats` says how
    often training pictures of a source, or with a class in them, are listed (the highest counts; default once).
    Returns the path of `data.json` with counts per source and split, and what a card has to say about the sources.
    """
    folder = folder.resolve()
    lists: dict[str, list[str]] = {"train": [], "val": []}
    counts: dict[str, int] = {}
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        link = folder / "images" / picture.name
        if not link.is_symlink():
            link.symlink_to(picture.path.resolve())
        training = picture.split == "train"
        labels = picture.with_regions() if training else tuple(x for x in picture.labels if x.name not in REGIONS)
        lines = "".join(label.line() + "\n" for label in labels)
        (folder / "labels" / f"{link.stem}.txt").write_text(lines, encoding="utf-8")
        keys = (picture.source, *(label.name for label in picture.labels))
        times = max((repeats or {}).get(key, 1) for key in keys) if training else 1
        lists["train" if training else "val"] += [str(link)] * times
        key = f"{picture.source}/{picture.split}"
        counts[key] = counts.get(key, 0) + 1
    for split, paths in lists.items():
        (folder / f"{split}.txt").write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    summary = folder / "data.json"
    described = [
        {"name": one.name, "title": one.title, "licence": one.licence, "knows": sorted(one.knows | one.extra_knows)}
        for one in sources
    ]
    content = {"pictures": counts, "names": list(LABEL_NAMES), "sources": described}
    summary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    return summary
