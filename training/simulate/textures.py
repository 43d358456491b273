"""Drawn pictures for signs, posters, labels and printed litter: no font, no brand, only strokes like writing."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Picture = npt.NDArray[np.uint8]
Rgb = tuple[int, int, int]

STRONG: tuple[Rgb, ...] = (
    (196, 24, 32), (20, 70, 160), (12, 110, 70), (230, 140, 20), (120, 20, 90), (30, 30, 34), (220, 200, 40),
    (240, 240, 238), (90, 50, 30), (0, 130, 170),
)  # fmt: skip


def two_colours(rng: np.random.Generator) -> tuple[Rgb, Rgb]:
    """A ground and a colour that can be read on it."""
    ground = STRONG[int(rng.integers(len(STRONG)))]
    light = sum(ground) > 420
    choices = [c for c in STRONG if (sum(c) > 420) != light]
    return ground, choices[int(rng.integers(len(choices)))]


def glyph(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: float, y: float, size: float, ink: Rgb) -> None:
    """A square character of a few strokes, like a Han character from afar."""
    weight = max(1, round(size * float(rng.uniform(0.09, 0.15))))
    for _ in range(int(rng.integers(2, 5))):
        at = y + size * float(rng.uniform(0.08, 0.92))
        left, right = x + size * float(rng.uniform(0, 0.3)), x + size * float(rng.uniform(0.7, 1))
        draw.line([(left, at), (right, at)], fill=ink, width=weight)
    for _ in range(int(rng.integers(1, 4))):
        at = x + size * float(rng.uniform(0.1, 0.9))
        top, low = y + size * float(rng.uniform(0, 0.35)), y + size * float(rng.uniform(0.65, 1))
        draw.line([(at, top), (at + size * float(rng.uniform(-0.25, 0.25)), low)], fill=ink, width=weight)


def writing(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, area: tuple[float, float, float, float], ink: Rgb, count: int
) -> None:
    """`count` characters in a row, filling `area` (x_min, y_min, x_max, y_max)."""
    x1, y1, x2, y2 = area
    size = min(y2 - y1, (x2 - x1) / max(1, count) * 0.9)
    pitch = (x2 - x1) / max(1, count)
    for i in range(count):
        glyph(draw, rng, x1 + i * pitch + (pitch - size) / 2, (y1 + y2 - size) / 2, size, ink)


def sign(rng: np.random.Generator, aspect: float) -> Picture:
    """A shop's name board; `aspect` = width / height, may be below 1 for an upright one."""
    height = 96 if aspect >= 1 else int(96 / aspect)
    width = max(32, int(height * aspect))
    ground, ink = two_colours(rng)
    image = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(image)
    if aspect < 1:
        count = int(rng.integers(3, 6))
        for i in range(count):
            cell = height / count
            glyph(draw, rng, width * 0.15, i * cell + cell * 0.12, min(width * 0.7, cell * 0.8), ink)
        return np.asarray(image)
    x = width * 0.05
    if rng.uniform() < 0.5:  # a mark beside the name
        r = height * 0.32
        mark = STRONG[int(rng.integers(len(STRONG)))]
        draw.ellipse([x, height / 2 - r, x + 2 * r, height / 2 + r], fill=mark, outline=ink, width=3)
        x += 2.4 * r
    name_low = height * (0.68 if rng.uniform() < 0.6 else 0.88)
    count = int(np.clip((width - x) / (name_low * 1.15), 2, 9))
    writing(draw, rng, (x, height * 0.1, width * 0.96, name_low), ink, int(rng.integers(2, count + 1)))
    if name_low < height * 0.8:
        writing(draw, rng, (x, height * 0.76, width * 0.9, height * 0.92), ink, int(width / height * 4))
    if rng.uniform() < 0.4:
        draw.rectangle([0, 0, width - 1, height - 1], outline=ink, width=4)
    return np.asarray(image)


def poster(rng: np.random.Generator, aspect: float = 1.0) -> Picture:
    """A poster: a picture-like patch, a headline, a price burst, small print."""
    height = 160
    width = max(48, int(height * aspect))
    ground, ink = two_colours(rng)
    image = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 6))):
        x, y, r = (float(v) for v in rng.uniform([0, 0, 8], [width, height, width * 0.45]))
        draw.ellipse([x - r, y - r, x + r, y + r], fill=STRONG[int(rng.integers(len(STRONG)))])
    writing(draw, rng, (width * 0.08, height * 0.06, width * 0.92, height * 0.3), ink, int(rng.integers(2, 5)))
    if rng.uniform() < 0.5:
        cx, cy, r = width * 0.7, height * 0.62, width * 0.2
        points = [
            (cx + r * (1 + 0.25 * (i % 2)) * math.cos(i * 0.35), cy + r * (1 + 0.25 * (i % 2)) * math.sin(i * 0.35))
            for i in range(18)
        ]
        draw.polygon(points, fill=(240, 220, 40))
        writing(draw, rng, (cx - r * 0.7, cy - r * 0.5, cx + r * 0.7, cy + r * 0.5), (190, 20, 20), 2)
    writing(draw, rng, (width * 0.08, height * 0.86, width * 0.92, height * 0.94), ink, 9)
    return np.asarray(image)


def bin_label(rng: np.random.Generator) -> Picture:
    """The white sorting mark on a bin's front: arrows in a ring and a line of writing; the ground is left dark."""
    ground = ((30, 96, 58), (70, 74, 78), (30, 84, 150), (176, 40, 40))[int(rng.integers(4))]
    image = Image.new("RGB", (96, 128), ground)
    draw = ImageDraw.Draw(image)
    ink = (232, 236, 232)
    for i in range(3):
        draw.arc([18, 12, 78, 72], i * 120 + 15, i * 120 + 100, fill=ink, width=9)
    writing(draw, rng, (10, 84, 86, 104), ink, 4)
    writing(draw, rng, (16, 110, 80, 120), ink, 8)
    return np.asarray(image)


def print_on(rng: np.random.Generator) -> Picture:
    """The printed skin of a can, cup, packet or wrapper."""
    ground, ink = two_colours(rng)
    image = Image.new("RGB", (64, 64), ground)
    draw = ImageDraw.Draw(image)
    other = STRONG[int(rng.integers(len(STRONG)))]
    y = int(rng.integers(5, 40))
    draw.rectangle([0, y, 63, y + int(rng.integers(6, 22))], fill=other)
    writing(draw, rng, (6, 14, 58, 40), ink, int(rng.integers(2, 4)))
    writing(draw, rng, (8, 46, 56, 54), ink, 6)
    return np.asarray(image)


def fence_banner(rng: np.random.Generator) -> Picture:
    """What is painted on a site hoarding: greenery, hills, a line of writing."""
    width, height = 256, 160
    green = rng.uniform() < 0.5
    image = Image.new("RGB", (width, height), (52, 120, 56) if green else (60, 120, 190))
    draw = ImageDraw.Draw(image)
    if green:  # printed grass: specks of green
        for _ in range(1600):
            x, y = int(rng.integers(width)), int(rng.integers(height))
            tone = int(rng.integers(60, 170))
            draw.line([(x, y), (x + int(rng.integers(-3, 4)), y - 6)], fill=(tone // 3, tone, tone // 3))
    else:
        for depth in range(3):
            y = 70 + 25 * depth
            points = [(x, y - 18 * math.sin(x / 40 + depth * 2)) for x in range(0, width + 16, 16)]
            draw.polygon([*points, (width, height), (0, height)], fill=(60 + 20 * depth, 140 - 20 * depth, 80))
    if rng.uniform() < 0.7:
        writing(draw, rng, (20, 50, 236, 100), (240, 240, 240) if green else (200, 30, 30), int(rng.integers(4, 8)))
    return np.asarray(image)


def number_plate(rng: np.random.Generator) -> Picture:
    """A blue or green plate with strokes instead of a number."""
    image = Image.new("RGB", (88, 28), (20, 60, 150) if rng.uniform() < 0.75 else (120, 200, 150))
    writing(ImageDraw.Draw(image), rng, (5, 5, 83, 23), (240, 240, 240), 7)
    return np.asarray(image)
