"""A small street with known truth: things on flat or tilted ground, seen by a camera that drives past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision.camera import Camera, Mount
from vision.detections import Detections, FrameDetections
from vision.geo import FloatArray, LocalFrame, rotation
from vision.tracks.fixes import Fix
from vision.tracks.track import Track, track_from_fixes

ORIGIN = LocalFrame(120.31, 31.49, 5.0)
CAMERA = Camera(
    size_wh=(1200, 800),
    focal_xy=(900.0, 900.0),
    centre_xy=(599.5, 399.5),
    height_m=1.7,
    mount=Mount(forward_m=1.0, left_m=-0.2, up_m=0.3, pitch_deg=-3.0),
)


@dataclass(frozen=True, slots=True)
class Thing:
    """An upright cuboid on the ground: centre at time 0, velocity, size and yaw (degrees, anticlockwise from east)."""

    name: str
    east_m: float
    north_m: float
    size_m: tuple[float, float, float] = (0.6, 0.6, 1.0)
    yaw_deg: float = 0.0
    velocity_mps: tuple[float, float] = (0.0, 0.0)
    base_m: float = 0.0

    def corners(self, time_s: float) -> FloatArray:
        """(8, 3) east, north, up above the road."""
        long, wide, tall = self.size_m
        signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0.0, 1.0)])
        turned = (signs * [long, wide, tall]) @ rotation(self.yaw_deg, 0.0, 0.0).T
        moved = np.array([self.east_m, self.north_m]) + np.array(self.velocity_mps) * time_s
        return turned + np.append(moved, self.base_m)


def drive(seconds: float = 8.0, rate_hz: float = 10.0, speed_mps: float = 5.0) -> tuple[FloatArray, FloatArray]:
    """Times (k,) and places (k, 2) of a vehicle that drives north from the origin."""
    times = np.arange(0.0, seconds, 1 / rate_hz)
    return times, np.stack([np.zeros_like(times), times * speed_mps], axis=1)


def surveyed_track(times: FloatArray, places: FloatArray, accuracy_m: float = 0.03) -> Track:
    """The track with attitude that an inertial system would log."""
    longitude, latitude = ORIGIN.to_lonlat(places)
    fixes = [
        Fix(float(t), float(x), float(y), 5.0, accuracy_m, heading_deg=0.0, pitch_deg=0.0, roll_deg=0.0)
        for t, x, y in zip(times, longitude, latitude, strict=True)
    ]
    return track_from_fixes(fixes)


def consumer_track(times: FloatArray, places: FloatArray, seed: int, accuracy_m: float = 1.5) -> Track:
    """One fix a second, position only, with an error that wanders slowly."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(times[0], times[-1] + 1e-9, 1.0)
    keep = np.exp(-1 / 30.0)
    error = rng.normal(0, accuracy_m, 2)
    fixes = []
    for t in seconds:
        place = np.array([np.interp(t, times, places[:, axis]) for axis in (0, 1)])
        x, y = ORIGIN.to_lonlat(place + error + rng.normal(0, 0.3, 2))
        fixes.append(Fix(float(t), float(x), float(y), accuracy_m=accuracy_m))
        error = keep * error + rng.normal(0, accuracy_m * np.sqrt(1 - keep**2), 2)
    return track_from_fixes(fixes)


def frames_of(
    things: list[Thing],
    times: FloatArray,
    places: FloatArray,
    camera: Camera = CAMERA,
    *,
    tilt_deg: tuple[float, float] = (0.0, 0.0),
    jitter_px: float = 0.0,
    miss: float = 0.0,
    seed: int = 0,
) -> list[FrameDetections]:
    """What a detector would find in each frame; `tilt_deg`: pitch and roll of the vehicle against the road."""
    rng = np.random.default_rng(seed)
    to_vehicle = rotation(0.0, *tilt_deg).T
    limit = np.array([*camera.size_wh, *camera.size_wh], float) - 1
    frames = []
    for k, (time_s, place) in enumerate(zip(times, places, strict=True)):
        lens = place + np.array([-camera.mount.left_m, camera.mount.forward_m])  # heading north
        rows = []
        for thing in things:
            corners = thing.corners(float(time_s))
            ahead = np.stack(
                [corners[:, 1] - lens[1], lens[0] - corners[:, 0], corners[:, 2] - camera.height_m], axis=1
            )
            in_vehicle = ahead @ to_vehicle.T
            if camera.depth(in_vehicle).min() < 0.5 or rng.random() < miss:
                continue
            pixels = camera.project(in_vehicle)
            box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
            cut = np.clip(box, 0, limit)
            area = (cut[2] - cut[0]) * (cut[3] - cut[1])
            if area < 0.3 * (box[2] - box[0]) * (box[3] - box[1]) or cut[2] - cut[0] < 8:
                continue
            cut = cut + rng.normal(0, jitter_px, 4) if jitter_px else cut
            rows.append((thing.name, 0.9, (float(cut[0]), float(cut[1]), float(cut[2]), float(cut[3]))))
        frames.append(
            FrameDetections(f"{k:04d}", float(time_s), Detections.of(rows, camera.size_wh, class_names=NAMES))
        )
    return frames


NAMES = ("garbage", "bin", "overflow", "awning", "car", "van", "stall")
