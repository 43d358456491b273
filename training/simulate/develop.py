"""From light to a JPEG, as a cheap camera does it: haze, motion blur, exposure, white balance, noise, compression."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from datetime import datetime

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from training.simulate.camera import View
from training.simulate.mesh import Array
from training.simulate.renderer import Drawing

Rgb8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Exposure:
    """How one picture was taken. `brightness`: where the middle grey lands (0.18 is neutral); `warmth`: red against
    blue; `noise`: sigma at middle grey, of 255; `shutter_s` times the velocity in the camera's axes (right, down,
    forward, m/s) and the rate of turn (rad/s, to the right) is the motion blur; `quality`: of the JPEG."""

    brightness: float = 0.18
    warmth: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    noise: float = 1.5
    soft_px: float = 0.0
    shutter_s: float = 0.0
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn_rate: float = 0.0
    quality: int = 85


def draw_exposure(rng: np.random.Generator, *, moving: bool) -> Exposure:
    """An everyday exposure; `moving`: from a vehicle at 2 to 8 m/s."""
    speed = float(rng.uniform(2, 8)) if moving else 0.0
    return Exposure(
        brightness=float(np.clip(0.19 * math.exp(rng.normal(0, 0.3)), 0.08, 0.4)),
        warmth=float(math.exp(rng.normal(0, 0.06))),
        contrast=float(rng.uniform(0.9, 1.2)),
        saturation=float(rng.uniform(0.8, 1.25)),
        noise=float(rng.exponential(2.0)),
        soft_px=float(max(0.0, rng.normal(0.1, 0.35))),
        shutter_s=float(rng.uniform(0.001, 0.012)),
        velocity=(0.0, 0.0, speed),
        turn_rate=float(rng.normal(0, 0.12 if moving else 0.25)),
        quality=int(rng.integers(55, 96)),
    )


def flow(drawing: Drawing, view: View, exposure: Exposure) -> Array:
    """How far each pixel's content moves while the shutter is open, (h, w, 2) pixels right and down."""
    camera = view.camera
    x = (np.arange(camera.width)[None, :] - camera.cx) / camera.fx
    y = (np.arange(camera.height)[:, None] - camera.cy) / camera.fx
    closeness = 1.0 / np.maximum(drawing.depth, 0.3)
    vx, vy, vz = exposure.velocity
    # Standing points seen from a camera that translates and turns (Longuet-Higgins and Prazdny 1980, eq. 2).
    u = (-vx + x * vz) * closeness - exposure.turn_rate * (1 + x * x)
    v = (-vy + y * vz) * closeness - exposure.turn_rate * x * y
    return np.asarray(np.stack([u, v], axis=-1) * camera.fx * exposure.shutter_s)


def smear(rgb: npt.NDArray[np.float32], motion: Array) -> npt.NDArray[np.float32]:
    """Average the picture along the motion of each pixel."""
    longest = float(np.percentile(np.linalg.norm(motion, axis=2), 98))
    if longest < 0.7:
        return rgb
    steps = int(min(15, max(3, longest)))
    rows, cols = np.indices(rgb.shape[:2], dtype=np.float32)
    total = np.zeros_like(rgb)
    for t in np.linspace(-0.5, 0.5, steps):
        shift = (motion * t).astype(np.float32)
        total += cv2.remap(
            rgb, cols - shift[..., 0], rows - shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return np.asarray(total / steps)


def develop(drawing: Drawing, view: View, haze_m: float, exposure: Exposure, rng: np.random.Generator) -> Rgb8:
    """The picture (h, w, 3) RGB."""
    rgb = np.nan_to_num(drawing.rgb, posinf=1e3).astype(np.float32)
    clear = np.exp(-np.minimum(drawing.depth, 2000.0) / haze_m)[..., None]
    ground = drawing.depth < 1500
    air = np.percentile(rgb.mean(axis=2), 80) * np.array([0.95, 1.0, 1.06], np.float32)
    rgb = np.where(ground[..., None], rgb * clear + air * (1 - clear), rgb)
    rgb = smear(rgb, flow(drawing, view, exposure))
    if exposure.soft_px > 0.2:
        rgb = cv2.GaussianBlur(rgb, (0, 0), exposure.soft_px)
    light = rgb @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    # The meter: mostly the lower half, and never fooled by a bright sky alone.
    weight = np.where(np.arange(light.shape[0]) > 0.4 * light.shape[0], 2.0, 1.0)[:, None]
    level = math.exp(float((np.log(light + 1e-3) * weight).sum() / (weight.sum() * light.shape[1])))
    rgb = (
        rgb
        * (exposure.brightness / max(level, 1e-4))
        * np.array([exposure.warmth, 1.0, 1 / exposure.warmth], np.float32)
    )
    # A filmic shoulder (K. Narkowicz's fit of the ACES curve, 2015), then the sRGB curve.
    rgb = rgb * 0.75
    rgb = np.clip(rgb * (2.51 * rgb + 0.03) / (rgb * (2.43 * rgb + 0.59) + 0.14), 0, 1)
    rgb = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * np.power(np.maximum(rgb, 1e-6), 1 / 2.4) - 0.055)
    rgb = (rgb - 0.45) * exposure.contrast + 0.45
    grey = rgb.mean(axis=2, keepdims=True)
    rgb = grey + (rgb - grey) * exposure.saturation
    height, width = light.shape
    far = np.hypot(np.linspace(-1, 1, width)[None, :], np.linspace(-1, 1, height)[:, None])[..., None] / math.sqrt(2)
    rgb = rgb * (1 - 0.18 * far**2)
    if exposure.noise > 0.3:
        grain = rng.normal(0, exposure.noise / 255, (*light.shape, 1)) + rng.normal(
            0, 0.5 * exposure.noise / 255, rgb.shape
        )
        rgb = rgb + grain * (1.3 - np.clip(rgb, 0, 1))
    return np.asarray(np.rint(np.clip(rgb, 0, 1) * 255), np.uint8)


def encode(
    picture: Rgb8, quality: int, *, taken_at: datetime | None = None, place: tuple[float, float, float] | None = None
) -> bytes:
    """A JPEG with EXIF time (with offset and milliseconds) and GPS `place` (longitude, latitude, altitude)."""
    exif = Image.Exif()
    if taken_at is not None:
        offset = taken_at.strftime("%z") or "+0000"
        exif[0x0132] = taken_at.strftime("%Y:%m:%d %H:%M:%S")
        exif[0x010F], exif[0x0110], exif[0x0131] = "Jiejing", "Simulated camera", "jiejing simulate"
        exif[0x8769] = {
            0x9003: taken_at.strftime("%Y:%m:%d %H:%M:%S"),
            0x9011: f"{offset[:3]}:{offset[3:]}",
            0x9291: f"{taken_at.microsecond // 1000:03d}",
        }
    if place is not None:
        lon, lat, alt = place
        exif[0x8825] = {
            0: b"\x02\x03\x00\x00",
            1: "N" if lat >= 0 else "S",
            2: sexagesimal(lat),
            3: "E" if lon >= 0 else "W",
            4: sexagesimal(lon),
            5: b"\x00" if alt >= 0 else b"\x01",
            6: round(abs(alt), 1),
        }
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, exif=exif, optimize=True)
    return buffer.getvalue()


def sexagesimal(angle: float) -> tuple[float, float, float]:
    """Degrees, minutes, seconds without sign."""
    angle = abs(angle)
    minutes = (angle % 1) * 60
    return float(int(angle)), float(int(minutes)), round((minutes % 1) * 60, 5)
