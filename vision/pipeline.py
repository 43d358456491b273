"""A whole patrol: read, judge, detect, join, locate, hide people, keep the evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vision.errors import Fault
from vision.sightings import Look, Sighting


@dataclass(frozen=True, slots=True)
class EvidenceFrame:
    """One redacted picture that may be shown.

    `jpeg`: without EXIF, longest side at most 1920 px; `scale`: its pixels per full-resolution pixel, so that
    `EvidenceBox.box_xyxy * scale` are its boxes; `person_over_evidence`: a hidden person or vehicle overlaps a sighting.
    """

    frame: str
    taken_at: datetime | None
    jpeg: bytes
    size_wh: tuple[int, int]
    scale: float
    person_over_evidence: bool


@dataclass(frozen=True, slots=True)
class PatrolResult:
    """All that one patrol yields. `assumptions` are sentences about what was assumed where the input said nothing."""

    model: str
    started_at: datetime | None
    sightings: tuple[Sighting, ...]
    looks: tuple[Look, ...]
    evidence: tuple[EvidenceFrame, ...]
    faults: tuple[Fault, ...]
    assumptions: tuple[str, ...]
    frames_read: int
    frames_judged: int
    frames_skipped: int


Progress = Callable[[int, int], None]


def run_patrol(
    media: Sequence[Path],
    *,
    model: str | Path | None = None,
    track: Path | None = None,
    camera: Path | None = None,
    clock_offset_s: float | None = None,
    progress: Progress | None = None,
) -> PatrolResult:
    """Turn the pictures and videos of one patrol into sightings, looks and redacted evidence."""
    raise RuntimeError("not built yet")
