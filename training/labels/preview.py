"""Sheets: many pictures with their boxes on one page, to see at a glance whether boxes and pictures belong together.

They show the source's pictures, persons and plates included: they belong in a git-ignored folder.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from training.labels.values import LabelledPicture
from vision.errors import MediaError
from vision.pictures.media import Rgb, decode, picture_header, read_bytes

TILE = 400
CAPTION = 22
_COLOURS = (
    (230, 60, 60),
    (60, 160, 240),
    (240, 150, 30),
    (60, 190, 90),
    (170, 90, 220),
    (240, 210, 50),
    (40, 200, 200),
    (230, 100, 180),
)
_GREY = (150, 150, 150)


def tile(picture: LabelledPicture, colours: dict[str, tuple[int, int, int]]) -> Rgb:
    """One picture at 400×400 with its boxes and a caption below: RGB (422, 400, 3). A broken picture is a grey tile."""
    page = np.full((TILE + CAPTION, TILE, 3), 40, dtype=np.uint8)
    scale = TILE / max(picture.size_wh)
    try:
        data = read_bytes(picture.path)
        pixels = decode(data, picture_header(data, picture.path), (TILE, TILE))
        size = (max(1, round(picture.size_wh[0] * scale)), max(1, round(picture.size_wh[1] * scale)))
        page[: size[1], : size[0]] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    except MediaError:
        page[:TILE] = 90
    for box in picture.boxes:
        if not all(np.isfinite(box.xyxy)):
            continue
        x0, y0, x1, y1 = (int(np.clip(value * scale, -TILE, 2 * TILE)) for value in box.xyxy)
        colour = _GREY if box.ignore else colours[box.name]
        cv2.rectangle(page, (x0, y0), (x1, y1), colour, 1 if box.ignore else 2)
        if not box.ignore:
            cv2.putText(
                page, box.name, (x0 + 2, max(y0 - 3, 10)), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA
            )
    page[TILE:] = 20
    caption = f"{picture.name} {picture.split}".strip()[-58:]
    cv2.putText(page, caption, (4, TILE + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (220, 220, 220), 1, cv2.LINE_AA)
    return page


def write_sheets(
    pictures: Sequence[LabelledPicture], folder: Path, *, count: int = 24, columns: int = 4, seed: int = 0
) -> list[Path]:
    """Sheets of twelve of `count` pictures drawn by chance (all when there are fewer); returns the files."""
    chosen = random.Random(seed).sample(list(pictures), min(count, len(pictures)))
    chosen.sort(key=lambda picture: picture.name)
    names = sorted({box.name for picture in pictures for box in picture.boxes})
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    folder.mkdir(parents=True, exist_ok=True)
    per_sheet = columns * 3
    files = []
    for number, start in enumerate(range(0, len(chosen), per_sheet), start=1):
        tiles = [tile(picture, colours) for picture in chosen[start : start + per_sheet]]
        rows = -(-len(tiles) // columns)
        sheet = np.zeros((rows * (TILE + CAPTION), min(columns, len(tiles)) * TILE, 3), dtype=np.uint8)
        for index, one in enumerate(tiles):
            y, x = index // columns * (TILE + CAPTION), index % columns * TILE
            sheet[y : y + TILE + CAPTION, x : x + TILE] = one
        file = folder / f"sheet-{number:02d}.jpg"
        coded = cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
        file.write_bytes(coded.tobytes())
        files.append(file)
    return files
