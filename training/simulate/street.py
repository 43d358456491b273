"""The ground: a street that bends, climbs, tilts and is cambered, with kerbs and pavements beside it.

Places on a street are (s, d): metres along its middle line and metres to the left of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.simulate.kit import Kit
from training.simulate.mesh import Array, Material, Mesh, merge, surface, turn
from training.simulate.palette import EARTH, concrete, pick, shade

STEP_M = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Street:
    """Lay of the land. `middle` (n, 3): the middle line each half metre from s = -20; `heading` (n,) radians
    anticlockwise from east; `tilt` (n,): slope towards the right, slowly changing."""

    length: float
    half: float  # from the middle line to the kerb
    pavement: tuple[float, float]  # widths left and right
    kerb: float
    camber: float
    middle: Array
    heading: Array
    tilt: Array

    def at(self, values: Array, s: float | Array) -> Array:
        """Interpolate one of the profiles at s."""
        t = (np.asarray(s, dtype=np.float64) + 20.0) / STEP_M
        low = np.clip(np.floor(t).astype(int), 0, len(values) - 2)
        f = t - low
        f = f[..., None] if values.ndim == 2 else f
        return np.asarray(values[low] * (1 - f) + values[low + 1] * f)

    def height(self, s: float | Array, d: float | Array) -> Array:
        """Ground above the middle line's own height, metres."""
        d = np.asarray(d, dtype=np.float64)
        out = np.abs(d) - self.half
        road = -self.camber * np.minimum(np.abs(d), self.half)
        beside = np.where(out > 0, self.kerb + 0.015 * np.minimum(np.maximum(out, 0), 6), 0.0)
        return np.asarray(road + beside + self.at(self.tilt, s) * d)

    def world(self, s: float | Array, d: float | Array, up: float | Array = 0.0) -> Array:
        """East, north, up of places on the ground, shape (…, 3)."""
        s, d = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64))
        point, angle = self.at(self.middle, s), self.at(self.heading, s)
        left = np.stack([-np.sin(angle), np.cos(angle), np.zeros_like(angle)], axis=-1)
        rise = self.height(s, d) + up
        return np.asarray(point + left * d[..., None] + np.array([0.0, 0.0, 1.0]) * rise[..., None])

    def pose(self, s: float, d: float, yaw: float = 0.0, *, lie: bool = False, up: float = 0.0) -> Array:
        """The matrix (4, 4) that stands a thing there, turned by `yaw` against the street's direction; with `lie`
        it leans with the ground, else it stands upright."""
        matrix = np.eye(4)
        heading = float(self.at(self.heading, s)) + yaw
        matrix[:3, :3] = turn(heading)
        if lie:
            ahead, beside, here = (self.world(s + 0.25, d), self.world(s, d + 0.05), self.world(s, d))
            normal = np.cross(ahead - here, beside - here)
            normal /= np.linalg.norm(normal)
            x = matrix[:3, 0] - normal * (matrix[:3, 0] @ normal)
            x /= np.linalg.norm(x)
            matrix[:3, :3] = np.stack([x, np.cross(normal, x), normal], axis=1)
        matrix[:3, 3] = self.world(s, d, up)
        return matrix


def make_street(kit: Kit, kind: str, length: float) -> Street:
    """Draw a street's lay: `street` (wide, pavements), `lane` (narrow), `alley` (no kerb) or `verge` (open sides)."""
    half, pave, kerb = {
        "street": (kit.between(3.5, 6.0), (kit.between(2.6, 5.0), kit.between(2.6, 5.0)), kit.between(0.1, 0.16)),
        "lane": (kit.between(2.6, 3.6), (kit.between(0.8, 2.4), kit.between(0.8, 2.4)), kit.between(0.06, 0.14)),
        "alley": (kit.between(1.6, 2.6), (kit.between(0.5, 1.0), kit.between(0.5, 1.0)), 0.0),
        "verge": (kit.between(3.2, 5.0), (kit.between(3.0, 6.0), kit.between(3.0, 6.0)), kit.between(0.0, 0.12)),
    }[kind]
    s = np.arange(-20.0, length + 30.0 + STEP_M, STEP_M)
    heading = kit.between(0, 2 * math.pi) + kit.rng.normal(0, 0.0025) * s + 0.02 * np.sin(s / kit.between(30, 60))
    grade = kit.rng.normal(0, 0.012) + 0.008 * np.sin(s / kit.between(18, 40) + kit.between(0, 6))
    steps = np.stack([np.cos(heading), np.sin(heading), grade], axis=-1) * STEP_M
    middle = np.cumsum(steps, axis=0)
    middle -= middle[int(20 / STEP_M)]
    tilt = kit.rng.normal(0, 0.008) + 0.008 * np.sin(s / kit.between(20, 50) + kit.between(0, 6))
    return Street(length, half, pave, kerb, kit.between(0.01, 0.025), middle, heading, tilt)


def strip(
    street: Street, s1: float, s2: float, d1: float, d2: float, look: Material, up: float = 0.0, cols: int = 1
) -> Mesh:
    """A band of ground between two distances from the middle line; texture in metres (s, d)."""
    s = np.linspace(s1, s2, max(2, int((s2 - s1) / 2) + 1))
    d = np.linspace(d1, d2, cols + 1)
    grid_s, grid_d = np.meshgrid(s, d, indexing="ij")
    # A hair inside the band, so that a band that ends at the kerb does not climb it.
    inside = np.clip(grid_d, min(d1, d2) + 1e-6, max(d1, d2) - 1e-6)
    band = surface(street.world(grid_s, inside, up), look, smooth=True)
    index = np.arange(grid_s.size).reshape(grid_s.shape)
    faces = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], axis=-1).reshape(-1, 4)
    band.uv[:] = np.stack([grid_s, grid_d], axis=-1).reshape(-1, 2)[faces]
    return band if d2 < d1 else flipped(band)


def flipped(mesh: Mesh) -> Mesh:
    """The same faces, seen from the other side."""
    return Mesh(
        mesh.verts, mesh.faces[:, ::-1].copy(), mesh.uv[:, ::-1].copy(), mesh.material, mesh.smooth, mesh.materials
    )


def ground(kit: Kit, street: Street, kind: str) -> Mesh:
    """Carriageway, marks, kerbs, pavements and what lies behind."""
    level = kit.between(0.045, 0.13)
    tar = Material(
        "asphalt", (level, level * kit.between(0.96, 1.0), level * kit.between(0.9, 1.0)), None, 0.9, 1.0, 4.0
    )
    if kind == "alley" or kit.chance(0.15):
        tone = kit.between(0.2, 0.36)
        tar = Material("asphalt", (tone, tone * 0.97, tone * 0.92), None, 0.9, 1.5, 3.0)
    a, b, half = -18.0, street.length + 28.0, street.half
    parts = [strip(street, a, b, -half, half, tar, cols=8)]
    sides = []
    for _ in range(2):
        tone = kit.between(0.2, 0.45)
        tint = kit.one(((1.0, 0.98, 0.94), (1.0, 0.8, 0.7), (0.95, 1.0, 0.98), (1.0, 0.94, 0.8)))
        colour = (tone * tint[0], tone * tint[1], tone * tint[2])
        paving = Material("slabs", colour, shade(colour, 0.6), 0.8, kit.one((0.2, 0.25, 0.3, 0.4, 0.5)), 1.5)
        if kind == "verge":
            earth = pick(kit.rng, EARTH)
            paving = Material("sand", earth, shade(earth, 0.75), 0.95, 0.7, 20.0)
        elif kit.chance(0.15):
            paving = Material("asphalt", colour, None, 0.9, 1.0, 3.0)
        sides.append(paving)
    stone = concrete(kit.between(0.3, 0.5))
    for side, width, paving in ((1, street.pavement[0], sides[0]), (-1, street.pavement[1], sides[1])):
        edge = side * half
        if street.kerb > 0:
            foot, top = (
                street.world(np.arange(a, b), edge - side * 1e-6),
                street.world(np.arange(a, b), edge + side * 1e-5),
            )
            face = surface(np.stack([foot, top]), stone, smooth=False)
            parts.append(face)
            parts.append(strip(street, a, b, edge, edge + side * 0.14, stone, up=0.002))
        parts.append(strip(street, a, b, edge, edge + side * width, paving, cols=3))
        parts.append(strip(street, a, b, edge + side * width, edge + side * (width + 14), concrete(0.25), up=-0.01))
    parts += marks(kit, street, kind)
    return merge(parts)


def marks(kit: Kit, street: Street, kind: str) -> list[Mesh]:
    """Painted lines, worn; a zebra crossing now and then."""
    if kind == "alley":
        return []
    white = Material("mark", (0.6, 0.6, 0.58), (0.12, 0.12, 0.12), 0.7)
    yellow = Material("mark", (0.55, 0.38, 0.06), (0.12, 0.11, 0.1), 0.7)
    parts = []
    if street.half > 3.2:
        colour = yellow if kit.chance(0.5) else white
        if kit.chance(0.4):
            parts.append(strip(street, -18, street.length + 28, -0.07, 0.07, colour, up=0.005))
        else:
            for s in np.arange(-16, street.length + 24, 6.0):
                parts.append(strip(street, float(s), float(s) + 3.0, -0.07, 0.07, colour, up=0.005))
    if kit.chance(0.5):
        for side in (1, -1):
            e = side * (street.half - 0.25)
            parts.append(
                strip(
                    street, -18, street.length + 28, e - 0.06, e + 0.06, yellow if kit.chance(0.3) else white, up=0.005
                )
            )
    if kit.chance(0.35) and street.half > 3:
        s0 = kit.between(5, street.length - 5)
        for d in np.arange(-street.half + 0.5, street.half - 0.4, 0.9):
            parts.append(strip(street, s0, s0 + 3.0, float(d), float(d) + 0.45, white, up=0.005))
    if kit.chance(0.4) and street.half > 3.2:  # parking bays
        e = street.half - 2.1
        for side in (1, -1):
            parts.append(strip(street, 0, street.length, side * e - 0.05, side * e + 0.05, white, up=0.006))
            for s in np.arange(0, street.length, 5.5):
                parts.append(
                    strip(street, float(s), float(s) + 0.1, side * e, side * (street.half - 0.2), white, up=0.006)
                )
    return parts
