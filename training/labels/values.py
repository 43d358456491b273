"""A labelled picture and a labelled data set, whatever format they came in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from training.labels.kinds import LabelFault
from training.labels.looks import Look
from vision.pictures.media import GpsFix

Xyxy = tuple[float, float, float, float]
SPLITS = ("train", "val", "test")
_TURNED = frozenset({5, 6, 7, 8})
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def split_of(word: str) -> str:
    """train, val or test for the usual spellings; "" for any other word."""
    return _SPLIT_NAMES.get(word.lower(), "")


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """One box as its source states it: x_min, y_min, x_max, y_max in pixels of the upright picture, not clipped.

    `ignore`: unsure or a crowd, it neither counts nor punishes; `where`: the line or entry it was read from.
    """

    name: str
    xyxy: Xyxy
    ignore: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one reading of a picture file tells; sizes in pixels, `size_wh` after EXIF orientation."""

    size_wh: tuple[int, int]
    orientation: int
    taken_at: datetime | None
    gps: GpsFix | None
    sha256: str
    is_png: bool
    look: Look

    @property
    def stored_wh(self) -> tuple[int, int]:
        """The size before EXIF orientation."""
        return self.size_wh[::-1] if self.orientation in _TURNED else self.size_wh


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """One picture and what is known about it.

    `name`: its path under the set's folder, with slashes; `known`: the classes (as the source calls them) that carry a
    box wherever they stand in it, all others are unknown, not absent; `labels`: the file its boxes stand in.
    """

    path: Path
    name: str
    seen: Seen
    boxes: tuple[LabelledBox, ...]
    known: frozenset[str]
    split: str = ""
    group: str = ""
    labels: str = ""
    # Whether the annotation itself says which picture size its boxes belong to.
    size_stated: bool = False

    @property
    def size_wh(self) -> tuple[int, int]:
        """Pixels after EXIF orientation."""
        return self.seen.size_wh

    @property
    def sha256(self) -> str:
        """Of the file's bytes, hexadecimal."""
        return self.seen.sha256

    @property
    def taken_at(self) -> datetime | None:
        """By EXIF; naive local time when it states no zone."""
        return self.seen.taken_at

    @property
    def gps(self) -> GpsFix | None:
        """By EXIF."""
        return self.seen.gps


@dataclass(frozen=True, slots=True)
class LabelSet:
    """A data set as it was read: the pictures that could be, and a record for everything else.

    `classes`: what the set declares it labels, as the source calls them; `has_splits`: whether it comes divided.
    """

    root: Path
    format: str
    pictures: tuple[LabelledPicture, ...]
    faults: tuple[LabelFault, ...]
    classes: tuple[str, ...]
    has_splits: bool = False
