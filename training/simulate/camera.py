"""The simulator's camera: intrinsics, mount on the vehicle, pose in the world; projection of points.

World axes are metres east, north, up. The conventions of the mount and of the track are those of the product's
camera file: R = Rz(yaw) · Ry(−pitch) · Rx(roll) on axes forward-left-up, yaw = 90° − heading; pixel (0, 0) is the
centre of the top-left pixel.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.simulate.mesh import Array

# Columns: right, down and forward of the picture in axes forward-left-up.
PICTURE_AXES = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Array:
    """Rz(yaw) · Ry(−pitch) · Rx(roll): axes forward-left-up of the body in those of its parent."""
    y, p, r = (math.radians(a) for a in (yaw_deg, -pitch_deg, roll_deg))
    about_z = np.array([[math.cos(y), -math.sin(y), 0], [math.sin(y), math.cos(y), 0], [0, 0, 1.0]])
    about_y = np.array([[math.cos(p), 0, math.sin(p)], [0, 1.0, 0], [-math.sin(p), 0, math.cos(p)]])
    about_x = np.array([[1.0, 0, 0], [0, math.cos(r), -math.sin(r)], [0, math.sin(r), math.cos(r)]])
    return np.asarray(about_z @ about_y @ about_x)


@dataclass(frozen=True, slots=True)
class Mount:
    """Where the lens sits against the tracked point (metres) and how it looks against the vehicle's axes (degrees)."""

    forward_m: float = 0.0
    left_m: float = 0.0
    up_m: float = 0.0
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera; focal lengths and principal point in pixels."""

    width: int
    height: int
    fx: float
    cx: float
    cy: float
    height_above_ground_m: float
    mount: Mount = Mount()

    @classmethod
    def wide(
        cls, width: int, height: int, view_deg: float, above_ground_m: float, mount: Mount | None = None
    ) -> Camera:
        """A camera that sees `view_deg` across, looking through the middle of its picture."""
        fx = width / 2 / math.tan(math.radians(view_deg) / 2)
        return cls(width, height, fx, (width - 1) / 2, (height - 1) / 2, above_ground_m, mount or Mount())

    def to_json(self) -> dict[str, Any]:
        """The product's camera file."""
        return {
            "model": "pinhole",
            "width": self.width,
            "height": self.height,
            "fx": round(self.fx, 4),
            "fy": round(self.fx, 4),
            "cx": self.cx,
            "cy": self.cy,
            "distortion": [0, 0, 0, 0, 0],
            "height_above_ground_m": self.height_above_ground_m,
            "mount": asdict(self.mount),
        }


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One picture to take: `lens` (3,) metres; `axes` (3, 3), columns right, down, forward in the world."""

    camera: Camera
    lens: Array
    axes: Array

    def to_picture(self, points: Array) -> tuple[Array, Array]:
        """Points (n, 3) as pixels (n, 2), and their depth along the axis of view (n,) in metres."""
        local = (points - self.lens) @ self.axes
        depth = np.where(np.abs(local[:, 2]) < 1e-9, 1e-9, local[:, 2])
        camera = self.camera
        pixels = np.stack(
            [local[:, 0] / depth * camera.fx + camera.cx, local[:, 1] / depth * camera.fx + camera.cy], axis=-1
        )
        return pixels, local[:, 2]

    def blender_matrix(self) -> Array:
        """Camera to world (4, 4) for a camera that looks along −z with y up."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes * np.array([1.0, -1.0, -1.0])
        matrix[:3, 3] = self.lens
        return matrix


def mounted(camera: Camera, tracked: Array, body: Array) -> View:
    """The view of a camera on a vehicle whose tracked point is at `tracked` (3,) and whose axes
    forward-left-up are the columns of `body` (3, 3)."""
    m = camera.mount
    lens = tracked + body @ np.array([m.forward_m, m.left_m, m.up_m])
    axes = body @ rotation(m.yaw_deg, m.pitch_deg, m.roll_deg) @ PICTURE_AXES
    return View(camera, lens, np.asarray(axes))


def looking(camera: Camera, lens: Array, yaw_deg: float, pitch_deg: float, roll_deg: float) -> View:
    """A hand-held view; yaw anticlockwise from east, pitch up, degrees."""
    return View(camera, lens, np.asarray(rotation(yaw_deg, pitch_deg, roll_deg) @ PICTURE_AXES))
