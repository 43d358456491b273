"""Small labelled data sets drawn by script, in the layouts of other tools, for tests."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from tests import pictures
from training.labels.values import LabelledPicture, LabelSet

Corners = tuple[float, float, float, float]
SIZE = (160, 120)


def scene(seed: int, size_wh: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    """A picture that looks like no other seed's: coloured clouds, RGB (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def photo(
    path: Path,
    seed: int,
    size_wh: tuple[int, int] = SIZE,
    *,
    orientation: int = 1,
    taken: datetime | None = None,
    lonlat: tuple[float, float] | None = None,
) -> Path:
    """A JPEG, or a PNG by its suffix; with EXIF `size_wh` is the size before the orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = scene(seed, size_wh)
    if path.suffix == ".png":
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        path.write_bytes(out.getvalue())
    else:
        path.write_bytes(pictures.jpeg(pixels, orientation=orientation, taken=taken, lonlat=lonlat))
    return path


def yolo_line(class_id: object, corners: Corners, size_wh: tuple[int, int] = SIZE) -> str:
    """A YOLO line from corners in pixels."""
    (w, h), (x0, y0, x1, y1) = size_wh, corners
    return f"{class_id} {(x0 + x1) / 2 / w:.6f} {(y0 + y1) / 2 / h:.6f} {(x1 - x0) / w:.6f} {(y1 - y0) / h:.6f}"


def label(path: Path, *lines: str) -> None:
    """A label file with these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def manifest(folder: Path, **changes: Any) -> None:
    """A manifest.toml of a source that knows waste and is divided by split.csv."""
    values = {"licence": '"CC0"', "checksum": "", "classes": '0 = "garbage"\n1 = "bin"\n2 = "overflow"'} | changes
    (folder / "manifest.toml").write_text(
        f"""name = "tiny"
title = "drawn by a test"
origin = "a test"
licence = {values["licence"]}
knows = ["waste"]

[classes]
{values["classes"]}

[split]
file = "split.csv"
group = "group"

{values["checksum"]}
""",
        encoding="utf-8",
    )


def table(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("image", "split", "group")) -> None:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def tiny_set(folder: Path, count: int = 12) -> None:
    """A sound data set in our own layout: a bin in each picture, garbage in every other one, three in val."""
    rows = []
    for number in range(count):
        name = f"p{number:02d}"
        photo(folder / "images" / f"{name}.jpg", number)
        shift = float(number % 5)
        lines = [yolo_line(1, (20 + shift, 30, 60 + shift, 90))]
        if number % 2:
            lines.append(yolo_line(0, (90, 70, 120 + shift, 100)))
        label(folder / "labels" / f"{name}.txt", *lines)
        rows.append((f"{name}.jpg", "val" if number % 4 == 3 else "train", f"s{number}"))
    table(folder / "split.csv", rows)
    manifest(folder)


def as_json(path: Path, value: object) -> None:
    """A JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def kinds(found: LabelSet) -> list[str]:
    """The kinds of all faults, sorted."""
    return sorted(fault.kind for fault in found.faults)


def by_name(found: LabelSet) -> Mapping[str, LabelledPicture]:
    """The pictures by their file name."""
    return {picture.path.name: picture for picture in found.pictures}


def corners(picture: LabelledPicture) -> dict[str, tuple[float, ...]]:
    """Boxes by class name, rounded to a tenth of a pixel; for pictures with one box per class."""
    return {box.name: tuple(round(value, 1) for value in box.xyxy) for box in picture.boxes}
