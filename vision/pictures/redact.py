"""People and vehicles made unrecognisable before anything is kept for viewing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from vision import boxes
from vision.detections import Detections
from vision.pictures.media import Rgb

# Boxes are seldom exact: this share of the box on each side is hidden too.
_MARGIN = 0.2
# A head is about an eighth of a standing person, a number plate about a sixteenth of a car's box: one cell each.
_CELLS_PERSON, _CELLS_VEHICLE = 8, 16
_PERSON = "person"
# The second look is at three eighths of the first one's size: people close by, who fill the picture, are seen better
# when they are smaller, and the first look has the eyes for the far ones. At less more is hidden in vain.
_SECOND_LOOK = 0.375


def second_input(first_wh: tuple[int, int]) -> tuple[int, int]:
    """The input size (width, height) of the second look, of which every picture that will be shown gets one."""
    width, height = (max(32, round(side * _SECOND_LOOK / 32) * 32) for side in first_wh)
    return width, height


def private_only(looks: Iterable[Detections], hide_from: Sequence[float]) -> Detections:
    """What must be hidden of all that was seen in one picture: what scores `hide_from` (one per class) or more.

    Raises ValueError without a look.
    """
    least = np.asarray(hide_from, dtype=np.float64)
    found = [seen.where(seen.scores >= least[seen.class_ids]) for seen in looks]
    if not found:
        raise ValueError("a picture that nobody looked at cannot be redacted")
    return Detections(
        np.concatenate([seen.boxes_xyxy for seen in found]),
        np.concatenate([seen.scores for seen in found]),
        np.concatenate([seen.class_ids for seen in found]),
        found[0].size_wh,
        found[0].model,
        found[0].class_names,
    )


def regions(private: Detections, size_wh: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Where to hide, in the order to do it: (n, 5) of left, top, right, bottom in whole pixels of a copy of `size_wh`,
    and the side of a block in pixels.

    Vehicles come first, so that a person in front of one ends up in the coarser blocks of a person. What lies within
    another one of blocks as large is left out: two looks see most people twice.
    """
    scaled = boxes.scale(private.boxes_xyxy, private.size_wh, size_wh)
    sides = scaled[:, 2:] - scaled[:, :2]
    grown = np.concatenate([scaled[:, :2] - _MARGIN * sides, scaled[:, 2:] + _MARGIN * sides], axis=1)
    grown = boxes.clip(grown, size_wh)
    is_person = np.array([name == _PERSON for name in private.names()], dtype=bool)
    cells = np.where(is_person, _CELLS_PERSON, _CELLS_VEHICLE)
    block = np.maximum(4, np.round(sides[:, 1] / cells))
    found = np.column_stack([np.floor(grown[:, :2]), np.ceil(grown[:, 2:]), block]).astype(np.int64)
    return _outer(found[np.argsort(is_person, kind="stable")])


def _outer(found: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Those of the regions (n, 5) that do not lie within another one of blocks as large; of equal ones the last."""
    low, high = found[:, :2], found[:, 2:4]
    within = (low[:, None] >= low).all(axis=2) & (high[:, None] <= high).all(axis=2)
    within &= found[:, None, 4] <= found[:, 4]
    later = np.triu(np.ones(within.shape, dtype=bool), 1)
    return found[~(within & (later | ~within.T)).any(axis=1)]


def hide(pixels: Rgb, private: Detections, *, in_place: bool = False) -> Rgb:
    """A copy of the upright RGB picture (height, width, 3) with every detection of `private` turned into coarse blocks.

    `private` holds boxes in full-resolution pixels; they are scaled to the picture given. `in_place`: the picture
    itself is changed, where it can be: copying a large one takes as long as encoding it.
    """
    hidden = pixels if in_place and pixels.flags.writeable else pixels.copy()
    for left, top, right, bottom, block in regions(private, (pixels.shape[1], pixels.shape[0])).tolist():
        if right <= left or bottom <= top:
            continue
        inside = hidden[top:bottom, left:right]
        coarse_wh = (max(1, round((right - left) / block)), max(1, round((bottom - top) / block)))
        coarse = cv2.resize(inside, coarse_wh, interpolation=cv2.INTER_AREA)
        inside[:] = cv2.resize(coarse, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    return hidden


def overlaps_person(evidence_xyxy: boxes.FloatArray, private: Detections, size_wh: tuple[int, int]) -> bool:
    """Whether a hidden person or vehicle covers a tenth or more of any evidence box (n, 4), both in full pixels."""
    if not len(evidence_xyxy) or not len(private):
        return False
    hidden = boxes.scale(private.boxes_xyxy, private.size_wh, size_wh)
    shared = boxes.intersection(evidence_xyxy, hidden)
    own = np.maximum(boxes.area(evidence_xyxy), 1e-9)
    return bool((shared / own[:, None] >= 0.1).any())
