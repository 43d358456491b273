"""Plain box arithmetic on (n, 4) arrays of x_min, y_min, x_max, y_max in pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def area(boxes_xyxy: FloatArray) -> FloatArray:
    """Areas, shape (n,), in square pixels; a box turned inside out has none."""
    sides: FloatArray = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    return np.asarray(sides.prod(axis=1))


def intersection(a_xyxy: FloatArray, b_xyxy: FloatArray) -> FloatArray:
    """Shared areas of every box of `a` (n, 4) with every box of `b` (m, 4): shape (n, m), square pixels."""
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    return np.asarray(np.maximum(high - low, 0).prod(axis=2))


def iou(a_xyxy: FloatArray, b_xyxy: FloatArray) -> FloatArray:
    """Intersection over union, shape (n, m), from 0 to 1; 0 where both boxes are empty."""
    shared = intersection(a_xyxy, b_xyxy)
    union = area(a_xyxy)[:, None] + area(b_xyxy)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def clip(boxes_xyxy: FloatArray, size_wh: tuple[int, int]) -> FloatArray:
    """The boxes cut at the picture's edges; `size_wh` in pixels."""
    width, height = size_wh
    limit = np.array([width, height, width, height], dtype=boxes_xyxy.dtype)
    return np.asarray(np.clip(boxes_xyxy, 0, limit))


def scale(boxes_xyxy: FloatArray, from_wh: tuple[int, int], to_wh: tuple[int, int]) -> FloatArray:
    """The boxes of a picture of size `from_wh` in the pixels of the same picture at `to_wh`."""
    factor = np.array([to_wh[0] / from_wh[0], to_wh[1] / from_wh[1]] * 2, dtype=np.float64)
    return np.asarray(boxes_xyxy * factor)
