"""People and vehicles made unrecognisable before anything is kept for viewing."""

from __future__ import annotations

import cv2
import numpy as np

from vision import boxes
from vision.detections import Detections
from vision.media import Rgb

# Far below the threshold for showing: hiding a lamp post costs nothing, showing a face does.
HIDE_MIN_SCORE = 0.05
_MARGIN = 0.08  # boxes are seldom exact: this share of the box on each side is hidden too
# A head is about an eighth of a standing person, a number plate about a sixteenth of a car's box: one cell each.
_CELLS_PERSON, _CELLS_VEHICLE = 8, 16
_PERSON_NAMES = frozenset({"person"})
# The second row names what a general-purpose model calls vehicles.
_VEHICLE_NAMES = frozenset({"vehicle", "car", "truck", "bus", "motorcycle", "van"})


def private_only(detections: Detections) -> Detections:
    """The detections that must be hidden: people and vehicles above the hiding threshold."""
    found = detections.of_classes(_PERSON_NAMES | _VEHICLE_NAMES)
    return found.where(found.scores >= HIDE_MIN_SCORE)


def hide(pixels: Rgb, private: Detections) -> Rgb:
    """A copy of the upright RGB picture (height, width, 3) with every detection of `private` turned into coarse blocks.

    `private` holds boxes in full-resolution pixels; they are scaled to the picture given. Vehicles are hidden first, so
    that a person in front of one ends up in the coarser blocks of a person.
    """
    height, width = pixels.shape[:2]
    hidden = pixels.copy()
    scaled = boxes.scale(private.boxes_xyxy, private.size_wh, (width, height))
    is_person = np.array([name in _PERSON_NAMES for name in private.names()], dtype=bool)
    for person in (False, True):
        for box in scaled[is_person == person] if len(scaled) else ():
            _blocks(hidden, box, _CELLS_PERSON if person else _CELLS_VEHICLE)
    return hidden


def _blocks(pixels: Rgb, box_xyxy: boxes.FloatArray, cells: int) -> None:
    """Average the box over about `cells` blocks along its height, in place."""
    x_min, y_min, x_max, y_max = box_xyxy
    margin_x, margin_y = (x_max - x_min) * _MARGIN, (y_max - y_min) * _MARGIN
    grown = np.array([[x_min - margin_x, y_min - margin_y, x_max + margin_x, y_max + margin_y]])
    left, top, right, bottom = boxes.clip(grown, (pixels.shape[1], pixels.shape[0]))[0]
    left, top, right, bottom = int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))
    if right <= left or bottom <= top:
        return
    cell = max(4.0, (y_max - y_min) / cells)
    inside = pixels[top:bottom, left:right]
    coarse_wh = (max(1, round((right - left) / cell)), max(1, round((bottom - top) / cell)))
    coarse = cv2.resize(inside, coarse_wh, interpolation=cv2.INTER_AREA)
    inside[:] = cv2.resize(coarse, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)


def overlaps_person(evidence_xyxy: boxes.FloatArray, private: Detections, size_wh: tuple[int, int]) -> bool:
    """Whether a hidden person or vehicle covers a tenth or more of any evidence box (n, 4), both in full pixels."""
    if not len(evidence_xyxy) or not len(private):
        return False
    hidden = boxes.scale(private.boxes_xyxy, private.size_wh, size_wh)
    shared = boxes.intersection(evidence_xyxy, hidden)
    own = np.maximum(boxes.area(evidence_xyxy), 1e-9)
    return bool((shared / own[:, None] >= 0.1).any())
