"""What lies and shows on streets and is no litter: leaves, stains, manhole covers, patches, cracks, stones, shadows.

Every function draws into `bgr` (h, w, 3) float 0–255 in place, at ground points of a `View`.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from training.ground import FloatImage, View, f32

Point = tuple[float, float]


def blend(bgr: FloatImage, mask: npt.NDArray[np.float32], colour: npt.ArrayLike) -> None:
    """Mix a colour in where `mask` (h, w) from 0 to 1 says so."""
    weight = mask[..., None]
    bgr += (np.asarray(colour, dtype=np.float32) - bgr) * weight


def _blob(view: View, outline: npt.NDArray[np.float32], soft: float) -> npt.NDArray[np.float32]:
    mask = np.zeros((view.size, view.size), dtype=np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 8).astype(np.int32)], 255, cv2.LINE_AA, shift=3)
    if soft > 0.3:
        mask = cv2.GaussianBlur(mask, (0, 0), soft)
    return f32(mask) / np.float32(255)


def outline(
    rng: np.random.Generator, view: View, at: Point, radius_m: float, wild: float, count: int = 14
) -> FloatImage:
    """A closed uneven outline on the ground about (x, z), in window pixels (count, 2)."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(0, 6)
    reach = radius_m * np.clip(1 + wild * rng.standard_normal(count), 0.3, 2.0)
    stretch = rng.uniform(0.5, 1.6)
    points = [
        view.pixel(at[0] + r * stretch * np.cos(a), max(at[1] + r / stretch * np.sin(a), 0.8))
        for r, a in zip(reach, turn, strict=True)
    ]
    return np.asarray(points, dtype=np.float32)


def stain(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """Oil, water or spilt paint; now and then a light splash of sand."""
    mask = _blob(view, outline(rng, view, at, rng.uniform(0.1, 0.9), 0.35), view.metre(at[1]) * 0.04)
    light = rng.random() < 0.3
    colour = rng.uniform(140, 190) if light else rng.uniform(20, 70)
    tint = f32((0.85, 1.0, 1.1)) if light else f32((1, 1, 1))
    blend(bgr, mask * np.float32(rng.uniform(0.2, 0.6)), colour * tint)


def patch(rng: np.random.Generator, view: View, bgr: FloatImage, at: Point) -> None:
    """A mended rectangle of asphalt."""
    w, d, x, z = rng.uniform(0.3, 1.6), rng.uniform(0.3, 2.0), *at
    corners = f32([view.pixel(x + dx * w, max(z + dz * d, 0.8)) for dx, dz in ((0, 0), (1, 0), (1, 1), (0, 1))])
    blend(bgr, _blob(view, corners, 0.6) * np.float32(rng.uniform(0.3, 0.8)), [rng.uniform(40, 150)] * 3)


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
            blend(bgr, _blob(view, f32(ring), 0.5) * np.float32(0.9), [tone * shade] * 3)
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
            _blob(view, shape, 0) * np.float32(rng.uniform(0.6, 1)),
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
            blend(bgr, _blob(view, shape, 0), np.clip(ground * share * rng.uniform(0.85, 1.15), 0, 235))


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
        mask = np.maximum(mask, _blob(view, outline(rng, view, spot, rng.uniform(0.1, 1.4), 0.3), soft))
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
    blend(bgr, _blob(view, shape, 0.4), colour)


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
}


def scatter(rng: np.random.Generator, view: View, bgr: FloatImage) -> None:
    """A few of everything, anywhere on the ground in view out to 30 m."""
    for draw, mean in CLUTTER.items():
        for _ in range(int(rng.poisson(mean))):
            v = rng.uniform(max(view.horizon + view.focal * view.height_m / 30, 0), view.size)
            z = view.focal * view.height_m / max(v - view.horizon, 1)
            if z > 1.5:
                draw(rng, view, bgr, (float((rng.uniform(0, view.size) - view.centre) * z / view.focal), float(z)))
