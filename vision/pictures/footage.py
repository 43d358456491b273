"""Is a picture good enough to judge? Darkness, glare and blur are measured on a small grey copy."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vision.pictures.packed import Packed

_SIDE_PX = 320
# Measured on a 320 px copy: mean grey level under which, and share of burnt pixels over which, nothing can be judged.
_TOO_DARK, _TOO_BRIGHT_SHARE = 12.0, 0.85
# Variance of the Laplacian of the 320 px copy; sharp street pictures lie in the hundreds and thousands.
_NO_DETAIL, _SHARP = 4.0, 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`quality` from 0 (useless) to 1; `reason` says why a picture can't be judged, empty when it can."""

    quality: float
    reason: str = ""


def judge(picture: Packed) -> Verdict:
    """Judge an upright picture."""
    width, height = picture.size_wh
    factor = _SIDE_PX / max(height, width)
    grey = picture.grey((max(1, round(width * factor)), max(1, round(height * factor))))
    brightness = float(grey.mean())
    if brightness < _TOO_DARK:
        return Verdict(0.0, "too dark to judge")
    if float((grey >= 250).mean()) > _TOO_BRIGHT_SHARE:
        return Verdict(0.0, "overexposed: nearly all white")
    detail = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    if detail < _NO_DETAIL:
        return Verdict(0.0, "no detail: fog, a covered lens or heavy blur")
    sharp = float(np.clip(np.log(detail / _NO_DETAIL) / np.log(_SHARP / _NO_DETAIL), 0, 1))
    light = float(np.clip((brightness - _TOO_DARK) / 40.0, 0, 1))
    return Verdict(round(min(sharp, light), 3))
