"""Small meshes in numpy: what the street maker is built of, before any renderer sees it.

Axes of a thing: x to its right, y away from whoever looks at its front, z up; metres. Texture coordinates are in
metres too, except on picture faces, where they run from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Vec3 = tuple[float, float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Material:
    """How a surface looks. `kind` names a recipe of the renderer; `colour` and `colour2` are linear RGB that noise of
    feature size `scale` (metres) mixes; `rough` is 0 (mirror) to 1; `bump` the depth of unevenness in millimetres;
    `image` names a drawn texture of the scene."""

    kind: str
    colour: Colour = (0.5, 0.5, 0.5)
    colour2: Colour | None = None
    rough: float = 0.8
    scale: float = 0.3
    bump: float = 0.0
    metal: float = 0.0
    image: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """`verts` (n, 3) metres; `faces` (m, 4) indexes, a triangle repeats its third corner; `uv` (m, 4, 2);
    `material` (m,) indexes into `materials`; `smooth` (m,) shaded as one curved surface."""

    verts: Array
    faces: npt.NDArray[np.int32]
    uv: Array
    material: npt.NDArray[np.int32]
    smooth: npt.NDArray[np.bool_]
    materials: tuple[Material, ...]

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, *, yaw: float = 0.0, scale: float = 1.0) -> Mesh:
        """Scaled, turned about z (radians, anticlockwise seen from above), then moved."""
        return replace(self, verts=self.verts * scale @ turn(yaw).T + np.array([x, y, z]))

    def tilted(self, roll: float = 0.0, pitch: float = 0.0) -> Mesh:
        """Turned about y by `roll`, then about x by `pitch` (radians)."""
        cr, sr, cp, sp = math.cos(roll), math.sin(roll), math.cos(pitch), math.sin(pitch)
        about_y = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
        about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        return replace(self, verts=self.verts @ (about_x @ about_y).T)

    def stretched(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Mesh:
        """Scaled along its axes."""
        return replace(self, verts=self.verts * np.array([x, y, z]))


def turn(yaw: float) -> Array:
    """Rotation about z by `yaw` radians."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def merge(meshes: Iterable[Mesh]) -> Mesh:
    """One mesh of many; raises ValueError when there is none."""
    parts = [m for m in meshes if len(m.faces)]
    if not parts:
        raise ValueError("no mesh to merge")
    materials: dict[Material, int] = {}
    ids, faces, offset = [], [], 0
    for part in parts:
        table = np.array([materials.setdefault(m, len(materials)) for m in part.materials], dtype=np.int32)
        ids.append(table[part.material])
        faces.append(part.faces + np.int32(offset))
        offset += len(part.verts)
    return Mesh(
        np.concatenate([p.verts for p in parts]),
        np.concatenate(faces),
        np.concatenate([p.uv for p in parts]),
        np.concatenate(ids),
        np.concatenate([p.smooth for p in parts]),
        tuple(materials),
    )


def polygons(verts: Array, faces: npt.NDArray[np.int32], uv: Array, look: Material, *, smooth: bool = False) -> Mesh:
    """A mesh of one material."""
    n = len(faces)
    return Mesh(verts, faces.astype(np.int32), uv, np.zeros(n, np.int32), np.full(n, smooth), (look,))


def quad(a: Vec3, b: Vec3, c: Vec3, d: Vec3, look: Material, *, picture: bool = False) -> Mesh:
    """A flat face; `picture` maps a texture's lower left to `a` and its upper right to `c`."""
    verts = np.array([a, b, c, d], dtype=np.float64)
    w, h = (1.0, 1.0) if picture else (math.dist(a, b), math.dist(b, c))
    uv = np.array([[[0, 0], [w, 0], [w, h], [0, h]]], dtype=np.float64)
    return polygons(verts, np.array([[0, 1, 2, 3]], np.int32), uv, look)


def surface(points: Array, look: Material, *, smooth: bool = True) -> Mesh:
    """A grid of points (rows, columns, 3) as quads; texture coordinates run along the grid in metres."""
    rows, cols = points.shape[:2]
    index = np.arange(rows * cols, dtype=np.int32).reshape(rows, cols)
    faces = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], axis=-1).reshape(-1, 4)
    across, along = np.zeros((rows, cols)), np.zeros((rows, cols))
    across[:, 1:] = np.cumsum(np.linalg.norm(np.diff(points, axis=1), axis=2), axis=1)
    along[1:] = np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=2), axis=0)
    uv = np.stack([across, along], axis=-1).reshape(-1, 2)[faces]
    return polygons(points.reshape(-1, 3), faces, uv, look, smooth=smooth)


def box(size: Vec3, look: Material, *, taper: float = 1.0, taper_y: float | None = None) -> Mesh:
    """A box standing on z = 0 about the z axis; its top is `taper` times as wide (`taper_y`: as deep) as its foot."""
    w, d, h = size[0] / 2, size[1] / 2, size[2]
    ty = taper if taper_y is None else taper_y
    low: list[Vec3] = [(-w, -d, 0), (w, -d, 0), (w, d, 0), (-w, d, 0)]
    top: list[Vec3] = [(x * taper, y * ty, h) for x, y, _ in low]
    sides = [quad(low[i], low[(i + 1) % 4], top[(i + 1) % 4], top[i], look) for i in range(4)]
    return merge([*sides, quad(top[0], top[1], top[2], top[3], look), quad(low[3], low[2], low[1], low[0], look)])


def slab(a: Vec3, b: Vec3, look: Material) -> Mesh:
    """The box between two opposite corners."""
    size = (b[0] - a[0], b[1] - a[1], b[2] - a[2])
    return box(size, look).at((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, a[2])


def lathe(profile: Sequence[tuple[float, float]], look: Material, *, sides: int = 16) -> Mesh:
    """A profile of (radius, height) turned about z."""
    angle = np.linspace(0, 2 * math.pi, sides + 1)
    rz = np.array(profile, dtype=np.float64)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)
    points = rz[:, 0, None, None] * ring + np.array([0.0, 0.0, 1.0]) * rz[:, 1, None, None]
    return surface(points, look)


def tube(a: Vec3, b: Vec3, radius: float, look: Material, *, end: float | None = None, sides: int = 8) -> Mesh:
    """A round bar from `a` to `b`, `radius` thick at `a` and `end` at `b`."""
    start, stop = np.array(a, dtype=np.float64), np.array(b, dtype=np.float64)
    axis = stop - start
    length = float(np.linalg.norm(axis)) or 1e-6
    axis /= length
    helper = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.9 else np.array([0, 1.0, 0])
    u = np.cross(axis, helper)
    u /= np.linalg.norm(u)
    v = np.cross(axis, u)
    angle = np.linspace(0, 2 * math.pi, sides + 1)[:, None]
    ring = np.cos(angle) * u + np.sin(angle) * v
    r1 = radius if end is None else end
    points = np.stack([start + 1e-4 * radius * ring, start + radius * ring, stop + r1 * ring, stop + 1e-4 * ring])
    return surface(points, look)


def ball(radii: Vec3, look: Material, *, sides: int = 12, rings: int = 8) -> Mesh:
    """An ellipsoid about the origin."""
    angle = np.linspace(0, math.pi, rings + 1)
    profile = [(max(1e-4, math.sin(a)), -math.cos(a)) for a in angle]
    return lathe(profile, look, sides=sides).stretched(*radii)


def blob(
    rng: np.random.Generator, radii: Vec3, look: Material, *, wrinkle: float = 0.12, flat: float = 0.35, sides: int = 18
) -> Mesh:
    """A lumpy sack lying on z = 0: an ellipsoid with wrinkles, its underside pressed flat at `flat` of its radius."""
    mesh = ball((1.0, 1.0, 1.0), look, sides=sides, rings=sides * 2 // 3)
    unit = mesh.verts
    bulge = np.ones(len(unit))
    for octave, amount in ((1.5, 1.0), (3.5, 0.55), (8.0, 0.3)):
        for _ in range(3):
            bulge += wrinkle * amount / 1.7 * np.sin(unit @ rng.normal(0, octave, 3) + rng.uniform(0, 6.28))
    verts = unit * bulge[:, None] * np.array(radii)
    floor = -flat * radii[2]
    verts[:, 2] = np.where(verts[:, 2] < floor, floor + 0.12 * (verts[:, 2] - floor), verts[:, 2]) - floor
    verts[:, 2] -= verts[:, 2].min()
    # The seam of the turned ball must not tear: its first and last columns are the same points.
    grid = verts.reshape(-1, sides + 1, 3)
    grid[:, -1] = grid[:, 0]
    return replace(mesh, verts=grid.reshape(-1, 3))


def extrude(outline: Sequence[tuple[float, float]], depth: float, look: Material) -> Mesh:
    """A convex outline in the x-z plane, `depth` thick along y about y = 0."""
    n = len(outline)
    front: list[Vec3] = [(x, -depth / 2, z) for x, z in outline]
    back: list[Vec3] = [(x, depth / 2, z) for x, z in outline]
    rim = [quad(front[i], back[i], back[(i + 1) % n], front[(i + 1) % n], look) for i in range(n)]
    caps = []
    for face in (front, back[::-1]):
        for i in range(1, n - 1, 2):
            caps.append(quad(face[0], face[i], face[i + 1], face[min(i + 2, n - 1)], look))
    return merge([*rim, *caps])


def disc(radius: float, look: Material, *, sides: int = 14) -> Mesh:
    """A flat round face on z = 0, looking up."""
    return lathe([(radius, 0.0), (1e-4, 0.0)], look, sides=sides)
