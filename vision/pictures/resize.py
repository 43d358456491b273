"""Pictures made smaller, the one way that detecting, training and showing share."""

from __future__ import annotations

import cv2
import numpy as np

from vision.pictures.media import Rgb


def resize(pixels: Rgb, size_wh: tuple[int, int]) -> Rgb:
    """RGB pixels (height, width, 3), or grey ones (height, width), at another (width, height); the same array when that
    is its size.

    Halved by means of four as long as that fits, which has fast code and is what a JPEG decoded at a fraction of its
    size looks like; the rest, a factor below two, is bilinear. An odd last row or column is dropped in halving.
    """
    width, height = size_wh
    while pixels.shape[1] >= 2 * width and pixels.shape[0] >= 2 * height:
        half_h, half_w = pixels.shape[0] // 2, pixels.shape[1] // 2
        pixels = cv2.resize(pixels[: 2 * half_h, : 2 * half_w], (half_w, half_h), interpolation=cv2.INTER_AREA)
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(cv2.resize(pixels, size_wh, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
