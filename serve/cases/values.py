"""The values the case rules speak of. They are the rules' own: vision's are translated in `serve/jobs`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Place:
    """A point on the ground with its error.

    `longitude_deg`, `latitude_deg`: WGS 84; `covariance_m2`: (east², east·north, north²) in square metres;
    `error_radius_m`: the circle that touches the thing's footprint nine times of ten.
    """

    longitude_deg: float
    latitude_deg: float
    covariance_m2: tuple[float, float, float]
    error_radius_m: float


@dataclass(frozen=True, slots=True)
class Sighting:
    """One standing thing seen in one patrol. `score` 0 to 1 over all frames; `size_m`: width and height or None;
    `seen_in`: the names of the frames that show it: two sightings that no frame shows together may be one thing."""

    id: str
    patrol_id: str
    class_name: str
    score: float
    place: Place
    shared_sigma_m: float
    frames: int
    first_seen: datetime
    last_seen: datetime
    size_m: tuple[float, float] | None = None
    seen_in: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Look:
    """Ground that one patrol saw well enough to judge. `ring_lonlat`: closed outline in WGS 84 degrees;
    `quality` 0 to 1: how likely a thing standing there would have been noticed."""

    patrol_id: str
    seen_at: datetime
    ring_lonlat: tuple[tuple[float, float], ...]
    quality: float


def stable_id(prefix: str, *parts: object) -> str:
    """An id that depends on `parts` alone, so that doing a thing twice names it once: the prefix and 16 hex digits."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()
    return prefix + digest[:16]
