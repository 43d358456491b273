"""What leaves `vision`: sightings (one standing thing seen in one patrol) and looks (proof that a place was seen)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EvidenceBox:
    """Where the thing is in one of its best frames: `frame` is the frame's name, `box_xyxy` in full-resolution pixels
    after EXIF orientation, `time_s` seconds since the patrol's start."""

    frame: str
    time_s: float
    score: float
    box_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One standing thing, located.

    `longitude_deg`, `latitude_deg` (WGS 84): best estimate of the centre of its footprint; `error_radius_m`: the
    circle about that point touches the footprint nine times of ten; `covariance_m2`: (east², east·north, north²) of
    the point, with the GNSS error that all frames share in it; `shared_sigma_m`: the part of it that all things of
    this pass share (one sigma per axis); `size_m`: estimated width and height, None when they can't be told;
    `frames`: in how many frames it was seen, `seen_in`: the names of these; times in seconds since the patrol's start;
    `score` over all frames, 0 to 1.
    """

    class_name: str
    score: float
    longitude_deg: float
    latitude_deg: float
    error_radius_m: float
    covariance_m2: tuple[float, float, float]
    shared_sigma_m: float
    frames: int
    first_seen_s: float
    last_seen_s: float
    size_m: tuple[float, float] | None
    evidence: tuple[EvidenceBox, ...]  # best first, at most five
    seen_in: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Look:
    """Ground that one stretch of frames saw well enough to judge, whether or not anything stood there.

    `ring_lonlat`: outline of that ground, WGS 84 degrees, first point repeated last; `quality` from 0 to 1: how
    likely a thing standing there would have been noticed as far as blur, light and occlusion go.
    """

    time_s: float
    ring_lonlat: tuple[tuple[float, float], ...]
    quality: float
