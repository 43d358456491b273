"""Looks: which ground a stretch of frames saw well enough to judge, whether or not anything stood there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from vision.camera import Camera
from vision.detections import Detections
from vision.geo import FloatArray, LocalFrame, rotation, wrap_deg
from vision.locating.observations import BoolArray
from vision.sightings import Look
from vision.tracks.track import Poses

# A thing of 40 cm spans a dozen pixels of a 1,000-pixel-wide picture at this range.
RANGE_M = 25.0
STRETCH_M, STRETCH_DEG, STRETCH_S = 4.0, 15.0, 5.0
OCCLUDERS = frozenset({"vehicle", "car", "van", "truck", "bus", "tram"})
_COLUMNS = 25
_SHORTEST_M = 1.0


def looks_of(
    times_s: FloatArray,
    poses: Poses,
    detections: Sequence[Detections],
    quality: FloatArray,
    camera: Camera,
    frame: LocalFrame,
) -> tuple[Look, ...]:
    """One look per stretch of frames: the ground before the best frame of each stretch, cut at vehicles.

    All arguments per frame, in order of time; frames without a pose must be left out.
    """
    looks = []
    below, bearings = _nearest(camera), _bearings(camera)
    for stretch in _stretches(times_s, poses):
        best = stretch[int(np.argmax(quality[stretch]))]
        near, far = below, _farthest(detections[best], camera)
        seen = far > near + _SHORTEST_M
        if seen.sum() < 3:
            continue
        ring = _ring(near[seen], far[seen], bearings[seen])
        turn = rotation(90.0 - poses.heading_deg[best], 0.0, 0.0)[:2, :2]
        mount = np.array([camera.mount.forward_m, camera.mount.left_m])
        lon, lat = frame.to_lonlat((ring + mount) @ turn.T + poses.enu_m[best, :2])
        looks.append(
            Look(
                time_s=float(times_s[best]),
                ring_lonlat=tuple((float(x), float(y)) for x, y in zip(lon, lat, strict=True)),
                # what share of the field the vehicles left open is in the ring; blur and light are in the quality
                quality=float(quality[best]),
            )
        )
    return tuple(looks)


def _stretches(times_s: FloatArray, poses: Poses) -> list[list[int]]:
    """Runs of frame indexes over which the vehicle hardly moved or turned."""
    runs: list[list[int]] = []
    for i in range(len(times_s)):
        if runs:
            first = runs[-1][0]
            moved = np.hypot(*(poses.enu_m[i, :2] - poses.enu_m[first, :2]))
            turned = abs(wrap_deg(poses.heading_deg[i] - poses.heading_deg[first]))
            if moved < STRETCH_M and turned < STRETCH_DEG and times_s[i] - times_s[first] < STRETCH_S:
                runs[-1].append(i)
                continue
        runs.append([i])
    return runs


def _columns(camera: Camera) -> FloatArray:
    return np.linspace(0, camera.size_wh[0] - 1, _COLUMNS)


def _bearings(camera: Camera) -> FloatArray:
    """Directions (n, 2) forward, left on the ground of the picture's columns, of length 1."""
    rays = camera.rays(np.column_stack([_columns(camera), np.full(_COLUMNS, camera.size_wh[1] - 1)]))[:, :2]
    return np.asarray(rays / np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-9))


def _nearest(camera: Camera) -> FloatArray:
    """Nearest ground seen in each column of the picture, metres."""
    lowest = np.column_stack([_columns(camera), np.full(_COLUMNS, camera.size_wh[1] - 1)])
    return np.minimum(_ground_range(lowest, camera), RANGE_M)


def _farthest(found: Detections, camera: Camera) -> FloatArray:
    """Farthest ground seen in each column of the picture, metres; vehicles cut it short."""
    scale = np.array(camera.size_wh) / np.array(found.size_wh)
    columns = _columns(camera)
    far = np.full(_COLUMNS, RANGE_M)
    box = found.boxes_xyxy[_occludes(found.class_names)[found.class_ids]] * np.tile(scale, 2)
    feet = _ground_range(np.column_stack([(box[:, 0] + box[:, 2]) / 2, box[:, 3]]), camera)
    for (x_min, _, x_max, _), foot in zip(box, feet, strict=True):
        behind = (columns >= x_min) & (columns <= x_max)
        far[behind] = np.minimum(far[behind], foot)
    return far


@cache
def _occludes(class_names: tuple[str, ...]) -> BoolArray:
    """Which classes (classes,) hide the ground behind them."""
    return np.array([name in OCCLUDERS for name in class_names], dtype=np.bool_)


def _ground_range(pixels: FloatArray, camera: Camera) -> FloatArray:
    """Distance on flat ground at which pixels (n, 2) meet it; infinite at and above the horizon."""
    rays = camera.rays(pixels)
    down = -rays[:, 2]
    across = np.hypot(rays[:, 0], rays[:, 1])
    return np.asarray(np.where(down > 1e-3, camera.height_m * across / np.maximum(down, 1e-3), np.inf))


def _ring(near: FloatArray, far: FloatArray, bearings: FloatArray) -> FloatArray:
    """Closed outline (2n + 1, 2), forward and left of the lens: out along the near edge, back along the far one."""
    outline = np.concatenate([bearings * near[:, None], (bearings * far[:, None])[::-1]])
    return np.concatenate([outline, outline[:1]])
