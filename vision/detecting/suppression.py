"""From a dense output to detections: greedy non-maximum suppression, class by class."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# A picture never has this many things; what lies below the strongest thousands only costs time when all is asked for.
MOST_CANDIDATES = 8000


# The binding takes arrays; its type information names lists only.
_nms: Any = cv2.dnn.NMSBoxesBatched


def suppress(
    dense: npt.NDArray[np.float32], least: npt.NDArray[np.float64] | float, overlap: float, most: int
) -> npt.NDArray[np.float64]:
    """The rows (n, 6) that survive, best first: x_min, y_min, x_max, y_max, score, class id.

    `dense` (4 + classes, places): a box in input pixels and a score per class at each place of the network's grids.
    `least`: the least score, one for all or one per class; `overlap`: of two boxes of one class whose intersection over
    union is above it the weaker goes (Neubeck and Van Gool, ICPR 2006); `most`: how many rows at most.
    """
    scores = dense[4:]
    strong = scores >= np.reshape(least, (-1, 1)).astype(np.float32)
    class_ids, places = np.divmod(np.flatnonzero(strong), scores.shape[1])
    values = scores[class_ids, places]
    if len(values) > MOST_CANDIDATES:
        best = np.argpartition(-values, MOST_CANDIDATES)[:MOST_CANDIDATES]
        class_ids, places, values = class_ids[best], places[best], values[best]
    if not len(values):
        return np.zeros((0, 6))
    corners = dense[:4, places].T.astype(np.float64)
    order = strongest(corners, values, class_ids, overlap, most)
    return np.hstack((corners[order], values[order, None], class_ids[order, None])).astype(np.float64)


def strongest(
    corners: npt.NDArray[np.floating],
    scores: npt.NDArray[np.floating],
    class_ids: npt.NDArray[np.integer],
    overlap: float,
    most: int,
) -> npt.NDArray[np.intp]:
    """Which boxes survive, best first: indices into `corners` (n, 4), `scores` and `class_ids` (n,); see `suppress`."""
    if not len(scores):
        return np.zeros(0, np.intp)
    rectangles = np.hstack((corners[:, :2], corners[:, 2:] - corners[:, :2]))
    kept = np.asarray(_nms(rectangles, scores, class_ids.astype(np.int32), 0.0, overlap)).reshape(-1)
    return kept[np.argsort(-scores[kept], kind="stable")][:most].astype(np.intp)
