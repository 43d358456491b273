"""Parked cars, vans, scooters and people: what hides things, and what must be hidden on evidence."""

from __future__ import annotations

import math

import numpy as np

from training.simulate.kit import Kit
from training.simulate.mesh import Material, Mesh, ball, box, lathe, merge, quad, slab, surface, tube
from training.simulate.palette import CLOTH, PAINT, SKIN, cloth, linear, metal, pick, plastic, rubber, shade, vivid
from training.simulate.textures import number_plate

# Stations along the car (fraction of length from the front): height of bonnet or belt line, height of the roof.
SALOON = (
    (0.0, 0.46, 0.62),
    (0.03, 0.66, 0.66),
    (0.25, 0.86, 0.86),
    (0.30, 0.90, 0.92),
    (0.43, 0.92, 1.40),
    (0.62, 0.94, 1.45),
    (0.76, 0.95, 1.36),
    (0.88, 0.98, 1.02),
    (0.98, 0.95, 0.96),
    (1.0, 0.6, 0.8),
)
SUV = (
    (0.0, 0.55, 0.8),
    (0.03, 0.85, 0.88),
    (0.24, 1.02, 1.03),
    (0.28, 1.05, 1.08),
    (0.40, 1.06, 1.62),
    (0.60, 1.07, 1.70),
    (0.85, 1.08, 1.66),
    (0.97, 1.08, 1.2),
    (0.99, 1.0, 1.05),
    (1.0, 0.6, 0.9),
)
HATCH = (
    (0.0, 0.46, 0.62),
    (0.04, 0.68, 0.70),
    (0.22, 0.88, 0.89),
    (0.26, 0.92, 0.95),
    (0.41, 0.94, 1.46),
    (0.65, 0.95, 1.52),
    (0.88, 0.98, 1.44),
    (0.98, 0.98, 1.05),
    (0.99, 0.9, 0.95),
    (1.0, 0.5, 0.8),
)
VAN = (
    (0.0, 0.5, 0.75),
    (0.02, 0.9, 0.95),
    (0.07, 1.0, 1.05),
    (0.09, 1.02, 1.1),
    (0.21, 1.06, 1.80),
    (0.35, 1.08, 1.92),
    (0.96, 1.08, 1.90),
    (0.99, 1.06, 1.3),
    (0.995, 0.9, 1.0),
    (1.0, 0.5, 0.8),
)
SHAPES = (
    (SALOON, 4.7, 1.82),
    (SUV, 4.6, 1.86),
    (HATCH, 4.1, 1.76),
    (VAN, 4.3, 1.68),
    (SUV, 4.4, 1.84),
    (SALOON, 4.6, 1.80),
)


def car(kit: Kit) -> Mesh:
    """A parked car or small van, its nose towards positive x, standing on z = 0."""
    stations, length, width = kit.one(SHAPES)
    colour = pick(kit.rng, PAINT, 0.1)
    paint = Material("paint", colour, shade(colour, 0.9), 0.25, 2.0)
    pane = Material("glass", (0.012, 0.014, 0.016), None, 0.05)
    dark = plastic((0.015, 0.015, 0.016), 0.6)
    frac = np.array([s[0] for s in stations])
    fine = np.linspace(0, 1, 41)
    belt, roof = (np.interp(fine, frac, [s[i] for s in stations]) for i in (1, 2))
    roof = np.maximum(roof, belt)
    x = (0.5 - fine) * length
    nose = np.clip(np.minimum(fine, 1 - fine) / 0.06, 0, 1)
    half = width / 2 * (0.86 + 0.14 * np.sqrt(nose))
    sill = 0.24 + 0.06 * (1 - nose)
    cabin = half * np.clip(0.93 - 0.42 * (roof - belt), 0.6, 1)
    section = [  # half of a cross-section: (y, z) from the sill to the middle of the roof
        (half * 0.93, sill), (half, sill + 0.16), (half * 1.0, (sill + belt) / 2 + 0.06), (half * 0.95, belt),
        (cabin, roof - 0.06 * (roof > belt + 0.1)), (cabin * 0.8, roof), (cabin * 0.0, roof + 0.015),
    ]  # fmt: skip
    half_points = np.stack([np.stack([x, -y, z], axis=-1) for y, z in section], axis=1)
    points = np.concatenate([half_points, (half_points * np.array([1, -1, 1]))[:, -2::-1]], axis=1)
    body = surface(points, paint)
    tall = (roof - belt) > 0.12
    material = np.zeros(len(body.faces), np.int32).reshape(40, 12)
    pillars = np.zeros(41, bool)
    for at in (0.30, 0.52, 0.73) if stations is not VAN else (0.2, 0.45, 0.7):
        pillars |= np.abs(fine - at) < 0.013
    for i in range(40):
        if tall[i] and tall[i + 1] and not pillars[i] and 0.14 < fine[i] < 0.97:
            material[i, [3, 8]] = 1
        slope = abs(roof[i + 1] - roof[i]) * 40 / length
        if slope > 0.33 and max(roof[i] - belt[i], roof[i + 1] - belt[i + 1]) > 0.05:
            material[i, [3, 4, 5, 6, 7, 8]] = 1
    body = Mesh(body.verts, body.faces, body.uv, material.ravel(), body.smooth, (paint, pane))
    parts = [body, slab((-length / 2 + 0.1, -width * 0.45, 0.18), (length / 2 - 0.1, width * 0.45, 0.32), dark)]
    radius = 0.31 if stations is not SUV else 0.35
    for fx in (0.19, 0.79):
        for side in (-1, 1):
            wx, wy = (0.5 - fx) * length, side * (width / 2 - 0.1)
            parts.append(
                lathe([(1e-4, -0.115), (radius, -0.1), (radius, 0.1), (1e-4, 0.115)], rubber(), sides=20)
                .tilted(0, math.pi / 2)
                .at(wx, wy, radius)
            )
            rim = lathe(
                [(radius * 0.66, 0.0), (radius * 0.6, -0.02), (1e-4, 0.01)], metal((0.6, 0.6, 0.62), 0.3), sides=14
            )
            parts.append(rim.tilted(0, side * -math.pi / 2).at(wx, wy + side * 0.118, radius))
            arch = lathe([(radius * 1.2, 0.0), (1e-4, 0.0)], dark, sides=20)
            parts.append(arch.tilted(0, side * -math.pi / 2).at(wx, side * (width / 2 + 0.004), radius + 0.02))
    lamp, tail = plastic((0.7, 0.7, 0.68), 0.1), plastic((0.35, 0.01, 0.01), 0.15)
    for side in (-1, 1):
        y = side * width * 0.36
        parts.append(
            ball((0.12, 0.17, 0.07), lamp, sides=8, rings=5).at(
                length / 2 - 0.12, y, 0.68 if stations is not SUV else 0.82
            )
        )
        parts.append(ball((0.08, 0.15, 0.09), tail, sides=8, rings=5).at(-length / 2 + 0.1, y, 0.86))
        mirror = ball((0.07, 0.12, 0.08), paint, sides=8, rings=5)
        parts.append(mirror.at((0.5 - 0.31) * length, side * (width / 2 + 0.07), float(belt[12]) + 0.06))
    plate = kit.image(number_plate, 0.4, 6)
    for x0, s in ((length / 2 + 0.015, 1.0), (-length / 2 - 0.015, -1.0)):
        parts.append(
            quad(
                (x0, -s * 0.22, 0.45),
                (x0, s * 0.22, 0.45),
                (x0, s * 0.22, 0.59),
                (x0, -s * 0.22, 0.59),
                plate,
                picture=True,
            )
        )
    parts.append(slab((length / 2 - 0.05, -0.5, 0.36), (length / 2 + 0.005, 0.5, 0.62), dark))
    return merge(parts)


def scooter(kit: Kit) -> Mesh:
    """An electric scooter on its stand, nose towards positive x."""
    look = plastic(vivid(kit.rng) if kit.chance(0.6) else pick(kit.rng, PAINT), 0.3)
    dark = plastic((0.015, 0.015, 0.016), 0.6)
    parts = []
    for x in (-0.62, 0.62):
        parts.append(
            lathe([(0.14, -0.05), (0.23, -0.045), (0.23, 0.045), (0.14, 0.05)], rubber(), sides=18)
            .tilted(0, math.pi / 2)
            .at(x, 0, 0.23)
        )
        parts.append(tube((x, -0.06, 0.23), (x, 0.06, 0.23), 0.12, metal(), sides=10))
    parts += [
        slab((-0.35, -0.13, 0.24), (0.32, 0.13, 0.34), look),
        ball((0.42, 0.16, 0.22), look, sides=10, rings=6).at(-0.45, 0, 0.52),
        ball((0.38, 0.15, 0.08), dark, sides=10, rings=6).at(-0.36, 0, 0.76),
        tube((0.62, 0, 0.25), (0.42, 0, 1.02), 0.035, metal()),
        box((0.06, 0.34, 0.55), look, taper_y=0.8).tilted(-0.2, 0).at(0.42, 0, 0.34),
        tube((0.4, -0.32, 1.04), (0.4, 0.32, 1.04), 0.018, dark),
        ball((0.1, 0.12, 0.1), look, sides=8, rings=5).at(0.48, 0, 0.96),
        tube((0.0, 0, 0.3), (0.0, -0.14, 0.0), 0.015, dark, sides=5),
    ]
    for side in (-1, 1):
        parts.append(tube((0.4, side * 0.25, 1.04), (0.36, side * 0.32, 1.22), 0.008, dark, sides=4))
        parts.append(ball((0.015, 0.06, 0.04), dark, sides=6, rings=4).at(0.36, side * 0.33, 1.24))
    if kit.chance(0.5):
        parts.append(box((0.3, 0.34, 0.3), plastic(vivid(kit.rng))).at(-0.8, 0, 0.74))
    return merge(parts)


def person(kit: Kit) -> Mesh:
    """Somebody standing or in mid-step, facing positive x."""
    h = kit.between(1.52, 1.82) / 1.72
    top, legs_cloth = cloth(pick(kit.rng, CLOTH, 0.2)), cloth(pick(kit.rng, CLOTH[:4], 0.2))
    skin = Material("plain", pick(kit.rng, SKIN, 0.08), rough=0.6)
    hair = Material("plain", (0.012, 0.01, 0.009), rough=0.6) if kit.chance(0.85) else cloth(vivid(kit.rng))
    stride = kit.between(0, 0.32) if kit.chance(0.7) else 0.02
    parts: list[Mesh] = []
    for side in (-1, 1):
        y, swing = side * 0.095, side * stride
        hip, knee, foot = (0.0, y, 0.9), (swing * 0.45 + 0.04, y * 1.05, 0.5), (swing, y * 1.05, 0.08)
        parts += [
            tube(hip, knee, 0.088, legs_cloth, end=0.062, sides=9),
            tube(knee, foot, 0.062, legs_cloth, end=0.045, sides=9),
        ]
        parts.append(
            ball((0.13, 0.05, 0.05), plastic((0.02, 0.02, 0.02)), sides=8, rings=5).at(foot[0] + 0.05, foot[1], 0.045)
        )
        shoulder, elbow = (0.0, side * 0.19, 1.4), (-swing * 0.35, side * 0.235, 1.13)
        hand = (-swing * 0.6 + 0.08, side * 0.225, 0.88)
        sleeve = top if kit.chance(0.7) else skin
        parts += [
            tube(shoulder, elbow, 0.055, top, end=0.045, sides=8),
            tube(elbow, hand, 0.042, sleeve, end=0.032, sides=8),
        ]
        parts.append(ball((0.045, 0.025, 0.06), skin, sides=7, rings=5).at(*hand))
    trunk = [(0.15, 0.86), (0.17, 0.95), (0.155, 1.1), (0.185, 1.3), (0.19, 1.39), (0.12, 1.46), (0.06, 1.5)]
    parts.append(lathe(trunk, top, sides=14).stretched(0.68, 1.05, 1))
    parts.append(tube((0, 0, 1.44), (0.01, 0, 1.56), 0.055, skin))
    parts.append(ball((0.098, 0.078, 0.12), skin, sides=12, rings=8).at(0.015, 0, 1.62))
    parts.append(ball((0.104, 0.088, 0.1), hair, sides=12, rings=8).at(-0.012, 0, 1.665))
    if kit.chance(0.35):
        parts.append(box((0.14, 0.28, 0.38), cloth(vivid(kit.rng)), taper=0.85).at(-0.19, 0, 1.02))
    return merge(parts).at(scale=h)


def tricycle(kit: Kit) -> Mesh:
    """A cargo tricycle with an open box, nose towards positive x."""
    look = plastic(kit.one((linear(40, 90, 170), linear(180, 40, 36), linear(40, 110, 60))), 0.4)
    parts = [slab((-1.25, -0.5, 0.45), (0.2, 0.5, 0.5), look)]
    for s in (-1, 1):
        parts.append(slab((-1.25, s * 0.5 - 0.015, 0.45), (0.2, s * 0.5 + 0.015, 0.85), look))
        parts.append(
            lathe([(0.17, -0.05), (0.28, -0.045), (0.28, 0.045), (0.17, 0.05)], rubber(), sides=16)
            .tilted(0, math.pi / 2)
            .at(-0.8, s * 0.45, 0.28)
        )
    parts += [slab((-1.25, -0.5, 0.45), (-1.22, 0.5, 0.8), look), slab((0.18, -0.5, 0.45), (0.22, 0.5, 0.9), look)]
    parts.append(
        lathe([(0.17, -0.04), (0.26, -0.035), (0.26, 0.035), (0.17, 0.04)], rubber(), sides=16)
        .tilted(0, math.pi / 2)
        .at(1.15, 0, 0.26)
    )
    parts += [
        tube((1.15, 0, 0.3), (0.95, 0, 1.05), 0.03, metal()),
        tube((0.92, -0.33, 1.05), (0.92, 0.33, 1.05), 0.018, metal()),
    ]
    parts += [
        slab((0.25, -0.2, 0.35), (0.75, 0.2, 0.7), look),
        ball((0.2, 0.16, 0.06), rubber(), sides=8, rings=5).at(0.45, 0, 0.74),
    ]
    return merge(parts)
