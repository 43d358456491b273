"""What stands and lies beside roads and is no litter: guard rails, painted kerbs, rubble, dry shrubs, plain walls.

As in `clutter`, each draws into `bgr` (h, w, 3) float 0–255 in place, at a ground point (x, z) in metres of a `View`.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from training.composites.brush import Point, blend, blob
from training.composites.ground import FloatImage, View, f32

NEAREST_M = 1.5


def line_on_ground(rng: np.random.Generator, at: Point, step_m: float, length_m: float) -> list[Point]:
    """Ground points `step_m` apart on a straight line through `at`: across the view, along it, or anyhow.

    A camera that looks to the side has rails and kerbs running across its picture, one that looks ahead along it.
    """
    angle = rng.choice([rng.normal(0, 10), rng.normal(0, 10), rng.normal(90, 8), rng.uniform(-90, 90)])
    cos, sin = float(np.cos(np.radians(angle))), float(np.sin(np.radians(angle)))
    start = rng.uniform(0, length_m)
    points = [(at[0] + t * cos, at[1] + t * sin) for t in np.arange(-start, length_m - start, step_m)]
    return [(float(x), float(z)) for x, z in points if NEAREST_M < z < 60]


def strip(view: View, points: list[Point], low_m: float, high_m: float) -> FloatImage:
    """The outline in pixels of an upright strip over ground points, between two heights in metres."""
    feet = [(*view.pixel(x, z), view.metre(z)) for x, z in points]
    upper = [(u, v - high_m * m) for u, v, m in feet]
    lower = [(u, v - low_m * m) for u, v, m in feet]
    return f32(upper + lower[::-1])


def guard_rail(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """A steel rail on its posts, with the reflectors that are screwed into its wave."""
    points = line_on_ground(rng, (at[0], max(at[1] * 0.7, 2.0)), 0.5, rng.uniform(6, 25))
    if len(points) < 2:
        return
    low, high, steel = rng.uniform(0.35, 0.5), rng.uniform(0.68, 0.85), rng.uniform(90, 200)
    every = int(rng.integers(4, 9))
    for x, z in points[::every]:
        u, v = view.pixel(x, z)
        width, top = 0.06 * view.metre(z), v - (high + 0.05) * view.metre(z)
        blend(bgr, blob(view, f32([(u - width, v), (u + width, v), (u + width, top), (u - width, top)]), 0.3), [45] * 3)
    waves = ((0.0, 0.75), (0.2, 1.1), (0.4, 0.45), (0.6, 0.8), (0.8, 1.15))
    for share, tone in waves:  # from below
        edges = low + share * (high - low), low + (share + 0.2) * (high - low)
        blend(bgr, blob(view, strip(view, points, *edges), 0.4), np.clip([steel * tone] * 3, 0, 245))
    colour = f32([(30, 170, 235), (225, 230, 232), (50, 50, 200)][int(rng.choice(3, p=[0.7, 0.2, 0.1]))])
    middle, reach = (low + high) / 2, rng.uniform(0.035, 0.08)
    for x, z in points[:: every * int(rng.choice([1, 2]))]:
        reflector(rng, view, bgr, (x, z, middle), reach, colour)


def reflector(
    rng: np.random.Generator,
    view: View,
    bgr: FloatImage,
    at: tuple[float, float, float],
    reach_m: float,
    colour: FloatImage,
) -> None:
    """A plate with slanted edges at (x, z, height) in metres, half as wide as `reach_m` or less, in a dark frame."""
    u, v = view.pixel(at[0], at[1])
    m = view.metre(at[1])
    v -= at[2] * m
    side = 1.0 if rng.random() < 0.5 else -1.0
    width, slant = rng.uniform(0.25, 1.0) * reach_m * m * side, rng.uniform(0.3, 0.8)
    for grown, tone in ((1.35, f32((25, 25, 25))), (1.0, colour * rng.uniform(0.5, 1.1))):
        reach = reach_m * m * grown
        plate = f32([(-width, -reach), (width, -slant * reach), (width, slant * reach), (-width, reach)])
        blend(bgr, blob(view, plate * f32((grown, 1)) + f32((u, v)), 0.2), np.clip(tone, 0, 250))


def painted_kerb(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """Kerb stones of 10 to 30 cm, painted by turns, faded, with their upper side."""
    step = rng.uniform(0.4, 1.2)
    points = line_on_ground(rng, at, step, rng.uniform(5, 30))
    pairs = [((20, 180, 225), (45, 45, 45)), ((60, 60, 190), (225, 225, 225)), ((225, 225, 225), (40, 40, 40))]
    paints = f32(pairs[int(rng.choice(3, p=[0.6, 0.2, 0.2]))])
    if rng.random() < 0.25:
        paints = f32([[rng.uniform(110, 200)] * 3] * 2)
    height, depth, dust = rng.uniform(0.08, 0.3), rng.uniform(0.12, 0.3), np.float32(rng.uniform(0.5, 1))
    for k, (one, two) in enumerate(pairwise(points)):
        tone = paints[k % 2] * rng.uniform(0.8, 1.05)
        blend(bgr, blob(view, strip(view, [one, two], 0, height), 0.3) * dust, tone * 0.75)
        back = [(x, z + depth) for x, z in (one, two)]
        upper = [(u, v - height * view.metre(z)) for (u, v), z in ((view.pixel(x, z), z) for x, z in (one, two))]
        upper += [(u, v - height * view.metre(z)) for (u, v), z in ((view.pixel(x, z), z) for x, z in back[::-1])]
        blend(bgr, blob(view, f32(upper), 0.3) * dust, np.clip(tone * 1.1, 0, 245))


def rubble(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """Gravel, clods and broken stone over some metres, in the ground's colours, each lit from above."""
    spread, tint = rng.uniform(0.3, 2.5), f32(rng.normal(1, 0.06, 3))
    typical = rng.uniform(0.008, 0.05)
    for _ in range(int(rng.integers(20, 160))):
        x, z = at[0] + spread * rng.standard_normal(), at[1] + spread * rng.standard_normal()
        if z < NEAREST_M:
            continue
        radius = min(typical * float(rng.lognormal(0, 0.6)), 0.2) * view.metre(z)
        u, v = view.pixel(x, z)
        if radius < 0.4 or not (0 <= u < view.size and 0 <= v < view.size):
            continue
        stone = bgr[int(v), int(u)] * tint * rng.uniform(0.8, 1.3)
        turn = np.linspace(0, 2 * np.pi, 8, endpoint=False) + rng.uniform(0, 1)
        shape = radius * np.clip(1 + 0.25 * rng.standard_normal(8), 0.4, 1.7)
        around = np.stack([u + shape * np.cos(turn), v + 0.6 * shape * np.sin(turn)], axis=1)
        for lift, share, size in ((-0.25, 0.45, 1.1), (0.0, 0.75, 1.0), (0.3, 1.1, 0.7)):
            part = (around - (u, v)) * size + (u, v - lift * radius)
            shade = np.clip(stone * share, 0, 240)
            cv2.fillPoly(bgr, [np.round(part * 8).astype(np.int32)], [float(one) for one in shade], shift=3)


def shrub(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """A bush, green or dried up: twigs and leaves over a dark foot."""
    u, v = view.pixel(*at)
    wide, high = rng.uniform(0.2, 1.3) * view.metre(at[1]), rng.uniform(0.15, 1.0) * view.metre(at[1])
    foot = np.zeros(bgr.shape[:2], np.float32)
    cv2.ellipse(foot, (int(u), int(v)), (int(wide * 0.7) + 1, int(0.12 * wide) + 1), 0, 0, 360, 0.6, -1)
    blend(bgr, cv2.GaussianBlur(foot, (0, 0), max(0.05 * wide, 0.6)), [30, 38, 42])
    colour = f32([(60, 105, 85), (95, 140, 165), (70, 95, 110), (45, 120, 100)][int(rng.integers(4))])
    for _ in range(int(np.clip(wide * high * 0.12, 30, 900))):
        root = u + 0.35 * wide * rng.standard_normal()
        tip = root + 0.3 * wide * rng.standard_normal(), v - abs(rng.normal(0.45, 0.3)) * high
        share = rng.uniform(0.3, 1.0)
        start = root + share * (tip[0] - root), v + share * (tip[1] - v)
        shade = np.clip(colour * rng.uniform(0.35, 1.4) * rng.normal(1, 0.08, 3), 0, 245)
        line = [(int(p[0]), int(p[1])) for p in (start, tip)]
        cv2.line(bgr, line[0], line[1], [float(one) for one in shade], 1 if wide < 150 else 2)


def plain_wall(rng: np.random.Generator, width: int, height: int) -> FloatImage:
    """A wall or a hoarding of one tone, (height, width, 3): plastered, panelled or ribbed, soiled at its foot."""
    tone = rng.uniform(90, 215) * f32(rng.choice(f32([(0.8, 0.95, 1.05), (0.7, 0.9, 1.1), (1, 1, 1), (0.9, 1, 0.95)])))
    light = np.ones((height, width), np.float32)
    for sigma, share in ((1.0, 0.05), (12.0, 0.05), (60.0, 0.08)):
        noise = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), sigma)
        light += share * noise / max(float(noise.std()), 1e-6)
    columns = np.arange(width)
    if rng.random() < 0.6:
        every = int(rng.choice([rng.uniform(4, 14), rng.uniform(60, 260)]))
        light *= np.where(columns % every < max(1, every // 12), rng.uniform(0.6, 0.9), 1).astype(np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    light *= 1 - rng.uniform(0, 0.4) * np.exp(-(height - rows) / (0.15 * height + 1))
    return f32(np.clip(tone * light[..., None], 0, 245))
