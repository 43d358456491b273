"""YOLO folders: images beside labels, in the layouts of Ultralytics, Roboflow and the plain one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from training.errors import DatasetError
from training.labels.album import Album
from training.labels.kinds import LabelFault
from training.labels.values import LabelledBox, LabelledPicture, LabelSet, Xyxy, split_of

CLASS_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
# Text files that stand among label files and hold no labels.
_NOT_LABELS = frozenset({"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "notes.txt"})
Shares = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class YoloFolder:
    """Where things are: `names` by class id (None: any whole number is a class), splits by picture path."""

    root: Path
    images: tuple[Path, ...]
    names: Mapping[int, str] | None
    splits: Mapping[Path, str]
    faults: tuple[LabelFault, ...] = ()


def describe(root: Path) -> YoloFolder:
    """The layout of a folder, from its data.yaml when it has one.

    Raises DatasetError when data.yaml cannot be read.
    """
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (root / name).is_file():
            return _from_yaml(root, root / name)
    names = next((_name_list(root / file) for file in CLASS_FILES if (root / file).is_file()), None)
    images = (root / "images",) if (root / "images").is_dir() else (root,)
    return YoloFolder(root, images, names, {})


def _name_list(path: Path) -> dict[int, str]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return dict(enumerate(line for line in lines if line))


def _from_yaml(root: Path, file: Path) -> YoloFolder:
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}: {error}", remedy="correct the YAML") from None
    if not isinstance(raw, dict):
        raise DatasetError(f"{file}: not a table of names and folders", remedy="write names, train and val")
    names = raw.get("names")
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(listed, dict) or not all(str(key).isdigit() for key in listed):
        raise DatasetError(f"{file}: names is neither a list nor a table by number", remedy="write names: [a, b]")
    images: list[Path] = []
    splits: dict[Path, str] = {}
    faults: list[LabelFault] = []
    for key in ("train", "val", "test"):
        for entry in _entries(raw.get(key)):
            place = _place(root, str(raw.get("path") or ""), entry)
            if place is None:
                faults.append(LabelFault("split-ghost", f"{file.name}, {key}", f"{entry}: no such folder or list"))
            elif place.is_dir():
                images.append(place)
                splits[place] = key
            else:
                for line in place.read_text(encoding="utf-8").split():
                    picture = _place(place.parent, "", line) or _place(root, "", line)
                    if picture is None:
                        faults.append(LabelFault("split-ghost", place.name, f"{line}: no such picture", line))
                    else:
                        images.append(picture)
                        splits[picture] = key
    return YoloFolder(
        root, tuple(dict.fromkeys(images)), {int(k): str(v) for k, v in listed.items()}, splits, tuple(faults)
    )


def _entries(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)] if value else []


def _place(root: Path, base: str, entry: str) -> Path | None:
    """A path of data.yaml: against `path`, else against the file's folder, else without the leading `../` that
    Roboflow writes one too many of."""
    for candidate in (root / base / entry, root / entry, root / entry.removeprefix("../")):
        if candidate.exists():
            return candidate.resolve() if ".." in candidate.parts else candidate
    return None


def label_file(picture: Path, root: Path) -> Path:
    """Where the labels of a picture stand: `images` in its path replaced by `labels`, else beside it."""
    inside = picture.relative_to(root).parts if picture.is_relative_to(root) else picture.parts
    base = root if picture.is_relative_to(root) else Path()
    for i in range(len(inside) - 2, -1, -1):
        if inside[i] == "images":
            return base.joinpath(*inside[:i], "labels", *inside[i + 1 :]).with_suffix(".txt")
    beside = picture.with_suffix(".txt")
    apart = root / "labels" / f"{picture.stem}.txt"
    return apart if not beside.exists() and (root / "labels").is_dir() else beside


def parse_line(words: list[str], names: Mapping[int, str] | None) -> tuple[str, Shares] | tuple[None, str, str]:
    """The class name and the box (x_min, y_min, x_max, y_max) in shares; or None, the kind of fault and the reason."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None, "line-not-numbers", " ".join(words)[:80]
    if len(values) < 5:
        return None, "line-too-short", f"{len(values)} columns"
    if len(values) == 6 or len(values) % 2 == 0:
        return None, "line-too-long", f"{len(values)} columns"
    if not math.isfinite(values[0]) or values[0] != int(values[0]):
        return None, "class-not-integer", words[0]
    number = int(values[0])
    if number < 0 or (names is not None and number not in names):
        return None, "class-out-of-range", f"class {number} of {len(names) if names is not None else 'any'}"
    name = names[number] if names is not None else str(number)
    if any(abs(value) > 2 for value in values[1:] if math.isfinite(value)):
        return None, "box-in-pixels", " ".join(words[1:])[:80]
    if len(values) == 5:
        x, y, w, h = values[1:]
        return name, (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    xs, ys = values[1::2], values[2::2]
    if not all(math.isfinite(value) for value in values):
        return name, (math.nan, math.nan, math.nan, math.nan)
    return name, (min(xs), min(ys), max(xs), max(ys))


def read_yolo_set(
    folder: YoloFolder, labels: Callable[[Path], Path] | None = None, known: frozenset[str] | None = None
) -> LabelSet:
    """Every picture of a YOLO folder with its boxes; `labels` overrides where a picture's label file stands."""
    album = Album(folder.root, folder.images)
    where = labels or (lambda picture: label_file(picture, folder.root))
    faults = list(folder.faults)
    pictures: list[LabelledPicture] = []
    stems: dict[Path, Path] = {}
    names_seen: set[str] = set()
    for path in album.paths:
        file = where(path)
        twin = stems.setdefault(file, path)
        if twin != path:
            reason = f"shares {file.name} with {album.name(twin)}"
            faults.append(LabelFault("picture-doubled-stem", album.name(path), reason, album.name(path)))
            continue
        seen = album.see(path)
        if isinstance(seen, LabelFault):
            faults.append(seen)
            continue
        shares, wrong = _read_file(file, album.name(path), folder)
        faults += wrong
        names_seen |= {name for name, _, _ in shares}
        w, h = seen.size_wh
        boxes = [LabelledBox(name, _pixels(box, w, h), where=line) for name, box, line in shares]
        pictures.append(
            album.picture(
                path,
                seen,
                boxes,
                frozenset() if known is None else known,
                split=_split(path, folder),
                labels=_relative(file, folder.root),
            )
        )
    faults += _orphans(folder, set(stems))
    classes = tuple(folder.names.values()) if folder.names is not None else tuple(sorted(names_seen))
    if known is None:
        pictures = [replace(picture, known=frozenset(classes)) for picture in pictures]
    return LabelSet(
        folder.root, "yolo", tuple(pictures), tuple(faults), classes, any(picture.split for picture in pictures)
    )


def _pixels(box: Shares, w: int, h: int) -> Xyxy:
    return box[0] * w, box[1] * h, box[2] * w, box[3] * h


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _split(path: Path, folder: YoloFolder) -> str:
    if folder.splits:
        return next((folder.splits[place] for place in (path, *path.parents) if place in folder.splits), "")
    inside = path.relative_to(folder.root).parts[:-1] if path.is_relative_to(folder.root) else ()
    return next((found for part in inside if (found := split_of(part))), "")


def _read_file(file: Path, picture: str, folder: YoloFolder) -> tuple[list[tuple[str, Shares, str]], list[LabelFault]]:
    name = _relative(file, folder.root)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return [], [LabelFault("labels-missing", name, "no such file", picture)]
    except (OSError, UnicodeDecodeError) as error:
        return [], [LabelFault("labels-unreadable", name, str(error), picture)]
    found: list[tuple[str, Shares, str]] = []
    faults: list[LabelFault] = []
    filled = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    for number, words in filled:
        parsed = parse_line(words, folder.names)
        if parsed[0] is None:
            _, kind, reason = parsed
            faults.append(LabelFault(kind, f"{name}:{number}", reason, picture))
        else:
            found.append((parsed[0], parsed[1], f"{name}:{number}"))
    if not filled:
        faults.append(LabelFault("labels-empty", name, "no boxes", picture))
    return found, faults


def _orphans(folder: YoloFolder, expected: set[Path]) -> list[LabelFault]:
    """Label files that belong to no picture: in every folder where a label file of a picture stands or should."""
    faults = []
    for place in sorted({file.parent for file in expected} | {folder.root / "labels"}):
        files = sorted(place.glob("*.txt")) if place.is_dir() else []
        faults += [
            LabelFault("labels-without-picture", _relative(file, folder.root), "no picture of that name")
            for file in files
            if file not in expected and file.name.lower() not in _NOT_LABELS
        ]
    return faults
