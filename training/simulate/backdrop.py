"""Pictures that stand in for costly noise in the renderer: one tile of unevenness and one sky per scene."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from training.simulate.mesh import Array
from training.simulate.textures import Picture

if TYPE_CHECKING:
    from training.simulate.scene import Light

TILE = 512
# Coarse features are this share of the tile: at scale 1 the tile repeats every eight features.
FEATURES = 8


def fractal(rng: np.random.Generator, size: int, low: int, high: int, slope: float) -> Array:
    """Noise (size, size) from 0 to 1 that repeats seamlessly, with waves of `low` to `high` cycles and a spectrum
    that falls as frequency^-slope."""
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :]) * size
    gain = np.where((f >= low * 0.5) & (f <= high), np.maximum(f, 1.0) ** -slope, 0.0)
    wave = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * gain).real
    wave = (wave - wave.mean()) / wave.std()
    return np.asarray(np.clip(0.5 + wave / 5.0, 0, 1))


def cracks(rng: np.random.Generator, size: int, cells: int) -> Array:
    """Lines between the cells of scattered points, 1 on a line, seamless, (size, size)."""
    points = rng.uniform(0, 1, (cells, 2))
    points = np.concatenate([points + np.array([i, j]) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    wobble = np.stack([fractal(rng, size, 4, 60, 1.2), fractal(rng, size, 4, 60, 1.2)], axis=-1) - 0.5
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), axis=-1) / size + 0.12 * wobble
    first = np.full((size, size), 9.0)
    second = first.copy()
    for point in points:
        d = np.hypot(grid[..., 0] - point[0], grid[..., 1] - point[1])
        second = np.minimum(second, np.maximum(first, d))
        first = np.minimum(first, d)
    return np.asarray(np.clip(1 - (second - first) / 0.006, 0, 1))


def uneven_tile(rng: np.random.Generator) -> Picture:
    """Red: blotches; green: fine grain; blue: cracks."""
    layers = [fractal(rng, TILE, FEATURES, 160, 1.3), fractal(rng, TILE, 64, 250, 0.6), cracks(rng, TILE, 14)]
    return np.asarray(np.rint(np.stack(layers, axis=-1) * 255), np.uint8)


def sky(light: Light, rng: np.random.Generator, height: int = 128) -> Array:
    """The sky as an equirectangular picture (height, 2 height, 3), linear light; the lower half is ground."""
    up = np.sin((0.5 - (np.arange(height) + 0.5) / height) * math.pi)[:, None, None]
    horizon, zenith, cloud = (np.array(c) for c in (light.horizon, light.zenith, light.cloud_colour))
    blend = np.clip(up / 0.6, 0, 1) ** 0.7
    clear = horizon * (1 - blend) + zenith * blend
    noise = fractal(rng, 2 * height, 3, 60, 1.4)
    rows = np.clip((1 / np.maximum(np.abs(up[:, 0, 0]), 0.08) * 12).astype(int), 0, 2 * height - 1)
    cover = np.clip((noise[rows] - 0.62 + 0.3 * light.cloud) / 0.16, 0, 1)[..., None] * light.cloud
    picture = clear * (1 - cover) + cloud * cover * (0.8 + 0.4 * noise[::-1][rows][..., None])
    return np.asarray(np.where(up > 0, picture, np.array([0.12, 0.115, 0.11])) * light.sky_strength)
