"""Bins that are shut and bins that overflow, in the designs of Chinese streets."""

from __future__ import annotations

import math

from training.simulate.kit import Kit
from training.simulate.mesh import Colour, Material, Mesh, box, lathe, merge, quad, slab, surface, tube
from training.simulate.palette import BIN_GREEN, BIN_OTHER, linear, metal, painted, pick, plastic, rubber, shade
from training.simulate.textures import bin_label
from training.simulate.waste import piece, scatter, spill


def bin_colour(kit: Kit) -> Colour:
    """Mostly green, else grey, blue, red or black."""
    return pick(kit.rng, BIN_GREEN if kit.chance(0.6) else BIN_OTHER, 0.12)


def hollow(w: float, d: float, h: float, taper: float, look: Material) -> Mesh:
    """An open tapered tub: walls outside and inside, and a floor."""
    inner = Material("plain", shade(look.colour, 0.4), None, 0.9, 0.2)
    out: list[tuple[float, float, float]] = [
        (-w / 2, -d / 2, 0),
        (w / 2, -d / 2, 0),
        (w / 2, d / 2, 0),
        (-w / 2, d / 2, 0),
    ]
    up = [(x * taper, y * taper, h) for x, y, _ in out]
    rim = [(x * 0.92, y * 0.92, h) for x, y, _ in up]
    deep = [(x * 0.9, y * 0.9, h * 0.35) for x, y, _ in out]
    parts = []
    for i in range(4):
        j = (i + 1) % 4
        parts += [
            quad(out[i], out[j], up[j], up[i], look),
            quad(up[i], up[j], rim[j], rim[i], look),
            quad(rim[i], rim[j], deep[j], deep[i], inner),
        ]
    parts += [quad(deep[0], deep[1], deep[2], deep[3], inner)]
    return merge(parts)


def wheelie(kit: Kit, *, full: bool = False, large: bool | None = None) -> Mesh:
    """A wheeled bin of 120 or 240 litres, or a large one of 660; `full`: lid thrown back, waste above the rim."""
    big = kit.chance(0.18) if large is None else large
    w, d, h = (1.25, 0.78, 1.0) if big else kit.one(((0.58, 0.68, 0.98), (0.48, 0.55, 0.88)))
    look = plastic(bin_colour(kit), 0.45, 0.65)
    foot, taper = 0.06, 1.18
    parts = [hollow(w / taper, d / taper, h - foot, taper, look).at(z=foot)]
    parts.append(rim_bar(w, d, h, look))
    for x in (-0.3, 0.0, 0.3):  # ribs stiffen the front
        parts.append(box((0.03, 0.02, h * 0.6), look).tilted(0, -0.06).at(x * w, -d / 2 / taper * 1.02, 0.2))
    wheel_r = 0.1
    for side in (-1, 1):
        for y in (d * 0.36, -d * 0.36) if big else (d * 0.36,):
            x = side * w * 0.42
            parts.append(tube((x - 0.03, y, wheel_r), (x + 0.03, y, wheel_r), wheel_r, rubber(), sides=12))
        parts.append(tube((side * w * 0.35, d / 2, h - 0.05), (side * w * 0.35, d / 2 + 0.1, h - 0.02), 0.018, look))
    parts.append(tube((-w * 0.38, d / 2 + 0.1, h - 0.02), (w * 0.38, d / 2 + 0.1, h - 0.02), 0.02, look))
    size = 0.26 if big else 0.2
    z0 = h * kit.between(0.42, 0.55)
    lean = (taper - 1) / taper * d / 2 / h
    front = -d / 2 / taper - lean * z0 - 0.012
    label = kit.image(bin_label, 0.5, 4)
    if kit.chance(0.8):
        parts.append(
            quad(
                (-size / 2, front, z0),
                (size / 2, front, z0),
                (size / 2, front - lean * size * 1.3, z0 + size * 1.3),
                (-size / 2, front - lean * size * 1.3, z0 + size * 1.3),
                label,
                picture=True,
            )
        )
    if full and kit.chance(0.55):  # lid thrown back, hanging behind
        lid = box((w * 1.02, 0.05, d), look).tilted(0, kit.between(-0.5, -0.1))
        parts.append(lid.at(0, d / 2 + 0.12, h - d * 0.92))
    elif full:
        lid = lid_mesh(w, d, look).at(0, -d / 2, 0).tilted(0, kit.between(0.7, 1.25)).at(0, d / 2, h + 0.02)
        parts.append(lid)
    else:
        ajar = kit.between(0, 0.12) if kit.chance(0.3) else 0.0
        parts.append(lid_mesh(w, d, look).at(0, -d / 2, 0).tilted(0, ajar).at(0, d / 2, h))
    if full:
        parts.append(spill(kit, w * 0.85, d * 0.85, kit.between(0.12, 0.4)).at(z=h - 0.05))
    return merge(parts)


def rim_bar(w: float, d: float, h: float, look: Material) -> Mesh:
    """The thick edge round the opening."""
    bars = [box((w * 1.04, 0.05, 0.05), look).at(0, s * d / 2, h - 0.05) for s in (-1, 1)]
    bars += [box((0.05, d * 1.04, 0.05), look).at(s * w / 2, 0, h - 0.05) for s in (-1, 1)]
    return merge(bars)


def lid_mesh(w: float, d: float, look: Material) -> Mesh:
    """A lid that lies on z = 0 about the origin, a little domed."""
    return merge([box((w * 1.07, d * 1.07, 0.04), look), box((w * 0.95, d * 0.95, 0.05), look, taper=0.8).at(z=0.04)])


def litter_bin(kit: Kit, *, full: bool = False) -> Mesh:
    """A round street bin of metal or plastic with a hood, or an open drum."""
    r, h = kit.between(0.2, 0.29), kit.between(0.7, 0.95)
    look = kit.one((painted(bin_colour(kit), kit.between(0, 0.4)), metal(), plastic(bin_colour(kit))))
    wall = [(r * 0.92, 0.0), (r * 0.95, 0.03), (r, h), (r * 0.88, h), (r * 0.85, h * 0.55), (1e-4, h * 0.55)]
    parts = [lathe(wall, look, sides=20)]
    for z in (h * 0.25, h * 0.75):
        parts.append(lathe([(r * 0.98, z), (r * 1.04, z + 0.015), (r * 1.0, z + 0.03)], metal(), sides=20))
    if kit.chance(0.5):
        for angle in range(4):
            x, y = r * 0.9 * math.cos(angle * 1.57 + 0.8), r * 0.9 * math.sin(angle * 1.57 + 0.8)
            parts.append(tube((x, y, h), (x, y, h + 0.2), 0.012, look, sides=5))
        parts.append(lathe([(r * 1.1, h + 0.2), (r * 0.7, h + 0.3), (1e-4, h + 0.34)], look, sides=20))
    if full:
        parts.append(spill(kit, r * 1.6, r * 1.6, kit.between(0.05, 0.18)).at(z=h - 0.04))
        parts.append(scatter(kit, kit.number(3, 9), 0.35).at(0, -0.3, 0))
    return merge(parts)


def street_bin(kit: Kit, *, full: bool = False) -> Mesh:
    """The two-compartment cabinet of Chinese pavements: posts, a roof, two mouths, coloured doors."""
    w, d, h = kit.between(0.85, 1.15), kit.between(0.35, 0.45), kit.between(0.95, 1.2)
    frame = kit.one((metal((0.45, 0.46, 0.48)), painted(linear(60, 64, 68)), painted(linear(110, 80, 52))))
    colours = kit.one(
        (
            (linear(30, 84, 150), linear(80, 84, 88)),
            (linear(40, 110, 60), linear(80, 84, 88)),
            (linear(90, 94, 98), linear(90, 94, 98)),
            (linear(40, 110, 60), linear(190, 150, 30)),
        )
    )
    dark = Material("plain", (0.01, 0.01, 0.01), rough=0.9)
    parts = [slab((-w / 2, -d / 2, 0.1), (w / 2, d / 2, h), frame)]
    for x in (-w / 2 - 0.02, w / 2 + 0.02):
        parts.append(slab((x - 0.03, -d / 2 - 0.02, 0), (x + 0.03, d / 2 + 0.02, h + 0.02), frame))
    roof = kit.between(0.04, 0.18)
    parts.append(box((w + 0.18, d + 0.16, 0.04), frame, taper=0.9).at(z=h + roof))
    parts.append(slab((-w / 2, -0.03, h), (w / 2, 0.03, h + roof), frame))
    for side, colour in zip((-1, 1), colours, strict=True):
        x = side * w / 4
        door = painted(colour, kit.between(0, 0.3))
        parts.append(slab((x - w * 0.2, -d / 2 - 0.012, 0.16), (x + w * 0.2, -d / 2 - 0.01 + 0.01, h * 0.68), door))
        y = -d / 2 - 0.006
        parts.append(quad((x - w * 0.17, y, h * 0.75), (x + w * 0.17, y, h * 0.75), (x + w * 0.17, y, h * 0.92),
                          (x - w * 0.17, y, h * 0.92), dark))  # fmt: skip
        label = kit.image(bin_label, 0.5, 4)
        parts.append(
            quad(
                (x - 0.08, y - 0.01, h * 0.35),
                (x + 0.08, y - 0.01, h * 0.35),
                (x + 0.08, y - 0.01, h * 0.55),
                (x - 0.08, y - 0.01, h * 0.55),
                label,
                picture=True,
            )
        )
        if full:
            for _ in range(kit.number(2, 4)):
                parts.append(piece(kit).at(x + kit.between(-0.12, 0.12), -d / 2 - 0.03, h * kit.between(0.74, 0.86)))
    if full:
        parts.append(spill(kit, w * 0.8, d * 0.8, 0.12).at(z=h + roof + 0.02))
        parts.append(scatter(kit, kit.number(5, 14), 0.4).at(0, -d / 2 - 0.25, 0))
    return merge(parts)


def skip(kit: Kit, *, full: bool = False) -> Mesh:
    """A steel container of a few cubic metres with sloping ends."""
    w, d, h = kit.between(1.8, 2.6), kit.between(1.2, 1.6), kit.between(1.0, 1.3)
    look = painted(kit.one((linear(30, 90, 60), linear(40, 84, 140), linear(190, 110, 30))), kit.between(0.3, 0.8))
    parts = [hollow(w / 1.25, d, h, 1.25, look), rim_bar(w, d * 1.25, h, look)]
    for x in (-0.3, 0, 0.3):
        parts.append(slab((x * w - 0.04, -d / 2 * 1.22, 0.05), (x * w + 0.04, -d / 2, h), look))
    if full:
        parts.append(spill(kit, w * 0.8, d * 0.8, 0.5).at(z=h - 0.1))
        parts.append(spill(kit, w * 0.5, d * 0.7, 0.4).at(x=-w * 0.2, z=h - 0.1))
        parts.append(scatter(kit, kit.number(6, 16), 0.6).at(0, -d * 0.8, 0))
    else:
        look = painted(shade(look.colour, 0.85), 0.3)
        lid = surface_lid(w, d, look)
        parts.append(lid.at(z=h))
    return merge(parts)


def surface_lid(w: float, d: float, look: Material) -> Mesh:
    """Two steel flaps that meet as a low ridge."""
    import numpy as np

    points = np.array(
        [[[-w / 2, y * 1.2, z], [w / 2, y * 1.2, z]] for y, z in ((-d / 2, 0.0), (0.0, 0.12), (d / 2, 0.0))]
    )
    return surface(points, look, smooth=False)


def shut_bin(kit: Kit) -> Mesh:
    """A bin that needs nobody."""
    style = kit.between(0, 1)
    if style < 0.6:
        return wheelie(kit)
    return street_bin(kit) if style < 0.82 else litter_bin(kit) if style < 0.95 else skip(kit)


def overflowing_bin(kit: Kit) -> Mesh:
    """A bin with waste above its rim."""
    style = kit.between(0, 1)
    if style < 0.72:
        return wheelie(kit, full=True)
    return (
        street_bin(kit, full=True)
        if style < 0.82
        else litter_bin(kit, full=True)
        if style < 0.92
        else skip(kit, full=True)
    )
