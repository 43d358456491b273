"""A street surface as a patrol camera sees it: strips of asphalt, pavement, sand and green in true perspective.

Frame of the ground: x metres to the right, z metres ahead of the camera's foot point, the ground level. The picture is
a window (`left`, `top`, size) of a larger frame, so that things keep the pixels of a full-resolution camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[np.float32]


def f32(values: npt.ArrayLike) -> FloatImage:
    """The values as a float32 array."""
    return np.asarray(values, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class View:
    """A level pinhole camera over flat ground; lengths in metres, picture coordinates in pixels of the window."""

    focal: float
    height_m: float
    horizon: float
    centre: float
    size: int

    def ground(self) -> tuple[FloatImage, FloatImage]:
        """Ground x and z of every pixel (size, size); z is inf at and above the horizon."""
        v, u = np.mgrid[0 : self.size, 0 : self.size].astype(np.float32) + 0.5
        drop = v - self.horizon
        z = np.where(drop > 0.5, self.focal * self.height_m / np.maximum(drop, 0.5), np.inf)
        with np.errstate(invalid="ignore"):
            x = np.where(np.isfinite(z), (u - self.centre) * z / self.focal, 0)
        return x.astype(np.float32), z.astype(np.float32)

    def pixel(self, x_m: float, z_m: float) -> tuple[float, float]:
        """Where a ground point stands in the window."""
        return self.centre + self.focal * x_m / z_m, self.horizon + self.focal * self.height_m / z_m

    def metre(self, z_m: float) -> float:
        """Pixels per metre across the line of sight at a distance."""
        return self.focal / z_m

    def flattening(self, z_m: float) -> float:
        """How much lower than wide a flat thing on the ground looks: height of the eye over the distance."""
        return self.height_m / float(np.hypot(self.height_m, z_m))


# Surfaces: range of brightness, tint (BGR, share of the brightness), spread of the tint, roughness of the grain,
# size of a slab in metres (0: none).
SURFACES: dict[str, tuple[tuple[float, float], tuple[float, float, float], float, float, float]] = {
    "asphalt": ((65, 140), (1.0, 1.0, 1.0), 0.015, 0.07, 0.0),
    "old_asphalt": ((105, 170), (0.96, 1.0, 1.02), 0.02, 0.08, 0.0),
    "concrete": ((135, 195), (0.95, 1.0, 1.03), 0.03, 0.05, 2.5),
    "slabs": ((110, 185), (0.95, 1.0, 1.04), 0.05, 0.06, 0.4),
    "bricks": ((80, 150), (0.75, 0.9, 1.3), 0.12, 0.08, 0.2),
    "sand": ((130, 195), (0.78, 1.0, 1.14), 0.05, 0.08, 0.0),
    "soil": ((60, 115), (0.75, 0.97, 1.2), 0.08, 0.14, 0.0),
    "green": ((50, 105), (0.55, 1.2, 0.95), 0.10, 0.26, 0.0),
}

BESIDE = ("slabs", "bricks", "concrete", "sand", "soil", "green", "old_asphalt")


def grain(rng: np.random.Generator, x: FloatImage, z: FloatImage, scale_m: float) -> FloatImage:
    """Smooth noise of about unit spread over the ground, with features of about `scale_m` metres."""
    side = 256
    table = rng.standard_normal((side, side)).astype(np.float32)
    table = cv2.GaussianBlur(np.tile(table, (3, 3)), (0, 0), 1.0)[side : 2 * side, side : 2 * side]
    table /= max(float(table.std()), 1e-6)
    finite = np.isfinite(z)
    columns = np.where(finite, np.mod(x / scale_m, side), 0).astype(np.float32)
    rows = np.where(finite, np.mod(z / scale_m, side), 0).astype(np.float32)
    looked_up = cv2.remap(table, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(looked_up, dtype=np.float32)


def surface(rng: np.random.Generator, name: str, x: FloatImage, z: FloatImage, pixel_m: FloatImage) -> FloatImage:
    """The colour (h, w, 3) of a surface at ground points; detail finer than `pixel_m` a pixel fades out."""
    (low, high), tint, spread, rough, slab = SURFACES[name]
    base = np.float32(rng.uniform(low, high)) * (f32(tint) + f32(rng.normal(0, spread, 3)))
    light = np.ones(x.shape, dtype=np.float32)
    for scale, share in ((0.006, 1.3), (0.02, 0.6), (0.12, 0.25), (0.9, 0.4), (6.0, 0.6)):
        fade = np.clip(scale / np.maximum(pixel_m, 1e-4), 0, 1)
        light += rough * share * fade * grain(rng, x, z, scale)
    if slab:
        line = 0.012 + 0.35 * pixel_m
        fade = np.clip(slab / (3 * np.maximum(pixel_m, 1e-4)), 0, 1)
        joints = (np.mod(x, slab) < line) | (np.mod(z, slab) < line)
        light *= 1 - 0.35 * rng.uniform(0.3, 1) * fade * joints
        tones = rng.standard_normal((64, 64)).astype(np.float32) * rng.uniform(0.0, 0.06)
        columns = np.mod(np.nan_to_num(x / slab, posinf=0), 64).astype(int)
        rows = np.mod(np.nan_to_num(z / slab, posinf=0), 64).astype(int)
        cells = tones[columns % 64, rows % 64]
        light += fade * cells
    return np.asarray(base * light[..., None], dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Street:
    """A drawn street: `bgr` (h, w, 3) float 0–255, ground coordinates per pixel, and where the kerbs run.

    `across` is each pixel's signed distance from the first kerb in metres, `kerbs` the distances of all kerbs.
    """

    bgr: FloatImage
    x: FloatImage
    z: FloatImage
    across: FloatImage
    kerbs: tuple[float, ...]


def draw_street(rng: np.random.Generator, view: View) -> Street:
    """Strips parallel to a road that the camera looks along, across, or at any angle in between."""
    x, z = view.ground()
    angle = rng.choice([rng.normal(0, 12), rng.normal(90, 8), rng.uniform(-90, 90)])
    cos, sin = float(np.cos(np.radians(angle))), float(np.sin(np.radians(angle)))
    finite = np.isfinite(z)
    far = np.where(finite, z, 0)
    first = rng.uniform(-3, 7) if abs(sin) < 0.5 else rng.uniform(4, 14)
    across = (x * cos + far * sin - first).astype(np.float32)
    along = (-x * sin + far * cos).astype(np.float32)
    pixel_m = np.where(finite, far * far / (view.focal * view.height_m), 1.0).astype(np.float32)
    pixel_m = np.minimum(pixel_m, 0.3)
    road = rng.choice(["asphalt", "asphalt", "old_asphalt", "concrete"])
    bgr = surface(rng, str(road), across, along, pixel_m)
    kerbs, edge = [], 0.0
    dry = rng.random() < 0.4  # a place where sand lies beside the road and drifts onto it
    beside = ["sand", "sand", "soil", "concrete"] if dry else list(BESIDE)
    for width in (rng.uniform(0.8, 4.5), rng.uniform(1, 8)):
        kerbs.append(edge)
        name = str(rng.choice(beside))
        strip = surface(rng, name, across, along, pixel_m)
        inside = (across > edge)[..., None]
        soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.8)[..., None]
        bgr = bgr * (1 - soft) + strip * soft
        stone = np.clip(1 - np.abs(across - edge) / (0.07 + 0.3 * pixel_m), 0, 1)[..., None]
        tone = rng.uniform(90, 215)
        paint = np.full(3, tone, np.float32)
        if rng.random() < 0.2:  # painted kerb stones, black and yellow, or red and white
            dark = np.mod(along, 1.6)[..., None] < 0.8
            one, two = ((20, 190, 230), (40, 40, 40)) if rng.random() < 0.6 else ((60, 60, 200), (225, 225, 225))
            paint = np.where(dark, f32(one), f32(two))
        bgr = bgr * (1 - np.minimum(stone * 2, 1)) + paint * np.minimum(stone * 2, 1)
        edge += width
    if rng.random() < 0.7:
        bgr = road_marks(rng, bgr, across, along, pixel_m)
    if dry:
        sand = surface(rng, "sand", across, along, pixel_m)
        heaped = np.exp(-np.abs(across) / rng.uniform(0.2, 2.0)) + 0.35 * grain(rng, across, along, 0.4)
        drift = np.clip(heaped * rng.uniform(0.3, 1.2), 0, 0.95)[..., None]
        bgr = bgr * (1 - drift) + sand * drift
    bgr *= (1 + 0.12 * rng.standard_normal() * np.clip(across / 10, -1, 1))[..., None]
    return Street(bgr.astype(np.float32), x, z, across, tuple(kerbs))


def road_marks(
    rng: np.random.Generator, bgr: FloatImage, across: FloatImage, along: FloatImage, pixel_m: FloatImage
) -> FloatImage:
    """Worn paint lines and studs on the carriageway (`across` below zero): white things that are no paper."""
    out = bgr
    for offset in rng.uniform(-7, -0.3, size=int(rng.integers(1, 4))):
        width = rng.uniform(0.10, 0.25)
        line = np.clip((width / 2 + pixel_m / 2 - np.abs(across - offset)) / np.maximum(pixel_m, 1e-3), 0, 1)
        kind = rng.random()
        if kind < 0.45:
            line = line * (np.mod(along, 6.0) < rng.uniform(1, 4))
        elif kind < 0.6:
            line = line * (np.mod(along, 1.2) < 0.12)  # studs
        worn = np.clip(0.8 + 0.5 * grain(rng, across, along, 0.08), 0, 1) * rng.uniform(0.4, 0.95)
        paint = f32((60, 190, 225)) if rng.random() < 0.2 else f32((225, 228, 230))
        weight = (line * worn)[..., None]
        out = out * (1 - weight) + paint * weight
    return out
