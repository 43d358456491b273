"""Surfaces of the street: named recipes with colours drawn from ranges that real streets show."""

from __future__ import annotations

import colorsys

import numpy as np

from training.simulate.mesh import Colour, Material


def linear(red: float, green: float, blue: float) -> Colour:
    """sRGB from 0 to 255 as linear RGB (IEC 61966-2-1)."""
    values = [c / 255 for c in (red, green, blue)]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return (r, g, b)


def shade(colour: Colour, factor: float) -> Colour:
    """Lighter or darker."""
    return (min(1.0, colour[0] * factor), min(1.0, colour[1] * factor), min(1.0, colour[2] * factor))


def pick(rng: np.random.Generator, colours: tuple[Colour, ...], spread: float = 0.15) -> Colour:
    """One of the colours, a little off."""
    base = colours[int(rng.integers(len(colours)))]
    return shade(base, float(np.exp(rng.normal(0, spread))))


def vivid(rng: np.random.Generator) -> Colour:
    """Any strong colour."""
    r, g, b = colorsys.hsv_to_rgb(float(rng.uniform()), float(rng.uniform(0.3, 0.85)), float(rng.uniform(0.3, 0.85)))
    return linear(255 * r, 255 * g, 255 * b)


BAG = (
    linear(22, 22, 24), linear(28, 28, 32), linear(24, 26, 40), linear(226, 228, 226), linear(214, 218, 216),
    linear(196, 40, 44), linear(214, 70, 60), linear(52, 120, 84), linear(70, 110, 170), linear(200, 176, 60),
    linear(120, 150, 120), linear(180, 150, 110),
)  # fmt: skip
SACK = (linear(214, 210, 200), linear(170, 176, 130), linear(120, 140, 110), linear(190, 160, 110))
CARDBOARD = (linear(168, 128, 84), linear(150, 112, 74), linear(184, 148, 104), linear(130, 100, 70))
BIN_GREEN = (linear(28, 92, 52), linear(34, 104, 60), linear(24, 78, 48), linear(60, 140, 70))
BIN_OTHER = (linear(70, 74, 78), linear(44, 46, 50), linear(30, 80, 150), linear(180, 36, 36), linear(38, 42, 44))
STEEL_BLUE = (linear(60, 110, 170), linear(40, 84, 140), linear(90, 140, 180))
SHEET = (linear(178, 184, 188), linear(60, 110, 170), linear(150, 70, 60), linear(214, 214, 208), linear(110, 130, 120))
WALL = (
    linear(206, 198, 182), linear(222, 218, 208), linear(190, 176, 152), linear(176, 148, 124), linear(150, 144, 138),
    linear(214, 196, 164), linear(200, 180, 172), linear(170, 176, 176), linear(228, 222, 200), linear(142, 90, 72),
)  # fmt: skip
CLOTH = (
    linear(30, 34, 46), linear(52, 60, 84), linear(90, 92, 96), linear(150, 40, 44), linear(214, 214, 210),
    linear(60, 84, 60), linear(170, 140, 100), linear(20, 20, 22), linear(70, 110, 150), linear(200, 160, 60),
)  # fmt: skip
SKIN = (linear(214, 170, 140), linear(196, 150, 120), linear(160, 116, 88), linear(120, 84, 62))
PAINT = (
    linear(232, 234, 236), linear(236, 236, 234), linear(16, 16, 18), linear(30, 32, 36), linear(160, 164, 168),
    linear(96, 100, 106), linear(130, 24, 28), linear(28, 44, 84), linear(120, 96, 66), linear(40, 66, 60),
)  # fmt: skip
LEAF = (linear(58, 88, 36), linear(44, 74, 34), linear(80, 104, 44), linear(96, 110, 50))
EARTH = (linear(150, 128, 100), linear(170, 146, 112), linear(120, 104, 84))


def plastic(colour: Colour, rough: float = 0.4, wear: float = 0.7) -> Material:
    """Moulded plastic, dulled and soiled where `wear` is low."""
    return Material("plain", colour, shade(colour, wear), rough, 0.35, 0.4)


def metal(colour: Colour = (0.55, 0.56, 0.58), rough: float = 0.35) -> Material:
    """Bare or brushed metal."""
    return Material("plain", colour, shade(colour, 0.75), rough, 0.2, 0.2, 0.85)


def painted(colour: Colour, rust: float = 0.0) -> Material:
    """Painted sheet; `rust` from 0 to 1 eats it."""
    return Material("rusty" if rust > 0 else "plain", colour, shade(colour, 0.8), 0.45, 0.6, 0.3, rust)


def cloth(colour: Colour) -> Material:
    """Woven stuff."""
    return Material("plain", colour, shade(colour, 0.75), 0.9, 0.15, 1.0)


def rubber() -> Material:
    """Tyres."""
    return Material("plain", (0.012, 0.012, 0.013), (0.03, 0.03, 0.03), 0.8, 0.1)


def glass(rng: np.random.Generator) -> Material:
    """A window seen from outside by day: dark and mirroring."""
    tint = float(rng.uniform(0.01, 0.06))
    return Material("glass", (tint, tint * 1.1, tint * 1.15), None, 0.06, 0.5)


def concrete(level: float = 0.3) -> Material:
    """Weathered concrete."""
    return Material(
        "plain", (level, level * 0.97, level * 0.92), shade((level, level * 0.96, level * 0.9), 0.7), 0.9, 1.2, 1.5
    )


def bag_film(rng: np.random.Generator) -> Material:
    """The film of a waste bag."""
    colour = pick(rng, BAG)
    return Material("bag", colour, shade(colour, 0.6), float(rng.uniform(0.25, 0.5)), 0.12, 6.0)


def cardboard(rng: np.random.Generator) -> Material:
    """Corrugated board, a bit stained."""
    colour = pick(rng, CARDBOARD)
    return Material("plain", colour, shade(colour, 0.75), 0.9, 0.4, 0.3)


def facade(rng: np.random.Generator) -> Material:
    """The outside of a house: plaster, brick, small tiles or concrete panels."""
    kind = str(rng.choice(["plaster", "plaster", "tiles", "bricks", "plaster", "panels"]))
    colour = pick(rng, WALL, 0.08)
    if kind == "bricks":
        colour = pick(rng, (linear(146, 84, 64), linear(120, 70, 56), linear(160, 120, 96), linear(120, 118, 114)))
    return Material(kind, colour, shade(colour, float(rng.uniform(0.6, 0.85))), 0.85, float(rng.uniform(0.6, 2.0)), 1.0)
