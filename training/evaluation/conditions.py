"""In what light and how sharp a picture is, so that figures can be told apart by it.

Measured on the picture as a 640×640 input shows it, so that cameras of any resolution are held against the same cuts.
The cuts are fixed, not the quantiles of the pictures at hand: a figure "in the dark" must mean the same next year. They
are near the tenth and eightieth percentile (light) and the terciles (sharpness) of the validation pictures of
street-waste.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from training.decoding import fitted

SIDE = 640
# Upper ends; the last step is open. Mean luminance from 0 to 255; variance of the Laplacian of the luminance.
LIGHT: tuple[tuple[str, float], ...] = (("dark", 100.0), ("normal", 140.0), ("bright", float("inf")))
SHARPNESS: tuple[tuple[str, float], ...] = (("blurred", 350.0), ("medium", 650.0), ("sharp", float("inf")))


@dataclass(frozen=True, slots=True)
class Conditions:
    """Mean luminance (0 to 255) and variance of the Laplacian of one picture."""

    luminance: float
    laplacian: float

    @property
    def light(self) -> str:
        """dark, normal or bright."""
        return next(name for name, end in LIGHT if self.luminance < end)

    @property
    def sharpness(self) -> str:
        """blurred, medium or sharp."""
        return next(name for name, end in SHARPNESS if self.laplacian < end)


def conditions(path: Path) -> Conditions:
    """What a picture file is like. Raises MediaError when it cannot be read."""
    placed, _ = fitted(path, SIDE)
    grey = cv2.cvtColor(placed, cv2.COLOR_RGB2GRAY)
    return Conditions(float(grey.mean()), float(cv2.Laplacian(grey, cv2.CV_64F).var()))
