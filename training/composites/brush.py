"""Brushes: a colour through a mask, a polygon with soft edges, an uneven outline on the ground."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from training.composites.ground import FloatImage, View, f32

Point = tuple[float, float]


def blend(bgr: FloatImage, mask: npt.NDArray[np.float32], colour: npt.ArrayLike) -> None:
    """Mix a colour in where `mask` (h, w) from 0 to 1 says so."""
    weight = mask[..., None]
    bgr += (np.asarray(colour, dtype=np.float32) - bgr) * weight


def blob(view: View, outline: npt.NDArray[np.float32], soft: float) -> npt.NDArray[np.float32]:
    mask = np.zeros((view.size, view.size), dtype=np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 8).astype(np.int32)], 255, cv2.LINE_AA, shift=3)
    if soft > 0.3:
        mask = cv2.GaussianBlur(mask, (0, 0), soft)
    return f32(mask) / np.float32(255)


def outline(
    rng: np.random.Generator, view: View, at: Point, radius_m: float, wild: float, count: int = 14
) -> FloatImage:
    """A closed uneven outline on the ground about (x, z), in window pixels (count, 2)."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(0, 6)
    reach = radius_m * np.clip(1 + wild * rng.standard_normal(count), 0.3, 2.0)
    stretch = rng.uniform(0.5, 1.6)
    points = [
        view.pixel(at[0] + r * stretch * np.cos(a), max(at[1] + r / stretch * np.sin(a), 0.8))
        for r, a in zip(reach, turn, strict=True)
    ]
    return np.asarray(points, dtype=np.float32)
