"""Large pictures looked at in parts: small things keep their pixels, at the cost of one look per part and one for all.

A part sees things at its inner edges cut off: what touches those is left to the neighbour, which overlaps it, or to the
look at the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vision import boxes
from vision.detecting.suppression import strongest

# Neighbours share at least this part of a tile: more than a thing that is small beside a tile needs.
OVERLAP = 0.2
# Boxes that end this close (pixels) to an inner edge count as cut by it.
_EDGE_PX = 2.0
# Two looks at one thing differ more than two boxes of one look.
_SAME_IOU = 0.5
Tile = tuple[int, int, int, int]


def tiles_of(picture_wh: tuple[int, int], tile_wh: tuple[int, int]) -> list[Tile]:
    """Left, top, right, bottom of evenly spread tiles that cover the picture; none where it is hardly larger than one.

    A tile is `tile_wh` (width, height) pixels, or as large as the picture on a side where that is smaller.
    """
    if max(p / t for p, t in zip(picture_wh, tile_wh, strict=True)) <= 1 + OVERLAP:
        return []
    lefts, tops = (_starts(p, t) for p, t in zip(picture_wh, tile_wh, strict=True))
    width, height = (min(p, t) for p, t in zip(picture_wh, tile_wh, strict=True))
    return [(left, top, left + width, top + height) for top in tops for left in lefts]


def _starts(length: int, tile: int) -> list[int]:
    if length <= tile:
        return [0]
    count = int(np.ceil((length - OVERLAP * tile) / (tile * (1 - OVERLAP))))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def whole_ones(rows: boxes.FloatArray, tile: Tile, picture_wh: tuple[int, int]) -> boxes.FloatArray:
    """Of rows (n, 6) found in a tile, in pixels of the tile, those no inner edge cuts, in pixels of the picture."""
    left, top, right, bottom = tile
    moved = rows.copy()
    moved[:, :4] += (left, top, left, top)
    inner = np.array([left > 0, top > 0, right < picture_wh[0], bottom < picture_wh[1]])
    near = np.abs(moved[:, :4] - tile) <= _EDGE_PX
    return np.asarray(moved[~(near & inner).any(axis=1)])


def merged(looks: Iterable[boxes.FloatArray], most: int) -> boxes.FloatArray:
    """The rows (n, 6) of several looks at one picture as one: of boxes of one class on one thing the surest."""
    rows = np.concatenate(list(looks))
    return rows[strongest(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64), _SAME_IOU, most)]
