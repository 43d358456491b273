"""Boxes and labels drawn on a picture, for people who check results by eye."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import cv2
import simplejpeg

from vision import boxes
from vision.detections import Detections
from vision.pictures.media import Rgb
from vision.pictures.resize import resize
from vision.sightings import Sighting

# Evidence and drawings need no more to be judged by eye, and not much less.
SHOWN_LONGEST_PX, SHOWN_ENOUGH_PX = 1920, 1280
# One colour per group of classes, RGB; dark text is readable on all of them.
_COLOURS = {
    "garbage": (240, 90, 60),
    "overflow": (255, 150, 40),
    "bin": (90, 190, 90),
    "person": (170, 170, 170),
    "vehicle": (170, 170, 170),
}
_STRUCTURE_COLOUR = (230, 200, 60)


def draw(pixels: Rgb, detections: Detections) -> Rgb:
    """A copy of the upright RGB picture (height, width, 3) with each detection's box, class and score.

    Boxes are scaled when the picture is smaller than the full-resolution one that the detections speak of.
    """
    drawn = pixels.copy()
    height, width = drawn.shape[:2]
    thickness = max(1, round(max(width, height) / 500))
    scaled = boxes.scale(detections.boxes_xyxy, detections.size_wh, (width, height)).round().astype(int)
    for box, name, score in zip(scaled.tolist(), detections.names(), detections.scores, strict=True):
        colour = _COLOURS.get(name, _STRUCTURE_COLOUR)
        x_min, y_min, x_max, y_max = box
        cv2.rectangle(drawn, (x_min, y_min), (x_max, y_max), colour, thickness)
        text, size = f"{name} {score:.2f}", 0.35 * thickness**0.5 + 0.15
        (text_w, text_h), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        top = max(0, y_min - text_h - base - 2)
        cv2.rectangle(drawn, (x_min, top), (x_min + text_w + 4, top + text_h + base + 2), colour, -1)
        at = (x_min + 2, top + text_h + 1)
        cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (20, 20, 20), 1, cv2.LINE_AA)
    return drawn


def to_jpeg(pixels: Rgb, quality: int = 85) -> bytes:
    """The picture as JPEG without any metadata."""
    return bytes(simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="420"))


def shrink(pixels: Rgb, longest_px: int) -> tuple[Rgb, float]:
    """The picture with its longest side at most `longest_px`, and its pixels per pixel of the one given."""
    height, width = pixels.shape[:2]
    factor = min(1.0, longest_px / max(width, height))
    if factor == 1.0:
        return pixels, 1.0
    small_wh = (max(1, round(width * factor)), max(1, round(height * factor)))
    return resize(pixels, small_wh), factor


def shown_wh(size_wh: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) to show a picture at: the largest number of eighths of its own that is small enough, because
    a JPEG is decoded straight to those; where that would be too small, just small enough."""
    longest = max(size_wh)
    eighths = min(8, 8 * SHOWN_LONGEST_PX // longest)
    if eighths * longest >= 8 * min(SHOWN_ENOUGH_PX, longest):
        return -(-size_wh[0] * eighths // 8), -(-size_wh[1] * eighths // 8)
    factor = SHOWN_LONGEST_PX / longest
    return max(1, round(size_wh[0] * factor)), max(1, round(size_wh[1] * factor))


class Evidence(Protocol):
    """A redacted picture: its frame's name, its JPEG, and its pixels per full-resolution pixel."""

    @property
    def frame(self) -> str: ...
    @property
    def jpeg(self) -> bytes: ...
    @property
    def size_wh(self) -> tuple[int, int]: ...
    @property
    def scale(self) -> float: ...


def draw_evidence(evidence: Sequence[Evidence], sightings: Sequence[Sighting]) -> Iterator[tuple[str, bytes]]:
    """Each evidence frame's name and JPEG with the boxes of the sightings that rest on it."""
    for picture in evidence:
        rows = [
            (sighting.class_name, box.score, box.box_xyxy)
            for sighting in sightings
            for box in sighting.evidence
            if box.frame == picture.frame
        ]
        full_wh = (round(picture.size_wh[0] / picture.scale), round(picture.size_wh[1] / picture.scale))
        names = tuple(sorted({name for name, _, _ in rows}))
        pixels = simplejpeg.decode_jpeg(picture.jpeg, "RGB")
        yield picture.frame, to_jpeg(draw(pixels, Detections.of(rows, full_wh, class_names=names)))
