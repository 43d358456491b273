"""Garbage at true size: bags, heaps, cardboard, and the many small pieces at the kerb."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from training.simulate.kit import Kit
from training.simulate.mesh import Material, Mesh, ball, blob, box, lathe, merge, quad, surface, tube
from training.simulate.palette import SACK, bag_film, cardboard, cloth, linear, metal, pick, plastic, shade, vivid
from training.simulate.textures import print_on


def bag(kit: Kit, size: float | None = None) -> Mesh:
    """A tied waste bag, 25 to 75 cm, standing or lying."""
    r = (kit.between(0.16, 0.36) if size is None else size) / 1.1
    look = bag_film(kit.rng)
    body = blob(kit.rng, (r * kit.between(0.85, 1.15), r, r * kit.between(0.65, 1.0)), look, wrinkle=0.16)
    top = float(body.verts[:, 2].max())
    neck = lathe([(r * 0.3, top * 0.88), (r * 0.1, top * 1.03), (r * 0.09, top * 1.08)], look, sides=10)
    ears = []
    for angle in (kit.between(0, 3), kit.between(3, 6)):
        tip = (0.42 * r * math.cos(angle), 0.42 * r * math.sin(angle), top * kit.between(1.12, 1.35))
        ears.append(tube((0, 0, top * 1.04), tip, r * 0.06, look, end=r * 0.22, sides=7))
    whole = merge([body, neck, *ears])
    return whole.tilted(kit.between(-0.3, 0.3), kit.between(-0.3, 0.3)).at(yaw=kit.between(0, 6.28))


def sack(kit: Kit) -> Mesh:
    """A woven sack, long and lying or slumped."""
    colour = pick(kit.rng, SACK)
    look = Material("bag", colour, colour, 0.85, 0.1, 6.0)
    body = blob(kit.rng, (kit.between(0.3, 0.5), kit.between(0.2, 0.3), kit.between(0.16, 0.3)), look, wrinkle=0.1)
    return body.at(yaw=kit.between(0, 6.28))


def carton(kit: Kit) -> Mesh:
    """A cardboard box: closed, open with flaps, or flattened."""
    w, d, h = kit.between(0.25, 0.6), kit.between(0.2, 0.45), kit.between(0.15, 0.45)
    look = cardboard(kit.rng)
    yaw = kit.between(0, 6.28)
    style = kit.number(0, 2)
    if style == 2:
        return box((w * 1.4, h + d, 0.015), look).tilted(kit.between(-0.06, 0.06), kit.between(0, 0.12)).at(yaw=yaw)
    body = box((w, d, h), look, taper=kit.between(0.92, 1.02))
    extra = []
    if style == 1:
        dark = Material("plain", (0.05, 0.035, 0.02), rough=1.0)
        extra.append(quad((-w * 0.46, -d * 0.46, h + 0.002), (w * 0.46, -d * 0.46, h + 0.002),
                          (w * 0.46, d * 0.46, h + 0.002), (-w * 0.46, d * 0.46, h + 0.002), dark))  # fmt: skip
        for sx in (-1.0, 1.0):
            lift = kit.between(-0.1, 0.12)
            extra.append(quad((sx * w / 2, -d / 2, h), (sx * w / 2, d / 2, h), (sx * w * 0.8, d / 2, h + lift),
                              (sx * w * 0.8, -d / 2, h + lift), look))  # fmt: skip
    else:
        tape = Material("plain", linear(190, 160, 110), rough=0.3)
        extra.append(box((w * 1.002, 0.05, h + 0.003), tape))
    return merge([body, *extra]).at(yaw=yaw)


def foam(kit: Kit) -> Mesh:
    """A piece or box of white foam."""
    look = Material("plain", (0.78, 0.78, 0.76), (0.6, 0.6, 0.56), 0.9, 0.2, 0.5)
    size = (kit.between(0.15, 0.5), kit.between(0.1, 0.35), kit.between(0.03, 0.25))
    return box(size, look).tilted(kit.between(-0.2, 0.2), kit.between(-0.2, 0.2)).at(yaw=kit.between(0, 6.28))


def cup(kit: Kit) -> Mesh:
    """A drinking cup of paper or plastic, mostly lying."""
    look = kit.image(print_on, 0.5, 10) if kit.chance(0.6) else plastic((0.75, 0.75, 0.73), 0.3)
    h, r = kit.between(0.09, 0.15), kit.between(0.032, 0.046)
    body = lathe([(1e-4, 0), (r * 0.75, 0), (r, h), (r * 1.06, h), (r * 0.9, h * 0.9), (1e-4, 0.02)], look, sides=10)
    return lying(kit, body, r) if kit.chance(0.75) else body


def lying(kit: Kit, mesh: Mesh, radius: float) -> Mesh:
    """Tipped over, resting on its side."""
    return mesh.tilted(math.pi / 2, 0).at(z=radius).at(yaw=kit.between(0, 6.28))


def can(kit: Kit) -> Mesh:
    """A drinks can, 6.6 by 12 cm, whole or crushed."""
    look = replace(kit.image(print_on, 0.35, 10), metal=0.3)
    body = lathe([(1e-4, 0), (0.026, 0), (0.033, 0.01), (0.033, 0.108), (0.027, 0.12), (1e-4, 0.119)], look, sides=10)
    if kit.chance(0.4):
        body = body.stretched(1.15, 0.5, 0.85)
    return lying(kit, body, 0.03)


def bottle(kit: Kit) -> Mesh:
    """A plastic or glass bottle, 20 to 32 cm, lying."""
    h, r = kit.between(0.2, 0.32), kit.between(0.03, 0.045)
    colour = kit.one(((0.5, 0.58, 0.6), (0.6, 0.65, 0.66), (0.05, 0.16, 0.05), (0.12, 0.05, 0.01), (0.1, 0.3, 0.45)))
    clear = Material("plain", colour, shade(colour, 0.8), 0.12)
    body = lathe([(1e-4, 0), (r, 0.005), (r, h * 0.62), (r * 0.35, h * 0.86), (r * 0.33, h)], clear, sides=10)
    band = lathe([(r * 1.02, h * 0.22), (r * 1.02, h * 0.5)], kit.image(print_on, 0.4, 10), sides=10)
    cap = lathe([(r * 0.4, h * 0.95), (r * 0.4, h * 1.02), (1e-4, h * 1.02)], plastic(vivid(kit.rng)), sides=8)
    return lying(kit, merge([body, band, cap]), r)


def sheet(kit: Kit) -> Mesh:
    """Paper, a leaflet, a napkin or a wrapper: thin, crumpled, on the ground."""
    w, d = kit.one(((0.21, 0.3), (0.15, 0.21), (0.12, 0.16), (0.2, 0.2), (0.3, 0.42)))
    kind = kit.between(0, 1)
    look = Material("plain", (0.72, 0.71, 0.68), (0.5, 0.49, 0.46), 0.9, 0.1)
    if kind < 0.3:
        look = kit.image(print_on, 0.5, 10)
    elif kind < 0.45:
        look = Material("plain", vivid(kit.rng), rough=0.35)
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, 6), np.linspace(-0.5, 0.5, 6))
    crumple = kit.between(0.05, 0.5)
    shrink = 1 - 0.5 * crumple
    z = np.abs(np.sin(u * kit.between(3, 9) + 1) * np.cos(v * kit.between(3, 9))) * crumple * 0.12
    points = np.stack([u * w * shrink, v * d * shrink, 0.004 + z], axis=-1)
    return surface(points, look).at(yaw=kit.between(0, 6.28))


def film(kit: Kit) -> Mesh:
    """A thin carrier bag, empty, blown against the ground."""
    colour = kit.one(((0.75, 0.75, 0.74), (0.7, 0.12, 0.1), (0.85, 0.85, 0.84), (0.1, 0.25, 0.5), (0.02, 0.02, 0.02)))
    look = Material("bag", colour, None, 0.3, 0.05, 4.0)
    size = kit.between(0.1, 0.2)
    return blob(kit.rng, (size, size * 0.7, size * kit.between(0.25, 0.6)), look, wrinkle=0.3, sides=14).at(
        yaw=kit.between(0, 6.28)
    )


def food_box(kit: Kit) -> Mesh:
    """A takeaway box, open or shut, white or brown."""
    look = plastic(kit.one(((0.75, 0.75, 0.73), (0.35, 0.22, 0.12), (0.02, 0.02, 0.02))), 0.5)
    w = kit.between(0.14, 0.2)
    base = box((w, w * 0.75, 0.05), look, taper=1.12)
    lid = box((w * 1.1, w * 0.8, 0.012), look).tilted(0, kit.between(0.0, 1.6)).at(0, w * 0.4, 0.05)
    return merge([base, lid]).at(yaw=kit.between(0, 6.28))


def peel(kit: Kit) -> Mesh:
    """Kitchen waste: leaves, peel, scraps."""
    look = Material("foliage", kit.one(((0.12, 0.2, 0.04), (0.4, 0.2, 0.03), (0.3, 0.28, 0.12))), (0.1, 0.08, 0.03))
    parts = []
    for _ in range(kit.number(6, 14)):
        piece = ball((kit.between(0.02, 0.07), kit.between(0.015, 0.05), 0.012), look, sides=6, rings=3)
        parts.append(piece.at(kit.rng.normal(0, 0.12), kit.rng.normal(0, 0.12), 0.012, yaw=kit.between(0, 6.28)))
    return merge(parts)


SMALL = (cup, cup, can, bottle, bottle, sheet, sheet, sheet, film, food_box, peel)
LARGE = (bag, bag, bag, sack, carton, carton, foam)


def piece(kit: Kit) -> Mesh:
    """One small piece of litter, 6 to 40 cm."""
    return kit.one(SMALL)(kit)


def scatter(kit: Kit, count: int, spread: float) -> Mesh:
    """Small pieces that lie together within `spread` metres (one sigma along the kerb) and count as one thing."""
    parts = []
    for _ in range(count):
        parts.append(piece(kit).at(kit.rng.normal(0, spread), kit.rng.normal(0, spread * 0.45), 0))
    return merge(parts)


def large(kit: Kit) -> Mesh:
    """A single bag, sack, carton or foam box."""
    return kit.one(LARGE)(kit)


def heap(kit: Kit, width: float | None = None) -> Mesh:
    """A dumped pile: a core of bags and boxes on each other, small waste between and around."""
    w = kit.between(0.5, 1.5) if width is None else width
    depth = w * kit.between(0.4, 0.8)
    parts: list[Mesh] = []
    for _ in range(kit.number(4, 8) + int(w * 5)):
        x, y = kit.rng.normal(0, w * 0.33), kit.rng.normal(0, depth * 0.33)
        rise = max(0.0, 0.45 * w * (1 - (x / w) ** 2 * 2 - (y / depth) ** 2 * 2)) * kit.between(0.0, 0.8)
        parts.append(large(kit).at(x, y, rise))
    for _ in range(kit.number(10, 35)):
        x, y = kit.rng.normal(0, w * 0.55), kit.rng.normal(0, depth * 0.6)
        rise = max(0.0, 0.4 * w * (1 - (x / w) ** 2 * 2 - (y / depth) ** 2 * 2)) * kit.between(0, 1)
        parts.append(piece(kit).at(x, y, rise))
    return merge(parts)


def spill(kit: Kit, width: float, depth: float, rise: float) -> Mesh:
    """What stands above the rim of a full bin of that inner size: filled from below, heaped in the middle."""
    parts = [
        blob(kit.rng, (width * 0.5, depth * 0.5, 0.12), bag_film(kit.rng), wrinkle=0.2).at(z=-0.08),
    ]
    for _ in range(kit.number(4, 8)):
        x, y = kit.between(-0.34, 0.34) * width, kit.between(-0.34, 0.34) * depth
        size = kit.between(0.32, 0.55) * min(width, depth)
        parts.append(bag(kit, size).at(x, y, rise * kit.between(0.0, 0.7) - 0.08))
    for _ in range(kit.number(3, 9)):
        x, y = kit.rng.normal(0, width * 0.25), kit.rng.normal(0, depth * 0.25)
        parts.append(piece(kit).at(x, y, rise * kit.between(0.5, 1.0)))
    return merge(parts)


def furniture(kit: Kit) -> Mesh:
    """Bulky waste: a mattress, a chair, a broken cabinet, a roll of carpet."""
    style = kit.number(0, 3)
    soft = cloth(vivid(kit.rng))
    wood = Material("plain", linear(120, 84, 56), linear(90, 62, 40), 0.6, 0.3)
    if style == 0:
        mesh = box((1.8, 0.2, 0.9), soft).tilted(0, kit.between(-0.35, -0.15))
    elif style == 1:
        legs = [box((0.04, 0.04, 0.42), wood).at(x, y) for x in (-0.2, 0.2) for y in (-0.2, 0.2)]
        mesh = merge([*legs, box((0.46, 0.46, 0.06), soft).at(z=0.42), box((0.46, 0.05, 0.45), wood).at(0, 0.2, 0.48)])
    elif style == 2:
        mesh = merge([box((0.8, 0.4, 1.1), wood), box((0.36, 0.02, 1.0), metal()).at(0.2, -0.28, 0.05, yaw=0.5)])
    else:
        mesh = tube((-0.8, 0, 0.15), (0.8, 0, 0.15), 0.15, soft, sides=12)
    return mesh.at(yaw=kit.between(-0.4, 0.4))
