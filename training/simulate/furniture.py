"""What belongs on a street and must not be reported: trees, poles, bollards, planters, covers, leaves, stains."""

from __future__ import annotations

import math

import numpy as np

from training.simulate.kit import Kit
from training.simulate.mesh import (
    Array,
    Material,
    Mesh,
    ball,
    blob,
    box,
    lathe,
    merge,
    polygons,
    quad,
    slab,
    surface,
    tube,
)
from training.simulate.palette import LEAF, WALL, concrete, linear, metal, painted, pick, shade, vivid
from training.simulate.textures import poster, sign

BARK = Material("plain", linear(96, 80, 64), linear(70, 58, 48), 0.95, 0.08, 8.0)


def leaves(rng: np.random.Generator, centres: Array, size: float, look: Material) -> Mesh:
    """One small leaf quad at each centre, turned at random."""
    n = len(centres)
    u = rng.normal(size=(n, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(u, rng.normal(size=(n, 3)))
    v /= np.linalg.norm(v, axis=1, keepdims=True) + 1e-9
    s = size * rng.uniform(0.6, 1.3, (n, 1))
    corners = np.stack([centres - u * s, centres - v * s * 0.6, centres + u * s, centres + v * s * 0.6], axis=1)
    faces = np.arange(4 * n, dtype=np.int32).reshape(n, 4)
    return polygons(corners.reshape(-1, 3), faces, np.zeros((n, 4, 2)), look)


def tree(kit: Kit) -> Mesh:
    """A street tree, 5 to 9 m, its trunk often whitewashed."""
    h = kit.between(5.0, 9.0)
    fork = h * kit.between(0.3, 0.42)
    r = kit.between(0.09, 0.2)
    parts = [tube((0, 0, -0.1), (0, 0, fork), r * 1.15, BARK, end=r * 0.8, sides=10)]
    if kit.chance(0.5):
        parts.append(
            lathe(
                [(r * 1.17, 0.0), (r * 1.08, 1.1)],
                Material("plain", (0.7, 0.7, 0.68), (0.45, 0.44, 0.4), 0.9, 0.15),
                sides=10,
            )
        )
    colour = pick(kit.rng, LEAF)
    look = Material("foliage", colour, shade(colour, 1.8), 0.6)
    centres = []
    for i in range(kit.number(6, 9)):
        angle, reach = i * 2.4 + kit.between(-0.4, 0.4), kit.between(0.9, 2.1)
        tip = (reach * math.cos(angle), reach * math.sin(angle), fork + (h - fork) * kit.between(0.3, 0.85))
        parts.append(tube((0, 0, fork - 0.1), tip, r * 0.55, BARK, end=r * 0.12, sides=6))
        spread = kit.between(0.55, 0.95)
        centres.append(np.array(tip) + kit.rng.normal(0, 1, (560, 3)) * np.array([spread, spread, spread * 0.65]))
    parts.append(leaves(kit.rng, np.concatenate(centres), 0.075, look))
    return merge(parts)


def bush(kit: Kit) -> Mesh:
    """A shrub or a piece of clipped hedge."""
    colour = pick(kit.rng, LEAF)
    look = Material("foliage", colour, shade(colour, 1.7), 0.6)
    size = np.array([kit.between(0.4, 1.2), kit.between(0.3, 0.5), kit.between(0.3, 0.55)])
    raw = kit.rng.normal(size=(700, 3))
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    core = ball(
        (float(size[0]) * 0.85, float(size[1]) * 0.85, float(size[2]) * 0.85),
        Material("plain", shade(colour, 0.4)),
        sides=10,
    )
    return merge(
        [
            core.at(z=float(size[2])),
            leaves(kit.rng, raw * size * kit.rng.uniform(0.85, 1.05, (700, 1)) + [0, 0, size[2]], 0.05, look),
        ]
    )


def lamp_post(kit: Kit) -> Mesh:
    """A street lamp, 6 to 9 m, its arm over the road (negative y)."""
    h = kit.between(6, 9)
    look = painted(kit.one(((0.35, 0.36, 0.37), (0.6, 0.6, 0.6), linear(40, 70, 60))))
    return merge([
        tube((0, 0, 0), (0, 0, h), 0.085, look, end=0.05), box((0.24, 0.24, 0.5), look).at(z=0),
        tube((0, 0, h), (0, -1.6, h + 0.25), 0.04, look), box((0.24, 0.6, 0.1), look).at(0, -1.8, h + 0.2),
    ])  # fmt: skip


def power_pole(kit: Kit) -> Mesh:
    """A concrete pole with cross-arms, often with small bills pasted on."""
    h = kit.between(7, 10)
    parts = [tube((0, 0, 0), (0, 0, h), 0.17, concrete(0.32), end=0.11, sides=14)]
    for z in (h - 0.4, h - 1.1):
        parts.append(slab((-0.8, -0.05, z), (0.8, 0.05, z + 0.09), metal((0.3, 0.3, 0.3))))
    for _ in range(kit.number(0, 3)):
        z, w = kit.between(0.9, 1.8), kit.between(0.1, 0.18)
        bill = lathe([(0.172, z), (0.168, z + 0.25)], kit.image(poster, share=8), sides=14)
        parts.append(bill if w > 0.14 else bill.at(z=0.1))
    return merge(parts)


def traffic_sign(kit: Kit) -> Mesh:
    """A road sign on a post, facing negative x."""
    look = kit.one((linear(20, 80, 170), linear(200, 30, 30), linear(230, 180, 30)))
    h = kit.between(2.1, 2.6)
    plate = lathe([(0.3, 0.0), (0.3, 0.02), (1e-4, 0.021)], painted(look), sides=24)
    face = lathe([(0.2, 0.022), (1e-4, 0.023)], painted((0.75, 0.75, 0.75)), sides=20)
    disc = merge([plate, face]).tilted(-math.pi / 2, 0).at(-0.05, 0, h)
    return merge([tube((0, 0, 0), (0, 0, h + 0.35), 0.035, metal()), disc])


def bollard(kit: Kit) -> Mesh:
    """A post or a stone ball that keeps cars away."""
    if kit.chance(0.35):
        r = kit.between(0.18, 0.25)
        return ball(
            (r, r, r), Material("plain", (0.35, 0.34, 0.32), (0.25, 0.25, 0.24), 0.7, 0.03), sides=16, rings=10
        ).at(z=r * 0.9)
    look = kit.one((metal(), painted(linear(200, 170, 30)), concrete(0.35)))
    r, h = kit.between(0.05, 0.11), kit.between(0.6, 0.95)
    parts = [lathe([(r, 0), (r, h), (r * 0.7, h + 0.04), (1e-4, h + 0.05)], look, sides=14)]
    parts.append(lathe([(r * 1.02, h * 0.75), (r * 1.02, h * 0.88)], painted(linear(190, 30, 30)), sides=14))
    return merge(parts)


def planter(kit: Kit) -> Mesh:
    """A stone or plastic trough with plants."""
    w, d, h = kit.between(0.5, 1.4), kit.between(0.4, 0.6), kit.between(0.35, 0.6)
    look = kit.one(
        (
            concrete(0.38),
            Material("plain", pick(kit.rng, WALL), rough=0.9),
            Material("slabs", (0.4, 0.39, 0.37), None, 0.7, 0.3),
        )
    )
    plants = bush(kit).stretched(w / 2.2, 0.55, 0.6).at(z=h * 0.85)
    return merge([box((w, d, h), look, taper=1.1), plants])


def cover(kit: Kit) -> Mesh:
    """A manhole cover or gully grate, flush with the ground."""
    iron = Material("plain", (0.06, 0.058, 0.055), (0.03, 0.028, 0.026), 0.6, 0.06, 3.0, 0.4)
    if kit.chance(0.6):
        r = 0.35
        parts = [
            lathe([(r, 0.004), (1e-4, 0.006)], iron, sides=28),
            lathe([(r * 1.12, 0.003), (r, 0.003)], concrete(0.3), sides=28),
        ]
        for i in range(-3, 4):
            parts.append(slab((i * 0.09 - 0.012, -0.22, 0.005), (i * 0.09 + 0.012, 0.22, 0.011), iron))
        return merge(parts)
    parts = [slab((-0.3, -0.2, 0), (0.3, 0.2, 0.004), Material("plain", (0.01, 0.01, 0.01), rough=1))]
    for x in np.linspace(-0.28, 0.28, 9):
        parts.append(slab((float(x) - 0.015, -0.2, 0.002), (float(x) + 0.015, 0.2, 0.01), iron))
    return merge(parts)


def spot(kit: Kit, look: Material, size: float, height: float = 0.004) -> Mesh:
    """A flat patch with a ragged edge."""
    angle = np.linspace(0, 2 * math.pi, 33)
    r = size * (1 + 0.25 * np.sin(angle * 2 + kit.between(0, 6)) + 0.15 * np.sin(angle * 5 + kit.between(0, 6)))
    r[-1] = r[0]
    edge = np.stack([r * np.cos(angle), r * np.sin(angle) * kit.between(0.4, 1), np.full(33, height)], axis=-1)
    return surface(np.stack([edge, edge * [0.01, 0.01, 1]]), look, smooth=False)


def stain(kit: Kit) -> Mesh:
    """Oil, spilt water, a mended piece of asphalt."""
    dark = kit.between(0.025, 0.06)
    rough = 0.5 if kit.chance(0.3) else 0.9
    return spot(kit, Material("asphalt", (dark, dark, dark * 0.97), None, rough), kit.between(0.15, 0.9))


def patch(kit: Kit) -> Mesh:
    """A rectangular repair of the surface."""
    level = kit.between(0.03, 0.16)
    w, d = kit.between(0.5, 3.0), kit.between(0.4, 1.2)
    look = Material("asphalt", (level, level, level), None, 0.9, 0.3, 2.0)
    return quad((-w / 2, -d / 2, 0.004), (w / 2, -d / 2, 0.004), (w / 2, d / 2, 0.004), (-w / 2, d / 2, 0.004), look)


def fallen_leaves(kit: Kit) -> Mesh:
    """Leaves on the ground: many small flat ones, brown to green."""
    n = kit.number(25, 160)
    spread = kit.between(0.4, 1.6)
    centres = np.stack([kit.rng.normal(0, spread, n), kit.rng.normal(0, spread * 0.35, n), np.full(n, 0.012)], axis=-1)
    colour = kit.one((linear(140, 100, 50), linear(120, 80, 40), linear(170, 140, 60), linear(110, 110, 50)))
    look = Material("foliage", shade(colour, 0.6), shade(colour, 1.3), 0.8)
    flat = leaves(kit.rng, centres, 0.04, look)
    verts = flat.verts.copy()
    verts[:, 2] = 0.006 + np.abs(verts[:, 2] - 0.012) * 0.3
    return Mesh(verts, flat.faces, flat.uv, flat.material, flat.smooth, flat.materials)


def stones(kit: Kit) -> Mesh:
    """A few stones or clods."""
    look = kit.one((concrete(0.3), concrete(0.18), Material("plain", linear(130, 110, 86), None, 0.95)))
    parts = []
    for _ in range(kit.number(1, 7)):
        r = kit.between(0.02, 0.1)
        parts.append(
            blob(kit.rng, (r, r * 0.8, r * 0.6), look, sides=8).at(
                kit.rng.normal(0, 0.4), kit.rng.normal(0, 0.25), 0, yaw=kit.between(0, 6)
            )
        )
    return merge(parts)


def weeds(kit: Kit) -> Mesh:
    """Grass that grows from the joint at a wall or kerb."""
    n = kit.number(40, 120)
    base = np.stack([kit.rng.normal(0, 0.25, n), kit.rng.normal(0, 0.06, n), np.zeros(n)], axis=-1)
    tip = base + np.stack(
        [kit.rng.normal(0, 0.07, n), kit.rng.normal(0, 0.07, n), kit.rng.uniform(0.06, 0.28, n)], axis=-1
    )
    side = np.stack([kit.rng.normal(0, 0.008, n), kit.rng.normal(0, 0.008, n), np.zeros(n)], axis=-1)
    corners = np.stack([base - side, base + side, tip, tip], axis=1).reshape(-1, 3)
    faces = np.arange(4 * n, dtype=np.int32).reshape(n, 4)
    faces[:, 3] = faces[:, 2]
    colour = pick(kit.rng, LEAF)
    return polygons(corners, faces, np.zeros((n, 4, 2)), Material("foliage", colour, shade(colour, 2.0), 0.7))


def cabinet(kit: Kit) -> Mesh:
    """A switch cabinet."""
    w, d, h = kit.between(0.6, 1.3), kit.between(0.35, 0.5), kit.between(0.9, 1.5)
    look = painted(kit.one((linear(150, 154, 150), linear(80, 110, 90), linear(190, 190, 180))), kit.between(0, 0.3))
    parts = [
        slab((-w / 2, -d / 2, 0.12), (w / 2, d / 2, h), look),
        slab((-w / 2 - 0.04, -d / 2 - 0.04, 0), (w / 2 + 0.04, d / 2 + 0.04, 0.12), concrete()),
    ]
    parts.append(slab((-0.006, -d / 2 - 0.004, 0.15), (0.006, -d / 2, h - 0.03), Material("plain", (0.05, 0.05, 0.05))))
    parts.append(box((w + 0.06, d + 0.06, 0.05), look, taper=0.9).at(z=h))
    return merge(parts)


def bench(kit: Kit) -> Mesh:
    """A street bench."""
    wood = Material("plain", linear(140, 100, 66), linear(110, 76, 50), 0.6, 0.2)
    parts = [slab((-0.75, y, 0.42), (0.75, y + 0.1, 0.46), wood) for y in (-0.2, -0.07, 0.06)]
    parts += [slab((-0.75, 0.2, z), (0.75, 0.23, z + 0.1), wood) for z in (0.55, 0.7)]
    parts += [slab((x - 0.03, -0.2, 0), (x + 0.03, 0.22, 0.42), metal((0.1, 0.1, 0.1))) for x in (-0.6, 0.6)]
    return merge(parts)


def notice_board(kit: Kit) -> Mesh:
    """A public notice board on two legs: writing and pictures, but nobody's advert."""
    board = kit.board(sign, 1.8)
    parts = [tube((x, 0, 0), (x, 0, 2.1), 0.035, metal()) for x in (-0.85, 0.85)]
    parts.append(slab((-0.85, -0.04, 0.9), (0.85, 0.04, 2.0), painted(vivid(kit.rng))))
    parts.append(
        quad((-0.8, -0.045, 0.95), (0.8, -0.045, 0.95), (0.8, -0.045, 1.95), (-0.8, -0.045, 1.95), board, picture=True)
    )
    return merge(parts)
