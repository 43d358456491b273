"""Small pictures drawn by script, good and bad, for tests."""

from __future__ import annotations

import io
import struct
import zlib
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def street(width: int = 320, height: int = 240, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A grey road under a bright sky with noise and a dark block: RGB (height, width, 3)."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 200, dtype=np.uint8)
    pixels[height // 2 :] = 90
    pixels[height // 2 : height * 3 // 4, width // 8 : width // 4] = (30, 40, 50)
    noise = rng.integers(-20, 20, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def jpeg(
    pixels: npt.NDArray[np.uint8] | None = None,
    *,
    orientation: int = 1,
    taken: datetime | None = None,
    offset: str | None = None,
    subsec: str | None = None,
    lonlat: tuple[float, float] | None = None,
    mode: str = "RGB",
) -> bytes:
    """A JPEG with the EXIF fields given."""
    image = Image.fromarray(street() if pixels is None else pixels).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    ifd = exif.get_ifd(0x8769)
    if taken:
        ifd[0x9003] = taken.strftime("%Y:%m:%d %H:%M:%S")
    if offset:
        ifd[0x9011] = offset
    if subsec:
        ifd[0x9291] = subsec
    if lonlat:
        gps = exif.get_ifd(0x8825)
        gps[1], gps[2] = "N" if lonlat[1] >= 0 else "S", _sexagesimal(abs(lonlat[1]))
        gps[3], gps[4] = "E" if lonlat[0] >= 0 else "W", _sexagesimal(abs(lonlat[0]))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90, exif=exif)
    return out.getvalue()


def _sexagesimal(degrees: float) -> tuple[float, float, float]:
    whole = int(degrees)
    minutes = int((degrees - whole) * 60)
    return float(whole), float(minutes), round((degrees - whole - minutes / 60) * 3600, 6)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims the size given."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bad_pictures(folder: Path) -> dict[str, bytes]:
    """Files that are no usable pictures, written into `folder`; returns name -> bytes."""
    good = jpeg()
    bad = {
        "zero.jpg": b"",
        "cut.jpg": good[: len(good) // 2],
        "text.jpg": b"this is a shopping list, not a picture\n" * 20,
        "huge.png": png_claiming(20_000, 20_000),
        "cut.png": png_claiming(64, 64)[:60],
        "header.jpg": good[:12],
    }
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    return bad
