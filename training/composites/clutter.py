"""What lies and shows on streets and is no litter: leaves, stains, manhole covers, patches, cracks, stones, shadows.

Every function draws into `bgr` (h, w, 3) float 0–255 in place, at ground points of a `View`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.composites.brush import Point, blend, blob, outline
from training.composites.ground import FloatImage, View, f32
from training.composites.roadside import guard_rail, painted_kerb, rubble, shrub


def stain(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """Oil, water or spilt paint; now and then a light splash of sand."""
    mask = blob(view, outline(rng, view, at, rng.uniform(0.1, 0.9), 0.35), view.metre(at[1]) * 0.04)
    light = rng.random() < 0.3
    colour = rng.uniform(140, 190) if light else rng.uniform(20, 70)
    tint = f32((0.85, 1.0, 1.1)) if light else f32((1, 1, 1))
    blend(bgr, mask * np.float32(rng.uniform(0.2, 0.6)), colour * tint)


def patch(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """A mended rectangle of asphalt."""
    w, d, x, z = rng.uniform(0.3, 1.6), rng.uniform(0.3, 2.0), *at
    corners = f32([view.pixel(x + dx * w, max(z + dz * d, 0.8)) for dx, dz in ((0, 0), (1, 0), (1, 1), (0, 1))])
    blend(bgr, blob(view, corners, 0.6) * np.float32(rng.uniform(0.3, 0.8)), [rng.uniform(40, 150)] * 3)


def manhole(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """A round or square cover with a rim and a pattern."""
    radius = rng.uniform(0.2, 0.38)
    tone = rng.uniform(40, 110)
    for reach, shade in ((1.15, 0.7), (1.0, 1.25), (0.9, 0.95)):
        if rng.random() < 0.8:
            turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
            ring = [
                view.pixel(at[0] + reach * radius * np.cos(a), max(at[1] + reach * radius * np.sin(a), 0.8))
                for a in turn
            ]
            blend(bgr, blob(view, f32(ring), 0.5) * np.float32(0.9), [tone * shade] * 3)
    for step in np.linspace(-0.7, 0.7, 7):
        a, b = (
            view.pixel(at[0] - 0.6 * radius, at[1] + step * radius),
            view.pixel(at[0] + 0.6 * radius, at[1] + step * radius),
        )
        line = np.zeros(bgr.shape[:2], np.uint8)
        cv2.line(line, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), 255, 1, cv2.LINE_AA)
        blend(bgr, f32(line) / np.float32(600), [tone * 0.5] * 3)


def leaves(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """A loose drift of dead leaves, 3 to 9 cm each."""
    palette = f32([(30, 75, 120), (25, 110, 150), (40, 100, 90), (50, 70, 90), (30, 140, 175), (45, 60, 70)])
    spread = rng.uniform(0.2, 1.5)
    for _ in range(int(rng.integers(3, 40))):
        x, z = at[0] + spread * rng.standard_normal(), at[1] + spread * rng.standard_normal()
        if z < 2:
            continue
        shape = outline(rng, view, (x, z), rng.uniform(0.015, 0.045), 0.2, 8)
        blend(
            bgr,
            blob(view, shape, 0) * np.float32(rng.uniform(0.6, 1)),
            palette[rng.integers(6)] * rng.uniform(0.7, 1.2),
        )


def stones(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """Gravel and clods in the colour of the ground, lit from above."""
    for _ in range(int(rng.integers(1, 12))):
        x, z = at[0] + 0.6 * rng.standard_normal(), at[1] + 0.6 * rng.standard_normal()
        if z < 2:
            continue
        radius = rng.uniform(0.015, 0.09)
        u, v = view.pixel(x, z)
        if not (0 <= u < view.size and 0 <= v < view.size):
            continue
        ground = bgr[int(v), int(u)]
        for lift, share in ((0.0, 0.55), (0.5, 1.15)):
            shape = outline(rng, view, (x, z), radius, 0.15, 9) - f32((0, lift * radius * view.metre(z)))
            blend(bgr, blob(view, shape, 0), np.clip(ground * share * rng.uniform(0.85, 1.15), 0, 235))


def crack(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """A wandering dark crack."""
    steps = np.cumsum(rng.normal(0, 0.15, (20, 2)) + rng.normal(0, 0.12, 2), axis=0)
    points = f32([view.pixel(at[0] + dx, max(at[1] + dz, 1.5)) for dx, dz in steps])
    line = np.zeros(bgr.shape[:2], np.uint8)
    cv2.polylines(line, [points.astype(np.int32)], False, 255, 1, cv2.LINE_AA)
    blend(bgr, f32(line) / np.float32(255) * np.float32(rng.uniform(0.3, 0.8)), [35, 35, 35])


def tuft(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """Weeds that grow from a joint."""
    u, v = view.pixel(*at)
    reach = rng.uniform(0.04, 0.3) * view.metre(at[1])
    for _ in range(int(rng.integers(6, 30))):
        tip = (int(u + rng.normal(0, 0.5) * reach), int(v - abs(rng.normal(0.6, 0.3)) * reach))
        shade = rng.uniform(0.5, 1.2)
        cv2.line(
            bgr,
            (int(u + rng.normal(0, 0.3) * reach), int(v)),
            tip,
            (40 * shade, 100 * shade, 80 * shade),
            1,
            cv2.LINE_AA,
        )


def shadow(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """The shadow of a tree, a pole or a house."""
    soft = rng.uniform(1.5, 9)
    mask = np.zeros(bgr.shape[:2], np.float32)
    for _ in range(int(rng.integers(1, 12))):
        spot = (at[0] + rng.normal(0, 1.2), max(at[1] + rng.normal(0, 1.2), 2.0))
        mask = np.maximum(mask, blob(view, outline(rng, view, spot, rng.uniform(0.1, 1.4), 0.3), soft))
    bgr *= 1 - mask[..., None] * np.float32(rng.uniform(0.3, 0.6))


def post(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """A bollard, a post or a tree trunk, with its foot on the ground."""
    u, v = view.pixel(*at)
    width = max(rng.uniform(0.06, 0.3) * view.metre(at[1]), 1.5)
    top = v - rng.uniform(0.4, 5) * view.metre(at[1])
    tone = rng.uniform(30, 210)
    shape = f32([(u - width / 2, v), (u + width / 2, v), (u + width / 2, top), (u - width / 2, top)])
    round_light = 0.75 + 0.25 * np.cos((np.arange(view.size, dtype=np.float32) - u) / width * 2.5)
    colour = tone * np.tile(round_light[None, :, None], (view.size, 1, 3)) * f32(rng.uniform(0.8, 1.1, 3))
    blend(bgr, blob(view, shape, 0.4), colour)


@dataclass(frozen=True, slots=True)
class Stud:
    """A make of raised road marker: `tone` (BGR, 0–255), metres across and high, a glass in a square body or a dome."""

    tone: tuple[float, float, float]
    across_m: float
    height_m: float
    dome: bool


def stud_make(rng: np.random.Generator) -> Stud:
    """One of the usual makes: white or yellow ceramic domes, or square bodies with a glass that looks at the driver."""
    white, yellow = (225.0, 230.0, 232.0), (70.0, 190.0, 225.0)
    tone = white if rng.random() < 0.7 else yellow
    return Stud(tone, float(rng.uniform(0.09, 0.19)), float(rng.uniform(0.015, 0.035)), bool(rng.random() < 0.6))


def stud(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point, make: Stud) -> None:
    """One raised road marker, worn, dusty or broken, with the shadow at its foot."""
    radius, metre = make.across_m / 2, view.metre(at[1])
    lift = f32((0, make.height_m * metre))
    count = 18 if make.dome else 4
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False) + (0.0 if make.dome else np.pi / 4 + rng.normal(0, 0.15))
    wild = 1 + (0.12 * rng.standard_normal(count) if rng.random() < 0.2 else 0)
    foot = f32(
        [
            view.pixel(at[0] + r * np.cos(a), max(at[1] + r * np.sin(a), 0.8))
            for r, a in zip(radius * np.ones(count) * wild, turn, strict=True)
        ]
    )
    middle = foot.mean(0)
    u, v = int(middle[0]), int(middle[1])
    ground = bgr[v, u].copy() if 0 <= v < view.size and 0 <= u < view.size else f32((120, 120, 120))
    light = float(np.clip(ground.mean() / 115, 0.5, 1.2))
    dust = np.float32(rng.uniform(0, 0.45))
    tone = (f32(make.tone) * light * rng.uniform(0.75, 1.05)) * (1 - dust) + ground * dust
    blend(bgr, blob(view, foot + f32((0.03 * metre * rng.normal(), 0.25 * lift[1])), 0.4) * np.float32(0.5), [25] * 3)
    side, top = (1.0, 0.82) if make.dome else (rng.uniform(0.35, 0.8), rng.uniform(0.55, 0.8))
    blend(bgr, blob(view, foot, 0.3), np.clip(tone * side * 0.8, 0, 245))
    raised = (foot - middle) * top + middle - lift
    blend(bgr, blob(view, raised, 0.3), np.clip(tone * (1.0 if make.dome else side), 0, 250))
    whole = blob(view, raised, 0.2)
    if make.dome:
        if rng.random() < 0.6:
            _tyre_marks(rng, bgr, whole, middle - lift, radius * metre)
    elif rng.random() < 0.85:  # the glass, on the side that looks at us, and the other faces of the body
        near = sorted(range(count), key=lambda k: -foot[k, 1])[:2]
        face = f32([foot[near[0]], foot[near[1]], raised[near[1]], raised[near[0]]])
        blend(bgr, blob(view, face, 0.2), rng.uniform(0.2, 1.1) * f32(make.tone) * light)
        for share in rng.uniform(0, 0.8, int(rng.integers(0, 3))):
            strip = raised * (1 - share) + (middle - lift) * share
            blend(bgr, blob(view, strip, 0.2) * np.float32(0.8), np.clip(tone * rng.uniform(0.25, 1.3), 0, 250))
    for _ in range(int(rng.integers(0, 4))):  # chips
        spot = (at[0] + rng.normal(0, 0.5) * radius, max(at[1] + rng.normal(0, 0.5) * radius, 0.8))
        worn = blob(view, outline(rng, view, spot, radius * rng.uniform(0.15, 0.5), 0.4, 8) - 0.7 * lift, 0.2)
        blend(bgr, worn * np.float32(rng.uniform(0.3, 0.9)), [rng.uniform(40, 120)] * 3)


def _tyre_marks(
    rng: np.random.Generator, bgr: FloatImage, whole: FloatImage, middle: FloatImage, radius_px: float
) -> None:
    """Dark strokes of rubber over a dome, mostly along the lane."""
    lines = np.zeros(bgr.shape[:2], np.uint8)
    for _ in range(int(rng.integers(1, 6))):
        steps = rng.normal(0, (0.9, 0.35), (4, 2)) * radius_px
        points = np.round((middle + steps) * 8).astype(np.int32)
        width = max(1, round(radius_px * rng.uniform(0.08, 0.3)))
        cv2.polylines(lines, [points], False, 255, width, cv2.LINE_AA, shift=3)
    blend(bgr, whole * f32(lines) / np.float32(255) * np.float32(rng.uniform(0.4, 0.95)), [rng.uniform(20, 90)] * 3)


def glue(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point, make: Stud) -> None:
    """Where another marker stood: what held it, tarry or sandy."""
    mask = blob(view, outline(rng, view, at, make.across_m * rng.uniform(0.3, 0.8), 0.25), 0.5)
    tone = rng.uniform(30, 190) * f32((rng.uniform(0.6, 1.0), 0.9, 1.0))
    blend(bgr, mask * np.float32(rng.uniform(0.3, 0.9)), tone)


def stud_row(rng: np.random.Generator, at: Point) -> list[Point]:
    """Where the markers of a lane line stand: one to seven at even steps, now and then a cluster."""
    angle = rng.choice([rng.normal(np.pi / 2, 0.2), rng.normal(0, 0.2), rng.uniform(0, np.pi)])
    step = rng.choice([0.25, rng.uniform(0.6, 1.5), rng.uniform(1.5, 4)], p=[0.15, 0.5, 0.35])
    return [
        (float(at[0] + k * step * np.cos(angle)), float(at[1] + k * step * np.sin(angle)))
        for k in range(int(rng.integers(1, 8)))
    ]


def studs(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """A row of raised road markers: white and round on bare asphalt, the likeliest things to be taken for paper."""
    make = stud_make(rng)
    for spot in stud_row(rng, at):
        if 1.5 < spot[1] < 40:
            if rng.random() < 0.25:
                glue(rng, view, bgr, (spot[0] + rng.normal(0, 1) * make.across_m, spot[1]), make)
            stud(rng, view, bgr, spot, make)


def scrawl(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """Writing sprayed on a wall or on the ground: loops of one thin stroke."""
    side = rng.uniform(20, 140)
    turns = np.cumsum(rng.normal(0, 0.7, 40))
    walk = np.cumsum(np.stack([np.cos(turns) + 0.35, np.sin(turns)], axis=1), axis=0)
    middle = f32((view.pixel(*at)[0], rng.uniform(0, view.size)))
    points = np.round((middle + walk / np.ptp(walk, axis=0).max() * side) * 8).astype(np.int32)
    line = np.zeros(bgr.shape[:2], np.uint8)
    cv2.polylines(line, [points], False, 255, max(1, round(side / 30)), cv2.LINE_AA, shift=3)
    tone = rng.uniform(10, 60) if rng.random() < 0.7 else rng.uniform(120, 230)
    blend(
        bgr, f32(line) / np.float32(255) * np.float32(rng.uniform(0.4, 0.9)), [tone, tone, tone * rng.uniform(1, 1.1)]
    )


CLUTTER: dict[Callable[[np.random.Generator, View, FloatImage, Point], None], float] = {
    stain: 2.5,
    patch: 0.7,
    manhole: 0.6,
    leaves: 2.0,
    stones: 1.5,
    crack: 1.0,
    tuft: 1.2,
    shadow: 0.8,
    post: 0.5,
    studs: 1.4,
    scrawl: 0.5,
    rubble: 0.7,
    shrub: 0.6,
    painted_kerb: 0.25,
    guard_rail: 0.3,
}
UPRIGHT = {post, shrub, painted_kerb, guard_rail}  # what hides the ground behind it


def scatter(rng: np.random.Generator, view: View, bgr: FloatImage) -> npt.NDArray[np.bool_]:
    """A few of everything, anywhere on the ground in view out to 30 m; the pixels (h, w) that upright things cover."""
    covered = np.zeros(bgr.shape[:2], dtype=np.bool_)
    for draw, mean in CLUTTER.items():
        for _ in range(int(rng.poisson(mean))):
            v = rng.uniform(max(view.horizon + view.focal * view.height_m / 30, 0), view.size)
            z = view.focal * view.height_m / max(v - view.horizon, 1)
            if z <= 1.5:
                continue
            before = bgr.copy() if draw in UPRIGHT else None
            draw(rng, view, bgr, (float((rng.uniform(0, view.size) - view.centre) * z / view.focal), float(z)))
            if before is not None:
                covered |= np.abs(bgr - before).max(axis=2) > 4
    return covered
