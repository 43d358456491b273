"""What building sites leave on streets: hoardings, and piles of bricks, sand, boards, pipes, cement bags and rubble."""

from __future__ import annotations

import math

import numpy as np

from training.simulate.kit import Kit
from training.simulate.mesh import Colour, Material, Mesh, blob, box, lathe, merge, quad, slab, surface, tube
from training.simulate.palette import (
    SACK,
    STEEL_BLUE,
    cardboard,
    concrete,
    linear,
    metal,
    painted,
    pick,
    plastic,
    rubber,
    shade,
)
from training.simulate.structures import WOOD, corrugated
from training.simulate.textures import fence_banner


def hoarding(kit: Kit, length: float | None = None) -> Mesh:
    """A site fence of ribbed sheet with posts and printed fields, or a row of plastic barriers."""
    w = kit.between(3.0, 9.0) if length is None else length
    parts: list[Mesh] = []
    if kit.chance(0.3):  # water-filled barriers
        colours: tuple[Colour, Colour] = kit.one(
            ((linear(200, 40, 36), (0.75, 0.75, 0.73)), (linear(220, 150, 20), linear(200, 40, 36)))
        )
        for i in range(max(2, int(w / 1.4))):
            look = plastic(colours[i % 2], 0.4)
            outline = [
                (-0.25, 0.0),
                (0.25, 0.0),
                (0.2, 0.3),
                (0.1, 0.45),
                (0.08, 0.9),
                (-0.08, 0.9),
                (-0.1, 0.45),
                (-0.2, 0.3),
            ]
            points = np.array([[[x, y, z] for y, z in [*outline, outline[0]]] for x in (-0.66, 0.66)])
            ends = [quad((x, -0.2, 0), (x, 0.2, 0), (x, 0.08, 0.9), (x, -0.08, 0.9), look) for x in (-0.66, 0.66)]
            parts.append(
                merge([surface(points, look, smooth=False), *ends]).at(
                    -w / 2 + 0.7 + 1.4 * i, yaw=kit.between(-0.04, 0.04)
                )
            )
        return merge(parts)
    h = kit.between(1.8, 2.5)
    look = painted(kit.one((*STEEL_BLUE, linear(214, 216, 214), linear(60, 120, 70))), kit.between(0, 0.35))
    style = kit.number(0, 2)
    step = kit.between(2.0, 3.0)
    panels = max(1, round(w / step))
    step = w / panels
    print_look = kit.image(fence_banner, share=5)
    frame = painted(kit.one((linear(220, 180, 30), linear(214, 216, 214), linear(40, 84, 140))))
    for i in range(panels):
        a, b = -w / 2 + i * step, -w / 2 + (i + 1) * step
        if style == 0 or (style == 1 and i % 2):
            parts.append(corrugated((a, 0, 0.15), (b, 0, 0.15), (0, 0, h - 0.15), look))
        else:
            parts.append(quad((a, -0.02, 0.2), (b, -0.02, 0.2), (b, -0.02, h), (a, -0.02, h), print_look, picture=True))
        parts.append(slab((a - 0.05, -0.06, 0), (a + 0.05, 0.06, h + 0.05), frame))
    parts.append(slab((w / 2 - 0.05, -0.06, 0), (w / 2 + 0.05, 0.06, h + 0.05), frame))
    parts.append(slab((-w / 2, -0.05, h), (w / 2, 0.05, h + 0.06), frame))
    parts.append(slab((-w / 2, -0.1, 0), (w / 2, 0.1, 0.2), concrete(0.3) if kit.chance(0.5) else frame))
    return merge(parts)


def cone(kit: Kit, radius: float, height: float, look: Material) -> Mesh:
    """A heap of loose stuff at its angle of rest, uneven."""
    angle = np.linspace(0, 2 * math.pi, 37)
    rings = np.linspace(0, 1, 14)
    wave = (
        1
        + 0.15 * np.sin(angle * 2 + kit.between(0, 6))
        + 0.1 * np.sin(angle * 3 + kit.between(0, 6))
        + 0.04 * np.sin(angle * 9)
    )
    wave[-1] = wave[0]
    r = radius * rings[:, None] * wave[None, :]
    z = np.broadcast_to(height * (1 - rings) ** 0.9, (37, 14)).T + 0.03 * np.sin(r * 9) * rings[:, None]
    z[0, :] = z[0, 0]
    points = np.stack([r * np.cos(angle), r * np.sin(angle) * kit.between(0.6, 1), np.maximum(z, -0.02)], axis=-1)
    return surface(points[::-1], look)


def material_pile(kit: Kit) -> Mesh:
    """Bricks, sand, gravel, boards, pipes, cement bags, rubble or tyres, left on the street."""
    style = kit.number(0, 6)
    parts: list[Mesh] = []
    if style == 0:  # bricks, stacked and tumbled
        colour = kit.one((linear(150, 76, 56), linear(160, 90, 70), linear(150, 148, 142)))
        look = Material("plain", colour, shade(colour, 0.6), 0.95, 0.12, 0.5)
        rows, cols, layers = kit.number(2, 4), kit.number(3, 6), kit.number(3, 9)
        for z in range(layers):
            for i in range(cols):
                for j in range(rows):
                    if z == layers - 1 and kit.chance(0.4):
                        continue
                    turn = 0.0 if z % 2 else math.pi / 2 * 0
                    parts.append(
                        box((0.238, 0.113, 0.053), look).at(
                            (i - cols / 2) * 0.245,
                            (j - rows / 2) * 0.12,
                            z * 0.055,
                            yaw=turn + kit.between(-0.05, 0.05),
                        )
                    )
        for _ in range(kit.number(5, 25)):
            tumbled = box((0.24, 0.115, 0.053), look).tilted(kit.between(-0.5, 0.5), kit.between(-0.3, 0.3))
            parts.append(
                tumbled.at(kit.rng.normal(0, cols * 0.16), kit.rng.normal(0, 0.35), 0.04, yaw=kit.between(0, 3))
            )
    elif style in (1, 2):  # sand or gravel
        colour = kit.one((linear(190, 164, 120), linear(170, 150, 118), linear(140, 138, 134), linear(120, 116, 110)))
        look = Material("sand", colour, shade(colour, 0.7), 0.95, 0.4, 25.0)
        r = kit.between(0.8, 1.8)
        parts.append(cone(kit, r, r * kit.between(0.45, 0.65), look))
        if kit.chance(0.4):
            parts.append(cone(kit, r * 0.7, r * 0.4, look).at(r * 0.9, kit.between(-0.3, 0.3), 0))
        for _ in range(kit.number(4, 20)):
            parts.append(
                blob(kit.rng, (0.05, 0.04, 0.03), look, sides=6).at(
                    kit.rng.normal(0, r * 0.8), kit.rng.normal(0, r * 0.6), 0
                )
            )
    elif style == 3:  # boards
        length = kit.between(1.8, 3.5)
        for i in range(kit.number(6, 22)):
            board = box((length * kit.between(0.85, 1.05), kit.between(0.1, 0.22), 0.03), WOOD)
            parts.append(
                board.at(kit.between(-0.1, 0.1), kit.rng.normal(0, 0.25), 0.035 * (i // 2), yaw=kit.rng.normal(0, 0.06))
            )
    elif style == 4:  # pipes or bars
        look = kit.one(
            (metal(), plastic(linear(220, 220, 214)), plastic(linear(220, 120, 30)), painted(linear(110, 70, 50), 0.9))
        )
        length, r = kit.between(2.0, 4.0), kit.between(0.02, 0.07)
        for row in range(kit.number(2, 5)):
            for i in range(8 - row):
                y = (i - (8 - row) / 2) * 2.05 * r + kit.between(-0.01, 0.01)
                x = kit.between(-0.1, 0.1)
                parts.append(
                    tube(
                        (x - length / 2, y, r + row * 1.75 * r),
                        (x + length / 2, y, r + row * 1.75 * r),
                        r,
                        look,
                        sides=8,
                    )
                )
    elif style == 5:  # cement bags
        colour = pick(kit.rng, SACK)
        look = Material("plain", colour, shade(colour, 0.75), 0.9, 0.2, 1.0)
        cols = kit.number(2, 4)
        for z in range(kit.number(2, 5)):
            for i in range(cols):
                for j in range(2):
                    lump = blob(kit.rng, (0.36, 0.22, 0.09), look, wrinkle=0.05, flat=0.5, sides=10)
                    parts.append(
                        lump.at((i - cols / 2) * 0.66, (j - 0.5) * 0.44, z * 0.13, yaw=kit.rng.normal(0, 0.06))
                    )
    else:  # rubble: broken concrete, bricks, boards
        parts.append(
            cone(kit, 0.9, 0.4, Material("sand", linear(150, 142, 130), linear(110, 104, 96), 0.95, 0.3, 25.0))
        )
        for _ in range(kit.number(40, 80)):
            x, y = kit.rng.normal(0, 0.5), kit.rng.normal(0, 0.4)
            look = kit.one(
                (
                    concrete(0.35),
                    concrete(0.2),
                    Material("plain", linear(150, 80, 60), None, 0.95),
                    WOOD,
                    cardboard(kit.rng),
                )
            )
            lump = box((kit.between(0.08, 0.35), kit.between(0.06, 0.22), kit.between(0.03, 0.12)), look).tilted(
                kit.between(-0.6, 0.6), kit.between(-0.6, 0.6)
            )
            parts.append(lump.at(x, y, max(0.0, 0.38 - 0.4 * math.hypot(x, y)), yaw=kit.between(0, 3)))
    return merge(parts).at(yaw=kit.between(-0.3, 0.3))


def tyres(kit: Kit) -> Mesh:
    """A few stacks of old tyres."""
    parts = []
    for i in range(kit.number(2, 4)):
        for z in range(kit.number(2, 5)):
            ring = [(0.2, 0.02), (0.3, 0.0), (0.32, 0.09), (0.3, 0.18), (0.2, 0.16), (0.2, 0.02)]
            parts.append(
                lathe(ring, rubber(), sides=16).at(
                    i * 0.66 + kit.between(-0.03, 0.03), kit.between(-0.03, 0.03), z * 0.18
                )
            )
    return merge(parts)
