"""Where the camera stands for training pictures: in a hand before something close, or on a vehicle in its lane."""

from __future__ import annotations

import math

import numpy as np

from training.simulate.camera import Camera, Mount, View, looking, mounted, rotation
from training.simulate.kit import Kit
from training.simulate.mesh import Array
from training.simulate.scene import Scene
from vision.taxonomy import RAISED

# Which things a photographer walks up to, and how often against each other.
INTEREST = {
    "garbage": 1.0,
    "bin": 0.7,
    "overflow": 1.2,
    "awning": 0.35,
    "stall": 2.2,
    "shed": 2.4,
    "hoarding": 1.4,
    "material_pile": 2.6,
    "projecting_sign": 0.25,
    "signboard": 0.1,
    "window_advert": 0.3,
    "person": 0.1,
    "vehicle": 0.15,
}


def blocked(scene: Scene, spot: Array) -> bool:
    """Whether something taller than a knee stands within 0.7 m of a place."""
    for thing in scene.things:
        if not thing.class_name:
            continue
        corners = scene.corners(thing)
        if abs(corners[0, 0] - spot[0]) > 8 or abs(corners[0, 1] - spot[1]) > 8:
            continue
        near = np.hypot(corners[:, 0] - spot[0], corners[:, 1] - spot[1]) < 0.7
        if (corners[near, 2] > spot[2] + 0.4).any() and (corners[near, 2] < spot[2] + 2.1).any():
            return True
    return False


def hand_held(kit: Kit, scene: Scene, size_wh: tuple[int, int]) -> View:
    """Eye level, 2 to 8 m before a thing, on the open ground of the street, the thing not always in the middle."""
    street = scene.street
    close = [t for t in scene.things if t.class_name and -3 < along(scene, t.matrix[:3, 3]) < street.length + 3]
    weights = np.array([INTEREST[t.class_name] for t in close])
    weights /= weights.sum()
    for _ in range(60):
        thing = close[int(kit.rng.choice(len(close), p=weights))]
        corners = scene.corners(thing)
        aim = (corners.min(axis=0) + corners.max(axis=0)) / 2
        s = along(scene, aim)
        size = float((corners.max(axis=0) - corners.min(axis=0)).max())
        reach = kit.between(2.0, 5.0) + (0.6 * size if thing.class_name not in RAISED else 2.0)
        d_thing = across(scene, aim, s)
        side = 1 if d_thing > 0 else -1
        turn = kit.between(-1.2, 1.2)
        s_at, d_at = s + reach * math.sin(turn), d_thing - side * reach * math.cos(turn)
        limit = street.half + street.pavement[1 if d_at < 0 else 0] - 0.5
        if abs(d_at) > limit:
            continue
        spot = street.world(s_at, d_at)
        if blocked(scene, spot):
            continue
        lens = spot + np.array([0, 0, kit.between(1.35, 1.7)])
        line = aim - lens
        yaw = math.degrees(math.atan2(line[1], line[0])) + kit.rng.normal(0, 7)
        pitch = math.degrees(math.atan2(line[2], math.hypot(line[0], line[1]))) + kit.rng.normal(1, 4)
        camera = Camera.wide(*size_wh, kit.between(52, 74), float(lens[2] - spot[2]))
        return looking(camera, lens, yaw, pitch, kit.rng.normal(0, 1.5))
    return on_vehicle(kit, scene, size_wh)


def on_vehicle(kit: Kit, scene: Scene, size_wh: tuple[int, int]) -> View:
    """The one of four places in the lane that shows most."""
    views = [from_lane(kit, scene, size_wh) for _ in range(4)]
    centres = np.array([t.matrix[:3, 3] for t in scene.things if t.class_name])
    kinds = np.array([INTEREST[t.class_name] for t in scene.things if t.class_name])

    def worth(view: View) -> float:
        pixels, depth = view.to_picture(centres)
        inside = (pixels > 0).all(axis=1) & (pixels[:, 0] < size_wh[0]) & (pixels[:, 1] < size_wh[1])
        return float((kinds / np.maximum(depth, 3.0))[inside & (depth > 1.5) & (depth < 25)].sum())

    return max(views, key=worth)


def from_lane(kit: Kit, scene: Scene, size_wh: tuple[int, int]) -> View:
    """From a vehicle in its lane, 1.6 to 2.2 m above the road, ahead or towards the kerb; sometimes a cut of a
    wider picture, at whose scale small litter shows."""
    street = scene.street
    s = kit.between(-6, street.length - 12)
    d = -street.half * kit.between(0.15, 0.5)
    height = kit.between(1.6, 2.2)
    pitch, roll = ground_tilt(scene, s, d)
    body = rotation(
        math.degrees(float(street.at(street.heading, s))) + kit.rng.normal(0, 1), pitch + kit.rng.normal(0, 0.5), roll
    )
    narrow = kit.chance(0.45)
    view_deg = kit.between(26, 45) if narrow else kit.between(55, 82)
    yaw = kit.between(-38, 12) if kit.chance(0.7) else kit.between(-5, 30)
    look_down = kit.between(-11, -3) if narrow else kit.between(-9, 1)
    camera = Camera.wide(*size_wh, view_deg, height, Mount(up_m=height, yaw_deg=yaw, pitch_deg=look_down))
    return mounted(camera, street.world(s, d), body)


def ground_tilt(scene: Scene, s: float, d: float) -> tuple[float, float]:
    """Pitch (nose up) and roll (left side up) of a vehicle that stands there, degrees."""
    street = scene.street
    front, back = street.world(s + 1.35, d), street.world(s - 1.35, d)
    left, right = street.world(s, d + 0.8), street.world(s, d - 0.8)
    pitch = math.atan2(front[2] - back[2], math.hypot(*(front - back)[:2]))
    roll = math.atan2(left[2] - right[2], math.hypot(*(left - right)[:2]))
    return math.degrees(pitch), math.degrees(roll)


def along(scene: Scene, point: Array) -> float:
    """The s of a place: where the middle line is nearest."""
    middle = scene.street.middle[:, :2]
    return float(np.argmin(((middle - point[:2]) ** 2).sum(axis=1)) * 0.5 - 20.0)


def across(scene: Scene, point: Array, s: float) -> float:
    """The d of a place beside s, positive to the left."""
    angle = float(scene.street.at(scene.street.heading, s))
    gap = point[:2] - scene.street.at(scene.street.middle, s)[:2]
    return float(-math.sin(angle) * gap[0] + math.cos(angle) * gap[1])
