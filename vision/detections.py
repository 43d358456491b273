"""What the detector found in one picture: one value of parallel arrays, checked when built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from vision.taxonomy import CLASSES


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Detections of one picture, best score first.

    `boxes_xyxy` (n, 4) float64: x_min, y_min, x_max, y_max in pixels of the full-resolution picture after EXIF
    orientation; `scores` (n,) float64 from 0 to 1; `class_ids` (n,) int64, indexes into `class_names`;
    `size_wh`: that picture's width and height in pixels; `model`: the id of the model that saw them.

    Raises ValueError when a shape, a score or a class id is wrong.
    """

    boxes_xyxy: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    class_ids: npt.NDArray[np.int64]
    size_wh: tuple[int, int]
    model: str = ""
    class_names: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes_xyxy.shape != (n, 4):
            raise ValueError(f"boxes_xyxy: expected shape ({n}, 4) to match {n} scores, got {self.boxes_xyxy.shape}")
        if self.class_ids.shape != (n,):
            raise ValueError(f"class_ids: expected shape ({n},) to match {n} scores, got {self.class_ids.shape}")
        if n and not (np.isfinite(self.boxes_xyxy).all() and np.isfinite(self.scores).all()):
            raise ValueError("boxes and scores must be finite")
        if n and (self.scores.min() < 0 or self.scores.max() > 1):
            raise ValueError(f"scores: expected 0 to 1, got {self.scores.min():g} to {self.scores.max():g}")
        if n and (self.class_ids.min() < 0 or self.class_ids.max() >= len(self.class_names)):
            raise ValueError(f"class_ids: expected 0 to {len(self.class_names) - 1}, got {self.class_ids.max()}")

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls, size_wh: tuple[int, int], model: str = "") -> Detections:
        """A picture in which nothing was found."""
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64), size_wh, model)

    @classmethod
    def of(
        cls,
        rows: Sequence[tuple[str, float, tuple[float, float, float, float]]],
        size_wh: tuple[int, int],
        model: str = "",
        class_names: tuple[str, ...] = CLASSES,
    ) -> Detections:
        """Build from plain rows of (class name, score, box)."""
        ids = {name: index for index, name in enumerate(class_names)}
        return cls(
            np.array([row[2] for row in rows], dtype=np.float64).reshape(len(rows), 4),
            np.array([row[1] for row in rows], dtype=np.float64),
            np.array([ids[row[0]] for row in rows], dtype=np.int64),
            size_wh,
            model,
            class_names,
        )

    def names(self) -> list[str]:
        """The class name of each detection."""
        return [self.class_names[i] for i in self.class_ids]

    def where(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Detections:
        """Only the detections that a mask (n,) or an index array selects."""
        return Detections(
            self.boxes_xyxy[keep], self.scores[keep], self.class_ids[keep], self.size_wh, self.model, self.class_names
        )

    def among(self, names: frozenset[str]) -> npt.NDArray[np.bool_]:
        """Which detections (n,) are of the named classes."""
        return _wanted(self.class_names, names)[self.class_ids]

    def of_classes(self, names: frozenset[str]) -> Detections:
        """Only the detections of the named classes."""
        return self.where(self.among(names))


@cache
def _wanted(class_names: tuple[str, ...], names: frozenset[str]) -> npt.NDArray[np.bool_]:
    """Which classes (classes,) are named."""
    return np.array([name in names for name in class_names], dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class FrameDetections:
    """What was found in one frame. `time_s`: seconds since the track's start; `quality`: 0 to 1, how well it shows;
    `ready`: whether it has been made ready to be shown."""

    frame: str
    time_s: float
    detections: Detections
    quality: float = 1.0
    ready: bool = False
