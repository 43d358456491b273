"""Pixels held at half their room: every brightness, and a colour for each four, which is what a JPEG keeps of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from vision.pictures.media import Rgb
from vision.pictures.resize import resize

# Where the planes have black, and how many steps there are from there to white.
_BLACK, _STEPS = 16, 219


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Planes of a picture of `size_wh` pixels: brightness, and both colour differences at half its size (ITU-R BT.601,
    4:2:0). An odd side is made even by repeating its last row or column."""

    planes: npt.NDArray[np.uint8]
    size_wh: tuple[int, int]

    @classmethod
    def of(cls, pixels: Rgb) -> Packed:
        """RGB pixels (height, width, 3), packed."""
        height, width = pixels.shape[:2]
        if height % 2 or width % 2:
            pixels = np.asarray(cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)
        return cls(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420), np.uint8), (width, height))

    def pixels(self) -> Rgb:
        """RGB pixels (height, width, 3), nearly those that were packed."""
        width, height = self.size_wh
        whole = np.asarray(cv2.cvtColor(self.planes, cv2.COLOR_YUV2RGB_I420), np.uint8)
        return np.ascontiguousarray(whole[:height, :width])

    def grey(self, size_wh: tuple[int, int]) -> npt.NDArray[np.float32]:
        """A small grey copy (height, width), 0 to 255."""
        brightness = resize(self.planes[: self.size_wh[1], : self.size_wh[0]], size_wh)
        return np.asarray(np.clip((brightness.astype(np.float32) - _BLACK) * (255 / _STEPS), 0, 255))
