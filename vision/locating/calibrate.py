"""How a camera sits, found from ordinary driving.

Things that stand are seen from many places along a track that knows how far the vehicle went: how they move down the
picture tells how high the lens is and how it looks, whatever they are. The joint solution of `together` has the
mount among its unknowns; here it is given room, and solved anew about what it found until nothing changes. What the
drive does not tell stays as it was, with its doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vision.camera import Camera
from vision.detections import FrameDetections
from vision.geo import FloatArray, rotation
from vision.locating.observations import observe
from vision.locating.standing_things import StandingThings, standing_things
from vision.locating.together import S_HEIGHT, S_PITCH, S_ROLL, TILT_MEMORY_M, TILT_SIGMA
from vision.tracks.track import Track

FIELDS = ("pitch_deg", "roll_deg", "height_above_ground_m")
# What a mount that nobody measured may be off by: one sigma in degrees, and as a share of the height.
WIDE_DEG, WIDE_SHARE = 3.0, 0.25
_ROUNDS, _SETTLED_DEG, _SETTLED_SHARE = 6, 0.1, 0.01
# Fewer things than this say nothing; a field is told when its doubt shrinks to this share.
_FEWEST_THINGS, _TOLD_SHARE = 5, 0.4
# The road's own tilt and the model's coarseness: nothing is known better.
_FLOOR_DEG, _FLOOR_SHARE = 0.1, 0.01
# A mount is said to be bad from here on, in degrees and in sigmas.
_BAD_DEG, _BAD_SIGMAS = 1.5, 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One field of the camera file: what it said, what the drive says, one sigma, and whether the drive tells it."""

    field: str
    before: float
    after: float
    sigma: float
    observed: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """The camera as the drive shows it; `things`: how many standing things told it."""

    camera: Camera
    findings: tuple[Finding, ...]
    things: int


def calibrate(
    frames: Sequence[FrameDetections],
    track: Track,
    camera: Camera,
    fields: Sequence[str] = FIELDS,
    *,
    clock_offset_s: float = 0.0,
) -> Calibration:
    """Estimate `fields` of the camera from one drive; the others are taken as they are.

    `clock_offset_s` is added to the frames' times. A field that the drive does not tell keeps its value, and a sigma
    that admits it.
    """
    timed = sorted((frame.time_s + clock_offset_s, frame.frame, i) for i, frame in enumerate(frames))
    times = np.array([time_s for time_s, _, _ in timed])
    known = np.flatnonzero(track.poses_at(times).known) if len(times) else np.zeros(0, dtype=np.int64)
    times, detections = times[known], [frames[timed[k][2]].detections for k in known]
    wide = replace(
        camera.sigma,
        pitch_deg=WIDE_DEG if "pitch_deg" in fields else camera.sigma.pitch_deg,
        roll_deg=WIDE_DEG if "roll_deg" in fields else camera.sigma.roll_deg,
        height_above_ground_m=WIDE_SHARE * camera.height_m
        if "height_above_ground_m" in fields
        else camera.sigma.height_above_ground_m,
    )
    poses = track.poses_at(times)
    lens, found = (
        replace(camera, sigma=wide),
        StandingThings([], np.zeros((0, 9)), np.zeros((0, 5, 5)), np.zeros(0, int)),
    )
    sigma = np.array([WIDE_DEG, WIDE_DEG, WIDE_SHARE])
    for _ in range(_ROUNDS if len(times) else 0):
        found = standing_things(observe(times, detections, poses, lens), track, poses, lens)
        if found.joint is None or len(found.names) < _FEWEST_THINGS:
            break
        shared, spread = found.joint.shared, np.sqrt(np.diag(found.joint.shared_covariance))
        sigma = np.array([np.degrees(spread[S_PITCH]), np.degrees(spread[S_ROLL]), spread[S_HEIGHT]])
        pitch, roll, height = np.degrees(shared[S_PITCH]), np.degrees(shared[S_ROLL]), shared[S_HEIGHT]
        lens = turned(lens, float(pitch), float(roll), float(np.exp(height)))
        if max(abs(pitch), abs(roll)) < _SETTLED_DEG and abs(height) < _SETTLED_SHARE:
            break
    return _findings(camera, lens, sigma, fields, len(found.names))


def turned(camera: Camera, pitch_deg: float, roll_deg: float, height_factor: float) -> Camera:
    """The camera looking that much higher, turned by that roll, and that many times as high above the road."""
    mount = camera.mount
    matrix = rotation(0.0, pitch_deg, roll_deg) @ rotation(mount.yaw_deg, mount.pitch_deg, mount.roll_deg)
    angles = {
        "yaw_deg": float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))),
        "pitch_deg": float(np.degrees(np.arcsin(np.clip(matrix[2, 0], -1, 1)))),
        "roll_deg": float(np.degrees(np.arctan2(matrix[2, 1], matrix[2, 2]))),
    }
    return replace(camera, mount=replace(mount, **angles), height_m=camera.height_m * height_factor)


def _findings(before: Camera, after: Camera, sigma: FloatArray, fields: Sequence[str], things: int) -> Calibration:
    values = {
        "pitch_deg": (before.mount.pitch_deg, after.mount.pitch_deg, sigma[0], WIDE_DEG, _FLOOR_DEG),
        "roll_deg": (before.mount.roll_deg, after.mount.roll_deg, sigma[1], WIDE_DEG, _FLOOR_DEG),
        "height_above_ground_m": (
            before.height_m,
            after.height_m,
            sigma[2] * after.height_m,
            WIDE_SHARE * before.height_m,
            _FLOOR_SHARE * before.height_m,
        ),
    }
    findings = []
    for name in fields:
        was, now, doubt, prior, floor = values[name]
        told = things >= _FEWEST_THINGS and bool(doubt < _TOLD_SHARE * prior)
        findings.append(Finding(name, was, now if told else was, float(max(doubt, floor) if told else prior), told))
    known = {finding.field: finding for finding in findings}
    mount, spread = before.mount, before.sigma
    for name in ("pitch_deg", "roll_deg"):
        if name in known:
            mount, spread = replace(mount, **{name: known[name].after}), replace(spread, **{name: known[name].sigma})
    height = known.get("height_above_ground_m")
    if height is not None:
        spread = replace(spread, height_above_ground_m=height.sigma)
    camera = replace(before, mount=mount, sigma=spread, height_m=height.after if height else before.height_m)
    return Calibration(camera, tuple(findings), things)


def mount_doubts(found: StandingThings, camera: Camera, way_m: float) -> tuple[str, ...]:
    """Sentences on a mount that the drive contradicts: the road's tilt averages out over the `way_m` metres of a drive,
    the mount's does not."""
    if found.joint is None or len(found.names) < _FEWEST_THINGS:
        return ()
    mean = np.degrees(found.joint.frames.tilt.mean(axis=0))
    said = []
    for off, road, own, more, less in (
        (float(mean[0]), TILT_SIGMA[0], camera.sigma.pitch_deg, "higher", "lower"),
        (float(mean[1]), TILT_SIGMA[1], camera.sigma.roll_deg, "turned clockwise", "turned anticlockwise"),
    ):
        expected = np.hypot(np.degrees(road) * min(1.0, np.sqrt(2 * TILT_MEMORY_M / max(way_m, 1.0))), own)
        if abs(off) > max(_BAD_DEG, _BAD_SIGMAS * expected):
            said.append(
                f"The camera seems to look {abs(off):.1f}° {more if off > 0 else less} than its file says, against the"
                " road: measure its mount with `jiejing camera calibrate`."
            )
    return tuple(said)
