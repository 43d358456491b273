"""Square windows of labelled pictures: small things at a size that a small training input still shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from training.errors import DatasetError
from training.sources import REGIONS, Label, Picture


def window_of(
    labels: Sequence[Label], size_wh: tuple[int, int], left_top_side: tuple[int, int, int]
) -> tuple[Label, ...]:
    """The labels of a picture of `size_wh` pixels in a square window of it, in fractions of the window.

    Boxes are cut at the edge; what shows less than half of itself is neither learned nor punished.
    """
    (width, height), (left, top, side) = size_wh, left_top_side
    found = []
    for label in labels:
        x0, x1 = (value * width - left for value in label.box[0::2])
        y0, y1 = (value * height - top for value in label.box[1::2])
        cut = (max(x0, 0.0), max(y0, 0.0), min(x1, float(side)), min(y1, float(side)))
        if cut[2] - cut[0] < 1 or cut[3] - cut[1] < 1:
            continue
        share = (cut[2] - cut[0]) * (cut[3] - cut[1]) / max((x1 - x0) * (y1 - y0), 1e-9)
        name = label.name if share >= 0.5 or label.name in REGIONS else "ignore"
        found.append(Label(name, (cut[0] / side, cut[1] / side, cut[2] / side, cut[3] / side)))
    return tuple(found)


def cut_windows(pictures: Sequence[Picture], folder: Path, times: Mapping[str, int], seed: int = 0) -> list[Picture]:
    """So many random square windows of each training picture of a source, 0.4 to 0.6 of its width, for small things.

    The windows become pictures of the source NAME-windows under `folder`; `times` counts by source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for index, picture in enumerate(pictures):
        if picture.split != "train" or not times.get(picture.source):
            continue
        pixels = cv2.imread(str(picture.path))
        if pixels is None:
            raise DatasetError(f"{picture.path}: not a picture", remedy="run `jiejing dataset check`")
        height, width = pixels.shape[:2]
        rng = np.random.default_rng((seed, index))
        for number in range(times[picture.source]):
            side = int(min(height, width * rng.uniform(0.4, 0.6)))
            left, top = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
            path = folder / f"{picture.path.stem}-{number}.jpg"
            cv2.imwrite(str(path), pixels[top : top + side, left : left + side], [cv2.IMWRITE_JPEG_QUALITY, 95])
            labels = window_of(picture.labels, (width, height), (left, top, side))
            found.append(replace(picture, path=path, source=f"{picture.source}-windows", labels=labels))
    return found
