"""What stands where nobody granted it: awnings, sheds and stalls.

Things on a facade have their back on y = 0 and reach out towards negative y (to the street).
"""

from __future__ import annotations

import math

import numpy as np

from training.simulate.kit import Kit
from training.simulate.mesh import Material, Mesh, ball, blob, box, merge, quad, slab, surface, tube
from training.simulate.palette import (
    SHEET,
    STEEL_BLUE,
    cardboard,
    cloth,
    concrete,
    glass,
    linear,
    metal,
    painted,
    pick,
    plastic,
    rubber,
    shade,
    vivid,
)  # fmt: skip
from training.simulate.textures import poster, sign
from training.simulate.waste import bag, carton

WOOD = Material("plain", linear(150, 112, 74), linear(110, 80, 52), 0.75, 0.25, 0.5)


def striped(kit: Kit) -> tuple[Material, Material]:
    """Two cloths for alternating strips; often the same one twice."""
    first = cloth(vivid(kit.rng))
    second = cloth((0.7, 0.7, 0.67)) if kit.chance(0.5) else first
    return first, second


def awning(kit: Kit, width: float | None = None) -> Mesh:
    """A sun roof over a shopfront: sloping cloth with a valance on arms, or rigid sheet on brackets. Lower edge at
    z = 0; hang it at door height."""
    w = kit.between(2.0, 5.0) if width is None else width
    reach, drop = kit.between(0.7, 1.7), kit.between(0.3, 0.8)
    arm = metal()
    parts: list[Mesh] = []
    if kit.chance(0.3):  # rigid: corrugated or clear sheet
        look = kit.one(
            (painted(pick(kit.rng, SHEET), kit.between(0, 0.7)), Material("plain", (0.25, 0.4, 0.45), rough=0.2))
        )
        parts.append(corrugated((-w / 2, -reach, 0.05), (w / 2, -reach, 0.05), (0.0, reach, drop), look))
        for x in np.linspace(-w / 2 + 0.1, w / 2 - 0.1, max(2, int(w / 1.2))):
            parts.append(tube((x, 0, -0.35), (x, -reach * 0.9, 0.06), 0.02, arm, sides=5))
            parts.append(tube((x, 0, drop), (x, -reach, 0.05), 0.02, arm, sides=5))
        return merge(parts)
    first, second = striped(kit)
    strips = max(4, int(w / 0.3))
    edges = np.linspace(-w / 2, w / 2, strips + 1)
    valance = kit.between(0.15, 0.3)
    curved = kit.chance(0.25)
    for i in range(strips):
        a, b = float(edges[i]), float(edges[i + 1])
        look = first if i % 2 else second
        rows = []
        for t in np.linspace(0, 1, 5):
            y = -reach * (math.sin(t * math.pi / 2) if curved else t)
            z = valance + drop * (math.cos(t * math.pi / 2) if curved else 1 - t)
            rows.append([[a, y, z], [b, y, z]])
        rows.append([[a, -reach, valance], [b, -reach, valance]])
        scallop = 0.0 if kit.chance(0.7) else 0.05
        rows.append([[a, -reach - 0.01, scallop], [b, -reach - 0.01, 0.0]])
        parts.append(surface(np.array(rows), look, smooth=False))
    for side in (-1, 1):
        x = side * w / 2
        cheek = first if kit.chance(0.6) else None
        if cheek is not None:
            parts.append(
                quad(
                    (x, 0, valance),
                    (x, -reach, valance),
                    (x, -reach * 0.5, valance + drop * 0.5),
                    (x, 0, valance + drop),
                    cheek,
                )
            )
        parts.append(tube((x * 0.95, 0, valance + drop * 0.2), (x * 0.95, -reach * 0.98, valance), 0.02, arm, sides=5))
    return merge(parts)


def corrugated(
    a: tuple[float, float, float],
    b: tuple[float, float, float],
    up: tuple[float, float, float],
    look: Material,
    *,
    pitch: float = 0.18,
) -> Mesh:
    """A ribbed sheet: the edge from `a` to `b`, swept along `up`."""
    start, stop, sweep = np.array(a), np.array(b), np.array(up)
    along = stop - start
    length = float(np.linalg.norm(along))
    normal = np.cross(along, sweep)
    normal /= np.linalg.norm(normal)
    ribs = max(4, int(length / pitch))
    t = np.repeat(np.arange(ribs), 4) / ribs + np.tile([0.0, 0.3, 0.5, 0.8], ribs) / ribs
    bump = np.tile([0.0, 0.0, 0.03, 0.03], ribs)
    edge = start + t[:, None] * along + bump[:, None] * normal
    return surface(np.stack([edge, edge + sweep]), look, smooth=False)


def shed(kit: Kit) -> Mesh:
    """A lean-to or a hut: corrugated or colour-steel walls on posts, a mono-pitch roof, a door, often a tarpaulin."""
    w, d = kit.between(1.8, 4.5), kit.between(1.4, 2.6)
    low, high = kit.between(1.9, 2.3), kit.between(2.3, 3.0)
    wall = kit.one(
        (
            painted(pick(kit.rng, SHEET), kit.between(0, 0.9)),
            painted(pick(kit.rng, STEEL_BLUE), kit.between(0, 0.4)),
            WOOD,
            Material("bricks", linear(146, 90, 70), linear(120, 80, 60), 0.9, 1.0, 1.0),
        )
    )
    roof = painted(pick(kit.rng, SHEET), kit.between(0.1, 0.9))
    parts: list[Mesh] = []
    posts = metal() if kit.chance(0.5) else WOOD
    for x in (-w / 2, w / 2):
        parts += [
            slab((x - 0.04, -d, 0), (x + 0.04, -d + 0.08, low), posts),
            slab((x - 0.04, -0.08, 0), (x + 0.04, 0, high), posts),
        ]
    over = kit.between(0.1, 0.45)
    rise = (high - low) / d
    parts.append(corrugated((-w / 2 - over, -d - over, low - rise * over), (w / 2 + over, -d - over, low - rise * over),
                            (0, d + over, rise * (d + over)), roof))  # fmt: skip
    open_front = kit.chance(0.35)
    for side in (-1, 1):  # cheeks, cut to the slope by a second strip
        x = side * w / 2
        parts.append(corrugated((x, -d, 0), (x, 0, 0), (0, 0, low), wall))
        parts.append(quad((x, -d, low), (x, 0, low), (x, 0, high), (x, 0, high), wall))
    if open_front:
        parts.append(quad((-w / 2, -0.02, 0), (w / 2, -0.02, 0), (w / 2, -0.02, high), (-w / 2, -0.02, high), shadow()))
        for _ in range(kit.number(2, 6)):
            item = kit.one((carton, goods_box, bag))(kit)
            parts.append(item.at(kit.between(-w * 0.4, w * 0.4), -d * kit.between(0.2, 0.8), 0))
        if kit.chance(0.6):
            tarp = cloth(
                kit.one((linear(40, 80, 160), linear(60, 120, 70), linear(200, 60, 40), linear(190, 190, 180)))
            )
            a = kit.between(-0.5, 0.0)
            across = np.linspace(a * w, min(0.5, a + kit.between(0.3, 0.7)) * w, 12)
            fold = 0.04 * np.sin(np.arange(12) * 2.1)
            top = np.stack([across, -d + fold * 0.3, np.full(12, low)], axis=-1)
            foot = np.stack([across, -d + fold * 2 - 0.05, np.full(12, kit.between(0.0, 0.9))], axis=-1)
            parts.append(surface(np.stack([foot, top]), tarp))
    else:
        parts.append(corrugated((-w / 2, -d, 0), (w / 2, -d, 0), (0, 0, low), wall))
        door_w = kit.between(0.75, 1.0)
        x = kit.between(-w / 2 + 0.15, w / 2 - door_w - 0.15)
        door = painted(vivid(kit.rng) if kit.chance(0.4) else pick(kit.rng, SHEET), kit.between(0, 0.6))
        parts.append(slab((x, -d - 0.06, 0.03), (x + door_w, -d - 0.03, 1.9), door))
        if kit.chance(0.6):
            wx = kit.between(-w / 2 + 0.1, w / 2 - 0.7)
            if wx + 0.6 < x or wx > x + door_w:
                parts.append(slab((wx, -d - 0.05, 1.0), (wx + 0.6, -d - 0.03, 1.6), glass(kit.rng)))
    if kit.chance(0.4):
        tarp = cloth(kit.one((linear(40, 80, 160), linear(60, 120, 70), linear(120, 120, 120))))
        parts.append(
            quad(
                (-w / 2 - over, -d - over - 0.05, low - rise * over - 0.2),
                (w * 0.2, -d - over - 0.05, low - rise * over - 0.25),
                (w * 0.15, -d * 0.3, low + rise * d * 0.7 + 0.06),
                (-w / 2 - over, -d * 0.2, low + rise * d * 0.8 + 0.06),
                tarp,
            )
        )
    for _ in range(kit.number(0, 4)):  # stones and tyres hold the roof down
        y = -d * kit.between(0.1, 0.9)
        parts.append(
            blob(kit.rng, (0.13, 0.1, 0.08), concrete(0.25), sides=8).at(
                kit.between(-w / 2, w / 2), y, low + (y + d) * rise + 0.03
            )
        )
    return merge(parts)


def shadow() -> Material:
    """The dark inside of something open."""
    return Material("plain", (0.03, 0.028, 0.025), (0.05, 0.045, 0.04), 1.0, 0.5)


def goods_box(kit: Kit) -> Mesh:
    """A crate of fruit or vegetables."""
    w, d, h = kit.between(0.35, 0.55), kit.between(0.28, 0.4), kit.between(0.15, 0.28)
    look = kit.one((plastic(vivid(kit.rng)), cardboard(kit.rng), WOOD))
    parts = [slab((-w / 2, -d / 2, 0), (w / 2, d / 2, h * 0.8), look)]
    for s in (-1, 1):
        parts.append(slab((-w / 2, s * d / 2 - 0.012, 0), (w / 2, s * d / 2 + 0.012, h), look))
        parts.append(slab((s * w / 2 - 0.012, -d / 2, 0), (s * w / 2 + 0.012, d / 2, h), look))
    colour = kit.one(
        (
            linear(200, 40, 30),
            linear(230, 140, 30),
            linear(110, 150, 50),
            linear(220, 200, 60),
            linear(70, 110, 50),
            linear(110, 60, 90),
        )
    )
    fruit = Material("foliage", colour, shade(colour, 0.6), 0.4)
    r = kit.between(0.03, 0.06)
    for x in np.arange(-w / 2 + r, w / 2 - r * 0.5, 1.9 * r):
        for y in np.arange(-d / 2 + r, d / 2 - r * 0.5, 1.9 * r):
            parts.append(
                ball((r, r, r), fruit, sides=7, rings=4).at(float(x), float(y), h * 0.85 + r * kit.between(0, 0.6))
            )
    return merge(parts)


def umbrella(kit: Kit) -> Mesh:
    """A vendor's sun umbrella, 2 to 3 m across."""
    r, h = kit.between(0.95, 1.5), kit.between(2.0, 2.4)
    first, second = striped(kit)
    sides = 8
    parts = [tube((0, 0, 0), (0, 0, h + 0.4), 0.022, metal(), sides=6)]
    for i in range(sides):
        a, b = i * 2 * math.pi / sides, (i + 1) * 2 * math.pi / sides
        edge = [(r * math.cos(t), r * math.sin(t), h) for t in (a, b)]
        hang = [(x, y, z - 0.16) for x, y, z in edge]
        look = first if i % 2 else second
        parts += [
            quad(edge[0], edge[1], (0, 0, h + 0.45), (0, 0, h + 0.45), look),
            quad(hang[0], hang[1], edge[1], edge[0], look),
        ]
    return merge(parts)


def table_of_goods(kit: Kit) -> Mesh:
    """A trestle table or a row of crates with things for sale."""
    w, d, h = kit.between(1.2, 2.4), kit.between(0.6, 0.9), kit.between(0.35, 0.8)
    parts: list[Mesh] = [slab((-w / 2, -d / 2, h - 0.04), (w / 2, d / 2, h), WOOD)]
    if kit.chance(0.6):
        cover = cloth(vivid(kit.rng))
        parts.append(
            slab(
                (-w / 2 - 0.01, -d / 2 - 0.01, kit.between(0.05, 0.3)), (w / 2 + 0.01, -d / 2 + 0.005, h + 0.005), cover
            )
        )
        parts.append(slab((-w / 2 - 0.01, -d / 2 - 0.01, h - 0.01), (w / 2 + 0.01, d / 2, h + 0.006), cover))
    for x in (-w / 2 + 0.05, w / 2 - 0.05):
        for y in (-d / 2 + 0.05, d / 2 - 0.05):
            parts.append(slab((x - 0.02, y - 0.02, 0), (x + 0.02, y + 0.02, h), metal()))
    x = -w / 2 + 0.25
    while x < w / 2 - 0.2:
        for y in (-d * 0.22, d * 0.22):
            parts.append(goods_box(kit).tilted(0, kit.between(-0.25, 0)).at(x, y, h))
        x += 0.5
    for _ in range(kit.number(0, 4)):
        parts.append(
            goods_box(kit).at(kit.between(-w / 2, w / 2), -d / 2 - kit.between(0.3, 0.6), 0, yaw=kit.between(-0.3, 0.3))
        )
    return merge(parts)


def stall(kit: Kit) -> Mesh:
    """A street vendor: goods on tables or a cart, under an umbrella or a frame with a canopy; or a rack of clothes."""
    style = kit.number(0, 3)
    if style == 0:
        return merge([table_of_goods(kit), umbrella(kit).at(kit.between(-0.5, 0.5), kit.between(0.1, 0.5), 0)])
    if style == 1:  # a frame with a canopy
        w, d, h = kit.between(1.8, 3.0), kit.between(1.4, 2.2), kit.between(2.1, 2.5)
        parts = [table_of_goods(kit).at(0, -d * 0.15, 0)]
        for x in (-w / 2, w / 2):
            for y in (-d / 2, d / 2):
                parts.append(tube((x, y, 0), (x, y, h), 0.025, metal(), sides=6))
        roof = cloth(
            kit.one(
                (linear(180, 40, 40), linear(40, 80, 160), linear(50, 120, 70), linear(214, 214, 210), vivid(kit.rng))
            )
        )
        low: list[tuple[float, float, float]] = [
            (-w / 2, -d / 2, h),
            (w / 2, -d / 2, h),
            (w / 2, d / 2, h),
            (-w / 2, d / 2, h),
        ]
        for i in range(4):
            j = (i + 1) % 4
            parts.append(quad(low[i], low[j], (0, 0, h + 0.6), (0, 0, h + 0.6), roof))
            a, b = low[i], low[j]
            parts.append(quad((a[0], a[1], h - 0.2), (b[0], b[1], h - 0.2), b, a, roof))
        return merge(parts)
    if style == 2:  # a cart with a glass case and a name board
        w, d = kit.between(1.1, 1.7), kit.between(0.65, 0.85)
        look = painted(vivid(kit.rng), 0.1)
        parts = [slab((-w / 2, -d / 2, 0.35), (w / 2, d / 2, 0.9), look)]
        parts.append(
            slab(
                (-w / 2 + 0.03, -d / 2 + 0.03, 0.9),
                (w / 2 - 0.03, d / 2 - 0.03, 1.35),
                Material("glass", (0.2, 0.18, 0.15), None, 0.08),
            )
        )
        for x in (-w / 2 + 0.02, w / 2 - 0.02):
            for y in (-d / 2 + 0.02, d / 2 - 0.02):
                parts.append(tube((x, y, 0.9), (x, y, 1.95), 0.018, metal(), sides=5))
        parts.append(box((w + 0.3, d + 0.3, 0.06), look).at(z=1.95))
        board = kit.board(sign, 4.0)
        parts.append(
            quad(
                (-w / 2, -d / 2 - 0.15, 1.7),
                (w / 2, -d / 2 - 0.15, 1.7),
                (w / 2, -d / 2 - 0.15, 2.0),
                (-w / 2, -d / 2 - 0.15, 2.0),
                board,
                picture=True,
            )
        )
        front = kit.image(poster, share=6)
        parts.append(
            quad(
                (-w / 2 + 0.1, -d / 2 - 0.01, 0.4),
                (w / 2 - 0.1, -d / 2 - 0.01, 0.4),
                (w / 2 - 0.1, -d / 2 - 0.01, 0.85),
                (-w / 2 + 0.1, -d / 2 - 0.01, 0.85),
                front,
                picture=True,
            )
        )
        for x in (-w * 0.35, w * 0.35):
            parts.append(tube((x, -d / 2 - 0.02, 0.25), (x, -d / 2 + 0.05, 0.25), 0.25, rubber(), sides=14))
            parts.append(tube((x, d / 2 - 0.05, 0.25), (x, d / 2 + 0.02, 0.25), 0.25, rubber(), sides=14))
        return merge(parts)
    w = kit.between(1.2, 2.2)  # clothes on a rail
    parts = [tube((-w / 2, 0, 1.6), (w / 2, 0, 1.6), 0.018, metal(), sides=5)]
    for x in (-w / 2, w / 2):
        parts.append(tube((x, 0, 0), (x, 0, 1.62), 0.02, metal(), sides=5))
        parts.append(tube((x, -0.25, 0.02), (x, 0.25, 0.02), 0.02, metal(), sides=5))
    for x in np.arange(-w / 2 + 0.08, w / 2 - 0.05, 0.09):
        long, wide = kit.between(0.6, 1.1), kit.between(0.36, 0.5)
        piece = box((0.05, wide, long), cloth(vivid(kit.rng)), taper_y=0.75)
        parts.append(piece.at(float(x), 0, 1.58 - long, yaw=kit.between(-0.2, 0.2)))
    if kit.chance(0.5):
        parts.append(table_of_goods(kit).at(0, -0.9, 0))
    return merge(parts)
