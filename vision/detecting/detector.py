"""The detector: upright pixels in, `Detections` in full-resolution pixels out. OpenVINO on the CPU; no torch.

A network's output is either dense, (1, 4 + classes, places) with corner boxes in input pixels and a score per class,
and suppressed here (`nms_iou` in model.toml); or (1, n, 6): x_min, y_min, x_max, y_max, score and class id, best first,
from a one-to-one head that needs no suppression.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vision import boxes
from vision.detecting.model import Device, Model, check_input, load_model
from vision.detecting.plausible import on_the_ground
from vision.detecting.runtime import CpuRuntime, GpuRuntime, Runtime
from vision.detecting.suppression import suppress
from vision.detecting.tiling import Tile, merged, tiles_of, whole_ones
from vision.detections import Detections
from vision.pictures.gpu_jpeg import GpuJpegs
from vision.pictures.media import Bytes, Picture, Rgb, decode, picture_header, read_bytes
from vision.pictures.resize import resize
from vision.shipped import model_folder

MAX_DETECTIONS = 300
MinScore = float | tuple[float, ...] | None
Scores = npt.NDArray[np.float64]
# As `media.decode`.
Decode = Callable[[Bytes, Picture, tuple[int, int] | None], Rgb]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture lies in the network's input: scaled to `inner_wh`, at `left_top`, the rest padded."""

    input_wh: tuple[int, int]
    inner_wh: tuple[int, int]
    left_top: tuple[int, int]

    @classmethod
    @lru_cache
    def fit(cls, picture_wh: tuple[int, int], input_wh: tuple[int, int]) -> Letterbox:
        """The largest placement of a picture of `picture_wh` pixels inside the input, centred."""
        ratio = min(input_wh[0] / picture_wh[0], input_wh[1] / picture_wh[1])
        inner = (
            min(input_wh[0], max(1, round(picture_wh[0] * ratio))),
            min(input_wh[1], max(1, round(picture_wh[1] * ratio))),
        )
        return cls(input_wh, inner, ((input_wh[0] - inner[0]) // 2, (input_wh[1] - inner[1]) // 2))

    def place(self, pixels: Rgb, pad: int) -> Rgb:
        """The picture resized and padded: (input height, input width, 3)."""
        if self.inner_wh == self.input_wh:
            return np.ascontiguousarray(resize(pixels, self.inner_wh))
        left, top = self.left_top
        width, height = self.inner_wh
        canvas = np.full((self.input_wh[1], self.input_wh[0], 3), pad, dtype=np.uint8)
        canvas[top : top + height, left : left + width] = resize(pixels, self.inner_wh)
        return canvas

    def undo(self, boxes_xyxy: boxes.FloatArray, picture_wh: tuple[int, int]) -> boxes.FloatArray:
        """Boxes (n, 4) in input pixels as pixels of the picture, cut at its edges."""
        left, top = self.left_top
        moved = boxes_xyxy - np.array([left, top, left, top], dtype=np.float64)
        return boxes.clip(boxes.scale(moved, self.inner_wh, picture_wh), picture_wh)


@lru_cache
def choose_input(picture_wh: tuple[int, int], sizes: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """The input size for a picture: one that enlarges it by no more than a tenth where there is any (more pixels than
    the picture has cost time and show things at sizes never learnt), then the least padding, then the largest; the
    smallest of the best padded where all enlarge it."""

    def worth(size: tuple[int, int]) -> tuple[bool, float, int]:
        inner = Letterbox.fit(picture_wh, size).inner_wh
        area = size[0] * size[1]
        enlarged = inner[0] > 1.1 * picture_wh[0]
        return not enlarged, round(inner[0] * inner[1] / area, 1), -area if enlarged else area

    return max(sizes, key=worth)


class Detector:
    """A loaded model. Safe to share between threads. `decode`: what decodes pictures for it, as `media.decode`."""

    def __init__(
        self,
        model: Model,
        *,
        threads: int = 2,
        cores: int | None = None,
        input_wh: tuple[int, int] | None = None,
        exact: bool = False,
        device: Device = "cpu",
        tiles: bool = False,
    ) -> None:
        """As `load`, for a model that is loaded; `cores` for all threads together (one each); `exact`: what is
        not INT8 is computed in float32."""
        self.model = model
        self._tiles = tiles
        self._sizes = (input_wh,) if input_wh else model.input_sizes
        self.threads = max(1, threads)
        self._runtime: Runtime
        self.decode: Decode = decode
        if device == "gpu":
            self._runtime = GpuRuntime(model)
            with contextlib.suppress(ImportError, RuntimeError):
                self.decode = GpuJpegs().decode
        else:
            self._runtime = CpuRuntime(model, threads=self.threads, cores=max(self.threads, cores or 0), exact=exact)

    @classmethod
    def load(
        cls,
        folder: str | Path | None = None,
        *,
        threads: int = 2,
        input_wh: tuple[int, int] | None = None,
        device: Device = "cpu",
        tiles: bool = False,
    ) -> Detector:
        """Load a model by folder or shipped name; the default model without one.

        `threads`: how many threads will call at once, each served by one core; `input_wh` (width, height) overrides
        the model's own input sizes; `tiles`: pictures larger than the input are looked at in parts too, at their full
        resolution (`vision.detecting.tiling`).

        Raises ModelError when the folder is unknown, incomplete or fails its hashes, or when
        there is no such device.
        """
        check_input(input_wh)
        return cls(load_model(model_folder(folder)), threads=threads, input_wh=input_wh, device=device, tiles=tiles)

    def input_for(self, picture_wh: tuple[int, int]) -> tuple[int, int]:
        """The (width, height) of the input that a picture of this size is seen at."""
        return choose_input(picture_wh, self._sizes)

    def prepare(self, input_wh: tuple[int, int]) -> None:
        """Make ready in this thread what pictures at an input size need, before the first of them comes."""
        self._runtime.prepare(input_wh)

    def detect(
        self,
        pixels: Rgb,
        *,
        size_wh: tuple[int, int] | None = None,
        min_score: MinScore = None,
        input_wh: tuple[int, int] | None = None,
    ) -> Detections:
        """Find things in upright RGB pixels (height, width, 3).

        `size_wh`: size of the full-resolution picture when `pixels` were decoded smaller; boxes come back in its
        pixels. `min_score`, for all classes or one per class, replaces the model's thresholds; `input_wh` the input
        size that fits the picture best.
        """
        size_wh = size_wh or (pixels.shape[1], pixels.shape[0])
        wanted = self.model.thresholds if min_score is None else min_score
        least: Scores = np.broadcast_to(np.asarray(wanted, dtype=np.float64), len(self.model.classes))
        rows = self._rows(pixels, size_wh, input_wh or self.input_for(size_wh), least)
        if self._tiles and input_wh is None:
            parts = tiles_of(size_wh, self.input_for(size_wh)) if pixels.shape[1::-1] == size_wh else []
            looks = [(part, self._part(pixels, part, least)) for part in parts]
            rows = merged([rows, *(whole_ones(found, part, size_wh) for part, found in looks)], MAX_DETECTIONS)
        return self._detections(rows, size_wh, least)

    def _part(self, pixels: Rgb, part: Tile, least: Scores) -> boxes.FloatArray:
        """What one tile of the picture shows, in pixels of the tile."""
        left, top, right, bottom = part
        size_wh = (right - left, bottom - top)
        return self._rows(pixels[top:bottom, left:right], size_wh, self.input_for(size_wh), least)

    def _rows(
        self, pixels: Rgb, size_wh: tuple[int, int], input_wh: tuple[int, int], least: Scores
    ) -> boxes.FloatArray:
        """One look: rows (n, 6) of x_min, y_min, x_max, y_max in pixels of a picture of `size_wh`, score, class id."""
        letterbox = Letterbox.fit(size_wh, input_wh)
        output = self._runtime.infer(letterbox.place(pixels, self.model.pad))
        if self.model.nms_iou is None:
            rows = np.asarray(output[:MAX_DETECTIONS], dtype=np.float64)
        else:
            rows = suppress(output, least, self.model.nms_iou, MAX_DETECTIONS)
        return np.hstack((letterbox.undo(rows[:, :4], size_wh), rows[:, 4:]))

    def _detections(self, rows: boxes.FloatArray, size_wh: tuple[int, int], least: Scores) -> Detections:
        scores = np.clip(rows[:, 4], 0.0, 1.0)
        class_ids = rows[:, 5].round().astype(np.int64)
        placed = rows[:, :4]
        has_area = (placed[:, 2] > placed[:, 0]) & (placed[:, 3] > placed[:, 1])
        keep = np.flatnonzero((scores >= least[class_ids]) & has_area)
        keep = keep[np.argsort(-scores[keep], kind="stable")]
        found = Detections(
            np.asarray(placed[keep], dtype=np.float64),
            np.asarray(scores[keep], dtype=np.float64),
            class_ids[keep],
            size_wh,
            self.model.id,
            self.model.classes,
        )
        stays = on_the_ground(found)
        return found if stays.all() else found.where(stays)

    def detect_bytes(self, data: bytes, *, name: str = "picture", min_score: float | None = None) -> Detections:
        """Find things in an encoded picture. Raises MediaError when it cannot be decoded."""
        picture = picture_header(data, Path(name))
        pixels = self.decode(data, picture, self.decoded_wh(picture.size_wh))
        return self.detect(pixels, size_wh=picture.size_wh, min_score=min_score)

    def detect_file(self, path: Path, *, min_score: float | None = None) -> Detections:
        """Find things in a picture file. Raises MediaError when it cannot be read or decoded."""
        return self.detect_bytes(read_bytes(path), name=str(path), min_score=min_score)

    def decoded_wh(self, picture_wh: tuple[int, int]) -> tuple[int, int]:
        """The least size (width, height) at which a picture need be decoded to be looked at."""
        return picture_wh if self._tiles else Letterbox.fit(picture_wh, self.input_for(picture_wh)).inner_wh
